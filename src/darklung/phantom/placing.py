"""Find a place for an insertion: in one lobe, clear of what was placed before; against pleura or airway if so wished."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.phantom.families import MM
from darklung.phantom.grid import Grid, occupancy
from darklung.phantom.lesions import Growth, LesionRequest, draw_growth
from darklung.phantom.shapes import directions
from darklung.phantom.trees import Tubes

GAP_M = 0.3 * MM
BATCHES = (20_000, 200_000)
TRIES = 80
TUBE_SHARE = 0.3  # nothing is placed where airways and vessels are more of it than this
AIRWAY_RADIUS_M = (0.08 * MM, 0.35 * MM)
LARGEST_REGROWTH = 1.5  # a lesion cut by the pleura grows at most by this factor to keep its volume

Points = NDArray[np.float64]
Centre = tuple[float, float, float]


@dataclass(frozen=True)
class Room:
    """Where insertions may go.

    Parameters
    ----------
    grid : Grid
    variant : str
    lobes : (z, y, x) uint8
    lung_distance_m : (z, y, x) float32
        Signed distance to the lungs' surface, negative inside.
    tubes : (z, y, x) float32
        Share of airways and vessels.
    airways : Tubes
    taken : (z, y, x) bool
        What was placed before.
    """

    grid: Grid
    variant: str
    lobes: NDArray[np.uint8]
    lung_distance_m: NDArray[np.float32]
    tubes: NDArray[np.float32]
    airways: Tubes
    taken: NDArray[np.bool_]


def _label(room: Room, points: Points) -> NDArray[np.uint8]:
    """Lobe at each point; 0 outside the grid too."""
    index = room.grid.index_of(points)
    upper = np.array(room.grid.shape) - 1
    inside = np.all((index >= 0) & (index <= upper), axis=1)
    clipped = np.clip(index, 0, upper)  # those outside are set to 0 below
    return np.where(inside, room.lobes[tuple(clipped.T)], 0).astype(np.uint8)


def _scattered(room: Room, count: int, seed: int) -> Points:
    """Random points inside the lungs."""
    low, high = room.grid.bounds().T
    points = stream(seed, "place", count).uniform(low, high, (count, 3))
    return np.asarray(points[_label(room, points) > 0])


def _roomy(room: Room, points: Points, radius_m: float, *, outside: bool) -> NDArray[np.bool_]:
    """Whether a sphere around each point stays in its lobe (or, if `outside`, meets no other lobe)."""
    label = _label(room, points)
    good = label > 0
    for direction in directions(24):
        there = _label(room, points + radius_m * direction)
        good &= (there == label) | ((there == 0) & outside)
    return good


def _anywhere(room: Room, request: LesionRequest, seed: int) -> Iterator[tuple[Points, Points | None]]:
    for count in BATCHES:
        points = _scattered(room, count, seed)
        points = points[_roomy(room, points, 0.42 * request.diameter_m, outside=False)]
        yield from ((point, None) for point in points[:TRIES])


def _at_pleura(room: Room, request: LesionRequest, seed: int) -> Iterator[tuple[Points, Points | None]]:
    """Points a fraction of the radius under the pleura, with a direction along it."""
    rng = stream(seed, "tangent")
    for count in BATCHES:
        points = _scattered(room, count, seed)
        depth = -room.lung_distance_m[tuple(room.grid.index_of(points).T)]
        points = points[(depth > 0.1 * request.diameter_m) & (depth < 0.3 * request.diameter_m)]
        points = points[_roomy(room, points, 0.5 * request.diameter_m, outside=True)][:TRIES]
        for point in points:
            yield point, _tangent(room, point, rng)


def _tangent(room: Room, point: Points, rng: np.random.Generator) -> Points:
    """A random unit vector along the lungs' surface near a point."""
    step = 2 * room.grid.voxel_m
    upper = np.array(room.grid.shape) - 1
    slope = np.zeros(3)
    for c in range(3):
        move = np.zeros(3)
        move[c] = step
        ends = np.clip(room.grid.index_of(np.stack([point + move, point - move])), 0, upper)
        values = room.lung_distance_m[tuple(ends.T)]
        slope[c] = float(values[0] - values[1])
    random = rng.standard_normal(3)
    across = np.cross(slope, random)
    size = np.linalg.norm(across)
    return across / size if size > 0 else random / np.linalg.norm(random)


def _at_airway(room: Room, request: LesionRequest, seed: int) -> Iterator[tuple[Points, Points | None]]:
    """Points beside airways of middle size, with the airway's direction."""
    tubes, rng = room.airways, stream(seed, "airway")
    usable = np.flatnonzero((tubes.radius_m > AIRWAY_RADIUS_M[0]) & (tubes.radius_m < AIRWAY_RADIUS_M[1]))
    for k in rng.permutation(usable)[:400]:
        along = tubes.end_m[k] - tubes.start_m[k]
        length = np.linalg.norm(along)
        side = np.cross(along, rng.standard_normal(3))
        if length == 0 or not side.any():
            continue
        side *= (tubes.radius_m[k] + 0.35 * request.diameter_m) / np.linalg.norm(side)
        point = tubes.start_m[k] + rng.uniform() * along + side
        if _roomy(room, point[None], 0.42 * request.diameter_m, outside=False)[0]:
            yield point, along / length


CANDIDATES = {"any": _anywhere, "pleura": _at_pleura, "airway": _at_airway}


def _fitted(room: Room, growth: Growth, centre: Centre) -> Growth | None:
    """The growth if it fits at `centre`, regrown to its volume where the pleura cuts it; else None."""
    grid = room.grid
    cut = growth.request.location == "pleura"
    reach = growth.blob.reach_m() * (LARGEST_REGROWTH if cut else 1.0) + grid.voxel_m
    if any(c - reach < axis[0] or c + reach > axis[-1] for c, axis in zip(centre, grid.axes)):
        return None
    box = grid.box_around(centre, reach + GAP_M + grid.voxel_m)
    local = grid.box(box)
    if cut:
        regrown = _regrown(growth, local, room.lung_distance_m[box], centre)
        if regrown is None:
            return None
        growth = regrown
    distance = growth.blob.distance(local, centre)
    core = distance < 0
    if cut:
        core &= room.lobes[box] > 0
    if not core.any() or room.taken[box][distance < GAP_M].any() or room.tubes[box][core].mean() > TUBE_SHARE:
        return None
    labels = room.lobes[box][core]
    return growth if labels.min() == labels.max() and labels.min() > 0 else None


def _regrown(growth: Growth, local: Grid, lung_distance_m: NDArray[np.float32], centre: Centre) -> Growth | None:
    """Scale a lesion until its part inside the lungs has the wanted volume."""
    share = occupancy(lung_distance_m, local.voxel_m)
    wanted = np.pi / 6 * growth.request.diameter_m**3 / local.voxel_m**3

    def volume(factor: float) -> float:
        inside = occupancy(growth.blob.scaled(factor).distance(local, centre), local.voxel_m)
        return float(np.sum(inside * share))

    low, high = 0.9, LARGEST_REGROWTH
    if volume(high) < wanted:
        return None
    for _ in range(10):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if volume(middle) < wanted else (low, middle)
    return replace(growth, blob=growth.blob.scaled(high))


def find_place(room: Room, request: LesionRequest, kind: str, seed: int) -> tuple[Growth, Centre]:
    """An insertion with its outline, and its centre (z, y, x) [m]: random among where it fits.

    The growth's request holds the diameter that was placed, which is smaller than asked where the request allows that.

    Raises
    ------
    DarklungError
        No lobe has room for it.
    """
    for alternative in request.alternatives():
        found = _find(room, alternative, kind, seed)
        if found is not None:
            return found
    where = {"any": "", "pleura": " at the pleura", "airway": " at an airway"}[request.location]
    least = request.least_diameter_m or request.diameter_m
    size = f"{request.diameter_m / MM:.3g} mm" + (f" (nor {least / MM:.3g} mm)" if least < request.diameter_m else "")
    raise DarklungError(f"{kind}: no lobe has room for {request.tissue} of {size}{where} beside what is already placed")


def _find(room: Room, request: LesionRequest, kind: str, seed: int) -> tuple[Growth, Centre] | None:
    """`find_place` for one size and location; None without room."""
    fixed: Growth | None = None
    for point, along in CANDIDATES[request.location](room, request, seed):
        if along is not None or fixed is None:
            fixed = draw_growth(request, kind, room.variant, seed, along)
        centre = (float(point[0]), float(point[1]), float(point[2]))
        growth = _fitted(room, fixed, centre)
        if growth is not None:
            return growth, centre
    return None
