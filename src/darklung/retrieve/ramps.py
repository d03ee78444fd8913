"""Steps whose phase changes linearly over the detector: gratings that tilt a little from step to step (a moving Moiré)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.retrieve.harmonic import StepModel

# A few thousand pixels tell four numbers a step well enough.
MOST_PIXELS = 6_000
_PRIORS = (0.3, 0.3, 0.3, 0.06)  # phase, its growth along rows and columns [rad], logarithm of the dose
_DOSE_WITHOUT_AIR = 1e-4
_ROUNDS = 12


def estimate_ramps(
    curves: NDArray[np.float64],
    start: StepModel,
    nominal: StepModel,
    where: NDArray[np.float64],
    *,
    air: NDArray[np.bool_] | None = None,
    air_coefficients: NDArray[np.float64] | None = None,
) -> StepModel:
    """Phase, its two slopes over the detector, and dose of every step, from all pixels of one curve.

    Gauss–Newton on Σ_p Σ_k (I_kp − g_k m(θ_k + ramp_k · x_p) · c_p)² / mean_p, with each pixel's own c eliminated (variable
    projection), or, in the air, known from the flat. What is common to all steps (a phase, a ramp, a dose) is taken off, so
    that it stays in the retrieved phase and attenuation.

    Not modelled: changes over the detector that are not linear; doses that change over it.

    Parameters
    ----------
    curves : (step, pixel) photons, dark signal subtracted
    start : StepModel
        From `estimate_steps`.
    nominal : StepModel
        Around which the priors lie.
    where : (2, pixel)
        Place on the detector, −1 to 1 along rows and columns.
    air, air_coefficients
        As in `estimate_steps`.

    References
    ----------
    Phases that change as polynomials over the detector: J. Dittmann, A. Balles, S. Zabler, J. Imaging 4, 77 (2018),
    doi:10.3390/jimaging4060077 (algorithm 2; another minimisation).
    """
    every = max(1, curves.shape[1] // MOST_PIXELS)
    counts, where = np.asarray(curves[:, ::every], dtype=np.float64), where[:, ::every]
    good = counts.mean(axis=0) > 0
    known = np.zeros(counts.shape[1], bool) if air is None else air[::every] & good
    flat = None if air_coefficients is None else air_coefficients[:, ::every][:, good]
    counts, where, known = counts[:, good], where[:, good], known[good]
    require(counts.shape[1] > 0, "curves: no pixel has counts")
    zero = nominal.phases_rad, np.zeros_like(nominal.dose)
    values = np.concatenate([start.phases_rad[:, None], start.ramp_rad, np.log(start.dose)[:, None]], axis=1)
    centre = np.stack([zero[0], zero[1], zero[1], zero[1]], axis=1)
    priors = np.asarray(_PRIORS)
    if flat is None or not known.any():
        # Without air nothing but noise tells the dose pattern that looks like a modulation: doses stay as they came.
        centre[:, 3], priors = values[:, 3], np.where(np.arange(4) == 3, _DOSE_WITHOUT_AIR, priors)
    else:
        # Gratings may have drifted by any angle since the flat.
        own = _coefficients(_matrix(values, where[:, known]), counts[:, known])
        turn = (own[:, 1] - 1j * own[:, 2]) * (flat[1, known] + 1j * flat[2, known])
        drift = float(np.angle(turn.sum()))
        values[:, 0] += drift
        centre[:, 0] += drift
    for _ in range(_ROUNDS):
        change = _step(counts, values, (centre, priors), where, known, flat)
        values = values + change
        if np.abs(change).max() < 1e-6:
            break
    phase, ramp, dose = values[:, 0] - nominal.phases_rad, values[:, 1:3], np.exp(values[:, 3])
    return StepModel(nominal.phases_rad + phase - phase.mean(), dose / dose.mean(), ramp - ramp.mean(axis=0))


def _matrix(values: NDArray[np.float64], where: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows g_k (1, cos θ_kp, sin θ_kp), (pixel, step, 3)."""
    theta = values[:, 0, None] + values[:, 1:3] @ where
    rows = np.stack([np.ones_like(theta), np.cos(theta), np.sin(theta)], axis=-1)
    return np.asarray((np.exp(values[:, 3])[:, None, None] * rows).transpose(1, 0, 2))


def _coefficients(matrix: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares of each pixel, (pixel, 3)."""
    transposed = matrix.transpose(0, 2, 1)
    return np.asarray(np.linalg.solve(transposed @ matrix, transposed @ counts.T[:, :, None])[..., 0])


def _step(
    counts: NDArray[np.float64],
    values: NDArray[np.float64],
    expected: tuple[NDArray[np.float64], NDArray[np.float64]],
    where: NDArray[np.float64],
    known: NDArray[np.bool_],
    flat: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """One Gauss–Newton change of (phase, two slopes, log dose) of every step, (step, 4)."""
    matrix = _matrix(values, where)
    transposed = matrix.transpose(0, 2, 1)
    c = _coefficients(matrix, counts)
    outside = np.eye(len(counts)) - matrix @ np.linalg.solve(transposed @ matrix, transposed)
    if flat is not None:
        c = np.where(known[:, None], flat.T, c)
        outside = np.where(known[:, None, None], np.eye(len(counts)), outside)
    fitted = (matrix @ c[:, :, None])[..., 0].T
    by_phase = (matrix[:, :, 1] * c[:, 2, None] - matrix[:, :, 2] * c[:, 1, None]).T
    tangents = np.stack([by_phase, by_phase * where[0], by_phase * where[1], fitted], axis=-1)
    weight = 1.0 / counts.mean(axis=0)
    steps, terms = len(counts), tangents.shape[-1]
    normal = np.empty((steps, terms, steps, terms))
    for k in range(steps):
        for other in range(k, steps):
            normal[k, :, other] = tangents[k].T @ ((weight * outside[:, k, other])[:, None] * tangents[other])
            normal[other, :, k] = normal[k, :, other].T
    right = np.einsum("kpi,kp->ki", tangents, weight * (counts - fitted))
    centre, priors = expected
    prior = 1.0 / np.square(priors)
    size = steps * terms
    matrix_of_all = normal.reshape(size, size) + np.diag(np.tile(prior, steps))
    change = np.linalg.solve(matrix_of_all, (right - prior * (values - centre)).ravel())
    return np.asarray(change.reshape(steps, terms))
