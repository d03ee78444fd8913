"""Scatter from the object: light without fringes, which lowers attenuation and makes false dark field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from darklung.core.checks import check_finite, check_positive, check_range, require
from darklung.core.types import Projections
from darklung.correct.invalid import filled_attenuation

# Loss of intensity above which a pixel counts as the object's shadow.
SHADOW = 0.02
_ROUNDS = 4


def estimate_scatter(projections: Projections, *, ratio: float, width: float = 0.12) -> NDArray[np.float64]:
    """Smooth scatter of each view in units of the open beam, (direction, view, row, col).

    Scatter is taken to spread as the blurred loss of primary intensity, scaled so that in the object's shadow its mean is
    `ratio` times the primary's; the primary is what is left after taking it off, in a few rounds. `ratio` is measured with a
    beam stop or taken from a Monte Carlo of the set-up: images alone do not tell it. Not modelled: multiple lobes, a grid.

    Parameters
    ----------
    ratio : float
        Scatter-to-primary ratio in the shadow, 0 to 1.
    width : float
        Standard deviation of the blur as a share of the detector's longer side.
    """
    check_range("ratio", ratio, 0.0, 1.0)
    check_positive("width", width)
    measured = np.exp(-np.stack([filled_attenuation(projections, d) for d in range(len(projections.directions_rad))]))
    scatter = np.zeros_like(measured)
    sigma = width * max(measured.shape[2:])
    for direction, view in np.ndindex(measured.shape[:2]):
        total = measured[direction, view]
        for _ in range(_ROUNDS):
            primary = total - scatter[direction, view]
            loss = 1 - primary
            shadow = loss > SHADOW
            if ratio == 0 or not shadow.any():
                break
            smooth = np.maximum(gaussian_filter(loss, sigma, mode="nearest"), 0.0)
            scatter[direction, view] = smooth * (ratio * primary[shadow].sum() / smooth[shadow].sum())
    return scatter


def correct_scatter(projections: Projections, scatter: NDArray[np.floating]) -> Projections:
    """Take known scatter S (units of the open beam) off: T_p = T − S and, since it carries no fringes, V_p = V T/T_p.

    attenuation becomes −ln(T − S), dark_field loses ln(T/(T − S)): with 3 % scatter-to-primary that is 0.03. Variances
    follow from the slopes; those of `scatter` are not added. Where T − S is not above zero pixels keep their values and are
    marked not valid.

    Parameters
    ----------
    scatter : array that broadcasts to (direction, view, row, col)
    """
    amount = np.broadcast_to(np.asarray(scatter, dtype=np.float64), projections.valid.shape)
    check_finite("scatter", amount)
    require(bool((amount >= 0).all()), f"scatter: wanted numbers >= 0, got {amount.min():g}")
    dtype = projections.attenuation.dtype
    total = np.exp(-np.asarray(projections.attenuation, dtype=np.float64))
    possible = total > amount
    primary = np.where(possible, total - amount, total)
    share = np.where(possible, amount, 0.0) / primary
    gained = np.log1p(share)
    return replace(
        projections,
        attenuation=(projections.attenuation + gained).astype(dtype),
        dark_field=(projections.dark_field - gained).astype(dtype),
        attenuation_variance=(projections.attenuation_variance * (1 + share) ** 2).astype(dtype),
        dark_field_variance=(projections.dark_field_variance + projections.attenuation_variance * share**2).astype(dtype),
        visibility=(projections.visibility * (1 + share)).astype(dtype),
        valid=projections.valid & possible,
    )
