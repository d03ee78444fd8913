"""Channels that a network sees: attenuation, dark field (aggregated and per direction), derived maps and controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import dark_field_at, directed, directions_of, values_of
from darklung.core.checks import check_one_of, check_range, check_shape, require
from darklung.core.types import Image
from darklung.features.layers import Place
from darklung.features.recipe import STORED, make_channels
from darklung.features.table import MAPS

COMBINATIONS = ("mean", "inverse_variance")


def stack_channels(
    *,
    attenuation: Image,
    dark_field: Sequence[Image],
    directions_rad: Sequence[float],
    combine: str = "mean",
    extras: Sequence[str] = (),
    seed: int = 0,
) -> Image:
    """One image whose channels are ``attenuation``, ``dark_field``, ``dark_field_<α in degrees>`` ..., and the extras.

    Volumes and radiographs alike (two or three spatial axes). Nothing is clipped or rescaled; NaN stays NaN.

    Parameters
    ----------
    attenuation : Image
        With the channel ``attenuation``: μ [1/m] of a volume, −ln T of a radiograph.
    dark_field : sequence of Image
        One a grating direction (none: attenuation alone), each with the channel ``dark_field`` and, for
        ``inverse_variance``, ``dark_field_variance``.
        All on the grid of `attenuation`.
    directions_rad : sequence of float
        α of each [rad]; empty where nobody knows it: no directed channel is made then.
    combine : {"mean", "inverse_variance"}
        How the directions become ``dark_field``. The mean is the default: it is the same observable in every voxel, while
        weights by variance let the anatomy, through its photon noise, choose the direction voxel by voxel.
    extras : sequence of str
        Maps that need no arguments, of `darklung.features.table`. ``anisotropy``: see `darklung.features.directions`;
        ``noise``: white Gaussian noise with the mean and standard deviation of ``dark_field`` (of the attenuation where
        there is none), and ``attenuation_copy``: the attenuation again; both are controls for the number of channels.
    seed : int
        Of the noise channel.

    Raises
    ------
    DarklungError
        Grids differ, directions repeat, or an unknown name.
    """
    check_one_of("combine", combine, COMBINATIONS)
    fits = len(directions_rad) in (len(dark_field), 0)
    require(fits, f"directions_rad: wanted {len(dark_field)}, got {len(directions_rad)}")
    for image in dark_field:
        differs = attenuation.grid_difference(image)
        require(not differs, f"dark_field: wanted the grid of attenuation, which differs in {differs}")
    mu = np.asarray(attenuation.channel("attenuation"), dtype=np.float32)
    unit = dark_unit = attenuation.unit("attenuation")
    channels, each = [("attenuation", unit, mu)], np.empty((0, *mu.shape), np.float32)
    if dark_field:
        each = np.stack([np.asarray(i.channel("dark_field"), dtype=np.float32) for i in dark_field])
        dark_unit = dark_field[0].unit("dark_field")
        mean = each.mean(axis=0) if combine == "mean" else _inverse_variance(each, dark_field)
        channels.append(("dark_field", dark_unit, mean))
    channels += [(dark_field_at(a).name, dark_unit, d) for a, d in zip(directions_rad, each)]
    made = _image(attenuation, channels)
    return _image(attenuation, [*channels, *_extras(made, extras, seed)])


def _extras(image: Image, names: Sequence[str], seed: int) -> list[tuple[str, str, NDArray[np.float32]]]:
    """Maps of `darklung.features.table` whose name is all that is said."""
    for name in names:
        check_one_of("extras", name, MAPS)
    everywhere = np.ones(image.shape, dtype=bool)
    layers = make_channels(image, names, Place(everywhere, everywhere, image.spacing_m, seed))
    return [(name, layer.unit, layer.values.astype(np.float32)) for name, layer in zip(names, layers)]


def _image(grid: Image, channels: Sequence[tuple[str, str, NDArray[np.float32]]]) -> Image:
    names, units, data = zip(*channels)
    return grid.with_data(np.stack(data), names, units)


def derived_channels(image: Image, *, seed: int) -> Image:
    """An image with what is made of its channels: mean dark field, and the maps of `STORED`; no direction is made up.

    Parameters
    ----------
    image : Image
        With ``attenuation`` and ``dark_field_<degrees>`` of each direction, ``dark_field`` alone, or no dark field; other
        channels, such as noise maps, are kept.
    seed : int
        Of the control.
    """
    directions = directed(image.names) or values_of(image.names, "dark_field")
    made = stack_channels(
        attenuation=_one(image, "attenuation", "attenuation"),
        dark_field=[_one(image, n, "dark_field") for n in directions],
        directions_rad=[np.radians(a) for a in directions_of(image.names)],
        extras=[n for n, least in STORED.items() if len(directions) >= least],
        seed=seed,
    )
    more = [i for i, name in enumerate(image.names) if name not in made.names]
    every = (*made.names, *(image.names[i] for i in more))
    units = (*made.units, *(image.units[i] for i in more))
    return made.with_data(np.concatenate([made.data, image.data[more]]), every, units)


def _one(image: Image, channel: str, name: str) -> Image:
    """One channel of an image under another name."""
    return image.with_data(image.channel(channel)[None], (name,), (image.unit(channel),))


@dataclass(frozen=True)
class Crop:
    """Box cut from an image: take ``array[crop.slices]`` of labels and regions to stay in step with it.

    Parameters
    ----------
    image : Image
        Its ``origin_m`` is where the box lies in the image that it was cut from.
    region : (*spatial) bool array
    slices : tuple of slice
        One a spatial axis.
    """

    image: Image
    region: NDArray[np.bool_]
    slices: tuple[slice, ...]


def crop_to_region(image: Image, region: NDArray[np.bool_], *, margin_m: float = 1.0e-3) -> Crop:
    """Cut the bounding box of `region` with a margin (less at the image's border).

    Parameters
    ----------
    image : Image
    region : (*spatial) bool array
    margin_m : float

    Raises
    ------
    DarklungError
        The region is empty or of another shape.
    """
    check_shape("region", region, "spatial", image.shape)
    check_range("margin_m", margin_m, 0.0, 1.0)
    require(bool(region.any()), "region: nothing in it")
    slices = []
    for axis, spacing in enumerate(image.spacing_m):
        others = tuple(a for a in range(region.ndim) if a != axis)
        hit = np.flatnonzero(region.any(axis=others))
        margin = int(np.ceil(margin_m / spacing - 1e-9))
        slices.append(slice(max(int(hit[0]) - margin, 0), min(int(hit[-1]) + 1 + margin, region.shape[axis])))
    box = tuple(slices)
    return Crop(image.cropped(box), region[box], box)


def _inverse_variance(each: NDArray[np.float32], images: Sequence[Image]) -> NDArray[np.float32]:
    variance = np.stack([np.asarray(i.channel("dark_field_variance"), dtype=np.float64) for i in images])
    require(bool(np.all(variance > 0)), "dark_field_variance: wanted > 0 everywhere for inverse_variance")
    weight = 1 / variance
    return np.asarray((weight * each).sum(axis=0) / weight.sum(axis=0), dtype=np.float32)
