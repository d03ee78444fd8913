"""What a protocol will give before it is scanned: time, dose, noise, contrast of small lesions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_range, require
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import Phantom
from darklung.physics.dose import entrance_fluence, mean_dose_gy
from darklung.physics.instrument import Instrument
from darklung.physics.lung import HEALTHY, LESIONS, Medium
from darklung.physics.noise import VALIDITY_LIMIT, log_transmission_variance, log_visibility_variance
from darklung.simulate.effects import Gratings
from darklung.simulate.flat import flat_maps
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import view_signals
from darklung.tomo.fbp import fbp, fbp_variance

LESION_M = 1e-3
_BODY_M, _LUNG_SEMI_M, LUNG_AT_M = 10.5e-3, (3.6e-3, 5.0e-3), 4.2e-3
_FLAT_DRAWS = 48
_FIELDS = ("tissue_fraction", "interface_density_per_m", "aspect", "lobes", "instances")
COARSEST_M = 6e-4  # a lesion of 1 mm must hold a voxel


@dataclass(frozen=True)
class LesionPlan:
    """Expected contrast-to-noise ratio of a 1 mm lesion, |lesion − lung|/SD of a lung voxel or pixel.

    Parameters
    ----------
    name : str
    ct_attenuation, ct_dark_field : float
        In the FBP (ramp filter) of all directions together; NaN for a radiograph.
    radiograph_attenuation, radiograph_dark_field : float
        In one pixel of one view of all directions together, noise of the flats included.
    """

    name: str
    ct_attenuation: float
    ct_dark_field: float
    radiograph_attenuation: float
    radiograph_dark_field: float

    @property
    def has_ct(self) -> bool:
        """False of a radiograph."""
        return bool(np.isfinite(self.ct_attenuation))

    @property
    def ratios(self) -> tuple[float, float]:
        """Attenuation and dark field in CT, or in a radiograph where there is no CT."""
        if self.has_ct:
            return self.ct_attenuation, self.ct_dark_field
        return self.radiograph_attenuation, self.radiograph_dark_field


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
        Mean dose of the views, see `darklung.physics.dose.mean_dose_gy` (± 40 %). The animal is out of the beam for flats.
    fluence_rate : float
        Photons that must reach the animal [1/(m² s)] while a frame is exposed.
    flat_visibility : float
        V0, mean over the field.
    visibility_range : tuple of float
        Lowest and highest V0 over a square field, from the gratings' maps.
    correlation_length_m : tuple of float
        ξ from the highest to the lowest energy.
    correlation_depth_m : tuple of float
        ξ at the reference energy at the far and the near side of the animal (its own distance to G2).
    attenuation, dark_field : float
        Largest −ln T and −ln D over views and columns.
    attenuation_noise, dark_field_noise : float
        Standard deviations of a view's pixel in the darkest ray.
    least_strength : float
        Smallest N V² of a view; retrieval needs more than 10.
    valid : float
        Fraction of rays through the body with N V² > 10.
    lesions : tuple of LesionPlan
    """

    view_time_s: float
    flat_time_s: float
    total_time_s: float
    time_limit_s: float
    frame_counts: float
    dose_gy: float
    fluence_rate: float
    flat_visibility: float
    visibility_range: tuple[float, float]
    correlation_length_m: tuple[float, float]
    correlation_depth_m: tuple[float, float]
    attenuation: float
    dark_field: float
    attenuation_noise: float
    dark_field_noise: float
    least_strength: float
    valid: float
    lesions: tuple[LesionPlan, ...]


@dataclass(frozen=True)
class Sinograms:
    """Noise-free −ln T (view, row, col), −ln D (direction, ...) and their photon variances."""

    attenuation: NDArray[np.float64]
    dark_field: NDArray[np.float64]
    attenuation_variance: NDArray[np.float64]
    dark_field_variance: NDArray[np.float64]
    strength: NDArray[np.float64]


def plan_scan(
    *,
    instrument: Instrument,
    protocol: Protocol,
    pixel_m: float = 120e-6,
    behind_sample: float = 0.5,
    gratings: Gratings | None = None,
    lung: Medium = HEALTHY,
) -> ScanPlan:
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
    behind_sample : float
        Transmission of what stands between animal and detector, for dose and fluence.
    gratings : Gratings, optional
        Unevenness of flux and visibility over the field.
    lung : Medium
        The mouse's healthy lung; lesions are the middle of each class in it.
    """
    check_range("pixel_m", pixel_m, 1e-6, COARSEST_M)
    seen = instrument.flat_visibility
    require(seen > 0, f"visibility: wanted above 0, since without fringes there is no dark field to plan, got {seen:g}")
    protocol = replace(protocol, supersampling=1)
    field = gratings or Gratings()
    healthy = sinograms(mouse_slice(pixel_m, lung, lung), instrument, protocol, field)
    geometry = slice_geometry(healthy, protocol, pixel_m)
    noise = _voxel_noise(healthy, instrument, protocol, geometry)
    images = slices(healthy, geometry)
    lesions, flats = [], flat_variances(instrument, protocol)
    for name, lesion in LESIONS.items():
        other = sinograms(mouse_slice(pixel_m, lung, lesion.medium(lung)), instrument, protocol, field)
        lesions.append(_contrast(name, healthy, other, images, slices(other, geometry), noise, flats, pixel_m))
    body = healthy.attenuation > 1e-3
    worst = np.unravel_index(np.argmin(healthy.strength), healthy.strength.shape)
    share = protocol.flat_count / (protocol.views + protocol.flat_count)
    xi = instrument.correlation_length_m
    depth = np.array([-_BODY_M, _BODY_M]) / instrument.distance_m
    exposed = entrance_fluence(
        instrument, counts_per_pixel=protocol.frame_counts, pixel_m=pixel_m, behind_sample=behind_sample
    )
    dose = mean_dose_gy(instrument, counts_per_pixel=protocol.counts_per_pixel, pixel_m=pixel_m, behind_sample=behind_sample)
    return ScanPlan(
        view_time_s=protocol.total_time_s * (1 - share),
        flat_time_s=protocol.total_time_s * share,
        total_time_s=protocol.total_time_s,
        time_limit_s=protocol.time_limit_s,
        frame_counts=protocol.frame_counts,
        dose_gy=dose,
        fluence_rate=float(exposed.sum() / protocol.exposure_s),
        flat_visibility=instrument.flat_visibility,
        visibility_range=_visibility_range(instrument, protocol, field),
        correlation_length_m=_ends(xi),
        correlation_depth_m=_ends(instrument.reference_correlation_length_m * np.maximum(1 + depth, 0)),
        attenuation=float(healthy.attenuation.max()),
        dark_field=float(healthy.dark_field.max()),
        attenuation_noise=float(np.sqrt(healthy.attenuation_variance[worst[1:]])),
        dark_field_noise=float(np.sqrt(healthy.dark_field_variance[worst])),
        least_strength=float(healthy.strength.min()),
        valid=float((healthy.strength[:, body] > VALIDITY_LIMIT).mean()),
        lesions=tuple(lesions),
    )


def _ends(values: NDArray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _visibility_range(instrument: Instrument, protocol: Protocol, gratings: Gratings) -> tuple[float, float]:
    maps = flat_maps(gratings, directions_rad=protocol.directions_rad, rows=64, cols=64)
    return _ends(instrument.flat_visibility * maps.visibility)


def mouse_slice(pixel_m: float, around: Medium, nodule: Medium, diameter_m: float = LESION_M) -> Phantom:
    """One slice of the plan's mouse: 21 mm across, two lungs of the medium `around`, and a `nodule` in one.

    Drawn four times finer than the pixels.
    """
    size, fine = int(np.ceil(1.1 * 2 * _BODY_M / pixel_m)), 4
    axis = (np.arange(size * fine) - (size * fine - 1) / 2) * pixel_m / fine
    y, x = np.meshgrid(axis, axis, indexing="ij")
    lung = (((np.abs(x) - LUNG_AT_M) / _LUNG_SEMI_M[0]) ** 2 + (y / _LUNG_SEMI_M[1]) ** 2) < 1
    inside = np.hypot(x - LUNG_AT_M, y) < diameter_m / 2
    phi = np.where(inside, nodule.tissue_fraction, around.tissue_fraction)
    surface = np.where(inside, nodule.interface_density_per_m, around.interface_density_per_m)
    tissue = np.where(lung, phi, 1.0) * HEALTHY.tissue_density * (np.hypot(x, y) < _BODY_M)

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
        tissue_fraction=(coarse(phi * lung) / share).astype(np.float32),
        interface_density_per_m=coarse(surface * lung),
        aspect=np.ones((1, size, size), dtype=np.float32),
        axis=direction,
        lobes=(coarse(lung) > 0.5).astype(np.uint8),
        instances=np.zeros((1, size, size), dtype=np.uint16),
    )


def mouse_volume(pixel_m: float, rows: int, nodule: Medium, diameter_m: float) -> Phantom:
    """`rows` slices of the plan's mouse with a round `nodule` in the middle one of an odd number, for radiographs.

    Its share of a voxel is that of 4³ points in it; it lies within healthy lung. A diameter of 0: none.
    """
    plain, fine = mouse_slice(pixel_m, HEALTHY, HEALTHY), 4
    size = plain.lobes.shape[-1]
    inner = ((np.arange(fine) + 0.5) / fine - 0.5)[None]
    z, y, x = (
        ((np.arange(n)[:, None] - (n - 1) / 2 + inner) * pixel_m - at).ravel()
        for n, at in ((rows, 0.0), (size, 0.0), (size, LUNG_AT_M))
    )
    near = [np.flatnonzero((np.abs(c).reshape(-1, fine) < diameter_m / 2).any(axis=1)) for c in (z, y, x)]
    box = tuple(slice(k[0], k[-1] + 1) if len(k) else slice(0) for k in near)
    cut = [c.reshape(-1, fine)[part].ravel() for c, part in zip((z, y, x), box)]
    inside = (cut[0][:, None, None] ** 2 + cut[1][:, None] ** 2 + cut[2] ** 2) < (diameter_m / 2) ** 2
    counts = [n for c in cut for n in (len(c) // fine, fine)]
    share = inside.reshape(counts).mean(axis=(1, 3, 5))
    own: dict[str, Any] = {name: np.repeat(getattr(plain, name), rows, axis=0) for name in _FIELDS}
    own |= {name: np.repeat(getattr(plain, name), rows, axis=1) for name in ("density", "axis")}
    own["tissue_fraction"][box] += share * (nodule.tissue_fraction - HEALTHY.tissue_fraction)
    own["interface_density_per_m"][box] += share * (nodule.interface_density_per_m - HEALTHY.interface_density_per_m)
    own["density"][0][box] += share * (nodule.tissue_fraction - HEALTHY.tissue_fraction) * HEALTHY.tissue_density
    return replace(plain, **own)


def sinograms(phantom: Phantom, instrument: Instrument, protocol: Protocol, gratings: Gratings) -> Sinograms:
    signals = list(view_signals(phantom, instrument=instrument, protocol=protocol))
    mean = np.stack([signal.mean for signal in signals])
    fringe = np.stack([np.abs(signal.fringe) for signal in signals], axis=1)
    maps = flat_maps(gratings, directions_rad=protocol.directions_rad, rows=1, cols=mean.shape[-1])
    counts = protocol.frame_counts * protocol.steps * mean * maps.flux[:, None]
    visibility = fringe / mean * maps.visibility[:, None]
    return Sinograms(
        attenuation=-np.log(mean),
        dark_field=-np.log(fringe / mean / instrument.flat_visibility),
        attenuation_variance=log_transmission_variance(counts).mean(axis=0),
        dark_field_variance=log_visibility_variance(visibility, counts),
        strength=counts * visibility**2,
    )


def slice_geometry(sinograms: Sinograms, protocol: Protocol, pixel_m: float) -> ParallelGeometry:
    return ParallelGeometry(protocol.angles_rad, rows=1, cols=sinograms.attenuation.shape[-1], pixel_m=pixel_m)


def slices(sinograms: Sinograms, geometry: ParallelGeometry) -> tuple[NDArray, NDArray]:
    """Slices of attenuation and of dark field, the mean over directions [1/m]."""
    if geometry.views == 1:
        empty = np.zeros((geometry.cols, geometry.cols))
        return empty, empty
    attenuation = fbp(sinograms.attenuation.astype(np.float32), geometry)[0]
    return attenuation, fbp(sinograms.dark_field.mean(axis=0).astype(np.float32), geometry)[0]


def _voxel_noise(
    sinograms: Sinograms, instrument: Instrument, protocol: Protocol, geometry: ParallelGeometry
) -> tuple[float, float]:
    """Standard deviation of a lung voxel in attenuation and dark field, mean of all directions [1/m]."""
    if geometry.views == 1:
        return np.nan, np.nan
    directions = len(protocol.directions_rad)
    lung = lung_core(geometry)
    flats, results = flat_variances(instrument, protocol), []
    for variance, flat in zip((sinograms.attenuation_variance, sinograms.dark_field_variance.mean(axis=0)), flats):
        photons = fbp_variance(variance.astype(np.float32), geometry)[0][lung].mean()
        results.append(float(np.sqrt((photons + flat * _ring_variance(geometry)[lung].mean()) / directions)))
    return results[0], results[1]


def _ring_variance(geometry: ParallelGeometry) -> NDArray[np.float64]:
    """Variance of a voxel for unit white noise on the columns that is the same in all views, by draws."""
    drawn = stream(0, "plan", "flats").standard_normal((_FLAT_DRAWS, geometry.cols)).astype(np.float32)
    many = replace(geometry, rows=_FLAT_DRAWS)
    views = np.broadcast_to(drawn, (geometry.views, _FLAT_DRAWS, geometry.cols))
    rings = fbp(np.ascontiguousarray(views), many)
    return np.asarray((rings.astype(np.float64) ** 2).mean(axis=0))


def lung_core(geometry: ParallelGeometry) -> NDArray[np.bool_]:
    axis = (np.arange(geometry.cols) - (geometry.cols - 1) / 2) * geometry.pixel_m
    y, x = np.meshgrid(axis, axis, indexing="ij")
    semi_x, semi_y = (0.8 * value for value in _LUNG_SEMI_M)
    return np.asarray(((np.abs(x) - LUNG_AT_M) / semi_x) ** 2 + (y / semi_y) ** 2 < 1)


def flat_variances(instrument: Instrument, protocol: Protocol) -> tuple[float, float]:
    """Variances of −ln T and −ln D of one direction from its flats alone."""
    counts = protocol.frame_counts * protocol.steps * protocol.flat_count
    return (
        float(log_transmission_variance(counts)),
        float(log_visibility_variance(instrument.flat_visibility, counts)),
    )


def _contrast(
    name: str,
    healthy: Sinograms,
    other: Sinograms,
    images: tuple[NDArray, NDArray],
    other_images: tuple[NDArray, NDArray],
    noise: tuple[float, float],
    flats: tuple[float, float],
    pixel_m: float,
) -> LesionPlan:
    size = images[0].shape[0]
    axis = (np.arange(size) - (size - 1) / 2) * pixel_m
    y, x = np.meshgrid(axis, axis, indexing="ij")
    inside = np.hypot(x - LUNG_AT_M, y) < 0.7 * LESION_M / 2
    ct = [float(np.abs((o - h)[inside].mean()) / sd) for h, o, sd in zip(images, other_images, noise)]
    column = int(np.argmin(np.abs(axis - LUNG_AT_M)))  # in the first view columns are x
    directions = len(healthy.dark_field)
    change = other.attenuation[0, 0, column] - healthy.attenuation[0, 0, column]
    change_dark = (other.dark_field - healthy.dark_field)[:, 0, 0, column].mean()
    sd = np.sqrt((healthy.attenuation_variance[0, 0, column] + flats[0]) / directions)
    sd_dark = np.sqrt((healthy.dark_field_variance[:, 0, 0, column].mean() + flats[1]) / directions)
    return LesionPlan(name, ct[0], ct[1], float(abs(change) / sd), float(abs(change_dark) / sd_dark))
