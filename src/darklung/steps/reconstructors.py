"""What the study and ``darklung reconstruct`` share: a method's volumes as an image, and its source as part of a key."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np

from darklung.core.types import Image, Projections
from darklung.tomo.methods import METHODS, Volumes, find_method


def channel_names(directions_rad: np.ndarray, extras: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the channels: attenuation, the dark field of each direction, and the method's extras."""
    from darklung.features.channels import direction_name

    directions = [direction_name(float(a)) for a in directions_rad]
    return ("attenuation", *directions, *extras)


def volumes_to_image(volumes: Volumes, projections: Projections) -> Image:
    """Channels ``attenuation``, ``dark_field_<degrees>`` of each direction, then the method's extras."""
    names = channel_names(projections.directions_rad, tuple(volumes.extras))
    extras = [volume for _, volume in volumes.extras.values()]
    units = ["1/m"] * (1 + len(volumes.dark_field)) + [unit for unit, _ in volumes.extras.values()]
    data = np.stack([volumes.attenuation, *volumes.dark_field, *extras]).astype(np.float32)
    return Image(data=data, names=names, units=tuple(units), spacing_m=(projections.geometry.pixel_m,) * 3)


def with_extras(channels: Image, image: Image) -> Image:
    """`channels` and those of `image` (on the same grid) that it does not have yet, such as a method's tensor images."""
    more = [i for i, name in enumerate(image.names) if name not in channels.names]
    if not more:
        return channels
    return Image(
        np.concatenate([channels.data, image.data[more]]),
        (*channels.names, *(image.names[i] for i in more)),
        (*channels.units, *(image.units[i] for i in more)),
        channels.spacing_m,
        channels.origin_m,
        channels.frame,
    )


def method_files(name: str) -> dict[str, Path]:
    """The source file of a user's own method, so that editing it computes anew; nothing for the methods of darklung."""
    if name in METHODS:
        return {}
    source = inspect.getsourcefile(find_method(name, {}))
    return {"method": Path(source)} if source else {}
