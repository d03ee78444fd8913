"""Phase retrieval: raw stepping frames become attenuation, dark field and phase, with variances and validity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from darklung.core.checks import DarklungError, check_finite, check_one_of, negative_counts, require
from darklung.core.circle import PI_BELOW
from darklung.core.fitting import LEAST_SQUARES, Fit
from darklung.core.types import PROJECTION_MAPS, Projections, Scan
from darklung.retrieve.fits import fit_pixelwise
from darklung.retrieve.harmonic import Harmonics, StepModel, coefficients_of, harmonics_of, nominal_steps, step_design
from darklung.retrieve.kernel import fit_view
from darklung.retrieve.neighbours import nearest_views, photons_of, restate, views_are_near
from darklung.retrieve.reference import REFERENCES, FlatReference, dark_signal, flatten
from darklung.retrieve.steps import estimate_model, positions, spread_sample
from darklung.retrieve.watch import FrameWatch

Block = Callable[[slice], Projections]
STEPS = ("nominal", "estimate", "ramp")
VARIANCES = ("pixel", "neighbourhood")
# N V² above which ln V is nearly unbiased (Monte Carlo: bias +0.016 at 10).
LEAST_STRENGTH = 10.0
# Where neighbours decide, a pixel's own N V² must still reach this share of the limit: some modulation it must have.
_OWN_SHARE = 0.002
# Where a logarithm does not exist the maps are 0 and this is the variance: a weight of 1/variance is as good as none.
INVALID_VARIANCE = 1e6


@dataclass(frozen=True)
class _Options:
    reference: str
    least_strength: float
    fit: Fit
    dtype: DTypeLike
    steps: str = "nominal"
    air_cols: tuple[int, ...] = ()
    most_misfit: float = np.inf
    variance: str = "neighbourhood"


def retrieve(
    scan: Scan,
    *,
    reference: str = "mean",
    least_strength: float = LEAST_STRENGTH,
    fit: Fit = LEAST_SQUARES,
    dtype: DTypeLike = np.float32,
    steps: str = "nominal",
    air_cols: Iterable[int] | None = None,
    most_misfit: float = np.inf,
    variance: str = "neighbourhood",
) -> Projections:
    """Retrieve attenuation, dark field and differential phase of every pixel and view.

    Each stepping curve is fitted with I_k = a0 (1 + V cos(θ_k + φ)); then attenuation = −ln(a0/a0_flat), dark_field =
    −ln(V/V_flat), phase = φ − φ_flat wrapped to (−π, π] after the subtraction. Variances are those of Poisson noise in
    sample and flats, propagated through the fit's covariance.

    A pixel is valid if it is not bad and N V² > `least_strength` in the sample and in the flat (N: photons of the whole
    curve); below that ln V saturates at its noise floor and −ln D is too small. Values of invalid pixels are kept as
    computed; where no logarithm exists (no counts, no modulation, bad pixel) the maps are 0 and the variances
    `INVALID_VARIANCE`. Negative dark field is kept, and nothing is clipped.

    V in the variances of −ln D and phase, and in the rule of validity, is what the 24 other pixels of 5 × 5 tell (with fewer
    than 5 rows those of 5 columns in 5 views), so that a pixel's error does not decide its stated error; the variances go
    beyond the first order and hold down to the limit (decision 057). With ``variance="pixel"`` V is the pixel's own and
    neighbours do not matter; but then a V that came out low gives a high −ln D with a large variance, so that a mean
    weighted by 1/variance is too low by about the variance itself, and 8 % of pixels without any modulation pass as valid.

    Not modelled: electronic noise, correlated pixels; higher harmonics only with ``Fit(harmonics=...)``, errors of steps and
    doses only with `steps`, whose own uncertainty is not in the variances.

    Parameters
    ----------
    scan : Scan
        `frames` and `flats` may be any arrays that can be sliced (a memory map, a lazy reader): they are read view by view.
    reference : {"mean", "interpolate", "eigenflats"}
        The mean of all flats, or between groups of flats: amplitude and visibility linear in time, phase on the circle. A
        group is a run of flats with no view between them; outside the flats' time span the nearest group holds.
        "eigenflats": the mean and, for each view, as much of the patterns by which flats differ as makes it smoothest
        (`darklung.retrieve.eigenflats`).
    least_strength : float
        Threshold of N V².
    fit : Fit
        Least squares or Poisson likelihood, number of harmonics, counts per photon.
    dtype : dtype
        Of the maps; float64 for comparisons.
    steps : {"nominal", "estimate", "ramp"}
        Take the scan's phases as they are, or estimate phase and dose of every step of every view and flat from all pixels
        together (`darklung.retrieve.steps`); with "ramp" each step's phase may also change linearly over the detector.
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
    F. Pfeiffer et al., Nat. Mater. 7, 134 (2008), doi:10.1038/nmat2096 (not re-read).
    """
    options: dict[str, Any] = {"steps": steps, "air_cols": air_cols, "most_misfit": most_misfit, "variance": variance}
    options |= {"reference": reference, "least_strength": least_strength, "fit": fit, "dtype": dtype}
    return retriever(scan, **options)(slice(0, scan.geometry.views))


def retriever(
    scan: Scan,
    *,
    reference: str = "mean",
    least_strength: float = LEAST_STRENGTH,
    fit: Fit = LEAST_SQUARES,
    dtype: DTypeLike = np.float32,
    steps: str = "nominal",
    air_cols: Iterable[int] | None = None,
    most_misfit: float = np.inf,
    variance: str = "neighbourhood",
) -> Retriever:
    """`retrieve` for blocks of views: fits the flats, then turns slices of views into `Projections` of them.

    Holds the flats' parameters and one block of views of all directions, whatever the length of the scan. This is the seam
    that other methods fill, see `darklung.retrieve.methods`.
    """
    options = _options(scan, reference, least_strength, fit, dtype, steps, air_cols, most_misfit, variance)
    return Retriever(scan, options)


class Retriever:
    """What `retriever` returns: called with a slice of views it retrieves them, and it keeps what it saw in their frames."""

    def __init__(self, scan: Scan, options: _Options) -> None:
        self._scan, self._options = scan, options
        self._work = [_Direction(scan, d, options) for d in range(len(scan.directions_rad))]

    def __call__(self, views: slice) -> Projections:
        scan, work = self._scan, self._work
        shape = (len(work), views.stop - views.start, scan.geometry.rows, scan.geometry.cols)
        maps = np.empty((len(PROJECTION_MAPS) - 1, *shape), dtype=self._options.dtype)
        valid = np.empty(shape, dtype=bool)
        for direction, one in enumerate(work):
            for view in range(views.start, views.stop):
                one.view(view, maps[:, direction, view - views.start], valid[direction, view - views.start])
        return _projections(scan, maps, valid, views)

    @property
    def checks(self) -> dict[str, Any]:
        """`darklung.retrieve.watch.BY_VIEW`, (direction, view), NaN if not yet retrieved, and `saturation` (direction,).

        What was done already is no advice: with these go whether steps were estimated, harmonics fitted, and the gain.
        """
        watches, o = [one.watch for one in self._work], self._options
        found = {name: np.stack([w.found[name] for w in watches]) for name in watches[0].found}
        found["saturation"] = np.array([w.saturation for w in watches])
        how = {"steps_estimated": o.steps != "nominal", "fitted_harmonics": o.fit.harmonics, "gain": o.fit.gain}
        return {**found, **{name: np.float64(value) for name, value in how.items()}}


def retrieve_blocks(scan: Scan, *, views: int = 16, **options: Any) -> Iterator[tuple[slice, Projections]]:
    """`retrieve` for scans larger than memory: yields (slice of views, Projections of those views) in order.

    Parameters
    ----------
    views : int
        In a block.
    options
        Of `retriever`.
    """
    require(views >= 1, f"views: wanted at least 1 in a block, got {views}")
    block = retriever(scan, **options)
    for start in range(0, scan.geometry.views, views):
        part = slice(start, min(start + views, scan.geometry.views))
        yield part, block(part)


def steps_of_view(scan: Scan, *, direction: int, view: int, **options: Any) -> StepModel:
    """The steps that `retrieve` with the same `options` takes for one view: as set, or estimated."""
    names = {"reference": "mean", "least_strength": LEAST_STRENGTH, "fit": LEAST_SQUARES, "dtype": np.float32}
    more = {"steps": "nominal", "air_cols": None, "most_misfit": np.inf, "variance": "neighbourhood"}
    work = _Direction(scan, direction, _options(scan, *{**names, **more, **options}.values()))
    return work.steps(view)


def _options(
    scan: Scan,
    reference: str,
    least_strength: float,
    fit: Fit,
    dtype: DTypeLike,
    steps: str,
    air_cols: Iterable[int] | None,
    most_misfit: float,
    variance: str,
) -> _Options:
    check_one_of("reference", reference, REFERENCES)
    check_one_of("steps", steps, STEPS)
    check_one_of("variance", variance, VARIANCES)
    require(bool(np.isfinite(least_strength)), f"least_strength: wanted a finite number, got {least_strength!r}")
    count = scan.step_phase_rad.shape[1]
    require(
        most_misfit > 0 and (count > 3 or most_misfit == np.inf), f"most_misfit: wanted > 0 and 4 steps or more, got {count}"
    )
    air = tuple(sorted({int(c) for c in air_cols})) if air_cols is not None else ()
    cols = scan.geometry.cols
    require(air_cols is None or (bool(air) and air[0] >= 0 and air[-1] < cols), f"air_cols: wanted columns 0 to {cols - 1}")
    return _Options(reference, float(least_strength), fit, dtype, steps, air, float(most_misfit), variance)


def _projections(scan: Scan, maps: NDArray[Any], valid: NDArray[np.bool_], block: slice) -> Projections:
    geometry = replace(scan.geometry, angles_rad=scan.geometry.angles_rad[block])
    named = dict(zip(PROJECTION_MAPS[:-1], maps))
    return Projections(**named, valid=valid, directions_rad=scan.directions_rad, geometry=geometry)


class _Direction:
    """What all views of one grating direction share: the fit's matrices, the reference, dark frame and bad pixels."""

    def __init__(self, scan: Scan, direction: int, options: _Options) -> None:
        self.scan, self.direction, self.options = scan, direction, options
        self.nominal = nominal_steps(scan.step_phase_rad[direction])
        step_design(self.nominal.phases_rad)
        self.reference = FlatReference(scan, direction, mode=options.reference, fit=options.fit, steps=options.steps)
        self.dark = dark_signal(scan)
        bad = np.zeros(self.dark.shape, bool) if scan.bad_pixels is None else scan.bad_pixels
        self.bad = np.ascontiguousarray(bad, dtype=bool)
        self._seen: Any = None
        self._flat: Any = None
        self._turn: Any = None
        self.air = np.zeros(self.dark.shape, bool)
        self.air[:, list(options.air_cols)] = True
        self.watch = FrameWatch(scan, direction, dark=self.dark, bad=self.bad, fit=options.fit)
        by_views = options.variance == "neighbourhood" and views_are_near(scan.geometry.angles_rad, *self.dark.shape)
        self._views_near = by_views
        self._beside: dict[int, tuple[NDArray[Any], NDArray[np.float64]]] = {}

    def view(self, view: int, maps: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Fill `maps` (map, row, col) and `valid` (row, col) of one view."""
        near = self._near(view) if self._views_near else None
        frames, model, sine, lowest = self._fitted(view, maps, valid)
        self._check(view, frames, lowest)
        if self.options.variance == "neighbourhood":
            flat = self._seen
            variances = flat.log_amplitude_variance, flat.log_visibility_variance, flat.phase_variance
            near = near or (maps[None, 6], photons_of(maps, flat.log_amplitude_variance)[None])
            restate(maps, valid, (*variances, flat.strength), self.options.least_strength, near)
        if lowest <= 0:
            self.watch.zeros(frames, self._seen, maps, valid)
        self.watch.judge(view, frames, model, maps, valid)
        pixels = maps.reshape(len(maps), -1)
        np.log(pixels[:2], out=pixels[:2])
        np.arctan2(sine, pixels[2], out=pixels[2])
        np.clip(pixels[2], -PI_BELOW, PI_BELOW, out=pixels[2])
        for signal, patterns in enumerate(self.reference.patterns):
            change, variance = patterns.change(maps[signal], np.sqrt(maps[3 + signal], dtype=np.float64), valid)
            maps[signal] += np.where(valid, change, 0)
            maps[3 + signal] += np.where(valid, variance, 0)

    def _near(self, view: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """V and N of the views around one, (view, row, col), of a detector of few rows; each is fitted once."""
        wanted = nearest_views(view, self.scan.geometry.views)
        for other in set(wanted) - set(self._beside):
            shape = (len(PROJECTION_MAPS) - 1, *self.dark.shape)
            maps, valid = np.empty(shape, self.options.dtype), np.empty(self.dark.shape, bool)
            self._fitted(other, maps, valid)
            self._beside[other] = maps[6], photons_of(maps, self._seen.log_amplitude_variance)
        self._beside = {v: self._beside[v] for v in set(wanted)}
        visibilities, photons = zip(*(self._beside[v] for v in wanted))
        return np.stack(visibilities), np.stack(photons)

    def _fitted(self, view: int, maps: NDArray[Any], valid: NDArray[np.bool_]) -> tuple[Any, StepModel, NDArray[Any], float]:
        """Fit one view into `maps` as `fit_view` leaves them; returns frames, steps, sine of the phase, lowest count."""
        frames = np.ascontiguousarray(self.scan.frames[self.direction, view])
        reference = self.reference.at(float(self.scan.view_time_s[self.direction, view]))
        if reference is not self._seen:
            self._seen, self._flat = reference, flatten(reference)
            self._turn = np.cos(self._flat.phase), np.sin(self._flat.phase)
        model = self._model(view, frames)
        sine = np.empty(valid.size, dtype=maps.dtype)
        plain = self.options.fit.plain and model.same_everywhere
        lowest = (self._fit if plain else self._fit_pixelwise)(frames, model, maps, sine, valid)
        return frames, model, sine, lowest

    def steps(self, view: int) -> StepModel:
        """The steps of one view."""
        self._seen = self.reference.at(float(self.scan.view_time_s[self.direction, view]))
        self._flat = flatten(self._seen)
        return self._model(view, np.asarray(self.scan.frames[self.direction, view]))

    def _limits(self) -> tuple[float, float, float, float]:
        """Least strength of a single pixel, gain, variance of what is not known, largest misfit."""
        o = self.options
        least = o.least_strength * (_OWN_SHARE if o.variance == "neighbourhood" else 1.0)
        return least, o.fit.gain, INVALID_VARIANCE, o.most_misfit

    def _fit(self, frames: NDArray[Any], model: StepModel, maps: NDArray[Any], sine: NDArray[Any], valid: Any) -> float:
        """All pixels with one matrix; see `fit_view` for what is written. Returns the lowest count."""
        design = step_design(model.phases_rad, model.dose)
        flat: Harmonics = self._flat
        return float(
            fit_view(
                frames.reshape(len(frames), -1),
                self.dark.reshape(-1),
                self.bad.reshape(-1),
                (
                    design.pseudo_inverse,
                    design.covariance_of_coefficients,
                    design.covariance_of_dark,
                    design.coefficients_of_dark,
                    design.matrix,
                ),
                (flat.amplitude, flat.visibility, *self._turn, flat.strength, flat.usable),
                (flat.log_amplitude_variance, flat.log_visibility_variance, flat.phase_variance),
                self._limits(),
                maps.reshape(len(maps), -1),
                sine,
                valid.reshape(-1),
            )
        )

    def _fit_pixelwise(
        self, frames: NDArray[Any], model: StepModel, maps: NDArray[Any], sine: NDArray[Any], valid: NDArray[np.bool_]
    ) -> float:
        """The same with a matrix for each pixel, as likelihood, harmonics and ramps ask."""
        o, flat = self.options, self._seen
        coefficients, covariance, misfit = fit_pixelwise(frames, self.dark, model, o.fit)
        sample = harmonics_of(coefficients, o.fit.gain * covariance, len(frames) / o.fit.gain)
        good = ~self.bad & flat.usable & sample.usable
        least = self._limits()[0]
        amplitude, visibility = np.where(good, sample.amplitude, 1.0), np.where(good, sample.visibility, 1.0)
        turn = sample.phase - flat.phase
        variances = ("log_amplitude_variance", "log_visibility_variance", "phase_variance")
        maps[0], maps[1] = np.where(good, flat.amplitude / amplitude, 1), np.where(good, flat.visibility / visibility, 1)
        maps[2] = np.where(good, np.cos(turn), 1)
        sine[:] = np.where(good, np.sin(turn), 0).reshape(-1)
        for n, name in enumerate(variances, start=3):
            maps[n] = np.where(good, getattr(sample, name) + getattr(flat, name), INVALID_VARIANCE)
        maps[6], maps[7] = np.where(good, sample.visibility, 0), flat.visibility
        valid[:] = good & (sample.strength > least) & (flat.strength > least) & (misfit <= o.fit.gain * o.most_misfit)
        seen = frames[:, ~self.bad]
        return float(seen.min() + 0.0 * coefficients[0][~self.bad].sum()) if seen.size else 0.0

    def _model(self, view: int, frames: NDArray[Any]) -> StepModel:
        """Steps of one view: as set, or as estimated from its frames (step, row, col)."""
        if self.options.steps == "nominal":
            return self.nominal
        good = (~self.bad & self._seen.usable).reshape(-1)
        chosen = np.union1d(spread_sample(good), spread_sample(good & self.air.reshape(-1)))
        curves = frames.reshape(len(frames), -1)[:, chosen] - self.dark.reshape(-1)[chosen]
        check_finite(f"frames[{self.direction}, {view}]", curves)
        known: dict[str, Any] = {}
        if self.options.air_cols:
            known["air"] = self.air.reshape(-1)[chosen]
            known["air_coefficients"] = coefficients_of(self._flat)[:, chosen]
        where = positions(self.dark.shape, chosen)
        ramp = self.options.steps == "ramp"
        return estimate_model(curves, self.nominal, where, ramp=ramp, gain=self.options.fit.gain, **known)

    def _check(self, view: int, frames: NDArray[Any], lowest: float) -> None:
        if lowest >= 0:
            return
        name = f"frames[{self.direction}, {view}]"
        good = np.where(self.bad, 0, frames)
        check_finite(name, good)
        raise DarklungError(negative_counts(name, good))
