"""Single views of a scan as images, and where a point of the animal is seen in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import dark_field_at
from darklung.core.checks import DarklungError, require
from darklung.core.geometry import ConeGeometry, Geometry, ParallelGeometry, pixels_of
from darklung.core.types import Image, Projections

_PLACES = ("rows", "cols", "pixel_m", "axis_col")
_OF_CONES = ("source_axis_m", "axis_row", "tilt_rad")
_MOST_PIXELS = 10**6


def view_image(projections: Projections, view: int = 0) -> Image:
    """Attenuation (mean over directions) and the dark field of each direction of one view, line integrals on (row, col)."""
    data = np.stack([projections.attenuation[:, view].mean(axis=0), *projections.dark_field[:, view]])
    names = ("attenuation", *(dark_field_at(float(a)).name for a in projections.directions_rad))
    return Image(data, names, ("1",) * len(names), (projections.geometry.pixel_m,) * 2, frame="detector")


def view_facts(geometry: Geometry, view: int = 0) -> dict[str, float]:
    """The beam of one view as plain JSON, which a radiograph keeps with it; `view_of` reads it back."""
    names = (*_PLACES, *(_OF_CONES if isinstance(geometry, ConeGeometry) else ()))
    return {"angle_rad": float(geometry.angles_rad[view]), **{name: getattr(geometry, name) for name in names}}


def view_of(facts: object) -> Geometry:
    """The beam of one view that `view_facts` told.

    Raises
    ------
    DarklungError
        Facts that are none: the geometry is not known.
    """
    wanted = ("angle_rad", *_PLACES)
    plain: Mapping[str, Any] = facts if isinstance(facts, Mapping) else {}
    numbers = {n: v for n, v in plain.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    missing = [name for name in wanted if name not in numbers]
    if missing:
        raise DarklungError(f"view: wanted the angle and detector that it was taken with; {', '.join(missing)} missing")
    for name in ("rows", "cols"):
        fits = isinstance(numbers[name], int) and 0 < numbers[name] <= _MOST_PIXELS
        require(fits, f"view: {name}: wanted a whole number from 1 to {_MOST_PIXELS}, got {numbers[name]}")
    place: dict[str, Any] = {name: numbers[name] for name in _PLACES}
    if "source_axis_m" not in numbers:
        return ParallelGeometry(np.array([numbers["angle_rad"]]), **place)
    place |= {name: numbers[name] for name in _OF_CONES if name in numbers}
    return ConeGeometry(np.array([numbers["angle_rad"]]), **place)


def pixel_position_m(geometry: Geometry, points_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where points of the animal are seen in the first view, (point, 2), in the detector's frame, from its middle [m]."""
    middle = (np.array([geometry.rows, geometry.cols]) - 1) / 2
    return np.asarray((pixels_of(geometry, points_m)[0] - middle) * geometry.pixel_m)


def shadow_of(mask: NDArray[np.bool_], volume: Image, geometry: Geometry, radiograph: Image) -> NDArray[np.bool_]:
    """Pixels of a radiograph onto which marked voxels of a volume fall, (row, col).

    Parameters
    ----------
    mask : (z, y, x) bool
    volume : Image
        Its grid, in the scanner's frame.
    geometry, radiograph
        As in `seen_at`; pixels are at least 0.4 voxels wide.
    """
    # Eight points of each voxel leave no pixel of the shadow out
    index = np.argwhere(mask)[:, None, :] + np.stack(np.meshgrid(*[[-0.25, 0.25]] * 3, indexing="ij"), axis=-1).reshape(
        -1, 3
    )
    found = np.rint(seen_at(geometry, radiograph, positions_m(volume, index.reshape(-1, 3)))).astype(np.int64)
    inside = ((found >= 0) & (found < radiograph.shape)).all(axis=1)
    out = np.zeros(radiograph.shape, dtype=bool)
    out[tuple(found[inside].T)] = True
    return out


def positions_m(image: Image, index: NDArray[Any]) -> NDArray[np.float64]:
    """Where voxels (point, axis) of an image lie in its frame [m], (point, axis)."""
    return np.asarray(np.asarray(image.origin_m) + (index * np.asarray(image.spacing_m)) @ np.asarray(image.direction).T)


def seen_at(geometry: Geometry, radiograph: Image, points_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fractional pixels of a radiograph of one view, (point, 2), onto which points of the animal fall.

    Parameters
    ----------
    geometry : Geometry
        Of its one view.
    radiograph : Image
        The whole detector or a part of it, in its frame, whose origin is the middle of the detector.
    points_m : (point, 3)
        As in `darklung.core.geometry.pixels_of`.
    """
    along = (pixel_position_m(geometry, points_m) - radiograph.origin_m) @ np.asarray(radiograph.direction)
    return np.asarray(along / radiograph.spacing_m)
