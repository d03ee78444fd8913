"""What a feature observer sees of a voxel: every channel at several scales, and how deep in the lung it lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

KINDS = ("smooth", "gradient", "laplacian")
LEAST_SIGMA = 0.5  # voxels: a finer Gaussian is the voxel itself, and reaches no voxel beside the region


@dataclass(frozen=True)
class Feature:
    """One number of a voxel.

    Parameters
    ----------
    channel : str
        Empty for the depth, which comes from the lung alone.
    kind : str
        ``depth``, ``value``, or one of `KINDS`.
    scale_m : float
        Standard deviation of the Gaussian [m]; 0 without one.
    """

    channel: str
    kind: str
    scale_m: float = 0.0

    @property
    def name(self) -> str:
        """As tables show it: ``attenuation: gradient, 0.4 mm``."""
        at = f", {1e3 * self.scale_m:g} mm" if self.scale_m else ""
        return f"{self.channel}: {self.kind}{at}" if self.channel else self.kind


def features_of(channels: Sequence[str], scales_m: Sequence[float]) -> tuple[Feature, ...]:
    """The features of an arm, in the order of `voxel_features`."""
    found = [Feature("", "depth")]
    for channel in channels:
        found.append(Feature(channel, "value"))
        found += [Feature(channel, kind, float(scale)) for scale in scales_m for kind in KINDS]
    return tuple(found)


def voxel_features(
    *,
    data: NDArray[np.float32],
    region: NDArray[np.bool_],
    lung: NDArray[np.bool_],
    spacing_m: Sequence[float],
    scales_m: Sequence[float],
) -> NDArray[np.float32]:
    """Features of the voxels of a region, (voxel, feature) float32, voxels in the order of ``np.flatnonzero(region)``.

    Of each channel its value and, at each scale σ, a Gaussian mean over the region alone (a normalised convolution: what
    lies beyond the region does not enter), σ times the length of that mean's gradient, and σ² times its Laplacian. No filter
    prefers an axis, so a mirrored or, on a cubic grid, turned image has the same features. The depth is the distance to the
    lung's surface [mm], negative outside.

    Parameters
    ----------
    data : (channel, *spatial) float32
        Normalised channels.
    region, lung : (*spatial) bool
    spacing_m : sequence of float
        One a spatial axis.
    scales_m : sequence of float
        Standard deviations of the Gaussians [m]; less than `LEAST_SIGMA` voxels are `LEAST_SIGMA` voxels.
    """
    columns = [depth_mm(lung, spacing_m)[region]]
    inside = region.astype(np.float32)
    weights = [_blurred(inside, scale, spacing_m) for scale in scales_m]
    for values in data:
        columns.append(values[region])
        for scale, weight in zip(scales_m, weights):
            blurred = _blurred(values * inside, scale, spacing_m)
            mean = np.divide(blurred, weight, out=np.zeros_like(blurred), where=weight > 1e-6)
            columns += [found[region] for found in _derivatives(mean, scale, spacing_m)]
    return np.ascontiguousarray(np.stack(columns, axis=1), dtype=np.float32)


def depth_mm(lung: NDArray[np.bool_], spacing_m: Sequence[float]) -> NDArray[np.float64]:
    """Distance to the surface of the lung [mm], negative outside, (*spatial); 0 where there is no surface."""
    if lung.all() or not lung.any():
        return np.zeros(lung.shape)
    step = [1e3 * d for d in spacing_m]
    inner, outer = (ndimage.distance_transform_edt(mask, sampling=step) for mask in (lung, ~lung))
    return np.asarray(inner - outer)


def _blurred(values: NDArray[np.float32], scale_m: float, spacing_m: Sequence[float]) -> NDArray[np.float32]:
    sigma = [max(scale_m / d, LEAST_SIGMA) for d in spacing_m]
    return np.asarray(ndimage.gaussian_filter(values, sigma, mode="constant"))


def _derivatives(mean: NDArray, scale_m: float, spacing_m: Sequence[float]) -> Iterator[NDArray]:
    """The mean, its gradient's length times σ, and its Laplacian times σ²."""
    yield mean
    squared, second = np.zeros_like(mean), np.zeros_like(mean)
    for axis, step in enumerate(spacing_m):
        ratio = scale_m / step
        squared += (ratio * ndimage.correlate1d(mean, [-0.5, 0.0, 0.5], axis=axis, mode="nearest")) ** 2
        second += ratio**2 * ndimage.correlate1d(mean, [1.0, -2.0, 1.0], axis=axis, mode="nearest")
    yield np.sqrt(squared)
    yield second
