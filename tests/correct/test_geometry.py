"""Axis, tilt, shifts and magnification of analytic blobs, found and taken out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import Projections
from darklung.correct.geometry import Alignment, align, estimate_magnification, estimate_shifts, estimate_tilt

ROWS, COLS, VIEWS = 48, 72, 40
# Blobs: x, y, z, width [pixels], strength.
BLOBS = np.array([[8, -6, -12, 4.0, 0.8], [-10, 4, 6, 5.0, 1.0], [3, 11, 13, 3.5, 0.6], [-2, -3, -2, 8.0, 0.7]])


def blobs(*, axis=35.5, tilt=0.0, shifts=None, magnification=1.0, noise=0.0, arc=2 * np.pi):
    """Line integrals of the blobs as a detector sees them that is placed so; (view, row, col)."""
    angles = np.linspace(0, arc, VIEWS, endpoint=False)
    shifts = np.zeros((VIEWS, 2)) if shifts is None else shifts
    row, col = np.meshgrid(np.arange(ROWS), np.arange(COLS), indexing="ij")
    result = np.zeros((VIEWS, ROWS, COLS))
    for view, angle in enumerate(angles):
        down = (row - (ROWS - 1) / 2 - shifts[view, 0]) / magnification
        right = (col - axis - shifts[view, 1]) / magnification
        u, w = right * np.cos(tilt) - down * np.sin(tilt), right * np.sin(tilt) + down * np.cos(tilt)
        for x, y, z, width, strength in BLOBS:
            s = x * np.cos(angle) + y * np.sin(angle)
            result[view] += strength * np.exp(-((u - s) ** 2 + (w - z) ** 2) / (2 * width**2))
    result += noise * stream(0, "geometry").normal(size=result.shape)
    return projections(result, angles)


def projections(values, angles):
    maps = values[None].astype(np.float32)
    one = np.ones_like(maps)
    geometry = ParallelGeometry(angles, ROWS, COLS, 1e-4)
    return Projections(
        attenuation=maps,
        dark_field=0.5 * maps,
        phase=np.sin(3 * maps),
        attenuation_variance=0.01 * one,
        dark_field_variance=0.02 * one,
        phase_variance=0.03 * one,
        visibility=0.1 * one,
        flat_visibility=0.2 * one,
        valid=np.ones(maps.shape, bool),
        directions_rad=np.array([np.pi / 2]),
        geometry=geometry,
    )


@pytest.mark.parametrize("tilt", [0.0, 0.03, -0.05])
def test_axis_and_tilt_are_found(tilt):
    found = estimate_tilt(blobs(axis=37.3, tilt=tilt, noise=0.02))
    print(
        f"axis {found.axis_col:.3f} ± {found.axis_error:.3f} (37.3), tilt {found.tilt_rad:.4f} ± {found.tilt_error_rad:.4f}"
    )
    assert found.axis_col == pytest.approx(37.3, abs=0.05)
    assert found.tilt_rad == pytest.approx(tilt, abs=0.002)
    assert 0 < found.tilt_error_rad < 0.002


def test_a_pair_at_0_and_180_degrees_is_enough():
    found = estimate_tilt(blobs(axis=37.3, tilt=0.03, noise=0.02, arc=np.pi * VIEWS / (VIEWS - 1)))
    assert found.tilt_rad == pytest.approx(0.03, abs=0.003)
    assert np.isnan(found.tilt_error_rad)
    with pytest.raises(DarklungError, match="a tilt shows in opposite views"):
        estimate_tilt(blobs(arc=np.pi / 2))


def test_dead_pixels_do_not_pull_the_axis():
    seen, good = blobs(axis=37.3, tilt=0.03), np.ones((ROWS, COLS), bool)
    good[stream(2, "dead").random(good.shape) < 0.01] = False
    dead = replace(seen, attenuation=np.where(good, seen.attenuation, 0), valid=np.broadcast_to(good, seen.valid.shape))
    found = estimate_tilt(dead)
    assert found.axis_col == pytest.approx(37.3, abs=0.01)
    assert found.tilt_rad == pytest.approx(0.03, abs=2e-4)
    assert np.abs(estimate_shifts(dead) - estimate_shifts(seen)).max() < 0.02


def random_shifts(seed=1):
    """Jitter of rows and columns without what looks like an orbit."""
    shifts = stream(seed, "shifts").normal(size=(VIEWS, 2)) * [0.8, 1.0]
    angles = np.linspace(0, 2 * np.pi, VIEWS, endpoint=False)
    orbit = np.stack([np.ones(VIEWS), np.cos(angles), np.sin(angles)], axis=1)
    shifts[:, 1] -= orbit @ np.linalg.lstsq(orbit, shifts[:, 1], rcond=None)[0]
    shifts[:, 0] -= shifts[:, 0].mean()
    return shifts


def test_shifts_are_found():
    shifts = random_shifts()
    found = estimate_shifts(blobs(shifts=shifts, noise=0.01))
    np.testing.assert_allclose(found[:, 0], shifts[:, 0], atol=0.12)
    np.testing.assert_allclose(found[:, 1], shifts[:, 1], atol=0.25)
    assert np.abs(found - shifts).mean() < 0.1 * np.abs(shifts).mean()


@pytest.mark.parametrize("magnification", [0.94, 1.0, 1.06])
def test_magnification_is_found(magnification):
    first = blobs(noise=0.01).attenuation[0, 3]
    shifts = np.tile([0.7, -1.2], (VIEWS, 1))
    second = blobs(magnification=magnification, shifts=shifts, noise=0.01).attenuation[0, 3]
    m, down, right = estimate_magnification(first, second)
    assert m == pytest.approx(magnification, abs=2e-3)
    assert (down, right) == pytest.approx((0.7, -1.2), abs=0.05)


def test_everything_is_taken_out_with_one_resampling():
    flaws = {"axis": 36.4, "tilt": 0.03, "shifts": random_shifts(), "magnification": 1.04}
    flawed, wanted = blobs(**flaws), blobs(axis=36.4)
    shifts = flaws.pop("shifts")
    right = align(flawed, Alignment(36.4, flaws["tilt"], shifts, flaws["magnification"]))
    inside = right.valid & (np.abs(np.arange(COLS) - 36) < 28)
    before = np.abs(flawed.attenuation - wanted.attenuation)[inside].max()
    assert np.abs(right.attenuation - wanted.attenuation)[inside].max() < 0.01 < 0.2 < before
    assert np.abs(right.dark_field - wanted.dark_field)[inside].max() < 0.01
    assert np.abs(right.phase - wanted.phase)[inside].max() < 0.05
    assert right.geometry.axis_col == 36.4
    np.testing.assert_allclose(right.attenuation_variance, 0.01, rtol=1e-5)
    assert not right.valid.all(), "what was never seen is not valid"


def test_estimates_and_correction_together():
    """Tilt and shifts that are not told: the estimate leaves a tenth of the error."""
    shifts = 0.7 * random_shifts(2)
    flawed, wanted = blobs(axis=36.4, tilt=0.04, shifts=shifts, noise=0.01), blobs(axis=36.4)
    first = estimate_tilt(flawed)
    upright = align(flawed, first)
    moved = estimate_shifts(upright)
    both = align(flawed, Alignment(first.axis_col, first.tilt_rad, moved))
    inside = both.valid & (np.abs(np.arange(COLS) - 36) < 28)
    before, after = (float(np.std((p.attenuation - wanted.attenuation)[inside])) for p in (flawed, both))
    print(f"error of −ln T: {before:.4f} before, {after:.4f} after (noise 0.01)")
    assert after < 0.25 * before


def test_bad_pixels_spread_and_senseless_options_are_told():
    made = blobs()
    made.valid[0, 0, 20, 30] = False
    turned = align(made, Alignment(35.5, 0.02, np.zeros((VIEWS, 2))))
    assert 1 <= (~turned.valid[0, 0, 15:26, 25:36]).sum() <= 9
    with pytest.raises(DarklungError, match="pairs: wanted at least 1"):
        estimate_tilt(made, pairs=0)
    with pytest.raises(DarklungError, match="tilt_rad"):
        Alignment(35.5, 1.0, np.zeros((VIEWS, 2)))
    with pytest.raises(DarklungError, match="shifts: wanted axes"):
        align(made, Alignment(35.5, 0.0, np.zeros((3, 2))))
    empty = projections(np.zeros((VIEWS, ROWS, COLS)), made.geometry.angles_rad)
    with pytest.raises(DarklungError, match="a view without an object"):
        estimate_shifts(empty)
