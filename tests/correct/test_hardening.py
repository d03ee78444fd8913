"""Hardening: a structure-free object must have no dark field after correction, and the reference attenuation."""

from __future__ import annotations

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.correct.hardening import HardeningTable, correct_hardening, measured_table, water_table
from darklung.physics.instrument import make_instrument
from darklung.physics.materials import linear_attenuation

TUBES = {
    "tube, early design": make_instrument(spectrum="tube", low_kev=20, high_kev=100, bins=40, design_energy_kev=30),
    "tube, late design": make_instrument(spectrum="tube", low_kev=20, high_kev=100, bins=40, design_energy_kev=60),
    "band": make_instrument(),
}


def water(instrument, thickness_m, *, counts=None, material="water"):
    """Polychromatic −ln T and −ln D of a structure-free slab, summed here from first principles, with noise if wanted."""
    mu = linear_attenuation(material, 1.0, instrument.energies_kev)
    passed = np.exp(-np.multiply.outer(thickness_m, mu))
    transmission = (passed * instrument.weights).sum(-1)
    visibility = (passed * instrument.weights * instrument.visibility).sum(-1) / transmission
    attenuation, dark_field = -np.log(transmission), -np.log(visibility / instrument.flat_visibility)
    photons = np.inf if counts is None else counts * transmission
    variances = 1 / photons, (2 / visibility**2 - 1) / photons
    if counts is not None:
        rng = stream(0, "water")
        attenuation = attenuation + rng.normal(0, np.sqrt(variances[0]))
        dark_field = dark_field + rng.normal(0, np.sqrt(variances[1]))
    return as_projections(attenuation, dark_field, *variances)


def as_projections(attenuation, dark_field, attenuation_variance=0.0, dark_field_variance=0.0) -> Projections:
    shape = (1, 1, 1, len(attenuation))
    maps = {name: np.zeros(shape) for name in PROJECTION_MAPS[:-1]}
    maps["attenuation"] = np.reshape(attenuation, shape)
    maps["dark_field"] = np.reshape(dark_field, shape)
    maps["attenuation_variance"] = maps["attenuation_variance"] + attenuation_variance
    maps["dark_field_variance"] = maps["dark_field_variance"] + dark_field_variance
    geometry = ParallelGeometry(np.zeros(1), 1, shape[-1], 1e-4)
    return Projections(**maps, valid=np.ones(shape, bool), directions_rad=np.zeros(1), geometry=geometry)


CHORDS_M = 2 * np.sqrt(np.maximum(0.0125**2 - np.linspace(-0.013, 0.013, 301) ** 2, 0))  # a 25 mm cylinder


@pytest.mark.parametrize("name", TUBES)
def test_a_water_cylinder_has_no_dark_field_after_correction(name):
    instrument = TUBES[name]
    start = water(instrument, CHORDS_M)
    result = correct_hardening(start, water_table(instrument))
    mu = float(linear_attenuation("water", 1.0, instrument.reference_energy_kev))
    np.testing.assert_allclose(result.dark_field.ravel(), 0.0, atol=1e-6)
    np.testing.assert_allclose(result.attenuation.ravel(), mu * CHORDS_M, atol=1e-6)
    assert result.valid.all()
    if name != "band":
        assert abs(start.dark_field).max() > 0.01, "else the test shows nothing"


def test_the_false_signal_has_either_sign():
    first, second = (water_table(TUBES[name]).false_dark_field for name in ("tube, early design", "tube, late design"))
    assert first[-1] > 0.01
    assert second[-1] < -0.01


def test_pulls_after_correction():
    instrument = TUBES["tube, late design"]
    thickness = np.full(40_000, 0.02)
    result = correct_hardening(water(instrument, thickness, counts=1e5), water_table(instrument))
    mu = float(linear_attenuation("water", 1.0, instrument.reference_energy_kev))
    for name, truth in (("attenuation", mu * 0.02), ("dark_field", 0.0)):
        pull = (getattr(result, name) - truth) / np.sqrt(getattr(result, f"{name}_variance"))
        assert abs(pull.mean()) < 0.02, name
        assert 0.98 < pull.std() < 1.02, name


def test_noise_below_air_is_not_clipped():
    table = water_table(TUBES["band"])
    result = correct_hardening(as_projections(np.array([-0.03, 0.0, 0.03]), np.zeros(3)), table)
    assert result.attenuation.ravel()[0] < -0.02
    assert result.valid.all()
    np.testing.assert_allclose(result.attenuation.ravel()[1], 0.0, atol=1e-12)


def test_outside_the_table_is_flagged_and_not_extrapolated():
    table = water_table(TUBES["band"], max_thickness_m=0.01)
    result = correct_hardening(as_projections(np.array([-3.0, 0.1, 9.0]), np.zeros(3)), table)
    assert result.valid.ravel().tolist() == [False, True, False]
    assert result.attenuation.ravel()[2] == table.monochromatic[-1]
    assert result.attenuation.ravel()[0] == table.monochromatic[0]


def test_each_part_alone():
    instrument = TUBES["tube, late design"]
    start, table = water(instrument, CHORDS_M), water_table(instrument)
    one = correct_hardening(start, table, attenuation=False)
    np.testing.assert_array_equal(one.attenuation, start.attenuation)
    two = correct_hardening(start, table, dark_field=False)
    np.testing.assert_array_equal(two.dark_field, start.dark_field)


def test_a_measured_wedge_gives_nearly_the_computed_table():
    instrument = TUBES["tube, early design"]
    thickness = np.linspace(0, 0.04, 41)
    wedge = water(instrument, thickness)
    table = measured_table(
        attenuation=wedge.attenuation.ravel()[::-1],
        dark_field=wedge.dark_field.ravel()[::-1],
        thickness_m=thickness[::-1],
        mu_reference_per_m=float(linear_attenuation("water", 1.0, instrument.reference_energy_kev)),
    )
    result = correct_hardening(water(instrument, CHORDS_M), table)
    np.testing.assert_allclose(result.dark_field.ravel(), 0.0, atol=5e-4)


def test_other_materials_keep_a_false_signal():
    """Documents the limit of the one-material table: 5 mm of bone."""
    instrument = TUBES["tube, late design"]
    start = water(instrument, np.array([0.005 * 1.92]), material="bone")
    result = correct_hardening(start, water_table(instrument))
    assert abs(result.dark_field.item()) > 0.005


def test_tables_that_cannot_be_inverted_are_refused():
    with pytest.raises(DarklungError, match="must increase strictly"):
        HardeningTable(np.array([0.0, 0.2, 0.1]), np.zeros(3), np.zeros(3))
    with pytest.raises(DarklungError, match="false_dark_field"):
        HardeningTable(np.array([0.0, 0.2]), np.zeros(2), np.zeros(3))
    with pytest.raises(DarklungError, match="max_thickness_m"):
        water_table(TUBES["band"], max_thickness_m=-1.0)
