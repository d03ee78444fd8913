"""Dose normalisation from air."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.correct.flux import _by_chance, normalise_flux, normalise_monitor, outer_columns
from darklung.tomo.fbp import fbp, fbp_variance

VIEWS, ROWS, COLS = 6, 4, 100


def projections(*, dose=0.0, noise=0.01) -> Projections:
    """A slab in columns 20–79; the dose of view i is exp(−dose_i) of the flat's."""
    rng = stream(0, "flux")
    shape = (1, VIEWS, ROWS, COLS)
    slab = np.where((np.arange(COLS) >= 20) & (np.arange(COLS) < 80), 0.5, 0.0)
    maps = {name: np.zeros(shape, np.float32) for name in PROJECTION_MAPS[:-1]}
    maps["attenuation"] = (slab + np.reshape(dose, (-1, 1, 1)) + rng.normal(0, noise, shape)).astype(np.float32)
    maps["dark_field"] = (2 * slab + 0.1 + rng.normal(0, 5 * noise, shape)).astype(np.float32)
    maps["attenuation_variance"] = np.full(shape, noise**2, np.float32)
    maps["dark_field_variance"] = np.full(shape, 25 * noise**2, np.float32)
    geometry = ParallelGeometry(np.linspace(0, 1, VIEWS), ROWS, COLS, 1e-4)
    return Projections(**maps, valid=np.ones(shape, bool), directions_rad=np.zeros(1), geometry=geometry)


def test_dose_jitter_is_removed_and_the_object_stays():
    dose = np.array([0.05, -0.05, 0.02, 0.0, 0.1, -0.1])
    steady, jittered = projections(), projections(dose=dose)
    result = normalise_flux(jittered)
    inside = result.attenuation[..., 25:75].mean(axis=(0, 2, 3))
    # Mean of 32 air pixels with an error of 0.01 each.
    np.testing.assert_allclose(inside, 0.5, atol=4 * 0.01 / np.sqrt(32))
    assert np.ptp(jittered.attenuation[..., 25:75].mean(axis=(0, 2, 3))) > 0.15
    np.testing.assert_allclose(normalise_flux(steady).attenuation, result.attenuation, atol=1e-6)
    np.testing.assert_array_equal(result.dark_field, jittered.dark_field)
    np.testing.assert_array_equal(result.attenuation_variance, jittered.attenuation_variance)


@pytest.mark.parametrize("cols", [24, 60])
def test_reconstructed_errors_are_true_however_little_air_there_is(cols):
    """The air value's own noise is common to a row: the ramp filter takes it away, and the stated error leaves it out."""
    views, rows = 40, 300
    geometry = ParallelGeometry(np.arange(views) * np.pi / views, rows, cols, 1e-3)
    shape = (1, views, rows, cols)
    maps = {name: np.zeros(shape, np.float32) for name in PROJECTION_MAPS[:-1]}
    maps["attenuation"] = stream(1, "air", str(cols)).normal(0, 0.01, shape).astype(np.float32)
    maps["attenuation_variance"] = np.full(shape, 1e-4, np.float32)
    start = Projections(**maps, valid=np.ones(shape, bool), directions_rad=np.zeros(1), geometry=geometry)
    made = normalise_flux(start, each_row=True)
    inner = (slice(None), slice(cols // 3, -cols // 3), slice(cols // 3, -cols // 3))
    values, variance = fbp(made.attenuation[0], geometry)[inner], fbp_variance(made.attenuation_variance[0], geometry)[inner]
    # 300 independent slices of some 8 independent voxels: 1.5 %; a fourth of a pixel's variance more would be 12 %
    assert (values / np.sqrt(variance)).std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("count", [4, 12, 48])
def test_little_air_is_seldom_thought_uneven(count):
    """A beam that did not move is told to have moved in one view of 700, with few pixels of air, too."""
    squares = stream(2, "air", str(count)).standard_normal((200_000, count)) ** 2
    assert (squares.mean(axis=1) - 1 > _by_chance(count)).mean() == pytest.approx(0.00135, abs=0.0006)


def test_dark_field_offset_on_request():
    result = normalise_flux(projections(), dark_field=True)
    np.testing.assert_allclose(result.dark_field[..., 25:75].mean(), 1.0, atol=0.01)


def test_it_is_idempotent_and_leaves_its_input_alone():
    first = projections(dose=np.linspace(-0.1, 0.1, VIEWS))
    before = first.attenuation.copy()
    once = normalise_flux(first, air_cols=range(10))
    np.testing.assert_array_equal(first.attenuation, before)
    np.testing.assert_allclose(normalise_flux(once, air_cols=range(10)).attenuation, once.attenuation, atol=1e-6)


def test_invalid_pixels_do_not_count():
    start = projections()
    values, valid = start.attenuation.copy(), start.valid.copy()
    values[..., :3], valid[..., :3] = 50.0, False
    result = normalise_flux(replace(start, attenuation=values, valid=valid))
    assert abs(result.attenuation[..., 25:75].mean() - 0.5) < 0.01


def test_an_object_at_the_edge_is_noticed():
    start = projections()
    values = start.attenuation.copy()
    values[..., :15] += 0.3
    with pytest.raises(DarklungError, match="columns 0–3 and 96–99 disagree in 100 % of the views"):
        normalise_flux(replace(start, attenuation=values))


@pytest.mark.parametrize("cols", [[], [-1, 3], [100]])
def test_columns_outside_the_detector(cols):
    with pytest.raises(DarklungError, match="air_cols: wanted columns 0 to 99"):
        normalise_flux(projections(), air_cols=cols)


def test_a_view_without_air_is_refused():
    start = projections()
    valid = start.valid.copy()
    valid[0, 2] = False
    with pytest.raises(DarklungError, match=r"no valid air pixel in \(direction, view\) \(0, 2\)"):
        normalise_flux(replace(start, valid=valid))


def test_outer_columns():
    assert outer_columns(100).tolist() == [0, 1, 2, 3, 96, 97, 98, 99]
    assert outer_columns(10).tolist() == [0, 1, 8, 9]
    with pytest.raises(DarklungError, match="leave no object"):
        outer_columns(4)


def test_monitor_readings_are_taken_out_and_senseless_ones_told():
    made = projections()
    shape = made.valid.shape[:2]
    right = normalise_monitor(made, view_dose=np.full(shape, 3.0), flat_dose=np.full(shape, 2.0), error=0.01)
    np.testing.assert_allclose(right.attenuation, made.attenuation + np.log(1.5), rtol=1e-5)
    np.testing.assert_allclose(right.attenuation_variance, made.attenuation_variance + 1e-4, rtol=1e-4)
    with pytest.raises(DarklungError, match="view_dose: wanted doses above 0"):
        normalise_monitor(made, view_dose=np.zeros(shape), flat_dose=np.ones(shape))
    with pytest.raises(DarklungError, match="flat_dose: wanted axes"):
        normalise_monitor(made, view_dose=np.ones(shape), flat_dose=np.ones(3))


def test_what_is_left_in_air_is_in_the_stated_errors():
    """Structure that normalising cannot take off widens the errors of its view, and of no other."""
    steady = projections()
    structure = np.zeros((1, VIEWS, ROWS, COLS), np.float32)
    structure[0, 2] = 0.05 * np.sin(np.arange(COLS) * 1.1) * np.cos(np.arange(ROWS) * 1.3)[:, None]
    moved = replace(steady, attenuation=steady.attenuation + structure)
    one, two = (normalise_flux(p, air_cols=[*range(15), *range(85, 100)]) for p in (steady, moved))
    added = (two.attenuation_variance - one.attenuation_variance)[0, :, 0, 0]
    np.testing.assert_allclose(added[[0, 1, 3, 4, 5]], 0, atol=1e-9)
    assert added[2] == pytest.approx(float((structure[0, 2] ** 2).mean()), rel=0.35)
    np.testing.assert_array_equal(two.dark_field_variance, steady.dark_field_variance)


def test_air_on_both_sides_takes_a_profile_of_rows_and_one_of_columns():
    start = projections()
    tall = {name: np.concatenate([getattr(start, name)] * 5, axis=2) for name in PROJECTION_MAPS}
    geometry = ParallelGeometry(start.geometry.angles_rad, 20, COLS, 1e-4)
    object_there = np.zeros((20, COLS))
    object_there[4:16, 20:80] = 0.5
    rows, cols = 0.1 * np.sin(np.arange(20))[:, None], 0.1 * np.cos(np.arange(COLS) / 3)
    noise = stream(0, "around").normal(0, 0.01, tall["attenuation"].shape)
    tall["attenuation"] = (object_there + rows + cols + noise).astype(np.float32)
    stained = Projections(**tall, directions_rad=start.directions_rad, geometry=geometry)
    air = {"air_cols": [*range(15), *range(85, 100)], "air_lines": [*range(4), *range(16, 20)]}
    found = normalise_flux(stained, each_row=True, **air)
    error = found.attenuation - object_there
    assert 0.9 < (error / np.sqrt(found.attenuation_variance)).std() < 1.1
    assert found.attenuation_variance.mean() < 1.3**2 * 1e-4
    assert normalise_flux(stained, each_row=True, air_cols=air["air_cols"]).attenuation.std() > found.attenuation.std()
    with pytest.raises(DarklungError, match="air_lines: wanted rows 0 to 19"):
        normalise_flux(stained, air_cols=air["air_cols"], air_lines=[20])
