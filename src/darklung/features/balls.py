"""Masks and balls on grids of any spacing: depths, closings, parts by size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Spacing = tuple[float, ...]

BALL_VOXELS = 8


def plain(spacing_m: Spacing) -> Spacing:
    """Spacing to six digits: files in single precision tell 400.00001 µm, and sizes of whole voxels must not hang on it."""
    return tuple(float(f"{d:.6g}") for d in spacing_m)


def depth(mask: Mask, spacing_m: Spacing) -> NDArray[np.float32]:
    """Distance [m] of each voxel of `mask` to the nearest one outside it; 0 outside."""
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=spacing_m), dtype=np.float32)


def distance(mask: Mask, spacing_m: Spacing) -> NDArray[np.float32]:
    """Distance [m] of each voxel to the nearest one of `mask`; 0 inside, infinite where the mask is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf, dtype=np.float32)
    return depth(~mask, spacing_m)


def closed(mask: Mask, *, radius_m: float, spacing_m: Spacing) -> Mask:
    """Closing with a ball; what is cut by the ends in z is taken to go on there.

    Voxels are merged first where the ball is more than `BALL_VOXELS` of them in radius.
    """
    if not mask.any():
        return mask.copy()
    step = [max(int(radius_m / (BALL_VOXELS * d)), 1) for d in spacing_m]
    spacing = tuple(d * s for d, s in zip(spacing_m, step))
    merged = means(mask.astype(np.float32), step) >= 0.5
    return mask | repeated(_closed(merged, radius_m, spacing), step, mask.shape)


def _closed(mask: Mask, radius_m: float, spacing_m: Spacing) -> Mask:
    """Closing in the mask's own box."""
    out = mask.copy()
    box = box_of(mask, margin_m=0.0, spacing_m=spacing_m)
    pad = [int(np.ceil(radius_m / d)) + 2 for d in spacing_m]
    part = np.pad(mask[box], [(p, p) for p in pad])
    # Only an end that the mask touches is continued: elsewhere the box ends in what is not of the mask.
    if box[0].start == 0:
        part[: pad[0]] = part[pad[0]]
    if box[0].stop == mask.shape[0]:
        part[-pad[0] :] = part[-pad[0] - 1]
    grown = distance(part, spacing_m) <= radius_m
    full = depth(grown, spacing_m) > radius_m
    out[box] |= full[tuple(slice(p, n - p) for p, n in zip(pad, part.shape))]
    return out


def means(values: NDArray[np.float32], step: Sequence[int]) -> NDArray[np.float32]:
    """Means over blocks of `step` voxels, NaN where one is; the last block repeats the last voxels."""
    if max(step) == 1:
        return values
    padded = np.pad(values, [(0, -n % s) for n, s in zip(values.shape, step)], mode="edge")
    z, y, x = (n // s for n, s in zip(padded.shape, step))
    return np.asarray(padded.reshape(z, step[0], y, step[1], x, step[2]).mean(axis=(1, 3, 5)), dtype=np.float32)


def repeated(mask: Mask, step: Sequence[int], shape: tuple[int, ...]) -> Mask:
    """The inverse of `means` for masks."""
    for axis, s in enumerate(step):
        mask = np.repeat(mask, s, axis=axis) if s > 1 else mask
    return mask[tuple(slice(n) for n in shape)]


def large_parts(mask: Mask, *, share: float) -> Mask:
    """Connected parts with at least `share` of the largest one's volume."""
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    keep = (sizes >= share * sizes.max()) & (sizes > 0)
    return np.asarray(keep[labels])


def parts_with(mask: Mask, seeds: Mask) -> Mask:
    """Connected parts that hold a voxel of `seeds`."""
    labels, count = ndimage.label(mask)
    keep = np.zeros(count + 1, dtype=bool)
    keep[labels[seeds & mask]] = True
    return np.asarray(keep[labels])


def without_holes(mask: Mask, *, volume_m3: float, area_m2: float, spacing_m: Spacing) -> Mask:
    """Holes filled: what is enclosed on all sides up to a volume, and in a slice along any axis up to an area."""
    out = mask | _small_parts(~mask, np.ones((3, 3, 3), bool), volume_m3 / float(np.prod(spacing_m)))
    for axis in range(3):
        plane = [slice(None)] * 3
        plane[axis] = slice(1, 2)
        joined = np.zeros((3, 3, 3), dtype=bool)
        joined[tuple(plane)] = True
        out |= _small_parts(~mask, joined, area_m2 * spacing_m[axis] / float(np.prod(spacing_m)))
    return out


def _small_parts(mask: Mask, joined: Mask, most: float) -> Mask:
    """Parts of at most so many voxels that do not reach the grid's sides; `joined` says which neighbours connect."""
    labels, _ = ndimage.label(mask, structure=joined)
    small: Mask = np.asarray(np.bincount(labels.ravel()) <= most)
    small[0] = False
    # Along an axis in which nothing is joined, a part at the end is one like any other.
    for axis in range(3):
        if np.asarray(joined.any(axis=tuple(a for a in range(3) if a != axis)))[0]:
            for end in (0, -1):
                small[np.unique(np.take(labels, end, axis=axis))] = False
    return np.asarray(small[labels])


def box_of(mask: Mask, *, margin_m: float, spacing_m: Spacing) -> tuple[slice, ...]:
    """The mask's box with a margin, inside the grid."""
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    margin = [int(np.ceil(margin_m / d)) for d in spacing_m]
    return tuple(slice(max(s.start - m, 0), min(s.stop + m, n)) for s, m, n in zip(found, margin, mask.shape))
