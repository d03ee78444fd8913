"""The hardening ladder on a water wedge of 0 to 25 mm, with and without 4 mm of lung-like foam, for three spectra.

The truth has 1 keV bins, other filters and another design energy than the nominal instrument, and a Debye–Bueche foam
whose energy law is not the power law of the correction; the wedge from which methods learn has noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.correct.hardening import correct_hardening, measured_table, water_table
from darklung.correct.materials import correct_two_materials, multiplicative_factor, scale_dark_field
from darklung.correct.monochromatic import inversion_table, invert_hardening
from darklung.correct.response import SpectralResponse
from darklung.correct.wedge import Wedge, calibrate_response
from darklung.physics.instrument import Instrument, make_instrument
from darklung.physics.materials import delta, linear_attenuation
from darklung.physics.scattering import two_phase
from darklung.physics.spectrum import band, tube

PHI, INTERFACE_PER_M, FOAM_M = 0.25, 80_200.0, 0.004
WATER_M = np.linspace(0, 0.025, 26)
SPECTRA = ("tube, design 30 keV", "tube, design 60 keV", "band 60-80 keV")


@cache
def instrument(name: str, *, nominal: bool) -> Instrument:
    """The true instrument, or what its owner believes."""
    design, reference = {"tube, design 30 keV": (30, 45), "tube, design 60 keV": (60, 45), "band 60-80 keV": (70, 70)}[name]
    if name.startswith("tube"):
        source = tube(
            kvp=100, low_kev=15, bins=30 if nominal else 85, filters_m={"al": 2e-3} if nominal else {"al": 3e-3, "cu": 1e-4}
        )
    else:
        source = band(low_kev=60, high_kev=80, bins=8 if nominal else 40)
    return make_instrument(
        spectrum=source,
        design_energy_kev=design + 2 * nominal,
        flat_visibility=0.1,
        reference_energy_kev=reference,
        correlation_length_m=2e-6 * 70 / reference,
    )


def foam(truth: Instrument, energies_kev, correlation_length_m):
    tissue = delta("soft_tissue", 1.05, energies_kev)
    return two_phase(PHI, INTERFACE_PER_M, tissue, energies_kev, correlation_length_m)


def measure(truth: Instrument, water_m, foam_m, bone_m=0.0):
    """(−ln T, −ln D) of water, foam and bone (at 1 g/cm³) in the beam, noise-free."""
    mu = [linear_attenuation(m, d, truth.energies_kev) for m, d in (("water", 1), ("soft_tissue", 1.05 * PHI), ("bone", 1))]
    depth = sum(
        np.multiply.outer(np.broadcast_to(path, np.shape(water_m)), m) for path, m in zip((water_m, foam_m, bone_m), mu)
    )
    scatter = np.multiply.outer(
        np.broadcast_to(foam_m, np.shape(water_m)), foam(truth, truth.energies_kev, truth.correlation_length_m)
    )
    return SpectralResponse.of(truth).measured(depth, scatter)


def projections(attenuation, dark_field, variances=(0.0, 0.0)) -> Projections:
    shape = (1, 1, 1, len(attenuation))
    maps = {name: np.zeros(shape) for name in PROJECTION_MAPS[:-1]}
    maps |= {"attenuation": np.reshape(attenuation, shape), "dark_field": np.reshape(dark_field, shape)}
    maps |= {"attenuation_variance": np.full(shape, variances[0]), "dark_field_variance": np.full(shape, variances[1])}
    geometry = ParallelGeometry(np.zeros(1), 1, shape[-1], 1e-4)
    return Projections(**maps, valid=np.ones(shape, bool), directions_rad=np.zeros(1), geometry=geometry)


@cache
def wedge(name: str) -> Wedge:
    """17 steps to 40 mm, each the mean of enough pixels for errors of 2e-4 in −ln T and 1e-3 in −ln D."""
    thickness, rng = np.linspace(0, 0.04, 17), stream(0, "wedge", name)
    attenuation, dark_field = measure(instrument(name, nominal=False), thickness, 0.0)
    noise = rng.normal(0, 2e-4, 17), rng.normal(0, 1e-3, 17)
    return Wedge("water", thickness, attenuation + noise[0], dark_field + noise[1])


@cache
def methods(name: str):
    believed, steps = instrument(name, nominal=True), wedge(name)
    nominal = SpectralResponse.of(believed)
    calibrated = calibrate_response(steps, nominal)
    table = measured_table(
        attenuation=steps.attenuation,
        dark_field=steps.dark_field,
        thickness_m=steps.thickness_m,
        mu_reference_per_m=nominal.attenuation_of("water")[1],
    )
    return {
        "none": lambda p: p,
        "look-up, computed": lambda p: correct_hardening(p, water_table(believed)),
        "look-up, measured": lambda p: correct_hardening(p, table),
        "look-up and factor": lambda p: scale_dark_field(correct_hardening(p, table), calibrated),
        "inversion, nominal": lambda p: invert_hardening(p, inversion_table(nominal)),
        "inversion, calibrated": lambda p: invert_hardening(p, inversion_table(calibrated)),
    }


@dataclass(frozen=True)
class Quality:
    bias: float  # largest |−ln D| of water alone
    level: float  # mean foam ε over the true one at the reference energy
    variation: float  # largest deviation of foam ε from its mean over 0 to 25 mm of water
    attenuation: float  # largest error of −ln T of water alone at the reference energy


@cache
def quality(name: str, method: str) -> Quality:
    truth = instrument(name, nominal=False)
    run = methods(name)[method]
    alone, with_foam = (run(projections(*measure(truth, WATER_M, path))) for path in (0.0, FOAM_M))
    assert with_foam.valid.all()
    epsilon = with_foam.dark_field.ravel() / FOAM_M
    true = float(foam(truth, truth.reference_energy_kev, truth.reference_correlation_length_m))
    mu = float(linear_attenuation("water", 1.0, truth.reference_energy_kev))
    return Quality(
        bias=float(np.abs(alone.dark_field).max()),
        level=float(epsilon.mean() / true),
        variation=float(np.abs(epsilon / epsilon.mean() - 1).max()),
        attenuation=float(np.abs(alone.attenuation.ravel() - mu * WATER_M).max()),
    )


def test_the_table_of_all_methods():
    """Prints what docs/decisions/053 shows."""
    for name in SPECTRA:
        raw = measure(instrument(name, nominal=False), np.array([0.025]), 0.0)[1].item()
        print(f"\n{name}: false -ln D behind 25 mm of water {raw:+.4f}")
        for method in methods(name):
            q = quality(name, method)
            foam_told = f"foam level {q.level:.3f}, variation {100 * q.variation:.2f} %"
            print(f"  {method:22s} bias {q.bias:.4f}, {foam_told}, -ln T {q.attenuation:.4f}")


@pytest.mark.parametrize("name", SPECTRA)
def test_acceptance_of_the_best_method(name):
    best = quality(name, "inversion, calibrated")
    assert best.bias < 0.005
    assert best.variation < 0.03
    assert best.attenuation < 0.002


def test_two_spectra_have_opposite_false_signals_and_simpler_methods_fail():
    first, second = (measure(instrument(n, nominal=False), np.array([0.025]), 0.0)[1].item() for n in SPECTRA[:2])
    assert first > 0.03
    assert second < -0.03
    for name in SPECTRA[:2]:
        assert quality(name, "none").bias > 0.03
        assert quality(name, "look-up, measured").bias < 0.005
        assert quality(name, "inversion, nominal").bias > 0.005, "the nominal spectrum is not good enough"
    assert max(quality(n, "look-up, measured").variation for n in SPECTRA) > 0.03, "the true signal still hardens"


@pytest.mark.parametrize("name", SPECTRA)
def test_inversion_with_the_true_spectra_is_exact_up_to_the_energy_law(name):
    truth = instrument(name, nominal=False)
    table = inversion_table(SpectralResponse.of(truth))
    alone = invert_hardening(projections(*measure(truth, WATER_M, 0.0)), table)
    np.testing.assert_allclose(alone.dark_field, 0.0, atol=3e-4)
    mu = float(linear_attenuation("water", 1.0, truth.reference_energy_kev))
    np.testing.assert_allclose(alone.attenuation.ravel(), mu * WATER_M, atol=2e-4)


def test_variances_of_the_inversion():
    truth = instrument(SPECTRA[1], nominal=False)
    table = inversion_table(SpectralResponse.of(truth))
    exact = measure(truth, np.array([0.01]), FOAM_M)
    rng, sigma = stream(0, "inversion"), (0.01, 0.04)
    noisy = [value + rng.normal(0, s, 20_000) for value, s in zip(exact, sigma)]
    result = invert_hardening(projections(*noisy, variances=(sigma[0] ** 2, sigma[1] ** 2)), table)
    centre = invert_hardening(projections(*exact), table)
    for name in ("attenuation", "dark_field"):
        pull = (getattr(result, name) - getattr(centre, name).item()) / np.sqrt(getattr(result, f"{name}_variance"))
        assert pull.std() == pytest.approx(1.0, abs=0.02), name


def test_noise_about_air_and_values_outside_the_table():
    table = inversion_table(SpectralResponse.of(instrument(SPECTRA[2], nominal=True)))
    rng = stream(0, "air")
    air = invert_hardening(projections(rng.normal(0, 0.02, 5000), rng.normal(0, 0.2, 5000)), table)
    assert air.valid.all()
    assert abs(air.dark_field.mean()) < 0.01
    assert (air.dark_field < -0.1).any()
    outside = invert_hardening(projections([50.0, 0.1, np.log(2)], [0.1, 90.0, 0.0]), table)
    assert outside.valid.ravel().tolist() == [False, False, True]
    assert np.isfinite(outside.dark_field).all()


def test_factor_against_direct_sums():
    response = SpectralResponse.of(instrument(SPECTRA[0], nominal=True))
    mu, _ = response.attenuation_of("water")
    law, small = response.scattering_law(2.0), 1e-6
    for thickness in (0.0, 0.02):
        with_scatter = response.measured(mu * thickness, small * law)[1] - response.measured(mu * thickness)[1]
        factor = multiplicative_factor(response, np.array(thickness), exponent=2.0)
        assert factor * with_scatter == pytest.approx(small, rel=1e-5)


def test_bone_is_corrected_where_its_path_is_known():
    truth = instrument(SPECTRA[1], nominal=False)
    response = SpectralResponse.of(truth)
    bone = np.linspace(0, 0.006, 26)
    start = projections(*measure(truth, WATER_M, 0.0, bone))
    table = water_table(truth)
    assert np.abs(correct_hardening(start, table).dark_field).max() > 0.01
    result = correct_two_materials(start, response, second_m=bone.reshape(1, 1, 1, -1))
    np.testing.assert_allclose(result.dark_field, 0.0, atol=2e-4)
    expected = response.attenuation_of("water")[1] * WATER_M + response.attenuation_of("bone")[1] * bone
    np.testing.assert_allclose(result.attenuation.ravel(), expected, atol=5e-4)
    wrong = correct_two_materials(start, response, second_m=0.9 * bone.reshape(1, 1, 1, -1))
    assert np.abs(wrong.dark_field).max() < 0.25 * np.abs(correct_hardening(start, table).dark_field).max()
    with pytest.raises(DarklungError, match="second_m: wanted paths >= 0"):
        correct_two_materials(start, response, second_m=-bone)


def test_calibration_reproduces_the_wedge_and_predicts_between():
    truth, believed = (instrument(SPECTRA[0], nominal=n) for n in (False, True))
    found = calibrate_response(wedge(SPECTRA[0]), SpectralResponse.of(believed))
    mu, _ = found.attenuation_of("water")
    depth = np.multiply.outer(WATER_M, mu)
    for got, true in zip(found.measured(depth), measure(truth, WATER_M, 0.0)):
        np.testing.assert_allclose(got, true, atol=2e-3)
    before = SpectralResponse.of(believed).measured(depth)[1]
    assert np.abs(before - measure(truth, WATER_M, 0.0)[1]).max() > 0.01


def test_senseless_wedges_are_refused():
    nominal = SpectralResponse.of(instrument(SPECTRA[2], nominal=True))
    with pytest.raises(DarklungError, match="wedge material: 'jam' is not known"):
        Wedge("jam", np.zeros(3), np.zeros(3), np.zeros(3))
    with pytest.raises(DarklungError, match="dark_field: wanted axes"):
        Wedge("water", np.zeros(3), np.zeros(3), np.zeros(2))
    with pytest.raises(DarklungError, match="at least 3 steps"):
        calibrate_response(Wedge("water", np.zeros(2), np.zeros(2), np.zeros(2)), nominal)
    with pytest.raises(DarklungError, match="visible: wanted numbers >= 0"):
        SpectralResponse(nominal.energies_kev, nominal.weights, -nominal.visible, 70.0)
