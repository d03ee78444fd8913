"""Circular cone-beam projection of voxel volumes, and its exact transpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_shape, require
from darklung.core.geometry import ConeGeometry, field_width
from darklung.tomo.cone_kernels import adjoint_rows, forward_views
from darklung.tomo.projector import as_floating, check_grid, default_threads, run_tasks

_TILE = 4
_VIEWS = 16


@dataclass(frozen=True)
class ConeProjector:
    """Line integrals of a voxel volume in a circular cone beam, averaged over each detector pixel, and the exact transpose.

    The shadow of a voxel is a trapezoid across (its four vertical edges, projected) times a box along the axis. Its height
    is the in-plane path through the voxel's middle times the slope of the ray to the pixel: the separable footprint SF-TR of
    Long, Fessler and Balter. `adjoint` is the transpose of the same matrix up to rounding, and
    results are the same to the last bit for any number of threads.

    Not modelled: the true shape of a shadow far from the mid-plane (a box of one magnification stands for it), blur,
    refraction. A tilt of the detector moves shadows (to 1/16 pixel) but does not turn them.

    Parameters
    ----------
    geometry : ConeGeometry
    shape : (z, y, x) tuple of int
        The volume is centred on the rotation axis.
    voxel_m : float
    threads : int, optional
        0 takes `default_threads`.
    level_m : float, optional
        Height of the volume's middle above the plane of the source; 0 by default.

    Raises
    ------
    DarklungError
        Empty shape, voxel size not positive, a volume that reaches the source, arrays of another shape than announced.

    References
    ----------
    Long, Fessler, Balter 2010, IEEE Trans Med Imaging 29:1839, doi:10.1109/TMI.2010.2050898.
    """

    geometry: ConeGeometry
    shape: tuple[int, int, int]
    voxel_m: float
    threads: int = 0
    level_m: float = 0.0

    def __post_init__(self) -> None:
        check_grid(self.shape, self.voxel_m)
        require(self.threads >= 0, f"threads: wanted 0 (all) or more, got {self.threads}")
        check_finite("level_m", np.asarray(self.level_m))
        check_clear_of_source(self.geometry, self.shape, self.voxel_m)

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        """(view, row, col)."""
        return self.geometry.views, self.geometry.rows, self.geometry.cols

    @property
    def scale_m(self) -> float:
        """voxel_m² / pixel_m: the path in metres that a voxel at the axis adds to a pixel which catches its whole shadow."""
        return self.voxel_m**2 / self.geometry.pixel_m

    def forward(self, volume: NDArray) -> NDArray:
        """Line integrals (view, row, col) [m × value] of `volume` (z, y, x); float64 in float64, else in float32."""
        check_shape("volume", volume, "z, y, x", self.shape)
        columns = np.ascontiguousarray(np.moveaxis(as_floating(volume), 0, 2))
        g, taps = self.geometry, self.taps()
        out = np.zeros((g.views, g.cols + 2 * taps, g.rows), columns.dtype)
        threads = self.threads or default_threads()
        size = min(_VIEWS, -(-g.views // threads))
        parts = [slice(i, i + size) for i in range(0, g.views, size)]
        for rows, views in self.bands():
            band = out[:, :, rows]
            run_tasks(lambda i: forward_views(band[parts[i]], columns, views[parts[i]], taps), len(parts), threads)  # noqa: B023
        return np.ascontiguousarray(out[:, taps : taps + g.cols].transpose(0, 2, 1)) * self.slopes(columns.dtype)

    def adjoint(self, projections: NDArray) -> NDArray:
        """The transpose applied to `projections` (view, row, col): a volume (z, y, x) [m × value]."""
        check_shape("projections", projections, "view, row, col", self.projection_shape)
        projections = as_floating(projections)
        nz, ny, nx = self.shape
        g, taps, slopes = self.geometry, self.taps(), self.slopes(projections.dtype)
        out = np.zeros((ny, nx, nz), projections.dtype)
        for rows, views in self.bands():
            for lo in range(0, g.views, _VIEWS):
                seen = (projections[lo : lo + _VIEWS, rows] * slopes[rows]).transpose(0, 2, 1)
                totals = np.zeros((len(seen), g.cols + 2 * taps, seen.shape[2] + 1))
                np.cumsum(seen, axis=2, dtype=np.float64, out=totals[:, taps : taps + g.cols, 1:])
                over_rows(adjoint_rows, out, (totals, views[lo : lo + _VIEWS], taps), self.threads)
        return np.ascontiguousarray(np.moveaxis(out, 2, 0))

    def bands(self) -> list[tuple[slice, NDArray[np.float64]]]:
        """Detector rows that a tilt moves alike (to 1/16 column), and the numbers of each view for them alone."""
        g = self.geometry
        shifts = (np.arange(g.rows) - float(g.axis_row or 0.0)) * np.tan(g.tilt_rad)
        cuts = [0, *(np.flatnonzero(np.diff(np.floor(shifts * 8))) + 1), g.rows]
        bands = []
        for low, high in pairwise(cuts):
            views = view_numbers(g, self.voxel_m, self.level_m)
            views[:, 4] += 0.5 * (shifts[low] + shifts[high - 1])
            views[:, 5] -= low
            bands.append((slice(low, high), views))
        return bands

    def slopes(self, dtype: np.dtype) -> NDArray:
        """Pixel [m] times how much longer the ray to each pixel is than its shadow on the plane of the turn, (row, col)."""
        g = self.geometry
        u, w = detector_places(g)
        return (g.pixel_m * np.sqrt(1 + w**2 / (g.source_axis_m**2 + u**2))).astype(dtype)

    def taps(self) -> int:
        """The most pixel columns that a shadow can touch."""
        reach = 0.5 * float(np.hypot(*self.shape[1:])) * self.voxel_m
        far = self.geometry.source_axis_m
        steepest = far / (far - reach) * np.sqrt(1 + reach**2 / (far**2 - reach**2))
        return int(np.sqrt(2) * steepest * self.voxel_m / self.geometry.pixel_m / np.cos(self.geometry.tilt_rad)) + 2


def over_rows(kernel: Callable[..., None], out: NDArray, arguments: tuple[Any, ...], threads: int) -> None:
    """Run a back-projecting kernel over tiles of rows of the volume `out` (y, x, z)."""
    ny = len(out)

    def task(i: int) -> None:
        kernel(out[i * _TILE : (i + 1) * _TILE], *arguments, i * _TILE, ny)

    run_tasks(task, -(-ny // _TILE), threads or default_threads())


def detector_places(geometry: ConeGeometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the ray to each pixel crosses the plane through the axis, u across and w along it [m], both (row, col)."""
    g = geometry
    col = (np.arange(g.cols) - float(g.axis_col or 0.0))[None, :] * g.pixel_m
    row = (np.arange(g.rows) - float(g.axis_row or 0.0))[:, None] * g.pixel_m
    cos, sin = np.cos(g.tilt_rad), np.sin(g.tilt_rad)
    return col * cos - row * sin, col * sin + row * cos


def whole_field(geometry: ConeGeometry) -> tuple[tuple[int, int, int], float]:
    """Shape (z, y, x) in voxels of one pixel, and level [m], of the volume that the detector sees.

    Slices are the rows, where they cross the axis. The volume is as wide as the detector, or, for one moved sideways by more
    than a pixel, twice as wide as its longer side.
    """
    g, wide = geometry, field_width(geometry)
    return (g.rows, wide, wide), ((g.rows - 1) / 2 - float(g.axis_row or 0.0)) * g.pixel_m


def view_numbers(geometry: ConeGeometry, voxel_m: float, level_m: float = 0.0) -> NDArray[np.float64]:
    """What the kernels need to know of each view, (view, 9), lengths in pixels."""
    g = geometry
    fixed = [
        g.source_axis_m / g.pixel_m,
        voxel_m / g.pixel_m,
        g.axis_col,
        g.axis_row,
        np.cos(g.tilt_rad),
        np.sin(g.tilt_rad),
        level_m / g.pixel_m,
    ]
    out = np.empty((g.views, 2 + len(fixed)))
    out[:, 0], out[:, 1], out[:, 2:] = np.cos(g.angles_rad), np.sin(g.angles_rad), fixed
    return out


def check_clear_of_source(geometry: ConeGeometry, shape: tuple[int, int, int], voxel_m: float) -> None:
    """Raise if a corner of the volume comes as near to the axis as the source is."""
    reach = float(np.hypot(shape[1], shape[2])) * voxel_m / 2
    require(
        geometry.source_axis_m > 1.05 * reach,
        f"source_axis_m: wanted more than the volume's half diagonal of {reach:g} m, got {geometry.source_axis_m:g} m",
    )
