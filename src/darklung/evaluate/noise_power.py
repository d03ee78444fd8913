"""Noise-power spectra of uniform regions or differences of repeats, averaged over directions; noise-equivalent quanta.

IEC 62220-1 and ICRU Report 87; Siewerdsen et al. 2002, 10.1118/1.1513158.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from darklung.core.checks import check_shape, require
from darklung.core.geometry import centred_axis
from darklung.evaluate.edges import towards

Array = NDArray[np.float64]
TILE = 64
LEAST_TILE, LEAST_TILES = 16, 4
BLOCKS = 20  # of tiles, whose means tell the error: neighbours need not be independent


@dataclass(frozen=True)
class NoisePower:
    """Noise power by distance from zero frequency, with 95 % intervals over blocks of tiles.

    Parameters
    ----------
    frequency_per_m : (n,) float64
        Mean of the frequencies in each ring or shell, from one step above 0 to the Nyquist frequency.
    value, low, high : (n,) float64
        [unit² · m^axes]
    deviation : float
        Standard deviation of a pixel [unit]: the integral of the whole spectrum is its square.
    tiles, edge : int
        How many regions of so many pixels an edge.
    """

    frequency_per_m: Array
    value: Array
    low: Array
    high: Array
    deviation: float
    tiles: int
    edge: int


def noise_power(region: NDArray, spacing_m: tuple[float, ...], *, trend: bool = True, direction: str = "all") -> NoisePower:
    """Noise power of a uniform region.

    Slow trends, a polynomial of second degree in each slice or volume, are taken away (IEC 62220-1); the lowest frequency
    suffers. Nothing is windowed, so that the integral of the spectrum is the variance.

    Parameters
    ----------
    region : (slice, *spatial) array
        Two or three spatial axes; of a volume that is seen as such there is one slice.
    spacing_m : tuple of float
        One a spatial axis.
    trend : bool
        False for a difference of repeats, of which the mean alone is taken away.
    direction : str
        One of `darklung.evaluate.edges.DIRECTIONS`: of three axes, frequencies within 20 degrees of the first, or of the
        plane across it.

    Raises
    ------
    DarklungError
        Values that are missing, or a region without four tiles of 16 pixels an edge.
    """
    axes = len(spacing_m)
    check_shape("region", region, "slice, *spatial", (None,) * (axes + 1))
    require(bool(np.isfinite(region).all()), "noise: wanted values everywhere in the region, some are missing")
    edge = _tile_edge(region.shape)
    tiles = _tiles(_detrended(np.asarray(region, np.float64), 2 if trend else 0), edge)
    cell = float(np.prod(spacing_m)) / edge**axes
    power = np.abs(np.fft.fftn(tiles, axes=tuple(range(1, axes + 1)))) ** 2 * cell
    ring, frequency = _rings(edge, spacing_m, direction)
    blocks = np.array_split(np.arange(len(tiles)), min(BLOCKS, len(tiles)))
    means = np.stack([_by_ring(power[block].mean(axis=0), ring, len(frequency)) for block in blocks])
    weights = np.array([len(block) for block in blocks], np.float64)
    value = np.average(means, axis=0, weights=weights)
    error = means.std(axis=0, ddof=1) / np.sqrt(len(blocks)) * stats.t.ppf(0.975, len(blocks) - 1)
    deviation = float(np.sqrt((tiles**2).mean()))
    return NoisePower(frequency, value, np.maximum(value - error, 0), value + error, deviation, len(tiles), edge)


def _tile_edge(shape: tuple[int, ...]) -> int:
    """Pixels along an edge of the tiles that a region has room for."""
    edge = min(TILE, *shape[1:])
    if edge >= LEAST_TILE and _count(shape, edge) < LEAST_TILES:  # smaller ones, so that there is an error to tell
        edge = max(LEAST_TILE, edge // 2)
    require(
        edge >= LEAST_TILE and _count(shape, edge) >= LEAST_TILES,
        f"noise: wanted room for {LEAST_TILES} tiles of {LEAST_TILE} pixels an edge, got a region of {shape}",
    )
    return edge


def _count(shape: tuple[int, ...], edge: int) -> int:
    return shape[0] * int(np.prod([n // edge for n in shape[1:]]))


def _tiles(region: Array, edge: int) -> Array:
    """Cut into squares or cubes side by side, (tile, *edges)."""
    counts = [n // edge for n in region.shape[1:]]
    corners = product(*(range(0, n * edge, edge) for n in counts))
    cut = [region[(slice(None), *(slice(c, c + edge) for c in corner))] for corner in corners]
    return np.stack(cut, axis=1).reshape(_count(region.shape, edge), *(edge,) * len(counts))


def _detrended(region: Array, degree: int) -> Array:
    """Less a polynomial in each slice; what it takes of white noise is made up for."""
    axes = [centred_axis(n, 2 / n) for n in region.shape[1:]]
    grids = np.meshgrid(*axes, indexing="ij")
    powers = [p for p in product(range(degree + 1), repeat=len(axes)) if sum(p) <= degree]
    basis = np.stack([np.prod([g**k for g, k in zip(grids, p)], axis=0).ravel() for p in powers], axis=1)
    flat = region.reshape(len(region), -1).T
    left = flat - basis @ np.linalg.lstsq(basis, flat, rcond=None)[0]
    return (left * np.sqrt(len(flat) / (len(flat) - len(powers)))).T.reshape(region.shape)


def _rings(edge: int, spacing_m: tuple[float, ...], direction: str) -> tuple[NDArray[np.int64], Array]:
    """Number of the ring of each frequency (−1: none) and mean frequencies, up to the lowest Nyquist frequency."""
    grids = np.meshgrid(*(np.fft.fftfreq(edge, d) for d in spacing_m), indexing="ij")
    radius = np.sqrt(sum(g**2 for g in grids))
    step = 1 / (edge * max(spacing_m))
    ring = np.round(radius / step).astype(np.int64) - 1
    ring[(ring >= edge // 2) | ~towards(direction, grids[0], radius)] = -1
    filled = np.unique(ring[ring >= 0])  # finer slices leave rings about their axis without a frequency
    ring = np.where(ring >= 0, np.searchsorted(filled, ring), -1)
    return ring, _by_ring(radius, ring, len(filled))


def _by_ring(values: Array, ring: NDArray[np.int64], count: int) -> Array:
    kept = ring >= 0
    sums = np.bincount(ring[kept], weights=values[kept], minlength=count)
    return np.asarray(sums / np.maximum(np.bincount(ring[kept], minlength=count), 1))


def repeat_noise(first: NDArray, second: NDArray, *, halves: bool) -> Array:
    """Noise of one of two repeats, (a − b)/√2, or of the mean of two halves of a scan, (a − b)/2; what stands is gone."""
    check_shape("repeat", second, "as the first", first.shape)
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    return np.asarray(difference / (2 if halves else np.sqrt(2)))


def noise_equivalent_quanta(
    transfer: tuple[Array, Array, Array], noise: NoisePower, signal: float
) -> tuple[Array, Array, Array]:
    """S² MTF²/NPS with its 95 % interval, [1/m^axes] where S and the noise have the same unit.

    Of counts with S their mean, and of −ln T with S = 1, it is the number of quanta on an area that would give as much noise
    in an ideal detector. With S an object's contrast, its integral over the object's spectrum is d′² of the ideal observer.

    Parameters
    ----------
    transfer : (value, low, high) arrays
        MTF at the noise's frequencies.
    signal : float
    """
    value, low, high = transfer
    found = signal**2 * value**2 / noise.value
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.hypot((high - low) / np.where(value > 0, value, np.nan), (noise.high - noise.low) / 2 / noise.value)
    error = np.nan_to_num(found * relative)
    return found, np.maximum(found - error, 0), found + error
