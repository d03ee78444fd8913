"""The voxel grid of a phantom, and random fields that are the same animal at any voxel size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_positive, require
from darklung.core.geometry import centred_axis
from darklung.core.random import stream

DRAW_REACH_M = 12e-3  # random points are drawn in ± this, so that they do not depend on the voxel size
FIELD_REACH_M = 18e-3  # random lattices cover ± this; it is fixed so that a shorter grid shows the same animal


@dataclass(frozen=True)
class Grid:
    """A regular grid centred on the rotation axis, or a box of one.

    Parameters
    ----------
    voxel_m : float
    z_m, y_m, x_m : 1-D float64 [m]
        Coordinates of voxel centres. +z is towards the head, +y towards the spine, +x towards the animal's left.
    """

    voxel_m: float
    z_m: NDArray[np.float64]
    y_m: NDArray[np.float64]
    x_m: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) counts."""
        return len(self.z_m), len(self.y_m), len(self.x_m)

    @property
    def axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Coordinates in the order (z, y, x)."""
        return self.z_m, self.y_m, self.x_m

    def mesh(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Coordinates as float32 arrays that broadcast to the grid."""
        z, y, x = (axis.astype(np.float32) for axis in self.axes)
        return z[:, None, None], y[None, :, None], x[None, None, :]

    def box(self, box: tuple[slice, slice, slice]) -> Grid:
        """The part of this grid inside `box`."""
        return Grid(self.voxel_m, *(axis[part] for axis, part in zip(self.axes, box)))

    def about(self, centre_m: tuple[float, float, float]) -> Grid:
        """The same voxels in coordinates that count from `centre_m`."""
        z, y, x = (axis - c for axis, c in zip(self.axes, centre_m))
        return Grid(self.voxel_m, z, y, x)

    def box_around(self, centre_m: tuple[float, float, float], reach_m: float) -> tuple[slice, slice, slice]:
        """Slices of the cube of half-width `reach_m` around `centre_m`, cut at the grid's ends."""
        parts = []
        for axis, c in zip(self.axes, centre_m):
            low, high = np.searchsorted(axis, [c - reach_m, c + reach_m])
            parts.append(slice(int(low), int(max(high, low))))
        return parts[0], parts[1], parts[2]

    def bounds(self) -> NDArray[np.float64]:
        """(low, high) of each axis [m], (3, 2), the same for all grids that fit in ±`DRAW_REACH_M`: for random points."""
        far = [max(DRAW_REACH_M, -float(axis[0]), float(axis[-1])) for axis in self.axes]
        return np.array([[-f, f] for f in far])

    def index_of(self, points_m: NDArray[np.float64]) -> NDArray[np.intp]:
        """Nearest voxel of each point, (point, 3); may lie outside the grid."""
        origin = np.array([axis[0] for axis in self.axes])
        return np.rint((points_m - origin) / self.voxel_m).astype(np.intp)


def make_grid(field_of_view_m: tuple[float, float], voxel_m: float) -> Grid:
    """A grid of (depth along z, width along y and x), centred on zero.

    Raises
    ------
    DarklungError
        A size that is not positive, fewer than 8 voxels along an axis, or more than 2000.
    """
    depth_m, width_m = (check_positive("field_of_view_m", value) for value in field_of_view_m)
    check_positive("voxel_m", voxel_m)
    counts = [max(1, round(size / voxel_m)) for size in (depth_m, width_m)]
    for count, size in zip(counts, (depth_m, width_m)):
        require(8 <= count <= 2000, f"voxel_m: wanted 8 to 2000 voxels across {size:g} m, got {count} at {voxel_m:g} m")
    z, y, x = (centred_axis(n, voxel_m) for n in (counts[0], counts[1], counts[1]))
    return Grid(voxel_m, z, y, x)


def _spline_matrix(points_m: NDArray[np.float64], spacing_m: float, count: int) -> tuple[NDArray[np.float32], slice]:
    """Cubic B-spline weights (point, knot), each row of unit sum of squares, and the knots they use."""
    u = points_m / spacing_m + (count - 1) / 2
    first = np.floor(u).astype(np.intp) - 1
    t = (u - np.floor(u))[:, None]
    weights = np.concatenate([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    low, high = int(first[0]), int(first[-1]) + 4
    require(low >= 0 and high <= count, f"field_of_view_m: wanted at most {2 * FIELD_REACH_M:g} m across")
    matrix = np.zeros((len(points_m), high - low), dtype=np.float32)
    rows = np.arange(len(points_m))
    for k in range(4):
        matrix[rows, first - low + k] = weights[:, k]
    return matrix, slice(low, high)


def smooth_noise(grid: Grid, seed: int, name: str, spacing_m: float) -> NDArray[np.float32]:
    """A Gaussian random field of zero mean and unit variance, correlated over about 1.5 × `spacing_m`.

    White noise on a lattice fixed in space, interpolated by cubic B-splines: the value at a point depends on the seed,
    the name and the point alone, not on the grid.
    """
    count = 2 * int(np.ceil(FIELD_REACH_M / spacing_m)) + 7
    (mz, sz), (my, sy), (mx, sx) = (_spline_matrix(axis, spacing_m, count) for axis in grid.axes)
    # Each plane has its own stream, so that a small box draws few numbers.
    planes = [
        stream(seed, "noise", name, k).standard_normal((count, count), dtype=np.float32)[sy, sx]
        for k in range(sz.start, sz.stop)
    ]
    part = np.stack(planes) @ mx.T
    part = np.einsum("yk,zkx->zyx", my, part, optimize=True)
    field = np.tensordot(mz, part, axes=(1, 0))
    return np.ascontiguousarray(field, dtype=np.float32)


def fractal_noise(grid: Grid, seed: int, name: str, spacings_m: tuple[float, ...], roughness: float) -> NDArray[np.float32]:
    """Sum of `smooth_noise` over `spacings_m`, of unit variance; each finer one has `roughness` times the amplitude."""
    amplitudes = roughness ** np.arange(len(spacings_m))
    amplitudes /= np.linalg.norm(amplitudes)
    total = np.zeros(grid.shape, dtype=np.float32)
    for k, (spacing_m, amplitude) in enumerate(zip(spacings_m, amplitudes)):
        total += np.float32(amplitude) * smooth_noise(grid, seed, f"{name}/{k}", spacing_m)
    return total


def occupancy(distance_m: NDArray[np.float32], voxel_m: float) -> NDArray[np.float32]:
    """Fraction of a voxel inside a surface whose signed distance (negative inside) is `distance_m`."""
    return np.clip(np.float32(0.5) - distance_m / np.float32(voxel_m), 0, 1)
