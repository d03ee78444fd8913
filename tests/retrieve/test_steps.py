"""Joint estimation of step positions and doses: what it recovers, what it cannot, and that the maps come out as if ideal."""

from __future__ import annotations

import numpy as np
import pytest
from retrieve_scans import curves, equidistant, make_scan

from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.retrieve.harmonic import step_design
from darklung.retrieve.stepping import retrieve, retrieve_blocks
from darklung.retrieve.steps import MOST_PIXELS, estimate_steps, spread_sample

PIXELS, AIR = 6000, 1000


def one_view(steps, *, seed=0, rotation=0.0, noise=True, phase_error=0.03, dose_error=0.05):
    rng = stream(seed, "steps", steps)
    theta = equidistant(steps)
    phase = rng.uniform(-np.pi, np.pi, PIXELS)
    amplitude, visibility = rng.uniform(300, 1000, PIXELS), rng.uniform(0.05, 0.2, PIXELS)
    amplitude[:AIR], visibility[:AIR] = 1000, 0.2
    error, dose = rng.normal(0, phase_error, steps), 1 + rng.normal(0, dose_error, steps)
    error, dose = error - error.mean(), dose / dose.mean()
    expected = dose[:, None] * curves(theta, amplitude, visibility, phase + rotation) if not phase_error else None
    if expected is None:
        expected = dose[:, None] * amplitude * (1 + visibility * np.cos((theta + error)[:, None] + phase + rotation))
    flat = np.stack([amplitude, amplitude * visibility * np.cos(phase), -amplitude * visibility * np.sin(phase)])
    return (rng.poisson(expected) if noise else expected), theta, error, dose, flat


@pytest.mark.parametrize("steps", [4, 5, 8, 11])
@pytest.mark.parametrize("rotation", [0.0, 2.8, -1.3])
def test_with_air_phases_and_doses_are_found(steps, rotation):
    counts, theta, error, dose, flat = one_view(steps, rotation=rotation)
    found = estimate_steps(counts, theta, air=np.arange(PIXELS) < AIR, air_coefficients=flat)
    # A thousand pixels of a thousand counts a step: 0.007 rad and 0.001 from the air alone.
    np.testing.assert_allclose(found.phases_rad - theta, error, atol=0.025)
    np.testing.assert_allclose(found.dose, dose, atol=0.004)
    if steps >= 8:
        assert found.residual_before > 1.2
        assert found.residual_after == pytest.approx(1.0, abs=0.03)


def test_exact_frames_give_exact_steps():
    counts, theta, error, dose, flat = one_view(7, noise=False)
    found = estimate_steps(counts, theta, air=np.arange(PIXELS) < AIR, air_coefficients=flat)
    np.testing.assert_allclose(found.phases_rad - theta, error, atol=1e-4)
    np.testing.assert_allclose(found.dose, dose, atol=1e-4)


def test_without_air_the_frames_leave_only_the_pattern_that_looks_like_a_modulation():
    """The remaining difference maps one solution to the other by a 3 × 3 matrix, so residuals are those of the truth."""
    counts, theta, error, dose, _ = one_view(9, noise=False)
    found = estimate_steps(counts, theta)
    truth = step_design(theta + error, dose).matrix
    estimate = step_design(found.phases_rad, found.dose).matrix
    mixing = np.linalg.lstsq(estimate, truth, rcond=None)[0]
    np.testing.assert_allclose(estimate @ mixing, truth, atol=2e-3)
    assert np.abs(found.dose - dose).max() > 0.005, "if this fails, frames tell more than the docstring says"


def test_known_dose_needs_no_air():
    counts, theta, error, _, _ = one_view(8, dose_error=0.0)
    found = estimate_steps(counts, theta, dose=False)
    np.testing.assert_allclose(found.phases_rad - theta, error, atol=0.03)
    np.testing.assert_array_equal(found.dose, 1.0)


def test_ideal_steps_stay_as_they_are():
    counts, theta, _, _, flat = one_view(5, phase_error=0.0, dose_error=0.0)
    found = estimate_steps(counts, theta, air=np.arange(PIXELS) < AIR, air_coefficients=flat)
    np.testing.assert_allclose(found.phases_rad, theta, atol=0.025)
    np.testing.assert_allclose(found.dose, 1.0, atol=0.004)


def test_senseless_input():
    counts, theta, _, _, flat = one_view(5)
    with pytest.raises(DarklungError, match="no pixel has counts"):
        estimate_steps(counts * 0, theta)
    with pytest.raises(DarklungError, match="air: wanted at least 3 pixels, got 0"):
        estimate_steps(counts, theta, air=np.zeros(PIXELS, bool), air_coefficients=flat)
    with pytest.raises(DarklungError, match="air_coefficients"):
        estimate_steps(counts, theta, air=np.ones(PIXELS, bool))
    with pytest.raises(DarklungError, match="curves"):
        estimate_steps(counts[:4], theta)
    assert len(spread_sample(np.ones(10 * MOST_PIXELS, bool))) == MOST_PIXELS


VIEWS, FLATS, ROWS, COLS = 4, 24, 30, 160
OUTSIDE = np.r_[0:24, 136:160]


def jittered_scan(steps, *, errors: bool):
    """Steps off by 20 nm of a 4.2 µm grating, doses by 5 %, in views and flats; the flat drifts from start to end."""
    rng = stream(7, "jitter", steps)
    theta = equidistant(steps)
    row, col = np.mgrid[:ROWS, :COLS]
    background = 2 * np.pi * (col / 90 + row / 70)
    pixel_gain = np.exp(0.05 * rng.normal(size=(ROWS, COLS)))
    body = np.exp(-(((col - 80) / 36) ** 4)) * (np.abs(col - 80) < 54)
    truth = {
        "attenuation": 0.6 * body,
        "dark_field": 1.0 * body * (1 + 0.3 * np.sin(row / 5)),
        "phase": 0.5 * np.sin(col / 9) * body,
    }

    def frames(times, attenuation, dark_field, phase):
        stack = []
        for time in times:
            wrong = rng.normal(0, 2 * np.pi * 20e-9 / 4.2e-6, steps) * errors
            dose = 1 + rng.normal(0, 0.05, steps) * errors
            drift = time * errors
            amplitude = 1000 * (1 - 0.05 * drift) * pixel_gain * np.exp(-attenuation)
            visibility = 0.2 * (1 - 0.1 * drift) * np.exp(-dark_field)
            expected = curves(theta + wrong, amplitude, visibility, background + phase + 0.5 * drift)
            stack.append(rng.poisson(dose[:, None, None] * expected))
        return np.stack(stack)

    view_time, flat_time = np.linspace(0.2, 0.8, VIEWS), np.r_[np.zeros(FLATS // 2), np.ones(FLATS // 2)]
    sample = frames(view_time, **truth)
    flats = frames(flat_time, **dict.fromkeys(truth, 0.0))
    return make_scan(sample, flats, theta, view_time_s=view_time, flat_time_s=flat_time), truth


def noise_of(result, truth, name):
    """Scatter about the truth where valid, the air offset of each view taken off (dose and phase common to a view)."""
    error = getattr(result, name)[0] - truth[name]
    error = error - error[..., OUTSIDE].mean(axis=(1, 2), keepdims=True)
    return float(error[result.valid[0]].std())


@pytest.mark.parametrize("steps", [5, 8])
def test_errors_of_steps_dose_and_flat_are_corrected(steps):
    ideal_scan, truth = jittered_scan(steps, errors=False)
    scan, _ = jittered_scan(steps, errors=True)
    ideal = retrieve(ideal_scan, dtype=np.float64)
    plain = retrieve(scan, dtype=np.float64)
    corrected = retrieve(scan, reference="interpolate", steps="estimate", air_cols=OUTSIDE, dtype=np.float64)
    for name in truth:
        noise = [noise_of(result, truth, name) for result in (ideal, plain, corrected)]
        print(f"{steps} steps, {name}: ideal {noise[0]:.4f}, uncorrected {noise[1]:.4f}, corrected {noise[2]:.4f}")
        assert noise[2] < 1.3 * noise[0], name
    assert noise_of(plain, truth, "dark_field") > 1.3 * noise_of(ideal, truth, "dark_field")


def test_dark_frame_with_unequal_doses():
    """The dark signal does not scale with the dose, so its part in every coefficient has to go."""
    theta, dose = equidistant(5), np.array([1.1, 0.9, 1.05, 0.95, 1.0])
    shape = (20, 30)
    phase = stream(2, "dark").uniform(-np.pi, np.pi, shape)
    flat = curves(theta, 1000.0, 0.2, phase) + 400
    sample = dose[:, None, None] * curves(theta, 600.0, 0.1, phase) + 400
    sample[..., :10] = (dose[:, None, None] * curves(theta, 1000.0, 0.2, phase) + 400)[..., :10]
    scan = make_scan(sample[None], flat[None], theta, dark_frame=np.full(shape, 400.0))
    result = retrieve(scan, steps="estimate", air_cols=range(10), dtype=np.float64)
    np.testing.assert_allclose(result.attenuation[0, 0, :, 10:], np.log(1000 / 600), atol=2e-3)
    np.testing.assert_allclose(result.dark_field[0, 0, :, 10:], np.log(2), atol=2e-2)


def test_options():
    scan, _ = jittered_scan(5, errors=True)
    with pytest.raises(DarklungError, match="steps: 'guess' is not known; known: estimate, nominal, ramp"):
        retrieve(scan, steps="guess")
    with pytest.raises(DarklungError, match="air_cols: wanted columns 0 to 159"):
        retrieve(scan, steps="estimate", air_cols=[160])
    whole = retrieve(scan, steps="estimate", air_cols=OUTSIDE)
    (_, first), *_ = retrieve_blocks(scan, views=2, steps="estimate", air_cols=OUTSIDE)
    np.testing.assert_array_equal(whole.dark_field[:, :2], first.dark_field)
