"""Phase retrieval: raw stepping frames become attenuation, dark field and phase, with variances and validity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from darklung.core.checks import DarklungError, check_finite, check_one_of, check_positive, require
from darklung.core.types import PROJECTION_MAPS, Projections, Scan
from darklung.retrieve.harmonic import Harmonics, StepDesign, coefficients_of, step_design
from darklung.retrieve.kernel import fit_view
from darklung.retrieve.neighbours import neighbours_variance
from darklung.retrieve.reference import REFERENCES, FlatReference, dark_signal, flatten
from darklung.retrieve.steps import estimate_steps, spread_sample

STEPS = ("nominal", "estimate")
VARIANCES = ("pixel", "neighbourhood")
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
    most_misfit: float = np.inf
    variance: str = "pixel"


def retrieve(
    scan: Scan,
    *,
    reference: str = "mean",
    least_strength: float = LEAST_STRENGTH,
    gain: float = 1.0,
    dtype: DTypeLike = np.float32,
    steps: str = "nominal",
    air_cols: Iterable[int] | None = None,
    most_misfit: float = np.inf,
    variance: str = "pixel",
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

    By default the variance of −ln D comes from the pixel's measured V and is therefore correlated with the value: a pixel
    whose V came out low has a high −ln D and a large variance, so that a mean over pixels weighted by 1/variance is too low
    by about the variance itself, and the validity rule picks those with a high V. ``variance="neighbourhood"`` takes V from
    5 × 5 pixels instead (decision 057): better where neighbours scatter alike, rough at edges.

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
    most_misfit : float
        A pixel whose curve has a reduced χ² above this is not valid (a zinger, a frame lost). One good pixel in a million
        exceeds 14 with 5 steps, 10 with 6, 7 with 8, and 6 with 10. Needs 4 steps or more.
    variance : {"pixel", "neighbourhood"}
        Whose visibility the variance of −ln D and the rule of validity look at.

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
    options = _options(scan, reference, least_strength, gain, dtype, steps, air_cols, most_misfit, variance)
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
    most_misfit: float = np.inf,
    variance: str = "pixel",
) -> Iterator[tuple[slice, Projections]]:
    """`retrieve` for scans larger than memory: yields (slice of views, Projections of those views) in order.

    Holds the flats' parameters and one block of `views` views of all directions, whatever the length of the scan.
    """
    require(views >= 1, f"views: wanted at least 1 in a block, got {views}")
    options = _options(scan, reference, least_strength, gain, np.float32, steps, air_cols, most_misfit, variance)
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
    most_misfit: float,
    variance: str,
) -> _Options:
    check_one_of("reference", reference, REFERENCES)
    check_one_of("steps", steps, STEPS)
    check_one_of("variance", variance, VARIANCES)
    check_positive("gain", gain)
    require(bool(np.isfinite(least_strength)), f"least_strength: wanted a finite number, got {least_strength!r}")
    count = scan.step_phase_rad.shape[1]
    require(
        most_misfit > 0 and (count > 3 or most_misfit == np.inf), f"most_misfit: wanted > 0 and 4 steps or more, got {count}"
    )
    air = tuple(sorted({int(c) for c in air_cols})) if air_cols is not None else ()
    cols = scan.geometry.cols
    require(air_cols is None or (bool(air) and air[0] >= 0 and air[-1] < cols), f"air_cols: wanted columns 0 to {cols - 1}")
    return _Options(reference, float(least_strength), float(gain), dtype, steps, air, float(most_misfit), variance)


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
        self._turn: Any = None
        air = np.zeros(scan.geometry.cols, bool)
        air[list(options.air_cols)] = True
        self.air = np.broadcast_to(air, (scan.geometry.rows, scan.geometry.cols)).reshape(-1)

    def view(self, view: int, maps: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Fill `maps` (map, row, col) and `valid` (row, col) of one view."""
        frames = np.ascontiguousarray(self.scan.frames[self.direction, view])
        reference = self.reference.at(float(self.scan.view_time_s[self.direction, view]))
        if reference is not self._seen:
            self._seen, self._flat = reference, flatten(reference)
            self._turn = np.cos(self._flat.phase), np.sin(self._flat.phase)
        flat: Harmonics = self._flat
        design = self._design(view, frames.reshape(len(frames), -1), flat)
        pixels = maps.reshape(len(maps), -1)
        smooth = self.options.variance == "neighbourhood"
        sine = np.empty(pixels.shape[1], dtype=pixels.dtype)
        lowest = fit_view(
            frames.reshape(len(frames), -1),
            self.dark,
            self.bad,
            (
                design.pseudo_inverse,
                design.covariance_of_coefficients,
                design.covariance_of_dark,
                design.coefficients_of_dark,
                design.matrix,
            ),
            (flat.amplitude, flat.visibility, *self._turn, flat.strength, flat.usable),
            (flat.log_amplitude_variance, flat.log_visibility_variance, flat.phase_variance),
            (0.0 if smooth else self.options.least_strength, self.options.gain, INVALID_VARIANCE, self.options.most_misfit),
            pixels,
            sine,
            valid.reshape(-1),
        )
        self._check(view, frames, lowest)
        if smooth:
            self._take_neighbours(maps, valid, flat)
        np.log(pixels[:2], out=pixels[:2])
        np.arctan2(sine, pixels[2], out=pixels[2])
        np.clip(pixels[2], -_PI_BELOW, _PI_BELOW, out=pixels[2])

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

    def _take_neighbours(self, maps: NDArray[Any], valid: NDArray[np.bool_], flat: Harmonics) -> None:
        shape = valid.shape
        flat_variance = flat.log_visibility_variance.reshape(shape)
        variance, strength = neighbours_variance(maps[6], maps[4] - flat_variance)
        least = self.options.least_strength
        maps[4] = np.where(maps[6] > 0, variance + flat_variance, maps[4])
        valid &= (strength > least) & (flat.strength.reshape(shape) > least)

    def _check(self, view: int, frames: NDArray[Any], lowest: float) -> None:
        if lowest >= 0:
            return
        name = f"frames[{self.direction}, {view}]"
        good = np.where(self.bad.reshape(frames.shape[1:]), 0, frames)
        check_finite(name, good)
        raise DarklungError(f"{name}: negative counts, the lowest is {good.min():g}")
