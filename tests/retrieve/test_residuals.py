"""Residuals, harmonic content and covariances against truth."""

from __future__ import annotations

import numpy as np
import pytest
from retrieve_scans import curves, equidistant, make_scan

from darklung.core.fitting import Fit
from darklung.core.random import stream
from darklung.retrieve.covariance import signal_covariance
from darklung.retrieve.harmonic import StepModel, nominal_steps
from darklung.retrieve.residuals import curve_residuals, harmonic_content
from darklung.retrieve.stepping import retrieve

SIZE = (100, 120)


def test_residuals_show_which_step_is_off():
    theta, rng = equidistant(7), stream(0, "residuals")
    phase = rng.uniform(-np.pi, np.pi, SIZE)
    dose = np.array([1, 1, 1.1, 1, 1, 1, 1.0])[:, None, None]
    frames = rng.poisson(dose * curves(theta, 500.0, 0.2, phase))
    scan = make_scan(frames[None], frames[None], theta)
    plain = curve_residuals(scan, nominal_steps(theta), direction=0, view=0, fit=Fit())
    assert np.argmax(plain.by_step) == 2
    assert np.nanmean(plain.misfit) > 1.3
    known = StepModel(theta, dose.ravel(), np.zeros((7, 2)))
    right = curve_residuals(scan, known, direction=0, view=0, fit=Fit())
    assert np.nanmean(right.misfit) == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(right.spread_by_step, np.sqrt(4 / 7), atol=0.05)


@pytest.mark.parametrize(("steps", "names"), [(4, set()), (5, {"second"}), (9, {"second", "third"})])
def test_harmonic_content(steps, names):
    theta, rng = equidistant(steps), stream(1, "content", steps)
    angle = theta[:, None, None] + rng.uniform(-np.pi, np.pi, SIZE)
    curve = 1 + 0.3 * np.cos(angle) + 0.03 * np.cos(2 * angle) + 0.012 * np.cos(3 * angle) * (steps > 6)
    scan = make_scan(rng.poisson(2000 * curve)[None], rng.poisson(2000 * curve)[None], theta)
    found = harmonic_content(scan)
    assert set(found) == names
    for name, true in (("second", 0.1), ("third", 0.04)):
        if name in names:
            ratio, error = found[name]
            assert abs(ratio - true) < 5 * error + 0.003


@pytest.mark.parametrize("method", ["least_squares", "likelihood"])
@pytest.mark.parametrize("theta", [equidistant(3), np.array([0, 0.7, 1.5, 3.0, 4.0])])
def test_covariances_equal_those_of_many_pixels(theta, method):
    rng, fit = stream(2, "covariance", len(theta)), Fit(method=method)
    frames = rng.poisson(curves(theta, 2000, 0.3, np.full((250, 250), 0.9)))
    flats = rng.poisson(curves(theta, 3000, 0.3, np.full((250, 250), 0.5)))
    scan = make_scan(frames[None], flats[None], theta)
    maps = retrieve(scan, fit=fit, dtype=np.float64)
    measured = np.cov([maps.attenuation.ravel(), maps.dark_field.ravel(), maps.phase.ravel()])
    stated = signal_covariance(scan, fit=fit)
    scale = np.sqrt(np.diag(measured))
    for name, (i, j) in (("attenuation_dark_field", (0, 1)), ("attenuation_phase", (0, 2)), ("dark_field_phase", (1, 2))):
        assert np.mean(getattr(stated, name)) == pytest.approx(measured[i, j], abs=0.02 * scale[i] * scale[j]), name
    assert stated.largest_correlation > 0.05


def test_equidistant_steps_leave_the_signals_uncorrelated():
    frames = curves(equidistant(5), 2000.0, 0.3, np.linspace(-3, 3, 200).reshape(10, 20))[None]
    assert signal_covariance(make_scan(frames, frames, equidistant(5))).largest_correlation < 1e-9
