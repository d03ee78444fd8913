"""Attenuation and refraction against tabulated values, and the doors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from darklung.core.checks import DarklungError
from darklung.physics.materials import MATERIALS, compound, delta, linear_attenuation, mass_attenuation


def test_against_nist_mass_attenuation() -> None:
    # NIST XCOM/Hubbell & Seltzer, with coherent scattering [cm²/g] = 0.1 m²/kg
    energies = [60.0, 80.0, 100.0]
    assert_allclose(10 * mass_attenuation("water", energies), [0.2059, 0.1837, 0.1707], rtol=0.01)
    assert_allclose(10 * mass_attenuation("al", energies), [0.2778, 0.2018, 0.1704], rtol=0.01)
    assert_allclose(10 * mass_attenuation("bone", energies), [0.3148, 0.2229, 0.1855], rtol=0.015)
    assert_allclose(10 * mass_attenuation("adipose", energies), [0.1974, 0.1800, 0.1688], rtol=0.01)
    assert_allclose(10 * mass_attenuation("soft_tissue", energies), [0.2048, 0.1823, 0.1693], rtol=0.01)
    assert_allclose(10 * mass_attenuation("pmma", energies), [0.1924, 0.1751, 0.1641], rtol=0.01)


def test_delta_of_water_and_its_energy_law() -> None:
    assert_allclose(delta("water", 1.0, 70.0), 4.700e-8, rtol=2e-4)
    energies = np.array([60.0, 80.0])
    for name in ("water", "soft_tissue", "bone", "al"):
        at_reference = delta(name, 1.0, 70.0)
        assert_allclose(delta(name, 1.0, energies), at_reference * (70 / energies) ** 2, rtol=5e-4)


def test_linear_in_density() -> None:
    assert_allclose(linear_attenuation("water", [0.0, 0.5, 1.0], 70.0), np.array([0, 0.5, 1]) * 19.33, rtol=5e-3)
    assert_allclose(delta("bone", 1.92, 70.0), 1.92 * delta("bone", 1.0, 70.0))


def test_every_material_is_complete() -> None:
    for name, material in MATERIALS.items():
        assert_allclose(sum(material.mass_fractions.values()), 1)
        assert material.density_g_cm3 > 0
        assert material.source
        assert mass_attenuation(name, 70.0) > 0
        assert delta(name, material.density_g_cm3, 70.0) > 0


def test_compound_is_the_sum_of_its_atoms() -> None:
    water = compound("H2O", 1.0, "test").mass_fractions
    assert_allclose([water["H"], water["O"]], [0.1119, 0.8881], atol=1e-4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mass_attenuation("unobtainium", 70), "material: 'unobtainium' is not known"),
        (lambda: mass_attenuation("water", 1.0), "energies_kev"),
        (lambda: mass_attenuation("water", np.inf), "energies_kev"),
        (lambda: delta("water", -1.0, 70), "density_g_cm3"),
    ],
)
def test_impossible_input_names_the_field(call, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DarklungError, match=words):
        call()
