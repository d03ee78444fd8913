"""Grating interferometer: Talbot distances, autocorrelation length, visibility spectrum."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.core.checks import check_positive, check_range, require
from darklung.physics.constants import wavelength_m


def talbot_distance(period_m: float, energy_kev: float, order: int = 1) -> float:
    """Fractional Talbot distance of a π-shifting grating in a parallel beam [m].

    D_j = (j − 1/2) p²/(4λ), j = `order`: 1, 2, 3, ... are the odd fractional orders 1, 3, 5 of p²/(8λ).

    Parameters
    ----------
    period_m : float
        Period p of the phase grating G1 [m].
    energy_kev : float
        Design energy.
    order : int
        j >= 1.

    Notes
    -----
    A symmetric Talbot–Lau system with one period p in all gratings has G1–G2 = 2p²/(8λ), which is twice this at j = 1.
    See `symmetric_distance`.
    """
    check_positive("period_m", period_m)
    check_positive("energy_kev", energy_kev)
    _check_order(order)
    return float((order - 0.5) * period_m**2 / (4 * wavelength_m(energy_kev)))


def symmetric_distance(period_m: float, energy_kev: float) -> float:
    """G1–G2 distance of a symmetric π-shift Talbot–Lau interferometer of one period, L = 2p²/(8λ) [m]."""
    return 2 * talbot_distance(period_m, energy_kev, 1)


def correlation_length(energy_kev: ArrayLike, distance_m: ArrayLike, period_m: ArrayLike) -> NDArray[np.float64]:
    """Autocorrelation length ξ = λ d/p2 [m]; arguments broadcast.

    Parameters
    ----------
    energy_kev : (...) array
    distance_m : (...) array
        Sample–G2 distance d, for a sample downstream of G1. In a cone beam a sample upstream of G1 needs d scaled by its
        distance from the source over that of G1.
    period_m : (...) array
        Period p2 of the analyser grating G2.
    """
    energy, distance, period = (np.asarray(a, dtype=np.float64) for a in (energy_kev, distance_m, period_m))
    require(bool((energy > 0).all()), f"energy_kev: wanted > 0, got {energy_kev!r}")
    require(bool((distance >= 0).all()), f"distance_m: wanted >= 0, got {distance_m!r}")
    require(bool((period > 0).all()), f"period_m: wanted > 0, got {period_m!r}")
    return np.asarray(wavelength_m(energy) * distance / period)


def visibility_spectrum(
    energy_kev: ArrayLike, design_energy_kev: float, order: int = 1, *, quality: float = 1.0
) -> NDArray[np.float64]:
    """Visibility V(E) of an ideal π-shift interferometer times a quality factor.

    V(E) = quality · (2/π) |sin²(π E0/(2E)) sin(j π E0/(2E))| with design energy E0 and order j. Measured visibilities are
    far lower than the ideal ones; `quality` stands for imperfect gratings and must be calibrated for a real system.

    Parameters
    ----------
    energy_kev : (...) array
    design_energy_kev : float
    order : int
    quality : float
        0 to 1.

    Returns
    -------
    (...) array
    """
    energy = np.asarray(energy_kev, dtype=np.float64)
    require(bool((energy > 0).all()), f"energy_kev: wanted > 0, got {energy_kev!r}")
    check_positive("design_energy_kev", design_energy_kev)
    check_range("quality", quality, 0, 1)
    _check_order(order)
    phase = np.pi * design_energy_kev / (2 * energy)
    return np.asarray(quality * (2 / np.pi) * np.abs(np.sin(phase) ** 2 * np.sin(order * phase)))


def _check_order(order: int) -> None:
    require(int(order) == order and order >= 1, f"order: wanted a whole number >= 1, got {order!r}")
