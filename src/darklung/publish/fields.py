"""What is in the tables and images of a deposit: the one model that both the data dictionary and the tables are written of.

A table is checked against its fields when it is written and when it is read; a field is a line of ``data_dictionary.csv``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field as Told
from pydantic import model_validator

from darklung.core.checks import require
from darklung.io.documents import Document

Kind = Literal["column", "quantity", "channel"]
Type = Literal["integer", "number", "boolean", "text"]
_BOUNDS = re.compile(r"(-?[0-9.e+-]*[0-9])?\.\.(-?[0-9.e+-]*[0-9])?")
_PLAIN = re.compile(r"[+-]?([0-9.]+([eE][+-]?[0-9]+)?|inf)|nan")
_BETWEEN, BOUND = " | ", ".."
# A dictionary may be anybody's: what it names stays in its folder.
TABLE = r"^(tables|images)/[A-Za-z0-9_][A-Za-z0-9._-]*$"
PYTHON: Mapping[str, tuple[type, ...]] = {"integer": (int,), "number": (int, float), "boolean": (bool,), "text": (str,)}


class Field(Document):
    """One line of the data dictionary: a column, a quantity of a tidy table, or a channel of images."""

    table: str = Told(pattern=TABLE, description="table without ending, or images/NAME for the images of every subject")
    kind: Kind = Told(description="column; quantity: rows of a tidy table; channel: of images")
    name: str = Told(min_length=1, description="name in the header, in the column quantity, or of the channel")
    description: str = Told(min_length=1, description="what it is")
    type: Type = Told(description="integer, number, boolean (True, False) or text")
    unit: str = Told("", description="UCUM or plain words; 1 for numbers without; empty for text")
    allowed_values: str = Told("", description="words between |, or low..high with both ends; empty: any")
    empty: bool = Told(False, description="whether a cell may be empty, where nothing is known")
    example: str = Told("", description="a value that is there")
    provenance: str = Told(min_length=1, description="where it comes from")

    @model_validator(mode="after")
    def _of_one_mind(self) -> Field:
        numbers = self.type in ("integer", "number")
        require(bool(self.unit) or not numbers, f"unit: {self.name} is a number, wanted a unit, or 1 for none")
        bounded = not isinstance(_rule(self.allowed_values), frozenset)
        require(numbers or not bounded, f"allowed_values: {self.name} is {self.type}, got bounds {self.allowed_values!r}")
        return self

    def fault(self, value: Any) -> str:
        """What is wrong with a value, or nothing; None is an empty cell.

        Examples
        --------
        >>> Field(table="tables/t", kind="column", name="n", description="d", type="integer", unit="1", allowed_values="0..",
        ...       provenance="p").fault(-1)
        'wanted 0.., got -1'
        """
        if value is None:
            return "" if self.empty else "is empty"
        right = isinstance(value, PYTHON[self.type]) and (self.type == "boolean") == isinstance(value, bool)
        if not right:
            return f"wanted {self.type}, got {value!r}"
        return "" if _allows(self.allowed_values, value) else f"wanted {self.allowed_values}, got {value!r}"

    def parse(self, text: str) -> Any:
        """The value of a CSV cell; text that is none of its type comes back as text, so that `fault` tells it."""
        if text == "":
            return None
        if self.type == "boolean":
            return {"True": True, "False": False}.get(text, text)
        if self.type == "text" or not _PLAIN.fullmatch(text):  # Python alone reads 1_000, or digits of other scripts
            return text
        try:
            return int(text) if self.type == "integer" else float(text)
        except ValueError:
            return text


def words(*allowed: object) -> str:
    """As `Field.allowed_values` tells them."""
    return _BETWEEN.join(map(str, allowed))


@lru_cache(maxsize=512)
def _rule(allowed: str) -> tuple[float, float] | frozenset[str]:
    bounds = _BOUNDS.fullmatch(allowed)
    if bounds is None:
        return frozenset(allowed.split(_BETWEEN))
    return (float(bounds[1] or -math.inf), float(bounds[2] or math.inf))


def _allows(allowed: str, value: Any) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if not allowed:
        return True
    rule = _rule(allowed)
    return str(value) in rule if isinstance(rule, frozenset) else rule[0] <= value <= rule[1]


Row = Mapping[str, Any]


def check_rows(origin: str, rows: Sequence[Row], fields: Sequence[Field]) -> list[str]:
    """Everything in a table that is not what its fields say, a line each; none where all is well."""
    columns = {f.name: f for f in fields if f.kind == "column"}
    quantities = {f.name: f for f in fields if f.kind == "quantity"}
    wrong = []
    for number, row in enumerate(rows, start=1):
        place = f"{origin}: row {number}"
        strange = [n for n in row if n not in columns]
        wrong += [f"{place}: column {n!r} is not in the data dictionary" for n in strange]
        wrong += [f"{place}: {n}: is missing, though the data dictionary has it" for n in columns if n not in row]
        faults = {n: columns[n].fault(v) for n, v in row.items() if n in columns}
        wrong += [f"{place}: {n}: {fault}" for n, fault in faults.items() if fault]
        if quantities:
            wrong += [f"{place}: {fault}" for fault in _tidy(row, quantities)]
    return wrong


def _tidy(row: Row, quantities: Mapping[str, Field]) -> list[str]:
    """Faults of a row whose value is of the quantity that it names."""
    name = str(row.get("quantity"))
    if name not in quantities:
        return [f"quantity: {name!r} is not in the data dictionary"]
    known = quantities[name]
    faults = [] if row.get("unit") == known.unit else [f"unit: wanted {known.unit} of {name}, got {row.get('unit')}"]
    fault = known.fault(row.get("value"))
    return faults + ([f"value: {fault} of {name}"] if fault else [])
