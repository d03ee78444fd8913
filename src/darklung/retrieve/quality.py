"""Whether maps can be trusted: numbers, what speaks against them, and the curves that show it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from darklung.core.checks import DarklungError
from darklung.core.fitting import LEAST_SQUARES, Fit
from darklung.core.streaks import find_streaks
from darklung.core.types import Image, Projections, Scan
from darklung.retrieve.covariance import signal_covariance
from darklung.retrieve.darks import dark_scale
from darklung.retrieve.findings import MISFIT, findings_of
from darklung.retrieve.harmonic import nominal_steps
from darklung.retrieve.order import order_findings, views_findings
from darklung.retrieve.reference import dark_signal
from darklung.retrieve.residuals import curve_residuals, harmonic_content, harmonic_leak
from darklung.retrieve.stepping import retriever, steps_of_view
from darklung.retrieve.watch import curve_numbers, designs_of, spread_pixels

SIGNALS = ("attenuation", "dark_field", "phase")
_LEAST_ROWS = 8
# Views (of all directions) in which streaks and noise are sought.
LOOKED_AT = 3
# Air: where −ln T, smoothed over so many pixels, is this close to 0; it must fill a share of the map.
_AIR, _SMOOTHED, _LEAST_AIR = 0.02, 15, 0.05
# A view's χ² is odd beyond this many robust deviations of all views', and this many times their median.
_ODD, _ODD_TIMES = 6.0, 1.25
_LISTED = 4
Checks = Mapping[str, Any]


@dataclass(frozen=True)
class Quality:
    """What one page tells; maps are (row, col) of one view, or (view, col) of a line detector.

    Parameters
    ----------
    numbers : mapping
        Of all maps alike; None where one cannot be known.
    maps : mapping
        Signal, or what else is shown, to map.
    valid, flagged : bool map
        Pixels that can be trusted, and those of streaked columns (None where there is no telling).
    errors : mapping
        Signal to standard errors of the valid pixels.
    profiles : mapping
        Name to (label of x, x, values, level of what is expected or None).
    misfit : map, optional
        Reduced χ² of the fits.
    order : tuple of str
        What speaks against the order of the frames.
    """

    numbers: Mapping[str, Any]
    maps: Mapping[str, NDArray[Any]]
    valid: NDArray[np.bool_]
    flagged: NDArray[np.bool_] | None = None
    errors: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    profiles: Mapping[str, Any] = field(default_factory=dict)
    misfit: NDArray[Any] | None = None
    order: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[str, ...]:
        """What speaks against the maps; empty: nothing."""
        return (*findings_of(self.numbers), *self.order)


def lobe_maps_quality(image: Image) -> Quality:
    """Of a measured lobe, whose maps have no stated errors and no frames."""
    mask = np.isfinite(image.data).all(axis=0)
    maps = {
        "attenuation": -np.log(np.where(mask, image.channel("transmission"), np.nan), dtype=np.float64),
        "dark_field": -np.log(np.where(mask, image.channel("visibility_ratio"), np.nan), dtype=np.float64),
    }
    shown = {**maps, "phase": image.channel("phase")} if "phase" in image.names else dict(maps)
    visibility = image.channel("flat_visibility")
    shown["flat visibility V0"] = visibility
    streaks, along = _streaks(maps["dark_field"], mask), _streaks(maps["dark_field"].T, mask.T)
    valid = mask & ~streaks["flagged"]
    numbers = {
        "valid_share": float(valid.sum() / mask.sum()),
        "flat_visibility": float(np.median(visibility[mask])),
        **{key: float(np.median(values[mask])) for key, values in maps.items()},
        "streak_index": streaks["index"],
        "streaked_share": float(streaks["flagged"].sum() / mask.sum()),
        "row_streak_index": along["index"],
        "row_streaked_share": float(along["flagged"].sum() / mask.sum()),
        "noise_ratio": None,
        "misfit": None,
    }
    return Quality(numbers, shown, valid, streaks["flagged"], profiles=_streak_profile(streaks))


def is_line(projections: Projections) -> bool:
    """Whether all views of its few rows are shown rather than one view."""
    return projections.geometry.rows < _LEAST_ROWS


def projections_quality(
    projections: Projections,
    scan: Scan | None = None,
    options: Mapping[str, Any] | None = None,
    checks: Checks | None = None,
) -> Quality:
    """Of all views and directions; maps are those of the first.

    Parameters
    ----------
    projections : Projections
        Of a scan on disk some views are enough.
    scan : Scan, optional
        Its frames: also what their residuals tell.
    options : mapping, optional
        Of `retrieve`, as it was called.
    checks : mapping, optional
        What `darklung.retrieve.stepping.Retriever` saw, or a file of projections kept of it; with `scan` and without this
        all views are looked at again.
    """
    line = is_line(projections)
    pick: Any = (0, slice(None), 0) if line else (0, 0)
    valid = projections.valid[pick]
    maps = {key: np.asarray(getattr(projections, key)[pick], dtype=np.float64) for key in SIGNALS}
    shown = {
        **maps,
        "flat visibility V0": projections.flat_visibility[pick],
        "visibility V": projections.visibility[pick],
    }
    errors = {key: np.sqrt(getattr(projections, f"{key}_variance")[pick][valid]) for key in SIGNALS}
    streaks = None if line or not valid.any() else _streaks(maps["dark_field"], valid)
    profiles = {**({} if streaks is None else _streak_profile(streaks)), **_by_view(projections)}
    misfit: NDArray[Any] | None = None
    order: tuple[str, ...] = ()
    if scan is not None:
        order = (*order_findings(scan), *views_findings(projections))
        if checks is None:
            checks = {**seen_in(scan, options or {}), **flats_numbers(scan, options or {})}
        misfit, more = _frames(scan, options or {})
        profiles |= more
    numbers = {**_map_numbers(projections, line), **frame_numbers(checks or {})}
    profiles |= _checks_by_view(checks or {})
    return Quality(numbers, shown, valid, None if streaks is None else streaks["flagged"], errors, profiles, misfit, order)


def seen_in(scan: Scan, options: Mapping[str, Any], views: Iterable[int] | None = None) -> dict[str, Any]:
    """What retrieval with `options` sees in the frames of some views, by default all; the maps are thrown away."""
    run = retriever(scan, **options)
    for view in range(scan.geometry.views) if views is None else views:
        run(slice(view, view + 1))
    return run.checks


def _map_numbers(projections: Projections, line: bool) -> dict[str, Any]:
    """Numbers of the maps alone: medians of all, streaks and noise of the worst and the median of some views."""
    everywhere = projections.valid
    numbers: dict[str, Any] = {
        "valid_share": float(everywhere.mean()),
        "flat_visibility": _median(projections.flat_visibility, everywhere),
        **{key: _median(getattr(projections, key), everywhere) for key in ("attenuation", "dark_field")},
    }
    looked = [_look(projections, pick, line) for pick in _picks(projections, line)]
    for name in ("streak", "row_streak", "air_streak"):
        found = [one[name] for one in looked if one[name] is not None and one[name]["index"] is not None]
        worst = max(found, key=lambda one: one["index"], default=None)
        share = None if worst is None else float(worst["flagged"].sum() / max(worst["of"], 1))
        numbers |= {f"{name}_index": None if worst is None else worst["index"], f"{name}ed_share": share}
    for name in ("noise_ratio", "air_noise_ratio"):
        ratios = [one[name] for one in looked if one[name] is not None]
        numbers[name] = float(np.median(ratios)) if ratios else None
    return {**numbers, "misfit": None}


def _picks(projections: Projections, line: bool) -> list[Any]:
    """Places of single maps, (row, col) or (view, col): the first, the last and those between, of all directions."""
    directions, views = projections.valid.shape[:2]
    if line:
        return [(d, slice(None), 0) for d in range(directions)][:LOOKED_AT]
    usable = [(d, v) for d in range(directions) for v in range(views) if projections.valid[d, v].any()]
    return [usable[n] for n in np.unique(np.linspace(0, len(usable) - 1, LOOKED_AT).astype(int))] if usable else []


def _look(projections: Projections, pick: Any, line: bool) -> dict[str, Any]:
    """Streaks along both axes and in air, and noise over what is stated, of one map."""
    valid, dark = projections.valid[pick], np.asarray(projections.dark_field[pick], dtype=np.float64)
    attenuation = np.asarray(projections.attenuation[pick], dtype=np.float64)
    air = _air(attenuation, valid)
    found: dict[str, Any] = {"streak": None, "row_streak": None, "air_streak": None, "air_noise_ratio": None}
    found["noise_ratio"] = _noise_ratio(dark, np.sqrt(projections.dark_field_variance[pick]), valid)
    if air is not None:
        found["air_noise_ratio"] = _noise_ratio(attenuation, np.sqrt(projections.attenuation_variance[pick]), air)
    if not line:
        found["streak"], found["row_streak"] = _streaks(dark, valid), _streaks(dark.T, valid.T)
        if air is not None:
            both = [_streaks(attenuation, air), _streaks(attenuation.T, air.T)]
            found["air_streak"] = max(both, key=lambda one: one["index"] or 0.0)
    return found


def _air(attenuation: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Valid pixels with nothing in the beam, where every structure of −ln T is a fault; None where there are too few."""
    share = uniform_filter(valid.astype(np.float64), _SMOOTHED, mode="nearest")
    smooth = uniform_filter(np.where(valid, attenuation, 0.0), _SMOOTHED, mode="nearest") / np.maximum(share, 1e-9)
    air = valid & (np.abs(smooth) < _AIR)
    return air if air.mean() >= _LEAST_AIR else None


def frame_numbers(checks: Checks) -> dict[str, Any]:
    """Numbers of a whole scan from what was seen of each view, (direction, view); others are passed on."""
    numbers = {key: value for key, value in checks.items() if np.ndim(value) == 0}
    if "misfit" not in checks:
        return numbers
    misfit, saturation = np.asarray(checks["misfit"]), np.asarray(checks["saturation"])
    known = [row[np.isfinite(row)] for row in misfit]
    # The worst direction's typical view: single views are told by name.
    numbers["misfit"] = max((float(np.median(row)) for row in known if row.size), default=None)
    numbers["odd_views"] = _named(_odd(misfit), misfit)
    uneven = np.asarray(checks["uneven_steps"])
    numbers["uneven_steps"] = float(np.nanmedian(uneven)) if np.isfinite(uneven).any() else None
    powers = [np.median(row[np.isfinite(row)]) for row in np.asarray(checks["second_power"]) if np.isfinite(row).any()]
    numbers["views_second_harmonic"] = float(np.sqrt(max(*powers, 0.0, 0.0)))
    numbers["lost_views"] = _named(np.asarray(checks["lost_steps"]) > 0)
    for name in ("saturated", "above_one"):
        seen = np.asarray(checks[name])
        numbers[f"{name}_share"] = float(np.nanmean(seen)) if np.isfinite(seen).any() else 0.0
    reached = saturation[np.isfinite(saturation)]
    numbers["saturation"] = float(reached.min()) if reached.size else None
    return numbers


def _odd(misfit: NDArray[Any]) -> NDArray[np.bool_]:
    """Views whose χ² stands out among those of their direction."""
    odd = np.zeros(misfit.shape, bool)
    for row, mark in zip(misfit, odd):
        known = row[np.isfinite(row)]
        if known.size > 2:
            usual = float(np.median(known))
            limit = usual + _ODD * 1.4826 * float(np.median(np.abs(known - usual)))
            mark[:] = np.nan_to_num(row) > max(limit, _ODD_TIMES * usual, MISFIT[1])
    return odd


def _odd_flats(scan: Scan, fit: Fit) -> str:
    """Flats whose χ² stands out among those of their direction, named."""
    found, dark = np.full(scan.flats.shape[:2], np.nan), dark_signal(scan)
    good = np.ones(dark.shape, bool) if scan.bad_pixels is None else ~np.asarray(scan.bad_pixels, bool)
    chosen = spread_pixels(good.reshape(-1))
    for direction, phases in enumerate(scan.step_phase_rad):
        designs = designs_of(nominal_steps(phases), fit.harmonics)
        for flat in range(scan.flats.shape[1]):
            curves = np.asarray(scan.flats[direction, flat])
            curves = curves.reshape(len(curves), -1)[:, chosen]
            numbers = curve_numbers(curves, dark.reshape(-1)[chosen], designs, fit.gain)
            found[direction, flat] = numbers.get("misfit", np.nan)
    return _named(_odd(found), found, what="flat")


def _named(marked: NDArray[np.bool_], values: NDArray[Any] | None = None, what: str = "view") -> str:
    """``"view 3 (35.1), view 7 of direction 1 (2.2) and 4 more"``; empty where none is marked."""
    found = np.argwhere(marked)
    parts = []
    for direction, view in found[:_LISTED]:
        of = f" of direction {direction}" if len(marked) > 1 else ""
        parts.append(f"{what} {view}{of}" + ("" if values is None else f" ({values[direction, view]:.3g})"))
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return ", ".join(parts) + more


def _checks_by_view(checks: Checks) -> dict[str, Any]:
    """Curves over the views of all directions, one after the other."""
    values = np.asarray(checks.get("misfit", ()), dtype=np.float64).ravel()
    if values.size < 3 or not np.isfinite(values).any():
        return {}
    return {"mean reduced χ² of each view": ("view", np.arange(values.size), values, 1.0)}


def _frames(scan: Scan, options: Mapping[str, Any]) -> tuple[NDArray[Any], dict[str, Any]]:
    """Misfit map of the first view, and profiles over the steps."""
    fit = options.get("fit", LEAST_SQUARES)
    model = steps_of_view(scan, direction=0, view=0, **options)
    found = curve_residuals(scan, model, direction=0, view=0, fit=fit)
    number = np.arange(1, len(model.dose) + 1)
    alone = float(np.sqrt(max(len(number) - 3, 0) / len(number)))
    profiles: dict[str, Any] = {
        "residual of each step, mean over pixels [σ]": ("step", number, found.by_step, 0.0),
        "residual of each step, rms [σ]; dashed: photon noise": ("step", number, found.spread_by_step, alone),
    }
    if options.get("steps", "nominal") != "nominal":
        nominal = np.asarray(scan.step_phase_rad[0])
        profiles["estimated phase − nominal [rad]"] = ("step", number, model.phases_rad - nominal, 0.0)
        profiles["estimated dose"] = ("step", number, model.dose, 1.0)
    return found.misfit, profiles


def flats_numbers(scan: Scan, options: Mapping[str, Any]) -> dict[str, Any]:
    """Harmonics of the worst direction, how much of the second reaches the signals, and whether the dark frame fits."""
    extra: dict[str, Any] = {}
    fit = options.get("fit", LEAST_SQUARES)
    for direction in range(len(scan.directions_rad)):
        for name, (ratio, error) in harmonic_content(scan, direction=direction, gain=fit.gain).items():
            if ratio >= extra.get(f"{name}_harmonic", 0.0):
                extra[f"{name}_harmonic"], extra[f"{name}_harmonic_error"] = ratio, error
    extra["odd_flats"] = _odd_flats(scan, options.get("fit", LEAST_SQUARES))
    extra["harmonic_leak"] = max(harmonic_leak(phases) for phases in scan.step_phase_rad)
    extra["largest_correlation"] = signal_covariance(scan, fit=fit).largest_correlation
    for scale in _dark_scales(scan):
        if abs(scale[0] - 1) >= abs(extra.get("dark_scale", 1.0) - 1):
            extra["dark_scale"], extra["dark_scale_error"] = scale
    return extra


def _dark_scales(scan: Scan) -> Iterator[tuple[float, float]]:
    for direction in range(len(scan.directions_rad)):
        scale = dark_scale(scan, direction=direction)
        if scale is not None:
            yield scale


def _streaks(values: NDArray[Any], valid: NDArray[np.bool_]) -> dict[str, Any]:
    try:
        found = find_streaks(values, valid)
    except DarklungError:  # too small, or without noise
        return {"index": None, "flagged": np.zeros(valid.shape, bool), "excess": None, "of": 0}
    return {"index": found.index, "flagged": found.flagged, "excess": found.excess, "of": int(valid.sum())}


def _streak_profile(streaks: dict[str, Any]) -> dict[str, Any]:
    if streaks["excess"] is None:
        return {}
    cols = np.arange(len(streaks["excess"]))
    return {"dark field of each column beyond its neighbours [standard errors]": ("column", cols, streaks["excess"], 5.0)}


def _by_view(projections: Projections) -> dict[str, Any]:
    views = projections.geometry.views
    if views < 3:
        return {}
    valid, number = projections.valid[0], np.arange(views)
    result = {}
    for name, label in (("flat_visibility", "flat visibility"), ("visibility", "visibility"), ("dark_field", "dark field")):
        values = np.array([_median(getattr(projections, name)[0, v], valid[v]) for v in range(views)])
        result[f"median {label} of each view"] = ("view", number, values, None)
    result["valid share of each view"] = ("view", number, valid.mean(axis=(1, 2)), None)
    return result


def _median(values: NDArray[Any], valid: NDArray[np.bool_]) -> float:
    return float(np.median(values[valid])) if valid.any() else float("nan")


def _noise_ratio(values: NDArray[Any], errors: NDArray[Any], valid: NDArray[np.bool_]) -> float | None:
    """Noise measured by second differences along both axes, over what is stated; robust.

    Twice along both: edges and streaks along either axis drop out, as in J. Immerkær, Comput. Vis. Image Underst. 64, 300
    (1996), doi:10.1006/cviu.1996.0060 (not re-read). Of a map with fewer than 3 rows along the columns alone.
    """
    second, variance, good = np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64) ** 2, valid
    for axis in (0, 1):
        if values.shape[axis] < 3:
            continue
        low, middle, high = ([slice(None)] * axis + [part] for part in (slice(0, -2), slice(1, -1), slice(2, None)))
        second = second[*middle] - (second[*low] + second[*high]) / 2
        variance = variance[*middle] + (variance[*low] + variance[*high]) / 4
        good = good[*middle] & good[*low] & good[*high]
    if good.sum() < 100:
        return None
    return float(1.4826 * np.median(np.abs(second[good]) / np.sqrt(variance[good])))
