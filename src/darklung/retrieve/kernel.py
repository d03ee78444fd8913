"""The compiled part of retrieval: one pass over the frames of a view."""

from __future__ import annotations

import numpy as np
from numba import njit

# Pixels that are fitted before the next ones are read: their coefficients stay in the fastest cache.
CHUNK = 512


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
    c = np.empty((4, CHUNK))
    lowest = np.inf
    finite = 0.0
    for start in range(0, pixels, CHUNK):
        count = min(CHUNK, pixels - start)
        _fit_chunk(frames, start, count, inverse, c)
        for p in range(count):
            if not bad[start + p]:
                lowest = min(lowest, c[3, p])
                finite += 0.0 * c[0, p]
        for p in range(count):
            for m in range(3):
                c[m, p] -= of_dark[m] * dark[start + p]
        _derive_chunk(
            c, start, count, frames.shape[0], dark, bad, spread, dark_spread, flat, flat_variances, limits, out, sine, valid
        )
        if misfit_limit < np.inf:
            _check_chunk(c, start, count, frames, dark, matrix, limits[1], misfit_limit, valid)
    return lowest + finite


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_chunk(frames, start, count, inverse, c):  # type: ignore[no-untyped-def]
    """Coefficients of `count` pixels into c[0:3] and their lowest count into c[3]; the inner loop vectorises."""
    for p in range(count):
        c[0, p] = 0.0
        c[1, p] = 0.0
        c[2, p] = 0.0
        c[3, p] = np.inf
    for k in range(frames.shape[0]):
        w0, w1, w2 = inverse[0, k], inverse[1, k], inverse[2, k]
        for p in range(count):
            value = np.float64(frames[k, start + p])
            c[0, p] += w0 * value
            c[1, p] += w1 * value
            c[2, p] += w2 * value
            c[3, p] = min(c[3, p], value)


@njit(cache=True, nogil=True, error_model="numpy")
def _derive_chunk(c, start, count, steps, dark, bad, spread, dark_spread, flat, flat_variances, limits, out, sine, valid):  # type: ignore[no-untyped-def]
    """Ratios, variances (as `harmonic.harmonics_of`) and validity of one chunk; selections instead of branches."""
    a0_flat, v_flat, cos_flat, sin_flat, strength_flat, usable_flat = flat
    a0_flat_var, v_flat_var, phase_flat_var = flat_variances
    least, gain, unknown = limits
    for p in range(count):
        i = start + p
        square = c[1, p] * c[1, p] + c[2, p] * c[2, p]
        # NaN fails these comparisons too.
        good = (not bad[i]) & usable_flat[i] & (c[0, p] > 0) & (square > 0)
        c0, c1, c2 = (c[0, p], c[1, p], c[2, p]) if good else (1.0, 1.0, 0.0)
        v00 = spread[0, 0] * c0 + spread[0, 1] * c1 + spread[0, 2] * c2 + dark_spread[0] * dark[i]
        v01 = spread[1, 0] * c0 + spread[1, 1] * c1 + spread[1, 2] * c2 + dark_spread[1] * dark[i]
        v02 = spread[2, 0] * c0 + spread[2, 1] * c1 + spread[2, 2] * c2 + dark_spread[2] * dark[i]
        v11 = spread[3, 0] * c0 + spread[3, 1] * c1 + spread[3, 2] * c2 + dark_spread[3] * dark[i]
        v12 = spread[4, 0] * c0 + spread[4, 1] * c1 + spread[4, 2] * c2 + dark_spread[4] * dark[i]
        v22 = spread[5, 0] * c0 + spread[5, 1] * c1 + spread[5, 2] * c2 + dark_spread[5] * dark[i]
        per_a0, per_square = 1.0 / c0, 1.0 / (c1 * c1 + c2 * c2)
        v_a0 = v00 * per_a0 * per_a0
        v_a1 = (c1 * c1 * v11 + 2.0 * c1 * c2 * v12 + c2 * c2 * v22) * per_square * per_square
        v_mixed = (c1 * v01 + c2 * v02) * per_a0 * per_square
        v_phase = (c2 * c2 * v11 - 2.0 * c1 * c2 * v12 + c1 * c1 * v22) * per_square * per_square
        visibility = np.sqrt(c1 * c1 + c2 * c2) * per_a0
        out[0, i] = a0_flat[i] * per_a0 if good else 1.0
        out[1, i] = v_flat[i] / visibility if good else 1.0
        # The phase is that of c1 − i c2; the flat's is taken off by a rotation, which also wraps it.
        out[2, i] = c1 * cos_flat[i] - c2 * sin_flat[i] if good else 1.0
        sine[i] = -c2 * cos_flat[i] - c1 * sin_flat[i] if good else 0.0
        out[3, i] = gain * v_a0 + a0_flat_var[i] if good else unknown
        out[4, i] = gain * (v_a0 + v_a1 - 2.0 * v_mixed) + v_flat_var[i] if good else unknown
        out[5, i] = gain * v_phase + phase_flat_var[i] if good else unknown
        out[6, i] = visibility if good else 0.0
        out[7, i] = v_flat[i]
        valid[i] = good & (steps * c0 * visibility * visibility > least * gain) & (strength_flat[i] > least)


@njit(cache=True, nogil=True, error_model="numpy")
def _check_chunk(c, start, count, frames, dark, matrix, gain, limit, valid):  # type: ignore[no-untyped-def]
    """Mark pixels not valid whose curve is further from its sinusoid than photon noise allows (a zinger, a dead frame)."""
    freedom = frames.shape[0] - 3
    for p in range(count):
        i = start + p
        if not valid[i]:
            continue
        total = 0.0
        for k in range(frames.shape[0]):
            fitted = matrix[k, 0] * c[0, p] + matrix[k, 1] * c[1, p] + matrix[k, 2] * c[2, p]
            difference = np.float64(frames[k, i]) - dark[i] - fitted
            total += difference * difference / (gain * max(fitted + dark[i], gain))
        valid[i] = total <= limit * freedom
