"""What a protocol will give before it is scanned: time, dose, noise, contrast of small lesions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_positive
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import Phantom
from darklung.physics.dose import mean_dose_gy
from darklung.physics.instrument import Instrument
from darklung.physics.noise import VALIDITY_LIMIT, log_transmission_variance, log_visibility_variance
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import view_signals
from darklung.tomo.fbp import fbp, fbp_variance

LESION_M = 1e-3
LESIONS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "solid": (0.97, 2.5e3),
        "partly filled": (0.8, 3.0e4),
        "papillary": (0.6, 5.0e4),
        "ground glass": (0.475, 7.5e4),
    }
)
"""Tissue fraction and interface density [1/m] of the lesion classes."""

_LUNG = (0.3, 8.02e4)
_BODY_M, _LUNG_SEMI_M, _LUNG_AT_M = 10.5e-3, (3.6e-3, 5.0e-3), 4.2e-3
_FLAT_DRAWS = 48


@dataclass(frozen=True)
class LesionPlan:
    """Expected contrast-to-noise ratio of a 1 mm lesion, |lesion − lung|/SD of a lung voxel or pixel.

    Parameters
    ----------
    name : str
    ct_attenuation, ct_dark_field : float
        In the FBP (ramp filter) of all directions together; NaN for a radiograph.
    radiograph_attenuation, radiograph_dark_field : float
        In one pixel of one view of all directions together.
    """

    name: str
    ct_attenuation: float
    ct_dark_field: float
    radiograph_attenuation: float
    radiograph_dark_field: float


@dataclass(frozen=True)
class ScanPlan:
    """What to expect of a protocol on a mouse: a water cylinder of 21 mm with two lungs, in one slice.

    Parameters
    ----------
    view_time_s, flat_time_s, total_time_s, time_limit_s : float
        Time on views, on flats, in all; what is allowed.
    frame_counts : float
        Open-beam counts of a pixel in one frame.
    dose_gy : float
        Mean dose, see `darklung.physics.dose.mean_dose_gy` (± 40 %).
    flat_visibility : float
    correlation_length_m : tuple of float
        ξ from the highest to the lowest energy.
    attenuation, dark_field : float
        Largest −ln T and −ln D over views and columns.
    attenuation_noise, dark_field_noise : float
        Standard deviations of a view's pixel in the darkest ray.
    least_strength : float
        Smallest N V² of a view; retrieval needs more than 10.
    valid : float
        Fraction of rays through the body with N V² > 10.
    lesions : tuple of LesionPlan
    advice : tuple of str
    """

    view_time_s: float
    flat_time_s: float
    total_time_s: float
    time_limit_s: float
    frame_counts: float
    dose_gy: float
    flat_visibility: float
    correlation_length_m: tuple[float, float]
    attenuation: float
    dark_field: float
    attenuation_noise: float
    dark_field_noise: float
    least_strength: float
    valid: float
    lesions: tuple[LesionPlan, ...]
    advice: tuple[str, ...]


@dataclass(frozen=True)
class _Sinograms:
    """Noise-free −ln T (view, row, col), −ln D (direction, ...) and their photon variances."""

    attenuation: NDArray[np.float64]
    dark_field: NDArray[np.float64]
    attenuation_variance: NDArray[np.float64]
    dark_field_variance: NDArray[np.float64]
    strength: NDArray[np.float64]


def plan_scan(*, instrument: Instrument, protocol: Protocol, pixel_m: float = 120e-6) -> ScanPlan:
    """Work out a protocol by a noise-free scan of one slice and the exact propagation of photon noise through FBP.

    Noise of the flats is included: it is the same in all views, so it is propagated by random draws through FBP. Not
    modelled: effects of `darklung.simulate.effects`, clutter of anatomy, motion.

    Parameters
    ----------
    instrument : Instrument
    protocol : Protocol
        Its supersampling is not used.
    pixel_m : float
        Detector pixel, referred to the animal.
    """
    check_positive("pixel_m", pixel_m)
    protocol = replace(protocol, supersampling=1)
    healthy = _sinograms(_slice(pixel_m, _LUNG), instrument, protocol)
    geometry = _geometry(healthy, protocol, pixel_m)
    noise = _voxel_noise(healthy, instrument, protocol, geometry)
    images = _images(healthy, geometry)
    lesions = []
    for name, lesion in LESIONS.items():
        other = _sinograms(_slice(pixel_m, lesion), instrument, protocol)
        lesions.append(_contrast(name, healthy, other, images, _images(other, geometry), noise, pixel_m))
    body = healthy.attenuation > 1e-3
    worst = np.unravel_index(np.argmin(healthy.strength), healthy.strength.shape)
    share = protocol.flat_count / (protocol.views + protocol.flat_count)
    xi = instrument.correlation_length_m
    plan = ScanPlan(
        view_time_s=protocol.total_time_s * (1 - share),
        flat_time_s=protocol.total_time_s * share,
        total_time_s=protocol.total_time_s,
        time_limit_s=protocol.time_limit_s,
        frame_counts=protocol.frame_counts,
        dose_gy=mean_dose_gy(instrument, counts_per_pixel=protocol.counts_per_pixel, pixel_m=pixel_m),
        flat_visibility=instrument.flat_visibility,
        correlation_length_m=(float(xi.min()), float(xi.max())),
        attenuation=float(healthy.attenuation.max()),
        dark_field=float(healthy.dark_field.max()),
        attenuation_noise=float(np.sqrt(healthy.attenuation_variance[worst[1:]])),
        dark_field_noise=float(np.sqrt(healthy.dark_field_variance[worst])),
        least_strength=float(healthy.strength.min()),
        valid=float((healthy.strength[:, body] > VALIDITY_LIMIT).mean()),
        lesions=tuple(lesions),
        advice=(),
    )
    return replace(plan, advice=_advice(plan, protocol))


def table(plan: ScanPlan) -> str:
    """The plan as text, for a terminal."""
    low, high = (1e6 * value for value in plan.correlation_length_m)
    verdict = "fits" if plan.total_time_s <= plan.time_limit_s else "DOES NOT FIT"
    lines = [
        f"time        {plan.total_time_s:.0f} s of {plan.time_limit_s:.0f} s ({verdict}): views {plan.view_time_s:.0f} s, "
        f"flats {plan.flat_time_s:.0f} s",
        f"photons     {plan.frame_counts:.3g} counts a pixel and frame (open beam)",
        f"mean dose   {1e3 * plan.dose_gy:.0f} mGy (± 40 %; from detected photons, build-up 1.3)",
        f"instrument  V0 = {plan.flat_visibility:.3f}, ξ = {low:.2f} to {high:.2f} µm over the spectrum",
        f"mouse       −ln T up to {plan.attenuation:.2f} ± {plan.attenuation_noise:.3f}, "
        f"−ln D up to {plan.dark_field:.2f}; in the weakest ray ± {plan.dark_field_noise:.2f} a view",
        f"validity    least N V² = {plan.least_strength:.1f} (10 wanted); {100 * plan.valid:.1f} % of the rays are valid",
        "1 mm lesion, CNR       CT: attenuation  dark field   one view: attenuation  dark field",
    ]
    for lesion in plan.lesions:
        ct = [f"{value:.1f}" if np.isfinite(value) else "–" for value in (lesion.ct_attenuation, lesion.ct_dark_field)]
        lines.append(
            f"  {lesion.name:24s} {ct[0]:>10s} {ct[1]:>11s} "
            f"{lesion.radiograph_attenuation:22.2f} {lesion.radiograph_dark_field:11.2f}"
        )
    lines += [f"advice      {text}" for text in plan.advice]
    return "\n".join(lines)


def _advice(plan: ScanPlan, protocol: Protocol) -> tuple[str, ...]:
    found = []
    dead = protocol.dead_time_s / (protocol.dead_time_s + protocol.exposure_s)
    if dead > 0.15:
        found.append(f"{100 * dead:.0f} % of the time is dead time: fewer, longer frames give more photons")
    if plan.least_strength < VALIDITY_LIMIT:
        found.append(
            "N V² falls below 10 in a view: −ln D saturates there; fewer views at the same dose, or more visibility"
        )
    if protocol.flat_share < 0.15:
        found.append("flats hold less than 15 % of the counts: their noise makes rings")
    solid = plan.lesions[0]
    if solid.ct_dark_field < solid.ct_attenuation:
        gain = solid.ct_attenuation / max(solid.ct_dark_field, 1e-9)
        found.append(f"dark field needs {gain:.1f} times the visibility, or ξ, to match attenuation for solid lesions in CT")
    return tuple(found)


def _slice(pixel_m: float, nodule: tuple[float, float]) -> Phantom:
    """One slice of a mouse with a 1 mm nodule of (φ, S_V) in the middle of its right lung; drawn 4 times finer."""
    size, fine = int(np.ceil(1.1 * 2 * _BODY_M / pixel_m)), 4
    axis = (np.arange(size * fine) - (size * fine - 1) / 2) * pixel_m / fine
    y, x = np.meshgrid(axis, axis, indexing="ij")
    lung = (((np.abs(x) - _LUNG_AT_M) / _LUNG_SEMI_M[0]) ** 2 + (y / _LUNG_SEMI_M[1]) ** 2) < 1
    inside = np.hypot(x - _LUNG_AT_M, y) < LESION_M / 2
    tissue = np.where(lung, np.where(inside, nodule[0], _LUNG[0]), 1.0) * 1.05 * (np.hypot(x, y) < _BODY_M)

    def coarse(field: NDArray) -> NDArray[np.float32]:
        means = field.reshape(size, fine, size, fine).mean(axis=(1, 3))
        return np.asarray(means[None], dtype=np.float32)

    share = np.maximum(coarse(lung), 1e-9)
    direction = np.zeros((3, 1, size, size), dtype=np.float32)
    direction[0] = 1
    return Phantom(
        voxel_m=pixel_m,
        materials=("soft_tissue",),
        density=coarse(tissue)[None],
        tissue_fraction=(coarse(np.where(inside, nodule[0], _LUNG[0]) * lung) / share).astype(np.float32),
        interface_density_per_m=coarse(np.where(inside, nodule[1], _LUNG[1]) * lung),
        aspect=np.ones((1, size, size), dtype=np.float32),
        axis=direction,
        lobes=(coarse(lung) > 0.5).astype(np.uint8),
        instances=np.zeros((1, size, size), dtype=np.uint16),
    )


def _sinograms(phantom: Phantom, instrument: Instrument, protocol: Protocol) -> _Sinograms:
    signals = list(view_signals(phantom, instrument=instrument, protocol=protocol))
    mean = np.stack([signal.mean for signal in signals])
    fringe = np.stack([np.abs(signal.fringe) for signal in signals], axis=1)
    counts = protocol.frame_counts * protocol.steps * mean
    visibility = fringe / mean
    return _Sinograms(
        attenuation=-np.log(mean),
        dark_field=-np.log(visibility / instrument.flat_visibility),
        attenuation_variance=log_transmission_variance(counts),
        dark_field_variance=log_visibility_variance(visibility, counts),
        strength=counts * visibility**2,
    )


def _geometry(sinograms: _Sinograms, protocol: Protocol, pixel_m: float) -> ParallelGeometry:
    return ParallelGeometry(protocol.angles_rad, rows=1, cols=sinograms.attenuation.shape[-1], pixel_m=pixel_m)


def _images(sinograms: _Sinograms, geometry: ParallelGeometry) -> tuple[NDArray, NDArray]:
    """Slices of attenuation and of dark field, the mean over directions [1/m]."""
    if geometry.views == 1:
        empty = np.zeros((geometry.cols, geometry.cols))
        return empty, empty
    attenuation = fbp(sinograms.attenuation.astype(np.float32), geometry)[0]
    return attenuation, fbp(sinograms.dark_field.mean(axis=0).astype(np.float32), geometry)[0]


def _voxel_noise(
    sinograms: _Sinograms, instrument: Instrument, protocol: Protocol, geometry: ParallelGeometry
) -> tuple[float, float]:
    """Standard deviation of a lung voxel in attenuation and dark field, mean of all directions [1/m]."""
    if geometry.views == 1:
        return np.nan, np.nan
    directions = len(protocol.directions_rad)
    lung = _lung_core(geometry)
    flat_counts = protocol.frame_counts * protocol.steps * protocol.flat_count
    results = []
    for variance, flat in (
        (sinograms.attenuation_variance, log_transmission_variance(flat_counts)),
        (sinograms.dark_field_variance.mean(axis=0), log_visibility_variance(instrument.flat_visibility, flat_counts)),
    ):
        photons = fbp_variance(variance.astype(np.float32), geometry)[0][lung].mean()
        results.append(float(np.sqrt((photons + float(flat) * _ring_variance(geometry)[lung].mean()) / directions)))
    return results[0], results[1]


def _ring_variance(geometry: ParallelGeometry) -> NDArray[np.float64]:
    """Variance of a voxel for unit white noise on the columns that is the same in all views, by draws."""
    drawn = stream(0, "plan", "flats").standard_normal((_FLAT_DRAWS, geometry.cols)).astype(np.float32)
    many = replace(geometry, rows=_FLAT_DRAWS)
    views = np.broadcast_to(drawn, (geometry.views, _FLAT_DRAWS, geometry.cols))
    rings = fbp(np.ascontiguousarray(views), many)
    return np.asarray((rings.astype(np.float64) ** 2).mean(axis=0))


def _lung_core(geometry: ParallelGeometry) -> NDArray[np.bool_]:
    axis = (np.arange(geometry.cols) - (geometry.cols - 1) / 2) * geometry.pixel_m
    y, x = np.meshgrid(axis, axis, indexing="ij")
    semi_x, semi_y = (0.8 * value for value in _LUNG_SEMI_M)
    return np.asarray(((np.abs(x) - _LUNG_AT_M) / semi_x) ** 2 + (y / semi_y) ** 2 < 1)


def _contrast(
    name: str,
    healthy: _Sinograms,
    other: _Sinograms,
    images: tuple[NDArray, NDArray],
    other_images: tuple[NDArray, NDArray],
    noise: tuple[float, float],
    pixel_m: float,
) -> LesionPlan:
    size = images[0].shape[0]
    axis = (np.arange(size) - (size - 1) / 2) * pixel_m
    y, x = np.meshgrid(axis, axis, indexing="ij")
    inside = np.hypot(x - _LUNG_AT_M, y) < 0.7 * LESION_M / 2
    ct = [float(np.abs((o - h)[inside].mean()) / sd) for h, o, sd in zip(images, other_images, noise)]
    column = int(np.argmin(np.abs(axis - _LUNG_AT_M)))  # in the first view columns are x
    directions = len(healthy.dark_field)
    change = other.attenuation[0, 0, column] - healthy.attenuation[0, 0, column]
    change_dark = (other.dark_field - healthy.dark_field)[:, 0, 0, column].mean()
    sd = np.sqrt(healthy.attenuation_variance[0, 0, column] / directions)
    sd_dark = np.sqrt(healthy.dark_field_variance[:, 0, 0, column].mean() / directions)
    return LesionPlan(name, ct[0], ct[1], float(abs(change) / sd), float(abs(change_dark) / sd_dark))
