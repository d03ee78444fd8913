"""What insertions turned out to be, measured on what was put in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.geometry import sphere_diameter_m
from darklung.core.types import Image, Insertion
from darklung.insert.planned import Planned
from darklung.insert.radiograph import RadiographCase
from darklung.insert.volume import GAP_M, PLACES, PlacedLesion, contrast_of, volume_changes


@dataclass(frozen=True)
class Made:
    """One insertion and what was measured on it.

    Parameters
    ----------
    insertion : Insertion
    place : str
    measured_diameter_m : float, optional
        None for a sham.
    ratios : (attenuation, scattering), optional
        Over the lung that was replaced.
    """

    insertion: Insertion
    place: str
    measured_diameter_m: float | None
    ratios: tuple[float | None, float | None]


def made_in_volume(one: PlacedLesion, plan: Planned) -> Made:
    """Of a volume's plan: sizes from partial voxels."""
    if one.sham:
        return Made(one.insertion, one.place, None, (None, None))
    only = volume_changes([one], plan.grid, plan.region, host=plan.host).share
    size = sphere_diameter_m(float(only.sum()) * plan.grid.voxel_m**3)
    return Made(one.insertion, one.place, size, contrast_of(one, plan.host))


def made_in_radiograph(case: RadiographCase, image: Image) -> list[Made]:
    """Of a radiograph's case on the grid of `image`: sizes from the path summed over pixels."""
    pixel, found = image.spacing_m[0], []
    for put in case.insertions:
        one = put.insertion
        own = case.instances == one.number
        place = _place(own, case.region, pixel) if own.any() else PLACES[2]
        if one.kind == "sham":
            found.append(Made(one, place, None, (None, None)))
            continue
        volume = float(case.path_m[_nearest(case, one, image)].sum()) * pixel**2
        found.append(Made(one, place, sphere_diameter_m(volume), (put.attenuation_ratio, put.dark_field_ratio)))
    return found


def _nearest(case: RadiographCase, one: Insertion, image: Image) -> NDArray[np.bool_]:
    """Pixels that belong to one insertion: nearer to its surface than to any other's."""

    def away(other: Insertion) -> NDArray[np.float64]:
        return image.distance_m(other.center_on(2)) - other.diameter_m / 2

    others = [i.insertion for i in case.insertions if i.insertion.kind != "sham"]
    return np.asarray(away(one) <= np.min([away(i) for i in others], axis=0))


def _place(own: NDArray[np.bool_], region: NDArray[np.bool_], pixel_m: float) -> str:
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1][own].min() * pixel_m
    return PLACES[0] if depth < 1.01 * pixel_m else PLACES[1] if depth < GAP_M else PLACES[2]
