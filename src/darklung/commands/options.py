"""Options of the command line that are numbers: read by the grammar of every other door, not by Python's own.

Python takes ``1_0``, `` 10 `` and digits of other scripts for 10, and ``nan`` for a number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from darklung.core.checks import DarklungError, require
from darklung.core.units import parse_number, parse_whole


def whole(told: str, *names: str, least: int | None = None, most: int | None = None) -> Any:
    """An option that is a whole number; `told` is its line of the help."""
    return typer.Option(*names, help=told, parser=_parser("int", parse_whole, least, most))


def real(told: str, *names: str, least: float | None = None, most: float | None = None) -> Any:
    """An option that is a finite number."""
    return typer.Option(*names, help=told, parser=_parser("float", parse_number, least, most))


def _parser(kind: str, parse: Callable[[str], float], least: float | None, most: float | None) -> Callable[[Any], float]:
    bounds = " and ".join(f"{sign} {end:g}" for sign, end in ((">=", least), ("<=", most)) if end is not None)

    def strict_number(given: Any) -> float:
        """The number of a text; a default is one already."""
        try:
            value = parse(given) if isinstance(given, str) else given
            sound = (least is None or value >= least) and (most is None or value <= most)
            require(sound, f"wanted a number {bounds}, got {given!r}")
        except DarklungError as error:
            raise typer.BadParameter(str(error)) from None
        return value

    strict_number.__name__ = kind  # what the help shows
    return strict_number


Workers = Annotated[int | None, whole("Processes; the number of cores by default.", least=1)]
