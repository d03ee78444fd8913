"""Micro-structure calibration: dark field of spheres of known diameters gives the instrument's response curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import f as fisher
from scipy.stats import t as student

from darklung.calibrate.sphere_models import FILL, MODELS, SphereShape
from darklung.core.checks import check_finite, check_positive, check_shape, require

DILUTE = SphereShape()


@dataclass(frozen=True)
class SphereCalibration:
    """Response of one instrument to spheres, −ln D = thickness · scale · ξ · h(D/ξ) + offset.

    Parameters
    ----------
    diameter_m, signal : (sphere,) float64
        What was measured; −ln D.
    thickness_m : float
        Of the powder in the beam.
    scale_per_m2 : float
        3π² f δ²/λ² of the sphere model, free because packing and spectrum are not known well.
    correlation_length_m : float
        ξ at the reference energy if `shape` has a spectrum, else the effective one of the whole spectrum.
    offset : float
        Signal that does not depend on the diameter. 0 if it was not fitted.
    covariance : (3, 3) float64
        Of (scale, ξ, offset), from the scatter about the curve.
    residual : float
        Standard deviation of the measured about the fitted signal, with the degrees of freedom that are left.
    shape : SphereShape
        h.
    setting : str
        Name of the instrument's setting, where there are several (positions, energies).
    """

    diameter_m: NDArray[np.float64]
    signal: NDArray[np.float64]
    thickness_m: float
    scale_per_m2: float
    correlation_length_m: float
    offset: float
    covariance: NDArray[np.float64]
    residual: float
    shape: SphereShape = DILUTE
    setting: str = ""

    def __post_init__(self) -> None:
        for name in ("diameter_m", "signal", "covariance"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            check_finite(name, values)
            object.__setattr__(self, name, values)
        check_shape("diameter_m", self.diameter_m, "sphere", (None,))
        check_shape("signal", self.signal, "sphere", self.diameter_m.shape)
        check_shape("covariance", self.covariance, "scale, xi, offset (twice)", (3, 3))
        require(len(self.diameter_m) >= 2 and bool((self.diameter_m > 0).all()), "diameter_m: wanted at least 2 numbers > 0")
        for name in ("thickness_m", "scale_per_m2", "correlation_length_m"):
            check_positive(name, getattr(self, name))
        check_finite("offset, residual", np.array([self.offset, self.residual]))

    @property
    def range_m(self) -> tuple[float, float]:
        """Smallest and largest calibrated diameter [m]."""
        return float(self.diameter_m.min()), float(self.diameter_m.max())

    @property
    def peak_m(self) -> float:
        """Diameter of the largest signal [m]."""
        amount = self.thickness_m * self.scale_per_m2 * self.correlation_length_m
        return self.shape.peak_ratio(amount) * self.correlation_length_m

    @property
    def free(self) -> int:
        """Fitted parameters: 2, or 3 with the offset."""
        return 3 if self.covariance[2, 2] > 0 or self.offset != 0 else 2

    def structure(self, diameter_m: ArrayLike) -> NDArray[np.float64]:
        """ε of the spheres alone [1/m], without the offset, at any diameter and the calibration's thickness."""
        return (
            _response(self.shape, self._parameters(), np.asarray(diameter_m, np.float64), self.thickness_m)
            / self.thickness_m
        )

    def predict(self, diameter_m: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """−ln D and its standard error (of the curve, not of one measurement); NaN outside `range_m`."""
        diameter = np.asarray(diameter_m, dtype=np.float64)
        inside = (diameter >= self.range_m[0]) & (diameter <= self.range_m[1])
        safe = np.where(inside, diameter, self.range_m[0])
        slopes = _slopes(self.shape, self._parameters(), safe, self.thickness_m)
        variance = np.einsum("...i,ij,...j->...", slopes, self.covariance, slopes)
        value = self.thickness_m * self.structure(safe) + self.offset
        return np.where(inside, value, np.nan), np.where(inside, np.sqrt(np.maximum(variance, 0)), np.nan)

    def band(self, diameter_m: ArrayLike, level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ends of the curve's confidence band at each diameter (Student's t; for each diameter by itself)."""
        value, error = self.predict(diameter_m)
        wide = float(student.ppf(0.5 + level / 2, max(len(self.diameter_m) - self.free, 1))) * error
        return value - wide, value + wide

    def diameters(self, signal: float) -> tuple[float, float]:
        """Diameters [m] below and above `peak_m` that give this signal; NaN where there is none inside `range_m`.

        The inverse is ambiguous where both are numbers; which one holds has to come from elsewhere (a second ξ, see
        `darklung.calibrate.sizes`).
        """
        low, high = self.range_m
        peak = min(max(self.peak_m, low), high)
        found = [self._root(signal, a, b) for a, b in ((low, peak), (peak, high))]
        return found[0], found[1]

    def _parameters(self) -> NDArray[np.float64]:
        return np.array([self.scale_per_m2, self.correlation_length_m, self.offset])

    def _root(self, signal: float, low: float, high: float) -> float:
        def difference(diameter: float) -> float:
            return float(self.thickness_m * self.structure(diameter)) + self.offset - signal

        if high <= low or not np.isfinite(signal) or difference(low) * difference(high) > 0:
            return float("nan")
        return float(brentq(difference, low, high, xtol=1e-12))


def fit_spheres(
    *,
    diameter_m: ArrayLike,
    signal: ArrayLike,
    thickness_m: float,
    offset: bool = True,
    shape: SphereShape = DILUTE,
    setting: str = "",
) -> SphereCalibration:
    """Fit a sphere model (`darklung.calibrate.sphere_models`) with one free scale and a free ξ to measured −ln D.

    Ordinary least squares: the scatter about the curve (packing, humidity, polydispersity) is larger than photon noise and
    is taken to be equal for all spheres. Saturation of strong scattering is modelled if `shape` has a spectrum.

    Parameters
    ----------
    diameter_m, signal : (sphere,)
        At least one more than the 2 or 3 parameters.
    thickness_m : float
    offset : bool
        Also fit a signal that does not depend on the diameter.
    shape : SphereShape
        Model, volume fraction and spectrum; nothing of it is fitted.

    Raises
    ------
    DarklungError
        Too few spheres, all of one diameter, or values that make no sense.
    """
    diameter, measured = (np.asarray(v, dtype=np.float64) for v in (diameter_m, signal))
    free = 3 if offset else 2
    check_shape("diameter_m", diameter, "sphere", (None,))
    check_shape("signal", measured, "sphere", diameter.shape)
    check_finite("signal", measured)
    check_positive("thickness_m", thickness_m)
    require(bool((diameter > 0).all()), "diameter_m: wanted numbers > 0")
    different = len(np.unique(diameter))
    require(different > free, f"diameter_m: {free} parameters need at least {free + 1} different diameters, got {different}")

    def best_of(xi: float) -> tuple[NDArray[np.float64], float]:
        return _best(xi, diameter, measured, free, shape)

    # For a given ξ scale and offset follow, so only ξ is searched: first on a grid, then about its best point.
    grid = np.geomspace(0.05 * diameter.min(), 2 * diameter.max(), 90)
    best = int(np.argmin([best_of(xi)[1] for xi in grid]))
    bounds = np.log(grid[max(best - 1, 0)]), np.log(grid[min(best + 1, len(grid) - 1)])
    refined = minimize_scalar(lambda x: best_of(np.exp(x))[1], bounds=bounds, method="bounded", options={"xatol": 1e-9})
    xi = float(np.exp(refined.x))
    found, cost = best_of(xi)
    require(found[0] > 0, "signal: does not follow the sphere model with a positive scale for any correlation length")
    parameters = np.array([found[0] / thickness_m, xi, found[1] if free == 3 else 0.0])
    residual = float(np.sqrt(cost / (len(diameter) - free)))
    slopes = _slopes(shape, parameters, diameter, thickness_m)[:, :free]
    # Columns differ by twenty orders of magnitude (1/m², m, 1): scale before inverting.
    size = np.linalg.norm(slopes, axis=0)
    covariance = np.zeros((3, 3))
    covariance[:free, :free] = residual**2 * np.linalg.pinv((slopes / size).T @ (slopes / size)) / np.outer(size, size)
    scale, base = float(parameters[0]), float(parameters[2])
    return SphereCalibration(diameter, measured, float(thickness_m), scale, xi, base, covariance, residual, shape, setting)


def leave_one_out(
    *,
    diameter_m: ArrayLike,
    signal: ArrayLike,
    thickness_m: float,
    offset: bool = True,
    shape: SphereShape = DILUTE,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Each sphere's signal predicted by a fit to all others, and whether its diameter lies between theirs.

    The smallest and the largest are extrapolated here, for this test alone; `SphereCalibration.predict` would refuse.
    """
    diameter, measured = (np.asarray(v, dtype=np.float64) for v in (diameter_m, signal))
    predicted, inside = np.empty(len(diameter)), np.empty(len(diameter), dtype=bool)
    for left, d in enumerate(diameter):
        others = np.arange(len(diameter)) != left
        fit = fit_spheres(
            diameter_m=diameter[others],
            signal=measured[others],
            thickness_m=thickness_m,
            offset=offset,
            shape=shape,
        )
        predicted[left] = thickness_m * float(fit.structure(d)) + fit.offset
        inside[left] = fit.range_m[0] <= d <= fit.range_m[1]
    return predicted, inside


@dataclass(frozen=True)
class ModelRow:
    """One sphere model fitted to a series, for comparison with others.

    Parameters
    ----------
    fit : SphereCalibration
    offset : bool
        Whether an offset was fitted.
    aicc : float
        Akaike's criterion with the correction for few data, up to a constant: the lowest is the best; 2 is little, 10 much.
    left_out : float
        Root mean square error of predicting the inner diameters left out one by one.
    offset_p : float
        F-test of the offset: probability of so large a gain if there were none; NaN without an offset.
    """

    fit: SphereCalibration
    offset: bool
    aicc: float
    left_out: float
    offset_p: float


def compare_models(
    *,
    diameter_m: ArrayLike,
    signal: ArrayLike,
    thickness_m: float,
    fill: float = FILL,
    spectrum: tuple[tuple[float, float], ...] = (),
) -> list[ModelRow]:
    """All models without and with an offset, the best by AICc first. Needs 6 spheres of different diameters.

    AICc = n ln(Σr²/n) + 2k + 2k(k + 1)/(n − k − 1), k parameters with the variance [1]_.

    References
    ----------
    .. [1] K. P. Burnham & D. R. Anderson, Sociol. Methods Res. 33, 261 (2004), doi:10.1177/0049124104268644 [M].
    """
    diameter, measured = (np.asarray(v, dtype=np.float64) for v in (diameter_m, signal))
    require(len(np.unique(diameter)) >= 6, "diameter_m: wanted at least 6 different diameters to compare models")
    data: dict[str, Any] = {"diameter_m": diameter, "signal": measured, "thickness_m": thickness_m}
    rows, n = [], len(diameter)
    for model in MODELS:
        shape = SphereShape(model, min(fill, 0.5) if model == "hard" else fill, spectrum)
        squares = {}
        for offset in (False, True):
            fit = fit_spheres(**data, offset=offset, shape=shape)
            free = 3 if offset else 2
            squares[offset] = max(fit.residual**2 * (n - free), 1e-300)
            k = free + 1
            aicc = n * np.log(squares[offset] / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
            predicted, inside = leave_one_out(**data, offset=offset, shape=shape)
            left_out = float(np.sqrt(np.mean((predicted - measured)[inside] ** 2)))
            gain = (squares[False] - squares[True]) / (squares[True] / (n - 3)) if offset else np.nan
            rows.append(ModelRow(fit, offset, float(aicc), left_out, float(fisher.sf(max(gain, 0.0), 1, n - 3))))
    return sorted(rows, key=lambda row: row.aicc)


def _best(
    xi: float, diameter_m: NDArray[np.float64], measured: NDArray[np.float64], free: int, shape: SphereShape
) -> tuple[NDArray[np.float64], float]:
    """Best (scale × thickness, offset) for one ξ and the sum of squares; a scale below 0 counts as a bad fit."""
    columns = np.stack([xi * shape(diameter_m / xi), np.ones_like(diameter_m)], axis=1)[:, : free - 1]
    size = np.linalg.norm(columns, axis=0)
    found = np.linalg.lstsq(columns / size, measured, rcond=None)[0] / size
    if found[0] <= 0:
        return found, float(((measured - measured.mean()) ** 2).sum() + (measured**2).sum())
    if not shape.spectrum:
        return found, float(((columns @ found - measured) ** 2).sum())

    def rest(log_amount: float) -> NDArray[np.float64]:
        amount = np.exp(log_amount)
        left = measured - amount * shape(diameter_m / xi, amount)
        return np.asarray(left - (left.mean() if free == 3 else 0.0))

    # Saturation asks for more than the weak limit's amount.
    start = float(np.log(found[0] * xi))
    best = minimize_scalar(lambda x: float((rest(x) ** 2).sum()), bounds=(start - 1, start + 4), method="bounded")
    amount = float(np.exp(best.x))
    offset = float((measured - amount * shape(diameter_m / xi, amount)).mean())
    return np.array([amount / xi, offset])[: free - 1], float(best.fun)


def _response(
    shape: SphereShape, parameters: NDArray[np.float64], diameter_m: NDArray[np.float64], thickness_m: float
) -> NDArray[np.float64]:
    """−ln D of the spheres alone for (scale, ξ, offset)."""
    scale, xi, _ = parameters
    amount = thickness_m * scale * xi
    return np.asarray(amount * shape(diameter_m / xi, amount))


def _slopes(
    shape: SphereShape, parameters: NDArray[np.float64], diameter_m: NDArray[np.float64], thickness_m: float
) -> NDArray[np.float64]:
    """Derivatives of the curve by (scale, ξ, offset), (..., 3), numerically."""
    found = []
    for number in (0, 1):
        step = np.zeros(3)
        step[number] = 1e-4 * parameters[number]
        high, low = (_response(shape, parameters + sign * step, diameter_m, thickness_m) for sign in (1, -1))
        found.append((high - low) / (2 * step[number]))
    return np.stack([*found, np.ones_like(found[0])], axis=-1)
