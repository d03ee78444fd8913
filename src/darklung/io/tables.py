"""Tables as CSV (for people) and Parquet (for programs), with one data dictionary."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darklung.core.checks import DarklungError, printable, require

Row = Mapping[str, Any]
# A cell that starts so is a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@")


def save_table(path: Path, rows: Sequence[Row], meanings: Mapping[str, str]) -> None:
    """Write `rows` as ``path.csv`` and ``path.parquet`` with ``path.dictionary.csv`` (column, type, meaning).

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
    texts = [c for c in frame.columns if frame[c].dtype.kind not in "biuf"]
    plain = frame.assign(**{c: frame[c].map(plain_cell) for c in texts}).rename(columns=plain_cell)
    plain.to_csv(path.with_suffix(".csv"), index=False)
    frame.to_parquet(path.with_suffix(".parquet"), index=False)
    with path.with_suffix(".dictionary.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["column", "type", "meaning"])
        writer.writerows([c, str(frame[c].dtype), meanings[c]] for c in frame.columns)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV table of the user's, as text; a byte order mark and spaces around the columns' names do not count.

    Raises
    ------
    DarklungError
        No such file, no text, no rows, a column named twice, or a row with another number of cells than the header.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head, *rows = [r for r in csv.reader(file) if r] or [[]]
    except FileNotFoundError:
        raise DarklungError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DarklungError(f"{path}: cannot be read ({error})") from error
    names = [name.strip() for name in head]
    require(bool(names and rows), f"{path}: wanted a header and at least one row")
    twice = sorted({n for n in names if names.count(n) > 1})
    require(not twice, f"{path}: two columns are named {', '.join(map(repr, twice))}")
    for number, row in enumerate([names, *rows], start=1):
        require(all(printable(cell) == cell for cell in row), f"{path}: row {number}: a control character in a cell")
        told = f"{path}: row {number}: wanted {len(names)} cells as in the header, got {len(row)}"
        require(len(row) == len(names), told)
    return [dict(zip(names, map(_bare_cell, row))) for row in rows]


def plain_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: text that would be one begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    value = value.replace("\r", " ")  # which would end the row
    if not value.lstrip().startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def _bare_cell(text: str) -> str:
    """The inverse of `plain_cell`."""
    return text[1:] if text.startswith("'") and text[1:].lstrip().startswith(_FORMULA) else text


def load_table(path: Path) -> list[dict[str, Any]]:
    """Rows of ``path.parquet``."""
    import pandas

    file = path.with_suffix(".parquet")
    require(file.exists(), f"{file}: no such table")
    frame = pandas.read_parquet(file)
    return [{str(k): _plain(v) for k, v in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value


def save_json(path: Path, value: Any) -> None:
    """Write strict JSON, whole or not at all; a NaN is refused, since other readers choke on it."""
    try:
        text = json.dumps(value, indent=1, allow_nan=False)
    except ValueError as error:
        raise DarklungError(f"{path.name}: {error}") from error
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text + "\n")
    os.replace(partial, path)
