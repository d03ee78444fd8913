"""Structure sizes from scattering: the inverse of a sphere calibration, with one setting or with two."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from scipy.stats import t as student

from darklung.calibrate.spheres import SphereCalibration
from darklung.core.checks import DarklungError, check_finite, check_one_of, check_positive, check_shape, require

BRANCHES = MappingProxyType({0: "none", 1: "below the peak", 2: "above the peak", 3: "both"})
_POINTS = 400
# A diameter is told where its interval of this level is no wider than ± this share of it.
LEVEL, WITHIN = 0.9, 0.1
# The other side of the peak has to be out at this level: the wrong side is no small error.
SURE = 0.99
# Two settings: least change of ln(ε1/ε2) with ln D for which a size is told, and how many standard errors a ratio must be
# away from where that begins.
_SENSITIVITY = 0.02
CLEAR = 2.0


@dataclass(frozen=True)
class SizeMaps:
    """Equivalent sphere diameters; all arrays have the shape of the signal, NaN where nothing can be told.

    Parameters
    ----------
    size_m : the diameter where exactly one holds, to the precision that was asked for
    size_error_m : its standard error: noise of the signal, error of the curve, and scatter of powders about it
    small_m, large_m : candidates below and above the peak of the response
    branch : uint8, a key of `BRANCHES`: on which sides of the peak a diameter agrees with the signal
    amount : f δ² t of the sample over that of the calibration (1 if it was given, not found)
    valid : bool; one diameter, known well enough, and nothing outside what was calibrated
    below_m, above_m : (2, ...) ends of the interval of diameters that agree with the signal on each side of the peak
    censored : uint8; 1 the interval ends at the smallest calibrated diameter, 2 at the largest, 3 both: it may reach beyond
    """

    size_m: NDArray[np.float64]
    size_error_m: NDArray[np.float64]
    small_m: NDArray[np.float64]
    large_m: NDArray[np.float64]
    branch: NDArray[np.uint8]
    amount: NDArray[np.float64]
    valid: NDArray[np.bool_]
    below_m: NDArray[np.float64]
    above_m: NDArray[np.float64]
    censored: NDArray[np.uint8]

    def holds(self, diameter_m: ArrayLike) -> NDArray[np.bool_]:
        """Whether a diameter lies in one of the intervals."""
        d = np.asarray(diameter_m, np.float64)
        return np.asarray(
            ((d >= self.below_m[0]) & (d <= self.below_m[1])) | ((d >= self.above_m[0]) & (d <= self.above_m[1]))
        )


@dataclass(frozen=True)
class _Branch:
    """One side of the peak: the candidate of each signal, and the interval of diameters that agree with it."""

    root: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def found(self) -> NDArray[np.bool_]:
        return np.isfinite(self.low)


def sizes(
    calibration: SphereCalibration,
    signal: ArrayLike,
    variance: ArrayLike = 0.0,
    *,
    thickness_m: float | None = None,
    filters: str | None = None,
    amount: float = 1.0,
    prefer: str = "none",
    within: float = WITHIN,
    level: float = LEVEL,
) -> SizeMaps:
    """Diameters from −ln D in one setting, for a sample of known composition and filling.

    The curve −ln D(D) rises to a peak and falls beyond it, so diameters on both sides may agree with a signal. All that
    agree at `level` make an interval on each side: |signal − curve| is at most the quantile times what noise, the curve's
    error and the scatter of powders make together (a test inverted, so that intervals hold the truth as often as `level`
    says wherever it lies in the calibrated range). A diameter is told, and valid, only where one side is left, its interval
    lies inside the calibrated diameters and is no wider than ± `within`, and thickness and filter are calibrated.
    Nothing is extrapolated in the diameter. Sample and calibration must have been processed in the same way.

    Not modelled: other shapes than spheres (a size is that of the spheres that scatter alike), a distribution of sizes.

    Parameters
    ----------
    calibration : SphereCalibration
    signal, variance : (...) arrays
        −ln D, and the variance of its noise.
    thickness_m : float, optional
        Of the sample; that of the calibration if not given.
    filters : str, optional
        Before the sample; that of the calibration if not given.
    amount : float
        f δ² of the sample over that of the calibration powder.
    prefer : {"none", "small", "large"}
        A branch to take where both hold, if it is known from elsewhere.
    within : float
        Largest half width of the interval over the diameter for which the diameter is told.
    level : float

    Raises
    ------
    DarklungError
        Another thickness or filter than calibrated, where the calibration has no beam to tell what they do.
    """
    check_positive("amount", amount)
    check_positive("within", within)
    check_one_of("prefer", prefer, ("none", "small", "large"))
    measured, noise = np.broadcast_arrays(np.asarray(signal, np.float64), np.asarray(variance, np.float64))
    thickness = float(calibration.thickness_m[0]) if thickness_m is None else thickness_m
    behind = calibration.filters[0] if filters is None else filters
    outside = calibration.outside(thickness, behind)
    if outside and calibration.beam is None:
        raise DarklungError(f"{outside}; only a calibration with the beam's spectrum (--instrument) tells what that does")
    where = (thickness, behind, amount)
    grid = np.geomspace(*calibration.range_m, _POINTS)
    curve = calibration.signal_of(grid, *where)
    common = calibration.error_of(grid, *where) ** 2 + calibration.scatter_of(grid, *where) ** 2
    small, large = _sides(measured, noise, grid, curve, common, level, calibration.freedom)
    sure = _sides(measured, noise, grid, curve, common, max(level, SURE), calibration.freedom)
    branch = (small.found + 2 * large.found).astype(np.uint8)
    first, last = (np.fmin(small.low, large.low) <= grid[0]), (np.fmax(small.high, large.high) >= grid[-1])
    chosen, told = _chosen(small, large, sure, prefer)
    with np.errstate(invalid="ignore"):
        fine = (chosen.high - chosen.low) / 2 <= within * chosen.root
    valid = told & fine & (chosen.low > grid[0]) & (chosen.high < grid[-1]) & (not outside)
    censored = (first + 2 * last).astype(np.uint8)
    size = np.where(valid, chosen.root, np.nan)
    error = _size_error(calibration, size, noise, where)
    filled = np.full(measured.shape, float(amount))
    below, above = (np.stack([part.low, part.high]) for part in (small, large))
    return SizeMaps(size, error, small.root, large.root, branch, filled, valid, below, above, censored)


def _sides(
    signal: NDArray[np.float64],
    noise: NDArray[np.float64],
    grid: NDArray[np.float64],
    curve: NDArray[np.float64],
    common: NDArray[np.float64],
    level: float,
    freedom: float,
) -> tuple[_Branch, _Branch]:
    """Below and above the peak of the curve at a level; `noise` and `common` are variances, the latter with `freedom`."""
    normal, wide = float(norm.ppf(0.5 + level / 2)) ** 2, float(student.ppf(0.5 + level / 2, freedom)) ** 2
    peak = int(np.argmax(curve))
    below, above = np.s_[: peak + 1], np.s_[peak:]
    return (
        _branch(signal, normal * noise, grid[below], curve[below], wide * common[below]),
        _branch(signal, normal * noise, grid[above], curve[above], wide * common[above]),
    )


def _chosen(small: _Branch, large: _Branch, sure: tuple[_Branch, _Branch], prefer: str) -> tuple[_Branch, NDArray[np.bool_]]:
    """The side that holds, and where there is one: the other is out at `SURE`, or the user says which."""
    only_small, only_large = small.found & ~sure[1].found, large.found & ~sure[0].found
    take_small = only_small | (small.found & (prefer == "small"))
    told = only_small | only_large | (small.found & (prefer == "small")) | (large.found & (prefer == "large"))
    names = ("root", "low", "high")
    return _Branch(*(np.where(take_small, getattr(small, n), getattr(large, n)) for n in names)), told


def _branch(
    signal: NDArray[np.float64],
    noise: NDArray[np.float64],
    grid: NDArray[np.float64],
    curve: NDArray[np.float64],
    common: NDArray[np.float64],
) -> _Branch:
    """Root and interval on one side of the peak; `noise` and `common` are squares of half widths."""
    if len(grid) < 2:
        return _Branch(*(np.full(signal.shape, np.nan) for _ in range(3)))
    root = _one_branch(signal, grid, curve)
    low, high = root.copy(), root.copy()
    half = np.sqrt(grid[1] / grid[0])
    for diameter, value, square in zip(grid, curve, common):
        inside = (signal - value) ** 2 <= noise + square
        low = np.where(inside, np.fmin(low, max(diameter / half, grid[0])), low)
        high = np.where(inside, np.fmax(high, min(diameter * half, grid[-1])), high)
    # Where noise carries a signal past the end of a side the nearest diameter is the candidate.
    nearest = np.where(signal > curve.max(), grid[np.argmax(curve)], grid[np.argmin(curve)])
    return _Branch(np.where(np.isfinite(low) & ~np.isfinite(root), nearest, root), low, high)


def sizes_from_two(
    calibrations: tuple[SphereCalibration, SphereCalibration],
    signal: tuple[ArrayLike, ArrayLike],
    variance: tuple[ArrayLike, ArrayLike] = (0.0, 0.0),
    *,
    thickness_m: tuple[float, float] | None = None,
) -> SizeMaps:
    """Diameter and amount from −ln D in two settings with different ξ (positions of the sample, or energies).

    Without offsets the ratio h1(D/ξ1) scale1 ξ1 / [h2(D/ξ2) scale2 ξ2] depends on D alone and changes with it in one
    direction, so the diameter is unique, and the amount follows as the signal over the curve. Below the smaller ξ of dilute
    spheres both settings scatter alike (h = D/ξ) and the ratio tells nothing: signals within two standard errors of that are
    not valid, as are ratios that no calibrated diameter gives.

    `thickness_m` is the path that each signal is of, the first row's if not told.

    Errors are those of the signals and of both curves; scatter of real powders is common to both settings and not added.
    Intervals are of `LEVEL`.

    Raises
    ------
    DarklungError
        Settings whose ratio does not change with the diameter anywhere, or a thickness that was not calibrated.
    """
    first, second = calibrations
    thickness = thickness_m or (float(first.thickness_m[0]), float(second.thickness_m[0]))
    for c, t in zip(calibrations, thickness):
        outside = c.outside(t, c.filters[0])
        require(not outside, f"{outside} in setting {c.setting!r}")
    low = max(c.range_m[0] for c in calibrations)
    high = min(c.range_m[1] for c in calibrations)
    require(low < high, "calibrations: wanted settings with common diameters, got ranges that do not overlap")
    grid = np.geomspace(low, high, 2 * _POINTS)

    def structure(c: SphereCalibration, diameter: NDArray[np.float64], t: float) -> NDArray[np.float64]:
        return c.signal_of(diameter, t) - c.offset

    ratio = np.log(structure(first, grid, thickness[0]) / structure(second, grid, thickness[1]))
    part = _monotonic(np.gradient(ratio, np.log(grid)))
    require(part.stop - part.start > 2, "calibrations: both settings respond alike to all diameters; wanted different ξ")
    grid, ratio = grid[part], ratio[part]
    one, two = np.broadcast_arrays(*(np.asarray(s, np.float64) - c.offset for s, c in zip(signal, calibrations)))
    noise = [np.broadcast_to(np.asarray(v, np.float64), one.shape) for v in variance]
    positive = (one > 0) & (two > 0)
    measured = np.log(np.where(positive, one, 1.0) / np.where(positive, two, 1.0))
    size = np.where(positive, _one_branch(measured, grid, ratio), np.nan)
    safe = np.where(np.isfinite(size), size, grid[0])
    amount = one / structure(first, safe, thickness[0])
    spread = np.sqrt(
        sum(
            (n + (c.error_of(safe, t) * amount) ** 2) / np.where(positive, e, 1.0) ** 2
            for n, c, e, t in zip(noise, calibrations, (one, two), thickness)
        )
    )
    # Beyond a cut end the ratio tells nothing; noise must not carry such a signal across it.
    clear = np.ones(size.shape, dtype=bool)
    for cut, end in ((part.start > 0, ratio[0]), (part.stop < 2 * _POINTS, ratio[-1])):
        clear &= (np.abs(measured - end) > CLEAR * spread) if cut else True
    valid = np.isfinite(size) & clear
    slope = np.interp(np.log(safe), np.log(grid), np.abs(np.gradient(ratio, np.log(grid))))
    size, amount, error = (np.where(valid, v, np.nan) for v in (size, amount, safe * spread / slope))
    small, large = (np.where(valid & side, size, np.nan) for side in (safe < first.peak_m, safe >= first.peak_m))
    branch = (np.isfinite(small) + 2 * np.isfinite(large)).astype(np.uint8)
    half = float(norm.ppf(0.5 + LEVEL / 2)) * error
    below, above = (np.clip(np.stack([v - half, v + half]), low, high) for v in (small, large))
    ends = (np.fmin(below[0], above[0]) <= low) + 2 * (np.fmax(below[1], above[1]) >= high)
    return SizeMaps(size, error, small, large, branch, amount, valid, below, above, ends.astype(np.uint8))


def _one_branch(signal: NDArray[np.float64], grid: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of a monotonic curve by linear interpolation in ln D; NaN outside."""
    check_finite("curve", values)
    order = slice(None) if values[-1] > values[0] else slice(None, None, -1)
    found = np.exp(np.interp(signal, values[order], np.log(grid[order])))
    inside = (signal >= values.min()) & (signal <= values.max())
    return np.where(inside, found, np.nan)


def _monotonic(slopes: NDArray[np.float64]) -> slice:
    """The longest stretch of slopes of one sign and of a size that tells something."""
    sign = np.where(np.abs(slopes) > _SENSITIVITY, np.sign(slopes), 0)
    edges = np.flatnonzero(np.diff(sign, prepend=np.nan, append=np.nan) != 0)
    stretches = [(b - a, a, b) for a, b in pairwise(edges) if sign[a] != 0]
    check_shape("slopes", slopes, "diameter", (None,))
    _, start, stop = max(stretches, default=(0, 0, 0))
    return slice(int(start), int(stop))


def _size_error(
    calibration: SphereCalibration,
    size_m: NDArray[np.float64],
    variance: NDArray[np.float64],
    where: tuple[float, str, float],
) -> NDArray[np.float64]:
    """Standard error from the slope of the curve, interpolated from a table: maps may have many pixels."""
    grid = np.geomspace(*calibration.range_m, _POINTS)
    slope = np.abs(np.gradient(calibration.signal_of(grid, *where), grid))
    common = np.hypot(calibration.error_of(grid, *where), calibration.scatter_of(grid, *where))
    safe = np.log(np.where(np.isfinite(size_m), size_m, grid[0]))
    slope, common = (np.interp(safe, np.log(grid), values) for values in (slope, common))
    with np.errstate(divide="ignore"):
        return np.where(np.isfinite(size_m), np.sqrt(variance + common**2) / slope, np.nan)


def region(
    calibration: SphereCalibration, signal: ArrayLike, variance: ArrayLike = 0.0, **options: Any
) -> tuple[float, float, SizeMaps]:
    """Mean −ln D of a region, its standard error, and the sizes that agree with the mean; `options` as of `sizes`.

    All pixels that have a value count, also those whose own signal no diameter gives: leaving them out would move the mean
    towards the diameters that are easy to tell. The error is the larger of what the stated variances and the scatter of
    the pixels say of a mean of independent values.
    """
    values, noise = np.broadcast_arrays(np.asarray(signal, np.float64), np.asarray(variance, np.float64))
    known = np.isfinite(values)
    require(bool(known.any()), "region: wanted at least one pixel with a value")
    count = int(known.sum())
    stated = float(noise[known].mean()) / count
    seen = float(values[known].var(ddof=1)) / count if count > 1 else 0.0
    mean, square = float(values[known].mean()), max(stated, seen)
    return mean, float(np.sqrt(square)), sizes(calibration, mean, square, **options)
