"""What the detection heads learn: where the middle of each lesion is, how large it is, and of what nothing is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.types import UNKNOWN
from darklung.learn.data import Case

ROWS = ("centre", "diameter", "seen", "unknown")
MM = 1e-3
SMALL = 0.01  # a heat below this is none


def centre_maps(case: Case) -> NDArray[np.float32]:
    """Maps of the lesions of a case, (4, *spatial): heat, log of the diameter, what is seen of both, what is unknown.

    The heat is 1 at the lesion's voxel next to the middle of its voxels, and falls as a Gaussian of a quarter of the
    lesion's diameter, at least one voxel. The diameter [log of mm] is that of the sphere (disc) of the same size, on the
    lesion's voxels. A lesion that touches unknown voxels may be larger than what is known of it: around it nothing is seen.
    Unknown are voxels of the region whose label is not known.
    """
    structure = ndimage.generate_binary_structure(case.target.ndim, case.target.ndim)
    numbers, count = ndimage.label(case.lesion, structure)
    near = ndimage.binary_dilation(case.target == UNKNOWN, structure)
    heat = np.zeros(case.target.shape)
    diameter = np.zeros(case.target.shape)
    seen = case.counted.copy()
    for number in range(1, count + 1):
        voxels = numbers == number
        size_m = _diameter_m(int(voxels.sum()), case.image.spacing_m)
        box, own = _heat(np.argwhere(voxels), size_m, case.image.spacing_m, heat.shape)
        heat[box] = np.maximum(heat[box], own)
        diameter[voxels] = np.log(size_m / MM)
        if (voxels & near).any():
            seen[box] &= own == 0
            seen[voxels] = False
    unknown = case.region & (case.target == UNKNOWN)
    return np.stack([heat, diameter, seen, unknown]).astype(np.float32)


def _diameter_m(voxels: int, spacing_m: Sequence[float]) -> float:
    size = voxels * float(np.prod(spacing_m))
    return float(np.cbrt(6 * size / np.pi) if len(spacing_m) == 3 else np.sqrt(4 * size / np.pi))


def _heat(
    voxels: NDArray[np.int64], size_m: float, spacing_m: Sequence[float], shape: Sequence[int]
) -> tuple[tuple[slice, ...], NDArray[np.float64]]:
    """The box around a lesion's middle, and the heat in it."""
    spacing = np.asarray(spacing_m)
    middle = voxels[np.argmin((((voxels - voxels.mean(axis=0)) * spacing) ** 2).sum(axis=1))]
    sigma = max(size_m / 4, float(spacing.max()))
    reach = np.ceil(sigma * np.sqrt(-2 * np.log(SMALL)) / spacing).astype(int)
    low, high = np.maximum(middle - reach, 0), np.minimum(middle + reach + 1, shape)
    axes = [((np.arange(a, b) - m) * d) ** 2 for a, b, m, d in zip(low, high, middle, spacing)]
    squares = sum(np.meshgrid(*axes, indexing="ij", sparse=True))
    heat = np.exp(-squares / (2 * sigma**2))
    return tuple(slice(a, b) for a, b in zip(low, high)), np.where(heat < SMALL, 0.0, heat)
