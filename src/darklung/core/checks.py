"""Errors at the door: each check names the argument, what was wanted and what came."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray


class DarklungError(ValueError):
    """Input that makes no sense. The command line prints its one line and ends with a non-zero exit code."""


# Control characters, and those that turn the direction of writing: a terminal obeys them.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

# Longer than any path part or option; a line may well hold more words than that.
_ENDLESS = re.compile(r"[^\s/]{301,}")


def printable(text: str) -> str:
    """Text of somebody else's file as it may be written to a terminal: what a terminal would obey becomes ``?``."""
    return _OBEYED.sub("?", text)


def shortened(line: str) -> str:
    """A line in which words of more than 300 letters, which nobody reads, keep their ends alone."""
    return _ENDLESS.sub(lambda word: f"{word[0][:100]}...{word[0][-20:]}", line)


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
    if not (bool(np.isfinite(value)) and low <= value <= high):
        raise DarklungError(f"{name}: wanted {low:g} to {high:g}, got {value!r}")
    return float(value)


def check_shape(name: str, array: NDArray[Any], axes: str, shape: tuple[int | None, ...]) -> None:
    """Raise unless `array` has `shape`; None matches any length. `axes` names the axes for the reader."""
    fits = array.ndim == len(shape) and all(s is None or s == n for s, n in zip(shape, array.shape))
    wanted = ", ".join("any" if s is None else str(s) for s in shape)
    require(fits, f"{name}: wanted axes ({axes}) with shape ({wanted}), got shape {array.shape}")


def check_finite(name: str, array: NDArray[Any]) -> None:
    """Raise if `array` holds NaN or infinity; says how many and where the first one is."""
    if np.issubdtype(array.dtype, np.integer) or array.dtype == bool:
        return
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DarklungError(f"{name}: {int(bad.sum())} of {bad.size} values are not finite, the first at index {first}")


def negative_counts(name: str, array: NDArray[Any]) -> str:
    """What is wrong with counts below 0; −1 and −2 alone are how Pilatus and Eiger detectors mark their gaps."""
    below = np.unique(array[array < 0])
    gaps = "; gaps of the detector? say gaps: [-1, -2]" if set(below.tolist()) <= {-1, -2} else ""
    return f"{name}: negative counts, the lowest is {float(below.min()):g}{gaps}"


def check_one_of(name: str, value: str, known: Iterable[str]) -> str:
    """Return `value` if it is among `known`, else raise with the list of known ones."""
    known = tuple(known)
    if value not in known:
        raise DarklungError(f"{name}: {value!r} is not known; known: {', '.join(sorted(known))}")
    return value


def check_fields(one: Any) -> None:
    """Raise unless the numbers and words in the fields of the dataclass `one` are what their annotations say.

    ``Annotated[float, Interval(ge=0, le=0.5)]`` (of `annotated_types`) bounds a number, ``int`` wants a whole one, a
    ``Literal`` one of its words. A float must be finite unless its default is infinite. Other annotations are not looked at.
    """
    for name, kind, bounds, endless in _rules(type(one)):
        value = getattr(one, name)
        if get_origin(kind) is Literal:
            check_one_of(name, value, get_args(kind))
            continue
        plain = isinstance(value, (int, float, np.number)) and not np.isnan(value)
        fits = plain and (bool(np.isfinite(value)) or (endless and value > 0)) and (kind is float or int(value) == value)
        noun = "a whole number" if kind is int else ("a number" if endless else "a finite number")
        require(fits and all(_within(value, b) for b in bounds), f"{name}: wanted {_told(noun, bounds)}, got {value!r}")


def _find_rules(kind: type) -> tuple[tuple[str, Any, tuple[Any, ...], bool], ...]:
    """(name, int, float or Literal, its bounds, may be infinite) of each field that `check_fields` looks at."""
    rules = []
    hints = get_type_hints(kind, include_extras=True)
    for f in fields(kind):
        plain, *more = get_args(hints[f.name]) if get_origin(hints[f.name]) is Annotated else (hints[f.name],)
        if plain in (int, float) or get_origin(plain) is Literal:
            bounds = tuple(b for m in more for b in (m if isinstance(m, Iterable) else (m,)))
            rules.append((f.name, plain, bounds, f.default == np.inf))
    return tuple(rules)


_rules: Callable[[type], tuple[tuple[str, Any, tuple[Any, ...], bool], ...]] = lru_cache(maxsize=64)(_find_rules)


# How each bound is told, the name of its number, and what it asks.
_BOUNDS: dict[type, tuple[str, str, Callable[[Any, Any], bool]]] = {
    Ge: (">=", "ge", operator.ge),
    Gt: (">", "gt", operator.gt),
    Le: ("<=", "le", operator.le),
    Lt: ("<", "lt", operator.lt),
}


def _within(value: float, bound: Any) -> bool:
    _, name, holds = _BOUNDS[type(bound)]
    return bool(holds(value, getattr(bound, name)))


def _told(noun: str, bounds: tuple[Any, ...]) -> str:
    """``"a finite number > 0"``, or ``"0 to 0.5"`` where both ends are allowed."""
    if [type(b) for b in bounds] == [Ge, Le]:
        return f"{bounds[0].ge:g} to {bounds[1].le:g}" + (", a whole number" if "whole" in noun else "")
    parts = [f"{_BOUNDS[type(b)][0]} {getattr(b, _BOUNDS[type(b)][1]):g}" for b in bounds]
    return f"{noun} {' and '.join(parts)}".strip()
