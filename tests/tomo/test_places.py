"""Where a point of a volume is seen: by the formula, and by the projectors."""

import numpy as np
import pytest
from scipy import ndimage

from darklung.core.checks import DarklungError
from darklung.core.geometry import ConeGeometry, ParallelGeometry, pixels_of
from darklung.core.types import Image
from darklung.core.views import pixel_position_m, seen_at, shadow_of, view_facts, view_of
from darklung.tomo.beams import projector_for, projector_of

ANGLES = np.radians([0.0, 33.0, 90.0, 200.0])
PIXEL_M, SHAPE = 2e-4, (30, 40, 40)
BEAMS = {
    "parallel": ParallelGeometry(ANGLES, 30, 48, PIXEL_M),
    "aside": ParallelGeometry(ANGLES, 30, 48, PIXEL_M, axis_col=20.25),
    "cone": ConeGeometry(ANGLES, 30, 60, PIXEL_M, 0.05),
    "cone aside": ConeGeometry(ANGLES, 30, 60, PIXEL_M, 0.05, axis_col=28.4, axis_row=12.0),
}
BALLS = ((0.0, 0.0, 0.0), (1.1e-3, -2.2e-3, 1.7e-3), (-1.6e-3, 0.5e-3, -2.5e-3))


def centroids(projected):
    """(view, row, col)."""
    row, col = np.indices(projected.shape[1:])
    return np.stack([(projected * n).sum((1, 2)) / projected.sum((1, 2)) for n in (row, col)], axis=1)


@pytest.mark.parametrize("beam", BEAMS)
@pytest.mark.parametrize("centre", BALLS)
def test_a_point_is_where_a_small_ball_around_it_is_projected(beam, centre):
    geometry = BEAMS[beam]
    projector = projector_for(geometry) if beam == "cone aside" else projector_of(geometry, SHAPE, PIXEL_M)
    axes = [(np.arange(n) - (n - 1) / 2) * PIXEL_M for n in projector.shape]
    away = sum((a - c) ** 2 for a, c in zip(np.meshgrid(*axes, indexing="ij", sparse=True), centre))
    ball = np.exp(-away / (2 * (2 * PIXEL_M) ** 2)) * (away < (6 * PIXEL_M) ** 2)
    found = centroids(projector.forward(ball))
    np.testing.assert_allclose(pixels_of(geometry, np.array([centre]))[:, 0], found, atol=0.06)


def test_a_turned_detector_sees_a_point_where_the_untilted_one_would_turned():
    plain = ConeGeometry(ANGLES, 30, 60, PIXEL_M, 0.05)
    tilted = ConeGeometry(ANGLES, 30, 60, PIXEL_M, 0.05, tilt_rad=0.1)
    points = np.array(BALLS)
    at = pixels_of(plain, points) - (14.5, 29.5)
    turn = np.array([[np.cos(0.1), np.sin(0.1)], [-np.sin(0.1), np.cos(0.1)]])  # a row of it: how (row, col) give row, col
    np.testing.assert_allclose(pixels_of(tilted, points) - (14.5, 29.5), at @ turn, atol=1e-9)


@pytest.mark.parametrize("beam", BEAMS)
def test_a_radiograph_keeps_its_beam_and_a_part_of_it_its_place(beam):
    geometry = BEAMS[beam]
    one = view_of(view_facts(geometry, 1))
    assert view_facts(one) == view_facts(geometry, 1)
    points = np.array(BALLS)
    whole = Image(np.zeros((1, geometry.rows, geometry.cols)), ("a",), ("1",), (PIXEL_M,) * 2, frame="detector")
    np.testing.assert_allclose(seen_at(one, whole, points), pixels_of(geometry, points)[1], atol=1e-9)
    part = whole.cropped((slice(3, 20), slice(5, 30)))
    np.testing.assert_allclose(seen_at(one, part, points) + np.array([3, 5]), pixels_of(geometry, points)[1], atol=1e-9)
    assert pixel_position_m(one, points)[0, 0] == pytest.approx((pixels_of(geometry, points)[1, 0, 0] - 14.5) * PIXEL_M)


@pytest.mark.parametrize("facts", [None, {}, {"angle_rad": "0 deg"}, {"angle_rad": 0.0, "rows": 3, "cols": 3}])
def test_a_radiograph_without_its_beam_has_no_place(facts):
    with pytest.raises(DarklungError, match=r"view: wanted the angle and detector that it was taken with; .* missing"):
        view_of(facts)


@pytest.mark.parametrize("beam", ["parallel", "cone"])
def test_the_shadow_of_a_mask_is_where_its_path_is_and_has_no_holes(beam):
    geometry = BEAMS[beam]
    mask = np.zeros(SHAPE, bool)
    mask[8:20, 6:30, 10:34] = True
    volume = Image(np.zeros((1, *SHAPE)), ("a",), ("1",), (PIXEL_M,) * 3)
    whole = Image(np.zeros((1, geometry.rows, geometry.cols)), ("a",), ("1",), (PIXEL_M,) * 2, frame="detector")
    paths = projector_of(geometry, SHAPE, PIXEL_M).forward(mask.astype(np.float64))
    for view, path in enumerate(paths):
        shadow = shadow_of(mask, volume, view_of(view_facts(geometry, view)), whole)
        np.testing.assert_array_equal(shadow, ndimage.binary_fill_holes(shadow))
        assert ndimage.binary_dilation(shadow)[path > 0].all()
        assert ndimage.binary_dilation(path > 0)[shadow].all()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rows": 1e400}, "view: rows: wanted a whole number from 1 to 1000000, got inf"),
        ({"cols": 2.5}, "view: cols: wanted a whole number from 1 to 1000000, got 2.5"),
        ({"rows": True}, "rows missing"),
        ({"cols": 10**300}, "view: cols: wanted a whole number"),
        ({"axis_col": "2"}, "axis_col missing"),
        ({"pixel_m": float("nan")}, "pixel_m: wanted a finite number > 0"),
        ({"angle_rad": float("inf")}, "angles_rad: 1 of 1 values are not finite"),
    ],
)
def test_a_view_that_makes_no_sense_is_one_line(change, told):
    with pytest.raises(DarklungError, match=told):
        view_of({**view_facts(BEAMS["parallel"]), **change})
