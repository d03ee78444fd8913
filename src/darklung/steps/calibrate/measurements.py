"""Retrieved signals of calibration phantoms: from a raw series, or from a table of what other software retrieved."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.channel import dark_field_at, directed, directions_of
from darklung.core.checks import DarklungError, require
from darklung.core.types import Projections
from darklung.core.units import parse_quantity
from darklung.io.description import read_raw
from darklung.io.hdf5 import load
from darklung.io.names import PROJECTIONS, item_name
from darklung.io.tables import load_table
from darklung.steps.retrieve import STAGE, raw_files

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


def read_table(source: Path) -> Measurements:
    """What other software retrieved: a CSV table, one row a scan.

    Needed are the columns ``attenuation`` (−ln T) and ``dark_field`` (−ln(V/V0)), or ``dark_field_<degrees>`` of several
    directions; optional are ``name`` and the standard errors ``attenuation_error`` and ``dark_field_error``.

    Raises
    ------
    DarklungError
        A file that cannot be read, or no rows.
    """
    return Measurements(source.stem, tuple(_table(source)), (source,))


def read_series(source: Path, out: Path) -> Measurements:
    """Medians of every scan of a raw series (YAML) that was retrieved into `out`."""
    rows = load_table(out / "scans")
    measured = [{**row, **_medians(out / STAGE / item_name(row["name"]) / PROJECTIONS)} for row in rows]
    frames = [path for raw, _ in read_raw(source) for path in raw_files(raw, source)]
    return Measurements(source.stem, tuple(measured), (source, *dict.fromkeys(frames), out / "scans.csv"))


def quantity(template: str, row: Row, kind: str = "length") -> float:
    """A length or angle from a template such as ``"{diameter_um} um"``, columns of the row in braces."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in row:
            raise DarklungError(f"{template!r}: no column {found[1]!r} in the series; known: {', '.join(row)}")
        return str(row[found[1]])

    return parse_quantity(re.sub(r"\{(\w+)\}", value, template), kind)


def _table(source: Path) -> list[dict[str, Any]]:
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            rows: list[dict[str, Any]] = [dict(row) for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise DarklungError(f"{source}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DarklungError(f"{source}: cannot be read ({error})") from error
    require(bool(rows), f"{source}: wanted a header and at least one row")
    for number, row in enumerate(rows, start=2):
        require(None not in row and None not in row.values(), f"{source}: row {number} has not as many values as the header")
        row.setdefault("name", f"row {number}")
    return rows


def _number(row: Row, name: str, number: int) -> float:
    if name not in row:
        raise DarklungError(f"row {number}: wanted a column {name!r}; known: {', '.join(row)}")
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        raise DarklungError(f"row {number}: {name}: wanted a number, got {row[name]!r}") from None
    require(bool(np.isfinite(value)), f"row {number}: {name}: wanted a finite number, got {value!r}")
    return value


def _medians(path: Path) -> dict[str, float]:
    """Medians over valid pixels with their standard errors, of all directions and of each."""
    maps = load(path, Projections)
    require(bool(maps.valid.any()), f"{path}: no valid pixel")
    found: dict[str, float] = {}
    for name in ("attenuation", "dark_field"):
        values = getattr(maps, name)[maps.valid].astype(np.float64)
        found[name] = float(np.median(values))
        spread = _MAD * float(np.median(np.abs(values - found[name])))
        found[f"{name}_error"] = _MEDIAN * spread / np.sqrt(len(values))
    for angle, valid, values in zip(maps.directions_rad, maps.valid, maps.dark_field):
        require(bool(valid.any()), f"{path}: no valid pixel in direction {np.degrees(angle):g} deg")
        found[dark_field_at(float(angle)).name] = float(np.median(values[valid]))
    return found
