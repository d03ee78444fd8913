"""One channel while others are made of it, and means of it inside the lung that know nothing of what is outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

# A mean of less than this share of a whole neighbourhood is none.
LEAST_WEIGHT = 1e-3
REACH_SD = 4.0  # of a Gaussian


@dataclass(frozen=True)
class Layer:
    """Values of a channel with their unit, and their standard error where it is known.

    Parameters
    ----------
    values : (*spatial) float64
        NaN where there is none.
    unit : str
    noise : (*spatial) float64, optional
        Standard error, in the same unit.
    """

    values: Values
    unit: str = "1"
    noise: Values | None = None

    @property
    def known(self) -> Mask:
        """Where there is a value, (*spatial)."""
        return np.isfinite(self.values)


@dataclass(frozen=True)
class Place:
    """Where a channel is made: one subject's lung and what is known of its scan.

    Parameters
    ----------
    lung : (*spatial) bool
        What is compared with: parenchyma and all that lies in it.
    region : (*spatial) bool
        Where values count: the search region. Nothing outside it and the lung is looked at.
    spacing_m : tuple of float
    seed : int
        Of the control channel; the subject's own.
    energy_kev, correlation_length_m : float, optional
        That values refer to; None where nobody told.
    stored : mapping
        Layers that a map reads beside its arguments, by name.
    """

    lung: Mask
    region: Mask
    spacing_m: tuple[float, ...]
    seed: int = 0
    energy_kev: float | None = None
    correlation_length_m: float | None = None
    stored: Mapping[str, Layer] = field(default_factory=dict)

    @property
    def inside(self) -> Mask:
        """Lung and search region together, (*spatial)."""
        return np.asarray(self.lung | self.region)


def variance_of(noise: Values) -> Values:
    """σ², NaN where no finite error is told: what is made of such a voxel has no error either."""
    return np.where(np.isfinite(noise), noise, np.nan) ** 2


def weights(sigma_voxels: float) -> Values:
    """A Gaussian's weights on whole voxels, their sum 1."""
    reach = int(REACH_SD * sigma_voxels + 0.5)
    at = np.arange(-reach, reach + 1)
    found = np.exp(-0.5 * (at / sigma_voxels) ** 2) if reach else np.ones(1)
    return np.asarray(found / found.sum())


def convolved(values: Values, kernels: Sequence[Values]) -> Values:
    """One kernel along each axis; beyond the grid there is nothing."""
    out = values
    for axis, kernel in enumerate(kernels):
        out = ndimage.correlate1d(out, kernel, axis=axis, mode="constant") if len(kernel) > 1 else out * kernel[0]
    return np.asarray(out, dtype=np.float64)


def kernels_of(sigma_m: float, spacing_m: Sequence[float]) -> list[Values]:
    """`weights` along each axis."""
    return [weights(sigma_m / d) for d in spacing_m]


def local_mean(values: Values, where: Mask, kernels: Sequence[Values]) -> tuple[Values, Values]:
    """Mean over the voxels of `where` that have a value, and the weight that it rests on; NaN without any.

    Normalised convolution (Knutsson & Westin 1993, doi:10.1109/CVPR.1993.341081): what is not in `where` has no influence.

    Parameters
    ----------
    values : (*spatial) float64
    where : (*spatial) bool
    kernels : sequence of (odd,) arrays
        One an axis, of sum 1.
    """
    used = where & np.isfinite(values)
    weight = convolved(used.astype(np.float64), kernels)
    total = convolved(np.where(used, values, 0.0), kernels)
    enough = weight > LEAST_WEIGHT
    return np.where(enough, total / np.where(enough, weight, 1.0), np.nan), weight


def continued(values: Values, where: Mask, spacing_m: Sequence[float]) -> Values:
    """Values with those outside `where` replaced by means of what is inside, near ones first, so that no edge is left.

    Means over twice the radius at each turn fill what the ones before did not reach; all NaN where nothing is inside.
    """
    used = where & np.isfinite(values)
    if not used.any():
        return np.full(values.shape, np.nan)
    out = np.where(used, values, np.nan)
    sigma = max(spacing_m)
    while (absent := ~np.isfinite(out)).any() and sigma < 2 * max(n * d for n, d in zip(values.shape, spacing_m)):
        mean, _ = local_mean(values, used, kernels_of(sigma, spacing_m))
        out[absent] = mean[absent]
        sigma *= 2
    return np.where(np.isfinite(out), out, float(values[used].mean()))
