"""What the page of a registration shows: sections and volume on the same pixels, labels in three planes, pairs of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.types import Image
from darklung.register.carry import Carried
from darklung.register.reslice import resliced
from darklung.register.transform import PlaneMap
from darklung.report.registration import Overlay, Pairs, Plane
from darklung.steps.compared import Compared
from darklung.steps.placeable import Placeable

_TITLES = ("axial", "coronal", "sagittal")
_UNITS = {"tissue_fraction": ("tissue fraction", "1", 1.0), "interface_density_per_m": ("interface density", "1/cm", 0.01)}


def overlay(section: Placeable, plane: PlaneMap, image: Image, channel: str, lung: NDArray[np.bool_]) -> Overlay:
    """A section's small picture and the volume there."""
    axes = [o + section.rgb_pixel_m * np.arange(n) for o, n in zip(section.rgb_origin_m, section.rgb.shape)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    values = resliced(image, image.channel(channel), plane, points)
    inside = np.nan_to_num(resliced(image, lung, plane, points)) > 0.5
    view = section.view
    own = np.moveaxis((points - np.asarray(view.origin_m)) / view.pixel_m, -1, 0)
    mine = ndimage.map_coordinates(view.lung, own, order=1, mode="constant", cval=0.0) > 0.5
    return Overlay(section.name, section.rgb, values, mine, inside)


def planes(image: Image, channel: str, carried: Carried) -> list[Plane]:
    """Slices through the most of what was carried, or of what was seen."""
    likely = (carried.probability >= 0.5) & carried.seen
    wanted = likely if likely.any() else carried.seen
    values = image.channel(channel)
    probability = np.where(carried.seen, carried.probability, np.nan)
    found = []
    for axis, title in enumerate(_TITLES):
        others = tuple(a for a in range(3) if a != axis)
        at = int(np.argmax(wanted.sum(axis=others)))
        slices = [
            np.take(one, at, axis=axis)[::-1] if axis else np.take(one, at, axis=axis)
            for one in (values, likely, probability)
        ]
        found.append(Plane(f"{title}, slice {at + 1} of {image.shape[axis]}", *slices))
    return found


def pairs(maps: Mapping[str, Compared]) -> Sequence[Pairs]:
    """Quantities with the words and units of the page."""
    found = []
    for name, one in maps.items():
        title, unit, scale = _UNITS[name]
        found.append(Pairs(title, unit, scale, one.section, one.volume, asdict(one.agreement)))
    return found
