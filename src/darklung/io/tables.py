"""Tables as CSV (for people) and Parquet (for programs), with one data dictionary."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from darklung.core.checks import DarklungError, require
from darklung.core.files import read_text, reading, whole, write_text

Row = Mapping[str, Any]


def save_table(path: Path, rows: Sequence[Row], meanings: Mapping[str, str]) -> list[str]:
    """Write `rows` as ``path.csv`` and ``path.parquet`` with ``path.dictionary.csv`` (column, type, meaning).

    Returns the names of the three files. Pages of the Parquet file carry checksums, which `load_table` looks at.

    Parameters
    ----------
    path : Path
        Without ending.
    rows : sequence of mappings
        All with the same keys, in the order of the columns.
    meanings : mapping
        What each column holds, with its unit; every column needs one.
    """
    import pandas

    require(len(rows) > 0, f"{path.name}: no rows")
    missing = [c for c in rows[0] if c not in meanings]
    require(not missing, f"{path.name}: no meaning given for column(s) {', '.join(missing)}")
    frame = pandas.DataFrame(list(rows))
    with whole(path.with_suffix(".csv")) as partial:
        frame.to_csv(partial, index=False)
    with whole(path.with_suffix(".parquet")) as partial:
        frame.to_parquet(partial, index=False, write_page_checksum=True)
    with whole(path.with_suffix(".dictionary.csv")) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["column", "type", "meaning"])
        writer.writerows([c, str(frame[c].dtype), meanings[c]] for c in frame.columns)
    return [path.with_suffix(end).name for end in (".csv", ".parquet", ".dictionary.csv")]


def load_table(path: Path) -> list[dict[str, Any]]:
    """Rows of ``path.parquet``."""
    import pandas

    file = path.with_suffix(".parquet")
    require(file.exists(), f"{file}: no such table")
    with reading(file, "a table"):
        frame = pandas.read_parquet(file, page_checksum_verification=True)
    return [{str(k): _plain(v) for k, v in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value


def save_json(path: Path, value: Any) -> None:
    """Write strict JSON, whole or not at all; a NaN is refused, since other readers choke on it."""
    try:
        text = json.dumps(value, indent=1, allow_nan=False)
    except ValueError as error:
        raise DarklungError(f"{path.name}: {error}") from error
    write_text(path, text + "\n")


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV table with a header, in UTF-8 with or without a byte order mark.

    Raises
    ------
    DarklungError
        No such table, no rows, or a row with another number of columns than the header.
    """
    text = read_text(path)
    with reading(path, "a table"):
        rows = [dict(row) for row in csv.DictReader(StringIO(text, newline=""))]
    require(bool(rows), f"{path}: wanted a header and at least one row")
    for number, row in enumerate(rows, start=2):
        whole_row = None not in row and None not in row.values()
        require(whole_row, f"{path}: row {number} has another number of columns than the header")
    return rows
