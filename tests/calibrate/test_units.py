"""Scatter units and spectra of reference: two scanners must tell the same."""

from __future__ import annotations

import numpy as np
import pytest

from darklung.calibrate.units import ScatterUnit, to_reference_spectrum, unit_from_regions
from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.correct.response import SpectralResponse
from darklung.physics.instrument import make_instrument
from darklung.physics.spectrum import tube


def response(kvp, copper_m=0.0) -> SpectralResponse:
    filters = {"al": 2e-3, "cu": copper_m}
    source = tube(kvp=kvp, low_kev=20, bins=25, filters_m=filters)
    return SpectralResponse.of(
        make_instrument(spectrum=source, design_energy_kev=45, flat_visibility=0.1, reference_energy_kev=60)
    )


def measured(spectra, water_m, scatter, variances=(0.0, 0.0)) -> Projections:
    mu, _ = spectra.attenuation_of("water")
    values = spectra.measured(np.multiply.outer(water_m, mu), np.multiply.outer(scatter, spectra.scattering_law()))
    shape = (1, 1, 1, len(water_m))
    maps = {name: np.zeros(shape) for name in PROJECTION_MAPS[:-1]}
    maps |= {"attenuation": values[0].reshape(shape), "dark_field": values[1].reshape(shape)}
    maps |= {"attenuation_variance": np.full(shape, variances[0]), "dark_field_variance": np.full(shape, variances[1])}
    geometry = ParallelGeometry(np.zeros(1), 1, shape[-1], 1e-4)
    return Projections(**maps, valid=np.ones(shape, bool), directions_rad=np.zeros(1), geometry=geometry)


WATER_M, SCATTER = np.linspace(0, 0.025, 12), np.linspace(0.0, 0.8, 12)


def test_values_of_one_beam_become_those_of_the_other():
    own, other = response(80), response(120, 2e-4)
    here, there = (measured(r, WATER_M, SCATTER) for r in (own, other))
    assert np.abs(here.dark_field - there.dark_field).max() > 0.15
    mapped = to_reference_spectrum(here, own, other)
    assert mapped.valid.all()
    np.testing.assert_allclose(mapped.dark_field, there.dark_field, atol=2e-3)
    np.testing.assert_allclose(mapped.attenuation, there.attenuation, atol=1e-3)
    mono = to_reference_spectrum(here, own)
    np.testing.assert_allclose(mono.dark_field.ravel(), SCATTER, atol=2e-3)


def test_its_own_spectrum_changes_nothing():
    own = response(80)
    start = measured(own, WATER_M, SCATTER)
    back = to_reference_spectrum(start, own, own)
    np.testing.assert_allclose(back.dark_field, start.dark_field, atol=2e-3)
    np.testing.assert_allclose(back.attenuation, start.attenuation, atol=1e-3)


def test_variances_through_both_spectra():
    own, other, sigma = response(80), response(120, 2e-4), (0.004, 0.03)
    noise = [stream(4, str(s)).normal(0, s, 20_000) for s in sigma]
    exact = measured(own, np.full(20_000, 0.012), np.full(20_000, 0.4), (sigma[0] ** 2, sigma[1] ** 2))
    noisy = Projections(
        **{**vars(exact), "attenuation": exact.attenuation + noise[0], "dark_field": exact.dark_field + noise[1]}
    )
    result = to_reference_spectrum(noisy, own, other)
    for name in ("attenuation", "dark_field"):
        pull = (getattr(result, name) - getattr(result, name).mean()) / np.sqrt(getattr(result, f"{name}_variance"))
        assert pull.std() == pytest.approx(1.0, abs=0.05), name


def test_spectra_of_different_reference_energies_are_refused():
    other = response(120)
    moved = SpectralResponse(other.energies_kev, other.weights, other.visible, 70.0)
    with pytest.raises(DarklungError, match="wanted the reference energy of the own spectra, 60 keV, got 70 keV"):
        to_reference_spectrum(measured(other, WATER_M, SCATTER), other, moved)


def test_units_are_linear_and_errors_are_told():
    unit = ScatterUnit(2.0, 52.0, 0.5, 1.0)
    value, variance = unit.units([2.0, 52.0, 27.0, -3.0], 4.0)
    np.testing.assert_allclose(value, [0.0, 1000.0, 500.0, -100.0])
    np.testing.assert_allclose(variance, (20.0**2) * 4.0)
    np.testing.assert_allclose(unit.scale_error([0.0, 1000.0]), [10.0, 20.0])
    with pytest.raises(DarklungError, match="wanted clearly more than zero_per_m, got 1 \\+- 1 /m"):
        ScatterUnit(1.0, 2.0, 0.0, 1.0)
    with pytest.raises(DarklungError, match="wanted clearly more"):
        ScatterUnit(5.0, 2.0)


def test_units_from_regions_take_gain_and_offset_away():
    rng = stream(5, "volume")
    truth = np.zeros((6, 20, 20))
    truth[:, 2:8, 2:8], truth[:, 12:18, 12:18] = 50.0, 30.0
    regions = [np.zeros(truth.shape, bool) for _ in range(2)]
    regions[0][:, 10:18, 1:8] = True
    regions[1][:, 2:8, 2:8] = True
    told = []
    for gain, offset in ((1.0, 0.0), (0.7, 4.0)):
        scan = gain * (truth + rng.normal(0, 1.0, truth.shape)) + offset
        unit = unit_from_regions(scan, zero=regions[0], reference=regions[1])
        told.append(unit.units(scan[:, 12:18, 12:18].mean())[0])
    np.testing.assert_allclose(told, 600.0, atol=15)
    with pytest.raises(DarklungError, match="zero: wanted at least 10 voxels with values, got 0"):
        unit_from_regions(truth, zero=np.zeros(truth.shape, bool), reference=regions[1])
