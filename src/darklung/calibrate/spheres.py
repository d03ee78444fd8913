"""Micro-structure calibration: dark field of spheres of known diameters gives the instrument's response curve."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import t as student

from darklung.calibrate.beam import Beam, filter_name
from darklung.calibrate.sphere_models import SphereShape
from darklung.core.checks import check_finite, check_positive, check_shape, require

DILUTE = SphereShape()
# A thickness this much beyond the calibrated ones, relative, still counts as calibrated.
SAME_THICKNESS = 0.1
_GRID = 400


@dataclass(frozen=True)
class SphereCalibration:
    """Response of one instrument to spheres.

    Without a beam −ln D = thickness · scale · ξ · h(D/ξ) + offset at one effective energy; the offset does not grow with
    the thickness. With a `Beam` −ln D is summed over its energies (`Beam.response`) and there is no offset.

    Parameters
    ----------
    diameter_m, signal, thickness_m : (row,) float64
        What was measured (−ln D), and the thickness of the powder.
    scale_per_m2 : float
        3π² f δ²/λ² of the sphere model, free because packing and spectrum are not known well.
    correlation_length_m : float
        ξ at the beam's reference energy, without a beam the effective one of the whole spectrum.
    offset : float
        Signal that does not depend on the diameter. 0 if it was not fitted.
    covariance : (3 + mode, 3 + mode) float64
        Of (scale, ξ, offset) and of the beam's modes.
    residual : float
        Standard deviation of the measured about the fitted signal at the first row's thickness and filter.
    shape : SphereShape
        h.
    setting : str
        Name of the instrument's setting, where there are several (positions, energies).
    filters : (row,) tuple of str
        What was before the powder in each row (`darklung.calibrate.beam.parse_filter`); none if left out.
    beam : Beam, optional
    free : float
        Fitted parameters; of those with a prior what the data determine of them.
    """

    diameter_m: NDArray[np.float64]
    signal: NDArray[np.float64]
    thickness_m: NDArray[np.float64]
    scale_per_m2: float
    correlation_length_m: float
    offset: float
    covariance: NDArray[np.float64]
    residual: float
    shape: SphereShape = DILUTE
    setting: str = ""
    filters: tuple[str, ...] = ()
    beam: Beam | None = None
    free: float = field(default=2.0, kw_only=True)

    def __post_init__(self) -> None:
        rows = np.shape(self.diameter_m)
        for name in ("diameter_m", "signal", "thickness_m", "covariance"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            values = np.broadcast_to(values, rows) if name == "thickness_m" and values.ndim == 0 else values
            check_finite(name, values)
            object.__setattr__(self, name, values)
        check_shape("diameter_m", self.diameter_m, "row", (None,))
        for name in ("signal", "thickness_m"):
            check_shape(name, getattr(self, name), "row", rows)
        size = 3 + (self.beam.modes.shape[1] if self.beam else 0)
        check_shape("covariance", self.covariance, "scale, xi, offset, modes (twice)", (size, size))
        require(len(self.diameter_m) >= 2 and bool((self.diameter_m > 0).all()), "diameter_m: wanted at least 2 numbers > 0")
        require(bool((self.thickness_m > 0).all()), "thickness_m: wanted numbers > 0")
        filters = tuple(filter_name(text) for text in self.filters) or ("",) * len(self.diameter_m)
        require(len(filters) == len(self.diameter_m), "filters: wanted one a row")
        object.__setattr__(self, "filters", filters)
        for name in ("scale_per_m2", "correlation_length_m", "free"):
            check_positive(name, getattr(self, name))
        check_finite("offset, residual", np.array([self.offset, self.residual]))
        require(self.beam is None or self.offset == 0, "offset: belongs to a calibration without a beam")
        same = len(set(filters)) == 1 or self.beam is not None
        require(same, "filters: rows behind different filters need the beam's spectrum")

    @property
    def range_m(self) -> tuple[float, float]:
        """Smallest and largest calibrated diameter [m]."""
        return float(self.diameter_m.min()), float(self.diameter_m.max())

    @property
    def thickness_range_m(self) -> tuple[float, float]:
        """Smallest and largest calibrated thickness [m]."""
        return float(self.thickness_m.min()), float(self.thickness_m.max())

    @property
    def holds(self) -> dict[str, Any]:
        """For what the calibration holds: ranges of diameter, thickness and −ln D, and the filters, as JSON."""
        ranges = {"diameter_m": self.range_m, "thickness_m": self.thickness_range_m}
        signal = (float(self.signal.min()), float(self.signal.max()))
        return {**{k: list(v) for k, v in ranges.items()}, "signal": list(signal), "filters": sorted(set(self.filters))}

    def outside(self, thickness_m: float, filters: str = "") -> str:
        """Why a sample of this thickness behind this filter lies outside the calibration; "" where it does not."""
        low, high = self.thickness_range_m
        if not (1 - SAME_THICKNESS) * low <= thickness_m <= (1 + SAME_THICKNESS) * high:
            return f"thickness: calibrated from {1e3 * low:g} to {1e3 * high:g} mm, got {1e3 * thickness_m:g} mm"
        if filter_name(filters) not in self.filters:
            known = ", ".join(repr(f) for f in sorted(set(self.filters)))
            return f"filter: calibrated behind {known}, got {filter_name(filters)!r}"
        return ""

    @cached_property
    def peak_m(self) -> float:
        """Diameter of the largest signal at the first row's thickness and filter [m], beyond the calibrated ones too."""
        grid = np.geomspace(0.05, 30.0, _GRID) * self.correlation_length_m
        return float(grid[np.argmax(self.signal_of(grid))])

    def signal_of(
        self, diameter_m: ArrayLike, thickness_m: float | None = None, filters: str | None = None, amount: float = 1.0
    ) -> NDArray[np.float64]:
        """−ln D at any diameter, offset included; thickness and filter are the first row's unless told."""
        where = self._where(thickness_m, filters)
        return self._signal(self._parameters(), np.asarray(diameter_m, np.float64), *where, amount)

    def structure(self, diameter_m: ArrayLike) -> NDArray[np.float64]:
        """ε of the spheres alone [1/m], without the offset, at any diameter and the first row's thickness and filter."""
        return (self.signal_of(diameter_m) - self.offset) / float(self.thickness_m[0])

    def error_of(
        self, diameter_m: ArrayLike, thickness_m: float | None = None, filters: str | None = None, amount: float = 1.0
    ) -> NDArray[np.float64]:
        """Standard error of the curve at any diameter (not of one measurement)."""
        diameter, where = np.asarray(diameter_m, np.float64), self._where(thickness_m, filters)
        slopes = self._slopes(diameter, *where, amount)
        return np.sqrt(np.maximum(np.einsum("...i,ij,...j->...", slopes, self.covariance, slopes), 0.0))

    def scatter_of(
        self, diameter_m: ArrayLike, thickness_m: float | None = None, filters: str | None = None, amount: float = 1.0
    ) -> NDArray[np.float64]:
        """Standard deviation of powders about the curve.

        At the first row's thickness and filter it is `residual`. Elsewhere it is scaled as a change of the amount of
        spheres (packing) would be.
        """
        diameter = np.asarray(diameter_m, np.float64)
        here, there = (
            self._slopes(diameter, *self._where(t, f), a)[..., 0]
            for t, f, a in ((thickness_m, filters, amount), (None, None, 1.0))
        )
        return self.residual * here / there

    def slopes(self, diameter_m: ArrayLike, thickness_m: float, filters: str | None = None) -> NDArray[np.float64]:
        """Derivatives of −ln D by (scale, ξ, offset) and the beam's modes, (..., parameter)."""
        return self._slopes(np.asarray(diameter_m, np.float64), *self._where(thickness_m, filters), 1.0)

    def predict(
        self, diameter_m: ArrayLike, thickness_m: float | None = None, filters: str | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """−ln D and its standard error (of the curve, not of one measurement); NaN outside `range_m`."""
        diameter = np.asarray(diameter_m, dtype=np.float64)
        inside = (diameter >= self.range_m[0]) & (diameter <= self.range_m[1])
        safe = np.where(inside, diameter, self.range_m[0])
        value, error = (f(safe, thickness_m, filters) for f in (self.signal_of, self.error_of))
        return np.where(inside, value, np.nan), np.where(inside, error, np.nan)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of Student's t for intervals."""
        return max(len(self.diameter_m) - self.free, 1.0)

    def band(self, diameter_m: ArrayLike, level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ends of the curve's confidence band at each diameter (Student's t; for each diameter by itself)."""
        value, error = self.predict(diameter_m)
        wide = float(student.ppf(0.5 + level / 2, self.freedom)) * error
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

    def _where(self, thickness_m: float | None, filters: str | None) -> tuple[float, str]:
        thickness = float(self.thickness_m[0]) if thickness_m is None else float(thickness_m)
        return thickness, self.filters[0] if filters is None else filter_name(filters)

    def _parameters(self) -> NDArray[np.float64]:
        modes = np.zeros(len(self.covariance) - 3)
        return np.concatenate([[self.scale_per_m2, self.correlation_length_m, self.offset], modes])

    def _signal(
        self,
        parameters: NDArray[np.float64],
        diameter_m: NDArray[np.float64],
        thickness_m: float,
        filters: str,
        amount: float,
    ) -> NDArray[np.float64]:
        scale, xi, offset = parameters[:3]
        if self.beam is None:
            return np.asarray(thickness_m * amount * scale * xi * self.shape(diameter_m / xi) + offset)
        beam = self.beam.changed(parameters[3:])
        return beam.response(self.shape, amount * scale, xi, diameter_m, thickness_m, filters)

    def _slopes(
        self, diameter_m: NDArray[np.float64], thickness_m: float, filters: str, amount: float
    ) -> NDArray[np.float64]:
        """Derivatives of −ln D by the parameters, (..., parameter), numerically."""
        start = self._parameters()
        sizes = np.concatenate([1e-4 * start[:2], np.full(len(start) - 2, 1e-3)])
        found = []
        for number, size in enumerate(sizes):
            step = np.zeros_like(start)
            step[number] = size
            ends = [self._signal(start + sign * step, diameter_m, thickness_m, filters, amount) for sign in (1, -1)]
            # With a beam the offset is no parameter.
            slope = (ends[0] - ends[1]) / (2 * size)
            found.append(np.zeros_like(slope) if number == 2 and self.beam else slope)
        return np.stack(found, axis=-1)

    def _root(self, signal: float, low: float, high: float) -> float:
        def difference(diameter: float) -> float:
            return float(self.signal_of(diameter)) - signal

        if high <= low or not np.isfinite(signal) or difference(low) * difference(high) > 0:
            return float("nan")
        return float(brentq(difference, low, high, xtol=1e-12))
