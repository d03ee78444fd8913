"""Response curve from spheres of known diameter."""

from __future__ import annotations

import numpy as np
import pytest

from darklung.calibrate.beam_fits import PowderRows
from darklung.calibrate.figures import calibration_png
from darklung.calibrate.sphere_fits import compare_models, fit_spheres, leave_one_out
from darklung.calibrate.sphere_models import MODELS, SphereShape
from darklung.calibrate.spheres import SphereCalibration
from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.physics.constants import wavelength_m
from darklung.physics.scattering import hard_spheres, sphere, sphere_shape, two_phase

DIAMETERS_M = 1e-6 * np.array([0.17, 0.3, 0.5, 0.7, 0.9, 1.2, 1.5, 1.9, 3.6, 7.8])
XI_M, THICKNESS_M, ENERGY_KEV, DELTA, FILL = 1.3e-6, 0.012, 60.0, 1.2e-7, 0.1


def signal(offset=0.0, noise=0.0, seed=0):
    exact = THICKNESS_M * sphere(DIAMETERS_M, FILL, DELTA, ENERGY_KEV, XI_M) + offset
    return exact + stream(seed, "spheres").normal(0, noise, len(exact))


def calibrate(**options) -> SphereCalibration:
    offset = options.pop("fit_offset", True)
    return fit_spheres(diameter_m=DIAMETERS_M, signal=signal(**options), thickness_m=THICKNESS_M, offset=offset)


@pytest.mark.parametrize("offset", [0.0, 0.25])
def test_exact_data_give_the_physical_parameters(offset):
    found = calibrate(offset=offset)
    assert found.correlation_length_m == pytest.approx(XI_M, rel=1e-5)
    assert found.scale_per_m2 == pytest.approx(
        3 * np.pi**2 * FILL * DELTA**2 / float(wavelength_m(ENERGY_KEV)) ** 2, rel=1e-5
    )
    assert found.offset == pytest.approx(offset, abs=1e-6)
    assert found.residual < 1e-6


def test_errors_of_the_parameters_are_right():
    pulls = []
    for seed in range(80):
        found = calibrate(noise=0.01, offset=0.2, seed=seed)
        errors = np.sqrt(np.diag(found.covariance))
        true_scale = 3 * np.pi**2 * FILL * DELTA**2 / float(wavelength_m(ENERGY_KEV)) ** 2
        value = np.array([found.scale_per_m2 - true_scale, found.correlation_length_m - XI_M, found.offset - 0.2])
        pulls.append(value / errors)
    # Student's t with 7 degrees of freedom has a standard deviation of 1.18.
    assert np.std(pulls, axis=0) == pytest.approx(1.18, abs=0.25)
    assert abs(np.mean(pulls, axis=0)).max() < 0.4


def test_prediction_and_range():
    found = calibrate(noise=0.005, offset=0.1)
    value, error = found.predict(DIAMETERS_M)
    assert np.abs(value - signal(offset=0.1)).max() < 0.02
    assert (error > 0).all()
    outside, error = found.predict([0.1e-6, 20e-6])
    assert np.isnan(outside).all()
    assert np.isnan(error).all()


def test_inverse_has_two_branches():
    found = calibrate()
    assert found.peak_m == pytest.approx(1.771 * XI_M, rel=1e-2)
    for diameter in (1.5e-6, 4e-6):
        value = float(found.predict(diameter)[0])
        small, large = found.diameters(value)
        assert min(abs(small - diameter), abs(large - diameter)) < 1e-9
        assert small < found.peak_m < large
    only_small = float(found.predict(0.3e-6)[0])
    small, large = found.diameters(only_small)
    assert small == pytest.approx(0.3e-6, abs=1e-10)
    assert np.isnan(large), "the falling branch ends, inside the range, above this signal"
    assert all(np.isnan(found.diameters(99.0)))
    assert all(np.isnan(found.diameters(float("nan"))))


def test_leaving_one_out():
    predicted, inside = leave_one_out(PowderRows(DIAMETERS_M, signal(), np.array(THICKNESS_M)))
    np.testing.assert_allclose(predicted, signal(), atol=1e-6)
    assert inside.tolist() == [False, *[True] * 8, False]


def test_peak_is_the_maximum_of_g():
    ratio = np.linspace(1.5, 2.0, 5001)
    assert ratio[np.argmax(sphere_shape(ratio))] == pytest.approx(1.771, abs=2e-3)
    assert calibrate().peak_m / XI_M == pytest.approx(1.771, rel=0.01)


def test_packed_spheres_are_the_two_phase_medium_and_hard_ones_the_hard_sphere_fluid():
    ratio, fill, xi = np.array([0.3, 1.0, 3.0, 10.0]), 0.4, 1e-6
    scale = 3 * np.pi**2 * fill * DELTA**2 / float(wavelength_m(ENERGY_KEV)) ** 2
    for model, truth in (
        ("packed", [two_phase(fill, 6 * fill / (r * xi), DELTA, ENERGY_KEV, xi) for r in ratio]),
        ("hard", [hard_spheres(r * xi, fill, DELTA, ENERGY_KEV, xi) for r in ratio]),
    ):
        np.testing.assert_allclose(scale * xi * SphereShape(model, fill)(ratio), truth, rtol=2e-3, err_msg=model)
    with pytest.raises(DarklungError, match=r"fill: wanted 0 to 0\.5, got 0\.6"):
        SphereShape("hard", 0.6)
    with pytest.raises(DarklungError, match="sphere model: 'cubes' is not known; known: dilute, hard, packed"):
        SphereShape("cubes", 0.3)


def test_foams_of_known_interface_calibrate_as_packed_spheres():
    phi, area, xi = 0.2, np.array([3e4, 5e4, 8e4, 1.2e5, 2e5]), 2e-6
    seen = THICKNESS_M * two_phase(phi, area, DELTA, ENERGY_KEV, xi)
    found = fit_spheres(
        diameter_m=6 * phi / area, signal=seen, thickness_m=THICKNESS_M, offset=False, shape=SphereShape("packed", phi)
    )
    assert found.correlation_length_m == pytest.approx(xi, rel=1e-4)
    assert found.residual < 1e-6


@pytest.mark.parametrize("model", MODELS)
def test_the_model_that_made_the_data_wins(model):
    xi, base = 1.1e-6, 0.15
    exact = 0.3 * SphereShape(model, 0.5)(DIAMETERS_M / xi) + base
    noisy = exact + stream(3, model).normal(0, 0.002, len(exact))
    rows = compare_models(PowderRows(DIAMETERS_M, noisy, np.array(THICKNESS_M)))
    assert (rows[0].fit.shape.model, rows[0].offset) == (model, True)
    assert rows[0].fit.correlation_length_m == pytest.approx(xi, rel=0.1)
    assert rows[0].offset_p < 1e-4
    assert len(rows) == 2 * len(MODELS)
    without = compare_models(PowderRows(DIAMETERS_M, noisy - base, np.array(THICKNESS_M)))
    assert next(r for r in without if r.fit.shape.model == model and r.offset).offset_p > 1e-3


def test_band_holds_the_truth_at_its_level():
    inside = []
    for seed in range(60):
        low, high = calibrate(noise=0.01, offset=0.2, seed=seed).band(DIAMETERS_M[[1, 4, 7, 8]])
        truth = signal(offset=0.2)[[1, 4, 7, 8]]
        inside.append((low < truth) & (truth < high))
    assert 0.90 < np.mean(inside) < 0.99


def test_senseless_input():
    with pytest.raises(DarklungError, match="3 parameters need at least 4 different diameters"):
        fit_spheres(diameter_m=[1e-6] * 5, signal=np.ones(5), thickness_m=0.01)
    with pytest.raises(DarklungError, match="signal: wanted axes"):
        fit_spheres(diameter_m=DIAMETERS_M, signal=np.ones(3), thickness_m=0.01)
    with pytest.raises(DarklungError, match="not finite"):
        fit_spheres(diameter_m=DIAMETERS_M, signal=np.full(10, np.nan), thickness_m=0.01)
    with pytest.raises(DarklungError, match="thickness_m"):
        fit_spheres(diameter_m=DIAMETERS_M, signal=signal(), thickness_m=0.0)


def test_figure(tmp_path):
    calibration_png((calibrate(noise=0.01),), tmp_path / "curve.png", title="test")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
