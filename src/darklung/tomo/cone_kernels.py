"""Separable footprints of a circular cone beam: the numba kernels under `darklung.tomo.cone` and `darklung.tomo.fdk`.

Volumes are (y, x, z), projections (view, padded col, row), so that all inner loops run over contiguous numbers. A column of
voxels meets the detector rows through running totals: what falls onto a row is the difference of the column's total at the
row's two edges, and what falls onto a voxel, of the rows' total at the voxel's two edges. Totals and weights are float64.
Every kernel writes to its own part of the output in a fixed order.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_kernel = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})

# Numbers of one view, lengths in pixels: cos θ, sin θ, source distance, voxel edge, axis column, axis row, of the detector's
# tilt cos τ and sin τ, and the height of the volume's middle above the plane of the source.
VIEW_NUMBERS = 9
CHUNK = 32  # voxel columns that are worked on together
_ONE = 2.0**48  # fixed-point positions: indices below 2^15, and a fraction to 2^-48
_FRACTION = np.int64(2**48 - 1)
_TINY = 1e-9


@_kernel
def _rises(x: float, wide: float, half_slope: float) -> float:
    """Integral up to x of a ramp that is 0 before 0 and 1 after `wide` = 0.5 / `half_slope`."""
    t = min(max(x, 0.0), wide)
    return half_slope * t * t + max(x - wide, 0.0)


@_kernel
def place_row(
    first: NDArray, weight: NDArray, rows: NDArray, view: NDArray, y: float, x0: float, count: int, cols: int
) -> None:
    """Shadows of `count` voxel columns at (y, x0 + i edge) [pixels from the axis].

    ``weight[k, i]`` is the mean height of column i's trapezoid (its four vertical edges, projected) over padded pixel column
    ``first[i] + k``, times the in-plane path through the voxel's middle. `first` counts from ``-taps``. ``rows[0, i]`` and
    ``rows[1, i]`` are the shift across and the height of a voxel on the detector: z edges land at shift + height (z − nz/2).
    """
    taps = len(weight)
    cos, sin, source, edge, shift, middle_row, turn_cos, turn_sin, level = view
    dc, ds = 0.5 * edge * cos, 0.5 * edge * sin
    for i in range(count):
        x = x0 + i * edge
        s, t = x * cos + y * sin, source + y * cos - x * sin
        a = (s - dc - ds) / (t - dc + ds)
        b = (s + dc - ds) / (t - dc - ds)
        c = (s - dc + ds) / (t + dc + ds)
        d = (s + dc + ds) / (t + dc - ds)
        a, b, c, d = min(a, b), max(a, b), min(c, d), max(c, d)
        scale = source / turn_cos
        c0, c3 = scale * min(a, c), scale * max(b, d)
        c1, c2 = max(a, c), min(b, d)
        c1, c2 = scale * min(c1, c2), scale * max(c1, c2)
        # The longest path through the voxel along the ray through its middle, over the ray's direction in the plane.
        plane = edge * np.sqrt(t * t + s * s) / max(abs(s * cos - t * sin), abs(s * sin + t * cos))
        low = np.floor(c0 + shift + 0.5)
        first[i] = np.int32(min(max(low, -1.0 * taps), 1.0 * cols)) + np.int32(taps)
        rise, fall = max(c1 - c0, _TINY), max(c3 - c2, _TINY)
        up, down = 0.5 / rise, 0.5 / fall
        before = 0.0
        for k in range(taps):
            upper = low + k + 0.5 - shift
            after = _rises(upper - c0, rise, up) - _rises(upper - c2, fall, down)
            weight[k, i] = plane * (after - before)
            before = after
        magnification = source / t
        rows[0, i] = middle_row + 0.5 + magnification * (level * turn_cos - s * turn_sin)
        rows[1, i] = edge * magnification * turn_cos


@_kernel
def _sample(out: NDArray, values: NDArray, start: float, step: float) -> None:
    """out[i] = `values` at the position start + i step > -1, linear in between, constant beyond the ends."""
    end = np.int64(len(values) - 1) << 48
    before = min(max(int(np.ceil(-start / step)), 0), len(out))
    count = min(max(int((len(values) - 1 - start) / step) + 1 - before, 0), len(out) - before)
    at, by = np.int64(max((start + before * step) * _ONE, 0.0)), np.int64(step * _ONE)
    while count > 0 and at + (count - 1) * by >= end:  # by rounding
        count -= 1
    for i in range(before):
        out[i] = values[0]
    part = out[before : before + count]
    for i in range(len(part)):
        here = at + i * by
        j = np.uint64(here >> 48)
        share = np.float64(here & _FRACTION) * (1.0 / _ONE)
        part[i] = values[j] + share * (values[j + np.uint64(1)] - values[j])
    for i in range(before + count, len(out)):
        out[i] = values[-1]


@_kernel
def forward_views(out: NDArray, volume: NDArray, views: NDArray, taps: int) -> None:
    """Add the projections of `volume` (y, x, z) to `out` (view, padded col, row), without the rays' slope along the axis."""
    rows = out.shape[2]
    ny, nx, nz = volume.shape
    first, weight, band = np.empty(CHUNK, np.int32), np.empty((taps, CHUNK)), np.empty((2, CHUNK))
    total, bound, line = np.zeros((CHUNK, nz + 1)), np.empty(rows + 1), np.empty(rows, out.dtype)
    edge = views[0, 3]
    for iy in range(ny):
        y = (iy - 0.5 * (ny - 1)) * edge
        for begin in range(0, nx, CHUNK):
            count = min(CHUNK, nx - begin)
            for i in range(count):
                for z in range(nz):
                    total[i, z + 1] = total[i, z] + volume[iy, begin + i, z]
            for v in range(len(out)):
                x0 = (begin - 0.5 * (nx - 1)) * edge
                place_row(first, weight, band, views[v], y, x0, count, out.shape[1] - 2 * taps)
                for i in range(count):
                    step = band[1, i]
                    start = band[0, i] - 0.5 * nz * step
                    r0, r1 = max(int(np.floor(start)), 0), min(int(np.ceil(start + nz * step)), rows)
                    if r1 <= r0:
                        continue
                    _sample(bound[: r1 - r0 + 1], total[i], (r0 - start) / step, 1.0 / step)
                    part = line[: r1 - r0]
                    for r in range(len(part)):
                        part[r] = step * (bound[r + 1] - bound[r])
                    _spread(out[v], part, first[i], r0, weight[:, i])


@_kernel
def _spread(out: NDArray, line: NDArray, j: int, r0: int, weight: NDArray) -> None:
    """Add `line` (row) times each weight to the columns of `out` (col, row) from column j and row r0 on."""
    r1 = r0 + len(line)
    if len(weight) == 3:
        w0, w1, w2 = out.dtype.type(weight[0]), out.dtype.type(weight[1]), out.dtype.type(weight[2])
        near, middle, far = out[j, r0:r1], out[j + 1, r0:r1], out[j + 2, r0:r1]
        for r in range(len(line)):
            value = line[r]
            near[r] += w0 * value
            middle[r] += w1 * value
            far[r] += w2 * value
    else:
        for k in range(len(weight)):
            w, column = out.dtype.type(weight[k]), out[j + k, r0:r1]
            for r in range(len(line)):
                column[r] += w * line[r]


@_kernel
def adjoint_rows(out: NDArray, totals: NDArray, views: NDArray, taps: int, first_y: int, ny: int) -> None:
    """Add the transpose of `forward_views` to the volume rows `first_y` ... (y, x, z) of `ny`.

    `totals` (view, padded col, row + 1) float64 is the running total over the rows of the projections.
    """
    rows = totals.shape[2] - 1
    part, nx, nz = out.shape
    first, weight, band = np.empty(CHUNK, np.int32), np.empty((taps, CHUNK)), np.empty((2, CHUNK))
    bound, line = np.empty(nz + 1), np.empty(rows + 1)
    edge = views[0, 3]
    for begin in range(0, nx, CHUNK):
        count = min(CHUNK, nx - begin)
        x0 = (begin - 0.5 * (nx - 1)) * edge
        for v in range(len(totals)):
            for iy in range(part):
                y = (first_y + iy - 0.5 * (ny - 1)) * edge
                place_row(first, weight, band, views[v], y, x0, count, totals.shape[1] - 2 * taps)
                for i in range(count):
                    step = band[1, i]
                    start = band[0, i] - 0.5 * nz * step
                    r0, r1 = max(int(np.floor(start)), 0), min(int(np.ceil(start + nz * step)), rows)
                    if r1 <= r0:
                        continue
                    _gather(line[: r1 - r0 + 1], totals[v], first[i], r0, weight[:, i])
                    _sample(bound, line[: r1 - r0 + 1], start - r0, step)
                    column = out[iy, begin + i]
                    for z in range(nz):
                        column[z] += out.dtype.type(bound[z + 1] - bound[z])


@_kernel
def _gather(line: NDArray, image: NDArray, j: int, r0: int, weight: NDArray) -> None:
    """`line` (row): the columns of `image` (col, row) from column j and row r0 on, weighted and summed."""
    r1 = r0 + len(line)
    if len(weight) == 3:
        w0, w1, w2 = weight[0], weight[1], weight[2]
        near, middle, far = image[j, r0:r1], image[j + 1, r0:r1], image[j + 2, r0:r1]
        for r in range(len(line)):
            line[r] = w0 * near[r] + w1 * middle[r] + w2 * far[r]
    else:
        line[:] = 0.0
        for k in range(len(weight)):
            w, column = weight[k], image[j + k, r0:r1]
            for r in range(len(line)):
                line[r] += w * column[r]
