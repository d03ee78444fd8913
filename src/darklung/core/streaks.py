"""Streaks along detector columns: columns that differ from their neighbours by more than pixel noise allows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_positive, check_shape, require

# Robust standard deviation of a normal distribution from the median of its absolute values.
_FROM_MEDIAN = 1.4826
_LEAST_ROWS = 8
# Above this root mean square of the excess a map is called streaked (set after looking at 35 measured lobes, decision 055).
STREAKED = 3.0
# Standard error of the median of many normal numbers over that of their mean.
_MEDIAN_ERROR = 1.2533
# Variance of the median of some six normal numbers over that of their mean.
_MEDIAN_VARIANCE = 1.29


@dataclass(frozen=True)
class Streaks:
    """What `find_streaks` saw in one map.

    Parameters
    ----------
    excess : (col,) float64
        Difference of each column from its neighbours in standard errors; NaN where it has too few pixels.
    index : float
        Root mean square of `excess`: near 1 without streaks; objects with structure along the columns raise it too.
    flagged : (row, col) bool
        Valid pixels of columns beyond the limit.
    """

    excess: NDArray[np.float64]
    index: float
    flagged: NDArray[np.bool_]


def find_streaks(
    values: NDArray[np.floating], valid: NDArray[np.bool_], *, neighbours: int = 3, limit: float = 5.0
) -> Streaks:
    """Compare every column with `neighbours` columns on each side: median over the rows of pixel − median beside it.

    The error of that difference comes from pixel noise, measured as differences between pixels two rows apart (streaks are
    smooth along the column and drop out there). Being a median, it hardly sees features of the object that cover less than
    a fifth of a column; one that runs along it for most of its height looks the same as a streak: look at what is flagged
    before it is thrown away.

    Nothing is corrected: a streak of drifting gratings is neither a constant offset nor a constant factor along the column.

    Parameters
    ----------
    values, valid : (row, col)
        A map such as −ln D and where it counts.
    neighbours : int
        Columns on each side.
    limit : float
        In standard errors.

    Raises
    ------
    DarklungError
        Another shape, or not a single column with 8 valid pixels and valid neighbours.
    """
    check_shape("valid", valid, "row, col", values.shape)
    require(neighbours >= 1, f"neighbours: wanted at least 1, got {neighbours}")
    check_positive("limit", limit)
    good = valid & np.isfinite(values)
    filled = np.where(good, values, 0.0).astype(np.float64)
    noise = _pixel_noise(filled, good)
    excess = np.full(values.shape[1], np.nan)
    for col in range(values.shape[1]):
        sides = [c for c in range(col - neighbours, col + neighbours + 1) if c != col and 0 <= c < values.shape[1]]
        rows = good[:, [col, *sides]].all(axis=1)
        if rows.sum() < _LEAST_ROWS:
            continue
        difference = np.median(filled[rows, col] - np.median(filled[rows][:, sides], axis=1))
        error = noise * _MEDIAN_ERROR * np.sqrt((1 + _MEDIAN_VARIANCE / len(sides)) / rows.sum())
        excess[col] = difference / error
    known = np.isfinite(excess)
    require(bool(known.any()), f"valid: no column has {_LEAST_ROWS} valid pixels beside valid neighbours")
    beyond = np.where(known, np.abs(excess), 0.0) > limit
    return Streaks(excess, float(np.sqrt(np.mean(excess[known] ** 2))), good & beyond)


def _pixel_noise(values: NDArray[np.float64], good: NDArray[np.bool_]) -> float:
    """Standard deviation of pixel noise from differences of pixels two rows apart."""
    both = good[2:] & good[:-2]
    require(bool(both.any()), "valid: no two valid pixels two rows apart")
    difference = (values[2:] - values[:-2])[both]
    noise = float(_FROM_MEDIAN * np.median(np.abs(difference - np.median(difference))) / np.sqrt(2))
    require(noise > 0, "values: no noise in them, so that nothing can be compared with it")
    return noise
