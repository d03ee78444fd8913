"""The variance of a pixel's dark field from the visibility of its neighbourhood."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

WIDTH = 5
# No visibility is taken to be below that of this strength N V²: there the logarithm means nothing anyway.
_WEAKEST = 1.0


def neighbours_variance(visibility: NDArray, variance: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variance of ln V and strength N V² with V² the mean over `WIDTH`² pixels, freed of noise.

    var(ln V) = (2/V² − 1)/N gives N from what the fit says of the pixel; then V² is replaced by the mean of V² − 4/N, since
    noise adds 4/N to V². A pixel's own error hardly enters: value and variance are no longer correlated.

    Not modelled: steps that are not equidistant (they only scale N); neighbours of other visibility, as at the lung's edge.

    Parameters
    ----------
    visibility : (row, col)
        0 where there is no modulation; those pixels are left out.
    variance : (row, col)
        Of ln V in the sample alone, from the pixel's fit.

    Returns
    -------
    variance, strength : (row, col) float64
    """
    good = (visibility > 0) & (variance > 0)
    square = np.where(good, np.square(visibility, dtype=np.float64), 1.0)
    photons = (2 / square - 1) / np.where(good, variance, 1.0)
    share = np.maximum(uniform_filter(good.astype(np.float64), WIDTH, mode="nearest"), 1e-9)
    mean = uniform_filter(np.where(good, square - 4 / photons, 0.0), WIDTH, mode="nearest") / share
    mean = np.maximum(mean, _WEAKEST / photons)
    return (2 / mean - 1) / photons, np.where(good, photons * mean, 0.0)
