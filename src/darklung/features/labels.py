"""Truth on the grid of an image: which voxels belong to what was put into a lung."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.geometry import centred_axis, sphere_diameter_m
from darklung.core.types import LESION, UNKNOWN, Image, Insertion, Phantom

# Sums of equal shares may miss a half by rounding.
HALF = 0.5 - 1e-9
# Labels, instances and insertions.
Truth = tuple[NDArray[np.uint8], NDArray[np.uint16], tuple[Insertion, ...]]


def instances_on_grid(phantom: Phantom, grid: Image) -> NDArray[np.uint16]:
    """The phantom's instances on the grid of a coarser image: a voxel belongs to what fills at least half of it.

    An instance too small to fill half of any voxel keeps the voxel that it fills most, so that no lesion loses its label.
    The grid is thought to go on beyond the image: what lies outside has no voxel here, and a crop has the labels of the
    whole.
    """
    out = np.zeros(grid.shape, dtype=np.uint16)
    share = phantom.voxel_m**3 / np.prod(grid.spacing_m)
    numbers, sizes = np.unique(phantom.instances[phantom.instances > 0], return_counts=True)
    for number in numbers[np.argsort(-sizes, kind="stable")]:  # the smallest last: it has no other voxel to give away
        index, count = _filled(np.argwhere(phantom.instances == number), phantom, grid)
        own = count * share >= min(HALF, float(count.max() * share))
        own &= ((index >= 0) & (index < grid.shape)).all(axis=1)
        out[tuple(index[own].T)] = number
    return out


def _filled(voxels: NDArray[np.int64], phantom: Phantom, grid: Image) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices on the grid, on and beyond the image, (index, 3), and how many of the phantom's voxels lie in each."""
    axes = [centred_axis(n, phantom.voxel_m) for n in phantom.instances.shape]
    places = np.stack([axis[v] for axis, v in zip(axes, voxels.T)], axis=1) - grid.origin_m
    found = np.rint(places @ np.asarray(grid.direction) / grid.spacing_m).astype(np.int64)
    index, count = np.unique(found, axis=0, return_counts=True)
    return index, count


def lesion_labels(instances: NDArray[np.uint16], insertions: Sequence[Insertion]) -> NDArray[np.uint8]:
    """`LESION` where an instance is a lesion's, else background, where all is known."""
    return np.isin(instances, [i.number for i in insertions if i.kind == "lesion"]).astype(np.uint8) * np.uint8(LESION)


def hard_negatives(insertions: Sequence[Insertion], instances: NDArray[np.uint16], grid: Image) -> NDArray[np.bool_]:
    """Voxels of mimics, and balls where shams were put, (*spatial)."""
    mimics = [i.number for i in insertions if i.kind == "mimic"]
    out = np.isin(instances, mimics)
    for sham in (i for i in insertions if i.kind == "sham"):
        center = grid.index_of(sham.center_on(len(grid.shape)))
        away = [d * (np.arange(n) - c) for n, d, c in zip(grid.shape, grid.spacing_m, center)]
        offsets = np.meshgrid(*away, indexing="ij", sparse=True)
        out |= sum(o**2 for o in offsets) <= (sham.diameter_m / 2) ** 2
    return out & ~np.isin(instances, [i.number for i in insertions if i.kind == "lesion"])


def parts_as_insertions(mask: NDArray[np.bool_], grid: Image) -> tuple[NDArray[np.uint16], tuple[Insertion, ...]]:
    """Connected parts of a drawn mask as lesions of class ``"unknown"``: instances (*spatial), and one entry a part.

    Raises
    ------
    DarklungError
        More parts than have numbers.
    """
    from scipy import ndimage

    parts, count = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, mask.ndim))
    most = np.iinfo(np.uint16).max
    require(count <= most, f"labels: wanted at most {most} lesions, got {count} parts that do not touch: is it a mask?")
    return np.asarray(parts, dtype=np.uint16), numbered_as_insertions(parts, grid)


def numbered_as_insertions(instances: NDArray[np.integer], grid: Image) -> tuple[Insertion, ...]:
    """Numbered regions, 0 for none, as lesions of class ``"unknown"``: one entry a number."""
    from scipy import ndimage

    voxel = float(np.prod(grid.spacing_m))
    numbers, sizes = np.unique(instances[instances > 0], return_counts=True)
    found = []
    for number, count, centre in zip(numbers, sizes, ndimage.center_of_mass(instances > 0, instances, numbers)):
        place = grid.position_m(centre)
        size = float(count) * voxel
        diameter = sphere_diameter_m(size, instances.ndim)
        z, y, x = place if instances.ndim == 3 else (place[0], 0.0, place[1])
        found.append(Insertion(int(number), "lesion", "unknown", (z, y, x), diameter))
    return tuple(found)


def truth_of_phantom(animal: Phantom, grid: Image) -> Truth:
    """What is true of a simulated animal, on another grid in its coordinates."""
    instances = instances_on_grid(animal, grid)
    return lesion_labels(instances, animal.insertions), instances, animal.insertions


def truth_of_labels(drawn: NDArray[Any], grid: Image) -> Truth:
    """Lesions that somebody drew: each connected part is one; `UNKNOWN` stays unknown."""
    labels = np.where(drawn == UNKNOWN, UNKNOWN, drawn > 0).astype(np.uint8)
    instances, insertions = parts_as_insertions(labels == LESION, grid)
    return labels, instances, insertions


def no_truth(grid: Image) -> Truth:
    """Nothing is known."""
    return np.full(grid.shape, UNKNOWN, np.uint8), np.zeros(grid.shape, np.uint16), ()
