"""Invalid pixels get the line between their neighbours; valid ones keep every bit."""

from dataclasses import replace

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.correct.invalid import fill_invalid


def ramp(valid):
    shape = valid.shape
    values = np.broadcast_to(np.arange(shape[3], dtype=np.float32) + 10 * np.arange(shape[2])[:, None], shape)
    maps = {name: np.where(valid, values, -99).astype(np.float32) for name in PROJECTION_MAPS}
    geometry = ParallelGeometry(angles_rad=np.zeros(shape[1]), rows=shape[2], cols=shape[3], pixel_m=1e-4)
    return Projections(**{**maps, "valid": valid}, directions_rad=np.zeros(shape[0]), geometry=geometry), values


def test_a_ramp_is_restored_exactly_inside_and_held_outside():
    valid = np.ones((1, 2, 3, 6), bool)
    valid[0, 1, 0, 2:4] = False
    valid[0, 1, 1, 0] = False
    valid[0, 0, 2] = False
    projections, truth = ramp(valid)
    filled, report = fill_invalid(projections)
    np.testing.assert_array_equal(filled.attenuation[0, 1, 0], truth[0, 1, 0])
    assert filled.dark_field[0, 1, 1, 0] == truth[0, 1, 1, 1]
    np.testing.assert_array_equal(filled.phase[0, 0, 2], truth[0, 0, 1])
    np.testing.assert_array_equal(filled.attenuation[valid], projections.attenuation[valid])
    assert not filled.valid[0, 1, 0, 2]
    assert projections.attenuation[0, 1, 0, 2] == -99
    assert report == {"invalid_share": pytest.approx(9 / 36), "worst_view_share": pytest.approx(6 / 18)}


def test_a_dead_view_takes_the_views_beside_it_in_angle_and_stays_invalid():
    valid = np.ones((1, 4, 2, 3), bool)
    valid[0, 2] = False
    projections, _ = ramp(valid)
    angles = np.array([0.0, 0.12, 0.03, 3.0])  # the neighbours of the third view are the first two
    scaled = projections.attenuation * np.array([1, 2, 1, 5], np.float32)[:, None, None]
    turned = replace(projections, attenuation=scaled, geometry=replace(projections.geometry, angles_rad=angles))
    filled, report = fill_invalid(turned)
    np.testing.assert_allclose(filled.attenuation[0, 2], 1.25 * projections.attenuation[0, 0], rtol=1e-6)
    assert not filled.valid[0, 2].any()
    assert report["worst_view_share"] == 1.0


def test_a_dead_view_at_the_end_of_an_arc_takes_the_one_beside_it():
    valid = np.ones((1, 3, 2, 3), bool)
    valid[0, 0] = False
    projections, _ = ramp(valid)
    turned = replace(projections, geometry=replace(projections.geometry, angles_rad=np.array([0.0, 0.1, 2.0])))
    np.testing.assert_array_equal(fill_invalid(turned)[0].attenuation[0, 0], projections.attenuation[0, 1])


def test_dead_views_without_a_neighbour_are_an_error():
    valid = np.ones((1, 3, 2, 3), bool)
    valid[0, 1] = False
    projections, _ = ramp(valid)
    apart = replace(projections, geometry=replace(projections.geometry, angles_rad=np.array([0.0, 1.0, 2.0])))
    with pytest.raises(DarklungError, match=r"no valid pixel in direction 0, view 1, nor in any view within 11°"):
        fill_invalid(apart)
