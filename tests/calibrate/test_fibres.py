"""Directional calibration: fibres at known angles, and the orientation of a sample."""

from __future__ import annotations

import numpy as np
import pytest

from darklung.calibrate.fibres import FibreCalibration, fit_fibres, orientations
from darklung.calibrate.figures import fibres_png
from darklung.core.checks import DarklungError
from darklung.core.random import stream

ANGLES = np.radians([0.0, 30.0, 60.0, 90.0, 120.0])
FOUR = np.radians([0.0, 45.0, 90.0, 135.0])
TURN = np.radians(2.0)


def seen(angle, directions, mean=1.0, modulation=0.4, turn=TURN):
    return mean * (1 - modulation * np.cos(2 * (np.asarray(directions) - np.asarray(angle)[..., None] - turn)))


def fit(noise=0.0, seed=0, directions=FOUR) -> FibreCalibration:
    signal = seen(ANGLES, directions)
    return fit_fibres(
        angle_rad=ANGLES, directions_rad=directions, signal=signal + stream(seed, "fibres").normal(0, noise, signal.shape)
    )


@pytest.mark.parametrize("directions", [FOUR, np.radians([0.0, 60.0, 120.0]), np.radians([10.0, 35.0, 100.0, 170.0, 200.0])])
def test_exact_signals_give_exact_parameters(directions):
    found = fit(directions=directions)
    assert found.turn_rad == pytest.approx(TURN, abs=1e-9)
    np.testing.assert_allclose(found.angle_error_rad, 0.0, atol=1e-9)
    np.testing.assert_allclose(found.modulation, 0.4, rtol=1e-9)
    np.testing.assert_allclose(found.mean, 1.0, rtol=1e-9)
    assert np.isnan(found.misfit) if len(directions) == 3 else found.misfit < 1e-9


def test_error_of_the_turn_is_right():
    pulls = np.array([(f.turn_rad - TURN) / f.turn_error_rad for f in (fit(noise=0.01, seed=s) for s in range(150))])
    # Student's t with 4 degrees of freedom has a standard deviation of 1.41.
    assert pulls.std() == pytest.approx(1.41, abs=0.35)
    assert abs(pulls.mean()) < 0.35


@pytest.mark.parametrize("degrees", [(0, 45, 90), (0, 30, 90), (0, 20, 50), (0, 10, 45, 90, 100)])
def test_the_angles_error_holds_for_uneven_directions_and_errors(degrees):
    directions = np.radians(degrees)
    sigma = (0.01 * np.linspace(0.5, 2.0, len(degrees)))[:, None, None]
    angles = np.linspace(0, np.pi, 12, endpoint=False)
    signal = np.moveaxis(seen(angles, directions, turn=0.0), -1, 0)[..., None]
    noisy = signal + sigma * stream(3, "uneven").normal(size=(len(degrees), len(angles), 4000))
    found = orientations(
        fit_fibres(angle_rad=ANGLES, directions_rad=directions, signal=seen(ANGLES, directions, turn=0.0)),
        dark_field=noisy, variance=sigma**2, directions_rad=directions,
    )  # fmt: skip
    error = (found.angle_rad - angles[:, None] + np.pi / 2) % np.pi - np.pi / 2
    np.testing.assert_allclose(np.nanstd(error, axis=1), np.nanmedian(found.angle_error_rad, axis=1), rtol=0.08)


def test_orientation_of_a_sample():
    calibration, sigma = fit(), 0.02
    angles = np.linspace(0, np.pi, 50, endpoint=False)
    signal = np.moveaxis(seen(angles, FOUR, mean=0.8, modulation=0.3), -1, 0)
    noisy = signal[..., None] + stream(1, "sample").normal(0, sigma, (*signal.shape, 400))
    found = orientations(calibration, dark_field=noisy, variance=sigma**2, directions_rad=FOUR)
    assert found.valid.mean() > 0.99
    error = (found.angle_rad - angles[:, None] + np.pi / 2) % np.pi - np.pi / 2
    pull = error / found.angle_error_rad
    assert np.nanstd(pull) == pytest.approx(1.0, abs=0.05)
    assert np.nanmean(found.relative) == pytest.approx(0.75, abs=0.02)
    assert not found.in_range.any(), "0.8 is below the bundles' mean of 1.0"
    assert ((found.angle_rad >= 0) & (found.angle_rad < np.pi))[found.valid].all()


def test_isotropic_or_empty_samples_have_no_angle():
    sigma = 0.02
    noise = stream(2, "isotropic").normal(0, sigma, (4, 5000))
    found = orientations(fit(), dark_field=1.0 + noise, variance=sigma**2, directions_rad=FOUR)
    assert found.valid.mean() < 0.03
    assert np.isnan(found.angle_rad[~found.valid]).all()
    empty = orientations(fit(), dark_field=np.zeros((4, 3)), variance=sigma**2, directions_rad=FOUR)
    assert not empty.valid.any()


def test_senseless_input():
    with pytest.raises(DarklungError, match="bundles at 2 or more different angles, got 1"):
        fit_fibres(angle_rad=[0.0, np.pi], directions_rad=FOUR, signal=seen([0.0, 0.0], FOUR))
    with pytest.raises(DarklungError, match="directions_rad: wanted 3 or more"):
        fit_fibres(angle_rad=ANGLES, directions_rad=[0.0, np.pi, 1.0], signal=np.ones((5, 3)))
    with pytest.raises(DarklungError, match="signal: wanted axes"):
        fit_fibres(angle_rad=ANGLES, directions_rad=FOUR, signal=np.ones((4, 5)))
    with pytest.raises(DarklungError, match="looks the same in all directions"):
        fit_fibres(angle_rad=ANGLES, directions_rad=np.radians([0.0, 60.0, 120.0]), signal=np.zeros((5, 3)) + 1.0)
    with pytest.raises(DarklungError, match="wanted 4 directions first"):
        orientations(fit(), dark_field=np.ones((3, 2)), variance=0.0, directions_rad=FOUR)


def test_figure(tmp_path):
    fibres_png(fit(noise=0.01), seen(ANGLES, FOUR), tmp_path / "fibres.png")
    assert (tmp_path / "fibres.png").read_bytes().startswith(b"\x89PNG")
