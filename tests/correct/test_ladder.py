"""The hardening ladder on known truth, set up by `benchmarks/hardening.py`: 0 to 25 mm of water with and without foam."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.correct.hardening import correct_hardening, water_table
from darklung.correct.ladder import METHODS, TREATS, Knowledge, find_correction
from darklung.correct.materials import correct_two_materials, multiplicative_factor
from darklung.correct.monochromatic import inversion_table, invert_hardening, invert_two_materials
from darklung.correct.response import SpectralResponse
from darklung.correct.wedge import Wedge, calibrate_response
from darklung.physics.materials import linear_attenuation


def _scene():
    path = Path(__file__).parents[2] / "benchmarks" / "hardening.py"
    spec = importlib.util.spec_from_file_location("hardening_scene", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


scene = _scene()
SPECTRA, WATER_M, FOAM_M = scene.SPECTRA, scene.WATER_M, scene.FOAM_M
instrument, measure, projections, quality, wedge = (
    scene.instrument,
    scene.measure,
    scene.projections,
    scene.quality,
    scene.wedge,
)


def test_every_method_is_in_one_table_and_measured():
    assert set(METHODS) == set(TREATS)
    measured = {row[0] for rows in (scene.RADIOGRAPH_ROWS, scene.CT_ROWS) for row in rows.values()}
    assert measured == set(METHODS)
    with pytest.raises(DarklungError, match="hardening correction: 'magic' is not known; known: factor, inversion"):
        find_correction("magic")


@pytest.mark.parametrize("name", SPECTRA)
def test_acceptance_of_the_best_method(name):
    best = quality(name, "inversion, calibrated")
    assert best.bias < 0.005
    assert best.variation < 0.03
    assert best.attenuation < 0.002


def test_two_spectra_have_opposite_false_signals_and_simpler_methods_fail():
    first, second = (float(measure(instrument(n, nominal=False), 0.025)[1]) for n in SPECTRA[:2])
    assert first > 0.03
    assert second < -0.03
    for name in SPECTRA[:2]:
        assert quality(name, "none").bias > 0.03
        assert quality(name, "look_up, measured").bias < 0.005
        assert quality(name, "inversion, believed").bias > 0.005, "the nominal spectrum is not good enough"
    assert max(quality(n, "look_up, measured").variation for n in SPECTRA) > 0.03, "the true signal still hardens"


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


def test_two_materials_acceptance_with_bone_of_known_path():
    for name in SPECTRA:
        assert quality(name, "two_material, calibrated").bone < 0.005, name
        assert quality(name, "inversion, calibrated").bone < 0.005, name
    assert quality(SPECTRA[0], "look_up, measured").bone > 0.03


def test_segmentation_finds_the_bone_and_removes_what_it_does():
    name = SPECTRA[0]
    segmented, plain = (scene.ct_quality(name, f"{m}, calibrated") for m in ("inversion_segmented", "inversion"))
    assert segmented["bias"] < 0.005
    assert abs(segmented["in bone"]) < 0.2 * abs(plain["in bone"])
    assert segmented["bone bias"] < 0.3 * plain["bone bias"]
    assert segmented["both spread"] < 0.03


def test_inversion_behind_bone_equals_the_plain_one_without_and_recovers_the_foam():
    truth = instrument(SPECTRA[1], nominal=False)
    response = SpectralResponse.of(truth)
    plain = projections(*measure(truth, WATER_M, FOAM_M))
    without = invert_two_materials(plain, response, second_m=np.zeros(1))
    np.testing.assert_array_equal(without.dark_field, invert_hardening(plain, inversion_table(response)).dark_field)
    bone = np.linspace(0.0, 0.005, 26)
    covered = projections(*measure(truth, WATER_M, FOAM_M, bone), variances=(1e-6, 1e-4))
    result = invert_two_materials(covered, response, second_m=bone.reshape(1, 1, 1, -1))
    assert result.valid.all()
    np.testing.assert_allclose(result.dark_field, without.dark_field, rtol=0.02)
    expected = response.attenuation_of("water")[1] * WATER_M + response.attenuation_of("bone")[1] * bone
    foam_mass = 1.05 * scene.PHI * FOAM_M * response.attenuation_of("soft_tissue")[1]
    np.testing.assert_allclose(result.attenuation.ravel(), expected + foam_mass, atol=2e-3)
    assert (result.dark_field_variance > 0).all()
    with pytest.raises(DarklungError, match="second_m: wanted paths >= 0"):
        invert_two_materials(covered, response, second_m=-np.ones(1))


def test_a_radiograph_cannot_be_segmented_and_senseless_knowledge_is_refused():
    response = SpectralResponse.of(instrument(SPECTRA[2], nominal=True))
    one = projections([0.1, 0.2], [0.0, 0.0])
    with pytest.raises(DarklungError, match="segmentation: wanted at least 20 views of a turn, got 1"):
        find_correction("segmentation")(one, Knowledge(response))
    with pytest.raises(DarklungError, match="second_material: 'jam' is not known"):
        Knowledge(response, second_material="jam")
    with pytest.raises(DarklungError, match="wedge: wanted one of the object's material"):
        Knowledge(response, wedge=Wedge("al", np.arange(3.0), np.arange(3.0), np.zeros(3)))
    falling = Wedge("water", np.arange(3.0), -np.arange(3.0), np.zeros(3))
    with pytest.raises(DarklungError, match="−ln T must increase"):
        find_correction("look_up")(one, Knowledge(response, wedge=falling))


def test_noise_of_air_is_inside_a_measured_table():
    name = SPECTRA[0]
    knowledge = replace(scene.knowledge(name, calibrated=False, measured=True))
    result = find_correction("look_up")(projections([-0.03, 0.0, 0.03], np.zeros(3)), knowledge)
    assert result.valid.all()
    assert result.attenuation.ravel()[0] < -0.02


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
