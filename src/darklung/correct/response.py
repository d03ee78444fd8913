"""The two spectra that hardening depends on: of the detected beam, and of its modulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.core.checks import check_finite, check_positive, check_shape, require
from darklung.physics.instrument import Instrument
from darklung.physics.materials import linear_attenuation

# ε ∝ E^−3.55 for a Debye–Bueche lung at fixed gratings, ξ(70 keV) = 2 µm; E^−2 for structures much smaller than ξ.
LUNG_EXPONENT = 3.55


@dataclass(frozen=True)
class SpectralResponse:
    """Detected spectrum and visibility spectrum of the open beam.

    Parameters
    ----------
    energies_kev : (bin,) float64
    weights : (bin,) float64
        S(E) Q(E); sums to 1.
    visible : (bin,) float64
        S(E) Q(E) V(E); sums to 1 (the flat's visibility divides out of D).
    reference_energy_kev : float
    """

    energies_kev: NDArray[np.float64]
    weights: NDArray[np.float64]
    visible: NDArray[np.float64]
    reference_energy_kev: float

    def __post_init__(self) -> None:
        check_positive("reference_energy_kev", self.reference_energy_kev)
        for name in ("weights", "visible"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            check_shape(name, values, "bin", np.shape(self.energies_kev))
            check_finite(name, values)
            require(bool((values >= 0).all()) and values.sum() > 0, f"{name}: wanted numbers >= 0, not all 0")
            object.__setattr__(self, name, values / values.sum())

    @classmethod
    def of(cls, instrument: Instrument) -> SpectralResponse:
        """That of a known instrument."""
        visible = instrument.weights * instrument.visibility
        return cls(instrument.energies_kev, instrument.weights, visible, instrument.reference_energy_kev)

    def attenuation_of(self, material: str) -> tuple[NDArray[np.float64], float]:
        """μ at 1 g/cm³ of all bins and at the reference energy [1/m]: multiply by the thickness of density 1."""
        mu = linear_attenuation(material, 1.0, self.energies_kev)
        return mu, float(linear_attenuation(material, 1.0, self.reference_energy_kev))

    def scattering_law(self, exponent: float = LUNG_EXPONENT) -> NDArray[np.float64]:
        """ε(E)/ε(reference) = (E/E_ref)^−exponent, (bin,)."""
        return np.asarray((self.energies_kev / self.reference_energy_kev) ** -exponent, dtype=np.float64)

    def measured(self, depth: ArrayLike, scatter: ArrayLike = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(−ln T, −ln D) for ∫μ dl = `depth` and ∫ε dl = `scatter`, both (..., bin)."""
        passed = np.exp(-np.asarray(depth, dtype=np.float64))
        transmission = passed @ self.weights
        modulation = (passed * np.exp(-np.asarray(scatter, dtype=np.float64))) @ self.visible
        return -np.log(transmission), -np.log(modulation / transmission)
