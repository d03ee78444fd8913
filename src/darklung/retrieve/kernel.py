"""The compiled part of retrieval: one pass over the frames of a view."""

from __future__ import annotations

import numpy as np
from numba import njit

# Pixels that are fitted before the next ones are read: what is known of them stays in the fastest caches.
CHUNK = 512
# Where the quantities of a chunk begin in its scratch. The compiler works on several pixels at once where it knows these
# distances; over many arrays, of which any two might overlap, it works on one. The ratios with the cosine, and the
# variances, stand in the order of the maps.
_C0, _C1, _C2, _LOWEST, _DARK, _GOOD, _A0_RATIO, _V_RATIO, _COS = (CHUNK * n for n in range(9))
_SIN, _A0_VAR, _V_VAR, _PHASE_VAR, _V, _STRENGTH = (CHUNK * n for n in range(9, 15))
_QUANTITIES = 15


@njit(cache=True, nogil=True, error_model="numpy")
def fit_view(frames, dark, bad, design, flat, flat_variances, limits, out, sine, valid):  # type: ignore[no-untyped-def]
    """Fit all pixels of one view and write what is left to be done by numpy's vectorised logarithm and arctangent.

    Writes into `out` (map, pixel): a0_flat/a0, V_flat/V, cos of the phase difference (times any number > 0), the three
    variances, V, V_flat; into `sine` the sine that belongs to the cosine. Pixels without logarithms get 1, 1, 1 and 0.

    Returns
    -------
    float
        The lowest count, bad pixels left out; NaN if one of their sums is not finite.
    """
    inverse, spread, dark_spread, of_dark, matrix = design
    misfit_limit, limits = limits[3], limits[:3]
    pixels = frames.shape[1]
    s = np.empty(_QUANTITIES * CHUNK)
    lowest = np.inf
    finite = 0.0
    for start in range(0, pixels, CHUNK):
        count = min(CHUNK, pixels - start)
        part = slice(start, start + count)
        _fit_chunk(frames[:, part], count, inverse, s)
        spoilt = bad[part]
        for p in range(count):
            if not spoilt[p]:
                lowest = min(lowest, s[_LOWEST + p])
                finite += 0.0 * s[_C0 + p]
        _take_dark_off(s, count, dark[part], of_dark)
        if misfit_limit < np.inf:
            _misfits(s, count, frames[:, part], matrix, limits[1])
        _select(s, count, spoilt, flat[5][part])
        _derive(s, count, frames.shape[0], spread, dark_spread, limits[1])
        _ratios(s, count, flat[0][part], flat[1][part])
        _turn_back(s, count, flat[2][part], flat[3][part])
        for m in range(3):
            _add(s, _A0_VAR + m * CHUNK, count, flat_variances[m][part])
            _put(s, _A0_RATIO + m * CHUNK, count, 1.0, out[m, part])
            _put(s, _A0_VAR + m * CHUNK, count, limits[2], out[3 + m, part])
        _put(s, _V, count, 0.0, out[6, part])
        _put(s, _SIN, count, 0.0, sine[part])
        out[7, part] = flat[1][part]
        _judge(s, count, flat[4][part], limits[0], limits[1], valid[part])
        if misfit_limit < np.inf:
            valid[part] &= s[_LOWEST : _LOWEST + count] <= misfit_limit * (frames.shape[0] - 3)
    return lowest + finite


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_chunk(frames, count, inverse, s):  # type: ignore[no-untyped-def]
    """Coefficients of `count` pixels and their lowest count."""
    for p in range(count):
        s[_C0 + p] = 0.0
        s[_C1 + p] = 0.0
        s[_C2 + p] = 0.0
        s[_LOWEST + p] = np.inf
    for k in range(frames.shape[0]):
        w0, w1, w2 = inverse[0, k], inverse[1, k], inverse[2, k]
        for p in range(count):
            value = np.float64(frames[k, p])
            s[_C0 + p] += w0 * value
            s[_C1 + p] += w1 * value
            s[_C2 + p] += w2 * value
            s[_LOWEST + p] = min(s[_LOWEST + p], value)


@njit(cache=True, nogil=True, error_model="numpy")
def _take_dark_off(s, count, dark, of_dark):  # type: ignore[no-untyped-def]
    d0, d1, d2 = of_dark[0], of_dark[1], of_dark[2]
    for p in range(count):
        own = dark[p]
        s[_DARK + p] = own
        s[_C0 + p] -= d0 * own
        s[_C1 + p] -= d1 * own
        s[_C2 + p] -= d2 * own


@njit(cache=True, nogil=True, error_model="numpy")
def _misfits(s, count, frames, matrix, gain):  # type: ignore[no-untyped-def]
    """χ² of each curve about its sinusoid, in place of its lowest count: large after a zinger or a lost frame."""
    for p in range(count):
        total = 0.0
        for k in range(frames.shape[0]):
            fitted = matrix[k, 0] * s[_C0 + p] + matrix[k, 1] * s[_C1 + p] + matrix[k, 2] * s[_C2 + p]
            difference = np.float64(frames[k, p]) - s[_DARK + p] - fitted
            total += difference * difference / (gain * max(fitted + s[_DARK + p], gain))
        s[_LOWEST + p] = total


@njit(cache=True, nogil=True, error_model="numpy")
def _select(s, count, bad, usable):  # type: ignore[no-untyped-def]
    """Which pixels have logarithms (1, else 0); the others get coefficients that harm nothing."""
    for p in range(count):
        s[_GOOD + p] = 1.0 if usable[p] & (not bad[p]) else 0.0
    for p in range(count):
        c0, c1, c2 = s[_C0 + p], s[_C1 + p], s[_C2 + p]
        # NaN fails these comparisons too.
        good = (s[_GOOD + p] > 0) & (c0 > 0) & (c1 * c1 + c2 * c2 > 0)
        s[_GOOD + p] = 1.0 if good else 0.0
        s[_C0 + p] = c0 if good else 1.0
        s[_C1 + p] = c1 if good else 1.0
        s[_C2 + p] = c2 if good else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _derive(s, count, steps, spread, dark_spread, gain):  # type: ignore[no-untyped-def]
    """Visibility, strength N V² and the variances of ln a0, ln V and the phase, as `harmonic.harmonics_of`."""
    a0, a1, a2, ad = spread[0, 0], spread[0, 1], spread[0, 2], dark_spread[0]
    b0, b1, b2, bd = spread[1, 0], spread[1, 1], spread[1, 2], dark_spread[1]
    e0, e1, e2, ed = spread[2, 0], spread[2, 1], spread[2, 2], dark_spread[2]
    f0, f1, f2, fd = spread[3, 0], spread[3, 1], spread[3, 2], dark_spread[3]
    g0, g1, g2, gd = spread[4, 0], spread[4, 1], spread[4, 2], dark_spread[4]
    h0, h1, h2, hd = spread[5, 0], spread[5, 1], spread[5, 2], dark_spread[5]
    for p in range(count):
        c0, c1, c2, dark = s[_C0 + p], s[_C1 + p], s[_C2 + p], s[_DARK + p]
        v00 = a0 * c0 + a1 * c1 + a2 * c2 + ad * dark
        v01 = b0 * c0 + b1 * c1 + b2 * c2 + bd * dark
        v02 = e0 * c0 + e1 * c1 + e2 * c2 + ed * dark
        v11 = f0 * c0 + f1 * c1 + f2 * c2 + fd * dark
        v12 = g0 * c0 + g1 * c1 + g2 * c2 + gd * dark
        v22 = h0 * c0 + h1 * c1 + h2 * c2 + hd * dark
        per_a0, per_square = 1.0 / c0, 1.0 / (c1 * c1 + c2 * c2)
        v_a0 = v00 * per_a0 * per_a0
        v_a1 = (c1 * c1 * v11 + 2.0 * c1 * c2 * v12 + c2 * c2 * v22) * per_square * per_square
        v_mixed = (c1 * v01 + c2 * v02) * per_a0 * per_square
        v_phase = (c2 * c2 * v11 - 2.0 * c1 * c2 * v12 + c1 * c1 * v22) * per_square * per_square
        visibility = np.sqrt(c1 * c1 + c2 * c2) * per_a0
        s[_V + p] = visibility
        s[_STRENGTH + p] = steps * c0 * visibility * visibility
        s[_A0_VAR + p] = gain * v_a0
        s[_V_VAR + p] = gain * (v_a0 + v_a1 - 2.0 * v_mixed)
        s[_PHASE_VAR + p] = gain * v_phase
        s[_A0_RATIO + p] = per_a0


@njit(cache=True, nogil=True, error_model="numpy")
def _ratios(s, count, a0_flat, v_flat):  # type: ignore[no-untyped-def]
    for p in range(count):
        s[_A0_RATIO + p] *= a0_flat[p]
        s[_V_RATIO + p] = v_flat[p] / s[_V + p]


@njit(cache=True, nogil=True, error_model="numpy")
def _turn_back(s, count, cosine, sine):  # type: ignore[no-untyped-def]
    """The phase is that of c1 − i c2; the flat's is taken off by a rotation, which also wraps it."""
    for p in range(count):
        s[_COS + p] = s[_C1 + p] * cosine[p] - s[_C2 + p] * sine[p]
        s[_SIN + p] = -s[_C2 + p] * cosine[p] - s[_C1 + p] * sine[p]


@njit(cache=True, nogil=True, error_model="numpy")
def _add(s, at, count, other):  # type: ignore[no-untyped-def]
    mine = s[at : at + count]
    for p in range(count):
        mine[p] += other[p]


@njit(cache=True, nogil=True, error_model="numpy")
def _put(s, at, count, otherwise, out):  # type: ignore[no-untyped-def]
    """One map of a chunk, with a fixed value where there are no logarithms."""
    mine = s[at : at + count]
    for p in range(count):
        out[p] = mine[p] if s[_GOOD + p] > 0 else otherwise


@njit(cache=True, nogil=True, error_model="numpy")
def _judge(s, count, strength_flat, least, gain, valid):  # type: ignore[no-untyped-def]
    for p in range(count):
        strong = (s[_STRENGTH + p] > least * gain) & (strength_flat[p] > least)
        valid[p] = (s[_GOOD + p] > 0) & strong
