"""True step phases and doses of one stepping curve, estimated from all its pixels together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

from darklung.core.checks import check_positive, check_shape, require
from darklung.retrieve.harmonic import StepModel, step_design
from darklung.retrieve.ramps import estimate_ramps

# More pixels than this tell no more about ten unknowns; every n-th is taken.
MOST_PIXELS = 20_000


def spread_sample(chosen: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Indices of at most about `MOST_PIXELS` of the `chosen` (pixel,), spread evenly."""
    found = np.flatnonzero(chosen)
    return found[:: max(1, len(found) // MOST_PIXELS)]


def positions(shape: tuple[int, ...], chosen: NDArray[np.intp]) -> NDArray[np.float64]:
    """Places of pixels (flat indices) on a detector (row, col): −1 to 1 along rows and columns, (2, pixel)."""
    return np.stack([2 * at / max(n - 1, 1) - (n > 1) for at, n in zip(np.unravel_index(chosen, shape), shape)])


def estimate_model(
    curves: NDArray[Any],
    nominal: StepModel,
    where: NDArray[np.float64],
    *,
    ramp: bool,
    gain: float,
    air: NDArray[np.bool_] | None = None,
    air_coefficients: NDArray[np.float64] | None = None,
) -> StepModel:
    """`estimate_steps` as a `StepModel`; with `ramp` phases may also change linearly over the detector (`where`).

    `curves` and `air_coefficients` are in counts, `gain` of them a photon.
    """
    photons = curves / gain
    known: dict[str, Any] = {}
    if air is not None and air_coefficients is not None:
        known = {"air": air, "air_coefficients": air_coefficients / gain}
    found = estimate_steps(photons, nominal.phases_rad, **known)
    model = StepModel(found.phases_rad, found.dose, np.zeros((len(found.dose), 2)))
    return estimate_ramps(photons, model, nominal, where, **known) if ramp else model


@dataclass(frozen=True)
class StepEstimate:
    """What the steps of one curve really were.

    Parameters
    ----------
    phases_rad : (step,) float64
        Mean difference from the nominal phases is zero: an offset common to all steps stays in the retrieved phase.
    dose : (step,) float64
        Relative to the mean step: a dose common to all steps stays in the retrieved attenuation.
    residual_before, residual_after : float
        χ² per degree of freedom of the pixels' fits with nominal and with estimated steps; 1 is photon noise alone.
    """

    phases_rad: NDArray[np.float64]
    dose: NDArray[np.float64]
    residual_before: float
    residual_after: float


def estimate_steps(
    curves: ArrayLike,
    step_phase_rad: ArrayLike,
    *,
    air: NDArray[np.bool_] | None = None,
    air_coefficients: NDArray[np.float64] | None = None,
    dose: bool = True,
    phase_prior_rad: float = 0.3,
    dose_prior: float = 0.06,
) -> StepEstimate:
    """Estimate the phase and the dose of every step of one view.

    All pixels share the steps, I_kp = g_k (c0_p + c1_p cos θ_k + c2_p sin θ_k): the curves span three dimensions, and the
    (g, θ) are sought whose three curves span them best (weighted least squares with each pixel's own c eliminated). It needs
    only the (step, step) moments of the frames; some 20,000 pixels (`spread_sample`) tell enough.

    What frames alone cannot tell: a common dose and phase, and (if the dose is free) a pattern 1 + b cos(θ_k − β), which
    looks like a modulation common to all pixels. Pixels of `air` settle it, because their curves are known from the flat;
    without air the smallest errors are taken, and that pattern stays uncorrected. With 3 steps the frames tell nothing,
    with 4 or 5 little without air; 6 or more determine the rest.

    Not modelled: steps that differ across the detector (see `estimate_ramps`), dose that does.

    Parameters
    ----------
    curves : (step, pixel) photons (counts over the gain), dark signal subtracted, without bad pixels
    step_phase_rad : (step,) nominal phases
    air : (pixel,) bool, optional
        Pixels where nothing but air lies in the beam.
    air_coefficients : (3, pixel) float64
        Flat's (c0, c1, c2) of all pixels, in photons; wanted with `air`.
    dose : bool
        False: all steps had the same dose.
    phase_prior_rad, dose_prior : float
        Standard deviations of what is expected; they only matter where the frames tell nothing.

    References
    ----------
    Simultaneous step and object estimation is discussed in J. Dittmann, A. Balles, S. Zabler, J. Imaging 4, 77 (2018),
    doi:10.3390/jimaging4060077.
    """
    nominal = np.asarray(step_phase_rad, dtype=np.float64)
    counts = np.asarray(curves)
    check_shape("curves", counts, "step, pixel", (len(nominal), None))
    check_positive("phase_prior_rad", phase_prior_rad)
    check_positive("dose_prior", dose_prior)
    step_design(nominal)
    parts = _moments(counts)
    terms = None if air is None else _air_terms(counts, air, air_coefficients)
    start = np.zeros((2 if dose else 1, len(nominal)))
    if terms is not None:
        # Gratings may have drifted by any angle since the flat.
        start[0] = _common_phase(nominal, *terms)
    problem = _Problem(nominal, parts.root, terms, start, np.array([[phase_prior_rad], [dose_prior]])[: len(start)])
    # Unknowns are differences from the start: a start that is tiny but not zero would make the first trust region as tiny.
    result = least_squares(problem.residuals, np.zeros(start.size), jac=problem.jacobian, xtol=1e-9, ftol=1e-12, gtol=1e-12)
    change, gain = problem.unpack(result.x)
    return _estimate(nominal, nominal + change - change.mean(), gain / gain.mean(), parts)


@dataclass(frozen=True)
class _Problem:
    """Residuals and their derivatives in (phase errors, logarithms of doses): frames, air, priors."""

    nominal: NDArray[np.float64]
    root: NDArray[np.float64]
    air: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    start: NDArray[np.float64]
    prior: NDArray[np.float64]

    def unpack(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        parts = self.start + x.reshape(self.start.shape)
        return parts[0], np.exp(parts[1]) if len(parts) > 1 else np.ones_like(parts[0])

    def matrices(self, x: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """A and the derivative of each of its rows by the phase and (if free) by the log dose."""
        change, gain = self.unpack(x)
        phase = self.nominal + change
        matrix = gain[:, None] * np.stack([np.ones_like(phase), np.cos(phase), np.sin(phase)], axis=1)
        turned = gain[:, None] * np.stack([np.zeros_like(phase), -np.sin(phase), np.cos(phase)], axis=1)
        return [matrix, turned, matrix][: 1 + len(self.start)]

    def residuals(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        matrix = self.matrices(x)[0]
        pieces = [_outside(matrix, self.root).ravel(), (x.reshape(self.start.shape) / self.prior).ravel()]
        if self.air is not None:
            pieces.append((matrix @ self.air[0] - self.air[1]).ravel())
        return np.concatenate(pieces)

    def jacobian(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        matrix, *derivatives = self.matrices(x)
        inverse = np.linalg.pinv(matrix)
        outside = np.eye(len(matrix)) - matrix @ inverse
        seen, left = inverse @ self.root, outside @ self.root
        columns = []
        for rows in derivatives:
            for k, row in enumerate(rows):
                # Derivative of the projector, d(1 − P) S = −(1 − P) dA A⁺ S − (A⁺)ᵀ dAᵀ (1 − P) S, dA in row k alone.
                frames = -np.outer(outside[:, k], row @ seen) - np.outer(row @ inverse, left[k])
                column = [frames.ravel()]
                if self.air is not None:
                    part = np.zeros_like(self.air[1])
                    part[k] = row @ self.air[0]
                    column.append(part.ravel())
                columns.append(np.concatenate(column))
        both = np.stack(columns, axis=1)
        prior = np.diag(np.broadcast_to(1.0 / self.prior, self.start.shape).ravel())
        size = self.root.size
        return np.concatenate([both[:size], prior, both[size:]])


@dataclass(frozen=True)
class _Moments:
    root: NDArray[np.float64]
    freedom: float


def _moments(counts: NDArray[Any]) -> _Moments:
    """Square root of the moments of the frames, each pixel weighted by its Poisson variance."""
    chosen = np.asarray(counts, dtype=np.float64)
    mean = chosen.mean(axis=0)
    chosen = chosen[:, mean > 0]
    require(chosen.shape[1] > 0, "curves: no pixel has counts")
    scaled = chosen / np.sqrt(mean[mean > 0])
    values, vectors = np.linalg.eigh(scaled @ scaled.T)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return _Moments(root, float(max(len(counts) - 3, 0) * chosen.shape[1]))


def _air_terms(
    counts: NDArray[Any], air: NDArray[np.bool_], coefficients: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The flat's curves in the air, as a small least-squares problem: rows `matrix @ first` should equal `second`."""
    require(coefficients is not None, "air_coefficients: wanted the flat's coefficients with air")
    flat = np.asarray(coefficients, dtype=np.float64)
    check_shape("air", air, "pixel", (counts.shape[1],))
    check_shape("air_coefficients", flat, "coefficient, pixel", (3, counts.shape[1]))
    known = flat[:, air & (flat[0] > 0)]
    seen = np.asarray(counts[:, air & (flat[0] > 0)], dtype=np.float64)
    require(known.shape[1] >= 3, f"air: wanted at least 3 pixels, got {known.shape[1]}")
    weights = 1.0 / known[0]
    values, vectors = np.linalg.eigh((known * weights) @ known.T)
    roots = np.sqrt(np.maximum(values, values.max() * 1e-12))
    moment = seen @ (known * weights).T
    return vectors * roots, moment @ vectors / roots


def _common_phase(nominal: NDArray[np.float64], known: NDArray[np.float64], seen: NDArray[np.float64]) -> float:
    """Phase by which all steps together differ from the flat's, in the air."""
    matrix = np.stack([np.ones_like(nominal), np.cos(nominal), np.sin(nominal)], axis=1)
    # seen ≈ matrix · turn · known, with turn the rotation of (c1, c2).
    turn = np.linalg.lstsq(matrix, seen @ np.linalg.pinv(known), rcond=None)[0]
    return float(np.arctan2(turn[1, 2] - turn[2, 1], turn[1, 1] + turn[2, 2]))


def _outside(matrix: NDArray[np.float64], root: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of `root` outside the space that the columns of `matrix` span."""
    basis = np.linalg.qr(matrix)[0]
    return root - basis @ (basis.T @ root)


def _estimate(
    nominal: NDArray[np.float64], phases: NDArray[np.float64], dose: NDArray[np.float64], parts: _Moments
) -> StepEstimate:
    def chi_square(phase: NDArray[np.float64], gain: NDArray[np.float64]) -> float:
        matrix = gain[:, None] * np.stack([np.ones_like(phase), np.cos(phase), np.sin(phase)], axis=1)
        return float((_outside(matrix, parts.root) ** 2).sum() / parts.freedom) if parts.freedom else 0.0

    return StepEstimate(phases, dose, chi_square(nominal, np.ones_like(dose)), chi_square(phases, dose))
