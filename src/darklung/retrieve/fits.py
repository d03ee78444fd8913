"""Fits of stepping curves as a `Fit` asks: one matrix for all pixels, or a matrix of its own for each.

The second is for Poisson likelihood, higher harmonics, and steps whose phase changes over the detector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.fitting import Fit
from darklung.retrieve.harmonic import (
    WORST_CONDITION,
    StepModel,
    covariance_of,
    fit_coefficients,
    step_design,
    step_matrix,
)

# Fisher scoring changes the coefficients by less than this share of the amplitude when it ends.
_TOLERANCE = 1e-7
_MOST_ROUNDS = 50


def fit_curves(
    curves: NDArray[Any], dark: NDArray[np.float64], model: StepModel, fit: Fit
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients (3, row, col) without the dark signal, and their covariance (6, row, col), of one stepping curve.

    Parameters
    ----------
    curves : (step, row, col) counts
    dark : (row, col) counts a frame
    """
    if not (fit.plain and model.same_everywhere):
        coefficients, covariance, _ = fit_pixelwise(curves, dark, model, fit)
        return coefficients, fit.gain * covariance
    design = step_design(model.phases_rad, model.dose)
    coefficients = fit_coefficients(curves, design) - design.coefficients_of_dark[:, None, None] * dark
    return coefficients, fit.gain * covariance_of(coefficients, design, dark)


def check_harmonics(phases_rad: NDArray[np.float64], dose: NDArray[np.float64], harmonics: int) -> None:
    """Refuse more harmonics than the phases of the steps determine."""
    steps, terms = len(phases_rad), 1 + 2 * harmonics
    require(steps >= terms, f"harmonics: {harmonics} need at least {terms} phase steps, got {steps}")
    condition = np.linalg.cond(step_matrix(phases_rad, dose, harmonics))
    require(
        bool(condition < WORST_CONDITION),
        f"harmonics: these {steps} phases do not determine {harmonics} harmonics (condition number {condition:.3g})",
    )


def fit_pixelwise(
    curves: NDArray[Any], dark: NDArray[np.float64], model: StepModel, fit: Fit
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fit I_k = g_k (c0 + Σ_h c_h cos hθ_k + s_h sin hθ_k) + dark, with θ_k changing linearly over the detector.

    "likelihood": Fisher scoring, c ← (AᵀWA)⁻¹AᵀW(I − dark) with W = 1/(A c + dark), in steps that keep every expected count
    above zero; its covariance is (AᵀWA)⁻¹. "least_squares": one step with W = 1, and the covariance of Poisson noise of the
    fitted curve.

    Parameters
    ----------
    curves : (step, row, col)
    dark : (row, col)

    Returns
    -------
    coefficients : (3, row, col)
        c0, c1, s1 without the dark signal.
    covariance : (6, row, col)
        Entries `harmonic.PAIRS`, for a gain of 1.
    misfit : (row, col)
        Reduced χ², for a gain of 1; 0 where no degree of freedom is left.
    """
    rows, cols = curves.shape[1:]
    check_harmonics(model.phases_rad, model.dose, fit.harmonics)
    coefficients, covariance, misfit = np.zeros((3, rows, cols)), np.zeros((6, rows, cols)), np.zeros((rows, cols))
    y, x = (np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in (rows, cols))
    _fit_all(
        curves,
        dark,
        (model.phases_rad, model.dose, model.ramp_rad, y, x),
        fit.harmonics,
        fit.method == "likelihood",
        fit.gain,
        coefficients,
        covariance,
        misfit,
    )
    return coefficients, covariance, misfit


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_all(curves, dark, model, harmonics, likelihood, gain, coefficients, covariance, misfit):  # type: ignore[no-untyped-def]
    phases, dose, ramp, y, x = model
    steps, rows, cols = curves.shape
    terms = 1 + 2 * harmonics
    a, values, weights = np.empty((steps, terms)), np.empty(steps), np.empty(steps)
    normal, c, spread = np.empty((terms, terms)), np.empty(terms), np.empty((terms, terms))
    for row in range(rows):
        for col in range(cols):
            for k in range(steps):
                theta = phases[k] + ramp[k, 0] * y[row] + ramp[k, 1] * x[col]
                a[k, 0] = dose[k]
                for h in range(harmonics):
                    a[k, 1 + 2 * h] = dose[k] * np.cos((h + 1) * theta)
                    a[k, 2 + 2 * h] = dose[k] * np.sin((h + 1) * theta)
                values[k] = np.float64(curves[k, row, col]) - dark[row, col]
                weights[k] = 1.0
            _solve(a, weights, values, normal, c)
            if not np.isfinite(c[0]) or c[0] <= 0:
                coefficients[0, row, col] = c[0]
                continue
            if likelihood:
                _climb(a, values, dark[row, col], weights, normal, c)
            misfit[row, col] = _spread(a, values, dark[row, col], c, likelihood, gain, weights, normal, spread)
            for m in range(3):
                coefficients[m, row, col] = c[m]
            n = 0
            for i in range(3):
                for j in range(i, 3):
                    covariance[n, row, col] = spread[i, j]
                    n += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _expected(a, c, k):  # type: ignore[no-untyped-def]
    total = 0.0
    for m in range(len(c)):
        total += a[k, m] * c[m]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _climb(a, values, dark, weights, normal, c):  # type: ignore[no-untyped-def]
    """To the maximum of the likelihood from c, in place."""
    least = 1e-6 * c[0]
    new = np.empty(len(c))
    # The start must expect counts in every step: a modulation that is too deep is made smaller.
    depth = 1.0
    for k in range(len(values)):
        flat = a[k, 0] * c[0]
        below = flat - _expected(a, c, k)
        if below > 0:
            depth = min(depth, 0.98 * (flat + dark) / below)
    for m in range(1, len(c)):
        c[m] *= depth
    for _ in range(_MOST_ROUNDS):
        for k in range(len(values)):
            weights[k] = 1.0 / max(_expected(a, c, k) + dark, least)
        _solve(a, weights, values, normal, new)
        share = 1.0
        for k in range(len(values)):
            now, then = _expected(a, c, k) + dark, _expected(a, new, k) + dark
            if then < least and then < now:
                share = min(share, 0.9 * now / (now - then))
        change = 0.0
        for m in range(len(c)):
            change = max(change, abs(new[m] - c[m]))
            c[m] += share * (new[m] - c[m])
        if share * change < _TOLERANCE * c[0]:
            break


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(a, weights, values, normal, c):  # type: ignore[no-untyped-def]
    """Weighted least squares into c; `normal` is left as its Cholesky factor."""
    terms = a.shape[1]
    for i in range(terms):
        c[i] = 0.0
        for k in range(len(values)):
            c[i] += a[k, i] * weights[k] * values[k]
        for j in range(i + 1):
            total = 0.0
            for k in range(len(values)):
                total += a[k, i] * weights[k] * a[k, j]
            normal[i, j] = total
    for i in range(terms):
        for j in range(i + 1):
            total = normal[i, j]
            for m in range(j):
                total -= normal[i, m] * normal[j, m]
            normal[i, j] = np.sqrt(total) if i == j else total / normal[j, j]
    _substitute(normal, c)


@njit(cache=True, nogil=True, error_model="numpy")
def _substitute(factor, c):  # type: ignore[no-untyped-def]
    """Solve with a Cholesky factor, in place."""
    terms = len(c)
    for i in range(terms):
        for m in range(i):
            c[i] -= factor[i, m] * c[m]
        c[i] /= factor[i, i]
    for i in range(terms - 1, -1, -1):
        for m in range(i + 1, terms):
            c[i] -= factor[m, i] * c[m]
        c[i] /= factor[i, i]


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(a, values, dark, c, likelihood, gain, weights, normal, spread):  # type: ignore[no-untyped-def]
    """Covariance of c into `spread`; returns the reduced χ², both for a gain of 1, which here tells how small a photon is.

    `normal` is the factor of the last solution.
    """
    steps, terms = a.shape
    misfit = 0.0
    column = np.empty(terms)
    spread[:] = 0.0
    for k in range(steps):
        curve = _expected(a, c, k)
        variance = max(curve + dark, 1e-6 * c[0])
        misfit += (values[k] - curve) ** 2 / max(variance, gain)
        # (AᵀWA)⁻¹ AᵀW: how one step moves c; with W = 1/variance the products add up to (AᵀWA)⁻¹.
        weight = 1.0 / variance if likelihood else 1.0
        weights[k] = weight
    if likelihood:
        column[:] = 0.0
        _solve(a, weights, values, normal, column)
    for k in range(steps):
        for m in range(terms):
            column[m] = a[k, m] * weights[k]
        _substitute(normal, column)
        variance = max(_expected(a, c, k) + dark, 1e-6 * c[0])
        for i in range(terms):
            for j in range(i, terms):
                spread[i, j] += column[i] * column[j] * variance
    return misfit / (steps - terms) if steps > terms else 0.0
