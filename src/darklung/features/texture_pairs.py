"""Co-occurrence of grey levels in a window that slides along x: the numba kernels under `darklung.features.texture`.

A pair of neighbouring voxels is counted when the plane that completes it enters the window, and taken back when the first
of its planes leaves: a step costs the pairs of two planes, not of the window. Counts are integers, and so are sums of
n log₂ n (in units of 2⁻³²): a result does not depend on where the window came from.

Counts lie in one array (direction, count): cells of the matrix' upper triangle (levels²), differences (levels), sums
(2 levels), single levels (levels), with levels from 0 on.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Links = tuple[NDArray[np.int64], NDArray[np.int64]]
_kernel = numba.njit(cache=True, nogil=True, error_model="numpy")
UNIT = 2.0**32
COUNT = 25  # features, in the order of darklung.features.texture_names

# What a feature is made of: the matrix, differences, sums, single levels.
CELLS, DIFFERENCES, SUMS, SINGLES = 1, 2, 4, 8
_BOTH, _SHARED = DIFFERENCES | SUMS, CELLS | SINGLES
NEEDS = np.array(3 * [CELLS] + 10 * [DIFFERENCES] + 7 * [SUMS] + 3 * [_BOTH] + 2 * [_SHARED])


def entropy_table(most: int) -> NDArray[np.int64]:
    """n log₂ n for n = 0 ... `most`, in units of 2⁻³²."""
    n = np.arange(most + 1, dtype=np.float64)
    return np.rint(UNIT * n * np.log2(np.maximum(n, 1))).astype(np.int64)


def links_of(thick: int, wide: int) -> Links:
    """Pairs of voxels in a plane (z, y) of a window, and of a plane with the next one: (pair, [direction, one, other]).

    Voxels are counted along the flat plane; directions 0 to 3 lie in it, 4 to 12 lead out of it.
    """
    z, y = (i.ravel() for i in np.indices((thick, wide)))
    within = [(0, 1), (1, -1), (1, 0), (1, 1)]
    beyond = [(dz, dy) for dz in (-1, 0, 1) for dy in (-1, 0, 1)]
    found = []
    for way, (dz, dy) in enumerate(within + beyond):
        there = (z + dz >= 0) & (z + dz < thick) & (y + dy >= 0) & (y + dy < wide)
        first = (z * wide + y)[there]
        found.append(np.stack([np.full_like(first, way), first, first + dz * wide + dy], axis=1))
    return np.concatenate(found[:4]), np.concatenate(found[4:])


@_kernel
def _update(
    counts: NDArray, pairs: NDArray, needs: int, levels: int, here: NDArray, there: NDArray, links: NDArray, sign: int
) -> None:
    """Add (sign 1) or take back (−1) the pairs that `links` two planes of grey levels; `pairs` is their number."""
    cells, ways = levels * levels, len(counts)
    for k in range(len(links)):
        a, b = np.int64(here[links[k, 1]]) - 1, np.int64(there[links[k, 2]]) - 1
        if a < 0 or b < 0:
            continue
        way = links[k, 0] if ways > 1 else 0
        pairs[way] += sign
        if needs & CELLS:
            counts[way, min(a, b) * levels + max(a, b)] += sign
        if needs & DIFFERENCES:
            counts[way, cells + abs(a - b)] += sign
        if needs & SUMS:
            counts[way, cells + levels + a + b] += sign
        if needs & SINGLES:
            counts[way, cells + 3 * levels + a] += sign
            counts[way, cells + 3 * levels + b] += sign


@_kernel
def _entropy(counts: NDArray, total: int, table: NDArray) -> float:
    """−Σ p log₂ p of counts that add up to `total`."""
    found = np.int64(0)
    for n in counts:
        found += table[n]
    return (table[total] - found) / (UNIT * total)


@_kernel
def _of_cells(row: NDArray, cells: NDArray, pairs: int, table: NDArray, levels: int) -> None:
    """Joint maximum, joint entropy, angular second moment of the matrix that counts both orders of each pair."""
    most, found, squares = 0, np.int64(0), 0
    for low in range(levels):
        own = 2 * cells[low * levels + low]
        most, found, squares = max(most, own), found + table[own], squares + own * own
        for n in cells[low * levels + low + 1 : (low + 1) * levels]:
            most = max(most, n)
            found += 2 * table[n]
            squares += 2 * n * n
    total = 2 * pairs
    row[0], row[1], row[2] = most / total, (table[total] - found) / (UNIT * total), squares / (total * total)


@_kernel
def _of_differences(row: NDArray, counts: NDArray, pairs: int, table: NDArray) -> None:
    """Ten features of p(|i − j| = k), in the order of the names from ``difference_average`` to ``inverse_variance``."""
    row[3:13] = 0
    levels = len(counts)
    for k in range(levels):
        p, square, share = counts[k] / pairs, float(k * k), k / levels
        row[3] += k * p
        row[6] += square * p
        row[8] += p / (1 + k)
        row[9] += p / (1 + share)
        row[10] += p / (1 + square)
        row[11] += p / (1 + share * share)
        row[12] += p / square if k > 0 else 0.0
    for k in range(levels):
        row[4] += (k - row[3]) ** 2 * (counts[k] / pairs)
    row[5], row[7] = _entropy(counts, pairs, table), row[3]


@_kernel
def _of_sums(row: NDArray, counts: NDArray, pairs: int, table: NDArray) -> None:
    """Sum average, variance and entropy, cluster tendency, shade and prominence, joint average: of p(i + j = k + 2)."""
    mean = second = third = fourth = 0.0
    for k in range(len(counts)):
        mean += k * (counts[k] / pairs)
    for k in range(len(counts)):
        p, away = counts[k] / pairs, k - mean
        second += away * away * p
        third += away * away * away * p
        fourth += away * away * away * away * p
    row[13], row[14], row[15] = mean + 2, second, _entropy(counts, pairs, table)
    row[16], row[17], row[18], row[19] = second, third, fourth, mean / 2 + 1


@_kernel
def _of_both(row: NDArray) -> None:
    """Joint variance, autocorrelation, correlation: Var(i + j) is 2 Var + 2 Cov, the mean (i − j)² 2 Var − 2 Cov."""
    variance, covariance = (row[14] + row[6]) / 4, (row[14] - row[6]) / 4
    row[20], row[21] = variance, covariance + row[19] ** 2
    row[22] = covariance / variance if variance > 1e-12 else 1.0


@_kernel
def _of_shared(row: NDArray, singles: NDArray, pairs: int, table: NDArray) -> None:
    """Information correlations: of a symmetric matrix HXY1 and HXY2 are both twice the entropy HX of its margin."""
    alone = _entropy(singles, 2 * pairs, table)
    shared = max(2 * alone - row[1], 0.0)
    row[23] = -shared / alone if alone > 0 else 0.0
    row[24] = np.sqrt(1 - np.exp(-2 * shared)) if alone > 0 else 0.0


@_kernel
def _evaluate(row: NDArray, counts: NDArray, pairs: int, needs: int, table: NDArray, levels: int) -> None:
    """The features that `needs` allows, of one direction or of all merged, into `row` (feature)."""
    at = levels * levels
    if needs & CELLS:
        _of_cells(row, counts, pairs, table, levels)
    if needs & DIFFERENCES:
        _of_differences(row, counts[at : at + levels], pairs, table)
    if needs & SUMS:
        _of_sums(row, counts[at + levels : at + 3 * levels], pairs, table)
    if needs & DIFFERENCES and needs & SUMS:
        _of_both(row)
    if needs & CELLS and needs & SINGLES:
        _of_shared(row, counts[at + 3 * levels :], pairs, table)


@_kernel
def _mean(rows: NDArray, counts: NDArray, pairs: NDArray, needs: int, table: NDArray, levels: int) -> bool:
    """The mean over the directions that have a pair, into `rows[0]`; whether there is any."""
    ways = int(np.count_nonzero(pairs))
    rows[0] = 0
    for way in range(len(pairs)):
        if pairs[way] > 0:
            _evaluate(rows[1], counts[way], pairs[way], needs, table, levels)
            rows[0] += rows[1] / ways
    return ways > 0


@_kernel
def _step(
    counts: NDArray, pairs: NDArray, needs: int, levels: int, view: NDArray, x: int, window: int, links: Links
) -> None:
    """Let plane x into the window, and the plane out of it that is one window before."""
    within, beyond = links
    _update(counts, pairs, needs, levels, view[x], view[x], within, 1)
    if x > 0:
        _update(counts, pairs, needs, levels, view[x - 1], view[x], beyond, 1)
    if x >= window:
        _update(counts, pairs, needs, levels, view[x - window], view[x - window], within, -1)
        _update(counts, pairs, needs, levels, view[x - window], view[x - window + 1], beyond, -1)


@_kernel
def slide_pairs(
    out: NDArray,
    grey: NDArray,
    window: int,
    levels: int,
    asked: NDArray,
    needs: int,
    table: NDArray,
    links: Links,
    ways: int,
) -> None:
    """Co-occurrence features of one slice into `out` (feature, y, x), which keeps its value where there is no pair.

    `grey` (z, y, x) holds the levels 1 ... `levels` or 0, with half a window of zeros around y and x and as many slices as
    the window has. `asked` are places of features, `links` as of `links_of`; `ways` is 1 for one matrix of all directions,
    13 for one each, of whose features the mean is taken.
    """
    counts, pairs = np.zeros((ways, levels * levels + 4 * levels), np.int64), np.zeros(ways, np.int64)
    rows, half, middle = np.zeros((2, COUNT)), window // 2, grey[len(grey) // 2]
    for y in range(out.shape[1]):
        if not np.any(middle[y + half] > 0):
            continue
        counts[:] = 0
        pairs[:] = 0
        view = np.ascontiguousarray(grey[:, y : y + window].transpose(2, 0, 1)).reshape(grey.shape[2], -1)
        for x in range(len(view)):
            _step(counts, pairs, needs, levels, view, x, window, links)
            here = x >= 2 * half and middle[y + half, x - half] > 0
            if here and _mean(rows, counts, pairs, needs, table, levels):
                for f in range(len(asked)):
                    out[f, y, x - 2 * half] = rows[0, asked[f]]
