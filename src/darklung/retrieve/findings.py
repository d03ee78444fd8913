"""What speaks against retrieved maps, in words, and what would help: rules over numbers of `darklung.retrieve.quality`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from darklung.core.streaks import STREAKED

Numbers = Mapping[str, Any]

LEAST_VALID, LEAST_VISIBILITY, LEAST_ATTENUATION = 0.9, 0.10, -0.1
# Reduced χ² and measured over stated noise outside these speak against the declared steps, doses, or counts per photon.
MISFIT, NOISE = (0.9, 1.1), (0.85, 1.15)
# Second harmonic over the first in the flats and, where it is less well known, in the views; what may reach the signals.
MOST_SECOND, MOST_IN_VIEWS, MOST_LEAKED = 0.05, 0.15, 0.01
MOST_ABOVE_ONE = 1e-3
# A dark frame may be off by this share, or by so many standard errors.
DARK_SCALE, DARK_ERRORS = 0.15, 5.0
# Steps whose residuals are this much larger than the others' are not where they were set.
UNEVEN = 1.2


def findings_of(numbers: Numbers) -> tuple[str, ...]:
    """One line for each thing found; empty: nothing."""
    return tuple(line for rule in RULES for line in rule(numbers))


def _validity(n: Numbers) -> Iterator[str]:
    if n["valid_share"] < LEAST_VALID:
        yield f"only {100 * n['valid_share']:.1f} % of the pixels are valid"
    if n.get("attenuation", 0.0) < LEAST_ATTENUATION:
        yield (
            f"the median of −ln T is {n['attenuation']:.2f}: more light than without an object; are sample and flats"
            " exchanged, or is their dose another (normalise)?"
        )
    if n["flat_visibility"] < LEAST_VISIBILITY:
        yield f"low flat visibility: {n['flat_visibility']:.3f}, below {LEAST_VISIBILITY:g}"


def _frames(n: Numbers) -> Iterator[str]:
    if n.get("lost_views"):
        yield f"steps without counts in {n['lost_views']}: not valid; leave them out, or find their frames"
    if n.get("saturated_share"):
        yield (
            f"saturated: {_percent(n['saturated_share'])} of the pixels reach {n['saturation']:g} counts, where the detector"
            " ends; they are not valid"
        )
    if n.get("above_one_share", 0) > MOST_ABOVE_ONE:
        yield (
            f"visibility above 1 in {_percent(n['above_one_share'])} of the pixels, which no gratings give; they are"
            " not valid: look at the dark frame, an offset, the steps"
        )
    scale, error = n.get("dark_scale"), n.get("dark_scale_error") or 0.0
    if scale is not None and abs(scale - 1) > max(DARK_SCALE, DARK_ERRORS * error):
        told = f"of {1 / scale:.2g} times the exposure" if scale > 0.05 else "of another detector or time"
        yield f"the dark frame looks like one {told}: its hot pixels stand out {scale:.2f} times as much in the flats"


def _residuals(n: Numbers) -> Iterator[str]:
    value = n.get("misfit")
    if value is not None and value > MISFIT[1]:
        yield f"mean reduced χ² of the fits is {value:.2f}, not 1: {_too_large(n)}"
    elif value is not None and value < MISFIT[0]:
        gain = n.get("gain", 1.0)
        yield (
            f"mean reduced χ² of the fits is {value:.2f}, not 1: less noise than photons have; counts per photon (gain) may"
            f" be {gain * value:.2g} instead of {gain:g}, or neighbouring pixels share light"
        )
    if n.get("odd_views"):
        yield f"mean reduced χ² far above that of other views: {n['odd_views']}; look at their frames, or leave them out"
    if n.get("odd_flats"):
        yield f"mean reduced χ² far above that of other flats: {n['odd_flats']}; look at their frames, or leave them out"


def _too_large(n: Numbers) -> str:
    """What would help against a large χ², of what was not done yet."""
    estimated, fitted = n.get("steps_estimated"), n.get("fitted_harmonics", 1) or 1
    uneven = n.get("uneven_steps")
    if not estimated and (uneven is None or uneven > UNEVEN):
        return "try steps: estimate"
    if (n.get("second_harmonic") or 0) > MOST_SECOND and fitted < 2:
        return "the flats have a second harmonic, fit it with harmonics: 2"
    told = "estimated steps do not explain it" if estimated else "all steps alike"
    return f"{told}, so more noise than photons have: counts per photon (gain) may be {n.get('gain', 1.0) * n['misfit']:.2g}"


def _harmonics(n: Numbers) -> Iterator[str]:
    second, leak = n.get("second_harmonic") or 0, n.get("harmonic_leak")
    if (n.get("fitted_harmonics") or 1) >= 2:
        return
    in_views = n.get("views_second_harmonic") or 0
    if in_views > max(MOST_IN_VIEWS, 1.5 * second):
        yield f"the views' second harmonic is {100 * in_views:.0f} % of the first: their steps are not the flats'"
    if second <= MOST_SECOND:
        return
    told = f"the flats' second harmonic is {100 * second:.1f} % of the first"
    if leak is None:
        yield f"{told}: see harmonics"
    elif leak * second > MOST_LEAKED:
        yield f"{told} and disturbs it at these steps: fit it with harmonics: 2"
    else:
        yield f"{told}; these steps keep it out of the signals"


def _streaks(n: Numbers) -> Iterator[str]:
    cure = "gratings drifted since the flat, do not take numbers from the dark field"
    lines = "detector lines drift apart (normalise: air_rows), or bad lines"
    if n.get("normalise") == "air_rows":
        lines = "bad lines of the detector"
    for key, share, name, told in (
        ("streak_index", "streaked_share", "streaked", cure),
        ("row_streak_index", "row_streaked_share", "streaked along rows", lines),
        ("air_streak_index", "air_streaked_share", "streaked in −ln T, in air", "the flat's response no longer fits"),
    ):
        if n.get(key) is not None and n[key] > STREAKED:
            flagged = f"{100 * (n.get(share) or 0):.0f} % of the pixels are flagged"
            yield f"{name}: index {n[key]:.1f} is above {STREAKED:g}, {flagged}; {told}"


def _noise(n: Numbers) -> Iterator[str]:
    for key, name in (("noise_ratio", "dark field's noise"), ("air_noise_ratio", "noise of −ln T in air")):
        value = n.get(key)
        if value is None or NOISE[0] <= value <= NOISE[1]:
            continue
        more = (
            "fine structure, or true errors larger than stated"
            if value > 1
            else "neighbouring pixels share light, or gain is below 1"
        )
        yield f"the {name} is {value:.2f} times the stated one: {more}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


RULES: tuple[Callable[[Numbers], Iterator[str]], ...] = (_validity, _frames, _residuals, _harmonics, _streaks, _noise)
