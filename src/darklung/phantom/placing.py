"""Find a place for an insertion: wholly inside one lobe, clear of what was placed before."""

from __future__ import annotations

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


def _fits(grid: Grid, lobes: NDArray[np.uint8], taken: NDArray[np.bool_], growth: Growth, centre: Centre) -> bool:
    reach = growth.blob.reach_m() + GAP_M + 2 * grid.voxel_m
    if any(c - reach < axis[0] or c + reach > axis[-1] for c, axis in zip(centre, grid.axes)):
        reach_in_grid = growth.blob.reach_m() + grid.voxel_m
        if any(c - reach_in_grid < axis[0] or c + reach_in_grid > axis[-1] for c, axis in zip(centre, grid.axes)):
            return False
    box = grid.box_around(centre, reach)
    distance = growth.blob.distance(grid.box(box), centre)
    core = distance < 0
    if not core.any() or taken[box][distance < GAP_M].any():
        return False
    labels = lobes[box][core]
    return bool(labels.min() == labels.max() and labels.min() > 0)


def find_place(
    grid: Grid, lobes: NDArray[np.uint8], taken: NDArray[np.bool_], growth: Growth, seed: int
) -> Centre:
    """A random centre (z, y, x) [m], uniform over where the insertion fits.

    Raises
    ------
    DarklungError
        No lobe has room for it.
    """
    for count in BATCHES:
        for point in _candidates(grid, lobes, growth, count, seed)[:TRIES]:
            centre = (float(point[0]), float(point[1]), float(point[2]))
            if _fits(grid, lobes, taken, growth, centre):
                return centre
    size = growth.request.diameter_m / MM
    raise DarklungError(
        f"{growth.kind}: no lobe has room for {growth.request.tissue} of {size:.3g} mm beside what is already placed"
    )
