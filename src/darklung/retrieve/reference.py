"""What the flats say about the interferometer at the time of each view."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, require
from darklung.core.types import Scan
from darklung.retrieve.harmonic import Harmonics, StepDesign, coefficients_of, fit_coefficients, harmonics_of, step_design
from darklung.retrieve.steps import estimate_steps, spread_sample

REFERENCES = ("mean", "interpolate")


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
    scan: Scan, direction: int, members: list[int], designs: list[StepDesign], *, gain: float, dark: NDArray[np.float64]
) -> Harmonics:
    """Parameters of the mean of some flats of one direction, each (row, col); `designs` has one for each of `members`.

    The mean is taken over the curves, so a phase that drifts among the `members` costs visibility.
    """
    total = np.zeros((3, *dark.shape), dtype=np.float64)
    bad = np.zeros(dark.shape, bool) if scan.bad_pixels is None else np.asarray(scan.bad_pixels)
    for flat, design in zip(members, designs):
        curves = np.asarray(scan.flats[direction, flat])
        coefficients = fit_coefficients(curves, design)
        # Every step enters c0, so a value that is not finite shows there.
        check_finite(f"flats[{direction}, {flat}]", np.where(bad, 0.0, coefficients[0]))
        require(
            bool((np.where(bad, 0, curves.min(axis=0)) >= 0).all()) or not _signed(curves),
            f"flats[{direction}, {flat}]: negative counts, the lowest is {curves.min():g}",
        )
        total += np.where(bad, 0.0, coefficients - design.coefficients_of_dark[:, None, None] * dark)
    total /= len(members)
    result = harmonics_of(total, designs[0], dark=dark, gain=gain, averaged=len(members))
    require(
        bool(result.usable.any()),
        f"flats[{direction}]: no pixel has counts and a modulation (counts {total[0].min():g} to {total[0].max():g})",
    )
    return result


def flat_designs(
    scan: Scan, direction: int, members: list[int], *, gain: float, dark: NDArray[np.float64]
) -> list[StepDesign]:
    """Estimated steps of each flat: twice against the mean of all `members`, so that they agree with each other.

    What is common to all of them (see `estimate_steps`) cannot be told; it falls with the number of flats.
    """
    nominal = scan.step_phase_rad[direction]
    designs = [step_design(nominal)] * len(members)
    bad = np.zeros(dark.shape, bool) if scan.bad_pixels is None else np.asarray(scan.bad_pixels)
    for _ in range(2):
        mean = fit_flats(scan, direction, members, designs, gain=gain, dark=dark)
        chosen = spread_sample((mean.usable & ~bad).reshape(-1))
        known = coefficients_of(mean).reshape(3, -1)[:, chosen]
        air = np.full(len(chosen), len(members) > 1)
        designs = []
        for flat in members:
            curves = np.asarray(scan.flats[direction, flat])
            seen = curves.reshape(len(curves), -1)[:, chosen] - dark.reshape(-1)[chosen]
            found = estimate_steps(seen, nominal, air=air if air.any() else None, air_coefficients=known)
            designs.append(step_design(found.phases_rad, found.dose))
    return designs


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

    Before the first and after the last group the nearest group holds.
    """

    def __init__(self, scan: Scan, direction: int, *, mode: str, gain: float, estimate: bool = False) -> None:
        dark = dark_signal(scan)
        flat_time = np.asarray(scan.flat_time_s[direction], dtype=np.float64)
        if mode == "mean":
            groups = [list(range(len(flat_time)))]
        else:
            groups = group_flats(flat_time, np.asarray(scan.view_time_s[direction], dtype=np.float64))
        self.times_s = np.array([flat_time[group].mean() for group in groups])
        nominal = step_design(scan.step_phase_rad[direction])
        self.parameters = []
        for group in groups:
            designs = [nominal] * len(group)
            if estimate:
                designs = flat_designs(scan, direction, group, gain=gain, dark=dark)
            self.parameters.append(fit_flats(scan, direction, group, designs, gain=gain, dark=dark))

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
