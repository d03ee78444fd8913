"""Quantities with their unit in the text (``"70 keV"``, ``"120 um"``) become plain SI numbers (energies: keV)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from darklung.core.checks import DarklungError

# What a study file may hold: kind -> (unit that the number is converted to, an example for the error line).
KINDS = {
    "length": ("meter", "120 um"),
    "energy": ("kiloelectron_volt", "70 keV"),
    "angle": ("radian", "45 deg"),
    "time": ("second", "0.4 s"),
    "voltage": ("kilovolt", "100 kV"),
    "density": ("gram / centimeter ** 3", "1.05 g/cm^3"),
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


def split_unit(name: str) -> tuple[str, str]:
    """``"blur_m"`` -> ``("blur", "length")``: a name without its unit, and the kind of the unit (one of `KINDS`, or "")."""
    for suffix, kind in SUFFIXES.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix), kind
    return name, ""


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint  # imported here because it takes longer to load than everything else in core

    return pint.UnitRegistry()


@lru_cache(maxsize=4096)
def parse_quantity(text: str, kind: str) -> float:
    """Convert ``"120 um"`` to 1.2e-4 (kind ``length``).

    Parameters
    ----------
    text : str
        Number and unit. A number alone is refused, since its unit would have to be guessed.
    kind : str
        One of `KINDS`.

    Raises
    ------
    DarklungError
        No unit, unknown unit, or a unit of another dimension.
    """
    unit, example = KINDS[kind]
    import pint

    try:
        quantity = _registry().Quantity(str(text))
    except (pint.errors.PintError, ValueError, TypeError, AttributeError, SyntaxError) as error:
        raise DarklungError(f"wanted a {kind} such as {example!r}, got {text!r}") from error
    if quantity.dimensionless and kind != "angle":
        raise DarklungError(f"wanted a {kind} with its unit, such as {example!r}, got {text!r} without a unit")
    if kind == "angle" and quantity.unitless:
        raise DarklungError(f"wanted a {kind} with its unit, such as {example!r}, got {text!r} without a unit")
    try:
        return float(quantity.to(unit).magnitude)
    except pint.errors.DimensionalityError as error:
        raise DarklungError(f"wanted a {kind} such as {example!r}, got {text!r}") from error
