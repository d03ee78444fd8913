"""The shadow of insertions: changes of line integrals in each view, through the scan's own geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.geometry import ParallelGeometry, pixels_of
from darklung.insert.bank import Host, reach_m
from darklung.insert.volume import PlacedLesion
from darklung.phantom.grid import Grid
from darklung.tomo.projector import Projector

FINE = 2  # voxels of a lesion along a detector pixel
Window = tuple[slice, slice]


@dataclass(frozen=True)
class Solid:
    """Fields on a small box of fine voxels whose z ends where detector rows end.

    Parameters
    ----------
    fields : (field, z, y, x) float32
    voxel_m : float
    first_row, rows : int
        Detector rows that see it.
    centre_yx_m : (y, x)
        Middle of the box.
    """

    fields: NDArray[np.float32]
    voxel_m: float
    first_row: int
    rows: int
    centre_yx_m: tuple[float, float]


def make_solid(
    placed: PlacedLesion, geometry: ParallelGeometry, *, host: Host, region: NDArray[np.bool_] | None, grid: Grid
) -> Solid:
    """Draw an insertion for projection: fields are Δμ, Δε of each direction, Δ(areal tissue fraction) and its own path.

    Parameters
    ----------
    placed : PlacedLesion
    geometry : ParallelGeometry
    host : Host
    region : (z, y, x) bool, optional
        Lung on `grid`; nothing outside it is changed. None where the insertion lies wholly inside.
    grid : Grid
        The volume that the insertion was placed in.
    """
    voxel = geometry.pixel_m / FINE
    z, y, x = placed.insertion.center_m
    reach = reach_m(placed.growth) + geometry.pixel_m
    low = min(max(int(np.floor((z - reach) / geometry.pixel_m + geometry.rows / 2)), 0), geometry.rows - 1)
    high = min(int(np.ceil((z + reach) / geometry.pixel_m + geometry.rows / 2)), geometry.rows)
    rows = max(high - low, 1)
    heights = (low - geometry.rows / 2) * geometry.pixel_m + (np.arange(rows * FINE, dtype=np.float64) + 0.5) * voxel
    count = 2 * int(np.ceil(reach / voxel))
    across = (np.arange(count, dtype=np.float64) - (count - 1) / 2) * voxel
    fine = Grid(voxel, heights, y + across, x + across)
    lesion, attenuation, scattering = placed.changes(fine, host)
    path = lesion.share if not placed.sham else np.zeros_like(lesion.share)
    fields = np.stack([attenuation, *scattering, attenuation / host.tissue_per_m, path]).astype(np.float32)
    if region is not None:
        index = np.stack(np.meshgrid(*fine.axes, indexing="ij"), axis=-1).reshape(-1, 3)
        near = np.clip(grid.index_of(index), 0, np.array(grid.shape) - 1)
        fields *= region[tuple(near.T)].reshape(fine.shape)
    return Solid(fields, voxel, low, rows, (y, x))


def cast(solid: Solid, geometry: ParallelGeometry, view: int) -> tuple[Window, NDArray[np.float32]] | None:
    """Line integrals of a solid's fields in one view and the derivatives of the last but one, (field + 2, row, col).

    With the window of the detector that sees them; None where it does not. Rays are cast through `FINE` x `FINE` points of
    each pixel.
    """
    angle = geometry.angles_rad[view]
    middle = pixels_of(geometry, np.array([[0.0, *solid.centre_yx_m]]))[view, 0, 1]
    count, depth, side, _ = solid.fields.shape
    half = int(np.ceil(0.75 * side / FINE)) + 2
    first = int(np.floor(middle)) - half
    cols = 2 * half + 1
    axis = (middle - first + 0.5) * FINE - 0.5
    local = ParallelGeometry(np.array([angle]), count * depth, cols * FINE, solid.voxel_m, axis)
    stacked = np.ascontiguousarray(solid.fields.reshape(count * depth, side, side))
    seen = Projector(local, stacked.shape, solid.voxel_m, threads=1).forward(stacked)[0].reshape(count, depth, -1)
    slopes = np.stack(np.gradient(seen[-2], solid.voxel_m)) if depth > 1 else np.zeros((2, *seen.shape[1:]))
    seen = np.concatenate([seen, slopes]).reshape(count + 2, solid.rows, FINE, cols, FINE).mean(axis=(2, 4))
    low, high = max(first, 0), min(first + cols, geometry.cols)
    if low >= high:
        return None
    window = slice(solid.first_row, solid.first_row + solid.rows), slice(low, high)
    return window, seen[:, :, low - first : high - first]


@dataclass(frozen=True)
class Shadow:
    """Changes of one view on a window of the detector.

    Parameters
    ----------
    window : (rows, cols)
    attenuation : (row, col) float64
        Δ∫μ dl.
    scattering : (direction, row, col) float64
        Δ∫ε dl.
    slopes : (2, row, col) float64
        Derivatives of Δ∫φ dl along rows and columns, mean over each pixel: they refract.
    path_m : (row, col) float64
        Path through lesions and mimics [m].
    """

    window: Window
    attenuation: NDArray[np.float64]
    scattering: NDArray[np.float64]
    slopes: NDArray[np.float64]
    path_m: NDArray[np.float64]


def shadow_of(solids: Sequence[Solid], geometry: ParallelGeometry, view: int, *, margin: int = 0) -> Shadow | None:
    """The sum of all solids' shadows in one view, on the smallest window with a `margin` of pixels; None without any."""
    parts = [part for solid in solids if (part := cast(solid, geometry, view)) is not None]
    if not parts:
        return None
    limits = (geometry.rows, geometry.cols)
    window = tuple(
        slice(
            max(min(w[axis].start for w, _ in parts) - margin, 0),
            min(max(w[axis].stop for w, _ in parts) + margin, limits[axis]),
        )
        for axis in range(2)
    )
    rows, cols = window
    total = np.zeros((len(parts[0][1]), rows.stop - rows.start, cols.stop - cols.start))
    for (r, c), values in parts:
        total[:, r.start - rows.start : r.stop - rows.start, c.start - cols.start : c.stop - cols.start] += values
    return Shadow((rows, cols), total[0], total[1:-4], total[-2:], total[-3])


def refraction(shadow: Shadow, direction_rad: float, *, per_tissue: float) -> NDArray[np.float64]:
    """Change of the fringe phase [rad], (row, col): the path's derivative along the sensitivity direction.

    Parameters
    ----------
    per_tissue : float
        Fringe phase per refraction angle times δ of tissue: kξδ.
    """
    along = np.cos(direction_rad) * shadow.slopes[0] + np.sin(direction_rad) * shadow.slopes[1]
    return np.asarray(per_tissue * along)
