"""Pixels that a detector gets wrong, found in the flats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.stats import chi2

from darklung.core.checks import check_positive, check_range, require
from darklung.core.types import Scan
from darklung.retrieve.harmonic import fit_coefficients, step_design
from darklung.retrieve.reference import dark_signal


def find_bad_pixels(
    scan: Scan,
    *,
    response: tuple[float, float] = (0.5, 2.0),
    false_alarms: float = 1e-3,
    window: int = 7,
    gain: float = 1.0,
) -> NDArray[np.bool_]:
    """Dead, hot and unsteady pixels, (row, col) True where a pixel should not be trusted; those of the scan included.

    A pixel is bad if in any direction its mean flat is outside `response` times the median of its neighbourhood, or if its
    flats scatter about their sinusoids more than photon noise allows: χ² over all flats beyond what happens once in
    `false_alarms` detectors. Steps that are off (see `darklung.retrieve.steps`) raise χ² everywhere; therefore χ² is first
    divided by its median, if that is above 1. Put the result into the scan with ``dataclasses.replace``.

    Not found: pixels that only fail in some views (see ``most_misfit`` of `retrieve`), and whole lost lines wider than half
    the window.

    Parameters
    ----------
    response : (low, high)
    false_alarms : float
        Expected number of good pixels that are called bad, for unsteadiness.
    window : int
        Width of the neighbourhood.
    gain : float
        Counts per photon.
    """
    low, high = response
    check_positive("response", low)
    require(high > low, f"response: wanted low < high, got {response}")
    check_range("false_alarms", false_alarms, 1e-12, 1e3)
    require(window >= 3 and window % 2 == 1, f"window: wanted an odd number >= 3, got {window}")
    shape = (scan.geometry.rows, scan.geometry.cols)
    bad = np.zeros(shape, bool) if scan.bad_pixels is None else np.array(scan.bad_pixels, dtype=bool)
    for direction in range(len(scan.directions_rad)):
        mean, misfit, freedom = _flat_quality(scan, direction, check_positive("gain", gain))
        bad |= ~np.isfinite(mean) | (mean <= 0)
        usual = median_filter(np.where(bad, np.median(mean[~bad]) if (~bad).any() else 0.0, mean), window, mode="nearest")
        bad |= (mean < low * usual) | (mean > high * usual)
        if freedom > 0:
            common = max(1.0, float(np.median(misfit[~bad])) / freedom) if (~bad).any() else 1.0
            bad |= misfit > common * chi2.isf(false_alarms / bad.size, freedom)
    return bad


def _flat_quality(scan: Scan, direction: int, gain: float) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Mean of the flats, χ² of all of them about their own sinusoids, and its degrees of freedom."""
    design = step_design(scan.step_phase_rad[direction])
    dark = dark_signal(scan)
    mean, misfit = np.zeros(dark.shape), np.zeros(dark.shape)
    flats, steps = scan.flats.shape[1], scan.flats.shape[2]
    for flat in range(flats):
        curves = np.asarray(scan.flats[direction, flat], dtype=np.float64)
        fit = fit_coefficients(curves, design)
        with np.errstate(invalid="ignore"):
            for step in range(steps):
                expected = np.tensordot(design.matrix[step], fit, axes=1)
                misfit += (curves[step] - expected) ** 2 / (gain * np.maximum(expected, gain))
        mean += (fit[0] - dark) / flats
    return mean, misfit, flats * (steps - 3)
