"""Where insertions lie on the grid of an image: centres, nearest voxels, tiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_positive, check_shape, require
from darklung.core.types import Insertion

# A side of a radiograph's pixel grid is z; the other is x, which is the detector's column direction at angle 0.
_AXES = {2: (0, 2), 3: (0, 1, 2)}


def check_maps(
    *, logits: NDArray, instances: NDArray, insertions: Sequence[Insertion], region: NDArray, spacing_m: Sequence[float]
) -> None:
    """Raise unless the maps of a subject fit each other and every number in `instances` is a known lesion or mimic."""
    require(logits.ndim in _AXES, f"logits: wanted 2 or 3 spatial axes, got shape {logits.shape}")
    check_shape("instances", instances, "*spatial", logits.shape)
    check_shape("region", region, "*spatial", logits.shape)
    require(region.dtype == bool, f"region: wanted bool, got {region.dtype}")
    check_finite("logits", logits)
    require(len(spacing_m) == logits.ndim, f"spacing_m: wanted {logits.ndim} numbers, got {tuple(spacing_m)}")
    for value in spacing_m:
        check_positive("spacing_m", value)
    numbers = [i.number for i in insertions]
    require(len(set(numbers)) == len(numbers), f"insertions: each number once, got {numbers}")
    unknown = set(np.unique(instances).tolist()) - {0, *(i.number for i in insertions if i.kind != "sham")}
    require(not unknown, f"instances: numbers {sorted(unknown)} are not in insertions (as lesion or mimic)")


def center_index(
    *, insertion: Insertion, shape: Sequence[int], spacing_m: Sequence[float], origin_m: Sequence[float] | None = None
) -> tuple[int, ...] | None:
    """Voxel nearest to the insertion's centre; None if it lies off the grid.

    A radiograph takes z for its rows and x for its columns (the view at angle 0).

    Parameters
    ----------
    insertion : Insertion
    shape, spacing_m : one a spatial axis
    origin_m : one a spatial axis, optional
        Centre of the first voxel [m]; a grid centred on zero by default, as in `Image`.
    """
    origin = origin_m if origin_m is not None else [-(n - 1) / 2 * d for n, d in zip(shape, spacing_m)]
    center = [insertion.center_m[a] for a in _AXES[len(shape)]]
    index = tuple(round((c - o) / d) for c, o, d in zip(center, origin, spacing_m))
    return index if all(0 <= i < n for i, n in zip(index, shape)) else None


def tile_numbers(*, shape: Sequence[int], spacing_m: Sequence[float], tile_m: float) -> tuple[NDArray[np.int64], int]:
    """Number of the tile that each voxel lies in, (*spatial), and the voxels of a whole tile.

    The grid starts at the image's first voxel and knows nothing of the lesions; tile_m is rounded to whole voxels.
    """
    check_positive("tile_m", tile_m)
    voxel = max(spacing_m)
    require(tile_m >= voxel * (1 - 1e-6), f"tile: wanted a voxel at least ({1e3 * voxel:g} mm), got {1e3 * tile_m:g} mm")
    number = np.zeros(tuple(shape), dtype=np.int64)
    volume = 1
    for axis, (length, spacing) in enumerate(zip(shape, spacing_m)):
        side = max(1, round(tile_m / spacing))
        along = np.arange(length) // side
        number = number * int(along[-1] + 1) + along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        volume *= side
    return number, volume
