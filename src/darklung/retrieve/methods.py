"""Retrieval as a seam: frames of a scan in, projections of blocks of its views out.

A method is a function ``method(scan, *, options...)`` that returns another, ``block(views) -> Projections``: what all views
share (fits to the flats) is done once, and then frames in memory and frames read from disk block by block take the same way.

- `scan` is a `Scan`; frames and flats may be on disk and are read when they are sliced: ``scan.frames[direction, view]`` and
  ``scan.flats[direction, flat]`` are arrays (step, row, col).
- `views` is a slice of the scan's views. The `Projections` hold these views of all directions, (direction, view, row, col):
  −ln T, −ln(V/V0) and phase, their variances (finite, not negative), V with sample and V0, and `valid`. What cannot be
  trusted is marked there and still holds numbers.
- Its further arguments are the method's options, set under ``retrieval.options`` and checked against the signature. One
  named like an argument of `retrieve` (``reference``, ``air_cols``, ``fit`` with gain and harmonics, ...) gets what the keys
  beside ``method`` say; what is said there and not taken is refused.

docs/learning.md has an example.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from darklung.core.checks import DarklungError
from darklung.core.contracts import check_projections
from darklung.core.seams import check_options, resolve
from darklung.core.types import Projections, Scan
from darklung.retrieve.stepping import Block

RETRIEVALS = {
    "least_squares": "darklung.retrieve.stepping:retriever",
    "likelihood": "darklung.retrieve.stepping:retriever",
}
# Keys of a description that reach a method as one argument.
_SAID_AS = {"fit": "harmonics and gain"}


class Asked(Protocol):
    """What is asked of retrieval, as `darklung.io.retrieval.Retrieval` says it."""

    @property
    def method(self) -> str:
        """Key of `RETRIEVALS`, or ``package.module:function``."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Arguments of a function of one's own."""

    def arguments(self) -> dict[str, Any]:
        """Arguments that every method may take."""

    def changed(self) -> tuple[str, ...]:
        """Names of those that are not as they are by default."""


def find_retrieval(part: Asked) -> Callable[..., Block]:
    """The function that ``part.method`` stands for.

    Raises
    ------
    DarklungError
        Unknown name, options that are not in its signature, or keys that it does not take.
    """
    function: Callable[..., Block] = resolve("retrieval.method", part.method, RETRIEVALS)
    taken = _taken(function, part)
    check_options(f"retrieval {part.method}", function, part.options, passed=taken, positional=1)
    for name in part.changed():
        if name not in taken:
            raise DarklungError(f"retrieval: {_SAID_AS.get(name, name)}: {part.method} does not take it")
    return function


def retriever_of(scan: Scan, part: Asked, *, air_cols: Iterable[int] | None = None) -> Block:
    """Views of a scan -> projections, as `part` asks.

    Parameters
    ----------
    air_cols : iterable of int, optional
        Columns without object, where `part` names none.

    Raises
    ------
    DarklungError
        What `find_retrieval` raises; a method of one's own that returns something else than what is told above.
    """
    function = find_retrieval(part)
    given = part.arguments()
    given["air_cols"] = given["air_cols"] or air_cols
    block = function(scan, **{k: given[k] for k in _taken(function, part)}, **part.options)
    if not callable(block):
        raise DarklungError(
            f"{part.method}: wanted a function of a slice of views to be returned, got {type(block).__name__}"
        )
    return block if part.method in RETRIEVALS else _checked(part.method, scan, block)


def _taken(function: Callable[..., Block], part: Asked) -> list[str]:
    """Which of the arguments that every method may take this one names."""
    known = inspect.signature(function).parameters
    return [name for name in part.arguments() if name in known]


def _checked(name: str, scan: Scan, block: Any) -> Block:
    def run(views: slice) -> Projections:
        geometry = replace(scan.geometry, angles_rad=scan.geometry.angles_rad[views])
        return check_projections(name, block(views), scan.directions_rad, geometry)

    return run
