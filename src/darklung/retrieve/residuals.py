"""What the fits leave of the frames: is the model of the steps right, and do the gratings need higher harmonics?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.fitting import Fit
from darklung.core.types import Scan
from darklung.retrieve.fits import fit_pixelwise
from darklung.retrieve.harmonic import StepModel, step_matrix
from darklung.retrieve.reference import dark_signal


@dataclass(frozen=True)
class Residuals:
    """Of one stepping curve.

    Parameters
    ----------
    misfit : (row, col) float64
        Reduced χ² of each pixel, 1 for photon noise alone; NaN where there are no counts, or no degree of freedom is left.
    by_step : (step,) float64
        Mean over the pixels of (counts − fit)/√fit: a step whose dose is off shows here.
    spread_by_step : (step,) float64
        Its root mean square; √((steps − 3)/steps) for photon noise alone. A step whose phase is off shows here.
    """

    misfit: NDArray[np.float64]
    by_step: NDArray[np.float64]
    spread_by_step: NDArray[np.float64]


def curve_residuals(scan: Scan, model: StepModel, *, direction: int, view: int, fit: Fit) -> Residuals:
    """Residuals of one view's frames about their sinusoids at the steps of `model`."""
    frames = np.asarray(scan.frames[direction, view])
    dark = dark_signal(scan)
    plain = Fit(gain=fit.gain)
    c, _, misfit = fit_pixelwise(frames, dark, model, plain)
    y, x = (np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in dark.shape)
    good = c[0] > 0
    if scan.bad_pixels is not None:
        good &= ~np.asarray(scan.bad_pixels, dtype=bool)
    mean, spread = np.full((2, len(frames)), np.nan)
    for k, frame in enumerate(frames if good.any() else ()):
        theta = model.phases_rad[k] + model.ramp_rad[k, 0] * y[:, None] + model.ramp_rad[k, 1] * x
        expected = model.dose[k] * (c[0] + c[1] * np.cos(theta) + c[2] * np.sin(theta))
        left = (frame - dark - expected)[good] / np.sqrt(fit.gain * np.maximum((expected + dark)[good], 1e-9 * fit.gain))
        mean[k], spread[k] = left.mean(), np.sqrt(np.mean(left**2))
    freedom = len(frames) > 3
    return Residuals(np.where(good & freedom, misfit / fit.gain, np.nan), mean, spread)


def harmonic_content(scan: Scan, *, direction: int = 0, gain: float = 1.0) -> dict[str, tuple[float, float]]:
    """Amplitude of the flats' second and third harmonic over the first, each with its error: ``{"second": (0.02, 0.001)}``.

    Root mean square over the pixels, freed of the noise of photons of `gain` counts each; as far as the number of steps
    allows (5 for the second, 7 for the third). Gratings whose content is above a few per cent need
    ``Fit(harmonics=...)`` where the steps are not equidistant over whole periods, or fewer than 2 + the harmonic's order;
    else they do not disturb the first.
    """
    phases = np.asarray(scan.step_phase_rad[direction], dtype=np.float64)
    orders = min(3, (len(phases) - 1) // 2)
    if orders < 2:
        return {}
    matrix = step_matrix(phases, np.ones_like(phases), orders)
    if np.linalg.cond(matrix) > 1e3:
        return {}
    inverse = np.linalg.pinv(matrix)
    flats = scan.flats.shape[1]
    # One after the other: all of them together may not fit into memory.
    dark = dark_signal(scan)
    curves = sum(np.asarray(scan.flats[direction, n], dtype=np.float64) for n in range(flats)) / flats - dark
    coefficients = np.tensordot(inverse, curves, axes=1)
    good = coefficients[0] > 0
    if scan.bad_pixels is not None:
        good &= ~np.asarray(scan.bad_pixels, dtype=bool)
    if not good.any():
        return {}
    variance = gain * (coefficients[0] + dark)[good] / flats
    power, error = [], []
    for order in range(1, orders + 1):
        weights = (inverse[2 * order - 1 : 2 * order + 1] ** 2).sum()
        square = (coefficients[2 * order - 1 : 2 * order + 1] ** 2).sum(axis=0)[good] - weights * variance
        power.append(float(square.mean()))
        error.append(float(square.std() / np.sqrt(square.size)))
    result = {}
    if power[0] <= 0:  # no modulation beyond noise
        return {}
    for name, one, spread in zip(("second", "third"), power[1:], error[1:]):
        ratio, floor = np.sqrt(max(one, 0.0) / power[0]), np.sqrt(spread / power[0])
        # The error of a root; near 0, where a root has none, that of its square.
        result[name] = (float(ratio), float(floor**2 / (2 * max(ratio, floor)) if floor > 0 else 0.0))
    return result


def harmonic_leak(step_phase_rad: NDArray[np.float64]) -> float:
    """How much of a second harmonic the fit of one takes for the first: 0 for 4 even steps or more over whole periods."""
    phases = np.asarray(step_phase_rad, dtype=np.float64)
    inverse = np.linalg.pinv(step_matrix(phases, np.ones_like(phases)))
    second = np.stack([np.cos(2 * phases), np.sin(2 * phases)], axis=1)
    return float(np.linalg.norm(inverse[1:] @ second, 2))
