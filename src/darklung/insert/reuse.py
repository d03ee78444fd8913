"""Lesions of a bank put into a volume again, voxel on voxel: quick enough to be done while a network learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.channel import directed, values_of
from darklung.core.checks import check_shape, require
from darklung.core.random import stream
from darklung.core.types import Image
from darklung.insert.bank import BankLesion, Host, Texture, lesion_changes
from darklung.insert.scale import Scale
from darklung.insert.volume import GAP_M, PARENCHYMA, Box, Space, lung_there, texture_there, volume_grid
from darklung.phantom.families import MM
from darklung.phantom.grid import Grid
from darklung.physics.lung import RIM, SHAM_RATIO

EDGE_M = 0.1 * MM  # distance that all of an insertion keeps from the region's surface
BLUR_VOXELS = (0.0, 0.5, 0.5)  # z, y, x: of a reconstruction on its own pixels, docs/insertion.md
TRIES, PLACES = 8, 60  # objects of the bank, and places of each, that are tried for one insertion


@dataclass(frozen=True)
class Reused:
    """What reused lesions and shams change in a volume, and where they are.

    Parameters
    ----------
    attenuation : (z, y, x) float64 [1/m]
    scattering : (direction, z, y, x) float64 [1/m]
    lesions, shams : (z, y, x) uint16
        Number of the lesion or sham that fills more than half of the voxel, from 1; else 0.
    """

    attenuation: NDArray[np.float64]
    scattering: NDArray[np.float64]
    lesions: NDArray[np.uint16]
    shams: NDArray[np.uint16]


def reuse_lesions(
    attenuation: NDArray,
    scattering: Sequence[NDArray],
    region: NDArray[np.bool_],
    grid: Grid,
    *,
    bank: Sequence[BankLesion],
    count: int,
    taken: NDArray[np.bool_],
    host: Host,
    seed: int,
    blur_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Reused:
    """Put `count` lesions of a bank, and as many shams of the same outlines' law, into lung that is still free.

    They replace the lung that is there as in `darklung.insert.volume`, in attenuation and every direction alike, at whole
    voxels. Where lung has no room left there are fewer, a lesion and its sham always together.

    Parameters
    ----------
    attenuation : (z, y, x) array [1/m]
    scattering : (z, y, x) arrays [1/m]
        One a grating direction; may be empty.
    region : (z, y, x) bool
        Lung; all of an insertion, its rim included, lies inside.
    grid : Grid
    bank : sequence of BankLesion
        With the voxels of `grid`.
    count : int
    taken : (z, y, x) bool
        Cores of insertions that are there already; new ones keep clear of them and of a rim around them.
    host : Host
    seed : int
        With the data, all that the result depends on.
    blur_m : (z, y, x)
        Standard deviations of the reconstruction's blur [m], applied to the changes, not to the labels.

    Raises
    ------
    DarklungError
        Shapes that differ, or a bank on other voxels.
    """
    for values in (region, taken, *scattering):
        check_shape("region, taken, scattering", values, "z, y, x", attenuation.shape)
    same = all(abs(one.voxel_m - grid.voxel_m) < 1e-3 * grid.voxel_m for one in bank)
    require(same, f"bank: wanted lesions on voxels of {grid.voxel_m:g} m")
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1, 1:-1] * grid.voxel_m
    room, free = depth, region & (depth > max(EDGE_M, 0.5 * grid.voxel_m))
    if taken.any():
        away = ndimage.distance_transform_edt(~taken) * grid.voxel_m - (GAP_M + RIM.width_m[1])
        room, free = np.minimum(depth, away), free & (away > 0)
    space = Space(grid, region, depth, free, attenuation, scattering, host, EDGE_M, False)
    made = Reused(
        np.zeros(region.shape), np.zeros((len(scattering), *region.shape)), *np.zeros((2, *region.shape), np.uint16)
    )
    for number in range(1, count + 1):
        before = space.free.copy()
        pair = [_find(space, room, bank, stream(seed, kind, number)) for kind in ("lesion", "sham")]
        if pair[0] is None or pair[1] is None:
            space.free[...] = before
            continue
        ratios = stream(seed, "ratios", number).uniform(*SHAM_RATIO, 2)
        _put(made, made.lesions, number, space, *pair[0], blur_m)
        _put(made, made.shams, number, space, _as_sham(pair[1][0], ratios), pair[1][1], blur_m)
    return made


def reuse_in_image(
    image: Image,
    lung: NDArray[np.bool_],
    *,
    bank: Sequence[BankLesion],
    count: int,
    taken: NDArray[np.bool_],
    scale: Scale,
    seed: int,
) -> Reused:
    """`reuse_lesions` in attenuation and the dark fields of an image, with the blur of a reconstruction on its own pixels.

    A dark field without a direction counts where there is no other; there may be none.
    """
    grid, dark = volume_grid(image), _dark(image)
    attenuation, *scattering = (image.channel(name) for name in ("attenuation", *dark))
    tissue = scale.tissue_per_m or 0.0
    host = scale.host_of(attenuation[lung], [values[lung] for values in scattering], tissue_per_m=tissue)
    blur = (BLUR_VOXELS[0] * grid.voxel_m, BLUR_VOXELS[1] * grid.voxel_m, BLUR_VOXELS[2] * grid.voxel_m)
    return reuse_lesions(
        attenuation, scattering, lung, grid, bank=bank, count=count, taken=taken, host=host, seed=seed, blur_m=blur
    )


def with_reused(image: Image, made: Reused, channels: tuple[str, ...]) -> Image:
    """Some channels of an image, with what was reused in it.

    ``dark_field``, the mean of the directions, changes by their mean; other channels than attenuation and dark fields stay.
    """
    changes = {"attenuation": made.attenuation, **dict(zip(_dark(image), made.scattering))}
    if len(made.scattering):
        changes["dark_field"] = made.scattering.mean(axis=0)
    data = np.stack([image.channel(name) + changes.get(name, 0) for name in channels]).astype(np.float32)
    return image.with_data(data, channels, tuple(image.unit(name) for name in channels))


def _dark(image: Image) -> tuple[str, ...]:
    return directed(image.names) or values_of(image.names, "dark_field")


def _find(
    space: Space, room_m: NDArray, bank: Sequence[BankLesion], rng: np.random.Generator
) -> tuple[BankLesion, Box] | None:
    """An object of the bank and a box that it fits into; its voxels are then free no more."""
    for index in rng.integers(len(bank), size=TRIES):
        lesion = bank[int(index)]
        centres = np.flatnonzero(space.free & (room_m > 0.42 * lesion.diameter_m))
        if len(centres) == 0:
            continue
        chosen = rng.choice(centres, min(PLACES, len(centres)), replace=False)
        for centre in np.stack(np.unravel_index(chosen, space.free.shape), axis=1):
            box = _box(centre, lesion, space.free.shape)
            if box is not None and _fits(space, lesion, box):
                _take(space, lesion, box)
                return lesion, box
    return None


def _box(centre: NDArray[np.intp], lesion: BankLesion, shape: tuple[int, ...]) -> Box | None:
    sides = np.array(lesion.share.shape)
    first = centre - sides // 2
    if (first < 0).any() or (first + sides > shape).any():
        return None
    z, y, x = (slice(int(a), int(a + n)) for a, n in zip(first, sides))
    return z, y, x


def _fits(space: Space, lesion: BankLesion, box: Box) -> bool:
    if not space.free[box][lesion.touched > 0].all():
        return False
    fraction = lung_there(space, box, lesion.touched).fraction(space.host)
    return PARENCHYMA[0] < fraction < PARENCHYMA[1]


def _take(space: Space, lesion: BankLesion, box: Box) -> None:
    """What it touches, and a gap around it, is free no more."""
    gap = int(np.ceil(GAP_M / space.grid.voxel_m))
    near = ndimage.distance_transform_edt(~np.pad(lesion.touched > 0, gap)) * space.grid.voxel_m <= GAP_M
    wide = tuple(slice(max(b.start - gap, 0), b.stop + gap) for b in box)
    starts = [w.start - b.start + gap for w, b in zip(wide, box)]
    inner = tuple(slice(s, s + n) for s, n in zip(starts, space.free[wide].shape))
    space.free[wide] &= ~near[inner]


def _as_sham(lesion: BankLesion, ratios: NDArray[np.float64]) -> BankLesion:
    return replace(lesion, kind="sham", rim=np.zeros_like(lesion.share), sham_ratios=(float(ratios[0]), float(ratios[1])))


def _put(
    made: Reused,
    labels: NDArray[np.uint16],
    number: int,
    space: Space,
    lesion: BankLesion,
    box: Box,
    blur_m: tuple[float, float, float],
) -> None:
    """Add one insertion to what is made; one that fills half of no voxel is labelled where it fills most."""
    lung = lung_there(space, box, lesion.touched)
    layers = texture_there(space, box, lung, lesion.touched).data
    changes = lesion_changes(lesion, lung, space.host, Texture(layers[0], layers[1], layers[2:]))
    sigma = [b / space.grid.voxel_m for b in blur_m]
    blurred = [ndimage.gaussian_filter(c, (*(0.0,) * (c.ndim - 3), *sigma)) for c in changes]
    made.attenuation[box] += blurred[0]
    made.scattering[(slice(None), *box)] += blurred[1]
    labels[box][lesion.share >= min(0.5, float(lesion.share.max()))] = number
