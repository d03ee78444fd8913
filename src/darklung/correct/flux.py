"""Dose of each view from a region that holds air alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_range, require
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
    projections: Projections, *, air_cols: Iterable[int] | None = None, fraction: float = 0.04, dark_field: bool = False
) -> Projections:
    """Subtract each view's air value, so that a change of dose between flat and view leaves no offset.

    Rule: in every view and direction the air value is the mean of −ln T over the valid pixels of the air columns (all rows),
    weighted by 1/variance; it is subtracted from that view's attenuation. With ``dark_field=True`` the same is done for
    −ln D, which removes an offset of visibility common to the view (drift of the gratings). Its own noise, that of some
    hundred pixels, is added to the variances; that this part is common to all pixels of the view is not recorded.

    Not corrected: dose that changes across the detector, and scatter.

    Parameters
    ----------
    air_cols : iterable of int, optional
        Columns without object in any view. By default `outer_columns`, whose two sides must then agree: if they differ by
        more than 5 errors and 0.02 in more than half of the views, the object reaches the edge and an error is raised.
    fraction : float
        Share of columns on each side for the default.
    dark_field : bool

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
        offset, variance = _air_value(projections, name, chosen)
        values, variances = getattr(projections, name), getattr(projections, f"{name}_variance")
        changed[name] = values - offset[..., None, None].astype(values.dtype)
        changed[f"{name}_variance"] = variances + variance[..., None, None].astype(variances.dtype)
    return replace(projections, **changed)


def _air_value(projections: Projections, name: str, cols: NDArray[np.intp]) -> tuple[NDArray, NDArray]:
    """Weighted mean over air and its variance, (direction, view) each."""
    valid = projections.valid[..., cols]
    variance = np.asarray(getattr(projections, f"{name}_variance")[..., cols], dtype=np.float64)
    weights = np.where(valid, 1.0 / np.maximum(variance, np.finfo(np.float32).tiny), 0.0)
    if name == "dark_field":
        # The variance of −ln D comes from the measured V, so weighting by it would favour pixels that came out high in V.
        weights = valid.astype(np.float64)
    total = weights.sum(axis=(2, 3))
    empty = np.argwhere(total <= 0)
    require(len(empty) == 0, f"air_cols: no valid air pixel in (direction, view) {tuple(int(i) for i in empty[:1].ravel())}")
    values = np.asarray(getattr(projections, name)[..., cols], dtype=np.float64)
    spread = (weights**2 * variance).sum(axis=(2, 3)) / total**2
    return (weights * values).sum(axis=(2, 3)) / total, spread


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
