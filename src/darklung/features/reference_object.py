"""A reference object beside the animal, a rod or a ball of foam or of a solid, found by its size and what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from darklung.core.channel import values_of
from darklung.core.checks import DarklungError, check_one_of, check_positive, require
from darklung.core.types import Image
from darklung.features.grey_levels import find_grey_levels

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]
SHAPES = ("cylinder", "sphere")
# In radii: what certainly is the object, and the air around it that it is compared with.
CORE, AIR = 0.75, (1.3, 1.7)
# Least share of core and of air that is in the field of view and outside the animal; most that the size may be off.
SEEN, SIZE_OFF = 0.6, 0.15
NARROWEST = 4.0  # voxels in a radius
# So many standard deviations of the air's voxels must an object stand above it (it is a mean over many).
CLEAR = 3.0
BLOCKS = 8
# Largest share of the core at the highest value of the whole image: more of it was cut off there.
CUT = 0.05
# What an object does, by the channel that it is found in.
DOES = {"dark_field": "scatters", "attenuation": "attenuates"}
# Least share of the core that stands above half of the object's height, and of the air below it.
FILLED = 0.85


@dataclass(frozen=True)
class FoundObject:
    """What a reference object reads, and the air around it.

    Parameters
    ----------
    core, air : (z, y, x) bool
        Voxels that certainly are of the object, and of the air around it.
    diameter_m : float
        As it was measured.
    value, zero : float
        What core and air read [the image's unit]: means over blocks of voxels along z of their medians.
    value_error, zero_error : float
        Standard errors, from how the blocks differ: noise that neighbours share and unevenness along z are in them.
    """

    core: Mask
    air: Mask
    diameter_m: float
    value: float
    zero: float
    value_error: float
    zero_error: float


def find_object(
    image: Image,
    *,
    shape: Literal["cylinder", "sphere"],
    diameter_m: float,
    channel: Literal["dark_field", "attenuation"] = "dark_field",
) -> FoundObject:
    """The object of this shape and size outside the animal that stands most above the air around it in a channel.

    A disc (of a cylinder, in the median along z) or a ball is compared with a ring or shell of air around it, wherever both
    are outside the animal; voxels without a value count nowhere. The middle is the centroid of what stands above the air,
    the size follows from its sum. Of a cylinder only slices count in which it stands above half of its height: it may end
    in the image, or lie partly outside the field of view.

    A cylinder must lie along z, to a quarter of its diameter over its length.

    Parameters
    ----------
    image : Image
        Three spatial axes of one spacing, with ``attenuation``, which tells where the animal is, and a dark field; of
        several directions their mean.
    shape : {"cylinder", "sphere"}
    diameter_m : float
    channel : {"dark_field", "attenuation"}
        What it does most: scatter (foam) or attenuate (a solid).

    Raises
    ------
    DarklungError
        No such object, one that was cut off at the image's highest value, one of another size, or an image that cannot
        show it: one line.
    """
    told = check_object(shape, diameter_m, image.spacing_m)
    radius = diameter_m / 2 / min(image.spacing_m)
    names = values_of(image.names, channel)
    require(bool(names), f"{told}: wanted a channel {channel}, got {', '.join(image.names)}")
    values = np.mean([np.asarray(image.channel(n), dtype=np.float64) for n in names], axis=0)
    highest = float(np.nanmax(values, initial=-np.inf))
    values[_animal(image)] = np.nan
    seen = _along_z(values) if shape == "cylinder" else values
    most = f"{told}: what {DOES[channel]} most beside the animal"
    middle, found = _place(seen, radius, told, most)
    off, measured_m = found / radius - 1, 2 * found * min(image.spacing_m)
    require(abs(off) <= SIZE_OFF, f"{most} looks {1e3 * measured_m:.3g} mm wide")
    core, air = _masks(values, middle, radius, shape)
    cut = float(np.mean(values[core] >= highest)) if core.any() else 0.0
    require(cut <= CUT, f"{told}: {100 * cut:.0f} % of it read {highest:.4g}, the highest value there is: it was cut off")
    return _read(values, core, air, measured_m, told)


def check_object(shape: str, diameter_m: float, spacing_m: tuple[float, ...]) -> str:
    """How error lines call such an object; raises `DarklungError` unless a grid can show it."""
    check_one_of("shape", shape, SHAPES)
    across = check_positive("diameter_m", diameter_m) / min(spacing_m)
    told = f"reference: {shape} of {1e3 * diameter_m:g} mm"
    require(len(spacing_m) == 3, f"{told}: wanted a volume, got {len(spacing_m)} spatial axes")
    alike = max(spacing_m) <= 1.01 * min(spacing_m)
    require(alike, f"{told}: wanted one spacing along all axes, got {', '.join(f'{1e6 * d:g}' for d in spacing_m)} um")
    require(across >= 2 * NARROWEST, f"{told}: wanted at least {2 * NARROWEST:g} voxels across, got {across:.3g}")
    return told


def _animal(image: Image) -> Mask:
    """The animal with a rim of two voxels."""
    levels = find_grey_levels(image.channel("attenuation"), spacing_m=image.spacing_m, zero_is_air=True)
    return np.asarray(ndimage.binary_dilation(levels.body, iterations=2))


def _along_z(dark: Values) -> Values:
    """Medians along z where at least half of the slices have a value, else NaN."""
    enough = np.isfinite(dark).sum(axis=0) * 2 >= len(dark)
    out = np.full(dark.shape[1:], np.nan)
    out[enough] = np.nanmedian(dark[:, enough], axis=0)
    return out


def _offsets(middle: Values, shape: tuple[int, ...]) -> Values:
    """Distance [voxels] of each voxel to a point."""
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    return np.asarray(np.sqrt(sum((g - m) ** 2 for g, m in zip(grid, middle))))


def _mean(values: Values, low: float, high: float) -> Values:
    """Mean over voxels at distances from `low` to `high`; NaN where too few of them have a value."""
    reach = int(np.ceil(high))
    distance = _offsets(np.full(values.ndim, float(reach)), (2 * reach + 1,) * values.ndim)
    kernel = ((distance >= low) & (distance <= high)).astype(np.float64)
    known = np.isfinite(values)
    weight = signal.fftconvolve(known.astype(np.float64), kernel, mode="same")
    total = signal.fftconvolve(np.where(known, values, 0.0), kernel, mode="same")
    enough = weight >= SEEN * kernel.sum()
    return np.where(enough, total / np.where(enough, weight, 1.0), np.nan)


def _place(seen: Values, radius: float, told: str, most: str) -> tuple[Values, float]:
    """Middle and radius [voxels] of the disc or ball that stands most above its surroundings."""
    above = _mean(seen, 0.0, CORE * radius) - _mean(seen, *(a * radius for a in AIR))
    nothing = f"{told}: none found beside the animal, in no place is it in view with the air around it"
    require(bool(np.isfinite(above).any()), nothing)
    middle: Values = np.array(np.unravel_index(int(np.nanargmax(above)), seen.shape)).astype(np.float64)
    for _ in range(3):
        distance = _offsets(middle, seen.shape)
        ring = seen[_between(distance, seen, *(a * radius for a in AIR))]
        zero, noise = float(np.median(ring)), 1.4826 * float(np.median(np.abs(ring - np.median(ring))))
        height = float(np.median(seen[_between(distance, seen, 0.0, CORE * radius)])) - zero
        faint = f"{told}: none found beside the animal, the best stands {height:.3g} above air that varies by {noise:.3g}"
        require(height > CLEAR * noise and height > 0, faint)
        inside = _between(distance, seen, 0.0, AIR[0] * radius)
        weight = np.clip(seen[inside] - zero, 0, None)
        middle = np.average(np.argwhere(inside), axis=0, weights=weight)
    core = seen[_between(distance, seen, 0.0, CORE * radius)]
    filled = min(float(np.mean(core > zero + height / 2)), float(np.mean(ring < zero + height / 2)))
    require(filled >= FILLED, f"{most} has another shape or size")
    # A part that is out of view holds what the part in view holds on the mean.
    content = float(np.mean(seen[inside] - zero)) * float(np.sum(distance <= AIR[0] * radius)) / height
    return middle, float(np.sqrt(content / np.pi) if seen.ndim == 2 else np.cbrt(3 * content / (4 * np.pi)))


def _between(distance: Values, seen: Values, low: float, high: float) -> Mask:
    """Voxels with a value at these distances."""
    return np.asarray((distance >= low) & (distance <= high) & np.isfinite(seen))


def _masks(dark: Values, middle: Values, radius: float, shape: str) -> tuple[Mask, Mask]:
    """Core and air in the volume."""
    known = np.isfinite(dark)
    distance = _offsets(middle, dark.shape[1:] if shape == "cylinder" else dark.shape)
    core: Mask = known & (distance <= CORE * radius)
    air: Mask = known & (distance >= AIR[0] * radius) & (distance <= AIR[1] * radius)
    if shape == "sphere":
        return core, air
    heights = np.full(len(dark), -np.inf)
    for z in np.flatnonzero(core.any(axis=(1, 2)) & air.any(axis=(1, 2))):
        heights[z] = np.median(dark[z][core[z]]) - np.median(dark[z][air[z]])
    there = heights > np.median(heights[np.isfinite(heights)]) / 2
    there = ndimage.binary_erosion(there, iterations=2, border_value=1)[:, None, None]
    return core & there, air & there


def _read(dark: Values, core: Mask, air: Mask, diameter_m: float, told: str) -> FoundObject:
    values = []
    for name, mask in (("the object", core), ("air around it", air)):
        require(int(mask.sum()) >= 10 * BLOCKS, f"{told}: only {int(mask.sum())} voxels are of {name}")
        medians = [float(np.median(block)) for block in np.array_split(dark[mask], BLOCKS)]
        values += [float(np.mean(medians)), float(np.std(medians, ddof=1) / np.sqrt(BLOCKS))]
    value, value_error, zero, zero_error = values
    if not value - zero > 3 * np.hypot(value_error, zero_error):
        raise DarklungError(f"{told}: {value:g} +- {value_error:.2g} is not clearly above air, {zero:g} +- {zero_error:.2g}")
    return FoundObject(core, air, diameter_m, value, zero, value_error, zero_error)
