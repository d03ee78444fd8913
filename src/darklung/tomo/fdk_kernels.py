"""Back-projection of filtered cone-beam projections, and of their covariances: the numba kernels under `darklung.tomo.fdk`.

Images are (view, col, row) with a frame of zeros one pixel wide, so that everything beyond the detector counts as zero.
Volumes are (y, x, z); the value of each voxel is taken between the four pixels around the shadow of its middle.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from darklung.tomo.cone_kernels import CHUNK

_kernel = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
_ONE = 2.0**32  # fixed-point positions
_FRACTION = np.int64(2**32 - 1)


@_kernel
def _between_columns(line: NDArray, image: NDArray, lag: NDArray, col: float, weight: float, r0: int, r1: int) -> None:
    """`image` (col, row) between two columns, times `weight`: `line` from row r0 to r1.

    With a `lag` (col, row) these are covariances, `image` of a column with itself and `lag` with the next one, and the
    result is the variance of what would be interpolated.
    """
    j = int(col)
    far = line.dtype.type((col - j) * weight)
    near = line.dtype.type(weight) - far
    first, second = image[j, r0:r1], image[j + 1, r0:r1]  # slices count from 0, which the compiler can vectorise
    if len(lag) == 0:
        for r in range(len(first)):
            line[r] = near * first[r] + far * second[r]
        return
    both, shared = 2 * near * far, lag[j, r0:r1]
    near, far = near * near, far * far
    for r in range(len(first)):
        line[r] = near * first[r] + far * second[r] + both * shared[r]


@_kernel
def _add_between_rows(out: NDArray, line: NDArray, start: float, step: float, squared: bool) -> None:
    """out[i] += `line` at the position start + i step, linear in between; with squared shares for independent variances."""
    end = np.int64(len(line) - 1) << 32
    before = min(max(int(np.ceil(-start / step)), 0), len(out))
    count = min(max(int((len(line) - 1 - start) / step) + 1 - before, 0), len(out) - before)
    at, by = np.int64(max((start + before * step) * _ONE, 0.0)), np.int64(step * _ONE)
    while count > 0 and at + (count - 1) * by >= end:  # by rounding
        count -= 1
    scale, one, part = out.dtype.type(1.0 / _ONE), np.uint64(1), out[before : before + count]
    if squared:
        for i in range(len(part)):
            here = at + i * by
            j = np.uint64(here >> 32)
            share = out.dtype.type(here & _FRACTION) * scale
            rest = out.dtype.type(1) - share
            part[i] += rest * rest * line[j] + share * share * line[j + one]
        return
    for i in range(len(part)):
        here = at + i * by
        j = np.uint64(here >> 32)
        share = out.dtype.type(here & _FRACTION) * scale
        part[i] += line[j] + share * (line[j + one] - line[j])


@_kernel
def back_project_rows(out: NDArray, images: NDArray, lags: NDArray, views: NDArray, first_y: int, ny: int) -> None:
    """Add Σ over views of (R / (R + t))² × the value under each voxel to the volume rows `first_y` ... (y, x, z) of `ny`.

    `views` as in `darklung.tomo.cone.view_numbers`, of a detector that is not tilted. With `lags` (as `images`, else no
    view) variances are added, times the fourth power.
    """
    cols, rows = images.shape[1:]
    part, nx, nz = out.shape
    line, squared, none = np.empty(rows, out.dtype), len(lags) > 0, np.empty((0, 0), images.dtype)
    for begin in range(0, nx, CHUNK):
        for v in range(len(images)):
            cos, sin, source, edge, axis_col, axis_row = views[v, :6]
            for iy in range(part):
                y = (first_y + iy - 0.5 * (ny - 1)) * edge
                for ix in range(begin, min(begin + CHUNK, nx)):
                    x = (ix - 0.5 * (nx - 1)) * edge
                    m = source / (source + y * cos - x * sin)
                    col, step = axis_col + 1 + (x * cos + y * sin) * m, edge * m
                    if col < 0 or col >= cols - 1:
                        continue
                    start = axis_row + 1 + views[v, 8] * m - 0.5 * (nz - 1) * step
                    r0, r1 = max(int(np.floor(start)), 0), min(int(start + (nz - 1) * step) + 2, rows)
                    if r1 - r0 < 2:
                        continue
                    _between_columns(line, images[v], lags[v] if squared else none, col, m * m, r0, r1)
                    _add_between_rows(out[iy, ix], line[: r1 - r0], start - r0, step, squared)
