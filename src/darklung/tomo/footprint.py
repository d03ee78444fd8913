"""Area-weighted voxel footprints of a parallel beam: the numba kernels under `darklung.tomo.projector`.

Bulk arrays are cut into blocks of neighbouring slices with z innermost: volumes (block, y, x, z), projections
(block, view, padded col, z). All slices of a block share the weights, and the innermost loop runs over contiguous numbers.
Every kernel writes to its own part of the output in a fixed order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

# Contraction (fused multiply-add) is the only liberty taken: sums keep their order.
_kernel = numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz"})


@_kernel
def row_weights(first: NDArray, weight: NDArray, start: float, step: float, wide: float, thin: float, cols: int) -> None:
    """Columns and shares of a row of voxels.

    Voxel i has its centre at column ``start + i * step`` and a footprint that is a box of width `wide` convolved with a
    box of width `thin` (in columns). Its share in padded column ``first[i] + k`` is ``weight[k, i]``; shares sum to 1.
    `first` counts columns from ``-taps``, so that voxels beside the detector fall into the padding.
    """
    taps, count = weight.shape
    cast = weight.dtype.type
    half, flat = cast(0.5 * (wide + thin)), cast(0.5 * (wide - thin))
    tail, height = cast(0.5 / (wide * thin)), cast(1.0 / wide)
    middle, one, nought = cast(0.5), cast(1.0), cast(0.0)
    lowest = 0.5 - 0.5 * (wide + thin)
    for i in range(count):
        centre = start + i * step
        low = np.floor(centre + lowest)
        first[i] = np.int32(min(max(low, -1.0 * taps), 1.0 * cols)) + np.int32(taps)
        weight[taps - 1, i] = cast(low + 0.5 - centre)  # the first column's upper edge, from the footprint's middle
    for k in range(taps - 1):
        for i in range(count):  # share of the footprint below the upper edge of tap k
            offset = weight[taps - 1, i] + cast(k)
            size = abs(offset)
            rest = max(half - size, nought)
            slope = middle - tail * rest * rest if size > flat else height * size
            weight[k, i] = middle + slope if offset > nought else middle - slope
    for i in range(count):
        weight[taps - 1, i] = one - weight[taps - 2, i]
    for k in range(taps - 2, 0, -1):
        for i in range(count):
            weight[k, i] -= weight[k - 1, i]


@_kernel
def forward_block(out: NDArray, volume: NDArray, placement: NDArray, taps: int, cols: int) -> None:
    """Add the projections of one z block: `volume` (y, x, z) into `out` (view, padded col, z).

    `placement` (view, 5) holds for each view the column of voxel (0, 0), the steps in columns per x and per y, and the
    widths of the two boxes.
    """
    ny, nx, nz = volume.shape
    first = np.empty(nx, np.int32)
    weight = np.empty((taps, nx), volume.dtype)
    for y in range(ny):
        for v in range(len(out)):
            start, dx, dy, wide, thin = placement[v]
            row_weights(first, weight, start + y * dy, dx, wide, thin, cols)
            for x in range(nx):
                j = first[x]
                if taps == 3:
                    w0, w1, w2 = weight[0, x], weight[1, x], weight[2, x]
                    for z in range(nz):
                        value = volume[y, x, z]
                        out[v, j, z] += w0 * value
                        out[v, j + 1, z] += w1 * value
                        out[v, j + 2, z] += w2 * value
                else:
                    for k in range(taps):
                        w = weight[k, x]
                        for z in range(nz):
                            out[v, j + k, z] += w * volume[y, x, z]


@_kernel
def adjoint_block(out: NDArray, projections: NDArray, placement: NDArray, taps: int, cols: int) -> None:
    """Add the transposed projections of one z block: `projections` (view, padded col, z) into rows `out` (y, x, z)."""
    ny, nx, nz = out.shape
    first = np.empty(nx, np.int32)
    weight = np.empty((taps, nx), out.dtype)
    for v in range(len(projections)):
        start, dx, dy, wide, thin = placement[v]
        for y in range(ny):
            row_weights(first, weight, start + y * dy, dx, wide, thin, cols)
            for x in range(nx):
                j = first[x]
                if taps == 3:
                    w0, w1, w2 = weight[0, x], weight[1, x], weight[2, x]
                    for z in range(nz):
                        out[y, x, z] += (
                            w0 * projections[v, j, z] + w1 * projections[v, j + 1, z] + w2 * projections[v, j + 2, z]
                        )
                else:
                    for k in range(taps):
                        w = weight[k, x]
                        for z in range(nz):
                            out[y, x, z] += w * projections[v, j + k, z]


@_kernel
def scatter_columns(out: NDArray, values: NDArray, columns: NDArray, placement: NDArray, taps: int, cols: int) -> None:
    """Add z-columns `values` (column, z) at `columns` (column, (y, x)) into one view `out` (padded col, z)."""
    first = np.empty(1, np.int32)
    weight = np.empty((taps, 1), out.dtype)
    start, dx, dy, wide, thin = placement
    for c in range(len(columns)):
        middle = start + columns[c, 0] * dy + columns[c, 1] * dx
        row_weights(first, weight, middle, dx, wide, thin, cols)
        j = first[0]
        if taps == 3:
            w0, w1, w2 = weight[0, 0], weight[1, 0], weight[2, 0]
            for z in range(values.shape[1]):
                value = values[c, z]
                out[j, z] += w0 * value
                out[j + 1, z] += w1 * value
                out[j + 2, z] += w2 * value
        else:
            for k in range(taps):
                w = weight[k, 0]
                for z in range(values.shape[1]):
                    out[j + k, z] += w * values[c, z]


@_kernel
def square_block(out: NDArray, lagged: NDArray, placement: NDArray, cols: int) -> None:
    """Add Σ over views of Σ_kl share_k share_l C[j + k, |k − l|] into rows `out` (y, x, z) of one z block.

    `lagged` (view, padded col, lag, z) is the covariance of neighbouring columns, ``C[j, m] = cov(q_j, q_{j+m})``; there
    are as many lags as taps.
    """
    ny, nx, nz = out.shape
    taps = lagged.shape[2]
    first = np.empty(nx, np.int32)
    weight = np.empty((taps, nx), out.dtype)
    for v in range(len(lagged)):
        start, dx, dy, wide, thin = placement[v]
        for y in range(ny):
            row_weights(first, weight, start + y * dy, dx, wide, thin, cols)
            for x in range(nx):
                j = first[x]
                if taps == 3:
                    w0, w1, w2 = weight[0, x], weight[1, x], weight[2, x]
                    v0, v1, v2 = w0 * w0, w1 * w1, w2 * w2
                    v01, v12, v02 = 2 * w0 * w1, 2 * w1 * w2, 2 * w0 * w2
                    for z in range(nz):
                        near = v0 * lagged[v, j, 0, z] + v1 * lagged[v, j + 1, 0, z] + v2 * lagged[v, j + 2, 0, z]
                        far = v01 * lagged[v, j, 1, z] + v12 * lagged[v, j + 1, 1, z] + v02 * lagged[v, j, 2, z]
                        out[y, x, z] += near + far
                else:
                    for k in range(taps):
                        for m in range(taps - k):
                            w = weight[k, x] * weight[k + m, x] * (1 if m == 0 else 2)
                            for z in range(nz):
                                out[y, x, z] += w * lagged[v, j + k, m, z]
