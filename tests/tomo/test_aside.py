"""A full turn with the detector aside of the axis, in a parallel beam, and what a reader of a volume is told."""

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry, field_width, is_full_turn
from darklung.tomo.beams import field_shape, filtered, filtered_variance
from darklung.tomo.fbp import fbp_gradient
from darklung.tomo.sinogram import cautions

PIXEL = 1e-3
MU = 100.0


def turn(views, degrees=360):
    return np.arange(views) * np.radians(degrees) / views


def disc(angles, cols, axis, *, at=(6.0, -4.0), radius=18.0):
    """Line integrals (view, row, col) of a disc of MU, places and radius in pixels; and their derivative along s."""
    s = np.arange(cols) - axis - (at[0] * np.cos(angles) + at[1] * np.sin(angles))[:, None]
    half = np.sqrt(np.maximum(radius**2 - s**2, 0))
    return (2 * PIXEL * MU * half)[:, None].astype(np.float32)


def inside(volume, radius, at=(6.0, -4.0)):
    n = volume.shape[-1]
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    return volume[0][(x - at[0]) ** 2 + (y - at[1]) ** 2 < radius**2]


@pytest.mark.parametrize(("cols", "axis"), [(42, 10.0), (42, 31.0), (40, 4.0), (36, 0.0), (60, 27.3), (64, 31.5)])
def test_a_full_turn_gives_the_disc_wherever_the_axis_falls(cols, axis):
    angles = turn(360)
    geometry = ParallelGeometry(angles, 1, cols, PIXEL, axis)
    volume = filtered(disc(angles, cols, axis), geometry)
    assert volume.shape[-1] == field_width(geometry) == field_shape(geometry)[2]
    values = inside(volume, 15)
    assert values.mean() == pytest.approx(MU, rel=0.01)
    assert np.std(values) < 0.05 * MU


def test_a_wide_object_is_seen_whole_by_half_a_detector():
    """Twice as wide as the detector on one side of the axis: rings of equal area have the disc's value everywhere."""
    angles, axis = turn(720), 3.0
    geometry = ParallelGeometry(angles, 1, 40, PIXEL, axis)
    volume = filtered(disc(angles, 40, axis, at=(0, 0), radius=32), geometry)[0]
    n = len(volume)
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    r = np.hypot(x, y)
    for low, high in ((4, 10), (10, 20), (20, 29)):
        assert volume[(r >= low) & (r < high)].mean() == pytest.approx(MU, rel=0.02)
    assert abs(volume[(r > 34) & (r < 36)].mean()) < 0.05 * MU


def test_the_weights_change_nothing_where_both_views_are_whole():
    """The axis one column off the middle, as aligned scans have it: both ways are the same to the noise of sampling."""
    angles = turn(360)
    near = ParallelGeometry(angles, 1, 60, PIXEL, 29.0)
    assert field_width(near) == 60
    aside = ParallelGeometry(angles, 1, 60, PIXEL, 26.0)
    first = inside(filtered(disc(angles, 60, 29.0), near), 15)
    second = inside(filtered(disc(angles, 60, 26.0), aside), 15)
    assert second.mean() == pytest.approx(first.mean(), rel=2e-3)


def test_the_variance_is_that_of_the_weighted_sum():
    rng, angles = np.random.default_rng(0), turn(90)
    geometry = ParallelGeometry(angles, 1, 24, PIXEL, 5.0)
    level = 0.02
    noise = [filtered(rng.normal(0, level, (90, 1, 24)).astype(np.float32), geometry)[0] for _ in range(200)]
    stated = filtered_variance(np.full((90, 1, 24), level**2, np.float32), geometry)[0]
    n = len(stated)
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    for low, high in ((0, 4), (6, 10), (11, 16)):
        ring = (np.hypot(x, y) >= low) & (np.hypot(x, y) < high)
        assert np.var(noise, axis=0)[ring].mean() == pytest.approx(stated[ring].mean(), rel=0.06)


def test_gradients_of_a_full_turn_too():
    angles, cols, axis = turn(720), 44, 10.0
    fine = disc(angles, 4 * cols, 4 * axis + 1.5, at=(24.0, -16.0), radius=72.0) / 4  # a quarter of a pixel
    steps = np.gradient(fine, PIXEL / 4, axis=2).reshape(720, 1, cols, 4).mean(axis=3)
    geometry = ParallelGeometry(angles, 1, cols, PIXEL, axis)
    volume = fbp_gradient(steps, geometry, shape=field_shape(geometry))
    assert inside(volume, 13).mean() == pytest.approx(MU, rel=0.03)


@pytest.mark.parametrize(
    ("angles", "full"),
    [
        (turn(120), True),
        (turn(120, 180), False),
        (turn(121) * 121 / 120, True),  # the first view again at the end
        (np.mod(np.arange(200) * 2.399963, 2 * np.pi), True),  # golden angle
        (turn(360)[:320], False),  # a wedge is missing
        (turn(3), False),
        (turn(4, 180), False),
    ],
)
def test_which_turns_are_full(angles, full):
    assert is_full_turn(angles) is full


@pytest.mark.parametrize("axis", [np.nan, np.inf, -5.0, -0.5, 20.0, 1e9])
def test_an_axis_off_the_detector_is_refused(axis):
    with pytest.raises(DarklungError, match="axis_col: wanted 0 to 19"):
        ParallelGeometry(turn(8), 1, 20, PIXEL, axis)


def told(angles, cols=64, axis=31.5, analytic=True, **more):
    return cautions(disc(angles, cols, axis, **more), ParallelGeometry(angles, 1, cols, PIXEL, axis), analytic=analytic)


def test_an_ordinary_scan_is_told_nothing():
    assert told(turn(120, 180)) == told(turn(360)) == told(turn(360), cols=42, axis=10.0) == []
    noise = np.random.default_rng(0).normal(0, 0.01, (120, 8, 64)).astype(np.float32)
    assert cautions(noise + disc(turn(120), 64, 31.5), ParallelGeometry(turn(120), 8, 64, PIXEL), analytic=True) == []
    assert cautions(0 * noise, ParallelGeometry(turn(120), 8, 64, PIXEL), analytic=True) == []


def test_few_views_a_truncated_object_and_half_a_turn_aside_are_told():
    assert told(turn(40, 180)) == ["40 views for 64 columns: fbp wants about 101, fewer make streaks"]
    assert told(turn(40, 180), analytic=False) == []
    assert ["beyond the detector" in line for line in told(turn(120, 180), radius=40.0)] == [True]
    assert ["beyond the detector" in line for line in told(turn(360), cols=42, axis=10.0, radius=40.0)] == [True]
    (line,) = told(turn(180, 180), cols=64, axis=22.0, radius=12.0)
    assert "10 columns off the middle in less than a full turn" in line
    assert "22 mm" in line


def test_a_turn_that_closes_on_its_first_view_is_as_good():
    errors = []
    for views in (60, 61):
        angles = np.arange(views) * 2 * np.pi / 60
        found = inside(filtered(disc(angles, 44, 10.0), ParallelGeometry(angles, 1, 44, PIXEL, 10.0)), 13)
        assert found.mean() == pytest.approx(MU, rel=5e-3)
        errors.append(float(np.std(found)))
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)  # a line that one view alone sees must not be lost
