"""Flats whose structure moves: patterns found, weighted and taken off, with true errors."""

from __future__ import annotations

import numpy as np
import pytest
from retrieve_scans import curves, equidistant, make_scan

from darklung.core.checks import DarklungError
from darklung.core.fitting import LEAST_SQUARES
from darklung.core.random import stream
from darklung.correct.flux import normalise_flux
from darklung.physics.instrument import make_instrument
from darklung.retrieve.reference import FlatReference
from darklung.retrieve.stepping import retrieve, retrieve_blocks
from darklung.simulate.effects import Effects, Stability
from darklung.simulate.objects import cylinder
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan

AIR, FIT = np.r_[4:14, 82:92], LEAST_SQUARES


@pytest.fixture(scope="module")
def foam():
    """A foam behind oblique stripes that move by a third of a millimetre, and the same without stripes and noise."""
    phantom = cylinder(diameter_m=9e-3, voxel_m=1.5e-4, shape=(48, 96, 96), foam_diameter_m=7e-3)
    protocol = Protocol(views=10, flats=6, flat_repeats=4, counts_per_pixel=10 * 2 * 5 * 1000)
    scene = {"instrument": make_instrument(), "protocol": protocol, "seed": 1}
    stripes = Stability(stripes=0.1, stripe_drift_m=0.3e-3, stripe_angle_rad=0.3)
    moving = simulate_scan(phantom, **scene, effects=Effects(stability=stripes))
    return moving, retrieve(simulate_scan(phantom, **scene, noise=False), dtype=np.float64)


def test_moving_stripes_are_taken_off_and_what_is_left_is_stated(foam):
    scan, truth = foam
    noise = np.sqrt(retrieve(scan).attenuation_variance)
    found = normalise_flux(retrieve(scan, reference="eigenflats"), air_cols=AIR)
    plain = normalise_flux(retrieve(scan), air_cols=AIR)
    air, inside = np.zeros(found.valid.shape, bool), found.valid & (truth.dark_field > 0.2)
    air[..., AIR] = True
    scatter = {name: (one.attenuation - truth.attenuation)[air].std() for name, one in (("plain", plain), ("eigen", found))}
    print({name: round(float(value), 4) for name, value in scatter.items()}, "noise", round(float(noise[air].mean()), 4))
    assert scatter["plain"] > 3 * noise[air].mean()
    assert scatter["eigen"] < 1.3 * noise[air].mean()
    for one in (plain, found):  # where the stripes stay they are in the stated error
        pull = (one.attenuation - truth.attenuation) / np.sqrt(one.attenuation_variance)
        assert 0.9 < pull[air].std() < 1.1
        assert 0.9 < pull[inside].std() < 1.1
    assert abs((found.attenuation - truth.attenuation)[inside].mean()) < 0.003
    assert abs((found.dark_field - truth.dark_field)[inside].mean()) < 0.003
    pull = (found.dark_field - truth.dark_field) / np.sqrt(found.dark_field_variance)
    assert 0.95 < pull[inside].std() < 1.05


def test_blocks_give_the_same(foam):
    scan, _ = foam
    whole = retrieve(scan, reference="eigenflats")
    for part, block in retrieve_blocks(scan, views=4, reference="eigenflats"):
        np.testing.assert_array_equal(block.attenuation, whole.attenuation[:, part])
        np.testing.assert_array_equal(block.attenuation_variance, whole.attenuation_variance[:, part])


def steady(flats, visibility=0.2, moving=None, seed=0):
    """One view and some flats of 40 × 50 pixels; `moving` (flat, row, col) multiplies the flats."""
    rng, shape = stream(seed, "steady"), (40, 50)
    phase = rng.uniform(-np.pi, np.pi, shape)
    expected = curves(equidistant(5), 2000.0, visibility, phase)
    factor = np.ones((flats, *shape)) if moving is None else moving
    frames = rng.poisson(expected)[None]
    return make_scan(frames, rng.poisson(expected[None] * factor[:, None]), equidistant(5))


def test_steady_flats_are_their_mean():
    scan = steady(12)
    one, two = (retrieve(scan, reference=name, dtype=np.float64) for name in ("mean", "eigenflats"))
    np.testing.assert_array_equal(one.attenuation, two.attenuation)
    np.testing.assert_array_equal(one.dark_field_variance, two.dark_field_variance)


def test_the_pattern_is_found_and_a_level_is_none():
    shape = np.sin(np.arange(40) / 3)[:, None] * np.ones(50)
    heights, doses = np.linspace(-0.1, 0.1, 8), np.linspace(0.8, 1.3, 8)
    scan = steady(8, moving=doses[:, None, None] * np.exp(heights[:, None, None] * shape))
    amplitude, visibility = FlatReference(scan, 0, mode="eigenflats", fit=FIT).patterns
    assert (len(amplitude.patterns), len(visibility.patterns)) == (1, 0)
    assert abs(np.corrcoef(amplitude.patterns[0].ravel(), shape.ravel())[0, 1]) > 0.9
    assert amplitude.shares.sum() == pytest.approx(0, abs=1e-9)


def test_an_object_does_not_pass_for_a_pattern():
    """A steep object and a pattern with the object's own rows: the edges count by their sign only."""
    shape = np.sin(np.arange(40) / 3)[:, None] * np.ones(50)
    moving = np.exp(np.linspace(-0.1, 0.1, 8)[:, None, None] * shape)
    scan = steady(8, moving=moving)
    amplitude = FlatReference(scan, 0, mode="eigenflats", fit=FIT).patterns[0]
    thing = np.where(np.add.outer((np.arange(40) - 20) ** 2, (np.arange(50) - 25) ** 2) < 150, 1.0, 0.0)
    noise = 0.01 * stream(0, "thing").normal(size=thing.shape)
    change, _ = amplitude.change(thing + noise + 0.05 * shape, np.full(thing.shape, 0.01), np.ones(thing.shape, bool))
    assert np.abs(change + 0.05 * shape - (change + 0.05 * shape).mean()).std() < 0.004


def test_two_flats_are_too_few():
    with pytest.raises(DarklungError, match="eigenflats wants 3 flats or more in each direction, got 2"):
        retrieve(steady(2), reference="eigenflats")
