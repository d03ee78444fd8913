"""Micro-structure calibration: dark field of spheres of known diameters gives the instrument's response curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize_scalar

from darklung.core.checks import check_finite, check_positive, check_shape, require
from darklung.physics.scattering import sphere_shape

# Where g(D/ξ) has its maximum.
PEAK_RATIO = 1.771


@dataclass(frozen=True)
class SphereCalibration:
    """Response of one instrument to spheres, −ln D = thickness · scale · ξ · g(D/ξ) + offset.

    Parameters
    ----------
    diameter_m, signal : (sphere,) float64
        What was measured; −ln D.
    thickness_m : float
        Of the powder in the beam.
    scale_per_m2 : float
        3π² f δ²/λ² of the sphere model, free because packing and spectrum are not known well.
    correlation_length_m : float
        Effective ξ of the whole spectrum.
    offset : float
        Signal that does not depend on the diameter: hardening in powder and cell. 0 if it was not fitted.
    covariance : (3, 3) float64
        Of (scale, ξ, offset), from the scatter about the curve.
    residual : float
        Standard deviation of the measured about the fitted signal, with the degrees of freedom that are left.
    """

    diameter_m: NDArray[np.float64]
    signal: NDArray[np.float64]
    thickness_m: float
    scale_per_m2: float
    correlation_length_m: float
    offset: float
    covariance: NDArray[np.float64]
    residual: float

    @property
    def range_m(self) -> tuple[float, float]:
        """Smallest and largest calibrated diameter [m]."""
        return float(self.diameter_m.min()), float(self.diameter_m.max())

    @property
    def peak_m(self) -> float:
        """Diameter of the largest signal [m]."""
        return PEAK_RATIO * self.correlation_length_m

    def predict(self, diameter_m: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """−ln D and its standard error (of the curve, not of one measurement); NaN outside `range_m`."""
        diameter = np.asarray(diameter_m, dtype=np.float64)
        inside = (diameter >= self.range_m[0]) & (diameter <= self.range_m[1])
        safe = np.where(inside, diameter, self.range_m[0])
        parameters = np.array([self.scale_per_m2, self.correlation_length_m, self.offset])
        slopes = _slopes(parameters, safe, self.thickness_m)
        variance = np.einsum("...i,ij,...j->...", slopes, self.covariance, slopes)
        value = _curve(parameters, safe, self.thickness_m)
        return np.where(inside, value, np.nan), np.where(inside, np.sqrt(np.maximum(variance, 0)), np.nan)

    def diameters(self, signal: float) -> tuple[float, float]:
        """Diameters [m] below and above `peak_m` that give this signal; NaN where there is none inside `range_m`.

        The inverse is ambiguous where both are numbers; which one holds has to come from elsewhere (a second ξ).
        """
        low, high = self.range_m
        peak = min(max(self.peak_m, low), high)
        found = [self._root(signal, a, b) for a, b in ((low, peak), (peak, high))]
        return found[0], found[1]

    def _root(self, signal: float, low: float, high: float) -> float:
        parameters = np.array([self.scale_per_m2, self.correlation_length_m, self.offset])

        def difference(diameter: float) -> float:
            return float(_curve(parameters, np.asarray(diameter), self.thickness_m)) - signal

        if high <= low or not np.isfinite(signal) or difference(low) * difference(high) > 0:
            return float("nan")
        return float(brentq(difference, low, high, xtol=1e-12))


def fit_spheres(*, diameter_m: ArrayLike, signal: ArrayLike, thickness_m: float, offset: bool = True) -> SphereCalibration:
    """Fit the sphere model of D. Lynch et al. (`darklung.physics.scattering.sphere`) to measured −ln D.

    Ordinary least squares: the scatter about the curve (packing, humidity, polydispersity) is larger than photon noise and
    is taken to be equal for all spheres. Not modelled: the structure factor of dense packings, the width of the spectrum.

    Parameters
    ----------
    diameter_m, signal : (sphere,)
        At least one more than the 2 or 3 parameters.
    thickness_m : float
    offset : bool
        Fit a signal that does not depend on the diameter.

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

    # For a given ξ the model is linear, so only ξ is searched: first on a grid, then about its best point.
    grid = np.geomspace(0.05 * diameter.min(), 2 * diameter.max(), 160)
    costs = [_linear(xi, diameter, measured, free)[1] for xi in grid]
    best = int(np.argmin(costs))
    bounds = np.log(grid[max(best - 1, 0)]), np.log(grid[min(best + 1, len(grid) - 1)])
    refined = minimize_scalar(
        lambda x: _linear(np.exp(x), diameter, measured, free)[1], bounds=bounds, method="bounded", options={"xatol": 1e-9}
    )
    xi = float(np.exp(refined.x))
    linear, cost = _linear(xi, diameter, measured, free)
    require(linear[0] > 0, "signal: does not follow the sphere model with a positive scale for any correlation length")
    found = np.array([linear[0] / thickness_m, xi, linear[1] if free == 3 else 0.0])
    residual = float(np.sqrt(cost / (len(diameter) - free)))
    slopes = _slopes(found, diameter, thickness_m)[:, :free]
    # Columns differ by twenty orders of magnitude (1/m², m, 1): scale before inverting.
    size = np.linalg.norm(slopes, axis=0)
    covariance = np.zeros((3, 3))
    covariance[:free, :free] = residual**2 * np.linalg.pinv((slopes / size).T @ (slopes / size)) / np.outer(size, size)
    scale, base = float(found[0]), float(found[2])
    return SphereCalibration(diameter, measured, float(thickness_m), scale, xi, base, covariance, residual)


def leave_one_out(
    *, diameter_m: ArrayLike, signal: ArrayLike, thickness_m: float, offset: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Each sphere's signal predicted by a fit to all others, and whether its diameter lies between theirs.

    The smallest and the largest are extrapolated here, for this test alone; `SphereCalibration.predict` would refuse.
    """
    diameter, measured = (np.asarray(v, dtype=np.float64) for v in (diameter_m, signal))
    predicted, inside = np.empty(len(diameter)), np.empty(len(diameter), dtype=bool)
    for left, d in enumerate(diameter):
        others = np.arange(len(diameter)) != left
        fit = fit_spheres(diameter_m=diameter[others], signal=measured[others], thickness_m=thickness_m, offset=offset)
        parameters = np.array([fit.scale_per_m2, fit.correlation_length_m, fit.offset])
        predicted[left] = _curve(parameters, np.asarray(d), thickness_m)
        inside[left] = fit.range_m[0] <= d <= fit.range_m[1]
    return predicted, inside


def _linear(
    xi: float, diameter_m: NDArray[np.float64], measured: NDArray[np.float64], free: int
) -> tuple[NDArray[np.float64], float]:
    """Best (scale × thickness, offset) for one ξ and the sum of squares; a scale below 0 counts as a bad fit."""
    columns = np.stack([xi * sphere_shape(diameter_m / xi), np.ones_like(diameter_m)], axis=1)[:, : free - 1]
    size = np.linalg.norm(columns, axis=0)
    found = np.linalg.lstsq(columns / size, measured, rcond=None)[0] / size
    if found[0] <= 0:
        return found, float(((measured - measured.mean()) ** 2).sum() + (measured**2).sum())
    return found, float(((columns @ found - measured) ** 2).sum())


def _curve(parameters: NDArray[np.float64], diameter_m: NDArray[np.float64], thickness_m: float) -> NDArray[np.float64]:
    scale, xi, offset = parameters
    return np.asarray(thickness_m * scale * xi * sphere_shape(diameter_m / xi) + offset, dtype=np.float64)


def _slopes(parameters: NDArray[np.float64], diameter_m: NDArray[np.float64], thickness_m: float) -> NDArray[np.float64]:
    """Derivatives of the curve by (scale, ξ, offset), (..., 3); by ξ numerically."""
    scale, xi, _ = parameters
    step = 1e-4 * xi
    low, high = (_curve(np.array([scale, xi + s, 0.0]), diameter_m, thickness_m) for s in (-step, step))
    by_scale = _curve(np.array([1.0, xi, 0.0]), diameter_m, thickness_m)
    return np.stack([by_scale, (high - low) / (2 * step), np.ones_like(by_scale)], axis=-1)


def calibration_png(calibration: SphereCalibration, path: Any, *, title: str = "") -> None:
    """Draw measured signals, the fitted curve with its 95 % band, and the peak that separates the branches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    diameter = np.geomspace(*calibration.range_m, 300)
    value, error = calibration.predict(diameter)
    axis.fill_between(
        1e6 * diameter, value - 1.96 * error, value + 1.96 * error, color="C0", alpha=0.25, label="95 % of the curve"
    )
    axis.plot(1e6 * diameter, value, color="C0", label=f"spheres, ξ = {1e6 * calibration.correlation_length_m:.2f} µm")
    axis.plot(1e6 * calibration.diameter_m, calibration.signal, "o", color="k", label="measured")
    axis.axvline(1e6 * calibration.peak_m, color="0.7", linewidth=1, label="peak: two branches")
    axis.set_xscale("log")
    ticks = [t for decade in (0.01, 0.1, 1, 10, 100) for t in (decade, 2 * decade, 5 * decade)]
    axis.set_xticks([t for t in ticks if diameter[0] <= 1e-6 * t <= diameter[-1]], minor=False)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_minor_formatter(lambda *_: "")
    axis.set_xlabel("diameter [µm]")
    axis.set_ylabel("−ln D")
    axis.set_title(f"{title} residual {calibration.residual:.3f}, offset {calibration.offset:.3f}".strip())
    axis.legend(frameon=False)
    figure.savefig(path, dpi=110)
