"""Spectra and the instrument made from them."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from darklung.core.checks import DarklungError
from darklung.physics.instrument import Instrument, make_instrument
from darklung.physics.spectrum import Spectrum, absorbed_fraction, band, filtered, from_file, rebin, tube


def test_instrument_has_what_was_asked_for() -> None:
    one = make_instrument(flat_visibility=0.12, correlation_length_m=2e-6, reference_energy_kev=65.0, bins=7)
    assert_allclose(one.flat_visibility, 0.12)
    assert_allclose(one.weights.sum(), 1)
    assert_allclose(one.reference_correlation_length_m, 2e-6)
    assert_allclose(one.correlation_length_m * one.energies_kev, 2e-6 * 65)
    assert_allclose(one.phase_per_radian, 2 * np.pi * one.distance_m / one.period_m)


def test_detector_favours_low_energies() -> None:
    one = make_instrument(bins=4)
    assert (np.diff(one.weights) < 0).all()
    assert_allclose(absorbed_fraction([60.0], thickness_m=1.0), 1)
    assert_allclose(absorbed_fraction([60.0], thickness_m=1e-9), 5850e-9 * 0.664, rtol=0.05)


def test_integrating_detector_weighs_with_energy() -> None:
    counting, integrating = make_instrument(bins=4), make_instrument(bins=4, detector="integrating")
    ratio = integrating.weights / counting.weights
    assert_allclose(ratio / ratio[0], counting.energies_kev / counting.energies_kev[0])
    assert_allclose(integrating.flat_visibility, 0.15)


def test_tube_spectrum_hardens_with_filters() -> None:
    soft = tube(kvp=80, bins=12, filters_m={"al": 1e-3})
    hard = tube(kvp=80, bins=12, filters_m={"al": 1e-3, "cu": 0.5e-3})
    assert_allclose(soft.weights.sum(), 1)
    assert 35 < soft.mean_energy_kev < hard.mean_energy_kev < 80
    assert_allclose(filtered([50.0], [1.0], {"water": 0.0}), 1)


def test_rebin_keeps_flux_and_mean() -> None:
    energies = np.arange(40.25, 100, 0.5)
    photons = np.linspace(2, 1, len(energies))
    few = rebin(energies_kev=energies, photons=photons, low_kev=40, high_kev=100, bins=6)
    assert_allclose(few.mean_energy_kev, (energies * photons).sum() / photons.sum())


def test_spectrum_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "source.csv"
    path.write_text("# keV, photons\n50, 1\n60, 3\n")
    read = from_file(path, low_kev=45, high_kev=65, bins=2)
    assert_allclose(read.energies_kev, [50, 60])
    assert_allclose(read.weights, [0.25, 0.75])


def test_one_line() -> None:
    line = band(low_kev=70, high_kev=70, bins=5)
    assert_allclose(line.energies_kev, [70])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make_instrument(flat_visibility=0.9), "flat_visibility: wanted 0 to 0.6"),
        (lambda: make_instrument(period_m=0.0), "period_m"),
        (lambda: make_instrument(correlation_length_m=-1e-6), "correlation_length_m"),
        (lambda: make_instrument(spectrum="sun"), "spectrum: 'sun' is not known; known: band, tube"),
        (lambda: make_instrument(detector="film"), "detector: 'film' is not known"),
        (lambda: make_instrument(low_kev=80, high_kev=60), "high_kev"),
        (lambda: make_instrument(high_kev=900), "energies_kev"),
        (lambda: Spectrum(np.array([60.0, 70.0]), np.zeros(2)), "zero flux"),
        (lambda: rebin(energies_kev=[50.0], photons=[1.0], low_kev=60, high_kev=80, bins=2), "zero flux"),
        (lambda: from_file("nowhere.txt", low_kev=1, high_kev=2, bins=1), "cannot be read"),
        (lambda: tube(kvp=500, bins=3), "kvp"),
        (lambda: tube(kvp=80, bins=3, filters_m={"al": -1e-3}), "thickness"),
        (lambda: Instrument(np.array([60.0]), np.ones(1), np.array([2.0]), 4e-6, 0.5, 60.0), "visibility"),
    ],
)
def test_impossible_input_names_the_field(call, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DarklungError, match=words):
        call()
