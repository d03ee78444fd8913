"""Texture of every voxel: first-order, co-occurrence, run-length and size-zone features in a window around it.

Features, names and codes are those of the Image Biomarker Standardisation Initiative (IBSI), reference manual
DOI 10.48550/arXiv.1612.07003, standardised in DOI 10.1148/radiol.2020191145; `darklung.features.texture_names` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_positive, check_range, check_shape, require
from darklung.features import texture_lengths, texture_pairs, texture_values
from darklung.features.texture_names import PAIRS, VALUES, ZONES, texture_feature
from darklung.tomo.projector import default_threads, run_tasks

MOST_LEVELS = 255
WIDEST = 31
# Beyond these percentiles of the region a value is taken for one at them, unless limits are given.
OUTER_PERCENTILES = (0.5, 99.5)


def texture_map(
    values: NDArray,
    region: NDArray[np.bool_],
    *,
    feature: str,
    window: int,
    levels: int = 16,
    limits: tuple[float, float] | None = None,
    bin_size: float | None = None,
    averaged: bool = False,
) -> NDArray[np.float32]:
    """One texture feature of the window around each voxel of a region, (*spatial) float32.

    Only voxels of the region with a finite value count: every other one is in no sum, pair, run or zone. The map is NaN
    outside the region, where the voxel itself is not finite, and where the feature is not defined (no pair in the window,
    a ratio to 0). Where all levels in the window are equal, a correlation is 1 and both information correlations are 0; the
    skewness and kurtosis of equal values are 0, as IBSI has it.

    Grey levels are those of the whole region (`grey_levels_of`), so windows can be compared. The features are defined on
    voxels, not on lengths: on grids of another spacing they differ. Neighbours are those at Chebyshev distance 1 (13
    directions and their opposites in three dimensions, 4 in two), without weights by distance.

    Parameters
    ----------
    values : (z, y, x) or (y, x) array
    region : (*spatial) bool array
    feature : str
        Key of `darklung.features.texture_names.TEXTURES`.
    window : int
        Edge of the cube or square around the voxel, odd, 3 to 31.
    levels : int
        Fixed bin number (K15C), 2 to 255.
    limits : (low, high), optional
        Between which the levels lie, in the unit of `values`; the default are the 0.5 and 99.5 percentiles of the region.
    bin_size : float, optional
        Fixed bin size (Q3RU) in the unit of `values`, from the lower limit on, instead of a number of levels.
    averaged : bool
        Co-occurrence and runs: False merges the matrices of all directions (IAZD in three dimensions, SUJT in two), True
        takes the mean of the features over the directions that have any (ITBB, BTW3).

    Raises
    ------
    DarklungError
        Shapes differ, an unknown feature, an even window, limits that are no interval, more levels than 255.

    Examples
    --------
    >>> import numpy as np
    >>> board = np.indices((6, 6)).sum(axis=0) % 2
    >>> contrast = texture_map(board, board >= 0, feature="contrast", window=3, levels=2)
    >>> float(contrast[2, 2])  # of 20 pairs 12 differ by 1
    0.6000000238418579
    """
    maps = texture_maps(
        values,
        region,
        features=[feature],
        window=window,
        levels=levels,
        limits=limits,
        bin_size=bin_size,
        averaged=averaged,
    )
    return maps[feature]


def texture_maps(
    values: NDArray,
    region: NDArray[np.bool_],
    *,
    features: Sequence[str],
    window: int,
    levels: int = 16,
    limits: tuple[float, float] | None = None,
    bin_size: float | None = None,
    averaged: bool = False,
    threads: int = 0,
) -> dict[str, NDArray[np.float32]]:
    """Several features by name, each (*spatial) float32 as `texture_map` gives it; what they share is counted once.

    Parameters
    ----------
    values, region, window, levels, limits, bin_size, averaged
        As in `texture_map`.
    features : sequence of str
    threads : int
        0 takes `darklung.tomo.projector.default_threads`.

    Raises
    ------
    DarklungError
        As `texture_map`.
    """
    asked = [texture_feature(name) for name in features]
    check_options(window, levels)
    grey, count = grey_levels_of(values, region, levels=levels, limits=limits, bin_size=bin_size)
    solid, shape = _solid(values, region, grey, window), grey.shape
    maps: dict[str, NDArray[np.float32]] = {}
    for family in dict.fromkeys(f.family for f in asked):
        names = [f.name for f in asked if f.family == family]
        places = np.array([texture_feature(n).place for n in names])
        found = _slide(_kernel(family, places, window, count, averaged), *solid, window, len(names), threads)
        maps |= {name: found[i].reshape(shape) for i, name in enumerate(names)}
    return {name: maps[name] for name in features}


def check_options(window: int, levels: int) -> None:
    """Raise `DarklungError` unless the window is odd, 3 to 31, and the levels are 2 to 255."""
    require(window in range(3, WIDEST + 1, 2), f"window: wanted an odd number of voxels from 3 to {WIDEST}, got {window!r}")
    check_range("levels", levels, 2, MOST_LEVELS)


def grey_levels_of(
    values: NDArray,
    region: NDArray[np.bool_],
    *,
    levels: int = 16,
    limits: tuple[float, float] | None = None,
    bin_size: float | None = None,
) -> tuple[NDArray[np.uint8], int]:
    """Grey levels 1 ... of the finite values in a region, 0 elsewhere (*spatial); and how many there may be.

    Level ⌊levels (v − low)/(high − low)⌋ + 1, or ⌊(v − low)/bin_size⌋ + 1 with a bin size. A value outside the limits counts
    as one at the nearer of them, where IBSI's re-segmentation would leave it out. A region of one value has level 1 alone.

    Raises
    ------
    DarklungError
        As `texture_map`.
    """
    require(values.ndim in (2, 3), f"values: wanted (y, x) or (z, y, x), got shape {values.shape}")
    check_shape("region", region, "spatial", values.shape)
    grey = np.zeros(values.shape, dtype=np.uint8)
    used = np.asarray(region, dtype=bool) & np.isfinite(values)
    if not used.any():
        return grey, levels
    low, high = limits or np.percentile(values[used], OUTER_PERCENTILES)
    require(bool(np.isfinite(high - low)) and high >= low, f"limits: wanted low to high, finite, got {low:g} to {high:g}")
    inside = np.clip(values[used].astype(np.float64), low, high) - low
    if bin_size is None:
        share = inside / (high - low) if high > low else 0 * inside
        grey[used] = np.minimum(np.floor(levels * share) + 1, levels)
        return grey, levels
    count = int((high - low) / check_positive("bin_size", bin_size)) + 1
    told = f"bin_size: wanted at most {MOST_LEVELS} grey levels from {low:g} to {high:g}, got {count}"
    require(count <= MOST_LEVELS, told)
    grey[used] = np.floor(inside / bin_size) + 1
    return grey, count


def _solid(
    values: NDArray, region: NDArray[np.bool_], grey: NDArray[np.uint8], window: int
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Values and grey levels as (z, y, x) with half a window of nothing around them (none in z around a plane)."""
    half = window // 2
    pad = [(half, half)] * 3 if grey.ndim == 3 else [(0, 0), (half, half), (half, half)]
    shape = grey.shape if grey.ndim == 3 else (1, *grey.shape)
    plain = np.where(grey > 0, values, 0).astype(np.float64)
    return np.pad(plain.reshape(shape), pad), np.pad(grey.reshape(shape), pad)


# A family's kernel with its options: fills (feature, y, x) from the values and grey levels of the slices of a window.
_Slab = Callable[[NDArray, NDArray, NDArray], None]


def _kernel(family: str, places: NDArray, window: int, levels: int, averaged: bool) -> _Slab:
    if family == VALUES:
        sums = texture_values.NEEDS[places].any(axis=0)
        return lambda out, values, grey: texture_values.slide_values(out, values, grey, window, levels, places, sums)
    if family == PAIRS:
        return _pairs_kernel(places, window, levels, ways=13 if averaged else 1)
    zones, ways = family == ZONES, texture_lengths.DIRECTIONS
    return lambda out, _, grey: texture_lengths.slide_lengths(
        out, grey, window, levels, places, zones, averaged, ways if len(grey) > 1 else ways[:4]
    )


def _pairs_kernel(places: NDArray, window: int, levels: int, ways: int) -> _Slab:
    needs = int(np.bitwise_or.reduce(texture_pairs.NEEDS[places]))
    table = texture_pairs.entropy_table(26 * window**3)

    def slide(out: NDArray, values: NDArray, grey: NDArray) -> None:
        links = texture_pairs.links_of(len(grey), window)
        texture_pairs.slide_pairs(out, grey, window, levels, places, needs, table, links, ways)

    return slide


def _slide(kernel: _Slab, values: NDArray, grey: NDArray, window: int, features: int, threads: int) -> NDArray[np.float32]:
    """The kernel on every slice: (feature, z, y, x), NaN where a voxel has no value or none that is finite."""
    thick = window if len(grey) > 1 else 1
    depth, height, width = (n - w + 1 for n, w in zip(grey.shape, (thick, window, window)))
    out = np.full((features, depth, height, width), np.nan, dtype=np.float32)

    def one(z: int) -> None:
        kernel(out[:, z], values[z : z + thick], grey[z : z + thick])

    run_tasks(one, depth, threads or default_threads())
    out[~np.isfinite(out)] = np.nan
    return out
