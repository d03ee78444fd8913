"""Calibrations on maps: dark field as ε in, channels of what it means out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.calibrate.fibres import OrientationMaps
from darklung.calibrate.sizes import SizeMaps
from darklung.core.channel import Channel, dark_field_at, noise_of, values_of
from darklung.core.checks import require
from darklung.core.types import Image, Projections

CHANNEL = "dark_field"
Channels = Mapping[str, tuple[str, NDArray[Any]]]
"""Kind of value -> (unit, (direction, *spatial) values)."""


@dataclass(frozen=True)
class Scattering:
    """Dark field of one file as ε: names and values of its directions or channels, and where they lie.

    Parameters
    ----------
    names : tuple of str
    epsilon, variance : (direction, *spatial) float64 [1/m, 1/m²]; NaN where nothing is known
    image : Image
        Grid of the results, with any data.
    directions_rad : (direction,) float64 or None
        Of projections.
    """

    names: tuple[str, ...]
    epsilon: NDArray[np.float64]
    variance: NDArray[np.float64]
    image: Image
    directions_rad: NDArray[np.float64] | None = None


def scattering_of_volume(image: Image, where: object) -> Scattering:
    """ε of a volume's ``dark_field`` channels with their noise; `where` is told in errors."""
    names = values_of(image.names, CHANNEL)
    require(bool(names), f"{where}: wanted a channel {CHANNEL}..., got {', '.join(image.names)}")
    values = np.stack([image.channel(n) for n in names]).astype(np.float64)
    variance = np.zeros_like(values)
    for number, name in enumerate(names):
        noise = noise_of(name, image.names)
        if noise is not None:
            variance[number] = image.channel(noise).astype(np.float64) ** 2
    return Scattering(names, values, variance, image)


def scattering_of_projections(maps: Projections, thickness_m: float) -> Scattering:
    """Line integrals over a thickness, NaN where they are not valid; of one view a radiograph."""
    one_view = maps.geometry.views == 1
    values = np.where(maps.valid, maps.dark_field, np.nan).astype(np.float64) / thickness_m
    variance = maps.dark_field_variance.astype(np.float64) / thickness_m**2
    if one_view:
        values, variance = values[:, 0], variance[:, 0]
    pixel = maps.geometry.pixel_m
    spacing = (pixel,) * (values.ndim - 1)
    names = tuple(dark_field_at(float(a)).name for a in maps.directions_rad)
    grid = Image(np.zeros(values.shape, np.float32), names, ("1",) * len(names), spacing, frame="detector")
    return Scattering(names, values, variance, grid, maps.directions_rad)


def size_channels(found: SizeMaps) -> Channels:
    """Units and values of what is known of sizes."""
    return {
        "size": ("m", found.size_m),
        "size_error": ("m", found.size_error_m),
        "size_below_peak": ("m", found.small_m),
        "size_below_peak_low": ("m", found.below_m[0]),
        "size_below_peak_high": ("m", found.below_m[1]),
        "size_above_peak": ("m", found.large_m),
        "size_above_peak_low": ("m", found.above_m[0]),
        "size_above_peak_high": ("m", found.above_m[1]),
        "branch": ("1", found.branch),
        "censored": ("1", found.censored),
        "amount": ("1", found.amount),
        "valid": ("1", found.valid),
    }


def orientation_channels(found: OrientationMaps) -> Channels:
    """Units and values of what is known of orientation."""
    return {
        "dark_field_mean": ("1", found.mean),
        "modulation": ("1", found.modulation),
        "relative_modulation": ("1", found.relative),
        "angle": ("rad", found.angle_rad),
        "angle_error": ("rad", found.angle_error_rad),
        "valid": ("1", found.valid),
        "in_range": ("1", found.in_range),
    }


def on_grid(grid: Image, channels: Channels) -> Image:
    """Channels of one value a voxel as an image."""
    data = np.stack([np.asarray(values, np.float32) for _, values in channels.values()])
    return grid.with_data(data, tuple(channels), tuple(unit for unit, _ in channels.values()))


def by_direction(read: Scattering, channels: Channels) -> Image:
    """One image: each kind of value for each direction."""
    single = len(read.names) == 1
    directions = [None if single else Channel.parse(name).direction for name in read.names]
    each = {
        Channel(name, direction).name: (unit, own)
        for name, (unit, values) in channels.items()
        for direction, own in zip(directions, values)
    }
    return on_grid(read.image, each)
