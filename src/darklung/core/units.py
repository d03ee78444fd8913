"""Quantities with their unit in the text (``"70 keV"``, ``"120 um"``) become plain SI numbers (energies: keV).

One grammar for every door: a number, then a unit. No expression is computed; a number is never half read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import lru_cache

from darklung.core.checks import DarklungError, require

# What a study file may hold: kind -> (unit that the number is converted to, an example for the error line).
KINDS = {
    "length": ("m", "120 um"),
    "energy": ("keV", "70 keV"),
    "angle": ("rad", "45 deg"),
    "time": ("s", "0.4 s"),
    "voltage": ("kV", "100 kV"),
    "density": ("g/cm^3", "1.05 g/cm^3"),
}

# The least and the most of what there is of a kind (0 apart), in the unit above, far beyond what this field has.
WITHIN = {
    "length": (1e-13, 1e4),
    "energy": (1e-2, 1e4),
    "angle": (0.0, 1e4),
    "time": (1e-12, 1e10),
    "voltage": (1e-3, 1e4),
    "density": (1e-6, 1e3),
}

# How a name in the code ends: the unit of its number, and the kind of text that a file has in its place. Longest first.
SUFFIXES = {
    "_per_m": "",
    "_g_cm3": "density",
    "_kev": "energy",
    "_rad": "angle",
    "_kv": "voltage",
    "_m": "length",
    "_s": "time",
}

_MINUS = "\N{MINUS SIGN}"
_NUMBER = rf"[+\-{_MINUS}]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+\-{_MINUS}]?[0-9]+)?"
_WHOLE = re.compile(rf"[+\-{_MINUS}]?[0-9]{{1,18}}")
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*(.*?)\s*", re.DOTALL)
_FACTOR = re.compile(r"([^\W\d¹²³_]+(?:_[^\W\d¹²³_]+)*|°)(?:\^(-?[1-9])|(⁻?[¹²³]))?")
_RAISED = str.maketrans("⁻¹²³", "-123")
# Signs that a writer takes for part of a number, and what they are called.
_REFUSED = {
    ",": "a comma; write a decimal point, and no separator of thousands",
    "\N{EN DASH}": "an en dash; write a minus",
    "\N{EM DASH}": "an em dash; write a minus",
    "\N{HYPHEN}": "a typographic hyphen; write a minus",
    "\N{NON-BREAKING HYPHEN}": "a typographic hyphen; write a minus",
    "\N{FIGURE DASH}": "a figure dash; write a minus",
    "\N{SOFT HYPHEN}": "an invisible hyphen; write a minus",
    "\N{FRACTION SLASH}": "a fraction; write a decimal number",
}
_LONGEST, _SHOWN = 200, 60

Dimension = tuple[int, int, int, int, int]  # powers of m, kg, s, A, rad


def split_unit(name: str) -> tuple[str, str]:
    """``"blur_m"`` -> ``("blur", "length")``: a name without its unit, and the kind of the unit (one of `KINDS`, or "")."""
    for suffix, kind in SUFFIXES.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix), kind
    return name, ""


_PREFIXES = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "c": 1e-2, "d": 0.1, "k": 1e3,
             "M": 1e6, "G": 1e9}  # fmt: skip
_LONG = {"femto": "f", "pico": "p", "nano": "n", "micro": "u", "milli": "m", "centi": "c", "deci": "d", "kilo": "k",
         "mega": "M", "giga": "G"}  # fmt: skip
_EV = 1.602176634e-19
# Dimension, value in SI, sign, names, prefixes that are in use (an M where an m was meant is no length).
_UNITS: tuple[tuple[Dimension, float, tuple[str, ...], tuple[str, ...], str], ...] = (
    ((1, 0, 0, 0, 0), 1.0, ("m",), ("meter", "metre"), "fpnuµμmcdk"),
    ((1, 0, 0, 0, 0), 1e-10, ("Å", "\N{ANGSTROM SIGN}"), ("angstrom",), ""),
    ((1, 0, 0, 0, 0), 1e-6, (), ("micron",), ""),
    ((1, 0, 0, 0, 0), 0.0254, (), ("inch",), ""),
    ((0, 1, 0, 0, 0), 1e-3, ("g",), ("gram",), "nuµμmk"),
    ((0, 0, 1, 0, 0), 1.0, ("s", "sec"), ("second",), "fpnuµμm"),
    ((0, 0, 1, 0, 0), 60.0, ("min",), ("minute",), ""),
    ((0, 0, 1, 0, 0), 3600.0, ("h",), ("hour",), ""),
    ((0, 0, 1, 0, 0), 86400.0, ("d",), ("day",), ""),
    ((0, 0, 0, 1, 0), 1.0, ("A",), ("ampere",), "nuµμmk"),
    ((0, 0, 0, 0, 1), 1.0, ("rad",), ("radian",), "nuµμm"),
    ((0, 0, 0, 0, 1), math.pi / 180, ("deg", "°"), ("degree",), "m"),
    ((0, 0, 0, 0, 1), math.pi / 10800, ("arcmin",), ("arcminute",), ""),
    ((0, 0, 0, 0, 1), math.pi / 648000, ("arcsec",), ("arcsecond",), ""),
    ((0, 0, 0, 0, 1), 2 * math.pi, (), ("turn", "revolution"), ""),
    ((2, 1, -2, 0, 0), 1.0, ("J",), ("joule",), "fpnuµμmk"),
    ((2, 1, -2, 0, 0), _EV, ("eV",), ("electronvolt", "electron_volt"), "mkMG"),
    ((2, 1, -3, -1, 0), 1.0, ("V", "Vp"), ("volt",), "mkM"),
    ((3, 0, 0, 0, 0), 1e-3, ("l", "L"), ("liter", "litre"), "nuµμmcd"),
    ((3, 0, 0, 0, 0), 1e-6, ("cc",), (), ""),
)


def _names() -> Iterator[tuple[str, tuple[float, Dimension]]]:
    for dimension, value, signs, words, prefixes in _UNITS:
        for sign in signs:
            yield sign, (value, dimension)
            yield from ((p + sign, (value * _PREFIXES[p], dimension)) for p in prefixes if sign != "°")
        for word in words:
            long = {"": 1.0, **{name: _PREFIXES[p] for name, p in _LONG.items() if p in prefixes}}
            for name, factor in long.items():
                plural = f"{name}{word}es" if word == "inch" else f"{name}{word}s"
                yield from ((text, (value * factor, dimension)) for text in (name + word, plural))


_KNOWN: dict[str, tuple[float, Dimension]] = dict(_names())


@lru_cache(maxsize=4096)
def parse_number(text: str) -> float:
    """A finite number, and nothing else: ``"-1.5e-3"``; U+2212 is a minus.

    Raises
    ------
    DarklungError
        Anything else, ``nan`` and ``inf``, a decimal comma (named as such), or a number beyond double precision.
    """
    found = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None or found[2]:
        raise DarklungError(f"wanted a number, got {_shown(text)}{_why(text)}")
    value = float(found[1].replace(_MINUS, "-"))
    lost = value == 0 and re.search("[1-9]", re.split("[eE]", found[1])[0])
    require(math.isfinite(value) and not lost, f"wanted a number that a computer can hold, got {_shown(text)}")
    return value


def parse_whole(text: str) -> int:
    """A whole number in digits: ``"12"``, ``"-3"``; ``1e1`` and ``12.0`` are none.

    Raises
    ------
    DarklungError
        Anything else.
    """
    if not _WHOLE.fullmatch(text):
        raise DarklungError(f"wanted a whole number, got {_shown(text)}{_why(text)}")
    return int(text.replace(_MINUS, "-"))


def parse_ranges(text: str, name: str, wanted: str) -> tuple[slice, ...]:
    """``"10:90, 20:100"`` as slices, one an axis.

    Raises
    ------
    DarklungError
        Anything else than whole numbers, or a range without anything in it; with `name` and what was `wanted`.
    """
    parts = [re.fullmatch("([0-9]{1,9}):([0-9]{1,9})", part.strip(" ")) for part in text.split(",")]
    found = tuple(slice(int(p[1]), int(p[2])) for p in parts if p)
    sound = len(found) == len(parts) and all(f.start < f.stop for f in found)
    require(sound, f"{name}: wanted {wanted}, got {_shown(text)}")
    return found


@lru_cache(maxsize=4096)
def parse_quantity(text: str, kind: str) -> float:
    """Convert ``"120 um"`` to 1.2e-4 (kind ``length``).

    Parameters
    ----------
    text : str
        Number and unit, such as ``120 um``, ``−45°``, ``1.05 g/cm^3``. A number alone is refused, since its unit would have
        to be guessed.
    kind : str
        One of `KINDS`.

    Raises
    ------
    DarklungError
        No unit, unknown unit, a unit of another dimension, a number that is none (see `parse_number`), or one that is not
        `WITHIN` what there is.
    """
    unit, example = KINDS[kind]
    noun = f"{'an' if kind[0] in 'ae' else 'a'} {kind}"
    told = f"wanted {noun} such as {example!r}, got {_shown(text)}"
    found = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    require(found is not None, f"{told}{_why(text)}")
    number, given = found.groups()  # type: ignore[union-attr]
    require(given != "", f"wanted {noun} with its unit, such as {example!r}, got {_shown(text)} without a unit")
    try:
        value, (factor, dimension), (wanted, same) = parse_number(number), _unit(given), _unit(unit)
    except DarklungError as error:
        raise DarklungError(f"{told}{_why(text) or f': {error}'}") from None
    require(dimension == same, told)
    scaled = _scaled(value, factor / wanted) if 0 < factor < math.inf else math.inf
    least, most = WITHIN[kind]
    sensible = value == 0 or least <= abs(scaled) <= most
    require(sensible, f"{told}: there is none beyond {most:g} {unit}{f' or below {least:g} {unit}' if least else ''}")
    return scaled


def unit_of(text: str, kind: str) -> str:
    """The unit that a file of others tells, as `parse_quantity` reads it: words in any case (``Degrees``).

    Raises
    ------
    DarklungError
        No unit, or none of this kind.
    """
    try:
        parse_quantity(f"1 {text}", kind)
    except DarklungError:
        require(len(text) > 2, f"unit {_shown(text)} is not known")  # of signs the case matters
        text = text.lower()
        parse_quantity(f"1 {text}", kind)
    return text


def _scaled(value: float, scale: float) -> float:
    """Their product; divided by whole numbers, so that 120 um is 120/1e6, which 120 · 1e-6 is not in the last digit."""
    return value / round(1 / scale) if _is_whole(1 / scale) else value * (round(scale) if _is_whole(scale) else scale)


def _is_whole(value: float) -> bool:
    return 1 <= value < 1e16 and abs(value - round(value)) < 1e-12 * value


@lru_cache(maxsize=512)
def _unit(text: str) -> tuple[float, Dimension]:
    """Factor to SI and dimension of ``um``, ``1/cm``, ``g/cm^3``, ``mA s``: factors with whole powers."""
    value, powers = 1.0, [0, 0, 0, 0, 0]
    for below, factor in _factors(text):
        found = _FACTOR.fullmatch(factor)
        name = found[1] if found else factor
        if found is None or name not in _KNOWN:
            raise DarklungError(f"unit {_shown(name)} is not known{_meant(name)}")
        power = int(found[2] or (found[3] or "1").translate(_RAISED)) * (-1 if below else 1)
        size, dimension = _KNOWN[name]
        value *= size**power
        powers = [p + power * d for p, d in zip(powers, dimension)]
    return value, tuple(powers)  # type: ignore[return-value]


def _factors(text: str) -> Iterator[tuple[bool, str]]:
    """(whether it stands after a ``/``, factor), in order; the 1 of ``1/cm`` is left out."""
    signs_and_names = re.split(r"\s*([/*·]|\s)\s*", re.sub(r"\s*\*\*\s*", "^", text.replace(_MINUS, "-")))
    signs, names = ["", *signs_and_names[1::2]], signs_and_names[::2]
    for number, (sign, name) in enumerate(zip(signs, names)):
        if number > 0 or name not in ("", "1") or signs[1:2] != ["/"]:
            yield sign == "/", name


def _meant(name: str) -> str:
    """A hint where only the case of letters differs."""
    near = [known for known in _KNOWN if known.lower() == name.lower()]
    return f"; {' or '.join(near)} is meant?" if near else ""


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def _why(text: str) -> str:
    """Names the sign that made a number of the writer's none."""
    return next((f": {name}" for sign, name in _REFUSED.items() if sign in text), "")
