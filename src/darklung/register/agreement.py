"""Two ways to measure the same, value by value: correlation, and how far and how evenly they differ (Bland and Altman)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_shape, require

Z95 = 1.959963985
_LEAST = 4


@dataclass(frozen=True)
class Agreement:
    """Of pairs (section, volume).

    Parameters
    ----------
    count : int
    correlation, low, high : float
        Pearson's, with its 95 % interval by Fisher's transformation; pairs are taken as independent.
    slope, offset : float
        Of the least-squares line, volume over section.
    bias, limit_low, limit_high : float
        Mean of volume − section, and the 95 % limits of agreement (10.1016/S0140-6736(86)90837-8).
    bias_low, bias_high : float
        95 % interval of the bias.
    """

    count: int
    correlation: float
    low: float
    high: float
    slope: float
    offset: float
    bias: float
    bias_low: float
    bias_high: float
    limit_low: float
    limit_high: float


def agreement(section: NDArray[np.float64], volume: NDArray[np.float64]) -> Agreement:
    """Compare two sets of values; pairs with a NaN do not count.

    Parameters
    ----------
    section, volume : (pair,) float64

    Raises
    ------
    DarklungError
        Fewer than four pairs, or values that are all the same.
    """
    check_shape("volume", volume, "pair", section.shape)
    known = np.isfinite(section) & np.isfinite(volume)
    x, y = section[known], volume[known]
    require(len(x) >= _LEAST, f"agreement: wanted at least {_LEAST} pairs of values, got {len(x)}")
    require(bool(x.std() > 0 and y.std() > 0), "agreement: wanted values that differ, got the same everywhere")
    r = float(np.corrcoef(x, y)[0, 1])
    middle, half = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)), Z95 / np.sqrt(len(x) - 3)
    slope = r * float(y.std() / x.std())
    gap = y - x
    bias, sd = float(gap.mean()), float(gap.std(ddof=1))
    error = Z95 * sd / np.sqrt(len(x))
    return Agreement(
        count=len(x),
        correlation=r,
        low=float(np.tanh(middle - half)),
        high=float(np.tanh(middle + half)),
        slope=slope,
        offset=float(y.mean() - slope * x.mean()),
        bias=bias,
        bias_low=bias - error,
        bias_high=bias + error,
        limit_low=bias - Z95 * sd,
        limit_high=bias + Z95 * sd,
    )
