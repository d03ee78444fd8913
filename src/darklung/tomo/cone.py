"""Circular cone-beam projection of voxel volumes, and its exact transpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_shape, require
from darklung.core.geometry import ConeGeometry
from darklung.tomo.cone_kernels import adjoint_rows, forward_view
from darklung.tomo.projector import as_floating, check_grid, default_threads, run_tasks

_TILE = 8


@dataclass(frozen=True)
class ConeProjector:
    """Line integrals of a voxel volume in a circular cone beam, averaged over each detector pixel, and the exact transpose.

    The shadow of a voxel is a trapezoid across (its four vertical edges, projected) times a box along the axis, with the
    path through the voxel's middle as height: the separable footprint SF-TR of Long, Fessler and Balter. `adjoint` is the
    transpose of the same matrix up to rounding, and results are the same to the last bit for any number of threads.

    Not modelled: the true shape of a shadow far from the mid-plane (a box of one magnification stands for it), blur,
    refraction. A tilt of the detector moves shadows but does not turn them.

    Parameters
    ----------
    geometry : ConeGeometry
    shape : (z, y, x) tuple of int
        The volume is centred on the rotation axis and on the plane of the source.
    voxel_m : float
    threads : int, optional
        0 takes `default_threads`.

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

    def __post_init__(self) -> None:
        check_grid(self.shape, self.voxel_m)
        require(self.threads >= 0, f"threads: wanted 0 (all) or more, got {self.threads}")
        check_clear_of_source(self.geometry, self.shape, self.voxel_m)

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        """(view, row, col)."""
        return self.geometry.views, self.geometry.rows, self.geometry.cols

    def forward(self, volume: NDArray) -> NDArray:
        """Line integrals (view, row, col) [m × value] of `volume` (z, y, x); float64 in float64, else in float32."""
        check_shape("volume", volume, "z, y, x", self.shape)
        columns = np.ascontiguousarray(np.moveaxis(as_floating(volume), 0, 2))
        g = self.geometry
        out = np.zeros((g.views, g.cols, g.rows), columns.dtype)
        views = view_numbers(g, self.voxel_m)
        run_tasks(lambda v: forward_view(out[v], columns, views[v]), g.views, self.threads or default_threads())
        out *= columns.dtype.type(g.pixel_m)
        return np.ascontiguousarray(out.transpose(0, 2, 1))

    def adjoint(self, projections: NDArray) -> NDArray:
        """The transpose applied to `projections` (view, row, col): a volume (z, y, x) [m × value]."""
        check_shape("projections", projections, "view, row, col", self.projection_shape)
        seen = np.ascontiguousarray(as_floating(projections).transpose(0, 2, 1))
        out = over_rows(adjoint_rows, seen, view_numbers(self.geometry, self.voxel_m), self.shape, self.threads)
        out *= seen.dtype.type(self.geometry.pixel_m)
        return out


def over_rows(
    kernel: Callable[..., None], seen: NDArray, views: NDArray, shape: tuple[int, int, int], threads: int
) -> NDArray:
    """Run a back-projecting kernel over tiles of rows of the volume; (view, col, row) -> (z, y, x)."""
    nz, ny, nx = shape
    out = np.zeros((ny, nx, nz), seen.dtype)

    def task(i: int) -> None:
        kernel(out[i * _TILE : (i + 1) * _TILE], seen, views, i * _TILE, ny)

    run_tasks(task, -(-ny // _TILE), threads or default_threads())
    return np.ascontiguousarray(np.moveaxis(out, 2, 0))


def view_numbers(geometry: ConeGeometry, voxel_m: float) -> NDArray[np.float64]:
    """What the kernels need to know of each view, (view, 8), lengths in pixels."""
    g = geometry
    fixed = [
        g.source_axis_m / g.pixel_m,
        voxel_m / g.pixel_m,
        g.axis_col,
        g.axis_row,
        np.cos(g.tilt_rad),
        np.sin(g.tilt_rad),
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
