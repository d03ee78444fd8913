"""A case on disk: channels, truth and insertions of one animal (or of one copy of a lobe), all on one grid."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darklung.core.geometry import centred_axis
from darklung.core.types import Image, Insertion, Phantom
from darklung.io.images import load_image, save_image

CHANNELS, TRUTH, INSERTIONS = "channels.ome.zarr", "truth.ome.zarr", "insertions.json"
TRUTH_NAMES = ("target", "region", "instances", "hard")


@dataclass(frozen=True)
class StoredCase:
    """What `load_case` reads; the spatial axes are those of `channels`.

    Parameters
    ----------
    channels : Image
    target : (*spatial) bool, lesion voxels
    region : (*spatial) bool, where the lung is, found in the image
    instances : (*spatial) uint16, number of the lesion or mimic
    hard : (*spatial) bool, voxels of known hard negatives (mimics, shams)
    insertions : tuple of Insertion
    """

    channels: Image
    target: NDArray[np.bool_]
    region: NDArray[np.bool_]
    instances: NDArray[np.uint16]
    hard: NDArray[np.bool_]
    insertions: tuple[Insertion, ...]


def save_case(folder: Path, case: StoredCase) -> None:
    """Write a case into `folder`."""
    grid = case.channels
    save_image(folder / CHANNELS, grid)
    layers = np.stack([np.asarray(getattr(case, n), dtype=np.uint16) for n in TRUTH_NAMES])
    units = ("1",) * len(TRUTH_NAMES)
    truth = Image(layers, TRUTH_NAMES, units, grid.spacing_m, grid.origin_m, grid.frame)
    save_image(folder / TRUTH, truth)
    (folder / INSERTIONS).write_text(json.dumps([asdict(i) for i in case.insertions], indent=1))


def load_case(folder: Path, channels: tuple[str, ...] | None = None) -> StoredCase:
    """Read a case, or only some of its channels."""
    truth = load_image(folder / TRUTH)
    rows = json.loads((folder / INSERTIONS).read_text())
    return StoredCase(
        channels=load_image(folder / CHANNELS, channels),
        target=truth.channel("target").astype(bool),
        region=truth.channel("region").astype(bool),
        instances=truth.channel("instances"),
        hard=truth.channel("hard").astype(bool),
        insertions=tuple(Insertion(**{**r, "center_m": tuple(r["center_m"])}) for r in rows),
    )


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
