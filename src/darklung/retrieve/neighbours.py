"""The visibility that a pixel can be expected to have, from its neighbourhood, and what noise makes of its logarithm."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

WIDTH = 5
# Pixels of a row that are looked at where nothing but the row is near: more would reach across lung and heart.
ROW_WIDTH = 9
# How far a point halfway out may move over half a window of views [pixel] if the views are to count as neighbours.
_MOST_TURN = 2.0
# No visibility is taken to be below that of this strength N V²: there the logarithm means nothing anyway.
WEAKEST = 2.0
# Noise lifts the median of V² by about this over N (and its mean by 4/N).
_MEDIAN_LIFT = 2.0
_LANES = 128
# Where neighbours promise this many times the least N V², noise cannot take a pixel's own below this share of it (3 to 5 σ):
# less is a pixel that counts without modulation, whatever its neighbours do.
_SURE, _LEAST_SHARE = 6.0, 0.1


def views_are_near(angles_rad: NDArray[np.float64], rows: int, cols: int) -> bool:
    """Whether pixels of the views before and after are neighbours: of detectors with few rows, whose views turn slowly.

    A detector of fewer than 5 rows has no square around a pixel; five columns of five views are one as good, as long as
    the object moves little from view to view (repeated exposures do not move at all).
    """
    if rows >= WIDTH or len(angles_rad) <= WIDTH // 2:
        return False
    turn = np.abs(np.angle(np.exp(1j * np.diff(angles_rad)))).max()
    return bool(turn * (WIDTH // 2) * cols / 4 <= _MOST_TURN)


def nearest_views(view: int, views: int) -> list[int]:
    """The views of the window around one, that view in the middle; beyond the ends the views are mirrored."""
    away = range(view - WIDTH // 2, view + WIDTH // 2 + 1)
    return [min(abs(v), 2 * (views - 1) - abs(v)) for v in away]


def expected_square(visibility: NDArray, photons: NDArray) -> NDArray[np.float64]:
    """V² of each pixel as its neighbours tell it, (row, col): median of V² − 2/N over the other 24 of 5 × 5 pixels.

    The pixel itself takes no part, so that its own error does not decide its stated error. The median keeps a straight edge
    between two visibilities where it is. A detector of fewer than 5 rows is looked at 9 columns wide, row by row.

    Not modelled: structure finer than two pixels, which its surroundings outvote.

    Parameters
    ----------
    visibility : (row, col)
        0 where there is no modulation; those pixels take no part. Rows may be the views of one detector row.
    photons : (row, col)
        N, photons of the whole curve.
    """
    square: NDArray[np.float64] = np.empty(visibility.shape)
    high, wide = _window(len(square))
    if not _squares(visibility.ravel(), photons.ravel(), square.ravel()):
        good = (visibility > 0) & (photons > 0)
        share = uniform_filter(good.astype(np.float64), WIDTH, mode="constant")
        filling = uniform_filter(square, WIDTH, mode="constant") / np.maximum(share, 1e-9)
        square = np.where(good, square, filling)
    mode: Any = "reflect" if square.shape[1] > wide // 2 else "edge"
    padded = np.pad(square.astype(np.float32), ((high // 2,) * 2, (wide // 2,) * 2), mode=mode)
    _median_of_others(padded, high, wide, *_network(high * wide - 1), square)
    _raise_weak(visibility.ravel(), photons.ravel(), square.ravel())
    return square


@njit(cache=True, nogil=True, error_model="numpy")
def _squares(visibility, photons, square):  # type: ignore[no-untyped-def]
    """V² − 2/N, or 0 where there is no modulation; whether there is some everywhere."""
    lacking = 0
    for p in range(len(square)):
        v, n = np.float64(visibility[p]), photons[p]
        good = (v > 0) & (n > 0)
        square[p] = v * v - _MEDIAN_LIFT / n if good else 0.0
        lacking += 0 if good else 1
    return lacking == 0


@njit(cache=True, nogil=True, error_model="numpy")
def _raise_weak(visibility, photons, square):  # type: ignore[no-untyped-def]
    for p in range(len(square)):
        least = WEAKEST / photons[p] if (visibility[p] > 0) & (photons[p] > 0) else -np.inf
        square[p] = max(square[p], least)


def _window(rows: int) -> tuple[int, int]:
    return (WIDTH, WIDTH) if rows >= WIDTH else (1, ROW_WIDTH)


def noise_growth(strength: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """By how much the variances of ln V and of the phase exceed their first order 2/(N V²), at strengths N V².

    Amplitude and phase of 1 + z with circular normal noise z of variance 2/(N V²) in each part: at N V² = 10 the variances
    are 1.08 (ln V) and 1.39 times (phase) the first order, at 20 1.12 and 1.16 times, at 100 both 1.02 times.
    """
    at, amplitude, phase = _growth_table()
    inverse = 1.0 / np.maximum(np.asarray(strength, dtype=np.float64), WEAKEST)
    return np.interp(inverse, at, amplitude), np.interp(inverse, at, phase)


def photons_of(maps: NDArray, flat_variance: NDArray) -> NDArray[np.float64]:
    """N, photons of the whole curve, (row, col), from the variance of −ln T without the flat's; 0 without modulation."""
    found = np.empty(flat_variance.shape)
    _photons(maps[6].ravel(), maps[3].ravel(), flat_variance.ravel(), found.ravel())
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _photons(visibility, variance, of_flat, out):  # type: ignore[no-untyped-def]
    for p in range(len(out)):
        out[p] = 1.0 / (variance[p] - of_flat[p]) if visibility[p] > 0 else 0.0


def restate(
    maps: NDArray,
    valid: NDArray[np.bool_],
    flat: tuple[NDArray, NDArray, NDArray, NDArray],
    least_strength: float,
    near: tuple[NDArray, NDArray],
) -> None:
    """Variances of dark field and phase, and validity, with the visibility that the neighbours tell; in place.

    What the fit says of a pixel holds for its own V; with another V it changes as (2/V² − 1)/N and 2/(N V²) do. For validity
    the photons are those of the neighbourhood, too, since a pixel that came out bright would be picked by its own; but not
    more than twice its own, since a bright neighbour's counts tell nothing of a dark pixel's modulation. A pixel whose own
    modulation is far less than noise could make of the neighbours' is not valid unless it suffices by itself.

    Parameters
    ----------
    maps : (map, row, col)
        As `kernel.fit_view` leaves them: 3 to 5 the variances of −ln T, −ln D and phase with the flat's, 6 V of the sample.
    valid : (row, col)
    flat : variances of ln a0, ln V and phase, and strength, of the flat; (row, col)
    least_strength : float
    near : V and N of the pixels that may be neighbours, (view, row, col) each
        This view alone, or of `nearest_views`.
    """
    planes = _planes(near)
    high, wide = _window(len(planes[0][0]))
    squares = [expected_square(*plane) for plane in planes]
    photons = [_mean_around(n) for _, n in planes]
    alone, middle = len(near[0]) == 1, len(near[0]) // 2
    square, around = (p[0] if alone else np.stack([q[middle] for q in p]) for p in (squares, photons))
    _restate_all(maps, valid, *flat, square, around, *_growth_of(high * wide - 1), least_strength)


@lru_cache(maxsize=2)
def _growth_of(others: int) -> tuple[NDArray[np.float64], float]:
    """`noise_growth` for evenly spaced 1/(N V²), V known from so many pixels; and how many there are to a unit."""
    even = np.linspace(0.0, 1.0 / WEAKEST, 2049)
    # The strength is known to a relative variance of π/2 (8/s + 16/s²)/24 only; the mean of 1/s is larger by that.
    unsure = 1 + np.pi / 2 * (8 * even + 16 * even**2) / others
    return unsure * np.stack(noise_growth(1.0 / np.maximum(even, 1e-12))), float(1.0 / even[1])


@njit(cache=True, nogil=True, error_model="numpy")
def _mean_around(values):  # type: ignore[no-untyped-def]
    """Mean over `WIDTH` × `WIDTH` pixels, (row, col) float32; beyond the border the nearest pixel counts."""
    rows, cols = values.shape
    half = WIDTH // 2
    out, column = np.empty((rows, cols), np.float32), np.empty(cols + 2 * half)
    for r in range(rows):
        inner = column[half : half + cols]
        inner[:] = 0.0
        for dy in range(-half, half + 1):
            line = values[min(max(r + dy, 0), rows - 1)]
            for c in range(cols):
                inner[c] += line[c]
        column[:half], column[half + cols :] = inner[0], inner[cols - 1]
        for c in range(cols):
            total = 0.0
            for dx in range(WIDTH):
                total += column[c + dx]
            out[r, c] = total / WIDTH**2
    return out


def _planes(near: tuple[NDArray, NDArray]) -> list[tuple[NDArray, NDArray]]:
    """(V, N) in planes whose pixels are neighbours: the view itself, or each detector row over the views."""
    visibility, photons = near
    if len(visibility) == 1:
        return [(visibility[0], photons[0])]
    return [(visibility[:, row], photons[:, row]) for row in range(visibility.shape[1])]


@njit(cache=True, nogil=True, error_model="numpy")
def _restate_all(maps, valid, one, visible, turned, strength, square, around, growth, per_step, least):  # type: ignore[no-untyped-def]
    rows, cols = valid.shape
    last = growth.shape[1] - 1
    for r in range(rows):
        for c in range(cols):
            v = np.float64(maps[6, r, c])
            if v <= 0:
                continue
            own = maps[3, r, c] - one[r, c]
            change = v * v / square[r, c]
            inverse = own / square[r, c]
            n = min(int(inverse * per_step + 0.5), last)
            mine, expected = v * v / own, 1.0 / inverse
            alike = expected < _SURE * least or mine > min(least, _LEAST_SHARE * expected)
            photons = min(around[r, c], 2.0 / own)
            maps[4, r, c] = ((maps[4, r, c] - visible[r, c] + own) * change - own) * growth[0, n] + visible[r, c]
            maps[5, r, c] = (maps[5, r, c] - turned[r, c]) * change * growth[1, n] + turned[r, c]
            valid[r, c] = valid[r, c] and alike and photons * square[r, c] > least and strength[r, c] > least


@lru_cache(maxsize=1)
def _growth_table() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(1/strength, variance of ln |1 + z| and of its angle over the first order), by Gauss–Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    both = np.outer(weights, weights) / (2 * np.pi)
    at = np.r_[0.0, np.geomspace(1e-4, 1 / WEAKEST, 120)]
    amplitude, phase = np.ones_like(at), np.ones_like(at)
    for n, inverse in enumerate(at[1:], start=1):
        deviation = np.sqrt(2 * inverse)
        z = 1 + deviation * (nodes[:, None] + 1j * nodes)
        logarithm = np.log(np.abs(z) + 1e-300)
        mean = (both * logarithm).sum()
        amplitude[n] = (both * (logarithm - mean) ** 2).sum() / deviation**2
        phase[n] = (both * np.angle(z) ** 2).sum() / deviation**2
    return at, amplitude, phase


@lru_cache(maxsize=2)
def _network(others: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Batcher's odd-even merge sort of so many numbers, as far as the two middle ones need it: pairs to compare."""
    size = 1 << (others - 1).bit_length()
    pairs = []
    half = 1
    while half < size:
        step = half
        while step >= 1:
            for start in range(step % half, size - step, 2 * step):
                for i in range(min(step, size - start - step)):
                    low, high = start + i, start + i + step
                    # Numbers beyond the last would be infinite and stay where they are.
                    if low // (2 * half) == high // (2 * half) and high < others:
                        pairs.append((low, high))
            step //= 2
        half *= 2
    needed, kept = {others // 2 - 1, others // 2}, []
    for pair in reversed(pairs):
        if needed & set(pair):
            needed |= set(pair)
            kept.append(pair)
    first, second = np.array(kept[::-1], dtype=np.int64).T
    return np.ascontiguousarray(first), np.ascontiguousarray(second)


@njit(cache=True, nogil=True, error_model="numpy")
def _median_of_others(padded, high, wide, first, second, out):  # type: ignore[no-untyped-def]
    """Median of a window without its middle, some pixels of a row side by side so that the comparisons vectorise."""
    rows, cols = out.shape
    window = np.empty((high * wide - 1, _LANES), dtype=np.float32)
    for row in range(rows):
        for start in range(0, cols, _LANES):
            count = min(_LANES, cols - start)
            n = 0
            for dy in range(high):
                for dx in range(wide):
                    if dy == high // 2 and dx == wide // 2:
                        continue
                    for p in range(count):
                        window[n, p] = padded[row + dy, start + dx + p]
                    n += 1
            for pair in range(len(first)):
                a, b = window[first[pair]], window[second[pair]]
                for p in range(_LANES):
                    low, top = min(a[p], b[p]), max(a[p], b[p])
                    a[p] = low
                    b[p] = top
            half = (high * wide - 1) // 2
            for p in range(count):
                out[row, start + p] = 0.5 * (window[half - 1, p] + window[half, p])
