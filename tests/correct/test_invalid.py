"""Invalid pixels get the line between their neighbours; valid ones keep every bit."""

from dataclasses import replace

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.correct.invalid import fill_invalid
from darklung.correct.response import SpectralResponse
from darklung.correct.scatter import estimate_scatter
from darklung.correct.segmentation import segmented_path
from darklung.physics.instrument import make_instrument
from darklung.retrieve.stepping import INVALID_VARIANCE
from darklung.tomo.methods import fbp_method


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


def scan_of(attenuation, valid, geometry, **maps):
    shape = (1, *attenuation.shape)
    values = {name: np.full(shape, 1e-4, np.float32) for name in PROJECTION_MAPS} | maps
    values |= {"attenuation": attenuation[None].astype(np.float32), "valid": np.broadcast_to(valid, shape)}
    return Projections(**values, directions_rad=np.zeros(1), geometry=geometry)


def test_one_dead_pixel_does_not_drown_the_stated_noise_of_a_slice():
    geometry = ParallelGeometry(np.arange(90) * np.pi / 90, rows=1, cols=32, pixel_m=1e-4)
    valid = np.ones((1, 32), bool)
    valid[0, 12] = False
    rng, variance = np.random.default_rng(3), np.full((1, 90, 1, 32), 1e-4, np.float32)
    variance[..., 12] = INVALID_VARIANCE
    drawn = []
    for _ in range(60):
        noise = np.where(valid, 1e-2 * rng.standard_normal((90, 1, 32)), 0)
        filled, _ = fill_invalid(scan_of(noise, valid, geometry, attenuation_variance=variance))
        drawn.append(fbp_method(filled).attenuation[0])
    stated = fbp_method(filled, noise=True).extras["attenuation_noise"][1][0]
    y, x = np.mgrid[:32, :32] - 15.5
    ring = (abs(np.hypot(y, x) - 3.5) < 1.2, np.hypot(y, x) < 14)  # where the dead column's rays are nearest, and all
    for inside in ring:
        pull = np.std(drawn, axis=0)[inside] / stated[inside]
        assert np.sqrt(np.mean(pull**2)) == pytest.approx(1, abs=0.08)


def test_filled_variances_are_those_of_what_is_filled_in():
    valid = np.ones((1, 2, 2, 6), bool)
    valid[0, 0, 0, 2:4] = False
    valid[0, 0, 1, 5] = False
    projections, _ = ramp(valid)
    known = np.where(valid, 9.0, INVALID_VARIANCE).astype(np.float32)
    filled, _ = fill_invalid(replace(projections, dark_field_variance=known))
    np.testing.assert_allclose(filled.dark_field_variance[0, 0, 0, 2:4], 9 * (4 + 1) / 9, rtol=1e-6)  # of thirds
    assert filled.dark_field_variance[0, 0, 1, 5] == 9
    none = np.full(valid.shape, np.nan, np.float32)  # a file that tells none
    assert np.isnan(fill_invalid(replace(projections, phase_variance=none))[0].phase_variance).all()


def test_phase_is_filled_the_shorter_way_round():
    valid = np.ones((1, 3, 1, 4), bool)
    valid[0, 0, 0, 1:3] = False
    valid[0, 1] = False
    projections, _ = ramp(valid)
    phase = np.zeros(valid.shape, np.float32)
    phase[0, 0, 0] = [3.0, 0, 0, -3.0]
    phase[0, 2, 0] = [-3.0, 0, 0, 3.0]
    turned = replace(projections, phase=phase, geometry=replace(projections.geometry, angles_rad=np.array([0, 0.1, 0.2])))
    found = fill_invalid(turned)[0].phase[0, :, 0]
    gap = (2 * np.pi - 6) / 3
    np.testing.assert_allclose(found[0], [3, 3 + gap, -3 - gap, -3], atol=1e-6)
    np.testing.assert_allclose(np.abs(found[1, [0, 3]]), np.pi, atol=1e-6)  # between 3 and −3 lies π, not 0
    assert float(found.max()) <= np.pi


def test_dead_pixels_make_no_bone_of_water():
    instrument = make_instrument(low_kev=40, high_kev=60, bins=2, reference_energy_kev=50, design_energy_kev=50)
    response = SpectralResponse.of(instrument)
    geometry = ParallelGeometry(np.arange(60) * np.pi / 60, rows=1, cols=40, pixel_m=4e-4)
    s = geometry.pixel_m * (np.arange(40) - 19.5)
    water = response.measured(
        np.multiply.outer(2 * np.sqrt(np.maximum(6e-3**2 - s**2, 0)), response.attenuation_of("water")[0])
    )[0]
    valid = np.ones((1, 40), bool)
    valid[0, [17, 25]] = False
    seen = np.broadcast_to(np.where(valid, water, 0), (60, 1, 40))
    assert not segmented_path(scan_of(seen, valid, geometry), response).any()
    shown = estimate_scatter(scan_of(seen, valid, geometry), ratio=0.2)
    whole = estimate_scatter(scan_of(np.broadcast_to(water, (60, 1, 40)), np.ones((1, 40), bool), geometry), ratio=0.2)
    np.testing.assert_allclose(shown, whole, rtol=5e-3)
