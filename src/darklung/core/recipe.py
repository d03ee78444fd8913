"""Channels that are made of others, as text: ``contrast(dark_field, 0.8 mm)`` is read and written here alone.

A call is a name, or ``package.module:function``, and arguments in parentheses: channels (which may be calls), lengths,
angles and energies with their unit, numbers and words. What a function means is not known here (`darklung.features.recipe`).
`darklung.core.channel` reads names of channels, and comes here for calls.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from darklung.core.checks import DarklungError, require
from darklung.core.units import KINDS, parse_number, parse_quantity

# How a quantity is written: kind -> (unit, how many of it in the unit that `darklung.core.units` gives).
_WRITTEN = {"length": ("mm", 1e3), "angle": ("deg", 57.29577951308232), "energy": ("keV", 1.0)}
_CALL = re.compile(r"([A-Za-z_][\w.]*(?::[A-Za-z_]\w*)?)\((.*)\)", re.DOTALL)
_STARTS_WITH_NUMBER = re.compile(r"[+\-\u2212]?\.?[0-9]")
_NUMBER_AND_UNIT = re.compile(r"[+\-\u2212]?[0-9.]+(?:[eE][+\-]?[0-9]+)?\s*\S.*", re.DOTALL)
_DEEPEST, _LONGEST = 6, 300


@dataclass(frozen=True)
class Quantity:
    """A number with its unit: in m, rad or keV, and the kind of it (a key of `darklung.core.units.KINDS`)."""

    value: float
    kind: str

    def __str__(self) -> str:
        unit, factor = _WRITTEN[self.kind]
        return f"{self.value * factor:.6g} {unit}"


@dataclass(frozen=True)
class Call:
    """A function by its name and what it is called with; ``str(call)`` is its one way to be written."""

    function: str
    arguments: tuple[Argument, ...]

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(_text, self.arguments))})"


Argument = Call | Quantity | float | int | str


def is_call(text: str) -> bool:
    """Whether a text has the form of a call."""
    return _CALL.fullmatch(text) is not None


def parse_call(text: str, spell: Callable[[str], str] = str) -> Call:
    """The call that `text` stands for.

    Parameters
    ----------
    text : str
        Such as ``contrast(dark_field@0deg, 800um)``.
    spell : callable
        How a word is written that may be a channel's name.

    Raises
    ------
    DarklungError
        Parentheses that do not match, an empty argument, or a number with a unit that is not known.

    Examples
    --------
    >>> str(parse_call("contrast( dark_field,800 um)"))
    'contrast(dark_field, 0.8 mm)'
    """
    require(len(text) <= _LONGEST, f"channel {text[:60]!r}...: wanted at most {_LONGEST} letters")
    return _parse(text.strip(), spell, _DEEPEST)


def _parse(text: str, spell: Callable[[str], str], levels: int) -> Call:
    found = _CALL.fullmatch(text)
    if found is None:
        raise DarklungError(f"channel {text!r}: wanted function(arguments)")
    require(levels > 0, f"channel: wanted at most {_DEEPEST} calls in each other, got more")
    parts = [part.strip() for part in _split(found[2], text)]
    require(all(parts), f"channel {text!r}: an argument is empty")
    return Call(found[1], tuple(_argument(part, spell, levels - 1) for part in parts))


def _split(inner: str, text: str) -> Iterator[str]:
    """The arguments between the outer parentheses."""
    depth, start = 0, 0
    for place, letter in enumerate(inner):
        depth += (letter == "(") - (letter == ")")
        require(depth >= 0, f"channel {text!r}: parentheses do not match")
        if letter == "," and depth == 0:
            yield inner[start:place]
            start = place + 1
    require(depth == 0, f"channel {text!r}: parentheses do not match")
    yield inner[start:]


def _argument(text: str, spell: Callable[[str], str], levels: int) -> Argument:
    if is_call(text):
        call = _parse(text, spell, levels)
        word = spell(str(call))  # noise(x) is a name of its own
        return call if word == str(call) else word
    if _STARTS_WITH_NUMBER.match(text) is None:
        return spell(text)
    return _quantity(text) if _NUMBER_AND_UNIT.fullmatch(text) and not _is_number(text) else _number(text)


def _is_number(text: str) -> bool:
    try:
        parse_number(text)
    except DarklungError:
        return False
    return True


def _number(text: str) -> float | int:
    value = parse_number(text)
    return int(value) if re.fullmatch(r"[+\-\u2212]?[0-9]+", text) else value


def _quantity(text: str) -> Quantity:
    for kind in _WRITTEN:
        try:
            rounded = str(Quantity(parse_quantity(text, kind), kind))
            return Quantity(parse_quantity(rounded, kind), kind)
        except DarklungError:
            continue
    examples = ", ".join(KINDS[kind][1] for kind in _WRITTEN)
    raise DarklungError(f"channel: wanted a length, angle or energy such as {examples}, got {text!r}")


def _text(argument: Argument) -> str:
    return f"{argument:.6g}" if isinstance(argument, float) else str(argument)


def file_name(name: str) -> str:
    """A channel's name as part of a file's name; names that differ stay so.

    Examples
    --------
    >>> file_name("ratio")
    'ratio'
    >>> file_name("contrast(dark_field, 0.8 mm)")
    'contrast-dark_field-0.8mm-640d75'
    """
    if re.fullmatch(r"[\w.+-]{1,60}", name):
        return name
    plain = re.sub(r"[^\w.+-]+", "-", name.replace(" ", "")).strip("-.")[:60]
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def rejoined(parts: Sequence[object]) -> list[object]:
    """Items of a list in which commas within parentheses were taken for its own: YAML reads ``[a, f(b, 1 mm)]`` so.

    Examples
    --------
    >>> rejoined(["a", "f(b", "1 mm)"])
    ['a', 'f(b, 1 mm)']
    """
    out: list[object] = []
    depth = 0
    for part in parts:
        text = str(part)
        out = [*out[:-1], f"{out[-1]}, {text}"] if depth > 0 else [*out, part]
        depth = max(depth + text.count("(") - text.count(")"), 0)
    return out
