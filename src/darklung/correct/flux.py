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
# Scatter of air beyond what is stated is believed from so many standard errors on; farther out than so many scales it is
# something else in the air.
_SIGNIFICANT, _OUTSIDE = 3.0, 5.0
_MEDIAN = 0.6745  # of the absolute values of normal numbers


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
    air_lines: Iterable[int] | None = None,
    fraction: float = 0.04,
    dark_field: bool = False,
    each_row: bool = False,
) -> Projections:
    """Subtract each view's air value, so that a change of dose between flat and view leaves no offset.

    Rule: in every view and direction the air value is the mean of −ln T over the valid pixels of the air columns (all rows),
    weighted by 1/variance; it is subtracted from that view's attenuation. With ``dark_field=True`` the same is done for
    −ln D, which removes an offset of visibility common to the view (drift of the gratings). Its own noise is common to all
    pixels of a row, which a reconstruction's ramp filter takes away, and is no part of the variances: they are of what is
    independent from pixel to pixel. (A single pixel's error is larger by 1/(2n) of itself with n pixels of air.)

    What is left in the air is in the stated errors: where air scatters about its value by significantly more than the
    variances say (a beam whose structure moved since the flats), the excess is added to the variance of all pixels of that
    view, of −ln T and of −ln D.

    Not corrected: scatter, and structure that is neither the same along a row nor along a column
    (`darklung.retrieve.eigenflats`).

    Parameters
    ----------
    air_cols : iterable of int, optional
        Columns without object in any view. By default `outer_columns`, whose two sides must then agree: if they differ by
        more than 5 errors and 0.02 in more than half of the views, the object reaches the edge and an error is raised.
    air_lines : iterable of int, optional
        Rows without object in any view. Then every column has an air value of its own, too, beyond that of the rows: with
        `each_row` the air around the object gives a profile along the rows and one along the columns; their sum is taken
        off.
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
    g = projections.geometry
    cols = _chosen("air_cols", air_cols, g.cols, fraction)
    if air_cols is None:
        _check_sides(projections, cols)
    lines = None if air_lines is None else _chosen("air_lines", air_lines, g.rows, fraction)
    changed: dict[str, Any] = {}
    for name in ("attenuation", "dark_field") if _has_gratings(projections) else ("attenuation",):
        taken = name == "attenuation" or dark_field
        offset, variance = _air_value(projections, name, cols, each_row=each_row and taken)
        profile = _columns(projections, name, cols, lines, offset) if lines is not None and taken else (0.0, 0.0)
        # Values scatter about their own mean less than about the truth, by the variance of that mean.
        more = _left(projections, name, cols, offset + profile[0], profile[1] - variance)
        values, variances = getattr(projections, name), getattr(projections, f"{name}_variance")
        if taken:
            changed[name] = values - (offset + profile[0]).astype(values.dtype)
            more = more + profile[1]
        changed[f"{name}_variance"] = variances + more.astype(variances.dtype)
    return replace(projections, **changed)


def _has_gratings(projections: Projections) -> bool:
    return bool(np.isfinite(projections.dark_field).all() and np.isfinite(projections.dark_field_variance).all())


def _chosen(name: str, given: Iterable[int] | None, count: int, fraction: float) -> NDArray[np.intp]:
    """Air columns or rows as said, or the outermost ones."""
    chosen = outer_columns(count, fraction=fraction) if given is None else np.unique(np.asarray(list(given), dtype=int))
    kind = "columns" if name == "air_cols" else "rows"
    require(chosen.size > 0 and chosen.min() >= 0 and chosen.max() < count, f"{name}: wanted {kind} 0 to {count - 1}")
    return chosen


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


def _columns(
    projections: Projections, name: str, cols: NDArray[np.intp], lines: NDArray[np.intp], offset: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each column has beyond the rows' values in the rows without object, and its variance, (direction, view, 1, col).

    Its mean over the air columns is 0, since the rows' values hold those already.
    """
    valid = projections.valid[:, :, lines]
    require(bool(valid.any(axis=2).all()), f"air_lines: a column has no valid pixel in rows {lines.tolist()}")
    values = np.asarray(getattr(projections, name)[:, :, lines], dtype=np.float64)
    spread = np.asarray(getattr(projections, f"{name}_variance")[:, :, lines], dtype=np.float64)
    count = valid.sum(axis=2, keepdims=True)
    rows = offset[:, :, lines] if offset.shape[2] > 1 else offset
    profile = np.where(valid, values - rows, 0).sum(axis=2, keepdims=True) / count
    profile -= profile[..., cols].mean(axis=3, keepdims=True)
    return profile, np.where(valid, spread, 0).sum(axis=2, keepdims=True) / count**2


def _left(
    projections: Projections, name: str, cols: NDArray[np.intp], offset: NDArray[np.float64], more: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Variance of air about `offset` beyond what is stated plus `more`, (direction, view, 1, 1); 0 if not significant."""
    shape = projections.valid[..., cols].shape
    here, also = (np.broadcast_to(a if a.shape[3] == 1 else a[..., cols], shape) for a in (offset, more))
    values = np.asarray(getattr(projections, name)[..., cols], dtype=np.float64) - here
    own = np.asarray(getattr(projections, f"{name}_variance")[..., cols], dtype=np.float64) + also
    usable = projections.valid[..., cols] & (own > 0)
    left = np.zeros((*shape[:2], 1, 1))
    for view in np.ndindex(shape[:2]):
        good = usable[view]
        pulls = values[view][good] / np.sqrt(own[view][good])
        if len(pulls) < 2:
            continue
        scale = max(float(np.median(np.abs(pulls))) / _MEDIAN, 1.0)
        excess = float(np.mean(np.minimum(pulls**2, (_OUTSIDE * scale) ** 2))) - 1
        if excess > _by_chance(len(pulls)):
            left[view] = excess * np.median(own[view][good])
    return left


def _by_chance(count: int) -> float:
    """What the mean of `count` squared normal numbers exceeds 1 by, once in 740 times (Wilson & Hilferty): few are skew."""
    return float((1 - 2 / (9 * count) + _SIGNIFICANT * np.sqrt(2 / (9 * count))) ** 3) - 1


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
