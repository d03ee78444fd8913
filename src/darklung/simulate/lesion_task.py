"""A lesion in the lung of the plan's mouse: the difference that it makes in an image, and independent draws of the noise.

The signals are −ln T and −ln D of each direction. Of a CT they are reconstructed by FBP (ramp filter) and the lesion is seen
in its central slice; of a radiograph, a protocol of one view, they are the retrieved maps, and the lesion is round. Noise
is that of the plan: photons of views and flats, drawn in the line integrals, of a CT reconstructed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_range
from darklung.core.geometry import ParallelGeometry
from darklung.core.types import Phantom
from darklung.physics.instrument import Instrument
from darklung.physics.lung import HEALTHY, LESIONS, MIMICS, Medium, find_class
from darklung.simulate.effects import Gratings
from darklung.simulate.plan import (
    LUNG_AT_M,
    Sinograms,
    flat_variances,
    lung_core,
    mouse_slice,
    mouse_volume,
    sinograms,
    slice_geometry,
)
from darklung.simulate.protocol import Protocol
from darklung.tomo.fbp import fbp

PATCH_M = 5e-3
LARGEST_M = 3e-3
_TOGETHER = 100  # realisations that are reconstructed at once

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Lines:
    """What is measured: line integrals with noise that is independent in each, and the flats' that views share.

    Parameters
    ----------
    changes : mapping of (class, diameter [m]) to (channel, view, row, col) arrays
        Lesion present less absent.
    variance : (channel, view, row, col) array
        Of the healthy mouse's views.
    flat_variance : (channel,) array
        The same in all views.
    """

    changes: dict[tuple[str, float], NDArray[np.float64]]
    variance: NDArray[np.float64]
    flat_variance: NDArray[np.float64]


@dataclass(frozen=True)
class LesionTask:
    """What an observer of one protocol is given; channels are −ln T, then −ln D of each direction (of a CT [1/m]).

    Parameters
    ----------
    pixel_m : float
    signals : mapping of (class, diameter [m]) to (channel, row, col) arrays
        Lesion present less absent, without noise.
    noise : (realisation, channel, row, col) array
        Of a patch of healthy lung about the lesion's place.
    lung_noise : (channel,) array
        Standard deviation of a voxel, over realisations and over the lung; of a radiograph's pixel at the lesion's middle.
    lines : Lines
    core : float
        Share of the lesion's radius over which ``darklung check`` takes its contrast; 0: its middle pixel.
    mimics : mapping of diameter [m] to (mimic, fraction, surface, channel, row, col) arrays
        Of each mimic the difference that it makes at both ends of its ranges of φ and of S_V.
    """

    pixel_m: float
    signals: dict[tuple[str, float], Array]
    noise: Array
    lung_noise: NDArray[np.float64]
    lines: Lines
    core: float
    mimics: dict[float, Array]


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
    mimics: tuple[str, ...] = (),
    progress: Callable[[int, int], None] | None = None,
) -> LesionTask:
    """Simulate lesions of each class and diameter, mimics of each diameter, and noise.

    Raises
    ------
    DarklungError
        An unknown class, or a lesion that is below two pixels or above 3 mm.
    """
    check_task(pixel_m, classes, diameters_m, mimics)
    plain, field = replace(protocol, supersampling=1), gratings or Gratings()
    healthy = sinograms(_mouse(plain, pixel_m, HEALTHY, 0.0), instrument, plain, field)
    geometry = slice_geometry(healthy, plain, pixel_m)
    show, patch = (_radiograph, (slice(None), _about(geometry, LUNG_AT_M))) if plain.views == 1 else (fbp, _patch(geometry))
    total, done = len(classes) * len(diameters_m) + -(-realisations // _TOGETHER), 0

    def change_of(nodule: Medium, diameter_m: float) -> tuple[NDArray[np.float64], Array]:
        """In the lines, and in the patch of the image."""
        change = _channels(sinograms(_mouse(plain, pixel_m, nodule, diameter_m), instrument, plain, field)) - known
        return change, np.stack([show(line.astype(np.float32), geometry)[0] for line in change])[:, *patch]

    known, signals, changes, others = _channels(healthy), {}, {}, {}
    for name in classes:
        for diameter in diameters_m:
            changes[name, diameter], signals[name, diameter] = change_of(LESIONS[name].medium(HEALTHY), diameter)
            done = _told(progress, done, total)
    for diameter in diameters_m:
        ends = [[[change_of(mimic_medium(m, a, b), diameter)[1] for b in (0, 1)] for a in (0, 1)] for m in mimics]
        others[diameter] = np.array(ends, dtype=np.float32)
    lines = _lines(changes, healthy, instrument, plain)
    sizes = [min(_TOGETHER, realisations - start) for start in range(0, realisations, _TOGETHER)]
    parts, squares = [], []
    for size in sizes:
        if plain.views == 1:
            part = _pixel_noise(lines, patch, size, generator)
        else:
            drawn = _noise(lines, geometry, size, generator)
            part = drawn[:, :, *patch]
            squares.append((drawn[:, :, lung_core(geometry)].astype(np.float64) ** 2).mean(axis=2))
        parts.append(part)
        done = _told(progress, done, total)
    noise, core = np.concatenate(parts), 0.7 if squares else 0.0
    spread = np.sqrt(np.concatenate(squares).mean(axis=0)) if squares else _middle_noise(lines, patch)
    return LesionTask(pixel_m, signals, noise, np.asarray(spread), lines, core, others)


def check_task(
    pixel_m: float, classes: tuple[str, ...], diameters_m: tuple[float, ...], mimics: tuple[str, ...] = ()
) -> None:
    """Refuse what `lesion_task` cannot do."""
    for name in mimics:
        find_class("mimic", name, MIMICS)
    for name in classes:
        find_class("class", name, LESIONS)
    for diameter in diameters_m:
        check_range("size", diameter, 2 * pixel_m, LARGEST_M)


def mimic_medium(name: str, fraction_share: float, surface_share: float) -> Medium:
    """What a mimic is made of at these shares of its ranges; of a knot of vessels the mean of vessels and lung between."""
    mimic = MIMICS[name]
    if mimic.vessel_fill is None:
        return mimic.medium(HEALTHY, fraction_share=fraction_share, surface_share=surface_share)
    low, high = mimic.vessel_fill
    fill, (least, most) = low + fraction_share * (high - low), mimic.surface
    phi, surface = HEALTHY.tissue_fraction, HEALTHY.interface_density_per_m
    return Medium(phi + fill * (1 - phi), surface * (1 - fill) * (least + surface_share * (most - least)))


def _mouse(protocol: Protocol, pixel_m: float, nodule: Medium, diameter_m: float) -> Phantom:
    """A slice for a CT, all of the patch's rows for a radiograph."""
    if protocol.views > 1:
        return mouse_slice(pixel_m, HEALTHY, nodule, diameter_m)
    return mouse_volume(pixel_m, 2 * patch_half(pixel_m) + 1, nodule, diameter_m)


def _channels(seen: Sinograms) -> NDArray[np.float64]:
    """(channel, view, row, col)."""
    return np.concatenate([seen.attenuation[None], seen.dark_field])


def _radiograph(lines: Array, _: ParallelGeometry) -> Array:
    """A view is the image."""
    return lines


def _told(progress: Callable[[int, int], None] | None, done: int, total: int) -> int:
    if progress is not None:
        progress(done + 1, total)
    return done + 1


def patch_half(pixel_m: float) -> int:
    """Pixels of a patch on each side of its middle."""
    return int(np.ceil(PATCH_M / 2 / pixel_m))


def _patch(geometry: ParallelGeometry) -> tuple[slice, slice]:
    """Rows and columns of a slice about the lesion's place; its centre is pixel n // 2."""
    return _about(geometry, 0.0), _about(geometry, LUNG_AT_M)


def _about(geometry: ParallelGeometry, at_m: float) -> slice:
    half, axis = patch_half(geometry.pixel_m), (np.arange(geometry.cols) - (geometry.cols - 1) / 2) * geometry.pixel_m
    middle = int(np.argmin(np.abs(axis - at_m)))
    return slice(middle - half, middle + half + 1)


def _lines(
    changes: dict[tuple[str, float], NDArray[np.float64]], healthy: Sinograms, instrument: Instrument, protocol: Protocol
) -> Lines:
    directions = len(protocol.directions_rad)
    flat, dark = flat_variances(instrument, protocol)
    variance = np.concatenate([healthy.attenuation_variance[None] / directions, healthy.dark_field_variance])
    return Lines(changes, variance, np.array([flat / directions, *[dark] * directions]))


def _pixel_noise(lines: Lines, patch: tuple[slice, slice], count: int, generator: np.random.Generator) -> Array:
    """Patches of a radiograph's noise (realisation, channel, row, col), independent in each pixel."""
    spread = np.sqrt(lines.variance[:, 0] + lines.flat_variance[:, None, None])[:, *patch].astype(np.float32)
    return spread * generator.standard_normal((count, *spread.shape), dtype=np.float32)


def _middle_noise(lines: Lines, patch: tuple[slice, slice]) -> NDArray[np.float64]:
    variance = (lines.variance[:, 0] + lines.flat_variance[:, None, None])[:, *patch]
    return np.asarray(np.sqrt(variance[:, variance.shape[1] // 2, variance.shape[2] // 2]))


def _noise(lines: Lines, geometry: ParallelGeometry, count: int, generator: np.random.Generator) -> Array:
    """Slices of noise (realisation, channel, row, col); the flats' is the same in all views."""
    many, found = replace(geometry, rows=count), []
    for views, flat in zip(lines.variance, lines.flat_variance):
        drawn = generator.standard_normal((geometry.views, count, geometry.cols), dtype=np.float32)
        drawn *= np.sqrt(views).astype(np.float32)
        drawn += np.float32(np.sqrt(flat)) * generator.standard_normal((count, geometry.cols), dtype=np.float32)
        found.append(fbp(drawn, many))
    return np.stack(found, axis=1)
