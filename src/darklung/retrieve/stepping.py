"""Phase retrieval: raw stepping frames become attenuation, dark field and phase, with variances and validity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import DTypeLike, NDArray

from darklung.core.checks import DarklungError, check_finite, check_one_of, check_positive, require
from darklung.core.types import PROJECTION_MAPS, Projections, Scan
from darklung.retrieve.harmonic import Harmonics, StepDesign, coefficients_of, step_design
from darklung.retrieve.reference import REFERENCES, FlatReference, dark_signal, flatten
from darklung.retrieve.steps import estimate_steps, spread_sample

STEPS = ("nominal", "estimate")
# N V² above which ln V is nearly unbiased (Monte Carlo: bias +0.016 at 10).
LEAST_STRENGTH = 10.0
# Where a logarithm does not exist the maps are 0 and this is the variance: a weight of 1/variance is as good as none.
INVALID_VARIANCE = 1e6
# Largest float32 below π: a float32 π is larger than π.
_PI_BELOW = float(np.nextafter(np.float32(np.pi), np.float32(0)))


@dataclass(frozen=True)
class _Options:
    reference: str
    least_strength: float
    gain: float
    dtype: DTypeLike
    steps: str = "nominal"
    air_cols: tuple[int, ...] = ()


def retrieve(
    scan: Scan,
    *,
    reference: str = "mean",
    least_strength: float = LEAST_STRENGTH,
    gain: float = 1.0,
    dtype: DTypeLike = np.float32,
    steps: str = "nominal",
    air_cols: Iterable[int] | None = None,
) -> Projections:
    """Retrieve attenuation, dark field and differential phase of every pixel and view by least squares.

    Each stepping curve is fitted with I_k = a0 (1 + V cos(θ_k + φ)) at the scan's known θ_k (one pseudo-inverse); then
    attenuation = −ln(a0/a0_flat), dark_field = −ln(V/V_flat), phase = φ − φ_flat wrapped to (−π, π] after the
    subtraction. Variances are those of Poisson noise in sample and flats, propagated through the fit's covariance.

    A pixel is valid if it is not bad and N V² > `least_strength` in the sample and in the flat (N: photons of the whole
    curve); below that ln V saturates at its noise floor and −ln D is too small. The rule looks at the measured V, so a
    pixel without any modulation still passes in 8 % of cases. Values of invalid pixels are kept as computed; where no
    logarithm exists (no counts, no modulation, bad pixel) the maps are 0 and the variances `INVALID_VARIANCE`. Negative
    dark field is kept, and nothing is clipped.

    The variance of −ln D comes from the measured V and is therefore correlated with the value: a pixel whose V came out low
    has a high −ln D and a large variance, so that a mean over pixels weighted by 1/variance is too low by about the
    variance itself. Average unweighted, or with variances smoothed over pixels of the same expected V.

    Not modelled: higher harmonics, electronic noise, correlated pixels; step errors only with ``steps="estimate"``.

    Parameters
    ----------
    scan : Scan
        `frames` and `flats` may be any arrays that can be sliced (a memory map, a lazy reader): they are read view by view.
    reference : {"mean", "interpolate"}
        The mean of all flats, or between groups of flats: amplitude and visibility linear in time, phase on the circle. A
        group is a run of flats with no view between them; outside the flats' time span the nearest group holds.
    least_strength : float
        Threshold of N V².
    gain : float
        Detector counts per photon; multiplies the variances.
    dtype : dtype
        Of the maps; float64 for comparisons.
    steps : {"nominal", "estimate"}
        Take the scan's phases as they are, or estimate phase and dose of every step of every view and flat from all pixels
        together (`darklung.retrieve.steps`). The uncertainty of the estimates is not in the variances.
    air_cols : iterable of int, optional
        Columns without object in any view. They make the estimate of doses complete; without them a dose pattern that looks
        like a modulation common to all pixels stays.

    Returns
    -------
    Projections

    Raises
    ------
    DarklungError
        Counts that are not finite or negative in a pixel not marked bad (the line names the view), flats without any
        usable pixel, step phases that determine no sinusoid, unknown reference.

    References
    ----------
    F. Pfeiffer et al., Nat. Mater. 7, 134 (2008), doi:10.1038/nmat2096; M. Bech, PhD thesis, Copenhagen (2009).
    """
    options = _options(scan, reference, least_strength, gain, dtype, steps, air_cols)
    shape = (len(scan.directions_rad), scan.geometry.views, scan.geometry.rows, scan.geometry.cols)
    maps = np.empty((len(PROJECTION_MAPS) - 1, *shape), dtype=dtype)
    valid = np.empty(shape, dtype=bool)
    for direction in range(shape[0]):
        work = _Direction(scan, direction, options)
        for view in range(shape[1]):
            work.view(view, maps[:, direction, view], valid[direction, view])
    return _projections(scan, maps, valid)


def retrieve_blocks(
    scan: Scan,
    *,
    views: int = 16,
    reference: str = "mean",
    least_strength: float = LEAST_STRENGTH,
    gain: float = 1.0,
    steps: str = "nominal",
    air_cols: Iterable[int] | None = None,
) -> Iterator[tuple[slice, Projections]]:
    """`retrieve` for scans larger than memory: yields (slice of views, Projections of those views) in order.

    Holds the flats' parameters and one block of `views` views of all directions, whatever the length of the scan.
    """
    require(views >= 1, f"views: wanted at least 1 in a block, got {views}")
    options = _options(scan, reference, least_strength, gain, np.float32, steps, air_cols)
    work = [_Direction(scan, d, options) for d in range(len(scan.directions_rad))]
    geometry = scan.geometry
    for start in range(0, geometry.views, views):
        block = slice(start, min(start + views, geometry.views))
        shape = (len(work), block.stop - start, geometry.rows, geometry.cols)
        maps = np.empty((len(PROJECTION_MAPS) - 1, *shape), dtype=np.float32)
        valid = np.empty(shape, dtype=bool)
        for direction, one in enumerate(work):
            for view in range(start, block.stop):
                one.view(view, maps[:, direction, view - start], valid[direction, view - start])
        yield block, _projections(scan, maps, valid, block)


def _options(
    scan: Scan,
    reference: str,
    least_strength: float,
    gain: float,
    dtype: DTypeLike,
    steps: str,
    air_cols: Iterable[int] | None,
) -> _Options:
    check_one_of("reference", reference, REFERENCES)
    check_one_of("steps", steps, STEPS)
    check_positive("gain", gain)
    require(bool(np.isfinite(least_strength)), f"least_strength: wanted a finite number, got {least_strength!r}")
    air = tuple(sorted({int(c) for c in air_cols})) if air_cols is not None else ()
    cols = scan.geometry.cols
    require(air_cols is None or (bool(air) and air[0] >= 0 and air[-1] < cols), f"air_cols: wanted columns 0 to {cols - 1}")
    return _Options(reference, float(least_strength), float(gain), dtype, steps, air)


def _projections(scan: Scan, maps: NDArray[Any], valid: NDArray[np.bool_], block: slice | None = None) -> Projections:
    geometry = scan.geometry
    if block is not None:
        geometry = replace(geometry, angles_rad=geometry.angles_rad[block])
    named = dict(zip(PROJECTION_MAPS[:-1], maps))
    return Projections(**named, valid=valid, directions_rad=scan.directions_rad, geometry=geometry)


class _Direction:
    """What all views of one grating direction share: the fit's matrices, the reference, dark frame and bad pixels."""

    def __init__(self, scan: Scan, direction: int, options: _Options) -> None:
        self.scan, self.direction, self.options = scan, direction, options
        self.nominal: StepDesign = step_design(scan.step_phase_rad[direction])
        estimate = options.steps == "estimate"
        self.reference = FlatReference(scan, direction, mode=options.reference, gain=options.gain, estimate=estimate)
        self.dark = dark_signal(scan).reshape(-1)
        bad = np.zeros(self.dark.shape, bool) if scan.bad_pixels is None else np.asarray(scan.bad_pixels).reshape(-1)
        self.bad = np.ascontiguousarray(bad, dtype=bool)
        self._seen: Any = None
        self._flat: Any = None
        air = np.zeros(scan.geometry.cols, bool)
        air[list(options.air_cols)] = True
        self.air = np.broadcast_to(air, (scan.geometry.rows, scan.geometry.cols)).reshape(-1)

    def view(self, view: int, maps: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Fill `maps` (map, row, col) and `valid` (row, col) of one view."""
        frames = np.ascontiguousarray(self.scan.frames[self.direction, view])
        reference = self.reference.at(float(self.scan.view_time_s[self.direction, view]))
        if reference is not self._seen:
            self._seen, self._flat = reference, flatten(reference)
        flat: Harmonics = self._flat
        design = self._design(view, frames.reshape(len(frames), -1), flat)
        lowest = _retrieve_view(
            frames.reshape(len(frames), -1),
            self.dark,
            self.bad,
            design.pseudo_inverse,
            design.covariance_of_coefficients,
            (design.covariance_of_dark, design.coefficients_of_dark),
            (flat.amplitude, flat.visibility, flat.phase, flat.strength, flat.usable),
            (flat.log_amplitude_variance, flat.log_visibility_variance, flat.phase_variance),
            (self.options.least_strength, self.options.gain, INVALID_VARIANCE, _PI_BELOW),
            maps.reshape(len(maps), -1),
            valid.reshape(-1),
        )
        self._check(view, frames, lowest)

    def _design(self, view: int, frames: NDArray[Any], flat: Harmonics) -> StepDesign:
        """The fit's matrices of one view: nominal, or of its estimated steps. `frames` is (step, pixel)."""
        if self.options.steps == "nominal":
            return self.nominal
        good = ~self.bad & flat.usable
        chosen = np.union1d(spread_sample(good), spread_sample(good & self.air))
        curves = frames[:, chosen] - self.dark[chosen]
        check_finite(f"frames[{self.direction}, {view}]", curves)
        nominal = self.scan.step_phase_rad[self.direction]
        if self.options.air_cols:
            known = coefficients_of(flat)[:, chosen]
            found = estimate_steps(curves, nominal, air=self.air[chosen], air_coefficients=known)
        else:
            found = estimate_steps(curves, nominal)
        return step_design(found.phases_rad, found.dose)

    def _check(self, view: int, frames: NDArray[Any], lowest: float) -> None:
        if lowest >= 0:
            return
        name = f"frames[{self.direction}, {view}]"
        good = np.where(self.bad.reshape(frames.shape[1:]), 0, frames)
        check_finite(name, good)
        raise DarklungError(f"{name}: negative counts, the lowest is {good.min():g}")


@njit(cache=True, nogil=True, error_model="numpy")
def _retrieve_view(frames, dark, bad, inverse, spread, of_dark, flat, flat_variances, limits, out, valid):  # type: ignore[no-untyped-def]
    """Fit and derive one view; returns the lowest count, or −inf if one was not finite (bad pixels left out)."""
    steps, pixels = frames.shape
    a0_flat, v_flat, phase_flat, strength_flat, usable_flat = flat
    a0_flat_var, v_flat_var, phase_flat_var = flat_variances
    least, gain, unknown, pi_below = limits
    dark_spread, dark_coefficients = of_dark
    d0, d1, d2 = dark_coefficients
    chunk = 512
    c = np.empty((4, chunk))
    lowest = np.inf
    for start in range(0, pixels, chunk):
        count = min(chunk, pixels - start)
        _fit_chunk(frames, start, count, inverse, c)
        for p in range(count):
            i = start + p
            if not bad[i]:
                lowest = min(lowest, c[3, p]) if np.isfinite(c[0, p]) else -np.inf
            c0, c1, c2 = c[0, p] - d0 * dark[i], c[1, p] - d1 * dark[i], c[2, p] - d2 * dark[i]
            out[7, i] = v_flat[i]
            # NaN fails these comparisons too.
            if bad[i] or not usable_flat[i] or not (c0 > 0 and c1 * c1 + c2 * c2 > 0):
                for m in range(3):
                    out[m, i] = 0.0
                    out[m + 3, i] = unknown
                out[6, i] = 0.0
                valid[i] = False
                continue
            visibility, phase, v_a0, v_visibility, v_phase = _derive(c0, c1, c2, dark[i], spread, dark_spread)
            phase -= phase_flat[i]
            if phase > np.pi:
                phase -= 2.0 * np.pi
            elif phase <= -np.pi:
                phase += 2.0 * np.pi
            out[0, i] = np.log(a0_flat[i] / c0)
            out[1, i] = np.log(v_flat[i] / visibility)
            out[2, i] = min(max(phase, -pi_below), pi_below)
            out[3, i] = gain * v_a0 + a0_flat_var[i]
            out[4, i] = gain * v_visibility + v_flat_var[i]
            out[5, i] = gain * v_phase + phase_flat_var[i]
            out[6, i] = visibility
            valid[i] = steps * c0 * visibility * visibility / gain > least and strength_flat[i] > least
    return lowest


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_chunk(frames, start, count, inverse, c):  # type: ignore[no-untyped-def]
    """Coefficients of `count` pixels into c[0:3] and their lowest count into c[3]; the inner loop vectorises."""
    for p in range(count):
        c[0, p] = 0.0
        c[1, p] = 0.0
        c[2, p] = 0.0
        c[3, p] = np.inf
    for k in range(frames.shape[0]):
        w0, w1, w2 = inverse[0, k], inverse[1, k], inverse[2, k]
        for p in range(count):
            value = np.float64(frames[k, start + p])
            c[0, p] += w0 * value
            c[1, p] += w1 * value
            c[2, p] += w2 * value
            c[3, p] = min(c[3, p], value)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _derive(c0, c1, c2, dark, spread, dark_spread):  # type: ignore[no-untyped-def]
    """Visibility, phase and the Poisson variances of ln a0, ln V and the phase (as `harmonic.harmonics_of`)."""
    v00 = spread[0, 0] * c0 + spread[0, 1] * c1 + spread[0, 2] * c2 + dark_spread[0] * dark
    v01 = spread[1, 0] * c0 + spread[1, 1] * c1 + spread[1, 2] * c2 + dark_spread[1] * dark
    v02 = spread[2, 0] * c0 + spread[2, 1] * c1 + spread[2, 2] * c2 + dark_spread[2] * dark
    v11 = spread[3, 0] * c0 + spread[3, 1] * c1 + spread[3, 2] * c2 + dark_spread[3] * dark
    v12 = spread[4, 0] * c0 + spread[4, 1] * c1 + spread[4, 2] * c2 + dark_spread[4] * dark
    v22 = spread[5, 0] * c0 + spread[5, 1] * c1 + spread[5, 2] * c2 + dark_spread[5] * dark
    per_a0, per_square = 1.0 / c0, 1.0 / (c1 * c1 + c2 * c2)
    v_a0 = v00 * per_a0 * per_a0
    v_a1 = (c1 * c1 * v11 + 2.0 * c1 * c2 * v12 + c2 * c2 * v22) * per_square * per_square
    v_mixed = (c1 * v01 + c2 * v02) * per_a0 * per_square
    v_phase = (c2 * c2 * v11 - 2.0 * c1 * c2 * v12 + c1 * c1 * v22) * per_square * per_square
    visibility = np.sqrt(c1 * c1 + c2 * c2) * per_a0
    return visibility, np.arctan2(-c2, c1), v_a0, v_a0 + v_a1 - 2.0 * v_mixed, v_phase
