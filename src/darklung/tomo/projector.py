"""Parallel-beam projection of voxel volumes, and its exact transpose."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_positive, check_range, check_shape, require
from darklung.core.geometry import ParallelGeometry
from darklung.tomo.footprint import adjoint_block, forward_block, scatter_columns

# Tiles of 8 views or 8 rows by at most 64 slices stay inside a second-level cache of 512 KiB at 256 columns.
_TILE = 8
_DEPTH = 64
_THINNEST = 1e-7


def default_threads() -> int:
    """Threads to use where none are asked for: ``NUMBA_NUM_THREADS`` or ``OMP_NUM_THREADS`` if set, else all cores."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "")
        if text.isdigit() and int(text) > 0:
            return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def run_tasks(task: Callable[[int], object], count: int, threads: int) -> None:
    """Run ``task(0)`` ... ``task(count - 1)``, which must write to separate places, on `threads` threads."""
    if threads <= 1 or count <= 1:
        for i in range(count):
            task(i)
        return
    with ThreadPoolExecutor(min(threads, count)) as pool:
        for future in [pool.submit(task, i) for i in range(count)]:
            future.result()


@dataclass(frozen=True)
class Projector:
    """Line integrals of a voxel volume in parallel beam, averaged over each detector pixel, and the exact transpose.

    A voxel is a cube of constant value. Its shadow on the detector is a trapezoid (across) times a box (along the axis),
    and each pixel receives the share of the shadow that falls on it:

        p[view, row, col] = (voxel_m² / pixel_m) Σ share_z(row, z) share_xy(view, col, y, x) volume[z, y, x]

    This is exact for the voxelised object and a pixel with uniform response, has no aliasing at any angle or ratio of
    voxel to pixel, and serves equally well in both directions. `adjoint` is the transpose of the same matrix, up to
    rounding. Results are the same to the last bit for any number of threads.

    Not modelled: divergence of the beam, blur of source and detector, refraction.

    Parameters
    ----------
    geometry : ParallelGeometry
        Its `axis_col` is honoured. Views may lie at any angles, in any order.
    shape : (z, y, x) tuple of int
        The volume is centred on the rotation axis, and its middle is level with the middle of the detector rows. Any
        number of slices is allowed: parts that no row sees project nowhere, and receive zeros from the adjoint.
    voxel_m : float
        Edge of the voxels [m]. It may differ from the pixel: slices are then shared out among rows by overlap.
    threads : int, optional
        0 takes `default_threads`.

    Raises
    ------
    DarklungError
        Empty shape, voxel size not positive, arrays of another shape than announced.

    References
    ----------
    Long, Fessler, Balter 2010, IEEE Trans Med Imaging 29:1839, doi:10.1109/TMI.2010.2050898 (separable footprints).

    Examples
    --------
    >>> import numpy as np
    >>> geometry = ParallelGeometry(angles_rad=np.array([0.0]), rows=1, cols=4, pixel_m=0.5)
    >>> Projector(geometry, (1, 4, 4), 0.5).forward(np.ones((1, 4, 4), np.float32))[0, 0]
    array([2., 2., 2., 2.], dtype=float32)
    """

    geometry: ParallelGeometry
    shape: tuple[int, int, int]
    voxel_m: float
    threads: int = 0

    def __post_init__(self) -> None:
        check_grid(self.shape, self.voxel_m)
        require(self.threads >= 0, f"threads: wanted 0 (all) or more, got {self.threads}")

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        """(view, row, col)."""
        return self.geometry.views, self.geometry.rows, self.geometry.cols

    @property
    def scale_m(self) -> float:
        """voxel_m² / pixel_m: the path in metres that a voxel adds to a pixel which catches its whole shadow."""
        return self.voxel_m**2 / self.geometry.pixel_m

    def forward(self, volume: NDArray) -> NDArray:
        """Line integrals (view, row, col) [m × value] of `volume` (z, y, x); float64 in float64, else in float32."""
        check_shape("volume", volume, "z, y, x", self.shape)
        volume = as_floating(volume)
        rows = share_slices(volume, row_shares(self.geometry, self.shape[0], self.voxel_m))
        return self._forward(rows * volume.dtype.type(self.scale_m))

    def adjoint(self, projections: NDArray) -> NDArray:
        """The transpose applied to `projections` (view, row, col): a volume (z, y, x) [m × value]."""
        check_shape("projections", projections, "view, row, col", self.projection_shape)
        projections = as_floating(projections)
        placement, taps = view_placement(self.geometry, self.shape, self.voxel_m)
        rows = back_project(projections, placement, taps, self.shape[1:], self.threads)
        rows *= rows.dtype.type(self.scale_m)
        shares = row_shares(self.geometry, self.shape[0], self.voxel_m)
        return share_slices(rows, None if shares is None else shares.T)

    def _forward(self, rows: NDArray) -> NDArray:
        geometry = self.geometry
        placement, taps = view_placement(geometry, self.shape, self.voxel_m)
        threads = self.threads or default_threads()
        blocks = to_blocks(rows, threads=threads)
        shape = (len(blocks), geometry.views, geometry.cols + 2 * taps, blocks.shape[-1])
        out = np.zeros(shape, rows.dtype)
        tiles = _tiles(geometry.views)

        def task(i: int) -> None:
            block, tile = divmod(i, len(tiles))
            part = tiles[tile]
            forward_block(out[block, part], blocks[block], placement[part], taps, geometry.cols)

        run_tasks(task, len(blocks) * len(tiles), threads)
        seen = np.empty(self.projection_shape, rows.dtype)
        from_blocks(seen.transpose(1, 0, 2), out[:, :, taps : taps + geometry.cols], threads)
        return seen


def back_project(
    projections: NDArray, placement: NDArray, taps: int, shape_yx: tuple[int, int], threads: int = 0
) -> NDArray:
    """Sum over the views of the columns' values under each voxel's footprint: (view, row, col) -> (row, y, x)."""
    _, rows, cols = projections.shape
    threads = threads or default_threads()
    blocks = to_blocks(projections.transpose(1, 0, 2), pad=taps, threads=threads)
    out = np.zeros((len(blocks), *shape_yx, blocks.shape[-1]), projections.dtype)
    tiles = _tiles(shape_yx[0])

    def task(i: int) -> None:
        block, tile = divmod(i, len(tiles))
        part = tiles[tile]
        shifted = placement.copy()
        shifted[:, 0] += part.start * placement[:, 2]
        adjoint_block(out[block, part], blocks[block], shifted, taps, cols)

    run_tasks(task, len(blocks) * len(tiles), threads)
    stack = np.empty((rows, *shape_yx), projections.dtype)
    from_blocks(stack, out, threads)
    return stack


def view_placement(
    geometry: ParallelGeometry, shape: tuple[int, int, int], voxel_m: float, footprint_m: float = 0.0
) -> tuple[NDArray[np.float64], int]:
    """Where each view's footprints fall, for the kernels: (view, 5), and the most columns that one can touch.

    The five numbers are the column of voxel (0, 0), the steps in columns per x and per y, and the widths of the two
    boxes whose convolution is the footprint of a voxel of edge `footprint_m` (the voxel's own by default).
    """
    _, ny, nx = shape
    ratio = voxel_m / geometry.pixel_m
    width = (footprint_m or voxel_m) / geometry.pixel_m
    cos, sin = np.cos(geometry.angles_rad), np.sin(geometry.angles_rad)
    start = geometry.axis_col - 0.5 * ratio * ((nx - 1) * cos + (ny - 1) * sin)
    wide = np.maximum(abs(cos), abs(sin)) * width
    thin = np.maximum(np.minimum(abs(cos), abs(sin)), _THINNEST) * width
    placement = np.stack([start, ratio * cos, ratio * sin, wide, thin], axis=1)
    return placement, int(np.floor((wide + thin).max())) + 2


def row_shares(geometry: ParallelGeometry, slices: int, voxel_m: float) -> NDArray[np.float64] | None:
    """Share of each pixel's height that each slice covers, (row, z), both centred on the same level; None if row = slice."""
    pixel_m = geometry.pixel_m
    if slices == geometry.rows and abs(voxel_m / pixel_m - 1) * slices < 1e-9:
        return None
    row = (np.arange(geometry.rows) - geometry.rows / 2) * pixel_m
    layer = (np.arange(slices) - slices / 2) * voxel_m
    high = np.minimum(row[:, None] + pixel_m, layer[None, :] + voxel_m)
    low = np.maximum(row[:, None], layer[None, :])
    shares = np.maximum(high - low, 0.0) / pixel_m
    return np.asarray(np.where(shares < 1e-9, 0.0, shares))


def share_slices(stack: NDArray, shares: NDArray[np.float64] | None) -> NDArray:
    """``shares @ stack`` along the first axis; the stack itself if there is nothing to share out."""
    if shares is None:
        return stack
    out = np.zeros((len(shares), *stack.shape[1:]), stack.dtype)
    for i, j in zip(*np.nonzero(shares)):  # a band: few slices meet a row
        out[i] += stack.dtype.type(shares[i, j]) * stack[j]
    return out


def to_blocks(stack: NDArray, pad: int = 0, threads: int = 1) -> NDArray:
    """(z, a, b) -> (block, a, b, z of the block), z padded with zeros to full blocks and b with `pad` on either side."""
    nz, na, nb = stack.shape
    count = -(-nz // _DEPTH)
    depth = -(-nz // count)
    if depth > 8:
        depth = -(-depth // 8) * 8
    out = np.zeros((count, na, nb + 2 * pad, depth), stack.dtype)

    def task(i: int) -> None:
        part = stack[i * depth : (i + 1) * depth]
        out[i, :, pad : pad + nb, : len(part)] = np.moveaxis(part, 0, 2)

    run_tasks(task, count, threads)
    return out


def from_blocks(stack: NDArray, blocks: NDArray, threads: int = 1) -> None:
    """Write `blocks` (block, a, b, z of the block) into `stack` (z, a, b), without the padding."""
    depth = blocks.shape[-1]

    def task(i: int) -> None:
        part = stack[i * depth : (i + 1) * depth]
        part[...] = np.moveaxis(blocks[i, :, :, : len(part)], 2, 0)

    run_tasks(task, len(blocks), threads)


def check_grid(shape: Iterable[int], voxel_m: float) -> None:
    """Raise unless `shape` is three positive numbers (z, y, x) and the voxel is positive."""
    sizes = tuple(shape)
    require(len(sizes) == 3 and min(sizes) > 0, f"shape: wanted three numbers > 0 (z, y, x), got {sizes}")
    check_positive("voxel_m", voxel_m)


def _tiles(count: int) -> list[slice]:
    return [slice(i, min(i + _TILE, count)) for i in range(0, count, _TILE)]


def as_floating(array: NDArray) -> NDArray:
    """`array` as it is in float32 or float64, else in float32."""
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def project_columns(
    values: NDArray,
    columns_yx: NDArray,
    shape: tuple[int, int, int],
    voxel_m: float,
    geometry: ParallelGeometry,
    view: int,
) -> NDArray[np.float32]:
    """One view of a sparse set of z-columns: what `Projector.forward` gives for a volume that is zero elsewhere.

    For quantities that change with the view, such as directional scattering: the caller computes the values of this view.

    Parameters
    ----------
    values : (column, z) array
        In the view at hand.
    columns_yx : (column, 2) int array
        Index (y, x) of each column in the volume; a column named twice counts twice.
    shape : (z, y, x) tuple
    voxel_m : float
    geometry : ParallelGeometry
    view : int
        Index into ``geometry.angles_rad``.

    Returns
    -------
    (row, col) float32 [m × value]

    Raises
    ------
    DarklungError
        Shapes that do not fit, or a column outside the volume.
    """
    check_grid(shape, voxel_m)
    check_shape("columns_yx", columns_yx, "column, (y, x)", (None, 2))
    check_shape("values", values, "column, z", (len(columns_yx), shape[0]))
    check_range("view", view, 0, geometry.views - 1)
    columns = np.ascontiguousarray(columns_yx, dtype=np.int64)
    if len(columns):
        inside = (columns >= 0).all() and columns[:, 0].max() < shape[1] and columns[:, 1].max() < shape[2]
        require(bool(inside), f"columns_yx: wanted (y, x) inside {tuple(shape[1:])}, got a column outside")
    one = ParallelGeometry(
        geometry.angles_rad[view : view + 1], geometry.rows, geometry.cols, geometry.pixel_m, geometry.axis_col
    )
    placement, taps = view_placement(one, shape, voxel_m)
    out = np.zeros((geometry.cols + 2 * taps, shape[0]), np.float32)
    scatter_columns(out, np.ascontiguousarray(values, dtype=np.float32), columns, placement[0], taps, geometry.cols)
    seen = out[taps : taps + geometry.cols].T * np.float32(voxel_m**2 / geometry.pixel_m)
    return np.ascontiguousarray(share_slices(seen, row_shares(geometry, shape[0], voxel_m)))
