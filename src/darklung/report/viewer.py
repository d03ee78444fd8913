"""Volumes to turn through in a page: channels, what is true and what networks say as layers of NiiVue, when it is there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from darklung.core.orientation import ANATOMICAL
from darklung.core.types import Image
from darklung.io.nifti import coarse_nifti
from darklung.report.blocks import Layer, Viewer, anchor
from darklung.report.html import ASSET
from darklung.report.pictures import Example, window_of

MOST_VOXELS = 3_000_000  # of a layer; beyond, blocks of voxels are averaged
MARGIN_M = 2e-3  # shown around the region that was judged


def viewer_version() -> str | None:
    """SHA-256 of NiiVue's file, None where it was not fetched: pages have static slices alone then."""
    found = resources.files("darklung.report").joinpath(ASSET)
    return hashlib.sha256(found.read_bytes()).hexdigest() if found.is_file() else None


def viewer_of(example: Example, channels: Sequence[str] = ()) -> Viewer | None:
    """One image with its layers; None for a radiograph, and where NiiVue was not fetched.

    Parameters
    ----------
    example : Example
        Its target and its probabilities become layers over the channels.
    channels : sequence of str
        Which channels can be chosen, the first is shown; all by default.
    """
    if len(example.image.shape) != 3 or viewer_version() is None:
        return None
    box = _box(example)
    step = max(1, int(np.ceil(np.cbrt(np.prod([b.stop - b.start for b in box]) / MOST_VOXELS))))
    x, y, z = _right_anterior_superior(example.image, _middle(example))
    blocks = "" if step == 1 else f" Each voxel here is the mean of {step} × {step} × {step}."
    return Viewer(
        identity=f"viewer-{anchor(example.name)}",
        layers=tuple(_layers(example, channels or example.image.names, box, step)),
        at_mm=(1e3 * x, 1e3 * y, 1e3 * z),
        anatomical=example.image.frame == ANATOMICAL,
        caption=f"{example.name}: click in a plane to move the cross, drag the body to turn it, scroll to go on.{blocks}",
    )


def _layers(example: Example, channels: Sequence[str], box: tuple[slice, ...], step: int) -> Iterator[Layer]:
    """Channels with half of their window beyond either end, so that values read there are right."""

    def packed(values: NDArray, window: tuple[float, float]) -> bytes:
        one = example.image.with_data(np.asarray(values, np.float32)[None], ("shown",), ("1",))
        return coarse_nifti(_thinned(one.cropped(box), step), "shown", window)

    for name in channels:
        values = example.image.channel(name)
        low, high = window_of(values, example.region)
        wide = (low - (high - low) / 2, high + (high - low) / 2)
        unit = example.image.unit(name)
        yield Layer(name.replace("_", " "), unit, packed(values, wide), "gray", (low, high), 1.0, base=True)
    if example.target.any():
        yield Layer("true lesions", "1", packed(example.target, (0, 1)), "green", (0.3, 1), 0.35, shown=True)
    judged = True if example.region is None else example.region
    for arm, probability in example.probability.items():
        values = np.where(judged, probability, 0)
        yield Layer(f"{arm.replace('_', ' ')}: probability", "1", packed(values, (0, 1)), "inferno", (0.1, 1), 0.6)


def _box(example: Example) -> tuple[slice, ...]:
    """The part of the image around what was judged."""
    image = example.image
    shown = np.ones(image.shape, bool) if example.region is None or not example.region.any() else example.region
    box = []
    for axis, (length, spacing) in enumerate(zip(image.shape, image.spacing_m)):
        inside = np.flatnonzero(shown.any(axis=tuple(a for a in range(3) if a != axis)))
        more = round(MARGIN_M / spacing)
        box.append(slice(max(int(inside[0]) - more, 0), min(int(inside[-1]) + more + 1, length)))
    return tuple(box)


def _thinned(image: Image, step: int) -> Image:
    """Means of blocks; what does not fill a block at the far edges is left out."""
    if step == 1:
        return image
    z, y, x = (n // step for n in image.shape)
    kept = image.data[:, : z * step, : y * step, : x * step]
    means = kept.reshape(-1, z, step, y, step, x, step).mean(axis=(2, 4, 6))
    first = image.position_m([(step - 1) / 2] * 3)
    return replace(image, data=means, spacing_m=tuple(step * d for d in image.spacing_m), origin_m=first)


def _middle(example: Example) -> tuple[int, ...]:
    """A voxel of a lesion in the slice with most of it, or the image's middle."""
    if not example.target.any():
        return tuple(n // 2 for n in example.image.shape)
    z = int(np.argmax(example.target.sum(axis=(1, 2))))
    rows, cols = np.nonzero(example.target[z])
    near = int(np.argmin((rows - rows.mean()) ** 2 + (cols - cols.mean()) ** 2))
    return z, int(rows[near]), int(cols[near])


def _right_anterior_superior(image: Image, voxel: tuple[int, ...]) -> tuple[float, float, float]:
    """Place of a voxel in NIfTI's coordinates (x, y, z) [m]."""
    z, y, x = image.position_m(voxel)
    return (-x, -y, z) if image.frame == ANATOMICAL else (x, y, z)
