"""Model observers: how well a known lesion can be told from its absence, d′ and AUC, by the best use of an image's noise.

The signal is known exactly. An image is (channel, *spatial); several channels (attenuation and dark field) are seen jointly.
Barrett & Myers, Foundations of Image Science (2004), ch. 13.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from darklung.core.checks import check_positive, check_shape, require

Array = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True)
class Detectability:
    """d′ of an observer with an interval; `low` = `high` = `value` where nothing was estimated.

    Parameters
    ----------
    value, low, high : float
        d′ = (difference of the mean outputs)/(their standard deviation).
    """

    value: float
    low: float
    high: float

    @property
    def auc(self) -> tuple[float, float, float]:
        """Area under the ROC curve with its interval: Φ(d′/√2), right where outputs are normal."""
        value, low, high = (float(special.ndtr(d / np.sqrt(2))) for d in (self.value, self.low, self.high))
        return value, low, high


def cross_spectrum(noise: NDArray, spacing_m: tuple[float, ...]) -> NDArray[np.complex128]:
    """Noise-power spectra and cross spectra of regions, (channel, channel, *spatial) [product of units · m^spatial].

    The mean over realisations is taken away, and n/(n − 1) makes up for it: the integral over frequency is the variance.
    Frequencies are those of ``numpy.fft.fftfreq``.

    Parameters
    ----------
    noise : (realisation, channel, *spatial) array
    spacing_m : tuple of float
        One a spatial axis.

    Raises
    ------
    DarklungError
        Fewer than two realisations, or another number of spacings than of axes.
    """
    require(len(noise) > 1, f"noise: wanted at least two realisations, got {len(noise)}")
    axes = tuple(range(2, noise.ndim))
    require(len(spacing_m) == len(axes) > 0, f"spacing_m: wanted {len(axes)} numbers, got {spacing_m}")
    waves = np.fft.fftn(noise - noise.mean(axis=0), axes=axes)
    cell = float(np.prod(spacing_m)) / np.prod(noise.shape[2:])
    return np.asarray(np.einsum("ni...,nj...->ij...", waves, waves.conj()) * cell / (len(noise) - 1))


def ideal_linear(signal: NDArray, spectrum: NDArray, spacing_m: tuple[float, ...]) -> float:
    """d′ of the ideal linear (prewhitening) observer in stationary noise: d′² = ∫ S* W⁻¹ S df, W the spectra of the noise.

    Parameters
    ----------
    signal : (channel, *spatial) array
        Mean with the lesion less the mean without.
    spectrum : (channel, channel, *spatial) array
        See `cross_spectrum`; of one channel, or smoothed, it must be well estimated: with few realisations d′ is too high.
    """
    wave, step = _wave(signal, spectrum, spacing_m)
    matrix, vector = np.moveaxis(spectrum, (0, 1), (-2, -1)), np.moveaxis(wave, 0, -1)[..., None]
    return float(np.sqrt(np.real(vector.conj() * np.linalg.solve(matrix, vector)).sum() * step))


def ideal_in_lines(change: Array, variance: Array, flat_variance: float = 0.0) -> float:
    """d′ of the ideal linear observer of line integrals: exact, for their noise is independent but for the flats'.

    d′² = Σ_pixel [Σ_v s²/σ² − f (Σ_v s/σ²)²/(1 + f Σ_v 1/σ²)], the inverse of diag(σ²) + f 11ᵀ of a pixel's views. Of one
    view it is Σ s²/(σ² + f). No observer of what is reconstructed from these lines does better.

    Parameters
    ----------
    change : (view, *pixel) array
        Signal present less absent.
    variance : (view, *pixel) array
    flat_variance : float
        Of noise that is the same in all views of a pixel.
    """
    check_shape("variance", variance, "view, *pixel", change.shape)
    found = (change**2 / variance).sum(axis=0)
    shared = flat_variance * (change / variance).sum(axis=0) ** 2 / (1 + flat_variance * (1 / variance).sum(axis=0))
    return float(np.sqrt((found - shared).sum()))


def non_prewhitening(signal: NDArray, spectrum: NDArray, spacing_m: tuple[float, ...], eye_per_m: float = 0.0) -> float:
    """d′ of the matched filter that does not know the noise's correlations, with an eye filter E(f) = f exp(−c f).

    d′² = [∫ |S|² E² df]² / ∫ E⁴ S* W S df (Burgess 1994, 10.1364/JOSAA.11.001237). Channels are weighed by their own
    variance, not by their correlation.

    Parameters
    ----------
    signal, spectrum, spacing_m
        As `ideal_linear`.
    eye_per_m : float
        Frequency f0 [1/m] at which the eye sees best, c = 1/f0; 0: no eye filter.
    """
    wave, step = _wave(signal, spectrum, spacing_m)
    power = np.real(np.stack([spectrum[k, k] for k in range(len(signal))])) * step
    weight = np.reciprocal(power.reshape(len(signal), -1).sum(axis=1))
    template = np.einsum("c,c...->c...", weight, wave) * _eye(signal.shape[1:], spacing_m, eye_per_m) ** 2
    gain = np.real(template.conj() * wave).sum() * step
    spread = np.real(np.einsum("i...,ij...,j...->...", template.conj(), spectrum, template)).sum() * step
    return float(gain / np.sqrt(spread))


def _wave(signal: NDArray, spectrum: NDArray, spacing_m: tuple[float, ...]) -> tuple[NDArray[np.complex128], float]:
    """The signal's Fourier integral, and the cell of frequency."""
    check_shape("spectrum", spectrum, "channel, channel, *spatial", (len(signal), len(signal), *signal.shape[1:]))
    volume = float(np.prod(spacing_m))
    wave = np.fft.fftn(signal, axes=tuple(range(1, signal.ndim))) * volume
    return wave, 1 / (volume * float(np.prod(signal.shape[1:])))


def _eye(shape: tuple[int, ...], spacing_m: tuple[float, ...], eye_per_m: float) -> Array:
    if eye_per_m == 0:
        return np.ones(shape)
    check_positive("eye_per_m", eye_per_m)
    grids = np.meshgrid(*(np.fft.fftfreq(n, d) for n, d in zip(shape, spacing_m)), indexing="ij")
    ratio = np.sqrt(sum(g**2 for g in grids)) / eye_per_m
    return np.asarray(ratio * np.exp(1 - ratio))


def _offsets(shape: tuple[int, ...], spacing_m: tuple[float, ...]) -> list[Array]:
    axes = [(np.arange(n) - n // 2) * d for n, d in zip(shape, spacing_m)]
    return list(np.meshgrid(*axes, indexing="ij"))


def laguerre_gauss(shape: tuple[int, ...], spacing_m: tuple[float, ...], *, width_m: float, count: int = 6) -> Array:
    """Laguerre–Gauss channels, (channel, *shape): exp(−πr²/a²) L_j(2πr²/a²), of unit norm, about pixel n // 2.

    For round lesions; a is about 2.5 radii of the lesion. Gallas & Barrett 2003, 10.1364/JOSAA.20.001725.
    """
    check_positive("width_m", width_m)
    require(count >= 1, f"count: wanted at least one channel, got {count}")
    radius = sum(x**2 for x in _offsets(shape, spacing_m)) / width_m**2
    found = np.stack([np.exp(-np.pi * radius) * special.eval_laguerre(j, 2 * np.pi * radius) for j in range(count)])
    return _unit(found)


def _unit(channels: Array) -> Array:
    norm = np.sqrt((channels**2).sum(axis=tuple(range(1, channels.ndim)), keepdims=True))
    return np.asarray(channels / norm)


def outputs(images: NDArray, channels: Array) -> Array:
    """What channels give of images (n, signal, *spatial): (n, signal · channel); signals are seen jointly."""
    flat = np.einsum("nsp,cp->nsc", images.reshape(*images.shape[:2], -1), channels.reshape(len(channels), -1))
    return np.asarray(flat.reshape(len(images), -1))


def hotelling(signal: Array, noise: Array) -> Detectability:
    """d′ of the channelised Hotelling observer of a signal known exactly, without the bias of a finite sample.

    δᵀ S⁻¹ δ is too high by ν/(ν − p − 1) of p outputs and ν = n − 1, and δᵀS⁻¹δ/δᵀK⁻¹δ is ν/χ² with ν − p + 1 degrees of
    freedom in normal noise: the estimate has no bias in d′², and the 95 % interval is exact (Wunderlich & Noo 2009,
    10.1109/TMI.2009.2012705: known difference of means). Realisations must be independent; those that share animals
    are for `darklung.evaluate.held_out`.

    Parameters
    ----------
    signal : (output,) array
        Difference of the means.
    noise : (realisation, output) array

    Raises
    ------
    DarklungError
        Too few realisations for so many outputs.
    """
    raw, freedom, count = _raw(signal, noise)
    low, high = stats.chi2.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2], freedom - count + 1) / freedom
    factor = (freedom - count - 1) / freedom
    return Detectability(*(float(np.sqrt(raw * share)) for share in (factor, low, high)))


def _raw(signal: Array, noise: Array) -> tuple[float, int, int]:
    freedom, count = len(noise) - 1, len(signal)
    check_shape("noise", noise, "realisation, output", (None, count))
    require(freedom > count + 1, f"noise: wanted more than {count + 2} realisations for {count} outputs, got {len(noise)}")
    covariance = np.atleast_2d(np.cov(noise, rowvar=False))
    return float(signal @ np.linalg.solve(covariance, signal)), freedom, count
