"""Images on other grids: turned without loss, or interpolated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.axes import moved_axes
from darklung.core.channel import Channel
from darklung.core.checks import DarklungError, check_one_of, check_positive, require
from darklung.core.errors_on_grids import error_factors, known_mean, resampled_error
from darklung.core.orientation import Direction, identity, nearest_axes
from darklung.core.types import Image

METHODS = ("linear", "nearest")


def reorient(image: Image) -> Image:
    """Turn the array so that its axes run along the frame's own, as nearly as they can without interpolation.

    Axes are put into the frame's order and those that run backwards are reversed; each voxel stays where it is. What
    remains of the direction is a turn of less than 45 degrees about any axis, none for a volume that is not oblique.
    """
    return _turned(image, identity(len(image.shape)))


def reorient_like(image: Image, like: Image) -> Image:
    """As `reorient`, to the axes of another image."""
    require(len(image.shape) == len(like.shape), f"like: wanted {len(image.shape)} spatial axes, got {len(like.shape)}")
    return _turned(image, like.direction)


def resample(
    image: Image,
    *,
    spacing_m: tuple[float, ...] | None = None,
    like: Image | None = None,
    method: str = "linear",
    correlation: NDArray[np.float64] | None = None,
) -> Image:
    """Values of an image on another grid.

    Where the new voxels are larger, the image is smoothed first with a Gaussian whose variance is what the larger box adds,
    (w² − d²)/12 along each axis (w the new voxel's extent along it, d the old spacing), so that fine texture is averaged and
    not aliased. Voxels without a value (NaN) count nowhere; a new voxel with less than half of its weight from values, or
    outside of the image, has none. A tensor's angle and main axis, which have no sign, are averaged as axes.

    Standard errors (channels with the role of noise) become those of the new values: a new voxel is a weighted sum of old
    ones, and its variance is Σ_kl w_k w_l ρ(k − l) σ_k σ_l (`darklung.core.errors_on_grids`).

    Parameters
    ----------
    image : Image
    spacing_m : tuple of float, optional
        One a spatial axis; the new grid has the same axes and middle and covers the same extent to half a voxel.
    like : Image, optional
        Whose grid is taken, in the same frame. Either this or `spacing_m`.
    method : {"linear", "nearest"}
        "nearest" for labels: no smoothing, the type stays, 0 outside.
    correlation : (side, side) array, optional
        ρ of the noise of voxels [i, j] apart along the last two axes (of a slice: `darklung.learn.noise.plane_correlation`),
        0 beyond; along other axes noise is independent. Without it noise is taken to be so along all of them, which tells
        too little of noise that is smooth.

    Returns
    -------
    Image
        float32 for "linear".

    Raises
    ------
    DarklungError
        Both or neither of `spacing_m` and `like`, another frame, labels that would be interpolated, standard errors on a
        grid that is turned, or one part of an axis without the others.
    """
    check_one_of("method", method, METHODS)
    require((spacing_m is None) != (like is None), "resample: wanted either spacing_m or like")
    target = like if like is not None else _respaced(image, spacing_m or ())
    require(len(target.shape) == len(image.shape), f"like: wanted {len(image.shape)} spatial axes, got {len(target.shape)}")
    require(target.frame == image.frame, f"like: wanted the frame {image.frame!r}, got {target.frame!r}")
    matrix, offset = _index_map(image, target)
    inside = _inside(matrix, offset, image.shape, target.shape)
    sigma = _sigma(image, target)
    if method == "nearest":
        data = np.stack([_nearest(channel, matrix, offset, target.shape, inside) for channel in image.data])
        return target.with_data(data, image.names, image.units)

    def moved(array: NDArray[np.float32]) -> NDArray[np.float32]:
        return _moved(array, matrix, offset, target.shape, sigma)

    erring = [Channel.parse(name).role == "noise" for name in image.names]
    factors = np.ones(())
    if any(erring):
        scale = np.diag(matrix)
        turned = bool((matrix != np.diag(scale)).any())
        require(not turned, f"{image.names[erring.index(True)]}: standard errors cannot be told on a grid that is turned")
        factors = error_factors(image.shape, target.shape, scale, offset, sigma, moved=_moved, correlation=correlation)
    axes = moved_axes(image.data, image.names, lambda array: _linear(array, inside, moved))
    data = np.stack(
        [
            axes[n] if n in axes else resampled_error(v, factors, inside, moved) if error else _linear(v, inside, moved)
            for n, (v, error) in enumerate(zip(image.data, erring))
        ]
    )
    return target.with_data(data, image.names, image.units)


def _turned(image: Image, wanted: Direction) -> Image:
    """Axes permuted and reversed to be as near to the columns of `wanted` as can be."""
    relative = np.asarray(wanted).T @ np.asarray(image.direction)
    order = nearest_axes(relative)
    backwards = [relative[row, column] < 0 for column, row in enumerate(order)]
    corner = image.position_m([n - 1 if b else 0 for n, b in zip(image.shape, backwards)])
    flipped = image.data[(slice(None), *(slice(None, None, -1 if b else 1) for b in backwards))]
    signed = np.asarray(image.direction) * np.where(backwards, -1.0, 1.0) + 0.0
    source = [order.index(axis) for axis in range(len(order))]
    return replace(
        image,
        data=np.ascontiguousarray(flipped.transpose(0, *(1 + s for s in source))),
        spacing_m=tuple(image.spacing_m[s] for s in source),
        origin_m=corner,
        direction=tuple(tuple(float(v) for v in row) for row in signed[:, source]),
    )


def _respaced(image: Image, spacing_m: tuple[float, ...]) -> Image:
    """The grid of the same extent and middle with another spacing; its data are placeholders."""
    require(len(spacing_m) == len(image.shape), f"spacing_m: wanted {len(image.shape)} numbers, got {spacing_m}")
    for value in spacing_m:
        check_positive("spacing_m", value)
    shape = tuple(max(1, round(n * d / s)) for n, d, s in zip(image.shape, image.spacing_m, spacing_m))
    middle = np.asarray(image.position_m([(n - 1) / 2 for n in image.shape]))
    half = np.asarray(image.direction) @ [(n - 1) / 2 * s for n, s in zip(shape, spacing_m)]
    empty = np.broadcast_to(np.float32(0), (len(image.data), *shape))
    origin = tuple(float(v) for v in middle - half)
    return replace(image, data=empty, spacing_m=tuple(float(s) for s in spacing_m), origin_m=origin)


def _index_map(image: Image, target: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Index in `image` = matrix @ index in `target` + offset."""
    inverse = np.asarray(image.direction).T / np.asarray(image.spacing_m)[:, None]
    matrix = inverse @ (np.asarray(target.direction) * target.spacing_m)
    offset = inverse @ (np.asarray(target.origin_m) - image.origin_m)
    # Rounding must not push the voxels of a border outside.
    return np.where(np.abs(matrix - np.round(matrix)) < 1e-12, np.round(matrix), matrix), offset


def _inside(
    matrix: NDArray[np.float64], offset: NDArray[np.float64], shape: tuple[int, ...], wanted: tuple[int, ...]
) -> NDArray[np.bool_]:
    """New voxels whose centre lies in the box of the old ones."""
    steps = [
        np.arange(n, dtype=np.float64).reshape([-1 if a == k else 1 for a in range(len(wanted))])
        for k, n in enumerate(wanted)
    ]
    inside = np.ones(wanted, dtype=bool)
    for row, start, count in zip(matrix, offset, shape):
        place = start + sum(r * s for r, s in zip(row, steps))
        inside &= (place >= -0.5 - 1e-6) & (place <= count - 0.5 + 1e-6)
    return inside


def _sigma(image: Image, target: Image) -> NDArray[np.float64]:
    """Standard deviation of the smoothing along each axis of the image [voxels]."""
    turn = np.asarray(image.direction).T @ np.asarray(target.direction)
    extent = np.sqrt((turn**2 * np.asarray(target.spacing_m) ** 2).sum(axis=1)) / image.spacing_m
    return np.asarray(np.sqrt(np.maximum(extent**2 - 1, 0) / 12))


def _moved(
    array: NDArray[np.float32],
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
    shape: tuple[int, ...],
    sigma: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Smoothed and interpolated."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(array, sigma, mode="nearest", truncate=5) if (sigma > 1e-3).any() else array
    return _interpolated(smooth, matrix, offset, shape, order=1)


def _linear(
    values: NDArray[Any], inside: NDArray[np.bool_], moved: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    result, weight = known_mean(np.asarray(values, dtype=np.float32), moved)
    return np.where(inside & (weight >= 0.5), result, np.float32(np.nan))


def _nearest(
    values: NDArray[Any],
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
    shape: tuple[int, ...],
    inside: NDArray[np.bool_],
) -> NDArray[Any]:
    if values.dtype.kind not in "iub":
        raise DarklungError(f"resample: 'nearest' is for labels, whole numbers, got {values.dtype}")
    result = _interpolated(values, matrix, offset, shape, order=0)
    return np.where(inside, result, np.zeros((), values.dtype))


def _interpolated(
    array: NDArray[Any], matrix: NDArray[np.float64], offset: NDArray[np.float64], shape: tuple[int, ...], *, order: int
) -> NDArray[Any]:
    from scipy.ndimage import affine_transform

    diagonal = np.diag(matrix)
    aligned = bool((matrix == np.diag(diagonal)).all())
    return np.asarray(
        affine_transform(array, diagonal if aligned else matrix, offset, output_shape=shape, order=order, mode="nearest")
    )
