"""Spectra and the instrument made from them."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import ndtri

from darklung.core.checks import DarklungError
from darklung.physics.detector import Sensor, counts_per_photon, responses
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
    counting, integrating = make_instrument(bins=4), make_instrument(bins=4, sensor=Sensor(kind="integrating"))
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


@pytest.mark.parametrize(
    "text",
    [
        "# keV, photons\n50, 1\n60, 3\n",
        "energy [eV];photons\n50000;1\n60000;3\n",
        "energy_keV\tphotons\n50\t1\n60\t3",
        "# made by hand\n# MeV photons\n0.05 2\n\n0.06 6\n",
    ],
)
def test_spectrum_from_a_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "source.csv"
    path.write_text(text)
    read = from_file(path, low_kev=45, high_kev=65, bins=2)
    assert_allclose(read.energies_kev, [50, 60])
    assert_allclose(read.weights, [0.25, 0.75])


def test_a_density_on_uneven_energies_keeps_its_flux(tmp_path: Path) -> None:
    path = tmp_path / "source.csv"
    energies = np.array([40.0, 41, 42, 44, 46, 48, 50])
    path.write_text("keV, photons per keV\n" + "\n".join(f"{e}, 1" for e in energies))
    assert_allclose(from_file(path, low_kev=39, high_kev=51, bins=2).weights, [0.5, 0.5], atol=0.09)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("50, 1\n60, 2\n", "wanted a header with the unit of energy"),
        ("keV photons\n50 1 3\n", "wanted two columns, energy and photons, got 3 in line 2"),
        ("keV photons\n50 1\nsixty 2\n", "line 3 holds no numbers"),
        ("keV photons\n", "holds no numbers"),
        ("keV photons\n60 1\n50 2\n", "at least two rows of rising energy"),
        ("keV photons\n50 1\n60 -2\n", "finite photons >= 0"),
        ("keV photons\n50 1\n60 nan\n", "finite photons >= 0"),
        ("keV photons\n50 1\n60 2\n80 1\n", "unevenly spaced"),
        ("keV photons\n10 1\n20 2\n", "zero flux between 45 and 65 keV"),
    ],
)
def test_a_wrong_spectrum_file_is_told_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "source.csv"
    path.write_text(text)
    with pytest.raises(DarklungError, match=words) as told:
        from_file(path, low_kev=45, high_kev=65, bins=2)
    assert len(str(told.value).splitlines()) == 1


def test_no_shared_charge_counts_each_photon_once() -> None:
    once, more = counts_per_photon([30.0, 90.0], Sensor(threshold_kev=20, cloud_m=1e-9))
    assert_allclose(once, 1)
    assert_allclose(more, 0)


def test_shared_charge_is_lost_above_half_the_energy_and_counted_twice_below() -> None:
    # In one dimension a photon at x from the border leaves Φ(x/σ) in its pixel; both count where each has threshold/E.
    cloud, pixel = 5e-6, 100e-6
    high, low = (Sensor(threshold_kev=k, cloud_m=cloud, pixel_m=pixel) for k in (45.0, 20.0))
    lost = 1 - counts_per_photon([60.0], high)[0][0]
    twice = counts_per_photon([60.0], low)[1][0]
    reach = cloud * ndtri([0.75, 1 / 3])
    assert 0 < lost < 2 * 2 * reach[0] / pixel  # within this distance of any of the four edges no pixel has 3/4
    assert_allclose(lost, 1 - (1 - 2 * reach[0] / pixel) ** 2, rtol=0.15)
    assert_allclose(twice, 4 * -reach[1] / pixel, rtol=0.3)
    assert_allclose(counts_per_photon([60.0], high)[1], 0)
    assert counts_per_photon([40.0], high)[0][0] == 0


def test_threshold_removes_soft_photons_and_the_dose_counts_them() -> None:
    sharp = make_instrument(low_kev=40, high_kev=100, bins=12, design_energy_kev=60, sensor=Sensor(threshold_kev=60))
    assert sharp.energies_kev.min() >= 60
    signal, twice = responses(Sensor(threshold_kev=20, cloud_m=10e-6), [60.0, 80.0], [1.0, 1.0])
    assert signal[0] < absorbed_fraction(60.0, thickness_m=1e-3)  # in a corner all parts are below the threshold
    assert (twice > 0).all()
    assert twice[1] > twice[0]  # the higher the energy, the more often both parts exceed the threshold


def test_integrated_signal_has_the_noise_of_as_many_counts() -> None:
    energies, photons = np.array([40.0, 60.0, 90.0]), np.array([1.0, 2.0, 1.0])
    signal, _ = responses(Sensor(kind="integrating", thickness_m=1.0), energies, photons)
    per_photon = signal  # everything is absorbed
    assert_allclose((photons * per_photon**2).sum(), (photons * per_photon).sum())  # variance = mean


def test_one_line() -> None:
    line = band(low_kev=70, high_kev=70, bins=5)
    assert_allclose(line.energies_kev, [70])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make_instrument(flat_visibility=0.9), "flat_visibility: wanted 0 to 0.6"),
        (lambda: make_instrument(period_m=0.0), "period_m"),
        (lambda: make_instrument(correlation_length_m=-1e-6), "correlation_length_m: wanted 1e-09 to 0.0001"),
        (lambda: make_instrument(correlation_length_m=1e-3), "correlation_length_m: wanted 1e-09 to 0.0001"),
        (lambda: make_instrument(sensor=Sensor(threshold_kev=90)), "threshold_kev: no photon of the spectrum"),
        (lambda: Sensor(cloud_m=5e-6), "threshold_kev: wanted > 0 where charge is shared"),
        (lambda: Sensor(kind="integrating", threshold_kev=20), "belong to a counting detector"),
        (lambda: Sensor(material="paper"), "material: 'paper' is not known"),
        (lambda: Sensor(thickness_m=0), "thickness_m: wanted a finite number > 0, got 0"),
        (lambda: make_instrument(spectrum="sun"), "spectrum: 'sun' is not known; known: band, file, tube"),
        (lambda: Sensor(kind="film"), "kind: 'film' is not known"),
        (lambda: make_instrument(low_kev=80, high_kev=60), "high_kev"),
        (lambda: make_instrument(high_kev=900), "energies_kev"),
        (lambda: Spectrum(np.array([60.0, 70.0]), np.zeros(2)), "zero flux"),
        (lambda: rebin(energies_kev=[50.0], photons=[1.0], low_kev=60, high_kev=80, bins=2), "zero flux"),
        (lambda: from_file("nowhere.txt", low_kev=1, high_kev=2, bins=1), "no such file"),
        (lambda: tube(kvp=500, bins=3), "kvp"),
        (lambda: tube(kvp=80, bins=3, filters_m={"al": -1e-3}), "thickness"),
        (lambda: Instrument(np.array([60.0]), np.ones(1), np.array([2.0]), 4e-6, 0.5, 60.0), "visibility"),
    ],
)
def test_impossible_input_names_the_field(call, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DarklungError, match=words):
        call()
