"""Whether maps can be trusted: numbers, what speaks against them, and the curves that show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError
from darklung.core.fitting import LEAST_SQUARES
from darklung.core.streaks import STREAKED, find_streaks
from darklung.core.types import Image, Projections, Scan
from darklung.retrieve.covariance import signal_covariance
from darklung.retrieve.order import order_findings, views_findings
from darklung.retrieve.residuals import curve_residuals, harmonic_content
from darklung.retrieve.stepping import steps_of_view

LEAST_VALID, LEAST_VISIBILITY = 0.9, 0.10
# Mean χ² and measured over stated noise outside these speak against the declared steps, doses, or counts per photon.
MISFIT, NOISE = (0.9, 1.1), (0.85, 1.15)
MOST_SECOND = 0.05
SIGNALS = ("attenuation", "dark_field", "phase")
_LEAST_ROWS = 8


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
    extra : mapping
        Numbers that only frames tell.
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
    extra: Mapping[str, Any] = field(default_factory=dict)
    order: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[str, ...]:
        """What speaks against the maps; empty: nothing."""
        return (*_findings({**self.numbers, **self.extra}), *self.order)


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
    streaks = _streaks(maps["dark_field"], mask)
    valid = mask & ~streaks["flagged"]
    numbers = {
        "valid_share": float(valid.sum() / mask.sum()),
        "flat_visibility": float(np.median(visibility[mask])),
        **{key: float(np.median(values[mask])) for key, values in maps.items()},
        "streak_index": streaks["index"],
        "streaked_share": float(streaks["flagged"].sum() / mask.sum()),
        "noise_ratio": None,
        "misfit": None,
    }
    return Quality(numbers, shown, valid, streaks["flagged"], profiles=_streak_profile(streaks))


def is_line(projections: Projections) -> bool:
    """Whether all views of its few rows are shown rather than one view."""
    return projections.geometry.rows < _LEAST_ROWS


def projections_quality(
    projections: Projections, scan: Scan | None = None, options: Mapping[str, Any] | None = None
) -> Quality:
    """Of a scan's first direction and view; with its frames, `scan`, also what their residuals tell."""
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
    everywhere = projections.valid
    numbers: dict[str, Any] = {
        "valid_share": float(everywhere.mean()),
        "flat_visibility": _median(projections.flat_visibility, everywhere),
        **{key: _median(getattr(projections, key), everywhere) for key in ("attenuation", "dark_field")},
        "streak_index": None if streaks is None else streaks["index"],
        "streaked_share": None if streaks is None else float(streaks["flagged"].sum() / max(valid.sum(), 1)),
        "noise_ratio": _noise_ratio(maps["dark_field"], np.sqrt(projections.dark_field_variance[pick]), valid),
        "misfit": None,
    }
    profiles = {**({} if streaks is None else _streak_profile(streaks)), **_by_view(projections)}
    misfit: NDArray[Any] | None = None
    extra: dict[str, Any] = {}
    order: tuple[str, ...] = ()
    if scan is not None:
        misfit, more, extra = _frames(scan, options or {})
        profiles |= more
        numbers["misfit"] = extra.pop("misfit")
        order = (*order_findings(scan), *views_findings(projections))
    flagged = None if streaks is None else streaks["flagged"]
    return Quality(numbers, shown, valid, flagged, errors, profiles, misfit, extra, order)


def _frames(scan: Scan, options: Mapping[str, Any]) -> tuple[NDArray[Any], dict[str, Any], dict[str, Any]]:
    """Misfit map of the first view, profiles over the steps, and numbers that only frames tell."""
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
    known = found.misfit[np.isfinite(found.misfit)]
    extra: dict[str, Any] = {"misfit": float(known.mean()) if known.size else None}
    for name, (ratio, error) in harmonic_content(scan).items():
        extra[f"{name}_harmonic"], extra[f"{name}_harmonic_error"] = ratio, error
    extra["largest_correlation"] = signal_covariance(scan, fit=fit).largest_correlation
    return found.misfit, profiles, extra


def _streaks(values: NDArray[Any], valid: NDArray[np.bool_]) -> dict[str, Any]:
    try:
        found = find_streaks(values, valid)
    except DarklungError:  # too small, or without noise
        return {"index": None, "flagged": np.zeros(valid.shape, bool), "excess": None}
    return {"index": found.index, "flagged": found.flagged, "excess": found.excess}


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
    """Noise measured by second differences along columns of the detector, over the stated errors; robust."""
    good = valid[:, 1:-1] & valid[:, :-2] & valid[:, 2:]
    if good.sum() < 100:
        return None
    second = values[:, 1:-1] - (values[:, :-2] + values[:, 2:]) / 2
    square = errors**2
    expected = np.sqrt(square[:, 1:-1] + (square[:, :-2] + square[:, 2:]) / 4)
    return float(1.4826 * np.median(np.abs(second[good] / expected[good])))


def _findings(numbers: dict[str, Any]) -> tuple[str, ...]:
    found = []
    if numbers["valid_share"] < LEAST_VALID:
        found.append(f"only {100 * numbers['valid_share']:.1f} % of the pixels are valid")
    if numbers["flat_visibility"] < LEAST_VISIBILITY:
        found.append(f"low flat visibility: {numbers['flat_visibility']:.3f}, below {LEAST_VISIBILITY:g}")
    index = numbers["streak_index"]
    if index is not None and index > STREAKED:
        share = 100 * numbers["streaked_share"]
        found.append(
            f"streaked: index {index:.1f} is above {STREAKED:g}, {share:.0f} % of the pixels are flagged; gratings drifted"
            " since the flat, do not take numbers from the dark field"
        )
    for key, (low, high), text in (
        (
            "misfit",
            MISFIT,
            "mean reduced χ² of the fits is {:.2f}, not 1: try steps: estimate, or look at gain and harmonics",
        ),
        ("noise_ratio", NOISE, "the dark field's noise is {:.2f} times the stated one"),
    ):
        value = numbers[key]
        if value is not None and not low <= value <= high:
            found.append(text.format(value))
    if numbers.get("second_harmonic", 0) > MOST_SECOND:
        found.append(f"the flats' second harmonic is {100 * numbers['second_harmonic']:.1f} % of the first: see harmonics")
    return tuple(found)
