"""First-order features in a window: the numba kernels under `darklung.features.texture`."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_kernel = numba.njit(cache=True, nogil=True, error_model="numpy")
COUNT = 20  # features, in the order of darklung.features.texture_names

# What a feature is made of, as columns of `NEEDS`: sums, the values in order, the counts of grey levels.
NEEDS = np.zeros((COUNT, 3), dtype=np.bool_)
NEEDS[0:8, 0] = True
NEEDS[8:18, 1] = True
NEEDS[18:20, 2] = True


@_kernel
def _gather(found: NDArray, counts: NDArray, values: NDArray, grey: NDArray) -> int:
    """The valid values of a window (z, y, x) into `found`, their grey levels into `counts`; how many they are."""
    n = 0
    counts[:] = 0
    for z in range(values.shape[0]):
        for y in range(values.shape[1]):
            for x in range(values.shape[2]):
                if grey[z, y, x] > 0:
                    found[n] = values[z, y, x]
                    counts[grey[z, y, x]] += 1
                    n += 1
    return n


@_kernel
def _of_sums(row: NDArray, found: NDArray) -> None:
    """Mean, variance, skewness, kurtosis, energy, root mean square, mean absolute deviation, variation."""
    n = len(found)
    mean = squares = second = third = fourth = deviation = 0.0
    for v in found:
        mean += v / n
        squares += v * v
    constant = True
    for v in found:
        away = v - mean
        second += away**2 / n
        third += away**3 / n
        fourth += away**4 / n
        deviation += abs(away) / n
        constant = constant and v == found[0]
    row[0], row[1], row[2], row[3] = mean, second, third / second**1.5, fourth / second**2 - 3
    row[4], row[5], row[6], row[7] = squares, np.sqrt(squares / n), deviation, np.sqrt(second) / mean
    if constant:
        row[1] = row[2] = row[3] = row[6] = row[7] = 0.0


@_kernel
def _percentile(ordered: NDArray, share: float) -> float:
    """Linear between the ordered values."""
    at = share * (len(ordered) - 1)
    i = int(at)
    return ordered[i] + (at - i) * (ordered[min(i + 1, len(ordered) - 1)] - ordered[i])


@_kernel
def _deviation(ordered: NDArray, low: float, high: float, centre: float) -> float:
    """Mean distance of the values from `low` to `high` to their mean, or to `centre` if that is a number."""
    total, n = 0.0, 0
    for v in ordered:
        if low <= v <= high:
            total += v
            n += 1
    middle = total / n if np.isnan(centre) else centre
    away = 0.0
    for v in ordered:
        if low <= v <= high:
            away += abs(v - middle) / n
    return away


@_kernel
def _of_order(row: NDArray, ordered: NDArray) -> None:
    """Ten features from ``minimum`` to ``quartile_dispersion``, in the order of the names."""
    low, high, median = _percentile(ordered, 0.1), _percentile(ordered, 0.9), _percentile(ordered, 0.5)
    first, third = _percentile(ordered, 0.25), _percentile(ordered, 0.75)
    row[8], row[9], row[10], row[11], row[12] = ordered[0], low, median, high, ordered[-1]
    row[13], row[14] = third - first, ordered[-1] - ordered[0]
    row[15] = _deviation(ordered, ordered[0], ordered[-1], median)
    row[16] = _deviation(ordered, low, high, np.nan)
    row[17] = (third - first) / (third + first)


@_kernel
def _of_counts(row: NDArray, counts: NDArray, n: int) -> None:
    """Entropy and uniformity of the grey levels."""
    row[18] = row[19] = 0.0
    for c in counts:
        if c > 0:
            row[18] -= c / n * np.log2(c / n)
            row[19] += (c / n) ** 2


@_kernel
def slide_values(
    out: NDArray, values: NDArray, grey: NDArray, window: int, levels: int, asked: NDArray, needs: NDArray
) -> None:
    """First-order features of one slab into `out` (feature, y, x).

    `values` and `grey` (z, y, x) as `darklung.features.texture_pairs.slide_pairs` takes the grey levels.
    """
    half, row, counts = window // 2, np.zeros(COUNT), np.zeros(levels + 1, np.int64)
    buffer = np.zeros(len(grey) * window * window)
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            if grey[len(grey) // 2, y + half, x + half] == 0:
                continue
            box = (slice(None), slice(y, y + window), slice(x, x + window))
            n = _gather(buffer, counts, values[box], grey[box])
            if needs[0]:
                _of_sums(row, buffer[:n])
            if needs[1]:
                buffer[:n].sort()
                _of_order(row, buffer[:n])
            if needs[2]:
                _of_counts(row, counts, n)
            for f in range(len(asked)):
                out[f, y, x] = row[asked[f]]
