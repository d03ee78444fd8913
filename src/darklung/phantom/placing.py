"""Find a place for an insertion: wholly inside one lobe, clear of what was placed before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.phantom.families import MM
from darklung.phantom.grid import Grid
from darklung.phantom.lesions import Growth
from darklung.phantom.shapes import directions

GAP_M = 0.3 * MM
BATCHES = (20_000, 200_000)
TRIES = 80
TUBE_SHARE = 0.3

Centre = tuple[float, float, float]


def _candidates(grid: Grid, lobes: NDArray[np.uint8], growth: Growth, count: int, seed: int) -> NDArray[np.float64]:
    """Points around which a sphere of the lesion's size stays in one lobe, in random order."""
    ends = np.array([[axis[0], axis[-1]] for axis in grid.axes])
    points = stream(seed, "place", count).uniform(ends[:, 0], ends[:, 1], (count, 3))
    label = lobes[tuple(grid.index_of(points).T)]
    points, label = points[label > 0], label[label > 0]
    radius_m = 0.42 * growth.request.diameter_m
    upper = np.array(grid.shape) - 1
    for direction in directions(24):
        index = grid.index_of(points + radius_m * direction)
        inside = np.all((index >= 0) & (index <= upper), axis=1)
        index = np.clip(index, 0, upper)  # outside points are refused by `inside`
        keep = inside & (lobes[tuple(index.T)] == label)
        points, label = points[keep], label[keep]
    return points


@dataclass(frozen=True)
class Room:
    """Where insertions may go.

    Parameters
    ----------
    grid : Grid
    lobes : (z, y, x) uint8
    tubes : (z, y, x) float32
        Share of airways and vessels: nothing is placed where they are most of it.
    taken : (z, y, x) bool
        What was placed before.
    """

    grid: Grid
    lobes: NDArray[np.uint8]
    tubes: NDArray[np.float32]
    taken: NDArray[np.bool_]


def _fits(room: Room, growth: Growth, centre: Centre) -> bool:
    grid = room.grid
    own = growth.blob.reach_m() + grid.voxel_m
    if any(c - own < axis[0] or c + own > axis[-1] for c, axis in zip(centre, grid.axes)):
        return False
    box = grid.box_around(centre, own + GAP_M + grid.voxel_m)
    distance = growth.blob.distance(grid.box(box), centre)
    core = distance < 0
    if not core.any() or room.taken[box][distance < GAP_M].any() or room.tubes[box][core].mean() > TUBE_SHARE:
        return False
    labels = room.lobes[box][core]
    return bool(labels.min() == labels.max() and labels.min() > 0)


def find_place(room: Room, growth: Growth, seed: int) -> Centre:
    """A random centre (z, y, x) [m], uniform over where the insertion fits.

    Raises
    ------
    DarklungError
        No lobe has room for it.
    """
    for count in BATCHES:
        for point in _candidates(room.grid, room.lobes, growth, count, seed)[:TRIES]:
            centre = (float(point[0]), float(point[1]), float(point[2]))
            if _fits(room, growth, centre):
                return centre
    size = growth.request.diameter_m / MM
    raise DarklungError(
        f"{growth.kind}: no lobe has room for {growth.request.tissue} of {size:.3g} mm beside what is already placed"
    )
