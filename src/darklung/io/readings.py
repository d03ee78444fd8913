"""Angles, times and doses that stand in a table or a dataset: read when the description is; it then holds plain values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from darklung.core.checks import DarklungError, check_finite, require
from darklung.io.documents import Document, validate
from darklung.io.heaps import check_heaps
from darklung.io.tables import read_rows

# Field of a description -> unit of the values where the file tells none, and those it may have, each with its factor.
_TURN = {
    "deg": 1.0,
    "degree": 1.0,
    "degrees": 1.0,
    "°": 1.0,
    "rad": 180 / np.pi,
    "radian": 180 / np.pi,
    "radians": 180 / np.pi,
}
_CLOCK = {"s": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0}
UNITS: dict[str, tuple[str, dict[str, float]]] = {
    "angles": ("deg", _TURN),
    "view_times": ("s", _CLOCK),
    "flat_times": ("s", _CLOCK),
    "view_doses": ("", {}),
    "flat_doses": ("", {}),
}


class Reading(Document):
    """Values in a file: a `column` of a CSV `table`, or a `dataset` of an HDF5 `file`.

    Parameters
    ----------
    unit : str
        Of angles and times; that of the dataset's ``units`` where it has some.
    each : {"view", "step"}
        What one value belongs to; of those of steps the mean of each view (or flat) is taken.
    first, count : int
        Which values to take; all by default.
    """

    table: str = ""
    column: str = ""
    file: str = ""
    dataset: str = ""
    unit: str = ""
    each: Literal["view", "step"] = "view"
    first: Annotated[int, Field(ge=0)] = 0
    count: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Any:
        if bool(self.table and self.column) == bool(self.file and self.dataset):
            raise ValueError("wanted either table and column, or file and dataset")
        return self


def read_readings(content: Any, resolve: Callable[[str], Path], origin: str) -> Any:
    """A description's content with the values themselves where it names a file for them.

    Parameters
    ----------
    resolve : text -> absolute path
    origin : str
        For error lines.
    """
    if not isinstance(content, dict):
        return content
    found = {}
    for field in UNITS:
        value = content.get(field)
        if isinstance(value, dict) and {"table", "file"} & set(value):
            asked: Reading = validate(value, Reading, f"{origin}: {field}")
            found[field] = _values(field, asked, resolve, _steps(content), f"{origin}: {field}")
    return {**content, **found}


def _steps(content: dict[str, Any]) -> int:
    """Steps of a view, as far as the description says it rightly; what is wrong with it is told later."""
    steps = content.get("steps")
    said = (steps.get("count"), steps.get("phases")) if isinstance(steps, dict) else (None, None)
    return said[0] if isinstance(said[0], int) else len(said[1]) if isinstance(said[1], list) else 0


def _values(field: str, asked: Reading, resolve: Callable[[str], Path], steps: int, name: str) -> list[Any]:
    values, unit = _column(asked, resolve, name) if asked.table else _dataset(asked, resolve, name)
    stop = len(values) if asked.count is None else asked.first + asked.count
    require(asked.first < stop <= len(values), f"{name}: wanted values {asked.first} to {stop - 1}, there are {len(values)}")
    values = values[asked.first : stop]
    check_finite(name, values)
    if asked.each == "step":
        require(steps > 0 and len(values) % steps == 0, f"{name}: {len(values)} values are no whole views of {steps} steps")
        values = values.reshape(-1, steps)
        most = float(np.ptp(values, axis=1).max())
        require(field != "angles" or most < 1e-3, f"{name}: the steps of one view differ by up to {most:g} in angle")
        values = values.mean(axis=1)
    plain, known = UNITS[field]
    if not known:
        return [float(v) for v in values]
    require(unit in known, f"{name}: the unit is {unit!r}; wanted unit: one of {', '.join(known)}")
    return [f"{float(v) * known[unit]!r} {plain}" for v in values]


def _column(asked: Reading, resolve: Callable[[str], Path], name: str) -> tuple[NDArray[np.float64], str]:
    table = resolve(asked.table)
    require(table.is_file(), f"{name}: {table}: no such file")
    rows = read_rows(table)
    require(asked.column in rows[0], f"{name}: no column {asked.column!r} in {asked.table}; known: {', '.join(rows[0])}")
    try:
        return np.array([float(row[asked.column]) for row in rows]), asked.unit
    except ValueError as error:
        raise DarklungError(f"{name}: column {asked.column} of {asked.table}: {error}") from error


def _dataset(asked: Reading, resolve: Callable[[str], Path], name: str) -> tuple[NDArray[np.float64], str]:
    path = resolve(asked.file)
    require(path.is_file(), f"{name}: {path}: no such file")
    try:
        check_heaps(path)
        with h5py.File(path, "r") as file:
            item = file.get(asked.dataset)
            require(isinstance(item, h5py.Dataset), f"{name}: {path}: no dataset {asked.dataset!r}")
            values, unit = np.asarray(item[()], dtype=np.float64).ravel(), item.attrs.get("units", "")
    except (OSError, TypeError, ValueError) as error:
        if isinstance(error, DarklungError):
            raise
        raise DarklungError(f"{name}: {path}: cannot be read ({error})") from error
    told = np.asarray(unit, dtype=object).ravel()
    text = told[0] if told.size == 1 else ""
    return values, (text.decode(errors="replace") if isinstance(text, bytes) else str(text)).strip() or asked.unit
