"""Truth on the grid of an image: a phantom's instances, and voxels of known hard negatives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from darklung.core.geometry import centred_axis
from darklung.core.types import Image, Insertion, Phantom


def instances_on_grid(phantom: Phantom, grid: Image) -> NDArray[np.uint16]:
    """The phantom's instances on the grid of a coarser image: a voxel belongs to what fills at least half of it.

    An instance too small to fill half of any voxel keeps the voxel that it fills most, so that no lesion loses its label.
    """
    out = np.zeros(grid.shape, dtype=np.uint16)
    best = np.zeros(grid.shape, dtype=np.float64)
    share = phantom.voxel_m**3 / np.prod(grid.spacing_m)
    for number in np.unique(phantom.instances[phantom.instances > 0]):
        filled = np.zeros(grid.shape, dtype=np.float64)
        index = _grid_index(np.argwhere(phantom.instances == number), phantom, grid)
        np.add.at(filled, tuple(index.T), share)
        own = (filled >= 0.5) & (filled > best)
        if not filled.any():  # it lies outside the grid
            continue
        if not own.any():
            own = filled == filled.max()
        out[own] = number
        best = np.maximum(best, filled)
    return out


def _grid_index(voxels: NDArray[np.int64], phantom: Phantom, grid: Image) -> NDArray[np.int64]:
    """Indices on the grid of phantom voxels, (voxel, 3); voxels outside the grid are left out."""
    axes = [centred_axis(n, phantom.voxel_m) for n in phantom.instances.shape]
    columns = [
        np.rint((axis[v] - origin) / spacing).astype(np.int64)
        for axis, v, origin, spacing in zip(axes, voxels.T, grid.origin_m, grid.spacing_m)
    ]
    index = np.stack(columns, axis=1)
    return index[((index >= 0) & (index < grid.shape)).all(axis=1)]


def hard_negatives(insertions: Sequence[Insertion], instances: NDArray[np.uint16], grid: Image) -> NDArray[np.bool_]:
    """Voxels of mimics, and balls where shams were put, (*spatial)."""
    mimics = [i.number for i in insertions if i.kind == "mimic"]
    out = np.isin(instances, mimics)
    axes = [o + d * np.arange(n) for o, d, n in zip(grid.origin_m, grid.spacing_m, grid.shape)]
    for sham in (i for i in insertions if i.kind == "sham"):
        center = sham.center_on(len(axes))
        offsets = np.meshgrid(*[a - c for a, c in zip(axes, center)], indexing="ij", sparse=True)
        out |= sum(o**2 for o in offsets) <= (sham.diameter_m / 2) ** 2
    return out & ~np.isin(instances, [i.number for i in insertions if i.kind == "lesion"])


def parts_as_insertions(mask: NDArray[np.bool_], grid: Image) -> tuple[NDArray[np.uint16], tuple[Insertion, ...]]:
    """Connected parts of a drawn mask as lesions of class ``"unknown"``: instances (*spatial), and one entry a part."""
    from scipy import ndimage

    parts, count = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, mask.ndim))
    voxel = float(np.prod(grid.spacing_m))
    found = []
    for number, centre in enumerate(ndimage.center_of_mass(mask, parts, range(1, count + 1)), start=1):
        place = [o + d * c for o, d, c in zip(grid.origin_m, grid.spacing_m, centre)]
        size = float((parts == number).sum()) * voxel
        diameter = np.cbrt(6 * size / np.pi) if mask.ndim == 3 else np.sqrt(4 * size / np.pi)
        z, y, x = place if mask.ndim == 3 else (place[0], 0.0, place[1])
        found.append(Insertion(number, "lesion", "unknown", (float(z), float(y), float(x)), float(diameter)))
    return np.asarray(parts, dtype=np.uint16), tuple(found)
