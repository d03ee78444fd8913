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
from darklung.core.files import reading
from darklung.core.units import parse_number, parse_quantity, unit_of
from darklung.io.documents import Document, validate
from darklung.io.hdf5 import opened_hdf5, real_numbers, text_of
from darklung.io.references import check_allowed, check_found
from darklung.io.tables import read_rows

# Field of a description -> what its values are; doses have no unit.
KINDS = {"angles": "angle", "view_times": "time", "flat_times": "time", "view_doses": "", "flat_doses": ""}
_WANTED = {"angle": "deg, rad, mrad, arcmin", "time": "s, ms, min, h"}


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
    for field in KINDS:
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
    values, told = (_column(asked, resolve, name), "") if asked.table else _dataset(asked, resolve, name)
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
    if not KINDS[field]:
        return [float(v) for v in values]
    unit = _unit(told or asked.unit, KINDS[field], name)
    said = _unit(asked.unit or unit, KINDS[field], name)
    same = parse_quantity(f"1 {said}", KINDS[field]) == parse_quantity(f"1 {unit}", KINDS[field])
    require(same, f"{name}: the unit is said to be {asked.unit!r}, but the dataset's own is {told!r}")
    return [f"{float(v)!r} {unit}" for v in values]


def _unit(text: str, kind: str, name: str) -> str:
    try:
        return unit_of(text, kind)
    except DarklungError:
        raise DarklungError(f"{name}: the unit is {text!r}; wanted unit: one of {_WANTED[kind]}") from None


def _column(asked: Reading, resolve: Callable[[str], Path], name: str) -> NDArray[np.float64]:
    table = resolve(asked.table)
    require(table.is_file(), f"{name}: {table}: no such file")
    rows = read_rows(table)
    require(asked.column in rows[0], f"{name}: no column {asked.column!r} in {asked.table}; known: {', '.join(rows[0])}")
    values = []
    for number, row in enumerate(rows, start=2):
        with reading(f"{name}: row {number}: column {asked.column} of {asked.table}"):
            values.append(parse_number(row[asked.column]))
    return np.array(values)


def _dataset(asked: Reading, resolve: Callable[[str], Path], name: str) -> tuple[NDArray[np.float64], str]:
    """Values, and the unit that the dataset has."""
    path = resolve(asked.file)
    require(path.is_file(), f"{name}: {path}: no such file")
    with reading(name), opened_hdf5(path) as file:
        check_allowed(path, [asked.dataset], allowed=(), name=str(path))
        item = file.get(asked.dataset)
        require(isinstance(item, h5py.Dataset), f"{path}: no dataset {asked.dataset!r}")
        check_found(item, path, asked.dataset)
        return real_numbers(item).ravel(), text_of(item.attrs.get("units", ""))
