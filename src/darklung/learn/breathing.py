"""Patches moved as breathing moves lung: smoothly, along the body above all, more towards the diaphragm.

Each component of the displacement is a product of cosines of random phase whose lengths change by `STRAIN` at most, so no
voxel is moved by more than the amplitude, and neighbours stay neighbours. Channels and errors are interpolated linearly,
truth takes the nearest voxel, so it stays what it was. Linear interpolation half-way between two voxels averages them: white
noise along one axis keeps (1 − t)² + t² of its variance, half of it at the worst, and error channels do not say so. Where
the errors are at hand it is given back (`variance_lost`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.types import Image
from darklung.learn.noise import WHITE, beside

STRAIN = 0.1  # largest change of a length; a mouse's breath changes the lung's by as much
ASIDE = 0.3  # of the displacement along z, along the other axes
APEX = 0.3  # of the diaphragm's displacement, where the lung ends towards the head

Array = NDArray[np.float32]


def towards_diaphragm(image: Image, lung: NDArray[np.bool_]) -> Array:
    """Share of the largest displacement in each slice or row, (z,): from `APEX` at the lung's top to 1 at the diaphragm.

    Ones where the image's frame does not tell where the head is.
    """
    along = np.asarray(image.direction)[0, 0]  # of the index along the frame's z, towards the head
    rows = np.flatnonzero(lung.any(axis=tuple(range(1, lung.ndim))))
    if image.frame != "LPS" or abs(along) < 0.7 or not len(rows):
        return np.ones(image.shape[0], np.float32)
    share = np.clip((np.arange(image.shape[0]) - rows[0]) / max(rows[-1] - rows[0], 1), 0, 1)
    low = share if along > 0 else 1 - share  # 1 at the head
    return (1 - (1 - APEX) * low).astype(np.float32)


def displacement(rng: np.random.Generator, shape: Sequence[int], amplitude: float) -> Array:
    """Displacement of each voxel of a patch in voxels, (axis, *shape)."""
    dims = len(shape)
    size = amplitude * np.array([1.0, *(ASIDE,) * (dims - 1)]) * rng.uniform(-1, 1, dims)
    waves = rng.uniform(0, STRAIN / amplitude, (dims, dims))
    phases = rng.uniform(0, 2 * np.pi, (dims, dims))
    out = np.empty((dims, *shape), np.float32)
    for component in range(dims):
        axes = [np.cos(waves[component, a] * np.arange(n) + phases[component, a]) for a, n in enumerate(shape)]
        out[component] = size[component] * reduce(np.multiply, np.ix_(*axes))
    return out


def places(
    rng: np.random.Generator, start: Sequence[int], shape: Sequence[int], weight: Array, amplitude: float
) -> NDArray[np.float32]:
    """Where the voxels of a patch come from, (axis, *shape), in voxels of the volume; `weight` is `towards_diaphragm`."""
    grid = np.indices(shape, dtype=np.float32) + np.reshape(np.asarray(start, np.float32), (-1, *[1] * len(shape)))
    own = weight[start[0] : start[0] + shape[0]].reshape(-1, *[1] * (len(shape) - 1))
    return np.asarray(grid + own * displacement(rng, shape, amplitude), dtype=np.float32)


def moved(channels: Array, at: NDArray[np.float32]) -> Array:
    """Channels of a volume, (channel, *spatial), at places: linear, beyond the volume its edge."""
    return np.stack([ndimage.map_coordinates(values, at, order=1, mode="nearest") for values in channels])


def moved_truth(rows: Array, at: NDArray[np.float32]) -> Array:
    """Rows of truth at the nearest voxels."""
    last = np.reshape(np.array(rows.shape[1:]) - 1, (-1, *[1] * (at.ndim - 1)))
    index = np.clip(np.rint(at).astype(np.int64), 0, last)
    return np.asarray(rows[(slice(None), *index)])


def variance_lost(at: NDArray[np.float32], texture: str) -> NDArray[np.float32]:
    """Share of its variance that noise loses where linear interpolation reads it at places, (*shape).

    1 − Π [1 − 2 t (1 − t)(1 − c)] over the axes, t the fraction of a voxel and c the correlation of neighbours: 0 from slice
    to slice and in radiographs, that of the texture in a slice. Exact along one axis; the correlation of diagonal neighbours
    is taken to be the product of those along the axes.
    """
    across = beside(texture if len(at) == 3 else WHITE)
    share = np.mod(at, 1.0)
    kept = [1 - 2 * t * (1 - t) * (1 - (across if axis else 0.0)) for axis, t in enumerate(share)]
    return np.asarray(1 - reduce(np.multiply, kept), dtype=np.float32)
