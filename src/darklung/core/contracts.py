"""What a user's own function must return; what does not fit ends in one line that names the function."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.geometry import Geometry
from darklung.core.types import PROJECTION_MAPS, Projections


def check_projections(name: str, found: Any, directions_rad: NDArray[np.float64], geometry: Geometry) -> Projections:
    """`found`, what the function `name` returned, if it is whole projections of these directions and views.

    Raises
    ------
    DarklungError
        Not `Projections`, of other views or pixels, `valid` not boolean, a map with NaN or infinity (what cannot be trusted
        is marked in `valid` and still holds a number), or a negative variance.
    """
    if not isinstance(found, Projections):
        raise DarklungError(f"{name}: wanted Projections to be returned, got {type(found).__name__}")
    shape = (len(directions_rad), geometry.views, geometry.rows, geometry.cols)
    require(
        found.valid.shape == shape,
        f"{name}: wanted projections (direction, view, row, col) of shape {shape}, got {found.valid.shape}",
    )
    require(found.valid.dtype == bool, f"{name}: valid: wanted truth values, got {found.valid.dtype}")
    for field in PROJECTION_MAPS[:-1]:
        values = getattr(found, field)
        bad = int((~np.isfinite(values)).sum())
        require(
            bad == 0, f"{name}: {field}: {bad} values are not finite; wanted numbers everywhere, valid marks which count"
        )
        least = float(values.min(initial=0))
        require(not field.endswith("_variance") or least >= 0, f"{name}: {field}: wanted variances >= 0, got {least:g}")
    return found


def check_number(name: str, found: Any) -> float | None:
    """`found`, what the function `name` returned, as a float if it is one real number of any kind; None stays None.

    Numbers of Python, numpy and torch are taken, and an array or tensor without axes. True and False are not numbers here.
    Whether NaN and infinity are fine is for the caller to say.

    Raises
    ------
    DarklungError
        Anything else.
    """
    if found is None:
        return None
    shape = getattr(found, "shape", None)
    # A number of numpy or torch tells itself as one of Python.
    value = found.item() if shape == () and hasattr(found, "item") else found
    came = f"an array of shape {tuple(shape)}" if shape else f"{type(value).__name__} {value!r}"
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    require(real, f"{name}: wanted a number or None, got {came[:80]}")
    return float(value)
