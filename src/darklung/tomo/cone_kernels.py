"""Separable footprints of a circular cone beam: the numba kernels under `darklung.tomo.cone`.

Volumes are (y, x, z), projections (view, col, row), so that all inner loops run over contiguous numbers. A column of voxels
is first resampled to detector rows (one magnification for it all), then spread over the few pixel columns of its shadow.
Weights are float64; every kernel writes to its own part of the output in a fixed order.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_kernel = numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz"})

# Numbers of one view, in pixels: cos θ, sin θ, source distance, voxel edge, axis column, axis row, cos τ, sin τ.
VIEW_NUMBERS = 8


@_kernel
def _rises(x: float, low: float, high: float) -> float:
    """Integral up to x of a ramp that is 0 before `low` and 1 after `high`."""
    if x <= low:
        return 0.0
    if x >= high:
        return x - 0.5 * (low + high)
    return 0.5 * (x - low) ** 2 / (high - low)


@_kernel
def place_column(corner: NDArray, view: NDArray, y: float, x: float) -> tuple[float, float, float, float]:
    """Shadow of the voxel column at (y, x) [pixels from the axis]: its four edges go to `corner`, ascending.

    Returns u of the middle, magnification at the middle, in-plane path through a voxel, and distance from source to middle.
    """
    cos, sin, source, edge = view[0], view[1], view[2], view[3]
    s, t = x * cos + y * sin, y * cos - x * sin
    for i in range(4):
        dx, dy = (0.5 * edge if i % 2 else -0.5 * edge), (0.5 * edge if i > 1 else -0.5 * edge)
        u = (s + dx * cos + dy * sin) * source / (source + t + dy * cos - dx * sin)
        j = i
        while j > 0 and corner[j - 1] > u:
            corner[j] = corner[j - 1]
            j -= 1
        corner[j] = u
    magnification = source / (source + t)
    distance = np.sqrt((source + t) ** 2 + s * s)
    # Direction of the ray through the middle, against the voxel's faces: the longest path through it.
    ray_x, ray_y = (s * cos - (source + t) * sin) / distance, (s * sin + (source + t) * cos) / distance
    return s * magnification, magnification, edge / max(abs(ray_x), abs(ray_y)), distance


@_kernel
def column_weights(weight: NDArray, corner: NDArray, shift: float, cols: int) -> tuple[int, int]:
    """Mean height of the trapezoid over each pixel that it touches; returns the first pixel and how many there are."""
    first = int(np.floor(corner[0] + shift + 0.5))
    last = int(np.floor(corner[3] + shift + 0.5))
    before = 0.0
    start = max(first, 0)
    count = min(last, cols - 1) - start + 1
    if count <= 0:
        return 0, 0
    x = start - 0.5 - shift
    before = _rises(x, corner[0], corner[1]) - _rises(x, corner[2], corner[3])
    for k in range(count):
        x = start + k + 0.5 - shift
        after = _rises(x, corner[0], corner[1]) - _rises(x, corner[2], corner[3])
        weight[k] = after - before
        before = after
    return start, count


@_kernel
def _row_range(view: NDArray, u: float, magnification: float, z0: float, nz: int, rows: int) -> tuple[int, int]:
    edge, middle = view[3], view[5] - u * view[7]
    a = (z0 - 0.5 * edge) * magnification * view[6] + middle
    b = (z0 + (nz - 0.5) * edge) * magnification * view[6] + middle
    return max(int(np.floor(a + 0.5)), 0), min(int(np.floor(b + 0.5)), rows - 1)


@_kernel
def _oblique(line: NDArray, z0: float, edge: float, distance: float) -> None:
    """How much longer than in the plane the path through each voxel (z) is."""
    for z in range(len(line)):
        slope = (z0 + z * edge) / distance
        line[z] = np.sqrt(1.0 + slope * slope)


@_kernel
def _between(total: NDArray, low: float, high: float) -> float:
    """Integral from `low` to `high` of a piecewise constant function, from its running `total` at 0, 1, 2, ..."""
    end = len(total) - 1.0
    low, high = min(max(low, 0.0), end), min(max(high, 0.0), end)
    i, j = min(int(low), len(total) - 2), min(int(high), len(total) - 2)
    return (total[j] + (high - j) * (total[j + 1] - total[j])) - (total[i] + (low - i) * (total[i + 1] - total[i]))


@_kernel
def _to_rows(line: NDArray, total: NDArray, values: NDArray, path: NDArray, start: float, step: float, first: int) -> None:
    """Rows, from `first`, of a column of voxels (z): overlap with each voxel's shadow times its path."""
    for z in range(len(values)):
        total[z + 1] = values[z] * path[z]
    total[0] = 0.0
    for z in range(len(values)):
        total[z + 1] += total[z]
    for r in range(len(line)):
        low = (first + r - start) / step
        line[r] = line.dtype.type(step * _between(total, low, low + 1.0 / step))


@_kernel
def _from_rows(values: NDArray, line: NDArray, total: NDArray, path: NDArray, start: float, step: float, first: int) -> None:
    """The transpose of `_to_rows`: add to `values` (z)."""
    rows = len(line)
    total[0] = 0.0
    for r in range(rows):
        total[r + 1] = total[r] + line[r]
    for z in range(len(values)):
        low = start + z * step - first
        values[z] += values.dtype.type(path[z] * _between(total[: rows + 1], low, low + step))


@_kernel
def forward_view(out: NDArray, volume: NDArray, view: NDArray) -> None:
    """Add the projection of `volume` (y, x, z) to `out` (col, row) of one view."""
    cols, rows = out.shape
    ny, nx, nz = volume.shape
    edge = view[3]
    z0 = -0.5 * (nz - 1) * edge
    corner, weight, line = np.empty(4), np.empty(cols), np.zeros(rows, out.dtype)
    path, total = np.empty(nz), np.empty(nz + 1)
    for iy in range(ny):
        y = (iy - 0.5 * (ny - 1)) * edge
        for ix in range(nx):
            u, magnification, plane, distance = place_column(corner, view, y, (ix - 0.5 * (nx - 1)) * edge)
            r0, r1 = _row_range(view, u, magnification, z0, nz, rows)
            if r1 < r0:
                continue
            step = edge * magnification * view[6]
            start = (z0 - 0.5 * edge) * magnification * view[6] + view[5] - u * view[7] + 0.5
            _oblique(path, z0, edge, distance)
            _to_rows(line[r0 : r1 + 1], total, volume[iy, ix], path, start, step, r0)
            if view[7] == 0.0:
                begin, count = column_weights(weight, corner, view[4], cols)
                for k in range(count):
                    w = out.dtype.type(weight[k] * plane)
                    for r in range(r0, r1 + 1):
                        out[begin + k, r] += w * line[r]
            else:
                for r in range(r0, r1 + 1):
                    begin, count = column_weights(weight, corner, _tilted(view, u, r), cols)
                    for k in range(count):
                        out[begin + k, r] += out.dtype.type(weight[k] * plane * line[r])


@_kernel
def adjoint_rows(out: NDArray, projections: NDArray, views: NDArray, first_y: int, ny: int) -> None:
    """The transpose for the volume rows `first_y` ... (y, x, z) of `ny`, summed over all views (view, col, row)."""
    cols, rows = projections.shape[1:]
    part, nx, nz = out.shape
    corner, weight, line = np.empty(4), np.empty(cols), np.zeros(rows, out.dtype)
    path, total = np.empty(nz), np.empty(rows + 1)
    for v in range(len(projections)):
        view = views[v]
        edge = view[3]
        z0 = -0.5 * (nz - 1) * edge
        for iy in range(part):
            y = (first_y + iy - 0.5 * (ny - 1)) * edge
            for ix in range(nx):
                u, magnification, plane, distance = place_column(corner, view, y, (ix - 0.5 * (nx - 1)) * edge)
                r0, r1 = _row_range(view, u, magnification, z0, nz, rows)
                if r1 < r0:
                    continue
                line[r0 : r1 + 1] = 0
                if view[7] == 0.0:
                    begin, count = column_weights(weight, corner, view[4], cols)
                    for k in range(count):
                        w = out.dtype.type(weight[k] * plane)
                        for r in range(r0, r1 + 1):
                            line[r] += w * projections[v, begin + k, r]
                else:
                    for r in range(r0, r1 + 1):
                        begin, count = column_weights(weight, corner, _tilted(view, u, r), cols)
                        for k in range(count):
                            line[r] += out.dtype.type(weight[k] * plane * projections[v, begin + k, r])
                step = edge * magnification * view[6]
                start = (z0 - 0.5 * edge) * magnification * view[6] + view[5] - u * view[7] + 0.5
                _oblique(path, z0, edge, distance)
                _from_rows(out[iy, ix], line[r0 : r1 + 1], total, path, start, step, r0)


@_kernel
def _tilted(view: NDArray, u: float, row: int) -> float:
    """Where u = 0 of the corners falls in this row, so that the middle of the shadow lands at u cos τ + w sin τ."""
    w = (row - view[5] + u * view[7]) / view[6]
    return view[4] + w * view[7] + u * (view[6] - 1.0)


@_kernel
def back_project_rows(out: NDArray, filtered: NDArray, views: NDArray, first_y: int, ny: int) -> None:
    """FDK: add (R / (R + t))² × the filtered value under each voxel's middle, bilinear; arrays as in `adjoint_rows`.

    Values beyond the detector count as zero. A tilt moves the columns along a line, which only `_pixel` follows.
    """
    cols, rows = filtered.shape[1:]
    part, nx, nz = out.shape
    line = np.zeros(rows + 2, out.dtype)  # with a zero on either side
    for v in range(len(filtered)):
        cos, sin, source, edge, axis_col, axis_row, turn_cos, turn_sin = views[v]
        for iy in range(part):
            y = (first_y + iy - 0.5 * (ny - 1)) * edge
            for ix in range(nx):
                x = (ix - 0.5 * (nx - 1)) * edge
                m = source / (source + y * cos - x * sin)
                u = (x * cos + y * sin) * m
                low, step = -0.5 * (nz - 1) * edge * m, edge * m
                square = out.dtype.type(m * m)
                if turn_sin != 0.0:
                    for iz in range(nz):
                        w = low + iz * step
                        col, row = axis_col + u * turn_cos + w * turn_sin, axis_row + w * turn_cos - u * turn_sin
                        out[iy, ix, iz] += square * _pixel(filtered[v], col, row)
                    continue
                if axis_col + u <= -1 or axis_col + u >= cols:
                    continue
                _column(line, filtered[v], axis_col + u)
                for iz in range(nz):
                    row = min(max(axis_row + low + iz * step + 1, 0.0), rows + 1.0)
                    i = min(int(row), rows)
                    a = out.dtype.type(row - i)
                    out[iy, ix, iz] += square * (line[i] + a * (line[i + 1] - line[i]))


@_kernel
def _column(line: NDArray, image: NDArray, col: float) -> None:
    """`image` (col, row) at a column between two: `line` (row + 1)."""
    i = int(np.floor(col))
    a = line.dtype.type(col - i)
    line[1:-1] = 0
    if i >= 0:
        line[1:-1] += (1 - a) * image[i]
    if i + 1 < len(image):
        line[1:-1] += a * image[i + 1]


@_kernel
def _pixel(image: NDArray, col: float, row: float) -> float:
    """`image` (col, row) between four pixels, zero beyond the edge."""
    i, j = int(np.floor(col)), int(np.floor(row))
    total = 0.0
    for di in range(2):
        for dj in range(2):
            if 0 <= i + di < image.shape[0] and 0 <= j + dj < image.shape[1]:
                total += (1 - abs(col - i - di)) * (1 - abs(row - j - dj)) * image[i + di, j + dj]
    return total
