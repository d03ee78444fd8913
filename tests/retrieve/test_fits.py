"""Poisson likelihood, higher harmonics and steps with a phase ramp, against truth and an independent optimiser."""

from __future__ import annotations

import numpy as np
import pytest
from retrieve_scans import curves, equidistant, make_scan
from scipy.optimize import minimize

from darklung.core.checks import DarklungError
from darklung.core.fitting import Fit
from darklung.core.random import stream
from darklung.retrieve.fits import fit_curves, fit_pixelwise
from darklung.retrieve.harmonic import StepModel, harmonics_of, nominal_steps
from darklung.retrieve.stepping import retrieve

LIKELIHOOD = Fit(method="likelihood")


def grid(steps, *, amplitude, visibility, size=(60, 80), seed=0, dose=None):
    """Noisy curves (step, row, col) with one amplitude and visibility and random phases, and the phases."""
    rng = stream(seed, "fits", steps, str(amplitude), str(visibility))
    phase = rng.uniform(-np.pi, np.pi, size)
    expected = curves(equidistant(steps), amplitude, visibility, phase)
    expected = expected if dose is None else np.asarray(dose)[:, None, None] * expected
    return rng.poisson(expected), phase


def test_one_matrix_and_a_matrix_for_each_pixel_agree():
    frames, _ = grid(7, amplitude=300.0, visibility=0.3)
    dark = np.full(frames.shape[1:], 5.0)
    model = StepModel(equidistant(7) + 0.1 * np.sin(np.arange(7)), 1 + 0.1 * np.cos(np.arange(7)), np.zeros((7, 2)))
    one, spread = fit_curves(frames, dark, model, Fit())
    each, spreads, _ = fit_pixelwise(frames, dark, model, Fit())
    np.testing.assert_allclose(each, one, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(spreads, spread, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("steps", "amplitude", "visibility"), [(5, 8.0, 0.6), (8, 3.0, 0.4), (4, 200.0, 0.8)])
def test_likelihood_equals_an_independent_optimiser(steps, amplitude, visibility):
    frames, _ = grid(steps, amplitude=amplitude, visibility=visibility, size=(3, 4))
    found, _, _ = fit_pixelwise(frames, np.zeros((3, 4)), nominal_steps(equidistant(steps)), LIKELIHOOD)
    matrix = np.stack([np.ones(steps), np.cos(equidistant(steps)), np.sin(equidistant(steps))], axis=1)

    def cost(c, counts):
        expected = matrix @ c
        return np.inf if (expected <= 0).any() else float((expected - counts * np.log(expected)).sum())

    for row, col in np.ndindex(3, 4):
        counts = frames[:, row, col]
        best = min(
            (minimize(cost, start, args=(counts,), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12})
             for start in ([counts.mean(), 0.1, 0.1], found[:, row, col])),
            key=lambda result: result.fun,
        )  # fmt: skip
        assert cost(found[:, row, col], counts) <= best.fun + 1e-5


def scatter(fit, visibility, *, counts, dose=None, steps=5):
    """Standard deviation and mean pull of ln V over many pixels."""
    frames, _ = grid(steps, amplitude=counts / steps, visibility=visibility, size=(150, 200), dose=dose)
    model = StepModel(equidistant(steps), np.ones(steps) if dose is None else np.asarray(dose), np.zeros((steps, 2)))
    coefficients, covariance = fit_curves(frames, np.zeros(frames.shape[1:]), model, fit)
    found = harmonics_of(coefficients, covariance, steps)
    error = np.log(found.visibility) - np.log(visibility)
    return float(error.std()), float((error / np.sqrt(found.log_visibility_variance)).std())


def test_likelihood_is_no_worse_and_its_errors_are_right():
    for visibility, counts, gain in ((0.2, 5000, 0.98), (0.8, 2000, 1.1)):
        squares, _ = scatter(Fit(), visibility, counts=counts)
        best, pull = scatter(LIKELIHOOD, visibility, counts=counts)
        assert best <= squares * 1.002
        assert squares / best > gain
        assert 0.96 < pull < 1.04
    uneven = [0.2, 2.0, 0.6, 1.4, 0.8]
    squares, _ = scatter(Fit(), 0.3, counts=5000, dose=uneven)
    best, pull = scatter(LIKELIHOOD, 0.3, counts=5000, dose=uneven)
    assert squares / best > 1.05, "unequal doses: the steps with few counts are the less noisy ones"
    assert 0.96 < pull < 1.04


def scan_with_harmonics(theta, size=(40, 50)):
    """Exact curves whose second and third harmonic are 15 % and 5 % of the first."""
    rng = stream(1, "harmonics")
    background = rng.uniform(-np.pi, np.pi, size)

    def curve(phase, damping):
        angle = np.asarray(theta)[:, None, None] + phase
        return 1e4 * (1 + 0.3 * (damping * np.cos(angle) + 0.15 * np.cos(2 * angle) + 0.05 * np.cos(3 * angle)))

    return make_scan(curve(background + 0.7, np.exp(-0.4))[None], curve(background, 1.0)[None], theta)


def test_harmonics_are_fitted_along_where_steps_are_uneven():
    theta = equidistant(9) + 0.25 * np.array([0, 1, -1, 1, 0, -1, 1, 0.5, -0.5])
    scan = scan_with_harmonics(theta)
    plain = retrieve(scan, dtype=np.float64)
    joint = retrieve(scan, fit=Fit(harmonics=3), dtype=np.float64)
    assert np.abs(joint.dark_field - 0.4).max() < 1e-6
    assert np.abs(joint.phase - 0.7).max() < 1e-6
    assert np.abs(plain.dark_field - 0.4).max() > 0.02, "left out, they leak into the first"
    even = retrieve(scan_with_harmonics(equidistant(9)), dtype=np.float64)
    assert np.abs(even.dark_field - 0.4).max() < 1e-6, "equidistant steps do not need them"


def test_too_few_steps_for_harmonics_are_told():
    with pytest.raises(DarklungError, match="harmonics: 3 need at least 7 phase steps, got 5"):
        retrieve(scan_with_harmonics(equidistant(5)), fit=Fit(harmonics=3))
    with pytest.raises(DarklungError, match="harmonics: wanted 1 to 3, got 4"):
        Fit(harmonics=4)
    with pytest.raises(DarklungError, match="method: 'mean' is not known"):
        Fit(method="mean")


def ramped_scan(*, errors, steps=6, size=(48, 120), views=2, air=range(0, 24)):
    """Phases that tilt over the detector differently in every step, doses off by 5 %, and air on one side."""
    rng = stream(3, "ramp")
    y, x = np.meshgrid(np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1]), indexing="ij")
    background = 2 * np.pi * (1.3 * x + 0.4 * y)
    lung = (x > -0.3) & (x < 0.8)

    def frames(count, attenuation, dark_field):
        stack = []
        for _ in range(count):
            a, b, c = (errors * scale * rng.normal(size=(steps, 1, 1)) for scale in (0.04, 0.15, 0.15))
            dose = 1 + errors * 0.05 * rng.normal(size=(steps, 1, 1))
            angle = equidistant(steps)[:, None, None] + a + b * y + c * x + background
            curve = 3000 * np.exp(-attenuation) * (1 + 0.25 * np.exp(-dark_field) * np.cos(angle))
            stack.append(rng.poisson(dose * curve))
        return np.stack(stack)

    return make_scan(frames(views, 0.3 * lung, 0.5 * lung), frames(8, 0.0, 0.0), equidistant(steps)), lung


def test_steps_that_tilt_are_corrected_by_the_ramp():
    ideal, lung = ramped_scan(errors=0)
    flawed, _ = ramped_scan(errors=1)
    noise = {}
    for name, scan, steps in (("ideal", ideal, "nominal"), ("none", flawed, "nominal"), ("global", flawed, "estimate"),
                              ("ramp", flawed, "ramp")):  # fmt: skip
        found = retrieve(scan, steps=steps, air_cols=range(0, 24), dtype=np.float64)
        noise[name] = float((found.dark_field[0] - 0.5 * lung)[found.valid[0]].std())
    print({name: round(value, 4) for name, value in noise.items()})
    assert noise["ramp"] < 1.3 * noise["ideal"]
    assert noise["none"] > 2 * noise["ideal"]
    assert noise["global"] > 1.1 * noise["ramp"]


def test_dark_signal_bad_pixels_and_flat_pixels_survive_the_pixelwise_fit():
    theta = equidistant(5)
    frames, phase = grid(5, amplitude=500.0, visibility=0.3, size=(12, 14))
    flat = curves(theta, 1000.0, 0.3, phase) + 40
    sample = (frames + 40).astype(float)
    sample[:, 3, 3] = np.nan
    sample[:, 5, 5] = 0
    bad = np.zeros((12, 14), bool)
    bad[3, 3] = True
    scan = make_scan(sample[None], flat[None], theta, dark_frame=np.full((12, 14), 40.0), bad_pixels=bad)
    found = retrieve(scan, fit=LIKELIHOOD)
    assert not found.valid[0, 0, 3, 3]
    assert not found.valid[0, 0, 5, 5]
    assert found.valid.sum() == 12 * 14 - 2
    for name in ("attenuation", "dark_field", "phase", "dark_field_variance"):
        assert np.isfinite(getattr(found, name)).all(), name
    assert float(np.median(found.attenuation)) == pytest.approx(np.log(2), abs=0.01)


def test_likelihood_climbs_where_hardly_a_photon_is_expected():
    """A step without counts shortens the way to the maximum; it must not turn it round."""
    counts = np.array([11, 6, 0, 4, 12], dtype=float).reshape(5, 1, 1)
    found, _, _ = fit_pixelwise(counts, np.zeros((1, 1)), nominal_steps(equidistant(5)), LIKELIHOOD)
    matrix = np.stack([np.ones(5), np.cos(equidistant(5)), np.sin(equidistant(5))], axis=1)
    expected = matrix @ found[:, 0, 0]
    assert (expected > 0).all()
    assert (counts[:, 0, 0] * np.log(expected) - expected).sum() > 39.34
