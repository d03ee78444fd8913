"""Structure sizes from scattering: the inverse of a sphere calibration, with one setting or with two."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.calibrate.spheres import SphereCalibration
from darklung.core.checks import check_finite, check_one_of, check_positive, check_shape, require

BRANCHES = MappingProxyType({0: "none", 1: "below the peak", 2: "above the peak", 3: "both"})
_POINTS = 600
# Two settings: least change of ln(ε1/ε2) with ln D for which a size is told, and how many standard errors a ratio must be
# away from where that begins.
_SENSITIVITY = 0.02
CLEAR = 2.0


@dataclass(frozen=True)
class SizeMaps:
    """Equivalent sphere diameters; all arrays have the shape of the signal, NaN where nothing can be told.

    Parameters
    ----------
    size_m : the diameter where exactly one holds
    size_error_m : its standard error: noise of the signal, error of the curve, and scatter of real powders about it
    small_m, large_m : candidates below and above the peak of the response
    branch : uint8, a key of `BRANCHES`
    amount : f δ² t of the sample over that of the calibration (1 if it was given, not found)
    valid : bool; one diameter, inside the calibrated range
    """

    size_m: NDArray[np.float64]
    size_error_m: NDArray[np.float64]
    small_m: NDArray[np.float64]
    large_m: NDArray[np.float64]
    branch: NDArray[np.uint8]
    amount: NDArray[np.float64]
    valid: NDArray[np.bool_]


def sizes(
    calibration: SphereCalibration,
    epsilon: ArrayLike,
    variance: ArrayLike = 0.0,
    *,
    amount: float = 1.0,
    prefer: str = "none",
) -> SizeMaps:
    """Diameters from ε = −ln D/thickness in one setting, for a sample of known composition and filling.

    The curve ε(D) = amount · scale ξ h(D/ξ) + offset/thickness rises to a peak and falls beyond it, so up to two diameters
    give the same ε: `branch` says which there are, and only where there is one is `size_m` told. Nothing is extrapolated:
    a signal that no calibrated diameter gives has branch 0. Sample and calibration must have been processed in the same way.

    Not modelled: other shapes than spheres (a size is that of the spheres that scatter alike), a distribution of sizes.

    Parameters
    ----------
    calibration : SphereCalibration
    epsilon, variance : (...) arrays [1/m, 1/m²]
    amount : float
        f δ² of the sample over that of the calibration powder.
    prefer : {"none", "small", "large"}
        A branch to take where both hold, if it is known from elsewhere.
    """
    check_positive("amount", amount)
    check_one_of("prefer", prefer, ("none", "small", "large"))
    signal, noise = np.broadcast_arrays(np.asarray(epsilon, np.float64), np.asarray(variance, np.float64))
    low, high = calibration.range_m
    peak = min(max(calibration.peak_m, low), high)
    base = calibration.offset / calibration.thickness_m
    found = []
    for first, last in ((low, peak), (peak, high)):
        if first < last:
            grid = np.geomspace(first, last, _POINTS)
            found.append(_one_branch(signal, grid, amount * calibration.structure(grid) + base))
        else:
            found.append(np.full(signal.shape, np.nan))
    small, large = found
    has_small, has_large = np.isfinite(small), np.isfinite(large)
    branch = (has_small + 2 * has_large).astype(np.uint8)
    chosen = np.where(has_small & ~has_large, small, np.where(has_large & ~has_small, large, np.nan))
    if prefer != "none":
        chosen = np.where(branch == 3, small if prefer == "small" else large, chosen)
    error = _size_error(calibration, chosen, noise, amount)
    return SizeMaps(chosen, error, small, large, branch, np.full(signal.shape, float(amount)), np.isfinite(chosen))


def sizes_from_two(
    calibrations: tuple[SphereCalibration, SphereCalibration],
    epsilon: tuple[ArrayLike, ArrayLike],
    variance: tuple[ArrayLike, ArrayLike] = (0.0, 0.0),
) -> SizeMaps:
    """Diameter and amount from ε in two settings with different ξ (positions of the sample, or energies).

    Without offsets ε1/ε2 = h1(D/ξ1) scale1 ξ1 / [h2(D/ξ2) scale2 ξ2] depends on D alone and changes with it in one
    direction, so the diameter is unique, and the amount follows as ε1 over the curve. Below the smaller ξ of dilute spheres
    both settings scatter alike (h = D/ξ) and the ratio tells nothing: signals within two standard errors of that are not
    valid, as are ratios that no calibrated diameter gives.

    Errors are those of the signals and of both curves; scatter of real powders is common to both settings and not added.

    Raises
    ------
    DarklungError
        Settings whose ratio does not change with the diameter anywhere.
    """
    first, second = calibrations
    low = max(c.range_m[0] for c in calibrations)
    high = min(c.range_m[1] for c in calibrations)
    require(low < high, "calibrations: wanted settings with common diameters, got ranges that do not overlap")
    grid = np.geomspace(low, high, 2 * _POINTS)
    ratio = np.log(first.structure(grid) / second.structure(grid))
    part = _monotonic(np.gradient(ratio, np.log(grid)))
    require(part.stop - part.start > 2, "calibrations: both settings respond alike to all diameters; wanted different ξ")
    grid, ratio = grid[part], ratio[part]
    bases = [c.offset / c.thickness_m for c in calibrations]
    one, two = np.broadcast_arrays(*(np.asarray(e, np.float64) - b for e, b in zip(epsilon, bases)))
    noise = [np.broadcast_to(np.asarray(v, np.float64), one.shape) for v in variance]
    positive = (one > 0) & (two > 0)
    measured = np.log(np.where(positive, one, 1.0) / np.where(positive, two, 1.0))
    size = np.where(positive, _one_branch(measured, grid, ratio), np.nan)
    safe = np.where(np.isfinite(size), size, grid[0])
    amount = one / first.structure(safe)
    spread = np.sqrt(
        sum(
            (n + (_curve_error(c, safe) * amount) ** 2) / np.where(positive, e, 1.0) ** 2
            for n, c, e in zip(noise, calibrations, (one, two))
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
    return SizeMaps(size, error, small, large, branch, amount, valid)


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


def _curve_error(calibration: SphereCalibration, diameter_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard error of the curve's ε [1/m]."""
    return calibration.predict(diameter_m)[1] / calibration.thickness_m


def _size_error(
    calibration: SphereCalibration, size_m: NDArray[np.float64], variance: NDArray[np.float64], amount: float
) -> NDArray[np.float64]:
    known = np.isfinite(size_m)
    safe = np.where(known, size_m, calibration.range_m[0])
    step = 1e-4 * safe
    slope = amount * (calibration.structure(safe + step) - calibration.structure(safe - step)) / (2 * step)
    scatter = calibration.residual / calibration.thickness_m
    total = variance + (amount * _curve_error(calibration, safe)) ** 2 + (amount * scatter) ** 2
    with np.errstate(divide="ignore"):
        return np.where(known, np.sqrt(total) / np.abs(slope), np.nan)
