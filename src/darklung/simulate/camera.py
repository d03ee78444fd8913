"""From a view's signal to measured stepping curves: gratings, drift, detector, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, laplace, shift

from darklung.core.random import stream
from darklung.simulate.effects import Effects, FlatMaps
from darklung.simulate.protocol import Protocol

Map = NDArray[np.float64]

_SHADOW = 0.02  # a pixel that loses more than this lies in the object's shadow
_SCATTER_WIDTH = 0.12  # of the detector's longer side: scatter is smooth
_DARK_SPREAD = 0.1
_WAVES = 6  # that beam stripes are made of


@dataclass(frozen=True)
class Camera:
    """Gratings and detector of one scan, with the patterns that stay the same in all its frames.

    Parameters
    ----------
    maps : FlatMaps
    protocol : Protocol
    effects : Effects
    pixel_m : float
    seed : int
    noise : bool
        False: expected values, without any random draw from frame to frame (jitters and noise are off).
    gain : (row, col)
        Gain in the views relative to the flats.
    dark : (row, col)
        Offset [counts].
    bad : (row, col) bool
    stuck : (row, col)
        What bad pixels say [counts].
    """

    maps: FlatMaps
    protocol: Protocol
    effects: Effects
    pixel_m: float
    seed: int
    noise: bool
    gain: Map
    dark: Map
    bad: NDArray[np.bool_]
    stuck: Map

    @property
    def dtype(self) -> np.dtype:
        """Type of the frames: float32 without noise, else the narrowest unsigned that holds the brightest frame."""
        if not self.noise:
            return np.dtype(np.float32)
        flaws, unstable = self.effects.detector, self.effects.stability
        spread = (1 + 6 * unstable.dose_jitter) * (1 + 6 * flaws.ring_gain) * (1 + flaws.charge_sharing)
        spread *= 1 + 4 * unstable.stripes
        scatter = 1 + self.effects.scatter_to_primary
        bright = (
            2 * self.protocol.frame_counts * float(self.maps.flux.max()) * spread * scatter * (1 + abs(unstable.flux_drift))
        )
        bright += float(self.dark.max()) + 8 * bright**0.5 + 8 * flaws.electronic_noise_counts
        bright = max(min(bright, flaws.saturation_counts), float(self.stuck.max()))
        return np.dtype(np.uint16 if bright < 65535 else np.uint32)


def make_camera(
    *, maps: FlatMaps, protocol: Protocol, effects: Effects, pixel_m: float, seed: int, noise: bool = True
) -> Camera:
    """Draw the fixed patterns (gain, dark offsets, bad pixels) of a scan."""
    shape = maps.flux.shape[1:]
    flaws = effects.detector
    rng = stream(seed, "detector")
    gain = 1 + flaws.ring_gain * rng.standard_normal(shape)
    dark = np.round(flaws.dark_counts * (1 + _DARK_SPREAD * rng.uniform(-1, 1, shape)))
    bad = rng.random(shape) < flaws.bad_pixels
    level = min(flaws.saturation_counts, 2 * protocol.frame_counts)
    stuck = np.round(level * np.where(rng.random(shape) < 0.5, 0.0, rng.random(shape)))
    return Camera(maps, protocol, effects, pixel_m, seed, noise, gain, dark, bad, np.where(bad, stuck, 0.0))


def scattered(mean: Map, ratio: float) -> Map:
    """Smooth scattered intensity (row, col): its sum over the object's shadow is `ratio` times that of what passes there.

    It spreads as the blurred loss of primary intensity; an empty beam scatters nothing. Not modelled: its spectrum, a grid.
    """
    loss = 1 - mean
    shadow = loss > _SHADOW
    if ratio == 0 or not shadow.any():
        return np.zeros_like(mean)
    smooth = gaussian_filter(loss, _SCATTER_WIDTH * max(mean.shape), mode="nearest")
    return np.asarray(smooth * (ratio * mean[shadow].sum() / smooth[shadow].sum()))


def expose(
    camera: Camera, mean: Map, fringe: NDArray[np.complex128], *, direction: int, time_s: float, names: tuple[str | int, ...]
) -> NDArray:
    """One measured stepping curve, (step, row, col).

    Parameters
    ----------
    camera : Camera
    mean, fringe : (row, col)
        h0 and h1 of `darklung.simulate.harmonics`.
    direction : int
        Index among the protocol's directions.
    time_s : float
        From the start of the scan; drives drift.
    names : tuple
        Names the random stream; names[0] "flats" means a flat, without object.
    """
    expected = expected_counts(camera, mean, fringe, direction=direction, time_s=time_s, names=names)
    counts = _count(camera, expected, names)
    if names[0] != "flats":
        counts = counts * camera.gain if camera.effects.detector.ring_gain > 0 else counts
    return _read_out(camera, counts, names)


def expected_counts(
    camera: Camera, mean: Map, fringe: NDArray[np.complex128], *, direction: int, time_s: float, names: tuple[str | int, ...]
) -> Map:
    """Photons expected in each step before the detector counts them, (step, row, col)."""
    protocol, effects, maps = camera.protocol, camera.effects, camera.maps
    unstable = effects.stability
    drift = _drift(camera, time_s)
    theta = protocol.step_phase_rad[direction] + unstable.phase_drift_rad * drift
    dose = np.full(protocol.steps, 1 + unstable.flux_drift * drift)
    if camera.noise and (unstable.step_error_rad > 0 or unstable.dose_jitter > 0):
        rng = stream(camera.seed, "steps", *names)
        theta = theta + unstable.step_error_rad * rng.standard_normal(protocol.steps)
        dose = dose * (1 + unstable.dose_jitter * np.clip(rng.standard_normal(protocol.steps), -6, 6))
    strength = maps.visibility[direction] * (1 + unstable.visibility_drift * drift)
    carrier = strength * np.exp(1j * maps.phase_rad[direction])
    level = mean + scattered(mean, effects.scatter_to_primary)
    if camera.noise and effects.breathing_m > 0 and names[0] != "flats":
        level, fringe = _breathe(camera, level, fringe, names)
    amplitude = fringe * carrier
    curve = level + (np.cos(theta)[:, None, None] * amplitude.real - np.sin(theta)[:, None, None] * amplitude.imag)
    curve = protocol.frame_counts * dose[:, None, None] * maps.flux[direction] * curve
    if unstable.stripes > 0:
        curve = curve * _stripes(camera, drift, names)
    if effects.detector.blur_m > 0:
        sigma = effects.detector.blur_m / camera.pixel_m
        curve = gaussian_filter(curve, (0, sigma, sigma), mode="nearest")
    return np.asarray(curve)


def _breathe(
    camera: Camera, level: Map, fringe: NDArray[np.complex128], names: tuple[str | int, ...]
) -> tuple[Map, NDArray[np.complex128]]:
    """Level and fringe as each step sees them, (step, row, col): the shadow moved along the rows."""
    # sin⁶(π t) rests at t = 0; frames are taken within ± gate/2 of it
    moments = stream(camera.seed, "breathing", *names).random(camera.protocol.steps)
    breath = np.pi * camera.effects.gate * (moments - 0.5 if camera.effects.gate < 1 else moments)
    rows = camera.effects.breathing_m * np.sin(breath) ** 6 / camera.pixel_m
    moved = [[shift(part, (r, 0), order=1, mode="nearest") for r in rows] for part in (level, fringe.real, fringe.imag)]
    return np.stack(moved[0]), np.stack(moved[1]) + 1j * np.stack(moved[2])


def _drift(camera: Camera, time_s: float) -> float:
    """From 0 at the start of the scan to 1 at its end, with a slow wobble, so that two flats do not tell it all."""
    part = time_s / camera.protocol.total_time_s
    return float(part + 0.08 * np.sin(6 * np.pi * part))


def _stripes(camera: Camera, drift: float, names: tuple[str | int, ...]) -> Map:
    """Relative flux of the beam's stripes, (row, col): waves that move as one, the same in all steps of a curve."""
    unstable, (rows, cols) = camera.effects.stability, camera.maps.flux.shape[1:]
    rng, moved = stream(camera.seed, "stripes"), unstable.stripe_drift_m * drift
    length = unstable.stripe_width_m * rng.uniform(1.3, 4.0, _WAVES)
    phase = rng.uniform(0, 2 * np.pi, _WAVES)
    if camera.noise:
        moved += unstable.stripe_drift_m / 3 * stream(camera.seed, "stripes", *names).standard_normal()
    sine, cosine = np.sin(unstable.stripe_angle_rad), np.cos(unstable.stripe_angle_rad)
    across = camera.pixel_m * (cosine * np.arange(rows)[:, None] - sine * np.arange(cols))

    def waves(at: Map) -> Map:
        return np.asarray(sum(np.sin(2 * np.pi * at / one + start) for one, start in zip(length, phase)))

    return np.maximum(1 + unstable.stripes / waves(across).std() * waves(across - moved), 0.05)


def _count(camera: Camera, expected: Map, names: tuple[str | int, ...]) -> NDArray:
    share = camera.effects.detector.charge_sharing
    if not camera.noise:
        # four neighbours each get a quarter of the second counts; edges reflect
        return expected + share * np.stack([frame + laplace(frame, mode="nearest") / 4 for frame in expected])
    rng = stream(camera.seed, *names)
    if share == 0:
        return rng.poisson(expected)
    # Photons counted once and those counted by both pixels of a neighbouring pair are independent Poisson numbers.
    counts = rng.poisson(expected * (1 - share))
    for axis in (1, 2):
        across, total = np.moveaxis(expected, axis, 0), np.moveaxis(counts, axis, 0)
        pairs = rng.poisson(share / 4 * (across[1:] + across[:-1]))
        total[1:] += pairs
        total[:-1] += pairs
        for end in (0, -1):  # the second count would fall beyond the detector: it stays in its pixel
            total[end] += 2 * rng.poisson(share / 4 * across[end])
    return counts


def _read_out(camera: Camera, counts: NDArray, names: tuple[str | int, ...]) -> NDArray:
    flaws = camera.effects.detector
    if flaws.dark_counts > 0:
        counts = counts + camera.dark
    if camera.noise and flaws.electronic_noise_counts > 0:
        spread = stream(camera.seed, "read-out", *names).standard_normal(counts.shape)
        counts = counts + flaws.electronic_noise_counts * np.clip(spread, -7, 7)
    if np.isfinite(flaws.saturation_counts):
        counts = np.minimum(counts, flaws.saturation_counts)
    if flaws.bad_pixels > 0:
        counts = np.where(camera.bad, camera.stuck, counts)
    if camera.noise and not np.issubdtype(counts.dtype, np.integer):
        counts = np.rint(counts)
    return counts
