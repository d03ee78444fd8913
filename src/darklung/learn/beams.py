"""What attenuation and dark field of the same animal are in another beam, by the forward model's own functions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from darklung.physics.constants import wavelength_m
from darklung.physics.lung import HEALTHY
from darklung.physics.materials import ENERGY_RANGE_KEV, MATERIALS, delta, linear_attenuation
from darklung.physics.noise import log_visibility_variance
from darklung.physics.scattering import two_phase

TISSUE, BONE = "soft_tissue", "bone"
_NODES = 17  # energies of a table; of μ and δ of tissues ln is so smooth in ln E that between them 1e-3 is not reached


@dataclass(frozen=True)
class Beam:
    """Energy [keV] and correlation length ξ [m] that an image's values refer to."""

    energy_kev: float
    correlation_length_m: float

    def other(self, energy_factor: float, length_factor: float) -> Beam:
        """Another energy and sample–grating distance with the same gratings: ξ = λ d/p2."""
        energy = self.energy_kev * energy_factor
        shorter = float(wavelength_m(energy) / wavelength_m(self.energy_kev))
        return Beam(energy, self.correlation_length_m * length_factor * shorter)

    def lung_per_m(self) -> float:
        """ε [1/m] of healthy lung, an isotropic two-phase medium."""
        contrast = _looked_up("delta", self.energy_kev)
        lung = (HEALTHY.tissue_fraction, HEALTHY.interface_density_per_m)
        return float(two_phase(*lung, contrast, self.energy_kev, self.correlation_length_m))


def dark_field_factor(of: Beam, to: Beam) -> float:
    """ε of healthy lung in the beam `to` over that in `of`.

    Not modelled: media whose correlation length is another than healthy lung's, a spectrum instead of one energy.
    """
    return to.lung_per_m() / of.lung_per_m()


def attenuation_law(of_kev: float, to_kev: float) -> tuple[float, float, float]:
    """How μ [1/m] changes with the energy: factor up to soft tissue, slope above it, and where soft tissue lies at `of_kev`.

    Up to unaerated soft tissue a voxel is tissue and air, and μ scales as soft tissue's; above, tissue and bone, and a voxel
    full of bone (ICRU 44) gets bone's. Contrast agents are no bone.
    """
    tissue, bone = (np.array([_looked_up(m, e) for e in (of_kev, to_kev)]) for m in (TISSUE, BONE))
    return float(tissue[1] / tissue[0]), float((bone[1] - tissue[1]) / (bone[0] - tissue[0])), float(tissue[0])


def visibility_noise_factor(factor: float, flat_visibility: float) -> float:
    """Variance of −ln(V/V0) where the flat's visibility is `factor` of what it was, over that of before.

    (2/(fV)² − 1)/(2/V² − 1), whatever the counts; sample and flat alike.
    """
    after, before = (log_visibility_variance(v, 1.0) for v in (factor * flat_visibility, flat_visibility))
    return float(after / before)


def _looked_up(what: str, energy_kev: float) -> float:
    """μ [1/m] of a material, or δ of tissue, interpolated in a table of powers of the energy."""
    octave = int(np.floor(np.log2(energy_kev)))
    energies, values = _table(what, octave)
    return float(np.exp(np.interp(np.log(energy_kev), energies, values)))


@lru_cache(maxsize=64)
def _table(what: str, octave: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """ln E and ln of the values from 2^octave to 2^(octave + 1) keV."""
    low, high = np.clip((2.0**octave, 2.0 ** (octave + 1)), *ENERGY_RANGE_KEV)
    energies = np.geomspace(float(low), float(high), _NODES)
    if what == "delta":
        return np.log(energies), np.log(delta(TISSUE, HEALTHY.tissue_density, energies))
    density = HEALTHY.tissue_density if what == TISSUE else MATERIALS[what].density_g_cm3
    return np.log(energies), np.log(linear_attenuation(what, density, energies))
