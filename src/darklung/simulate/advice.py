"""What would improve a protocol: the same plan with one thing changed, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from darklung.physics.instrument import CORRELATION_RANGE_M, Instrument
from darklung.physics.noise import VALIDITY_LIMIT
from darklung.simulate.plan import COARSEST_M, ScanPlan, plan_scan
from darklung.simulate.protocol import Protocol

_LEAST = 0.05
_MOST_VIEWS = 90  # contrast-to-noise ratios depend on the counts in all views, hardly on their number


@dataclass(frozen=True)
class Improvement:
    """One change and what becomes of a plan, as factors on it.

    Parameters
    ----------
    change : str
    dose, time : float
        Factors. Time is that of more counts at the same flux.
    attenuation, dark_field : tuple of float
        Factors on the contrast-to-noise ratio of each lesion class of the plan (CT, or radiograph of one view); NaN
        where it was below 0.05.
    """

    change: str
    dose: float
    time: float
    attenuation: tuple[float, ...]
    dark_field: tuple[float, ...]


def improvements(*, instrument: Instrument, protocol: Protocol, pixel_m: float) -> tuple[Improvement, ...]:
    """Plans with more visibility, another correlation length, more dose, more flats, wider pixels, one direction less.

    Changes that are impossible (a visibility above 1, a correlation length outside the models) are left out.
    """
    few = replace(protocol, views=min(protocol.views, _MOST_VIEWS), time_limit_s=1e9)
    flats = max(1, round(protocol.flat_repeats * few.views / protocol.views))
    few = replace(few, flat_repeats=flats)
    before = plan_scan(instrument=instrument, protocol=few, pixel_m=pixel_m)
    found = []
    for change, other, altered, pixel, time in _changes(instrument, few, pixel_m):
        after = plan_scan(instrument=other, protocol=altered, pixel_m=pixel)
        pairs = list(zip(before.lesions, after.lesions))
        found.append(
            Improvement(
                change=change,
                dose=after.dose_gy / before.dose_gy,
                time=time,
                attenuation=tuple(_factor(a.ratios[0], b.ratios[0]) for a, b in pairs),
                dark_field=tuple(_factor(a.ratios[1], b.ratios[1]) for a, b in pairs),
            )
        )
    return tuple(found)


def _changes(
    instrument: Instrument, protocol: Protocol, pixel_m: float
) -> list[tuple[str, Instrument, Protocol, float, float]]:
    """(what, instrument, protocol, pixel, factor on the time)."""
    changes = []
    if instrument.visibility.max() <= 2 / 3:
        seen = replace(instrument, visibility=1.5 * instrument.visibility)
        changes.append(("visibility × 1.5", seen, protocol, pixel_m, 1.0))
    for factor, name in ((1.5, "correlation length × 1.5"), (1 / 1.5, "correlation length / 1.5")):
        if CORRELATION_RANGE_M[0] <= factor * instrument.reference_correlation_length_m <= CORRELATION_RANGE_M[1]:
            moved = replace(instrument, distance_m=factor * instrument.distance_m)
            changes.append((name, moved, protocol, pixel_m, 1.0))
    bright = replace(protocol, counts_per_pixel=2 * protocol.counts_per_pixel)
    changes.append(("counts × 2", instrument, bright, pixel_m, 2.0))
    share = protocol.views / (protocol.views + protocol.flat_count)
    calm = replace(protocol, flat_repeats=2 * protocol.flat_repeats)
    changes.append(("flats × 2", instrument, calm, pixel_m, 2 - share))
    # The same photons on fewer pixels: dose and time stay, resolution is lost.
    if 1.5 * pixel_m <= COARSEST_M:
        wide = replace(protocol, counts_per_pixel=2.25 * protocol.counts_per_pixel)
        changes.append(("pixel × 1.5 (coarser)", instrument, wide, 1.5 * pixel_m, 1.0))
    if len(protocol.directions_rad) > 1:
        one = replace(protocol, directions_rad=protocol.directions_rad[:1])
        changes.append(("one direction, same counts", instrument, one, pixel_m, 1.0))
    return changes


def _factor(before: float, after: float) -> float:
    """NaN where there was next to no contrast before, so that a factor means nothing."""
    return after / before if before > _LEAST else np.nan


def table(plan: ScanPlan) -> str:
    """The plan as text, for a terminal."""
    (low, high), (far, near) = ([1e6 * v for v in pair] for pair in (plan.correlation_length_m, plan.correlation_depth_m))
    least, most = plan.visibility_range
    verdict = "fits" if plan.total_time_s <= plan.time_limit_s else "DOES NOT FIT"
    lines = [
        f"time        {plan.total_time_s:.0f} s of {plan.time_limit_s:.0f} s ({verdict}): views {plan.view_time_s:.0f} s, "
        f"flats {plan.flat_time_s:.0f} s",
        f"photons     {plan.frame_counts:.3g} counts a pixel and frame (open beam)",
        f"mean dose   {1e3 * plan.dose_gy:.2g} mGy (± 40 %; from detected photons, build-up 1.3: darklung.physics.dose)",
        f"visibility  V0 = {plan.flat_visibility:.3f}, {least:.3f} to {most:.3f} over the field",
        f"corr. length {low:.2f} to {high:.2f} µm over the spectrum, {far:.2f} to {near:.2f} µm over the animal's depth",
        f"mouse       −ln T up to {plan.attenuation:.2f} ± {plan.attenuation_noise:.3f}, "
        f"−ln D up to {plan.dark_field:.2f}; in the weakest ray ± {plan.dark_field_noise:.2f} a view",
        f"validity    least N V² = {plan.least_strength:.1f} (10 wanted); {100 * plan.valid:.1f} % of the rays are valid",
        "1 mm lesion, CNR       CT: attenuation  dark field   radiograph (one view): attenuation  dark field",
    ]
    for lesion in plan.lesions:
        ct = [f"{value:.1f}" if np.isfinite(value) else "–" for value in (lesion.ct_attenuation, lesion.ct_dark_field)]
        lines.append(
            f"  {lesion.name:24s} {ct[0]:>10s} {ct[1]:>11s} "
            f"{lesion.radiograph_attenuation:35.2f} {lesion.radiograph_dark_field:11.2f}"
        )
    return "\n".join(lines)


def warnings(plan: ScanPlan, protocol: Protocol) -> tuple[str, ...]:
    """What is wrong with a protocol as it stands."""
    found = []
    dead = protocol.dead_time_s / (protocol.dead_time_s + protocol.exposure_s)
    if dead > 0.15:
        found.append(f"{100 * dead:.0f} % of the time is dead time: fewer, longer frames give more photons")
    if plan.least_strength < VALIDITY_LIMIT:
        found.append(
            "N V² falls below 10 in a view: −ln D saturates there; fewer views at the same dose, or more visibility"
        )
    if protocol.flat_share < 0.15:
        found.append("flats hold less than 15 % of the counts: their noise makes rings")
    solid = plan.lesions[0]
    if solid.ct_dark_field < solid.ct_attenuation:
        gain = solid.ct_attenuation / max(solid.ct_dark_field, 1e-9)
        found.append(f"for solid lesions in CT attenuation has {gain:.1f} times the contrast-to-noise ratio of dark field")
    return tuple(found)
