"""Dose of each view from a region that holds air alone, or from a monitor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, check_range, check_shape, require
from darklung.core.types import Projections

# A default air region whose sides differ by more than this many errors and by more than the least difference is none.
SIDE_ERRORS = 5.0
LEAST_SIDE_DIFFERENCE = 0.02


def outer_columns(cols: int, *, fraction: float = 0.04) -> NDArray[np.intp]:
    """The outermost columns of both detector sides, at least two each; `fraction` of all columns is taken on each side."""
    check_range("fraction", fraction, 0.0, 0.25)
    side = max(2, round(fraction * cols))
    require(2 * side < cols, f"cols: {cols} columns leave no object between two air sides of {side}")
    return np.concatenate([np.arange(side), np.arange(cols - side, cols)])


def normalise_flux(
    projections: Projections,
    *,
    air_cols: Iterable[int] | None = None,
    fraction: float = 0.04,
    dark_field: bool = False,
    each_row: bool = False,
) -> Projections:
    """Subtract each view's air value, so that a change of dose between flat and view leaves no offset.

    Rule: in every view and direction the air value is the mean of −ln T over the valid pixels of the air columns (all rows),
    weighted by 1/variance; it is subtracted from that view's attenuation. With ``dark_field=True`` the same is done for
    −ln D, which removes an offset of visibility common to the view (drift of the gratings). Its own noise, that of some
    hundred pixels, is added to the variances; that this part is common to all pixels of the view is not recorded.

    Not corrected: dose that changes along a row of the detector, and scatter.

    Parameters
    ----------
    air_cols : iterable of int, optional
        Columns without object in any view. By default `outer_columns`, whose two sides must then agree: if they differ by
        more than 5 errors and 0.02 in more than half of the views, the object reaches the edge and an error is raised.
    fraction : float
        Share of columns on each side for the default.
    dark_field : bool
    each_row : bool
        Take the air value of every row by itself: for detectors whose lines drift apart, and for doses that change along the
        axis. It costs noise: a row's air has few pixels, and their error is common to the row.

    Raises
    ------
    DarklungError
        Columns outside the detector, a view without a valid air pixel, or a default region that is not air.
    """
    cols = projections.geometry.cols
    chosen = outer_columns(cols, fraction=fraction) if air_cols is None else np.unique(np.asarray(list(air_cols), dtype=int))
    require(chosen.size > 0 and chosen.min() >= 0 and chosen.max() < cols, f"air_cols: wanted columns 0 to {cols - 1}")
    if air_cols is None:
        _check_sides(projections, chosen)
    names = ("attenuation", "dark_field") if dark_field else ("attenuation",)
    changed: dict[str, Any] = {}
    for name in names:
        offset, variance = _air_value(projections, name, chosen, each_row=each_row)
        values, variances = getattr(projections, name), getattr(projections, f"{name}_variance")
        changed[name] = values - offset.astype(values.dtype)
        changed[f"{name}_variance"] = variances + variance.astype(variances.dtype)
    return replace(projections, **changed)


def normalise_monitor(
    projections: Projections, *, view_dose: NDArray[np.floating], flat_dose: NDArray[np.floating], error: float = 0.0
) -> Projections:
    """Take the doses that a monitor read out of the attenuation: −ln T + ln(dose of the view / dose of its flats).

    Parameters
    ----------
    view_dose : (direction, view)
        Readings during the views, in any unit.
    flat_dose : (direction, view)
        Readings during the flats that each view was divided by (their mean, or interpolated to the view's time), same unit.
    error : float
        Relative standard error of a view's reading, added to the variances; common to all pixels of the view.

    Raises
    ------
    DarklungError
        Other shapes, or doses that are not above zero.
    """
    shape = projections.valid.shape[:2]
    readings = []
    for name, values in (("view_dose", view_dose), ("flat_dose", flat_dose)):
        dose = np.asarray(values, dtype=np.float64)
        check_shape(name, dose, "direction, view", shape)
        check_finite(name, dose)
        require(bool((dose > 0).all()), f"{name}: wanted doses above 0, got {dose.min():g}")
        readings.append(np.log(dose))
    check_range("error", error, 0.0, 1.0)
    values, variances = projections.attenuation, projections.attenuation_variance
    change = (readings[0] - readings[1])[..., None, None]
    return replace(
        projections,
        attenuation=values + change.astype(values.dtype),
        attenuation_variance=variances + np.asarray(error**2, dtype=variances.dtype),
    )


def _air_value(
    projections: Projections, name: str, cols: NDArray[np.intp], *, each_row: bool = False
) -> tuple[NDArray, NDArray]:
    """Weighted mean over air and its variance, (direction, view, 1 or row, 1) each."""
    valid = projections.valid[..., cols]
    variance = np.asarray(getattr(projections, f"{name}_variance")[..., cols], dtype=np.float64)
    weights = np.where(valid, 1.0 / np.maximum(variance, np.finfo(np.float32).tiny), 0.0)
    if name == "dark_field":
        # The variance of −ln D comes from the measured V, so weighting by it would favour pixels that came out high in V.
        weights = valid.astype(np.float64)
    axes = (3,) if each_row else (2, 3)
    total = weights.sum(axis=axes, keepdims=True)
    empty = np.argwhere(total <= 0)
    where = "(direction, view, row)" if each_row else "(direction, view)"
    first = tuple(int(i) for i in empty[:1, : 3 if each_row else 2].ravel())
    require(len(empty) == 0, f"air_cols: no valid air pixel in {where} {first}")
    values = np.asarray(getattr(projections, name)[..., cols], dtype=np.float64)
    spread = (weights**2 * variance).sum(axis=axes, keepdims=True) / total**2
    return (weights * values).sum(axis=axes, keepdims=True) / total, spread


def _check_sides(projections: Projections, cols: NDArray[np.intp]) -> None:
    half = len(cols) // 2
    left, left_variance = _air_value(projections, "attenuation", cols[:half])
    right, right_variance = _air_value(projections, "attenuation", cols[half:])
    limit = np.maximum(SIDE_ERRORS * np.sqrt(left_variance + right_variance), LEAST_SIDE_DIFFERENCE)
    share = float((np.abs(left - right) > limit).mean())
    require(
        share <= 0.5,
        f"air_cols: the outer columns {int(cols[0])}–{int(cols[half - 1])} and {int(cols[half])}–{int(cols[-1])} disagree "
        f"in {100 * share:.0f} % of the views, so the object reaches the edge; give air_cols",
    )
