"""Observers of a lesion task by arm: what attenuation, dark field and both are worth to find a known lesion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darklung.evaluate.held_out import HeldOut, held_out, least_backgrounds
from darklung.evaluate.observers import (
    Detectability,
    cross_spectrum,
    hotelling,
    ideal_in_lines,
    laguerre_gauss,
    non_prewhitening,
    outputs,
)

ARMS = ("attenuation", "dark_field", "hybrid", "directional")
CHANNELS = 6
LEAST_REALISATIONS = 60
EYE_PER_M = 1e3  # where the eye sees best: 1 per mm of the animal, that is 4 cycles a degree at 50 cm and 2.2 times enlarged


def arms_of(directions: int) -> tuple[str, ...]:
    """The arms that a scan of so many directions has; of one direction `directional` is `hybrid`."""
    return ARMS if directions > 1 else ARMS[:3]


def arm_images(images: NDArray, arm: str) -> NDArray:
    """Channels of an arm, (..., channel, row, col), of images whose channels are −ln T and −ln D of each direction."""
    attenuation, dark = images[..., :1, :, :], images[..., 1:, :, :]
    mean = dark.mean(axis=-3, keepdims=True)
    chosen = {"attenuation": [attenuation], "dark_field": [mean], "hybrid": [attenuation, mean]}
    return np.concatenate(chosen.get(arm, [attenuation, dark]), axis=-3)


def observe(signal: NDArray, noise: NDArray, *, arm: str, pixel_m: float, diameter_m: float) -> tuple[Detectability, float]:
    """d′ of the channelised Hotelling observer with its interval, and of the non-prewhitening one with an eye filter.

    Parameters
    ----------
    signal : (channel, row, col) array
        −ln T and −ln D of each direction, lesion present less absent.
    noise : (realisation, channel, row, col) array
    arm : str
        One of `ARMS`.
    """
    seen, drawn = arm_images(signal, arm), arm_images(noise, arm)
    spacing = (pixel_m, pixel_m)
    channels = _channels(seen, pixel_m, diameter_m)
    found = hotelling(outputs(seen[None], channels)[0], outputs(drawn, channels))
    return found, non_prewhitening(seen, cross_spectrum(drawn, spacing), spacing, EYE_PER_M)


def observe_lines(change: NDArray, variance: NDArray, flat_variance: NDArray, *, arm: str) -> float:
    """d′ of the ideal linear observer of an arm's line integrals, photon noise alone.

    Parameters
    ----------
    change, variance : (channel, view, row, col) arrays
        −ln T and −ln D of each direction, whose noise is independent.
    flat_variance : (channel,) array
    """
    count = len(change) - 1
    one = (change[0], variance[0], flat_variance[0])
    mean = (change[1:].mean(axis=0), variance[1:].sum(axis=0) / count**2, flat_variance[1:].sum() / count**2)
    each = list(zip(change[1:], variance[1:], flat_variance[1:]))
    chosen = {"attenuation": [one], "dark_field": [mean], "hybrid": [one, mean]}.get(arm, [one, *each])
    return float(np.sqrt(sum(ideal_in_lines(c, v, float(f)) ** 2 for c, v, f in chosen)))


def observe_in_clutter(
    signal: NDArray,
    noise: NDArray,
    backgrounds: NDArray,
    animals: NDArray[np.int64],
    *,
    arm: str,
    pixel_m: float,
    diameter_m: float,
    generator: np.random.Generator,
    mimics: NDArray | None = None,
) -> HeldOut:
    """d′ where the background is one of many: its covariance holds anatomy and noise (`held_out`).

    Parameters
    ----------
    noise, backgrounds : (background, channel, row, col) arrays
        One draw of the noise for each background.
    animals : (background,) int array
    mimics : (mimic, 2, 2, channel, row, col) array, optional
        Images without the lesion hold one of these, drawn evenly between both ends of two ranges: the observer's signal is
        the lesion less their mean, its covariance the mean of both kinds of images (Barrett & Myers 2004, ch. 13).
    """
    seen = arm_images(signal, arm)
    channels = _channels(seen, pixel_m, diameter_m)
    samples = outputs(arm_images(noise, arm), channels) + outputs(arm_images(backgrounds, arm), channels)
    delta = outputs(seen[None], channels)[0]
    if mimics is not None:
        ends = outputs(arm_images(mimics.reshape(-1, *signal.shape), arm), channels).reshape(len(mimics), 2, 2, -1)
        mean = ends.mean(axis=(0, 1, 2))
        delta, samples = delta - mean, samples + (_drawn(ends, len(samples), generator) - mean) / np.sqrt(2)
    return held_out(delta, samples, animals, generator)


def _drawn(ends: NDArray, count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """So many mimics, (count, output), evenly between both ends of both ranges, (mimic, 2, 2, output)."""
    which = generator.integers(len(ends), size=count)
    weights = [np.stack([1 - share, share], axis=1) for share in generator.uniform(size=(2, count))]
    return np.asarray(np.einsum("na,nb,nabo->no", *weights, ends[which]))


def least_clutter(directions: int) -> int:
    """Backgrounds that the arm of most channels wants."""
    return least_backgrounds(CHANNELS * (1 + directions))


def _channels(seen: NDArray, pixel_m: float, diameter_m: float) -> NDArray[np.float64]:
    return laguerre_gauss(seen.shape[1:], (pixel_m, pixel_m), width_m=1.25 * diameter_m, count=CHANNELS)


def contrast_to_noise(
    signal: NDArray, lung_noise: NDArray, *, pixel_m: float, diameter_m: float, core: float = 0.7
) -> tuple[float, float]:
    """|lesion − lung|/SD of a voxel in attenuation and mean dark field, as ``darklung check`` has it, by draws.

    The contrast is that over `core` of the lesion's radius; 0: its middle pixel.
    """
    size = signal.shape[-1]
    axis = (np.arange(size) - size // 2) * pixel_m
    inside = np.hypot(*np.meshgrid(axis, axis, indexing="ij")) <= core * diameter_m / 2
    dark = lung_noise[1:]
    changes = (signal[0], signal[1:].mean(axis=0))
    spreads = (float(lung_noise[0]), float(np.sqrt((dark**2).sum()) / len(dark)))
    one, two = (float(np.abs(c[inside].mean()) / s) for c, s in zip(changes, spreads))
    return one, two
