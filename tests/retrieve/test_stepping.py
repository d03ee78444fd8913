"""Retrieval against exact curves, Poisson truth, and what physics.md promises of noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieve_scans import curves, equidistant, make_scan, noisy_scan
from scipy.optimize import least_squares

from darklung.core.checks import DarklungError
from darklung.core.fitting import Fit
from darklung.core.random import stream
from darklung.core.types import PROJECTION_MAPS
from darklung.retrieve.harmonic import fit_harmonics
from darklung.retrieve.stepping import INVALID_VARIANCE, retrieve, retrieve_blocks

UNEVEN = np.array([0.1, 0.9, 2.2, 3.0, 4.4, 5.0, 7.1])


def exact_scan(theta, *, phase=0.4, dark=0.0, **other):
    rng = stream(1, "exact")
    shape = (3, 4)
    background = rng.uniform(-np.pi, np.pi, shape)
    truth = rng.uniform(0.2, 1.0, shape), rng.uniform(-0.3, 1.0, shape), rng.uniform(-np.pi, np.pi, shape) * phase
    attenuation, dark_field, turn = truth
    sample = curves(theta, 5000 * np.exp(-attenuation), 0.25 * np.exp(-dark_field), background + turn) + dark
    flat = curves(theta, 5000.0, 0.25, background) + dark
    return make_scan(sample[None], flat[None], theta, **other), truth


@pytest.mark.parametrize("theta", [equidistant(3), equidistant(5), 4 * np.pi * np.arange(9) / 9, UNEVEN])
def test_exact_curves_are_retrieved_exactly(theta):
    scan, (attenuation, dark_field, phase) = exact_scan(theta)
    result = retrieve(scan, dtype=np.float64)
    np.testing.assert_allclose(result.attenuation[0, 0], attenuation, atol=1e-12)
    np.testing.assert_allclose(result.dark_field[0, 0], dark_field, atol=1e-11)
    np.testing.assert_allclose(result.phase[0, 0], phase, atol=1e-11)
    assert result.valid.all()
    assert (result.dark_field < 0).any(), "negative dark field must be kept"


def test_dark_frame_is_subtracted_from_frames_and_flats():
    scan, (attenuation, dark_field, _) = exact_scan(UNEVEN, dark=300.0, dark_frame=np.full((3, 4), 300.0))
    result = retrieve(scan, dtype=np.float64)
    np.testing.assert_allclose(result.attenuation[0, 0], attenuation, atol=1e-12)
    np.testing.assert_allclose(result.dark_field[0, 0], dark_field, atol=1e-11)
    bare = retrieve(exact_scan(UNEVEN)[0], dtype=np.float64)
    assert (result.attenuation_variance > bare.attenuation_variance).all(), "the dark signal has shot noise of its own"


def test_phase_is_wrapped_after_the_reference_is_subtracted():
    theta = equidistant(5)
    background = np.array([[3.0, -3.0, 1.0]])
    turn = np.array([[1.0, -1.0, np.pi]])
    scan = make_scan(curves(theta, 1e3, 0.2, background + turn)[None], curves(theta, 1e3, 0.2, background)[None], theta)
    result = retrieve(scan, dtype=np.float64)
    np.testing.assert_allclose(np.abs(result.phase[0, 0]), np.abs(turn), atol=1e-6)
    assert np.sign(result.phase[0, 0, 0, :2]).tolist() == [1, -1]
    single = retrieve(scan).phase
    assert single.dtype == np.float32
    assert float(single.max()) <= np.pi
    assert float(single.min()) > -np.pi


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 12), st.floats(0.05, 0.9), st.floats(-3.1, 3.1), st.floats(0.5, 1e5), st.integers(0, 1000))
def test_least_squares_equals_an_independent_minimiser(steps, visibility, phase, amplitude, seed):
    rng = np.random.default_rng(seed)
    theta = np.sort(rng.uniform(0, 2 * np.pi, steps)) + 0.01 * np.arange(steps)
    if np.linalg.cond(np.stack([np.ones(steps), np.cos(theta), np.sin(theta)])) > 50:
        return
    curve = rng.poisson(curves(theta, amplitude, visibility, phase)).astype(float)
    fit = fit_harmonics(curve, theta)
    found = least_squares(
        lambda c: c[0] + c[1] * np.cos(theta) + c[2] * np.sin(theta) - curve, [amplitude, 0, 0], xtol=1e-14
    ).x
    assert float(fit.amplitude) == pytest.approx(found[0], rel=1e-5, abs=1e-5 * amplitude)
    if fit.usable:
        assert float(fit.visibility * fit.amplitude) == pytest.approx(np.hypot(found[1], found[2]), abs=1e-4 * amplitude)


# Counts of the whole curve and visibility: N V² from 32 to 1.6e5.
REGIMES = [(200, 0.4), (1000, 0.2), (1000, 0.4), (10_000, 0.1), (100_000, 0.05), (1_000_000, 0.05), (1_000_000, 0.4)]


@pytest.mark.parametrize(("counts", "visibility"), REGIMES)
def test_errors_are_as_large_as_said(counts, visibility):
    scan = noisy_scan(counts=counts, visibility=visibility, theta=equidistant(5), pixels=40_000)
    result = retrieve(scan, dtype=np.float64)
    expected = {
        "attenuation": 1 / counts,
        "dark_field": (2 / visibility**2 - 1) / counts,
        "phase": 2 / counts / visibility**2,
    }
    for name, true in (("attenuation", np.log(1e6)), ("dark_field", 0.0), ("phase", 1.0)):
        error = (getattr(result, name) - true).ravel()
        error = np.angle(np.exp(1j * error)) if name == "phase" else error
        variance = getattr(result, f"{name}_variance").ravel()
        good = result.valid.ravel()
        assert 0.95 < (error / np.sqrt(variance))[good].std() < 1.05, name
        # The logarithm of counts is biased by half a relative variance, 0.5/sqrt(N) of its error.
        assert abs((error / np.sqrt(expected[name])).mean()) < 0.02 + 0.5 / np.sqrt(counts), name
        if counts * visibility**2 > 100:
            assert np.median(variance[good]) == pytest.approx(expected[name], rel=0.05), name


def test_pulls_with_noisy_flats_and_uneven_steps():
    scan = noisy_scan(counts=20_000, visibility=0.2, dark_field=0.5, theta=UNEVEN, pixels=40_000, flat_factor=2.0)
    result = retrieve(scan, dtype=np.float64)
    for name, true in (("attenuation", np.log(2.0)), ("dark_field", 0.5), ("phase", 1.0)):
        pull = (getattr(result, name) - true) / np.sqrt(getattr(result, f"{name}_variance"))
        assert 0.97 < pull.std() < 1.03, name


@pytest.mark.parametrize(
    ("visibility", "counts", "steps", "mean", "deviation"), [(0.2, 1000, 5, 0.2054, 0.044), (0.0, 1000, 5, 0.0560, None)]
)
def test_visibility_floor_t9_t10(visibility, counts, steps, mean, deviation):
    scan = noisy_scan(counts=counts, visibility=visibility, theta=equidistant(steps), pixels=200_000)
    flat = curves(equidistant(steps), 1e6, 0.5, np.zeros(200_000))
    measured = retrieve(make_scan(scan.frames[0], flat[None, :, None, :], equidistant(steps)), dtype=np.float64)
    assert measured.visibility.mean() == pytest.approx(mean, abs=4e-4)
    if deviation:
        assert measured.visibility.std() == pytest.approx(deviation, abs=5e-4)
    else:
        assert measured.valid.mean() < 1e-4
        own = retrieve(make_scan(scan.frames[0], flat[None, :, None, :], equidistant(steps)), variance="pixel")
        assert own.valid.mean() == pytest.approx(np.exp(-10 / 4), abs=0.005), "the stated share that passes by chance"


@pytest.mark.parametrize(("visibility", "bias", "deviation"), [(0.1, 0.016, 0.45), (0.3, None, 0.148)])
def test_log_visibility_t11_t12(visibility, bias, deviation):
    result = retrieve(noisy_scan(counts=1000, visibility=visibility, theta=equidistant(5), pixels=200_000), dtype=np.float64)
    error = -result.dark_field
    assert error.std() == pytest.approx(deviation, rel=0.04)
    if bias:
        assert error.mean() == pytest.approx(bias, abs=0.006)


def test_invalid_pixels_are_finite_and_marked():
    theta = equidistant(4)
    sample = curves(theta, 1e4, 0.2, np.zeros((2, 4)))
    flat = sample.copy()
    sample[:, 0, 0] = 0  # no photon came through
    sample[:, 0, 1] = 50  # no modulation
    flat[:, 0, 2] = 0  # dead in the flat
    sample[:, 1, 0] = np.nan
    bad = np.zeros((2, 4), bool)
    bad[1, 0] = True
    result = retrieve(make_scan(sample[None], flat[None], theta, bad_pixels=bad))
    assert not result.valid[0, 0, 0, :3].any()
    assert not result.valid[0, 0, 1, 0]
    assert result.valid[0, 0, 1, 1:].all()
    for name in PROJECTION_MAPS:
        assert np.isfinite(getattr(result, name)).all(), name
    assert result.attenuation_variance[0, 0, 0, 0] == INVALID_VARIANCE
    assert result.attenuation[0, 0, 0, 0] == 0


def test_low_visibility_pixels_keep_their_value():
    theta = equidistant(5)
    flat = curves(theta, 1e5, 0.3, np.zeros((1, 1)))
    result = retrieve(make_scan(curves(theta, 40.0, 0.1, np.zeros((1, 1)))[None], flat[None], theta), dtype=np.float64)
    assert not result.valid.any()
    assert result.dark_field.item() == pytest.approx(np.log(3.0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f, r: (np.where(f > 0, np.nan, f), r), r"frames\[0, 0\].*not finite"),
        (lambda f, r: (f - 1e4, r), r"frames\[0, 0\]: negative counts"),
        (lambda f, r: (f, r * 0), r"flats\[0, 0\]: no pixel has counts"),
        (lambda f, r: (f, np.where(r > 0, np.inf, r)), r"flats\[0, 0\].*not finite"),
        (lambda f, r: (f, r - 1e4), r"flats\[0, 0\]: negative counts"),
    ],
)
def test_senseless_frames_end_in_one_line(change, words):
    theta = equidistant(5)
    frames = curves(theta, 1e3, 0.2, np.zeros((2, 3)))[None]
    sample, flat = change(frames, frames)
    with pytest.raises(DarklungError, match=words) as caught:
        retrieve(make_scan(sample, flat, theta))
    assert "\n" not in str(caught.value)


def test_step_phases_that_determine_nothing_are_refused():
    frames = np.full((1, 4, 2, 2), 100.0)
    with pytest.raises(DarklungError, match="do not determine a sinusoid"):
        retrieve(make_scan(frames, frames, [0.0, 0.0, np.pi, np.pi]))
    with pytest.raises(DarklungError, match="at least 3 phase steps"):
        fit_harmonics(np.ones((2, 5)), [0.0, 1.0])
    with pytest.raises(DarklungError, match="reference: 'latest' is not known; known: eigenflats, interpolate, mean"):
        retrieve(make_scan(frames, frames, equidistant(4)), reference="latest")


def test_integer_dtypes_and_blocks_give_the_same():
    theta = equidistant(5)
    rng = stream(3, "blocks")
    frames = rng.poisson(curves(theta, 800.0, 0.3, np.zeros((7, 6)))[None], (5, 5, 7, 6))
    flats = rng.poisson(curves(theta, 800.0, 0.3, np.zeros((7, 6)))[None])
    whole = retrieve(make_scan(frames.astype(np.uint16), flats.astype(np.uint16), theta))
    other = retrieve(make_scan(frames.astype(np.float64), flats.astype(np.float64), theta))
    blocks = list(retrieve_blocks(make_scan(frames.astype(np.uint16), flats.astype(np.uint16), theta), views=2))
    assert [b.stop - b.start for b, _ in blocks] == [2, 2, 1]
    for name in PROJECTION_MAPS:
        np.testing.assert_array_equal(getattr(whole, name), getattr(other, name))
        joined = np.concatenate([getattr(part, name) for _, part in blocks], axis=1)
        np.testing.assert_array_equal(getattr(whole, name), joined)


def test_gain_scales_the_variances():
    scan = exact_scan(UNEVEN)[0]
    one, two = (retrieve(scan, fit=Fit(gain=gain), variance="pixel", dtype=np.float64) for gain in (1.0, 2.0))
    for name in ("attenuation", "dark_field", "phase"):
        np.testing.assert_allclose(getattr(two, f"{name}_variance"), 2 * getattr(one, f"{name}_variance"), rtol=1e-12)
        np.testing.assert_array_equal(getattr(two, name), getattr(one, name))
