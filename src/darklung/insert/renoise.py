"""How measured stepping curves and measured maps change behind an insertion, with the noise that they would then have.

A stepping curve I_k = a0 (1 + V cos(θ_k + φ)) becomes a0 T (1 + V D cos(θ_k + φ + Δφ)), step by step a factor

    r_k = T [1 + V D cos(θ_k + φ + Δφ)] / [1 + V cos(θ_k + φ)].

Where r_k <= 1 each count is kept with probability r_k; where r_k > 1 a Poisson number of mean λ_k (r_k − 1) is added.
Counts that were Poisson are then exactly Poisson again, of the mean λ_k r_k, if r_k and λ_k do not depend on the pixel's
own counts. They come from V, φ and a0 of the pixels around it (the pixel itself left out), relative to the flat. Taking V
from the pixel's own curve would multiply its noise by D instead of leaving it; a mean V̂ over neighbours leaves a relative
error of (V̂/V − 1)(1 − 1/D) in V D: V varies little within a few pixels, and D differs from 1 by some per cent.

Reference for thinning and superposition: J.F.C. Kingman, Poisson Processes, Oxford 1993 [M].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import check_positive, check_shape

Map = NDArray[np.float64]
NEIGHBOURS_PX = 1.5  # standard deviation of the window that V, φ and a0 are taken from
_TRUNCATE = 3.0
_LEAST = 1e-6


def around(values: NDArray, weight: Map, *, sigma_px: float = NEIGHBOURS_PX) -> NDArray:
    """Gaussian mean (row, col) over the pixels around each one, itself left out; 0 where none has weight."""

    def smooth(field: Map) -> Map:
        return np.asarray(ndimage.gaussian_filter(field, sigma_px, mode="constant", truncate=_TRUNCATE))

    unit = np.zeros((2 * int(_TRUNCATE * sigma_px + 0.5) + 1,) * 2)
    unit[tuple(n // 2 for n in unit.shape)] = 1.0
    own = float(smooth(unit).max())
    total = smooth(weight) - own * weight
    parts = [values.real, values.imag] if np.iscomplexobj(values) else [values]
    means = [np.where(total > _LEAST, (smooth(p * weight) - own * p * weight) / np.maximum(total, _LEAST), 0) for p in parts]
    return means[0] + 1j * means[1] if len(means) == 2 else means[0]


@dataclass(frozen=True)
class LocalBeam:
    """The beam behind the animal, from the pixels around each one; (row, col) arrays.

    Parameters
    ----------
    level : float64
        a0 [counts a step] where every step has the dose 1.
    transmission : float64
        a0 over the flat's.
    fringe : complex128
        V e^{iφ}.
    ratio : complex128
        `fringe` over the flat's: D e^{iΔφ}.
    dose : (step,) float64
        Of each step relative to the flat's mean.
    """

    level: Map
    transmission: Map
    fringe: NDArray[np.complex128]
    ratio: NDArray[np.complex128]
    dose: Map


def local_beam(
    curves: NDArray,
    step_phase_rad: Map,
    *,
    flat_amplitude: Map,
    flat_visibility: Map,
    flat_phase: Map,
    usable: NDArray[np.bool_],
    sigma_px: float = NEIGHBOURS_PX,
) -> LocalBeam:
    """Estimate the beam behind the animal from its stepping curves.

    Parameters
    ----------
    curves : (step, row, col) counts, dark signal subtracted
    step_phase_rad : (step,)
    flat_amplitude, flat_visibility, flat_phase : (row, col)
        Of the flat at the time of the view.
    usable : (row, col) bool
        Pixels that may be asked.
    sigma_px : float
    """
    check_shape("curves", curves, "step, row, col", (len(step_phase_rad), *usable.shape))
    theta = np.asarray(step_phase_rad, dtype=np.float64)
    design = np.stack([np.ones_like(theta), np.cos(theta), -np.sin(theta)], axis=1)
    c0, real, imaginary = np.tensordot(np.linalg.pinv(design), np.asarray(curves, dtype=np.float64), axes=1)
    good = (usable & (c0 > 0) & (flat_amplitude > 0) & (flat_visibility > 0)).astype(np.float64)
    known = good > 0
    amplitude = np.where(known, flat_amplitude, 1.0)
    flat = np.where(known, flat_visibility, 1.0) * np.exp(1j * flat_phase)
    transmission = around(np.where(known, c0 / amplitude, 0.0), good, sigma_px=sigma_px)
    modulation = around(np.where(known, (real + 1j * imaginary) / (amplitude * flat), 0.0), good, sigma_px=sigma_px)
    ratio = np.where(transmission > 0, modulation / np.maximum(transmission, _LEAST), 0.0)
    fringe = ratio * flat
    level = transmission * amplitude
    expected = level * (1 + (fringe * np.exp(1j * theta)[:, None, None]).real)
    total = (expected * good).sum(axis=(1, 2))
    dose = np.where(total > 0, (curves * good).sum(axis=(1, 2)) / np.maximum(total, _LEAST), 1.0)
    return LocalBeam(level, transmission, fringe, ratio, dose)


def changed_curves(
    curves: NDArray,
    beam: LocalBeam,
    step_phase_rad: Map,
    *,
    attenuation: Map,
    dark_field: Map,
    phase: Map,
    rng: np.random.Generator,
    gain: float = 1.0,
    noise: bool = True,
) -> NDArray[np.float64]:
    """Stepping curves (step, row, col) behind an insertion; where nothing changes they are the same numbers.

    With a gain other than 1 counts are no photons: thinning is then normal instead of binomial, of the same mean and
    variance. Not modelled: read-out noise (scaled with the counts where they fall), noise shared by neighbouring pixels,
    scattered light from elsewhere (it is taken to pass the lesion as the beam does).

    Parameters
    ----------
    curves : (step, row, col) counts, dark signal subtracted
    beam : LocalBeam
    step_phase_rad : (step,)
    attenuation, dark_field, phase : (row, col)
        Changes of −ln T, −ln D and of the fringe phase [rad].
    rng : Generator
    gain : float
        Counts a photon.
    noise : bool
        False multiplies expected counts.
    """
    check_positive("gain", gain)
    theta = np.asarray(step_phase_rad, dtype=np.float64)[:, None, None]
    before = 1 + (beam.fringe * np.exp(1j * theta)).real
    after = 1 + (beam.fringe * np.exp(-dark_field + 1j * (theta + phase))).real
    ratio = np.exp(-attenuation) * np.maximum(after, 0) / np.maximum(before, _LEAST)
    touched = (attenuation != 0) | (dark_field != 0) | (phase != 0)
    ratio = np.where(touched & (beam.level > 0), ratio, 1.0)
    seen = np.asarray(curves, dtype=np.float64)
    if not noise:
        return seen * ratio
    fewer = np.minimum(ratio, 1.0)
    more = beam.level * before * beam.dose[:, None, None] * np.maximum(ratio - 1, 0) / gain
    added = gain * rng.poisson(np.maximum(more, 0))
    if gain == 1.0:
        photons = np.maximum(np.rint(seen), 0).astype(np.int64)
        return seen - photons + rng.binomial(photons, fewer) + added
    spread = np.sqrt(gain * np.maximum(seen, 0) * fewer * (1 - fewer))
    return np.asarray(seen * fewer + spread * rng.standard_normal(seen.shape) + added)


@dataclass(frozen=True)
class ChangedMaps:
    """Attenuation, dark field and phase behind an insertion, (row, col) arrays, and the factors of their variances."""

    attenuation: Map
    dark_field: Map
    phase: Map
    attenuation_factor: Map
    dark_field_factor: Map


def changed_maps(
    *,
    attenuation: Map,
    dark_field: Map,
    phase: Map,
    attenuation_change: Map,
    dark_field_change: Map,
    phase_change: Map,
    attenuation_variance: Map,
    dark_field_variance: Map,
    valid: NDArray[np.bool_],
    rng: np.random.Generator,
) -> ChangedMaps:
    """Retrieved maps behind an insertion, with the noise that they would then have.

    The noise of the complex visibility depends on the photons and not on the visibility. So ρ = e^{−d + iφ} changes by
    ρ̂ (D e^{iΔφ} − 1), ρ̂ the mean over the pixels around, which leaves its noise and changes that of −ln D by 1/D, as
    physics does. Fewer photons make more noise: both maps get (1/T − 1) of their variance on top.

    Not modelled: the part of the variance that comes from the flat is raised with the rest; where an insertion attenuates
    less than lung, the noise stays as it was.

    Parameters
    ----------
    attenuation, dark_field, phase : (row, col)
        As retrieved; phase 0 where it is not known.
    attenuation_change, dark_field_change, phase_change : (row, col)
    attenuation_variance, dark_field_variance : (row, col)
    valid : (row, col) bool
        Other pixels stay as they are.
    rng : Generator
    """
    touched = valid & ((attenuation_change != 0) | (dark_field_change != 0) | (phase_change != 0))
    safe = np.where(valid, dark_field, 0.0)
    ratio = np.exp(-safe + 1j * np.where(valid, phase, 0.0))
    mean = around(ratio, valid.astype(np.float64))
    mean = np.where(mean == 0, ratio, mean)
    factor = np.exp(-dark_field_change + 1j * phase_change)
    fewer = np.maximum(np.expm1(attenuation_change), 0.0)
    spread = np.sqrt(fewer * dark_field_variance) * abs(mean)
    extra = rng.standard_normal((3, *ratio.shape))
    new = ratio + mean * (factor - 1) + spread * (extra[0] + 1j * extra[1])
    grown = attenuation + attenuation_change + np.sqrt(fewer * attenuation_variance) * extra[2]
    return ChangedMaps(
        np.where(touched, grown, attenuation),
        np.where(touched, -np.log(np.maximum(abs(new), _LEAST)), dark_field),
        np.where(touched, np.angle(new), phase),
        np.where(touched, np.exp(attenuation_change), 1.0),
        np.where(touched, np.exp(attenuation_change) / abs(factor) ** 2, 1.0),
    )
