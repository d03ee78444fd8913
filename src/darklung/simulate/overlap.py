"""Exact shares of pixels and voxels inside intervals, half-planes, sectors and discs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from darklung.core.geometry import centred_axis

Field = NDArray[np.float64]

_ROUNDING = 1e-12  # what lies outside has none of a thing, not a little of it


def interval_share(count: int, voxel_m: float, low_m: float, high_m: float) -> Field:
    """Share of each of `count` voxels on a centred axis that lies between two places, (count,)."""
    start = centred_axis(count, voxel_m) - voxel_m / 2
    covered = np.minimum(start + voxel_m, high_m) - np.maximum(start, low_m)
    return np.asarray(np.clip(covered / voxel_m, 0, 1))


def plane_share(
    shape: tuple[int, int],
    voxel_m: float,
    *,
    sides: Sequence[tuple[float, float]] = (),
    radius_m: float = np.inf,
) -> Field:
    """Share of each pixel of a centred grid inside a disc about the middle and on one side of lines through it.

    Parameters
    ----------
    shape : (row, col)
    voxel_m : float
    sides : sequence of (row, col)
        Normals: a point p is inside where p · normal < 0 for all of them.
    radius_m : float
        Of the disc; none by default.

    Returns
    -------
    (row, col) float64
        Exact up to rounding: the pixel's square is cut to a polygon, whose part in the disc is a sum over its edges.
    """
    rows, cols = (centred_axis(n, voxel_m) / voxel_m for n in shape)
    out = np.empty(shape)
    normals = np.asarray(sides, dtype=np.float64).reshape(-1, 2)
    _plane_share(rows, cols, normals, min(radius_m / voxel_m, 1e6), out)
    return out


@njit(cache=True)
def _plane_share(rows, cols, normals, radius, out):  # type: ignore[no-untyped-def]
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    polygon, other = np.empty((16, 2)), np.empty((16, 2))
    for i in range(len(rows)):
        for j in range(len(cols)):
            count = 4
            for c in range(4):
                polygon[c, 0], polygon[c, 1] = rows[i] + corners[c, 0], cols[j] + corners[c, 1]
            for normal in normals:
                count = _cut(polygon, count, normal, other)
                polygon, other = other, polygon
            area = 0.0
            for c in range(count):
                area += _sector(polygon[c], polygon[(c + 1) % count], radius)
            out[i, j] = 0.0 if area < _ROUNDING else min(area, 1.0)


@njit(cache=True)
def _cut(polygon, count, normal, out):  # type: ignore[no-untyped-def]
    """The polygon's part where p · normal <= 0 (Sutherland & Hodgman 1974); how many corners it has."""
    made = 0
    for c in range(count):
        a, b = polygon[c], polygon[(c + 1) % count]
        at_a, at_b = a[0] * normal[0] + a[1] * normal[1], b[0] * normal[0] + b[1] * normal[1]
        if at_a <= 0:
            out[made, 0], out[made, 1] = a[0], a[1]
            made += 1
        if at_a * at_b < 0:
            part = at_a / (at_a - at_b)
            out[made, 0], out[made, 1] = a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1])
            made += 1
    return made


@njit(cache=True)
def _sector(a, b, radius):  # type: ignore[no-untyped-def]
    """Signed area of the triangle (0, a, b) inside a disc about 0."""
    step0, step1 = b[0] - a[0], b[1] - a[1]
    square = step0**2 + step1**2
    if square == 0:
        return 0.0
    middle = -(a[0] * step0 + a[1] * step1) / square
    reach = middle**2 - (a[0] ** 2 + a[1] ** 2 - radius**2) / square
    half = np.sqrt(max(reach, 0.0))
    first, last = min(max(middle - half, 0.0), 1.0), min(max(middle + half, 0.0), 1.0)
    p0, p1 = a[0] + first * step0, a[1] + first * step1
    q0, q1 = a[0] + last * step0, a[1] + last * step1
    turned = np.arctan2(a[0] * p1 - a[1] * p0, a[0] * p0 + a[1] * p1)
    turned += np.arctan2(q0 * b[1] - q1 * b[0], q0 * b[0] + q1 * b[1])
    return 0.5 * (p0 * q1 - p1 * q0 + radius**2 * turned)
