"""Whether a dark frame belongs to the frames: its own hot pixels tell by how much it would have to be scaled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from darklung.core.types import Scan

_FROM_MEDIAN = 1.4826
# A hot pixel of the dark frame is this many robust deviations above its neighbourhood; fewer than these tell nothing.
_HOT, _LEAST = 8.0, 5
_WINDOW = 5


def dark_scale(scan: Scan, *, direction: int = 0) -> tuple[float, float] | None:
    """How much of the dark frame the flats really hold, and its standard error; None where no hot pixels tell.

    The flat's excess in hot pixels over that of the dark frame (weighted median), each against the median of the pixels
    around it. 1 where both have the same exposure, 0.5 where the dark frame took twice as long. An offset that is the same
    everywhere tells nothing of exposures.
    """
    if scan.dark_frame is None:
        return None
    good = np.ones(scan.dark_frame.shape, bool) if scan.bad_pixels is None else ~np.asarray(scan.bad_pixels, bool)
    dark = _excess(np.asarray(scan.dark_frame, dtype=np.float64))
    flat = _excess(np.asarray(scan.flats[direction, 0]).mean(axis=0, dtype=np.float64))
    hot = good & (dark > max(_HOT * _deviation(dark[good]), 1.0)) if good.any() else good
    if hot.sum() < _LEAST or (good & ~hot).sum() < _LEAST:
        return None
    error = 1.25 * _deviation(flat[good & ~hot]) / float(np.sqrt((dark[hot] ** 2).sum()))
    return _weighted_median(flat[hot] / dark[hot], dark[hot] ** 2), error


def _excess(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values - median_filter(values, _WINDOW, mode="nearest"))


def _deviation(values: NDArray[np.float64]) -> float:
    return float(_FROM_MEDIAN * np.median(np.abs(values - np.median(values))))


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
