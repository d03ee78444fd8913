"""What a map's function may be called with, read from its signature, and the arguments of a call put to it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from darklung.core.checks import DarklungError, require
from darklung.core.recipe import Argument, Call, Quantity
from darklung.core.units import split_unit

PLACE = "place"
CHANNEL, WORD, WHOLE, NUMBER = "channel", "word", "whole number", "number"
_EXAMPLES = {
    CHANNEL: "dark_field",
    WORD: "entropy",
    WHOLE: "5",
    NUMBER: "0.5",
    "length": "0.8 mm",
    "angle": "45 deg",
    "energy": "70 keV",
}
_PLAIN = {int: WHOLE, str: WORD, float: NUMBER}


@dataclass(frozen=True)
class Parameter:
    """One argument of a map: its name, what it is (a channel, a word, a number, a kind of unit), and whether it may lack."""

    name: str
    kind: str
    optional: bool


def parameters_of(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    """The arguments of a map's function, ``place`` excepted, in order."""
    hints = _hints(function)
    found = [p for p in inspect.signature(function).parameters.values() if p.name != PLACE]
    return tuple(Parameter(p.name, _kind(p.name, hints.get(p.name)), p.default is not p.empty) for p in found)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except NameError:  # a name that is there for a type checker alone
        return {}


def _kind(name: str, hint: Any) -> str:
    plain = next((t for t in (get_args(hint) or (hint,)) if t in _PLAIN), None)
    if plain is None:
        return CHANNEL
    unit = split_unit(name)[1] if plain is float else ""
    return unit or _PLAIN[plain]


def bind(
    told: str, wanted: Sequence[Parameter], given: Sequence[Argument], channels: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The names of a call's channels, and its other arguments by name.

    Parameters
    ----------
    told : str
        The call, for the error line.
    wanted : sequence of Parameter
    given : sequence of Argument
    channels : sequence of str
        What channels are that the call does not name.

    Raises
    ------
    DarklungError
        One argument too many or too few, or of another kind: one line.
    """
    rest = list(given)
    named: list[str] = []
    spare = list(channels)
    for parameter in (p for p in wanted if p.kind == CHANNEL):
        if rest and isinstance(rest[0], str | Call):
            named.append(str(rest.pop(0)))
        elif len(named) < len(spare):
            named.append(spare[len(named)])
        else:
            require(parameter.optional, _lacks(told, parameter))
    options: dict[str, Any] = {}
    for parameter in (p for p in wanted if p.kind != CHANNEL):
        if not rest:
            require(parameter.optional, _lacks(told, parameter))
            continue
        options[parameter.name] = _value(told, parameter, rest.pop(0))
    takes = ", ".join(f"{split_unit(p.name)[0]} ({p.kind})" for p in wanted) or "no arguments"
    require(not rest, f"{told}: wanted {takes}; {', '.join(map(str, rest))} is too many")
    return tuple(named), options


def _lacks(told: str, parameter: Parameter) -> str:
    name = split_unit(parameter.name)[0]
    return f"{told}: {name} is missing, wanted a {parameter.kind} such as {_EXAMPLES.get(parameter.kind, '1')}"


def _value(told: str, parameter: Parameter, given: Argument) -> Any:
    """The argument as the function takes it."""
    if isinstance(given, Quantity) and given.kind == parameter.kind:
        return given.value
    if isinstance(given, int) and parameter.kind in (WHOLE, NUMBER):
        return given if parameter.kind == WHOLE else float(given)
    if (isinstance(given, float) and parameter.kind == NUMBER) or (isinstance(given, str) and parameter.kind == WORD):
        return given
    example = _EXAMPLES.get(parameter.kind, "1")
    name = split_unit(parameter.name)[0]
    raise DarklungError(f"{told}: {name}: wanted a {parameter.kind} such as {example}, got {given}")
