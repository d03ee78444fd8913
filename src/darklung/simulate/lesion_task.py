"""A lesion in the lung of the plan's mouse: the difference that it makes in CT, and independent draws of the noise.

The signals are −ln T and −ln D of each direction, reconstructed by FBP (ramp filter). Noise is that of the plan: photons of
views and flats, drawn in the line integrals of the healthy slice and reconstructed. The lesion is its central slice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_range, require
from darklung.core.geometry import ParallelGeometry
from darklung.physics.instrument import Instrument
from darklung.physics.lung import HEALTHY, LESIONS, find_class
from darklung.physics.noise import log_transmission_variance, log_visibility_variance
from darklung.simulate.effects import Gratings
from darklung.simulate.plan import LUNG_AT_M, Sinograms, lung_core, mouse_slice, sinograms, slice_geometry
from darklung.simulate.protocol import Protocol
from darklung.tomo.fbp import fbp

PATCH_M = 5e-3
LARGEST_M = 3e-3
_TOGETHER = 100  # realisations that are reconstructed at once

Array = NDArray[np.float32]


@dataclass(frozen=True)
class LesionTask:
    """What an observer of one protocol is given; channels are −ln T, then −ln D of each direction [1/m].

    Parameters
    ----------
    pixel_m : float
    signals : mapping of (class, diameter [m]) to (channel, row, col) arrays
        Lesion present less absent, without noise.
    noise : (realisation, channel, row, col) array
        Of a patch of healthy lung about the lesion's place.
    lung_noise : (channel,) array
        Standard deviation of a voxel, over realisations and over the lung.
    """

    pixel_m: float
    signals: dict[tuple[str, float], Array]
    noise: Array
    lung_noise: NDArray[np.float64]


def lesion_task(
    *,
    instrument: Instrument,
    protocol: Protocol,
    pixel_m: float,
    gratings: Gratings | None,
    classes: tuple[str, ...],
    diameters_m: tuple[float, ...],
    realisations: int,
    generator: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> LesionTask:
    """Simulate lesions of each class and diameter, and noise.

    Raises
    ------
    DarklungError
        A radiograph, an unknown class, or a lesion that is below two pixels or above 3 mm.
    """
    check_task(protocol, pixel_m, classes, diameters_m)
    plain, field = replace(protocol, supersampling=1), gratings or Gratings()
    healthy = sinograms(mouse_slice(pixel_m, HEALTHY, HEALTHY), instrument, plain, field)
    geometry = slice_geometry(healthy, plain, pixel_m)
    patch = _patch(geometry)
    total, done = len(classes) * len(diameters_m) + -(-realisations // _TOGETHER), 0
    signals: dict[tuple[str, float], Array] = {}
    for name in classes:
        for diameter in diameters_m:
            nodule = LESIONS[name].medium(HEALTHY)
            other = sinograms(mouse_slice(pixel_m, HEALTHY, nodule, diameter), instrument, plain, field)
            signals[name, diameter] = _difference(other, healthy, geometry)[:, *patch]
            done = _told(progress, done, total)
    core, parts, squares = lung_core(geometry), [], []
    sizes = [min(_TOGETHER, realisations - start) for start in range(0, realisations, _TOGETHER)]
    for size in sizes:
        drawn = _noise(healthy, instrument, plain, geometry, size, generator)
        parts.append(drawn[:, :, *patch])
        squares.append((drawn[:, :, core].astype(np.float64) ** 2).mean(axis=2))
        done = _told(progress, done, total)
    spread = np.sqrt(np.concatenate(squares).mean(axis=0))
    return LesionTask(pixel_m, signals, np.concatenate(parts), np.asarray(spread))


def check_task(protocol: Protocol, pixel_m: float, classes: tuple[str, ...], diameters_m: tuple[float, ...]) -> None:
    """Refuse what `lesion_task` cannot do."""
    require(protocol.views > 1, "views: wanted a CT, since lesions are shown in slices, got a protocol of one view")
    for name in classes:
        find_class("class", name, LESIONS)
    for diameter in diameters_m:
        check_range("size", diameter, 2 * pixel_m, LARGEST_M)


def _told(progress: Callable[[int, int], None] | None, done: int, total: int) -> int:
    if progress is not None:
        progress(done + 1, total)
    return done + 1


def patch_half(pixel_m: float) -> int:
    """Pixels of a patch on each side of its middle."""
    return int(np.ceil(PATCH_M / 2 / pixel_m))


def _patch(geometry: ParallelGeometry) -> tuple[slice, slice]:
    """Rows and columns about the lesion's place; its centre is pixel n // 2."""
    half = patch_half(geometry.pixel_m)
    axis = (np.arange(geometry.cols) - (geometry.cols - 1) / 2) * geometry.pixel_m
    row, col = (int(np.argmin(np.abs(axis - at))) for at in (0.0, LUNG_AT_M))
    return slice(row - half, row + half + 1), slice(col - half, col + half + 1)


def _difference(other: Sinograms, healthy: Sinograms, geometry: ParallelGeometry) -> Array:
    lines = [other.attenuation - healthy.attenuation, *(other.dark_field - healthy.dark_field)]
    return np.stack([fbp(line.astype(np.float32), geometry)[0] for line in lines])


def _noise(
    healthy: Sinograms,
    instrument: Instrument,
    protocol: Protocol,
    geometry: ParallelGeometry,
    count: int,
    generator: np.random.Generator,
) -> Array:
    """Slices of noise (realisation, channel, row, col); the flats' is the same in all views."""
    directions, many = len(protocol.directions_rad), replace(geometry, rows=count)
    flats = protocol.frame_counts * protocol.steps * protocol.flat_count
    dark = float(log_visibility_variance(instrument.flat_visibility, flats))
    variances = [(healthy.attenuation_variance / directions, float(log_transmission_variance(flats)) / directions)]
    variances += [(one, dark) for one in healthy.dark_field_variance]
    found = []
    for views, flat in variances:
        lines = generator.standard_normal((geometry.views, count, geometry.cols), dtype=np.float32)
        lines *= np.sqrt(views).astype(np.float32)
        lines += np.float32(np.sqrt(flat)) * generator.standard_normal((count, geometry.cols), dtype=np.float32)
        found.append(fbp(lines, many))
    return np.stack(found, axis=1)
