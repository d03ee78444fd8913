"""Directional calibration: bundles of parallel fibres at known angles, seen by gratings in several directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.core.checks import check_finite, check_positive, check_shape, require

# Orientations are told where the modulation is this many standard errors.
CLEAR = 3.0


@dataclass(frozen=True)
class FibreCalibration:
    """Response to fibre bundles: −ln D(α) = A [1 − m cos 2(α − φ − ω0)], α the sensitivity, φ the fibres' angle.

    Parameters
    ----------
    angle_rad : (bundle,) float64
        Known angles φ of the fibres from the rotation axis.
    mean : (bundle,) float64
        A, the signal's mean over directions.
    modulation : (bundle,) float64
        m = amplitude over mean: 0 for an isotropic sample.
    angle_error_rad : (bundle,) float64
        Angle found with the calibration minus the known one, in (−π/2, π/2].
    turn_rad : float
        ω0, by how much fibres appear turned: the gratings stand at −ω0 from where they are said to be.
    turn_error_rad : float
    reference_modulation : float
        Mean m of the bundles, and
    reference_modulation_error : float
        its standard error from their scatter.
    misfit : float
        Standard deviation of measured about fitted −ln D; NaN with three directions, which always fit.
    directions_rad : (direction,) float64
        α that were used.
    """

    angle_rad: NDArray[np.float64]
    mean: NDArray[np.float64]
    modulation: NDArray[np.float64]
    angle_error_rad: NDArray[np.float64]
    turn_rad: float
    turn_error_rad: float
    reference_modulation: float
    reference_modulation_error: float
    misfit: float
    directions_rad: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("angle_rad", "mean", "modulation", "angle_error_rad", "directions_rad"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            check_finite(name, values)
            object.__setattr__(self, name, values)
        for name in ("mean", "modulation", "angle_error_rad"):
            check_shape(name, getattr(self, name), "bundle", self.angle_rad.shape)
        check_finite("turn_rad, turn_error_rad", np.array([self.turn_rad, self.turn_error_rad]))
        check_positive("reference_modulation", self.reference_modulation)

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest mean −ln D of the bundles."""
        return float(self.mean.min()), float(self.mean.max())


@dataclass(frozen=True)
class OrientationMaps:
    """Directional signal of a sample; arrays of the shape of one direction's map, NaN where `valid` is False.

    Parameters
    ----------
    mean : −ln D averaged over directions
    modulation : amplitude over mean
    relative : modulation over that of the calibration's bundles: 1 = as well aligned
    angle_rad : of the fibres from the rotation axis, [0, π)
    angle_error_rad : standard error, with that of the calibration's turn
    valid : bool; enough signal for an angle
    in_range : bool; mean signal within that of the bundles
    """

    mean: NDArray[np.float64]
    modulation: NDArray[np.float64]
    relative: NDArray[np.float64]
    angle_rad: NDArray[np.float64]
    angle_error_rad: NDArray[np.float64]
    valid: NDArray[np.bool_]
    in_range: NDArray[np.bool_]


def fit_fibres(*, angle_rad: ArrayLike, directions_rad: ArrayLike, signal: ArrayLike) -> FibreCalibration:
    """Fit bundles of parallel fibres, each seen in all directions.

    For each bundle −ln D(α) = A − C cos 2α − S sin 2α by least squares; then ψ = atan2(S, C)/2 is the fibres' angle as seen
    and m = sqrt(C² + S²)/A. ω0 is the mean of ψ − φ on the circle of half turns, weighted with the amplitude.

    Fibres scatter most across their length, so the signal is lowest for α along them. Not modelled: higher harmonics than
    2α (elliptic media have them at the per cent level), fibres inclined to the detector, crossing fibres.

    Parameters
    ----------
    angle_rad : (bundle,)
        At least two different angles: with one, a wrong turn and a wrong angle cannot be told apart.
    directions_rad : (direction,)
        At least three that differ modulo 180°.
    signal : (bundle, direction)
        −ln D.

    Raises
    ------
    DarklungError
        Too few bundles or directions, or signals that are not positive in the mean.
    """
    known, alpha, measured = (np.asarray(v, dtype=np.float64) for v in (angle_rad, directions_rad, signal))
    check_shape("angle_rad", known, "bundle", (None,))
    check_shape("signal", measured, "bundle, direction", (len(known), len(alpha)))
    for name, values in (("angle_rad", known), ("directions_rad", alpha), ("signal", measured)):
        check_finite(name, values)
    different = len(np.unique(np.round(np.mod(known, np.pi), 6)))
    require(different >= 2, f"angle_rad: wanted bundles at 2 or more different angles, got {different}")
    mean, c, s, residual = _harmonics(measured.T, alpha)
    require(bool((mean > 0).all()), f"signal: wanted a mean −ln D > 0 of every bundle, got {mean.min():g}")
    amplitude = np.hypot(c, s)
    require(
        bool((amplitude > 1e-9 * mean).all()), "signal: a bundle looks the same in all directions; wanted aligned fibres"
    )
    seen = 0.5 * np.arctan2(s, c)
    turns = np.exp(2j * (seen - known))
    turn = 0.5 * float(np.angle((amplitude * turns).sum()))
    errors = 0.5 * np.angle(turns * np.exp(-2j * turn))
    modulation = amplitude / mean
    count = len(known)
    freedom = count * (len(alpha) - 3)
    return FibreCalibration(
        angle_rad=known,
        mean=mean,
        modulation=modulation,
        angle_error_rad=errors,
        turn_rad=turn,
        turn_error_rad=float(np.sqrt((errors**2).sum() / (count - 1) / count)),
        reference_modulation=float(modulation.mean()),
        reference_modulation_error=float(modulation.std(ddof=1) / np.sqrt(count)),
        misfit=float(np.sqrt((residual**2).sum() / freedom)) if freedom else float("nan"),
        directions_rad=alpha,
    )


def orientations(
    calibration: FibreCalibration, *, dark_field: ArrayLike, variance: ArrayLike, directions_rad: ArrayLike
) -> OrientationMaps:
    """Direction and strength of a sample's anisotropy from −ln D in three or more directions.

    An angle is told where the amplitude exceeds three standard errors; var ψ is the variance across the amplitude over
    (2 amplitude)², with the covariance of C and S that uneven directions and errors make. Signals outside the
    bundles' range of means are flagged in `in_range` and keep their values: the angle does not depend on the strength.

    Parameters
    ----------
    dark_field, variance : (direction, ...)
    directions_rad : (direction,)
    """
    alpha = np.asarray(directions_rad, dtype=np.float64)
    values, noise = np.broadcast_arrays(np.asarray(dark_field, np.float64), np.asarray(variance, np.float64))
    require(values.shape[:1] == alpha.shape, f"dark_field: wanted {len(alpha)} directions first, got shape {values.shape}")
    mean, c, s, _ = _harmonics(values, alpha)
    of_c, of_s = np.linalg.pinv(_design(alpha))[1:]
    c_c, s_s, c_s = (np.einsum("d,d...->...", products, noise) for products in (of_c**2, of_s**2, of_c * of_s))
    amplitude = np.hypot(c, s)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(amplitude > 0, (c**2 * c_c + s**2 * s_s + 2 * c * s * c_s) / amplitude**2, np.inf)
        across = np.where(amplitude > 0, (s**2 * c_c + c**2 * s_s - 2 * c * s * c_s) / amplitude**2, np.inf)
        valid = (mean > 0) & (amplitude > CLEAR * np.sqrt(share)) & np.isfinite(amplitude)
        angle = np.mod(0.5 * np.arctan2(s, c) - calibration.turn_rad, np.pi)
        error = np.sqrt(across / (4 * amplitude**2) + calibration.turn_error_rad**2)
        modulation = amplitude / mean
    low, high = calibration.range

    def told(array: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(valid, array, np.nan)

    return OrientationMaps(
        mean=mean,
        modulation=told(modulation),
        relative=told(modulation / calibration.reference_modulation),
        angle_rad=told(angle),
        angle_error_rad=told(error),
        valid=valid,
        in_range=(mean >= low) & (mean <= high),
    )


def _design(directions_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns of (A, C, S): 1, −cos 2α, −sin 2α."""
    check_shape("directions_rad", directions_rad, "direction", (None,))
    columns = np.stack([np.ones_like(directions_rad), -np.cos(2 * directions_rad), -np.sin(2 * directions_rad)], axis=1)
    enough = len(directions_rad) >= 3 and np.linalg.cond(columns) < 1e3
    require(enough, "directions_rad: wanted 3 or more that differ modulo 180 deg")
    return columns


def _harmonics(
    values: NDArray[np.float64], directions_rad: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(A, C, S) and residuals of values (direction, ...)."""
    columns = _design(directions_rad)
    found = np.einsum("kd,d...->k...", np.linalg.pinv(columns), values)
    return found[0], found[1], found[2], values - np.einsum("dk,k...->d...", columns, found)
