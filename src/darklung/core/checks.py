"""Errors at the door: each check names the argument, what was wanted and what came."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class DarklungError(ValueError):
    """Input that makes no sense. The command line prints its one line and ends with a non-zero exit code."""


def require(condition: bool, message: str) -> None:
    """Raise `DarklungError` with `message` unless `condition` holds."""
    if not condition:
        raise DarklungError(message)


def check_positive(name: str, value: float) -> float:
    """Return `value` if it is finite and > 0, else raise."""
    require(bool(np.isfinite(value)) and value > 0, f"{name}: wanted a finite number > 0, got {value!r}")
    return float(value)


def check_range(name: str, value: float, low: float, high: float) -> float:
    """Return `value` if low <= value <= high, else raise."""
    require(bool(np.isfinite(value)) and low <= value <= high, f"{name}: wanted {low:g} to {high:g}, got {value!r}")
    return float(value)


def check_shape(name: str, array: NDArray, axes: str, shape: tuple[int | None, ...]) -> None:
    """Raise unless `array` has `shape`; None matches any length. `axes` names the axes for the reader."""
    fits = array.ndim == len(shape) and all(s is None or s == n for s, n in zip(shape, array.shape))
    wanted = ", ".join("any" if s is None else str(s) for s in shape)
    require(fits, f"{name}: wanted axes ({axes}) with shape ({wanted}), got shape {array.shape}")


def check_finite(name: str, array: NDArray) -> None:
    """Raise if `array` holds NaN or infinity; says how many and where the first one is."""
    if np.issubdtype(array.dtype, np.integer) or array.dtype == bool:
        return
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DarklungError(f"{name}: {int(bad.sum())} of {bad.size} values are not finite, the first at index {first}")


def check_one_of(name: str, value: str, known: Iterable[str]) -> str:
    """Return `value` if it is among `known`, else raise with the list of known ones."""
    known = sorted(known)
    require(value in known, f"{name}: {value!r} is not known; known: {', '.join(known)}")
    return value
