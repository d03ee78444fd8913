"""Photon noise of phase stepping: variances, bias, validity and noise floor.

For M >= 4 equidistant steps and Poisson counts; N is the total of detected counts in one pixel's stepping curve. Electronic
noise is not modelled. Reference: Revol, Kottler, Kaufmann, Straumann & David 2010, Rev Sci Instrum 81:073709
(doi:10.1063/1.3465334, [M]: not checked again).
The tests compare the formulas with a Monte Carlo of stepping curves instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.core.checks import require

VALIDITY_LIMIT = 10.0
"""ln V is nearly unbiased while N V² exceeds this."""


def _pair(visibility: ArrayLike, counts: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    v, n = np.asarray(visibility, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    require(bool((np.isfinite(v) & (v >= 0)).all()), "visibility: wanted finite numbers >= 0")
    require(bool((n > 0).all()), "counts: wanted numbers > 0")
    return v, n


def log_transmission_variance(counts: ArrayLike) -> NDArray[np.float64]:
    """Variance of ln T from the sample's counts, 1/N; the flat adds its own 1/N."""
    return 1 / _pair(0.0, counts)[1]


def visibility_variance(visibility: ArrayLike, counts: ArrayLike) -> NDArray[np.float64]:
    """Variance of the visibility, (2 − V²)/N."""
    v, n = _pair(visibility, counts)
    return (2 - v**2) / n


def log_visibility_variance(visibility: ArrayLike, counts: ArrayLike) -> NDArray[np.float64]:
    """Variance of ln V, (2/V² − 1)/N; infinite at V = 0."""
    v, n = _pair(visibility, counts)
    with np.errstate(divide="ignore"):
        return (2 / v**2 - 1) / n


def dark_field_variance(
    visibility: ArrayLike, counts: ArrayLike, flat_visibility: ArrayLike, flat_counts: ArrayLike
) -> NDArray[np.float64]:
    """Variance of −ln(V/V0): that of ln V with sample plus that of the flat."""
    return log_visibility_variance(visibility, counts) + log_visibility_variance(flat_visibility, flat_counts)


def phase_variance(visibility: ArrayLike, counts: ArrayLike) -> NDArray[np.float64]:
    """Variance of the stepping curve's phase, 2/(N V²) [rad²], for N V² >> 1."""
    v, n = _pair(visibility, counts)
    with np.errstate(divide="ignore"):
        return 2 / (n * v**2)


def visibility_bias(visibility: ArrayLike, counts: ArrayLike) -> NDArray[np.float64]:
    """First-order bias E[V] − V = 1/(N V), too large by nature as V goes to 0 (see `visibility_floor`)."""
    v, n = _pair(visibility, counts)
    with np.errstate(divide="ignore"):
        return 1 / (n * v)


def visibility_floor(counts: ArrayLike) -> NDArray[np.float64]:
    """Mean of the measured visibility where there is none, sqrt(π/N): the Rayleigh floor that saturates −ln D."""
    return np.sqrt(np.pi / _pair(0.0, counts)[1])


def is_valid(visibility: ArrayLike, counts: ArrayLike) -> NDArray[np.bool_]:
    """True where N V² > 10, so that ln V can be trusted."""
    v, n = _pair(visibility, counts)
    return np.asarray(n * v**2 > VALIDITY_LIMIT)


def noise_ratio(visibility: ArrayLike) -> NDArray[np.float64]:
    """σ(−ln D)/σ(−ln T) = sqrt(2/V² − 1), whatever the counts."""
    v, _ = _pair(visibility, 1.0)
    with np.errstate(divide="ignore"):
        return np.sqrt(2 / v**2 - 1)
