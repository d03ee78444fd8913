"""How the errors of transmission, dark field and phase hang together in one pixel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.fitting import LEAST_SQUARES, Fit
from darklung.core.types import Scan
from darklung.retrieve.fits import fit_curves
from darklung.retrieve.harmonic import nominal_steps
from darklung.retrieve.reference import dark_signal


@dataclass(frozen=True)
class SignalCovariance:
    """Covariances of the three signals of one view, (row, col) each; NaN where a logarithm does not exist.

    Parameters
    ----------
    attenuation_dark_field, attenuation_phase, dark_field_phase
        cov(−ln T, −ln D), cov(−ln T, phase) [rad], cov(−ln D, phase) [rad], of sample and flats together.
    largest_correlation : float
        Largest of the three correlations' root mean squares over the pixels.
    """

    attenuation_dark_field: NDArray[np.float64]
    attenuation_phase: NDArray[np.float64]
    dark_field_phase: NDArray[np.float64]
    largest_correlation: float


def signal_covariance(scan: Scan, *, direction: int = 0, view: int = 0, fit: Fit = LEAST_SQUARES) -> SignalCovariance:
    """Covariances of one view at the steps as set, by first-order propagation through the fit.

    For 4 or more equidistant steps over whole periods and least squares they vanish: cov(ln a0, ln a1) = 1/N = var(ln a0),
    so that ln V = ln a1 − ln a0 does not hang on ln a0, and the phase on neither. They count with 3 steps (where the third
    harmonic of the noise folds back), with uneven steps or doses, and with likelihood at high visibility.
    """
    return next(view_covariances(scan, direction=direction, views=[view], fit=fit))


def view_covariances(scan: Scan, *, direction: int, views: Iterable[int], fit: Fit) -> Iterator[SignalCovariance]:
    """`signal_covariance` of one view after the other; the flats are fitted once."""
    model, dark = nominal_steps(scan.step_phase_rad[direction]), dark_signal(scan)
    count = scan.flats.shape[1]
    flats = [_of_curve(*fit_curves(np.asarray(scan.flats[direction, n]), dark, model, fit)) for n in range(count)]
    flat = [np.mean(values, axis=0) / count for values in zip(*flats)]
    bad = np.zeros(dark.shape, bool) if scan.bad_pixels is None else np.asarray(scan.bad_pixels, dtype=bool)
    for view in views:
        sample = _of_curve(*fit_curves(np.asarray(scan.frames[direction, view]), dark, model, fit))
        yield _joined([one + two for one, two in zip(sample, flat)], bad)


def _joined(parts: list[NDArray[np.float64]], bad: NDArray[np.bool_]) -> SignalCovariance:
    a_v, a_p, v_p, a_a, v_v, p_p = parts
    good = ~bad & (a_a > 0)
    # −ln T and −ln D fall as a0 and V of the sample grow, the phase grows with the sample's.
    signed = [np.where(good, value, np.nan) for value in (a_v, -a_p, -v_p)]
    roots = [np.sqrt(a_a * v_v), np.sqrt(a_a * p_p), np.sqrt(v_v * p_p)]
    known = [(v / r)[np.isfinite(v / r)] for v, r in zip(signed, roots)]
    correlation = [float(np.sqrt(np.mean(k**2))) if k.size else 0.0 for k in known]
    return SignalCovariance(signed[0], signed[1], signed[2], max(correlation))


def _of_curve(coefficients: NDArray[np.float64], covariance: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """cov(ln a0, ln V), cov(ln a0, φ), cov(ln V, φ), and the variances of the three."""
    c0, c1, c2 = coefficients
    square = c1 * c1 + c2 * c2
    usable = (c0 > 0) & (square > 0)
    c0, square = np.where(usable, c0, np.nan), np.where(usable, square, np.nan)
    v00, v01, v02, v11, v12, v22 = covariance
    amplitude = v00 / c0**2
    mixed = (c1 * v01 + c2 * v02) / (c0 * square)
    phase_amplitude = (c2 * v01 - c1 * v02) / (c0 * square)
    phase_modulation = (c1 * c2 * (v11 - v22) + (c2 * c2 - c1 * c1) * v12) / square**2
    modulation = (c1 * c1 * v11 + 2 * c1 * c2 * v12 + c2 * c2 * v22) / square**2
    phase = (c2 * c2 * v11 - 2 * c1 * c2 * v12 + c1 * c1 * v22) / square**2
    visibility = amplitude + modulation - 2 * mixed
    return mixed - amplitude, phase_amplitude, phase_modulation - phase_amplitude, amplitude, visibility, phase
