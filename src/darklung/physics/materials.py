"""Attenuation and refraction of the materials that objects are made of.

Cross sections come from xraydb: Elam, Ravel & Sieber 2002 (doi:10.1016/S0969-806X(01)00227-4) for attenuation
(photoelectric, coherent and incoherent), Chantler's f1 for refraction. Tissue compositions and densities are those of ICRU
Report 44 (1989) as tabulated by NIST (https://physics.nist.gov/PhysRefData/XrayMassCoef/tab2.html). Mixtures follow the rule
of mass fractions; chemical binding is not modelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import xraydb
from numpy.typing import ArrayLike, NDArray

from darklung.core.checks import check_one_of, require
from darklung.physics.constants import AVOGADRO_PER_MOL, CLASSICAL_ELECTRON_RADIUS_M, wavelength_m

ENERGY_RANGE_KEV = (5.0, 500.0)


@dataclass(frozen=True)
class Material:
    """What a material is made of.

    Parameters
    ----------
    mass_fractions : mapping of str to float
        Element symbol -> fraction of the mass; sums to 1.
    density_g_cm3 : float
        Usual density; a phantom may hold any other.
    source : str
        Where composition and density come from.
    """

    mass_fractions: Mapping[str, float]
    density_g_cm3: float
    source: str

    def __post_init__(self) -> None:
        total = sum(self.mass_fractions.values())
        require(abs(total - 1) < 5e-3, f"mass_fractions: wanted a sum of 1, got {total:g}")
        scaled = {symbol: value / total for symbol, value in self.mass_fractions.items()}
        object.__setattr__(self, "mass_fractions", MappingProxyType(scaled))


def compound(formula: str, density_g_cm3: float, source: str) -> Material:
    """A `Material` of a chemical formula such as ``"C5H8O2"``."""
    atoms = xraydb.chemparse(formula)
    masses = {symbol: count * xraydb.atomic_mass(symbol) for symbol, count in atoms.items()}
    total = sum(masses.values())
    return Material({symbol: mass / total for symbol, mass in masses.items()}, density_g_cm3, source)


def _tissue(composition: str, density_g_cm3: float) -> Material:
    pairs = [item.split(":") for item in composition.split()]
    return Material({symbol: float(percent) / 100 for symbol, percent in pairs}, density_g_cm3, "ICRU Report 44 (1989)")


MATERIALS: Mapping[str, Material] = MappingProxyType(
    {
        "soft_tissue": _tissue("H:10.2 C:14.3 N:3.4 O:70.8 Na:0.2 P:0.3 S:0.3 Cl:0.2 K:0.3", 1.06),
        "lung_tissue": _tissue("H:10.3 C:10.5 N:3.1 O:74.9 Na:0.2 P:0.2 S:0.3 Cl:0.3 K:0.2", 1.05),
        "adipose": _tissue("H:11.4 C:59.8 N:0.7 O:27.8 Na:0.1 S:0.1 Cl:0.1", 0.95),
        "muscle": _tissue("H:10.2 C:14.3 N:3.4 O:71.0 Na:0.1 P:0.2 S:0.3 Cl:0.1 K:0.4", 1.05),
        "blood": _tissue("H:10.2 C:11.0 N:3.3 O:74.5 Na:0.1 P:0.1 S:0.2 Cl:0.3 K:0.2 Fe:0.1", 1.06),
        "bone": _tissue("H:3.4 C:15.5 N:4.2 O:43.5 Na:0.1 Mg:0.2 P:10.3 S:0.3 Ca:22.5", 1.92),
        "water": compound("H2O", 1.0, "definition"),
        "air": Material({"N": 0.755268, "O": 0.231781, "Ar": 0.012827, "C": 0.000124}, 1.205e-3, "NIST, dry, 20 °C"),
        "al": compound("Al", 2.699, "NIST"),
        "cu": compound("Cu", 8.96, "NIST"),
        "pmma": compound("C5H8O2", 1.19, "NIST"),
        "polystyrene": compound("C8H8", 1.05, "NIST"),
        "polyethylene": compound("C2H4", 0.94, "NIST"),
        "carbon": compound("C", 1.8, "carbon fibre, makers' data sheets"),
        "si": compound("Si", 2.33, "NIST"),
        "sio2": compound("SiO2", 2.2, "fused silica; porous or powder spheres are lighter"),
        "au": compound("Au", 19.32, "NIST"),
        "cdte": compound("CdTe", 5.85, "NIST: density 6.2; detector crystals 5.85, makers' data sheets"),
    }
)


def mass_attenuation(material: str, energies_kev: ArrayLike) -> NDArray[np.float64]:
    """Total mass attenuation coefficient μ/ρ [m²/kg] (1 m²/kg = 10 cm²/g).

    Parameters
    ----------
    material : str
        A key of `MATERIALS`.
    energies_kev : (...) array
        Within `ENERGY_RANGE_KEV`.

    Returns
    -------
    (...) array [m²/kg]

    Raises
    ------
    DarklungError
        Unknown material, or an energy outside the tables.

    Examples
    --------
    >>> round(float(mass_attenuation("water", 70.0)), 4)
    0.0193
    """
    energies = _energies(energies_kev)
    _material(material)
    return _per_mass(material, np.atleast_1d(energies).ravel().tobytes()).reshape(energies.shape).copy()


@lru_cache(maxsize=64)  # fits ask for the bins of one spectrum again and again
def _per_mass(material: str, energies_kev: bytes) -> NDArray[np.float64]:
    flat = np.frombuffer(energies_kev) * 1e3
    total = np.zeros_like(flat)
    for symbol, fraction in _material(material).mass_fractions.items():
        total += fraction * np.atleast_1d(xraydb.mu_elam(symbol, flat))
    return np.asarray(0.1 * total)


def linear_attenuation(material: str, density_g_cm3: ArrayLike, energies_kev: ArrayLike) -> NDArray[np.float64]:
    """Linear attenuation coefficient μ [1/m] at a density [g/cm³]; arguments broadcast."""
    return 1e3 * _density(density_g_cm3) * mass_attenuation(material, energies_kev)


def delta(material: str, density_g_cm3: ArrayLike, energies_kev: ArrayLike) -> NDArray[np.float64]:
    """Refractive index decrement δ of n = 1 − δ + iβ; arguments broadcast.

    δ = r_e λ²/(2π) N_A ρ Σ w_i (Z_i + f1_i)/A_i. Away from absorption edges δ ∝ ρ E⁻².

    Examples
    --------
    >>> float(delta("water", 1.0, 70.0)).__format__(".3e")
    '4.700e-08'
    """
    energies = _energies(energies_kev)
    flat = np.atleast_1d(energies).ravel() * 1e3
    electrons_per_kg = np.zeros_like(flat)
    for symbol, fraction in _material(material).mass_fractions.items():
        scattering = xraydb.atomic_number(symbol) + np.atleast_1d(xraydb.f1_chantler(symbol, flat))
        electrons_per_kg += fraction * scattering / xraydb.atomic_mass(symbol)
    electrons_per_kg *= 1e3 * AVOGADRO_PER_MOL
    decrement = CLASSICAL_ELECTRON_RADIUS_M * wavelength_m(energies) ** 2 / (2 * np.pi)
    return np.asarray(decrement * electrons_per_kg.reshape(energies.shape) * 1e3 * _density(density_g_cm3))


def mass_elements(material: str) -> Mapping[str, float]:
    """Mass fraction of every element of a material."""
    return _material(material).mass_fractions


@lru_cache(maxsize=256)
def _material(name: str) -> Material:
    return MATERIALS[check_one_of("material", name, MATERIALS)]


def _energies(energies_kev: ArrayLike) -> NDArray[np.float64]:
    energies = np.asarray(energies_kev, dtype=np.float64)
    low, high = ENERGY_RANGE_KEV
    inside = np.isfinite(energies) & (energies >= low) & (energies <= high)
    require(bool(inside.all()), f"energies_kev: wanted {low:g} to {high:g} keV, got {energies_kev!r}")
    return energies


def _density(density_g_cm3: ArrayLike) -> NDArray[np.float64]:
    density = np.asarray(density_g_cm3, dtype=np.float64)
    require(bool((np.isfinite(density) & (density >= 0)).all()), f"density_g_cm3: wanted >= 0, got {density_g_cm3!r}")
    return density
