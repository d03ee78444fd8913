"""Fine structure of measured lung that goes with what a lesion replaces, while the scan's noise stays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import check_shape

TEXTURE_M = 0.25e-3  # lung's texture coarser than this (standard deviation of a Gaussian) is replaced by itself
SHELL_M = 3e-3  # tissue within this distance of the lungs tells the noise
TISSUE_WIDTH = 0.1  # of its attenuation, smoothed
LEAST_VOXELS = 500
VESSEL = 3.0  # residuals beyond so many standard deviations are vessels, which stay


def tissue_noise(attenuation: NDArray, region: NDArray[np.bool_], *, tissue_per_m: float, voxel_m: float) -> float | None:
    """Noise of a reconstruction from its even soft tissue beside the lungs; None where there is too little of it.

    Standard deviation (by the median, 1/m) of what a Gaussian mean of `TEXTURE_M` leaves there.

    Parameters
    ----------
    attenuation : (z, y, x) array [1/m]
    region : (z, y, x) bool
        Lung.
    tissue_per_m, voxel_m : float
    """
    check_shape("region", region, "z, y, x", attenuation.shape)
    away = ndimage.distance_transform_edt(~region) * voxel_m
    level = ndimage.gaussian_filter(np.nan_to_num(attenuation), TEXTURE_M / voxel_m)
    even = (away > 3 * voxel_m) & (away < SHELL_M) & (np.abs(level - tissue_per_m) < TISSUE_WIDTH * tissue_per_m)
    inner = ndimage.binary_erosion(even)
    if int(inner.sum()) < LEAST_VOXELS:
        return None
    return _spread(_residual(attenuation, even, voxel_m)[inner])


def fine_texture(values: NDArray, region: NDArray[np.bool_], *, noise_per_m: float, voxel_m: float) -> NDArray[np.float64]:
    """What to take away where lung is replaced, so that only as much fine structure stays as the scan has noise.

    The residual r of a Gaussian mean holds noise and texture, which cannot be told apart voxel by voxel; taking away
    (1 − σ_noise/σ_r) r leaves a residual with the standard deviation of the noise. Not modelled: noise that differs from
    place to place, and that what stays is correlated as texture is.

    Parameters
    ----------
    values : (z, y, x) array [1/m]
    region : (z, y, x) bool
        Lung; 0 outside it.
    noise_per_m : float
        Standard deviation of a voxel.
    voxel_m : float

    Returns
    -------
    (z, y, x) float64 array [1/m]
    """
    check_shape("region", region, "z, y, x", values.shape)
    residual = _residual(values, region, voxel_m)
    spread = _spread(residual[region])
    share = max(0.0, 1 - noise_per_m / spread) if spread > 0 else 0.0
    return np.where(region, share * np.clip(residual, -VESSEL * spread, VESSEL * spread), 0.0)


def _residual(values: NDArray, inside: NDArray[np.bool_], voxel_m: float) -> NDArray[np.float64]:
    """Values less their Gaussian mean over the voxels `inside`."""
    known, sigma = inside.astype(np.float64), TEXTURE_M / voxel_m
    weight = np.maximum(ndimage.gaussian_filter(known, sigma), 1e-6)
    filled = np.nan_to_num(values).astype(np.float64)
    return np.asarray(filled - ndimage.gaussian_filter(filled * known, sigma) / weight)


def _spread(values: NDArray) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
