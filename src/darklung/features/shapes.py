"""Blobs and vessels by the second derivatives of a channel, at one size or the best of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import check_positive, require
from darklung.features.layers import REACH_SD, Layer, Place, Values, continued

# Sizes between the smallest and the largest grow by this factor at most.
STEP = 2**0.5
Response = Callable[[Values], Values]


def blobness(layer: Layer, size_m: float, largest_m: float | None = None, *, place: Place) -> Layer:
    """How much a voxel is the middle of a ball (a disc in two dimensions) of this diameter, in the channel's unit.

    |λ₃|²/|λ₁| of the Hessian's eigenvalues, |λ₁| ≥ |λ₂| ≥ |λ₃|, times σ², where all are negative (a bright blob: positive
    values) or all positive (a dark one: negative values), else 0; in two dimensions |λ₂|²/|λ₁|. σ = r/√dims, at which a ball
    of radius r answers most (Lindeberg 1998, doi:10.1023/A:1008045108935).
    Li, Sone & Doi 2003, doi:10.1118/1.1581411.

    Parameters
    ----------
    layer : Layer
    size_m, largest_m : float
        Diameter [m]; with a largest one the strongest answer of all sizes between, a factor of √2 or less apart.
    place : Place
        What is outside lung and search region is replaced by means of what is inside.
    """
    return _strongest(layer, _sizes("blobness", size_m, largest_m), place, _ball, float(np.sqrt(layer.values.ndim)))


def vesselness(layer: Layer, size_m: float, largest_m: float | None = None, *, place: Place) -> Layer:
    """How much a voxel is in the middle of a tube of this diameter, in the channel's unit.

    |λ₂|(|λ₂| − |λ₃|)/|λ₁| times σ² where λ₁ and λ₂ are negative (bright tubes: positive values) or positive (dark ones:
    negative values), else 0; in two dimensions |λ₁| − |λ₂| with λ₁ alone. σ = r/√2. Li, Sone & Doi 2003,
    doi:10.1118/1.1581411; arguments as in `blobness`.
    """
    return _strongest(layer, _sizes("vesselness", size_m, largest_m), place, _tube, float(np.sqrt(2)))


def _sizes(name: str, size_m: float, largest_m: float | None) -> list[float]:
    check_positive(f"{name}: size", size_m)
    if largest_m is None:
        return [size_m]
    require(largest_m > size_m, f"{name}: wanted a largest size above {1e3 * size_m:g} mm, got {1e3 * largest_m:g} mm")
    count = int(np.ceil(np.log(largest_m / size_m) / np.log(STEP) - 1e-9)) + 1
    return [float(s) for s in np.geomspace(size_m, largest_m, count)]


def _strongest(layer: Layer, sizes_m: list[float], place: Place, response: Response, root: float) -> Layer:
    """The answer of the largest amount over the sizes, inside lung and search region."""
    inside = place.inside & layer.known
    best = np.zeros(int(inside.sum()))
    # The grid's border is no border of the lung: what is continued goes on beyond it, so that no crop changes the answer.
    reach = [int(np.ceil(REACH_SD * max(sizes_m) / 2 / root / d)) + 1 for d in place.spacing_m]
    around = [(r, r) for r in reach]
    wide = np.pad(inside, around)
    smooth = continued(np.pad(layer.values, around), wide, place.spacing_m)
    for sigma in (size / 2 / root for size in sizes_m):
        found = sigma**2 * _signed(_eigenvalues(smooth, sigma, place.spacing_m, wide), response)
        best = np.where(np.abs(found) > np.abs(best), found, best)
    out = np.full(layer.values.shape, np.nan)
    out[inside] = best
    return Layer(out, layer.unit)


def _eigenvalues(values: Values, sigma_m: float, spacing_m: tuple[float, ...], where: NDArray[np.bool_]) -> Values:
    """Of the Hessian of smoothed values [unit/m²] at the voxels of `where`, (voxel, axis), the largest amount first."""
    dims = values.ndim
    hessian = np.empty((int(where.sum()), dims, dims))
    for first, second, entry in _derivatives(values, sigma_m, spacing_m):
        hessian[:, first, second] = hessian[:, second, first] = entry[where]
    found = np.linalg.eigvalsh(hessian)
    order = np.argsort(-np.abs(found), axis=1, kind="stable")
    return np.asarray(np.take_along_axis(found, order, axis=1))


def _derivatives(values: Values, sigma_m: float, spacing_m: tuple[float, ...]) -> Iterator[tuple[int, int, Values]]:
    """(axis, axis, second derivative of the Gaussian mean)."""
    sigma = [sigma_m / d for d in spacing_m]
    for first in range(values.ndim):
        for second in range(first, values.ndim):
            order = [(axis == first) + (axis == second) for axis in range(values.ndim)]
            found = ndimage.gaussian_filter(values, sigma, order=order, mode="nearest", truncate=REACH_SD)
            yield first, second, found / (spacing_m[first] * spacing_m[second])


def _signed(eigenvalues: Values, response: Response) -> Values:
    """Of bright things positive, of dark ones negative."""
    return response(-eigenvalues) - response(eigenvalues)


def _ball(against: Values) -> Values:
    """The answer to a bright ball of eigenvalues with their sign turned; 0 unless all are positive."""
    largest, least = against[:, 0], against[:, -1]
    fits = (against > 0).all(axis=1)
    return np.where(fits, least**2 / np.where(fits, largest, 1.0), 0.0)


def _tube(against: Values) -> Values:
    """The answer to a bright tube of eigenvalues with their sign turned; 0 unless those across it are positive."""
    if against.shape[1] == 2:
        return np.where(against[:, 0] > 0, against[:, 0] - np.abs(against[:, 1]), 0.0)
    fits = (against[:, :2] > 0).all(axis=1)
    across = against[:, 1] * (against[:, 1] - np.abs(against[:, 2])) / np.where(fits, against[:, 0], 1.0)
    return np.where(fits, across, 0.0)
