"""Dense suspensions: hard spheres that cannot overlap are ordered, which lowers their dark field."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import j0

from darklung.core.checks import require
from darklung.physics.scattering import sphere

# Integration over x = qD/2, in steps that resolve both the sphere's form factor and J0 up to ξ = 50 D.
_X = np.linspace(0, 120, 48_001)[1:]
_MOST_CORRELATION = 50.0
_DENSEST = 0.5


def structure_factor(q_diameter: ArrayLike, volume_fraction: float) -> NDArray[np.float64]:
    """Percus–Yevick structure factor S(q) of equal hard spheres.

    Parameters
    ----------
    q_diameter : (...) array
        q D, wave number times diameter.
    volume_fraction : float
        0 to 0.5; denser packings freeze and are outside the theory.

    References
    ----------
    Wertheim 1963, Phys Rev Lett 10:321 (doi:10.1103/PhysRevLett.10.321); Thiele 1963 (doi:10.1063/1.1734272)
    """
    f = float(volume_fraction)
    require(0 <= f <= _DENSEST, f"volume_fraction: wanted 0 to {_DENSEST} for hard spheres, got {volume_fraction!r}")
    a = np.maximum(np.asarray(q_diameter, dtype=np.float64), 0.05)  # below, S differs from S(0) by less than 1e-3
    sin, cos = np.sin(a), np.cos(a)
    alpha = (1 + 2 * f) ** 2 / (1 - f) ** 4
    beta = -6 * f * (1 + f / 2) ** 2 / (1 - f) ** 4
    gamma = f * alpha / 2
    first = alpha * (sin - a * cos) / a**2
    second = beta * (2 * a * sin + (2 - a**2) * cos - 2) / a**3
    third = gamma * (-(a**4) * cos + 4 * ((3 * a**2 - 6) * cos + (a**3 - 6 * a) * sin + 6)) / a**5
    return np.asarray(1 / (1 + 24 * f * (first + second + third) / a))


def hard_spheres(
    diameter_m: float,
    volume_fraction: float,
    delta: ArrayLike,
    energy_kev: ArrayLike,
    correlation_length_m: ArrayLike,
) -> NDArray[np.float64]:
    """ε [1/m] of equal spheres that do not overlap, up to a volume fraction of 0.5.

    ε = `darklung.physics.scattering.sphere` × ∫ q F² S [1 − J0(qξ)] dq / ∫ q F² [1 − J0(qξ)] dq, with the form factor F of a
    sphere and the Percus–Yevick S(q). At f -> 0 it is `sphere`.

    Parameters
    ----------
    diameter_m, volume_fraction : float
    delta, energy_kev, correlation_length_m : (...) arrays
        ξ up to 50 D.

    Returns
    -------
    (...) array [1/m]
    """
    dilute = sphere(diameter_m, volume_fraction, delta, energy_kev, correlation_length_m)
    ratio = np.asarray(correlation_length_m, dtype=np.float64) / diameter_m
    inside = bool((ratio <= _MOST_CORRELATION).all())
    require(inside, f"correlation_length_m: wanted at most {_MOST_CORRELATION:g} diameters, got {ratio.max():g}")
    form = (3 * (np.sin(_X) - _X * np.cos(_X)) / _X**3) ** 2 * _X
    ordered = form * structure_factor(2 * _X, volume_fraction)
    factor = np.ones(ratio.shape)
    for index in np.ndindex(ratio.shape):
        if ratio[index] > 0:
            shift = 1 - j0(2 * _X * ratio[index])
            factor[index] = (ordered * shift).sum() / (form * shift).sum()
    return np.asarray(dilute * factor)
