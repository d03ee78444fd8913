"""Spectra from step wedges: the beam's from the mean of the stepping curve, the visibility's from its modulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_one_of, check_shape, require
from darklung.correct.response import SpectralResponse
from darklung.physics.materials import MATERIALS, linear_attenuation


@dataclass(frozen=True)
class Wedge:
    """Retrieved signals of a step wedge of one structure-free material.

    Parameters
    ----------
    material : str
    thickness_m : (step,) float64
        At 1 g/cm³, that is thickness × density / (1 g/cm³).
    attenuation, dark_field : (step,) float64
        Means of −ln T and −ln D over each step's pixels.
    """

    material: str
    thickness_m: NDArray[np.float64]
    attenuation: NDArray[np.float64]
    dark_field: NDArray[np.float64]

    def __post_init__(self) -> None:
        check_one_of("wedge material", self.material, MATERIALS)
        for name in ("thickness_m", "attenuation", "dark_field"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            check_shape(name, values, "step", np.shape(self.thickness_m))
            check_finite(name, values)
            object.__setattr__(self, name, values)
        require(bool((self.thickness_m >= 0).all()), "thickness_m: wanted numbers >= 0")


def calibrate_response(
    wedges: Wedge | tuple[Wedge, ...], nominal: SpectralResponse, *, iterations: int = 2000
) -> SpectralResponse:
    """Estimate both spectra from wedges, starting from nominal ones.

    T(t) = Σ w e^{−μt} and T(t) D(t) = Σ v e^{−μt}: two linear problems with non-negative unknowns, each solved by
    multiplicative (expectation–maximisation) updates, which change the nominal spectrum only as far as the data ask [M].
    Both spectra from the zeroth and first order of the stepping curve behind step wedges are also the subject of [1]_.
    The decomposition into bins is far from unique; what is fixed are the functions T(t) and D(t) over the range of the
    wedges, and that is what corrections use. Bins that the nominal spectrum leaves empty stay empty.

    Parameters
    ----------
    wedges : Wedge or tuple of Wedge
        Of one or several materials; together at least as many steps as make sense (8 or more).
    nominal : SpectralResponse
    iterations : int

    References
    ----------
    .. [1] Coupling Spectrum Estimation and Single Energy Material Decomposition via X-ray Grating Interferometry,
       arXiv:2605.29419.
    """
    wedges = (wedges,) if isinstance(wedges, Wedge) else tuple(wedges)
    require(sum(len(w.thickness_m) for w in wedges) >= 3, "wedges: wanted at least 3 steps together")
    depths = [np.multiply.outer(w.thickness_m, linear_attenuation(w.material, 1.0, nominal.energies_kev)) for w in wedges]
    passed = np.exp(-np.concatenate(depths))
    transmission = np.concatenate([np.exp(-w.attenuation) for w in wedges])
    modulation = transmission * np.concatenate([np.exp(-w.dark_field) for w in wedges])
    return SpectralResponse(
        nominal.energies_kev,
        _spectrum(passed, transmission, nominal.weights, iterations),
        _spectrum(passed, modulation, nominal.visible, iterations),
        nominal.reference_energy_kev,
    )


def _spectrum(
    passed: NDArray[np.float64], seen: NDArray[np.float64], start: NDArray[np.float64], iterations: int
) -> NDArray[np.float64]:
    """Multiplicative updates x ← x Aᵀ(seen / A x) / Aᵀ1 with rows scaled to equal relative weight."""
    scaled = passed / seen[:, None]
    total = scaled.sum(axis=0)
    spectrum = start.copy()
    for _ in range(iterations):
        spectrum = spectrum * (scaled.T @ (1.0 / (scaled @ spectrum))) / total
    return spectrum
