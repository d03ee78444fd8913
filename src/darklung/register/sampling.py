"""Values of a volume's features and their slopes at any places, in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from darklung.core.types import Image

Found = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Grid:
    """Features on a volume's grid, (z, y, x, feature) float32, and the way from places to indices."""

    values: NDArray[np.float32]
    to_index: NDArray[np.float64]
    origin_m: NDArray[np.float64]

    def at(self, position_m: NDArray[np.float64]) -> Found:
        """Features (point, feature) at places (point, 3), 0 outside, and their slopes [1/m] (point, feature, 3)."""
        index = (position_m - self.origin_m) @ self.to_index.T
        values, slopes = _trilinear(self.values, np.ascontiguousarray(index))
        return values, slopes @ self.to_index


def grid_of(image: Image, values: NDArray[np.float32]) -> Grid:
    """Features (feature, z, y, x) on the grid of an image."""
    to_index = np.asarray(image.direction).T / np.asarray(image.spacing_m)[:, None]
    return Grid(np.ascontiguousarray(np.moveaxis(values, 0, -1)), to_index, np.asarray(image.origin_m))


@njit(cache=True)
def _trilinear(values: Any, index: Any) -> Any:
    points, features = len(index), values.shape[3]
    found = np.zeros((points, features))
    slopes = np.zeros((points, features, 3))
    for p in range(points):
        low = np.floor(index[p])
        rest = index[p] - low
        for corner in range(8):
            a, b, c = (corner >> 2) & 1, (corner >> 1) & 1, corner & 1
            i, j, k = int(low[0]) + a, int(low[1]) + b, int(low[2]) + c
            if i < 0 or j < 0 or k < 0 or i >= values.shape[0] or j >= values.shape[1] or k >= values.shape[2]:
                continue
            wa = rest[0] if a else 1 - rest[0]
            wb = rest[1] if b else 1 - rest[1]
            wc = rest[2] if c else 1 - rest[2]
            for f in range(features):
                value = values[i, j, k, f]
                found[p, f] += wa * wb * wc * value
                slopes[p, f, 0] += (2 * a - 1) * wb * wc * value
                slopes[p, f, 1] += (2 * b - 1) * wa * wc * value
                slopes[p, f, 2] += (2 * c - 1) * wa * wb * value
    return found, slopes
