"""Local contrast: what lies here against the lung around it."""

from __future__ import annotations

import numpy as np

from darklung.core.checks import check_positive, require
from darklung.features.layers import LEAST_WEIGHT, Layer, Mask, Place, Values, convolved, kernels_of, local_mean, variance_of

# Diameter over the standard deviation of a Gaussian as wide: a disc's own is a quarter of its diameter along each axis.
DIAMETER_SD = 4.0
SURROUND = 3.0


def contrast(layer: Layer, size_m: float, surround_m: float | None = None, *, place: Place) -> Layer:
    """Mean over a spot of diameter `size_m` less the mean of the lung within `surround_m` of it, in the channel's unit.

    Both are Gaussian means (σ a quarter of the diameter) by normalised convolution: the spot's over the search region, the
    surroundings' over the lung, so that nothing else leaks in. The error is that of independent voxels, exactly; neighbours
    of a filtered backprojection are anticorrelated, and the true error of a mean is then smaller. Where a voxel of either
    mean tells no error, the contrast has none.

    Parameters
    ----------
    layer : Layer
    size_m, surround_m : float
        Diameters [m]; the surroundings are three times the spot if not given.
    place : Place

    Raises
    ------
    DarklungError
        Surroundings that are not wider than the spot.
    """
    surround = SURROUND * size_m if surround_m is None else surround_m
    check_positive("contrast: size", size_m)
    require(surround > size_m, f"contrast: wanted surroundings wider than {1e3 * size_m:g} mm, got {1e3 * surround:g} mm")
    spot, around = (kernels_of(d / DIAMETER_SD, place.spacing_m) for d in (size_m, surround))
    near, near_weight = local_mean(layer.values, place.inside, spot)
    far, far_weight = local_mean(layer.values, place.lung, around)
    found = near - far
    if layer.noise is None:
        return Layer(found, layer.unit)
    used = [where & layer.known for where in (place.inside, place.lung)]
    variance = _variance(variance_of(layer.noise), used, [spot, around], [near_weight, far_weight])
    return Layer(found, layer.unit, np.where(np.isfinite(found), np.sqrt(np.maximum(variance, 0.0)), np.nan))


def _variance(each: Values, used: list[Mask], kernels: list[list[Values]], weight: list[Values]) -> Values:
    """Of the difference of two weighted means of independent values: Σ (w_near − w_far)² σ²."""
    near, far = (np.where(w > LEAST_WEIGHT, w, np.nan) for w in weight)
    spot, around = kernels
    own = convolved(np.where(used[0], each, 0.0), [k**2 for k in spot]) / near**2
    other = convolved(np.where(used[1], each, 0.0), [k**2 for k in around]) / far**2
    both = [a * _middle(b, len(a)) for a, b in zip(spot, around)]
    shared = convolved(np.where(used[0] & used[1], each, 0.0), both) / (near * far)
    return np.asarray(own + other - 2 * shared)


def _middle(kernel: Values, count: int) -> Values:
    """The `count` middle weights of a kernel that is at least as long."""
    spare = (len(kernel) - count) // 2
    return kernel[spare : spare + count]
