"""Tables as CSV (for people) and Parquet (for programs), with one data dictionary."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklung.core.checks import DarklungError, printable, require
from darklung.core.files import read_text, reading, whole, write_text

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]
DIGITS = 12  # of numbers in the CSV file: 3.3 mm and not 3.299999999999999, which came from metres
# A cell that starts so is a formula to a spreadsheet, in some languages also with the wide signs.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def save_table(path: Path, rows: Sequence[Row], meanings: Mapping[str, str]) -> list[str]:
    """Write `rows` as ``path.csv`` and ``path.parquet`` with ``path.dictionary.csv`` (column, type, meaning).

    Numbers of double precision have `DIGITS` digits in the CSV file and all of them in the Parquet file.

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
    texts = [c for c in frame.columns if frame[c].dtype.kind not in "biuf"]
    doubles = {c: frame[c].map(_rounded) for c in frame.columns if frame[c].dtype == "float64"}
    plain = frame.assign(**{c: frame[c].map(plain_cell) for c in texts}, **doubles).rename(columns=plain_cell)
    with whole(path.with_suffix(".csv")) as partial:
        plain.to_csv(partial, index=False)
    with whole(path.with_suffix(".parquet")) as partial:
        frame.to_parquet(partial, index=False, write_page_checksum=True)
    with whole(path.with_suffix(".dictionary.csv")) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["column", "type", "meaning"])
        writer.writerows([c, str(frame[c].dtype), meanings[c]] for c in frame.columns)
    return [path.with_suffix(end).name for end in (".csv", ".parquet", ".dictionary.csv")]


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def read_foreign(path: Path) -> pd.DataFrame:
    """A table of another program: CSV, whose cells stay text, or Parquet; it may have no rows.

    Raises
    ------
    DarklungError
        As `read_rows`; a column named twice.
    """
    import pandas

    if path.suffix.lower() == ".csv":
        names, rows = _cells(path)
        return pandas.DataFrame(rows, columns=names, dtype=str)
    with reading(path, "a table"):
        found = pandas.read_parquet(path)
    _check_names(path, list(map(str, found.columns)))
    return found


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV table of the user's, as text; a byte order mark and spaces around the columns' names do not count.

    Raises
    ------
    DarklungError
        No such file, no text, no rows, a column named twice, or a row with another number of cells than the header.
    """
    names, rows = _cells(path)
    require(bool(rows), f"{path}: wanted a header and at least one row")
    return [dict(zip(names, row)) for row in rows]


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, and the cells of each row."""
    text = read_text(path)
    with reading(path, "a table"):
        head, *rows = [r for r in csv.reader(StringIO(text, newline="")) if r] or [[]]
    names = [name.strip() for name in head]
    require(bool(names), f"{path}: wanted a header and at least one row")
    _check_names(path, names)
    for number, row in enumerate([names, *rows], start=1):
        require(all(printable(cell) == cell for cell in row), f"{path}: row {number}: a control character in a cell")
        told = f"{path}: row {number}: wanted {len(names)} cells as in the header, got {len(row)}"
        require(len(row) == len(names), told)
    return names, [list(map(bare_cell, row)) for row in rows]


def _check_names(path: Path, names: Sequence[str]) -> None:
    twice = sorted({n for n in names if names.count(n) > 1})
    require(not twice, f"{path}: two columns are named {', '.join(map(repr, twice))}")


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


def bare_cell(text: str) -> str:
    """The inverse of `plain_cell`."""
    return text[1:] if text.startswith("'") and text[1:].lstrip().startswith(_FORMULA) else text


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
