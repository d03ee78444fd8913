"""Backgrounds of a lesion task: noise-free slices or a radiograph of the lungs of simulated mice, and places in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.channel import Channel
from darklung.core.checks import require
from darklung.core.types import Image, Phantom
from darklung.physics.instrument import Instrument
from darklung.simulate.effects import Gratings
from darklung.simulate.lesion_task import patch_half
from darklung.simulate.plan import sinograms, slice_geometry
from darklung.simulate.protocol import Protocol
from darklung.tomo.fbp import fbp

DEPTH = "lung_depth"
_LEAST_SHARE = 0.3  # of the largest section of the lungs: the tips hold no place


def lung_slices(
    mouse: Phantom, *, instrument: Instrument, protocol: Protocol, gratings: Gratings | None, count: int
) -> Image:
    """Slices of −ln T and −ln D of each direction by FBP without noise, and how deep in the lung a pixel lies.

    Channels ``attenuation``, ``dark_field_<degrees>`` [1/m] and ``lung_depth`` [m], 0 outside; the slices are evenly spaced
    over the lungs, whose tips are left out. Not modelled: noise, hardening correction, motion, flaws of the gratings.

    Raises
    ------
    DarklungError
        Fewer slices through the lungs than are wanted.
    """
    area = (mouse.lobes > 0).sum(axis=(1, 2))
    seen = np.flatnonzero(area > _LEAST_SHARE * area.max())
    gap = len(seen) // count
    require(gap > 0, f"slices: wanted {count} through the lungs, the phantom has {len(seen)}")
    middle = seen[0] + gap // 2 + gap * np.arange(count)
    # with their neighbours, since refraction along z needs the slope of the path
    cut = _rows(mouse, np.clip(middle[:, None] + [-1, 0, 1], 0, len(area) - 1).ravel())
    plain = replace(protocol, supersampling=1)
    found = sinograms(cut, instrument, plain, gratings or Gratings())
    geometry = replace(slice_geometry(found, plain, mouse.voxel_m), rows=count)
    lines = (found.attenuation, *found.dark_field)
    images = [fbp(np.ascontiguousarray(line[:, 1::3], dtype=np.float32), geometry) for line in lines]
    depth = [ndimage.distance_transform_edt(lung) * mouse.voxel_m for lung in cut.lobes[1::3] > 0]
    names = [Channel("dark_field", float(np.rad2deg(a))).name for a in protocol.directions_rad]
    return Image(
        np.stack([*images, _on_grid(np.stack(depth), images[0].shape)]).astype(np.float32),
        ("attenuation", *names, DEPTH),
        ("1/m",) * (1 + len(names)) + ("m",),
        (gap * mouse.voxel_m, mouse.voxel_m, mouse.voxel_m),
    )


def lung_radiograph(mouse: Phantom, *, instrument: Instrument, protocol: Protocol, gratings: Gratings | None) -> Image:
    """The radiograph of a mouse without noise, as one slice as thick as the mouse: −ln T and −ln D of each direction.

    Channels as `lung_slices`; ``lung_depth`` [m] is that of the place on the ray that lies deepest in a lung, so that it
    tells whether a lesion has room somewhere on the ray.
    """
    plain = replace(protocol, views=1, supersampling=1)
    found = sinograms(mouse, instrument, plain, gratings or Gratings())
    images = np.stack([found.attenuation[0], *found.dark_field[:, 0]])
    box: tuple[slice, ...] = ndimage.find_objects((mouse.lobes > 0).astype(np.uint8))[0]
    deepest = np.zeros((mouse.lobes.shape[0], mouse.lobes.shape[2]))
    lung = np.pad(mouse.lobes[box] > 0, 1)
    inner: NDArray[Any] = np.asarray(ndimage.distance_transform_edt(lung))[1:-1, 1:-1, 1:-1]
    deepest[box[0], box[2]] = inner.max(axis=1) * mouse.voxel_m
    left = (images.shape[-1] - deepest.shape[1]) // 2
    depth = np.pad(deepest, ((0, 0), (left, images.shape[-1] - deepest.shape[1] - left)))
    names = [Channel("dark_field", float(np.rad2deg(a))).name for a in protocol.directions_rad]
    return Image(
        np.concatenate([images, depth[None]])[:, None].astype(np.float32),
        ("attenuation", *names, DEPTH),
        ("1",) * (1 + len(names)) + ("m",),
        (mouse.lobes.shape[1] * mouse.voxel_m, mouse.voxel_m, mouse.voxel_m),
    )


def _rows(mouse: Phantom, rows: NDArray[np.int64]) -> Phantom:
    """Some slices of a phantom, as if they lay one on the other."""
    plain = ("tissue_fraction", "interface_density_per_m", "aspect", "lobes", "instances")
    own: dict[str, Any] = {name: np.ascontiguousarray(getattr(mouse, name)[rows]) for name in plain}
    own |= {name: np.ascontiguousarray(getattr(mouse, name)[:, rows]) for name in ("density", "axis")}
    return replace(mouse, **own)


def _on_grid(depth: NDArray, shape: tuple[int, ...]) -> NDArray:
    """On the slices' square grid, which shares its middle with the phantom's."""
    found = np.zeros(shape)
    low = [(n - m) // 2 for n, m in zip(shape, depth.shape)]
    found[tuple(slice(k, k + m) for k, m in zip(low, depth.shape))] = depth
    return found


def background_patches(
    slices: Image, *, diameter_m: float, wanted: int, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Patches about random places where a lesion has room in the lung, (place, channel, row, col), their mean left in.

    Places of one slice are a diameter apart; there may be fewer than wanted. Vessels and airways lie within lung.
    """
    depth = slices.channel(DEPTH)
    half = patch_half(slices.spacing_m[-1])
    room = depth >= diameter_m / 2
    for axis in (1, 2):
        inner = np.arange(depth.shape[axis])
        fits = (inner >= half) & (inner < depth.shape[axis] - half)
        room &= fits.reshape([-1 if k == axis else 1 for k in range(3)])
    places = np.argwhere(room)
    chosen: list[NDArray] = []
    for place in places[generator.permutation(len(places))]:
        if len(chosen) == wanted:
            break
        near = [p for p in chosen if p[0] == place[0]]
        if all(np.hypot(*(p[1:] - place[1:])) * slices.spacing_m[-1] >= diameter_m for p in near):
            chosen.append(place)
    values = slices.data[:-1]
    cut = [values[:, z, y - half : y + half + 1, x - half : x + half + 1] for z, y, x in chosen]
    size = 2 * half + 1
    return np.stack(cut) if cut else np.empty((0, len(values), size, size), np.float32)
