"""Run lengths and size zones of grey levels in a window: the numba kernels under `darklung.features.texture`.

Both are counts (level, length) of which the same sixteen features are made: a run is a line of voxels of one level along
a direction, a zone a connected part of one level (26 neighbours, 8 in a plane).
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_kernel = numba.njit(cache=True, nogil=True, error_model="numpy")
COUNT = 16  # features, in the order of darklung.features.texture_names

# (z, y, x): one of each pair of opposite neighbours; the first four lie in a plane.
_IN_PLANE = [(0, 0, 1), (0, 1, -1), (0, 1, 0), (0, 1, 1)]
DIRECTIONS = np.array(_IN_PLANE + [(1, y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)])


@_kernel
def _emphases(row: NDArray, g: float, s: float, p: float) -> None:
    """Add a share p of parts with the squares g of their level and s of their length to the eight emphases."""
    row[0] += p / s
    row[1] += p * s
    row[2] += p / g
    row[3] += p * g
    row[4] += p / (g * s)
    row[5] += p * g / s
    row[6] += p * s / g
    row[7] += p * s * g


@_kernel
def _spread(counts: NDArray, total: int) -> tuple[float, float]:
    """Non-uniformity Σ n² / total, and the variance of where the counts n lie."""
    mean = squares = variance = 0.0
    for i in range(len(counts)):
        mean += i * (counts[i] / total)
        squares += counts[i] * (counts[i] / total)
    for i in range(len(counts)):
        variance += (i - mean) ** 2 * (counts[i] / total)
    return squares, variance


@_kernel
def _evaluate(row: NDArray, counts: NDArray, sides: NDArray, longest: int, voxels: int) -> None:
    """The sixteen features of counts (level, length) up to a longest one, which are set to 0.

    `sides` (2, most) is room for the counts of levels and of lengths; `voxels` that the runs or zones are made of.
    """
    row[:] = 0
    sides[:] = 0
    for g in range(1, len(counts)):
        for s in range(1, longest + 1):
            sides[0, g] += counts[g, s]
            sides[1, s] += counts[g, s]
    total = sides[0].sum()
    for g in range(1, len(counts)):
        for s in range(1, longest + 1):
            if counts[g, s] > 0:
                p = counts[g, s] / total
                _emphases(row, float(g * g), float(s * s), p)
                row[15] -= p * np.log2(p)
                counts[g, s] = 0
    row[8], row[13] = _spread(sides[0, : len(counts)], total)
    row[10], row[14] = _spread(sides[1, : longest + 1], total)
    row[9], row[11], row[12] = row[8] / total, row[10] / total, total / voxels


@_kernel
def _find_runs(counts: NDArray, grey: NDArray, inside: NDArray, step: int) -> int:
    """Count the runs along a direction of a flat window with a rim of zeros, whose voxels are `inside`; the longest one."""
    longest = 0
    for i in inside:
        g = grey[i]
        if g == 0 or grey[i - step] == g:
            continue
        length = 1
        while grey[i + length * step] == g:
            length += 1
        counts[g, length] += 1
        longest = max(longest, length)
    return longest


@_kernel
def _fill(grey: NDArray, stack: NDArray, start: int, steps: NDArray) -> int:
    """Size of the zone at `start` of a flat window with a rim of zeros; its voxels become 0."""
    g, size, waiting = grey[start], 0, 1
    stack[0], grey[start] = start, 0
    while waiting > 0:
        waiting -= 1
        at = stack[waiting]
        size += 1
        for step in steps:
            if grey[at + step] == g:
                grey[at + step] = 0
                stack[waiting] = at + step
                waiting += 1
    return size


@_kernel
def _runs(
    rows: NDArray, counts: NDArray, sides: NDArray, grey: NDArray, inside: NDArray, steps: NDArray, apart: bool
) -> None:
    """Run features of a window into `rows[0]`: of all directions together, or the mean over them."""
    longest, voxels = 0, int(np.count_nonzero(grey))
    rows[0] = 0
    for step in steps:
        longest = max(longest, _find_runs(counts, grey, inside, step))
        if apart:
            _evaluate(rows[1], counts, sides, longest, voxels)
            rows[0] += rows[1] / len(steps)
    if not apart:
        _evaluate(rows[0], counts, sides, longest, voxels * len(steps))


@_kernel
def _zones(
    rows: NDArray, counts: NDArray, sides: NDArray, grey: NDArray, inside: NDArray, steps: NDArray, stack: NDArray
) -> None:
    """Zone features of a flat window with a rim of zeros into `rows[0]`; the window is emptied."""
    longest, voxels = 0, int(np.count_nonzero(grey))
    for i in inside:
        g = grey[i]
        if g > 0:
            size = _fill(grey, stack, i, steps)
            counts[g, size] += 1
            longest = max(longest, size)
    _evaluate(rows[0], counts, sides, longest, voxels)


@_kernel
def slide_lengths(
    out: NDArray, grey: NDArray, window: int, levels: int, asked: NDArray, zones: bool, apart: bool, directions: NDArray
) -> None:
    """Run-length features, or size-zone features, of one slice into `out` (feature, y, x).

    `grey` as `darklung.features.texture_pairs.slide_pairs` takes it; `directions` of the runs, or to half the neighbours
    of zones; `apart`: the mean over the directions' features.
    """
    half, thick, most = window // 2, len(grey), len(grey) * window * window
    rimmed, rows = np.zeros((thick + 2, window + 2, window + 2), grey.dtype), np.zeros((2, COUNT))
    counts, stack = np.zeros((levels + 1, most + 1), np.int32), np.zeros(most, np.int64)
    sides = np.zeros((2, max(levels, most) + 1), np.int64)
    forward = (directions[:, 0] * (window + 2) + directions[:, 1]) * (window + 2) + directions[:, 2]
    rimmed[1:-1, 1:-1, 1:-1] = 1
    inside, both = np.flatnonzero(rimmed), np.concatenate((forward, -forward))
    flat = rimmed.reshape(-1)
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            if grey[thick // 2, y + half, x + half] == 0:
                continue
            rimmed[1:-1, 1:-1, 1:-1] = grey[:, y : y + window, x : x + window]
            if zones:
                _zones(rows, counts, sides, flat, inside, both, stack)
            else:
                _runs(rows, counts, sides, flat, inside, forward, apart)
            for f in range(len(asked)):
                out[f, y, x] = rows[0, asked[f]]
