"""Projections of a detector that is turned in its own plane, made upright."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import check_finite, check_range, check_shape
from darklung.core.circle import wrapped
from darklung.core.geometry import MOST_TILT_RAD
from darklung.core.types import Projections

LINEAR = ("attenuation_variance", "dark_field_variance", "phase_variance", "visibility", "flat_visibility")


def untilt(projections: NDArray, *, tilt_rad: float, middle: tuple[float, float], order: int = 3) -> NDArray[np.float32]:
    """What a detector that is not turned in its own plane would have seen.

    A point at (u, w) across and along the axis [pixels] is seen at col = middle + u cos τ + w sin τ, row = middle + w cos τ
    − u sin τ (`darklung.core.geometry.ConeGeometry`); afterwards it is seen at middle + u and middle + w.

    Parameters
    ----------
    projections : (view, row, col) array
    tilt_rad : float
        τ, the detector turned in its own plane.
    middle : (row, col)
        What the detector is turned about.
    order : int
        Of the spline: 3, or 1 for variances. Places beyond the detector take the value at its edge.

    Returns
    -------
    (view, row, col) float32
    """
    check_shape("projections", projections, "view, row, col", (None, None, None))
    check_finite("projections", projections)
    check_range("tilt_rad", tilt_rad, -MOST_TILT_RAD, MOST_TILT_RAD)
    _, rows, cols = projections.shape
    w, u = np.arange(rows)[:, None] - middle[0], np.arange(cols)[None, :] - middle[1]
    cos, sin = np.cos(tilt_rad), np.sin(tilt_rad)
    places = np.stack([middle[0] + w * cos - u * sin, middle[1] + u * cos + w * sin])
    seen = np.asarray(projections, np.float32)
    turned = [ndimage.map_coordinates(view, places, order=order, mode="nearest") for view in seen]
    return np.stack(turned).astype(np.float32)


def upright(projections: Projections, *, tilt_rad: float, middle: tuple[float, float]) -> Projections:
    """`untilt` for every map of a scan: splines for values, linear for variances and visibilities, phases on the circle.

    A pixel is valid where all four around its place are. Invalid pixels must hold values (`fill_invalid`).
    """

    def turned(values: NDArray, order: int) -> NDArray[np.float32]:
        return np.stack([untilt(v, tilt_rad=tilt_rad, middle=middle, order=order) for v in values])

    p = projections
    values: dict[str, Any] = {n: turned(getattr(p, n), 3) for n in ("attenuation", "dark_field")}
    values["phase"] = wrapped(np.arctan2(turned(np.sin(p.phase), 3), turned(np.cos(p.phase), 3)))
    for name in LINEAR:
        if np.isfinite(getattr(p, name)).all():  # NaN: not there
            values[name] = turned(getattr(p, name), 1)
    return replace(p, valid=turned(p.valid.astype(np.float32), 1) > 0.999, **values)
