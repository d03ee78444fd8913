"""Retrieved signals of calibration phantoms: one row a scan, with columns of one's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.channel import dark_field_at, directed, directions_of
from darklung.core.checks import DarklungError, require
from darklung.core.types import Projections
from darklung.core.units import parse_number, parse_quantity

Row = Mapping[str, Any]
# Standard error of a median over that of the mean, for normal noise; scatter from the median absolute deviation.
_MEDIAN, _MAD = 1.2533, 1.4826


@dataclass(frozen=True)
class Measurements:
    """Rows of a series with columns ``name``, ``attenuation``, ``dark_field``, their ``_error``, and one's own.

    Parameters
    ----------
    name : str
        Of the series.
    rows : tuple of mappings
        Where there are several directions also ``dark_field_<degrees>`` of each.
    inputs : tuple of Path
        Files that they were read from.
    """

    name: str
    rows: tuple[Row, ...]
    inputs: tuple[Path, ...]

    def column(self, name: str, default: float | None = None) -> np.ndarray:
        """A column as numbers; `default` where it is missing altogether."""
        if name not in self.rows[0] and default is not None:
            return np.full(len(self.rows), default)
        return np.array([_number(row, name, number) for number, row in enumerate(self.rows, start=1)])

    def quantity(self, template: str, kind: str = "length") -> np.ndarray:
        """A length or angle of each row from a template such as ``"{diameter_um} um"``."""
        return np.array([quantity(template, row, kind) for row in self.rows])

    def directions(self) -> tuple[np.ndarray, np.ndarray]:
        """(direction,) angles [rad] and (row, direction) −ln D, from the columns ``dark_field_<degrees>``."""
        names = directed(tuple(self.rows[0]))
        require(
            len(names) >= 3,
            f"directions: wanted 3 or more columns dark_field_<degrees>, got {', '.join(names) or 'none'}; "
            "a raw series needs scans in several directions",
        )
        return np.radians(directions_of(names)), np.stack([self.column(name) for name in names], axis=1)


def quantity(template: str, row: Row, kind: str = "length") -> float:
    """A length or angle from a template such as ``"{diameter_um} um"``, columns of the row in braces."""
    return parse_quantity(filled(template, row), kind)


def filled(template: str, row: Row) -> str:
    """A template with the row's columns in place of their names in braces."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in row:
            raise DarklungError(f"{template!r}: no column {found[1]!r} in the series; known: {', '.join(row)}")
        return str(row[found[1]])

    return re.sub(r"\{(\w+)\}", value, template)


def _number(row: Row, name: str, number: int) -> float:
    if name not in row:
        raise DarklungError(f"row {number}: wanted a column {name!r}; known: {', '.join(row)}")
    try:
        return parse_number(str(row[name]))
    except DarklungError as error:
        raise DarklungError(f"row {number}: {name}: {error}") from None


def medians(maps: Projections, where: object) -> dict[str, float]:
    """Medians over valid pixels with their standard errors, of all directions and of each; `where` is told in errors."""
    require(bool(maps.valid.any()), f"{where}: no valid pixel")
    found: dict[str, float] = {}
    for name in ("attenuation", "dark_field"):
        values = getattr(maps, name)[maps.valid].astype(np.float64)
        found[name] = float(np.median(values))
        spread = _MAD * float(np.median(np.abs(values - found[name])))
        found[f"{name}_error"] = _MEDIAN * spread / np.sqrt(len(values))
    for angle, valid, values in zip(maps.directions_rad, maps.valid, maps.dark_field):
        require(bool(valid.any()), f"{where}: no valid pixel in direction {np.degrees(angle):g} deg")
        found[dark_field_at(float(angle)).name] = float(np.median(values[valid]))
    return found
