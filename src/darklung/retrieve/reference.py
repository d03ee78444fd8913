"""What the flats say about the interferometer at the time of each view."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, check_finite, negative_counts, require
from darklung.core.fitting import Fit
from darklung.core.types import Scan
from darklung.retrieve.eigenflats import EigenFlats, eigenflats
from darklung.retrieve.fits import fit_curves
from darklung.retrieve.gauge import shared_pattern, with_pattern
from darklung.retrieve.harmonic import Harmonics, StepModel, coefficients_of, harmonics_of, nominal_steps
from darklung.retrieve.steps import estimate_model, positions, spread_sample
from darklung.retrieve.watch import check_flat, placeholders, usual_visibility

REFERENCES = ("mean", "interpolate", "eigenflats")
# Rounds of (mean of the flats, steps of each) after which nothing changes.
_ROUNDS = 3


def group_flats(flat_time_s: NDArray[np.float64], view_time_s: NDArray[np.float64]) -> list[list[int]]:
    """Flats that were taken in one go: consecutive in time with no view between them (or at the same time).

    Returns
    -------
    list of lists of flat indices, in the order of time.
    """
    order = [int(i) for i in np.argsort(flat_time_s, kind="stable")]
    groups = [[order[0]]]
    for flat in order[1:]:
        last, now = flat_time_s[groups[-1][-1]], flat_time_s[flat]
        between = (view_time_s >= last) & (view_time_s <= now)
        if now == last or not between.any():
            groups[-1].append(flat)
        else:
            groups.append([flat])
    return groups


def fit_flats(
    scan: Scan, direction: int, members: list[int], models: list[StepModel], *, fit: Fit, dark: NDArray[np.float64]
) -> Harmonics:
    """Parameters of the mean of some flats of one direction, each (row, col); `models` has one for each of `members`.

    The mean is taken over coefficients whose common phase has been turned to that of the first, and the mean phase is given
    back: gratings that drift from flat to flat then cost no visibility.
    """
    total, spread = np.zeros((3, *dark.shape)), np.zeros((6, *dark.shape))
    bad = np.zeros(dark.shape, bool) if scan.bad_pixels is None else np.asarray(scan.bad_pixels)
    first, turns, lost = None, np.zeros(len(members)), bad
    for number, (flat, model) in enumerate(zip(members, models)):
        coefficients, covariance, without = _fit_flat(scan, direction, flat, model, fit=fit, dark=dark, bad=bad)
        lost = lost | without
        if first is None:
            first = coefficients
        else:
            turns[number] = common_phase(coefficients, first)
            coefficients = turned(coefficients, -turns[number])
            covariance = turned_covariance(covariance, -turns[number])
        total += coefficients
        spread += covariance
    mean_turn = float(np.angle(np.exp(1j * turns).mean()))
    if mean_turn != 0.0:
        total, spread = turned(total, mean_turn), turned_covariance(spread, mean_turn)
    total, spread = np.where(lost, 0.0, total / len(members)), spread / len(members) ** 2
    result = harmonics_of(total, spread, scan.flats.shape[2] * len(members) / fit.gain)
    require(
        bool(result.usable.any()),
        f"flats[{direction}]: no pixel has counts and a modulation (counts {total[0].min():g} to {total[0].max():g})",
    )
    return result


def _fit_flat(
    scan: Scan, direction: int, flat: int, model: StepModel, *, fit: Fit, dark: NDArray, bad: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Coefficients and covariance, 0 where the third says that a pixel is bad or lacks a count."""
    name = f"flats[{direction}, {flat}]"
    curves = np.asarray(scan.flats[direction, flat])
    check_flat(name, curves, dark, bad)
    coefficients, covariance = fit_curves(curves, dark, model, fit)
    # Every step enters c0, so a value that is not finite shows there.
    check_finite(name, np.where(bad, 0.0, coefficients[0]))
    if _signed(curves) and (np.where(bad, 0, curves.min(axis=0)) < 0).any():
        raise DarklungError(negative_counts(name, np.where(bad, 0, curves)))
    if not curves.all():
        usual = usual_visibility(curves, coefficients)
        lost = placeholders(curves, coefficients[0], usual, dark, fit.gain)
        bad = bad if lost is None else bad | lost
        bad = bad | ~curves.any(axis=0)  # a part of the frames that was not written
    if curves.dtype.kind in "iu":  # filled up; where all of it is saturated, every view tells
        filled = (curves == np.iinfo(curves.dtype).max).any(axis=0)
        bad = bad if (filled | bad).all() else bad | filled
    return np.where(bad, 0.0, coefficients), np.where(bad, 0.0, covariance), bad


def common_phase(coefficients: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Phase by which all pixels together are ahead of `other` [rad]; coefficients (3, ...)."""
    one, two = coefficients[1] - 1j * coefficients[2], other[1] - 1j * other[2]
    return float(np.angle((one * two.conj()).sum()))


def turned(coefficients: NDArray[np.float64], phase_rad: float) -> NDArray[np.float64]:
    """Coefficients (3, ...) with `phase_rad` added to every phase."""
    cos, sin = np.cos(phase_rad), np.sin(phase_rad)
    c0, c1, c2 = coefficients
    return np.stack([c0, cos * c1 + sin * c2, cos * c2 - sin * c1])


def turned_covariance(covariance: NDArray[np.float64], phase_rad: float) -> NDArray[np.float64]:
    """Covariance (6, ...) of `turned` coefficients."""
    c, s = np.cos(phase_rad), np.sin(phase_rad)
    v00, v01, v02, v11, v12, v22 = covariance
    return np.stack(
        [
            v00,
            c * v01 + s * v02,
            c * v02 - s * v01,
            c * c * v11 + 2 * c * s * v12 + s * s * v22,
            c * s * (v22 - v11) + (c * c - s * s) * v12,
            s * s * v11 - 2 * c * s * v12 + c * c * v22,
        ]
    )


def flat_models(scan: Scan, direction: int, *, fit: Fit, dark: NDArray[np.float64], ramp: bool = False) -> list[StepModel]:
    """Estimated steps of each flat of a direction: in rounds against the mean of all of them, so that they agree.

    Common phase, amplitude and visibility of a flat may differ from the mean's. A dose pattern that all flats share cannot
    be told from one by one (see `estimate_steps`); it falls with their number, and `shared_pattern` looks for its ripples.
    """
    nominal = nominal_steps(scan.step_phase_rad[direction])
    members = list(range(scan.flats.shape[1]))
    models = [nominal] * len(members)
    bad = np.zeros(dark.shape, bool) if scan.bad_pixels is None else np.asarray(scan.bad_pixels)
    for _ in range(_ROUNDS):
        mean = fit_flats(scan, direction, members, models, fit=fit, dark=dark)
        chosen = spread_sample((mean.usable & ~bad).reshape(-1))
        known = coefficients_of(mean).reshape(3, -1)[:, chosen]
        found, phases = [], []
        for flat, model in zip(members, models):
            curves = np.asarray(scan.flats[direction, flat])
            seen = curves.reshape(len(curves), -1)[:, chosen] - dark.reshape(-1)[chosen]
            own, _ = fit_curves(curves, dark, model, fit)
            phases.append(common_phase(own.reshape(3, -1)[:, chosen], known))
            like = _with_visibility_of(known, own.reshape(3, -1)[:, chosen])
            several = np.full(len(chosen), len(members) > 1)
            options = {"air": several, "air_coefficients": like} if len(members) > 1 else {}
            where = positions(dark.shape, chosen)
            found.append(estimate_model(seen, nominal, where, ramp=ramp, gain=fit.gain, **options))
        pattern = shared_pattern(mean, found, positions(dark.shape, chosen), chosen)
        models = [with_pattern(model, pattern, phase) for model, phase in zip(found, phases)]
    return models


def _with_visibility_of(known: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """`known` coefficients (3, pixel) with the mean visibility of `own`, whose gratings may have drifted."""
    one, two = own[1] - 1j * own[2], known[1] - 1j * known[2]
    scale = abs((one * two.conj()).sum()) / (np.abs(two) ** 2).sum() / (own[0].sum() / known[0].sum())
    return known * np.array([1.0, scale, scale])[:, None]


def _signed(array: NDArray) -> bool:
    return not np.issubdtype(array.dtype, np.unsignedinteger)


def blend(before: Harmonics, after: Harmonics, weight: float) -> Harmonics:
    """The reference between two flats; `weight` is that of `after`, 0 to 1.

    Amplitude and visibility change linearly, the phase along the shorter arc. Variances follow from the two weights.
    """
    one, two = 1.0 - weight, weight
    amplitude = one * before.amplitude + two * after.amplitude
    visibility = one * before.visibility + two * after.visibility
    usable = before.usable & after.usable
    turn = np.angle(np.exp(1j * (after.phase - before.phase)))
    safe_amplitude = np.where(usable, amplitude, 1.0)
    safe_visibility = np.where(usable, visibility, 1.0)
    return Harmonics(
        amplitude=amplitude,
        visibility=np.where(usable, visibility, 0.0),
        phase=np.angle(np.exp(1j * (before.phase + two * turn))),
        log_amplitude_variance=(
            (one * before.amplitude) ** 2 * before.log_amplitude_variance
            + (two * after.amplitude) ** 2 * after.log_amplitude_variance
        )
        / safe_amplitude**2,
        log_visibility_variance=(
            (one * before.visibility) ** 2 * before.log_visibility_variance
            + (two * after.visibility) ** 2 * after.log_visibility_variance
        )
        / safe_visibility**2,
        phase_variance=one**2 * before.phase_variance + two**2 * after.phase_variance,
        strength=np.minimum(before.strength, after.strength),
        usable=usable,
    )


class FlatReference:
    """The reference of one direction at any time: constant ("mean") or interpolated between groups of flats.

    Before the first and after the last group the nearest group holds. With "eigenflats" it is constant, and `patterns` of
    ln a0 and ln V say what each view adds to it.
    """

    def __init__(self, scan: Scan, direction: int, *, mode: str, fit: Fit, steps: str = "nominal") -> None:
        dark = dark_signal(scan)
        flat_time = np.asarray(scan.flat_time_s[direction], dtype=np.float64)
        if mode != "interpolate":
            groups = [list(range(len(flat_time)))]
        else:
            groups = group_flats(flat_time, np.asarray(scan.view_time_s[direction], dtype=np.float64))
        self.times_s = np.array([flat_time[group].mean() for group in groups])
        if steps == "nominal":
            models = [nominal_steps(scan.step_phase_rad[direction])] * len(flat_time)
        else:
            models = flat_models(scan, direction, fit=fit, dark=dark, ramp=steps == "ramp")
        self.parameters = [
            fit_flats(scan, direction, group, [models[n] for n in group], fit=fit, dark=dark) for group in groups
        ]
        self.patterns: tuple[EigenFlats, ...] = ()
        if mode == "eigenflats":
            flats = [fit_flats(scan, direction, [n], [model], fit=fit, dark=dark) for n, model in enumerate(models)]
            self.patterns = tuple(eigenflats(flats, name) for name in ("amplitude", "visibility"))

    def at(self, time_s: float) -> Harmonics:
        """Reference parameters (row, col) at one time [s]."""
        after = int(np.searchsorted(self.times_s, time_s, side="right"))
        if after == 0 or len(self.times_s) == 1:
            return self.parameters[0]
        if after == len(self.times_s):
            return self.parameters[-1]
        start, end = self.times_s[after - 1], self.times_s[after]
        weight = float((time_s - start) / (end - start))
        if weight == 0.0:
            return self.parameters[after - 1]
        return blend(self.parameters[after - 1], self.parameters[after], weight)


def dark_signal(scan: Scan) -> NDArray[np.float64]:
    """Dark signal (row, col) [counts per frame], zero where the scan has no dark frame or the pixel is bad."""
    shape = (scan.geometry.rows, scan.geometry.cols)
    if scan.dark_frame is None:
        return np.zeros(shape)
    dark = np.asarray(scan.dark_frame, dtype=np.float64)
    if scan.bad_pixels is not None:
        dark = np.where(scan.bad_pixels, 0.0, dark)
    check_finite("dark_frame", dark)
    return dark


def flatten(reference: Harmonics) -> Harmonics:
    """The same with every map as one contiguous row of pixels, as the kernel reads it."""
    return Harmonics(**{f.name: np.ascontiguousarray(getattr(reference, f.name)).reshape(-1) for f in fields(reference)})
