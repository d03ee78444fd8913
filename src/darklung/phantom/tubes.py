"""Branching trees that fill a lobe by Murray's law, and tubes drawn into voxels with their exact volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from darklung.phantom.grid import Grid


@dataclass(frozen=True)
class Tree:
    """Straight tapering pieces of a tree.

    Parameters
    ----------
    start_m, end_m : (piece, 3) float64 as (z, y, x)
    leaves : (piece,) float64
        How many end territories the piece feeds.
    parent : (piece,) int64
        Index of the piece it grows from, -1 for the root.
    exponent : float
        radius ∝ leaves^(1/exponent); 3 is Murray's law (1926, 10.1073/pnas.12.3.207).
    """

    start_m: NDArray[np.float64]
    end_m: NDArray[np.float64]
    leaves: NDArray[np.float64]
    parent: NDArray[np.int64]
    exponent: float = 3.0

    def calibre(self) -> NDArray[np.float64]:
        """Radius of each piece relative to an end branch."""
        return np.asarray(self.leaves ** (1 / self.exponent))

    def length_m(self) -> NDArray[np.float64]:
        """Length of each piece."""
        return np.asarray(np.linalg.norm(self.end_m - self.start_m, axis=1))

    def radius_for(self, volume_m3: float) -> NDArray[np.float64]:
        """Radii by the tree's law such that all pieces together have `volume_m3`."""
        shape = self.calibre()
        unit = np.pi * np.sum(shape**2 * self.length_m())
        return np.asarray(shape * np.sqrt(volume_m3 / unit))


@njit(cache=True)
def _main_axis(points, low, high, centre, direction):  # type: ignore[no-untyped-def]
    """Direction of greatest spread of points[low:high] across `direction`, by power iteration."""
    cov = np.zeros((3, 3))
    for k in range(low, high):
        for i in range(3):
            for j in range(3):
                cov[i, j] += (points[k, i] - centre[i]) * (points[k, j] - centre[j])
    normal = np.array([0.31, 0.52, 0.79])
    for _ in range(12):
        new = np.zeros(3)
        for i in range(3):
            for j in range(3):
                new[i] += cov[i, j] * normal[j]
        along = new[0] * direction[0] + new[1] * direction[1] + new[2] * direction[2]
        size = 0.0
        for i in range(3):
            new[i] -= along * direction[i]
            size += new[i] ** 2
        if size <= 0.0:
            break
        for i in range(3):
            normal[i] = new[i] / np.sqrt(size)
    return normal


@njit(cache=True)
def _split_lobe(points, root, leaf_points, reach, share):  # type: ignore[no-untyped-def]
    """Grow one piece towards the centroid of its points, split them by a plane through its end, repeat for each half."""
    limit = 4 * len(points) // leaf_points + 16
    start, end = np.zeros((limit, 3)), np.zeros((limit, 3))
    count, parent = np.zeros(limit), np.full(limit, -1)
    stack_low, stack_high, stack_parent = np.zeros(limit, np.int64), np.zeros(limit, np.int64), np.zeros(limit, np.int64)
    stack_high[0], stack_parent[0] = len(points), -1
    depth, made = 1, 0
    while depth > 0 and made < limit:
        depth -= 1
        low, high, origin = stack_low[depth], stack_high[depth], stack_parent[depth]
        base = root if origin < 0 else end[origin]
        centre = np.zeros(3)
        for k in range(low, high):
            centre += points[k]
        centre /= high - low
        tip = base + reach * (centre - base)
        start[made], end[made], count[made], parent[made] = base, tip, (high - low) / leaf_points, origin
        me = made
        made += 1
        if high - low < 2 * leaf_points:
            continue
        away = centre - base
        size = np.sqrt(np.sum(away**2))
        direction = away / size if size > 0 else np.array([1.0, 0.0, 0.0])
        normal = _main_axis(points, low, high, centre, direction)
        cut = 0.0
        if share != 0.5:
            along = np.sort(np.array([np.sum((points[k] - centre) * normal) for k in range(low, high)]))
            cut = along[int(share * (high - low))]
        i, j = low, high - 1
        while i <= j:
            if np.sum((points[i] - centre) * normal) < cut:
                i += 1
            else:
                for c in range(3):
                    points[i, c], points[j, c] = points[j, c], points[i, c]
                j -= 1
        for a, b in ((low, i), (i, high)):
            if b - a >= leaf_points // 2 and b > a and depth < limit:
                stack_low[depth], stack_high[depth], stack_parent[depth] = a, b, me
                depth += 1
    return start[:made], end[:made], count[:made], parent[:made]


def grow_tree(
    points_m: NDArray[np.float64],
    root_m: NDArray[np.float64],
    *,
    leaf_points: int = 8,
    reach: float = 0.45,
    share: float = 0.5,
    exponent: float = 3.0,
) -> Tree:
    """A tree from `root_m` that fills the cloud `points_m` (point, 3).

    Each branch goes `reach` of the way to the centroid of what it feeds, which is then cut in two across its longest
    extent (after Tawhai et al. 2000, 10.1114/1.1289457, in a simpler form).

    Parameters
    ----------
    points_m, root_m : (point, 3), (3,) [m]
    leaf_points : int
        Points that one end branch feeds.
    reach : float
    share : float
        Part that one daughter gets: 0.5 cuts through the centroid, less makes a stem with side branches.
    exponent : float
        Of the law of radii: r_parent^e = Σ r_child^e.
    """
    root = np.asarray(root_m, dtype=np.float64)
    start, end, leaves, parent = _split_lobe(points_m.copy(), root, leaf_points, reach, share)
    return Tree(start, end, leaves, parent, exponent)


def beside(tree: Tree, offset_m: NDArray[np.float64], direction: NDArray[np.float64]) -> Tree:
    """The tree with its joints moved sideways by `offset_m` (piece,) along one direction: an artery beside its airway."""
    shift_end = offset_m[:, None] * direction
    shift_start = np.where(tree.parent[:, None] >= 0, shift_end[tree.parent], shift_end[0])
    return Tree(tree.start_m + shift_start, tree.end_m + shift_end, tree.leaves, tree.parent, tree.exponent)


@njit(cache=True)
def _draw(out, lean, starts, ends, radii, origin, voxel):  # type: ignore[no-untyped-def]
    nz, ny, nx = out.shape
    for s in range(len(starts)):
        a, b = starts[s], ends[s]
        along = b - a
        length = np.sqrt(np.sum(along**2))
        if length <= 0.0:
            continue
        along = along / length
        # A ramp one voxel wide about radius e holds π(e² + voxel²/12) per length; thin tubes are fainter, not fatter.
        inner = radii[s] ** 2 - voxel**2 / 12
        if inner >= voxel**2 / 4:
            edge, weight = np.sqrt(inner), 1.0
        else:
            edge, weight = voxel / 2, radii[s] ** 2 / (voxel**2 / 3)
        reach = edge + 0.5 * voxel
        low, high = np.zeros(3, np.int64), np.zeros(3, np.int64)
        for c in range(3):
            low[c] = int(np.ceil((min(a[c], b[c]) - reach - origin[c]) / voxel))
            high[c] = int(np.floor((max(a[c], b[c]) + reach - origin[c]) / voxel))
        for i in range(max(low[0], 0), min(high[0], nz - 1) + 1):
            dz = origin[0] + i * voxel - a[0]
            for j in range(max(low[1], 0), min(high[1], ny - 1) + 1):
                dy = origin[1] + j * voxel - a[1]
                for k in range(max(low[2], 0), min(high[2], nx - 1) + 1):
                    dx = origin[2] + k * voxel - a[2]
                    t = dz * along[0] + dy * along[1] + dx * along[2]
                    ends_share = min(max(0.5 + t / voxel, 0.0), 1.0) * min(max(0.5 + (length - t) / voxel, 0.0), 1.0)
                    if ends_share <= 0.0:
                        continue
                    square = dz * dz + dy * dy + dx * dx - t * t
                    share = 0.5 + (edge - np.sqrt(max(square, 0.0))) / voxel
                    if share <= 0.0:
                        continue
                    value = min(share, 1.0) * ends_share * weight
                    out[i, j, k] += value
                    if lean.shape[0] == 3:
                        sign = 1.0 if along[0] >= 0 else -1.0
                        for c in range(3):
                            lean[c, i, j, k] += sign * value * along[c]


def draw_tubes(
    grid: Grid,
    start_m: NDArray[np.float64],
    end_m: NDArray[np.float64],
    radius_m: NDArray[np.float64],
    lean: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Share of each voxel inside straight tubes, (z, y, x) in 0 to 1.

    A tube thinner than a voxel keeps its volume as partial volume; where tubes overlap the share stops at 1.

    Parameters
    ----------
    grid : Grid
    start_m, end_m : (tube, 3) [m] as (z, y, x)
    radius_m : (tube,) [m]
    lean : (3, z, y, x) float32, optional
        Receives the tubes' directions (towards +z), weighted by their share.
    """
    out = np.zeros(grid.shape, dtype=np.float32)
    origin = np.array([axis[0] for axis in grid.axes])
    into = np.zeros((0, 0, 0, 0), dtype=np.float32) if lean is None else lean
    _draw(out, into, np.asarray(start_m, float), np.asarray(end_m, float), np.asarray(radius_m, float), origin, grid.voxel_m)
    return np.minimum(out, np.float32(1), out=out)
