"""Tables of a deposit as CSV and Parquet, and their data dictionary, written and read by the same fields."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from darklung.core.checks import DarklungError, require
from darklung.core.files import make_folder, read_text, reading, write_bytes, write_text
from darklung.io.documents import validate
from darklung.io.tables import bare_cell, plain_cell
from darklung.publish.fields import Field, Row, check_rows

DICTIONARY = "data_dictionary.csv"
CSV, PARQUET = ".csv", ".parquet"
SHOWN = 20  # faults of one table that are told
_ARROW = {"integer": "int64", "number": "double", "boolean": "bool", "text": "string"}


def plain_rows(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows of plain Python values, whole numbers as int; what is not known is None."""
    return [{str(k): _plain(v) for k, v in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    if isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if value is None else str(value).replace("\r", " ") or None


def write_table(folder: Path, name: str, rows: Sequence[Row], fields: Sequence[Field]) -> list[Path]:
    """Write ``NAME.csv`` and ``NAME.parquet`` of rows that are what their fields say; no date is in them.

    Parameters
    ----------
    name : str
        With its folder, such as ``tables/units``; that of the fields.
    rows : sequence of mappings
        Plain values, see `plain_rows`.

    Raises
    ------
    DarklungError
        A line for each value that its field does not allow.
    """
    own = [f for f in fields if f.table == name]
    faults = check_rows(name, rows, own)
    require(not faults, "\n".join(faults[:SHOWN]))
    columns = [f for f in own if f.kind == "column"]
    make_folder((folder / name).parent)
    files = [folder / f"{name}{end}" for end in (CSV, PARQUET)]
    write_text(files[0], _csv_text([f.name for f in columns], ([row[f.name] for f in columns] for row in rows)))
    write_bytes(files[1], _parquet(columns, rows))
    return files


def _csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    stream = StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([plain_cell("" if v is None else str(v)) for v in row] for row in rows)
    return stream.getvalue()


def _parquet(columns: Sequence[Field], rows: Sequence[Row]) -> bytes:
    """With description and unit in the metadata of each column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = [pa.type_for_alias(_ARROW[f.type]) for f in columns]
    told = [{"description": f.description, "unit": f.unit} for f in columns]
    schema = pa.schema([pa.field(f.name, k, metadata=t) for f, k, t in zip(columns, kinds, told)])
    table = pa.table([pa.array([r[f.name] for r in rows], k) for f, k in zip(columns, kinds)], schema=schema)
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream, write_page_checksum=True)
    content: bytes = stream.getvalue().to_pybytes()
    return content


def write_dictionary(folder: Path, fields: Sequence[Field]) -> Path:
    """``data_dictionary.csv``, a line a field."""
    path = folder / DICTIONARY
    write_text(path, _csv_text(list(Field.model_fields), ([getattr(f, n) for n in Field.model_fields] for f in fields)))
    return path


def read_dictionary(folder: Path) -> tuple[Field, ...]:
    """The fields of a deposit.

    Raises
    ------
    DarklungError
        No dictionary, a line that is no field, or a field that is told twice.
    """
    path = folder / DICTIONARY
    head, rows = _read_csv(path)
    require(
        head == list(Field.model_fields),
        f"{path}: wanted the columns {', '.join(Field.model_fields)}, got {', '.join(head)}",
    )
    fields: list[Field] = []
    for number, row in enumerate(rows, start=1):
        content: dict[str, Any] = {**row, "empty": {"True": True, "False": False}.get(row["empty"], row["empty"])}
        fields.append(validate(content, Field, f"{path}: row {number}"))
    names = [(f.table, f.kind, f.name) for f in fields]
    twice = next((n for n in names if names.count(n) > 1), None)
    require(twice is None, f"{path}: {' '.join(twice or ())}: is there twice")
    return tuple(fields)


def _read_csv(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    with reading(path, "a table"):
        head, *rows = list(csv.reader(StringIO(read_text(path), newline=""))) or [[]]
    for number, row in enumerate(rows, start=1):
        require(len(row) == len(head), f"{path}: row {number}: wanted {len(head)} cells, got {len(row)}")
    return head, [dict(zip(head, map(bare_cell, row))) for row in rows]


def check_table(folder: Path, name: str, fields: Sequence[Field]) -> list[str]:
    """Everything in which the CSV and the Parquet file of a table differ from the dictionary, or from each other."""
    own = [f for f in fields if f.table == name]
    try:
        stored = _read_parquet(folder / f"{name}{PARQUET}", own)
        read = _read_typed(folder / f"{name}{CSV}", own)
    except DarklungError as error:
        return [str(error)]
    faults = check_rows(f"{name}{CSV}", read, own) + check_rows(f"{name}{PARQUET}", stored, own)
    if len(read) != len(stored):
        return [*faults, f"{name}: {len(read)} rows in {CSV}, {len(stored)} in {PARQUET}"]
    differ = (f"{name}: row {i}: {CSV} and {PARQUET} differ" for i, (a, b) in enumerate(zip(read, stored), 1) if a != b)
    return [*faults, *differ]


def _read_typed(path: Path, own: Sequence[Field]) -> list[dict[str, Any]]:
    columns = {f.name: f for f in own if f.kind == "column"}
    head, rows = _read_csv(path)
    require(bool(head), f"{path}: wanted a header")
    return [{n: columns[n].parse(text) if n in columns else text for n, text in row.items()} for row in rows]


def _read_parquet(path: Path, own: Sequence[Field]) -> list[dict[str, Any]]:
    """Rows of a Parquet file whose columns have the types and units of their fields."""
    import pyarrow.parquet as pq

    with reading(path, "a table"):
        table = pq.read_table(path, page_checksum_verification=True)
        rows: list[dict[str, Any]] = table.to_pylist()
    for f in (f for f in own if f.kind == "column" and f.name in table.schema.names):
        there = table.schema.field(f.name)
        told = {k.decode(): v.decode() for k, v in (there.metadata or {}).items()}
        right = str(there.type) == _ARROW[f.type]
        require(right, f"{path}: {f.name}: wanted {f.type}, as {DICTIONARY} says, got {there.type}")
        same = (told.get("unit"), told.get("description")) == (f.unit, f.description)
        require(same, f"{path}: {f.name}: unit or description is not that of {DICTIONARY}: {json.dumps(told)}")
    return rows
