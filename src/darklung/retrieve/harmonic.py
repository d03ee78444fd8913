"""The sinusoid of a phase-stepping curve: least squares for any known step phases, with Poisson covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.core.checks import check_finite, check_shape, require

# A fit whose normal matrix is worse conditioned than this has step phases that do not determine a sinusoid.
WORST_CONDITION = 1e6
# The six independent entries of a symmetric 3 × 3 covariance, in the order in which they are stored.
PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


@dataclass(frozen=True)
class StepModel:
    """What the steps of one stepping curve are taken to be.

    Parameters
    ----------
    phases_rad : (step,) float64
        θ_k, in the middle of the detector where they change over it.
    dose : (step,) float64
        Relative to the mean step.
    ramp_rad : (step, 2) float64
        By how much θ_k grows from the middle of the detector to its last row, and to its last column.
    """

    phases_rad: NDArray[np.float64]
    dose: NDArray[np.float64]
    ramp_rad: NDArray[np.float64]

    @property
    def same_everywhere(self) -> bool:
        """No ramp: one matrix serves all pixels."""
        return not self.ramp_rad.any()


def nominal_steps(step_phase_rad: ArrayLike) -> StepModel:
    """Steps as they were set: equal doses, no ramp."""
    phases = np.asarray(step_phase_rad, dtype=np.float64)
    return StepModel(phases, np.ones_like(phases), np.zeros((len(phases), 2)))


def step_matrix(phases_rad: NDArray[np.float64], dose: NDArray[np.float64], harmonics: int = 1) -> NDArray[np.float64]:
    """Rows g_k (1, cos θ_k, sin θ_k, cos 2θ_k, ...), (step, 1 + 2 harmonics)."""
    columns = [np.ones_like(phases_rad)]
    for order in range(1, harmonics + 1):
        columns += [np.cos(order * phases_rad), np.sin(order * phases_rad)]
    return np.asarray(dose[:, None] * np.stack(columns, axis=1))


@dataclass(frozen=True)
class StepDesign:
    """What the step phases θ_k fix about the fit I_k = c0 + c1 cos θ_k + c2 sin θ_k.

    Parameters
    ----------
    matrix : (step, 3) float64
        Rows g_k (1, cos θ_k, sin θ_k), g the dose.
    pseudo_inverse : (3, step) float64
        c = pseudo_inverse · I.
    covariance_of_coefficients : (6, 3) float64
        Covariance entries `PAIRS` of c for Poisson noise of the fitted curve, linear in c.
    covariance_of_dark : (6,) float64
        What one count of dark signal in every step adds to them.
    coefficients_of_dark : (3,) float64
        What it adds to c.
    """

    matrix: NDArray[np.float64]
    pseudo_inverse: NDArray[np.float64]
    covariance_of_coefficients: NDArray[np.float64]
    covariance_of_dark: NDArray[np.float64]
    coefficients_of_dark: NDArray[np.float64]


def step_design(step_phase_rad: ArrayLike, dose: ArrayLike | None = None) -> StepDesign:
    """Pseudo-inverse and covariance factors of one set of step phases, (step,) [rad], and doses relative to their mean.

    Raises
    ------
    DarklungError
        Fewer than three steps, phases that are not finite, or phases that do not determine a sinusoid (all but the same).
    """
    phases = np.asarray(step_phase_rad, dtype=np.float64)
    check_shape("step_phase_rad", phases, "step", (None,))
    require(len(phases) >= 3, f"steps: a sinusoid needs at least 3 phase steps, got {len(phases)}")
    check_finite("step_phase_rad", phases)
    matrix = step_matrix(phases, np.ones_like(phases) if dose is None else np.asarray(dose, dtype=np.float64))
    condition = np.linalg.cond(matrix)
    require(
        bool(condition < WORST_CONDITION),
        f"step_phase_rad: these {len(phases)} phases do not determine a sinusoid (condition number {condition:.3g})",
    )
    inverse = np.linalg.pinv(matrix)
    products = np.stack([inverse[i] * inverse[j] for i, j in PAIRS])
    return StepDesign(
        matrix, np.asarray(inverse, dtype=np.float64), products @ matrix, products.sum(axis=1), inverse.sum(axis=1)
    )


@dataclass(frozen=True)
class Harmonics:
    """Sinusoid parameters, I_k = amplitude (1 + visibility cos(θ_k + phase)); float64 arrays of one shape.

    Parameters
    ----------
    amplitude : a0 [counts per step]
    visibility : a1 / a0
    phase : (−π, π] [rad]
    log_amplitude_variance, log_visibility_variance, phase_variance
        Variances of ln a0, ln V and the phase [rad²].
    strength : N V², N the photons of the whole curve; ln V can be trusted above about 10.
    usable : bool; amplitude and modulation are above zero, so that logarithms exist.
    """

    amplitude: NDArray[np.float64]
    visibility: NDArray[np.float64]
    phase: NDArray[np.float64]
    log_amplitude_variance: NDArray[np.float64]
    log_visibility_variance: NDArray[np.float64]
    phase_variance: NDArray[np.float64]
    strength: NDArray[np.float64]
    usable: NDArray[np.bool_]


def coefficients_of(fit: Harmonics) -> NDArray[np.float64]:
    """(c0, c1, c2) of a fit, (3, ...)."""
    modulation = fit.amplitude * fit.visibility
    return np.stack([fit.amplitude, modulation * np.cos(fit.phase), -modulation * np.sin(fit.phase)])


def fit_coefficients(curves: ArrayLike, design: StepDesign) -> NDArray[np.float64]:
    """Coefficients (3, ...) of curves (step, ...); adds up step by step, so that no float64 copy of all is made."""
    first = np.asarray(curves)
    total = np.zeros((3, *first.shape[1:]), dtype=np.float64)
    for step, weights in enumerate(design.pseudo_inverse.T):
        frame = np.asarray(first[step], dtype=np.float64)
        for row, weight in enumerate(weights):
            with np.errstate(invalid="ignore"):  # infinities become NaN; the caller's check names them
                total[row] += weight * frame
    return total


def covariance_of(coefficients: NDArray[np.float64], design: StepDesign, dark: ArrayLike = 0.0) -> NDArray[np.float64]:
    """Covariance entries `PAIRS`, (6, ...), of coefficients (3, ...) from Poisson noise of the fitted curve and the dark."""
    shaped = (6,) + (1,) * (coefficients.ndim - 1)
    covariance = np.tensordot(design.covariance_of_coefficients, coefficients, axes=1)
    return np.asarray(covariance + design.covariance_of_dark.reshape(shaped) * np.asarray(dark, dtype=np.float64))


def harmonics_of(coefficients: NDArray[np.float64], covariance: NDArray[np.float64], photons_each: float) -> Harmonics:
    """Amplitude, visibility, phase and their variances from fit coefficients (3, ...) and their covariance (6, ...).

    First-order error propagation [1]_: for M equidistant steps and Poisson noise this gives var(ln a0) = 1/N,
    var(ln V) = (2/V² − 1)/N, var(phase) = 2/(N V²), N = M a0. Not modelled: electronic noise, noise that neighbouring pixels
    share, and the curvature of the logarithm (its bias is below a tenth of the error for N V² > 10).

    Parameters
    ----------
    photons_each : float
        Photons of the whole curve for one count of the amplitude.

    References
    ----------
    .. [1] V. Revol et al., Rev. Sci. Instrum. 81, 073709 (2010), doi:10.1063/1.3465334 (not re-read).
    """
    c0, c1, c2 = coefficients
    square = c1 * c1 + c2 * c2
    usable = (c0 > 0) & (square > 0)
    a0, a1_square = np.where(usable, c0, 1.0), np.where(usable, square, 1.0)
    v00, v01, v02, v11, v12, v22 = covariance
    amplitude = v00 / a0**2
    modulation = (c1 * c1 * v11 + 2 * c1 * c2 * v12 + c2 * c2 * v22) / a1_square**2
    mixed = (c1 * v01 + c2 * v02) / (a0 * a1_square)
    visibility = np.where(usable, np.sqrt(a1_square) / a0, 0.0)
    return Harmonics(
        amplitude=c0,
        visibility=visibility,
        phase=np.where(usable, np.arctan2(-c2, c1), 0.0),
        log_amplitude_variance=amplitude,
        log_visibility_variance=amplitude + modulation - 2 * mixed,
        phase_variance=(c2 * c2 * v11 - 2 * c1 * c2 * v12 + c1 * c1 * v22) / a1_square**2,
        strength=photons_each * np.where(usable, c0, 0.0) * visibility**2,
        usable=usable,
    )


def fit_harmonics(curves: ArrayLike, step_phase_rad: ArrayLike, *, gain: float = 1.0) -> Harmonics:
    """Fit curves (step, ...) [counts] taken at known phases (step,) [rad], by least squares in float64.

    Examples
    --------
    >>> import numpy as np
    >>> theta = 2 * np.pi * np.arange(5) / 5
    >>> fit = fit_harmonics(100 * (1 + 0.2 * np.cos(theta + 0.3)), theta)
    >>> round(float(fit.visibility), 6), round(float(fit.phase), 6)
    (0.2, 0.3)
    """
    design = step_design(step_phase_rad)
    array = np.asarray(curves)
    check_shape("curves", array.reshape(len(array), -1), "step, ...", (len(design.matrix), None))
    check_finite("curves", array)
    coefficients = fit_coefficients(array, design)
    return harmonics_of(coefficients, gain * covariance_of(coefficients, design), len(array) / gain)
