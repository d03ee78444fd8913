"""Transforms of a subject's sections in one JSON file, and the strict reader; points of landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, check_one_of, require
from darklung.core.files import read_object
from darklung.io.documents import Document, validate
from darklung.io.tables import read_rows, save_json
from darklung.register.transform import Bending, PlaneMap, as_plain

FORMAT = 1
Three = tuple[float, float, float]
COLUMNS = ("section", "row_mm", "col_mm", "z_mm", "y_mm", "x_mm")
USES = ("fit", "check")


class _Bent(Document):
    origin_m: tuple[float, float]
    spacing_m: float
    coefficients_m: tuple[tuple[tuple[float, float], ...], ...]


class _Placed(Document):
    section: str
    frame: str
    centre_m: Three
    along: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    bending: _Bent | None
    covariance: tuple[tuple[float, ...], ...]
    rest_m: float


class _Stored(Document):
    darklung_registration: Literal[1]
    sections: tuple[_Placed, ...]


def save_maps(path: Path, maps: Sequence[PlaneMap]) -> None:
    """Write the maps of a subject, whole or not at all."""
    save_json(path, {"darklung_registration": FORMAT, "sections": [as_plain(m) for m in maps]})


def load_maps(path: Path) -> dict[str, PlaneMap]:
    """Maps by the name of their section.

    Raises
    ------
    DarklungError
        One line: no such file, another format, an unknown key, numbers of another shape, a section twice.
    """
    content = read_object(path)
    version = content.get("darklung_registration")
    require(version == FORMAT, f"{path}: wanted a registration, darklung_registration: {FORMAT}, got {version!r}")
    stored: _Stored = validate(content, _Stored, str(path))
    names = [one.section for one in stored.sections]
    require(len(set(names)) == len(names), f"{path}: sections: wanted each once, got {', '.join(names)}")
    try:
        return {one.section: _map(one) for one in stored.sections}
    except DarklungError as error:
        raise DarklungError(f"{path}: {error}") from None


def _map(one: _Placed) -> PlaneMap:
    lengths = {len(row) for row in one.covariance}
    require(lengths == {9} and len(one.covariance) == 9, f"{one.section}: covariance: wanted 9 × 9 numbers")
    return PlaneMap(
        one.section,
        one.frame,
        np.asarray(one.centre_m),
        np.asarray(one.along),
        None if one.bending is None else _bending(one.section, one.bending),
        np.asarray(one.covariance),
        one.rest_m,
    )


def _bending(section: str, bent: _Bent) -> Bending:
    lengths = {len(row) for row in bent.coefficients_m}
    require(len(lengths) == 1, f"{section}: bending: wanted rows of one length, got {sorted(lengths)}")
    return Bending(bent.origin_m, bent.spacing_m, np.asarray(bent.coefficients_m, dtype=np.float64))


@dataclass(frozen=True)
class Landmarks:
    """Points seen in a section and in the volume.

    Parameters
    ----------
    points_m : (mark, 2)
        In the picture, as its file has it, from its middle.
    places_m : (mark, 3)
        In the volume's frame.
    """

    points_m: NDArray[np.float64]
    places_m: NDArray[np.float64]


def read_landmarks(path: Path, known: Sequence[str]) -> dict[str, dict[str, Landmarks]]:
    """Landmarks of a table, by use and section.

    Parameters
    ----------
    path : Path
        CSV with `COLUMNS`: the section's name, rows and columns from the picture's middle and the place in the volume's
        frame, in mm; and ``use``: fit (the pose is drawn there) or check (the error is told), check where it is absent.
    known : sequence of str
        Sections.

    Raises
    ------
    DarklungError
        A column that lacks, no number, or a section or use that is not known.
    """
    rows = read_rows(path)
    lacking = [c for c in COLUMNS if c not in rows[0]]
    require(not lacking, f"{path}: wanted the columns {', '.join(COLUMNS)}; {', '.join(lacking)} lacks")
    found: dict[str, dict[str, list[list[float]]]] = {use: {} for use in USES}
    for number, row in enumerate(rows, start=2):
        check_one_of(f"{path}: row {number}: section", row["section"], known)
        use = check_one_of(f"{path}: row {number}: use", row.get("use") or "check", USES)
        found[use].setdefault(row["section"], []).append([_number(path, number, row, c) for c in COLUMNS[1:]])
    return {use: {name: _marks(values) for name, values in own.items()} for use, own in found.items()}


def _number(path: Path, number: int, row: dict[str, Any], column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = np.nan
    require(bool(np.isfinite(value)), f"{path}: row {number}: {column}: wanted a number in mm, got {row[column]!r}")
    return 1e-3 * value


def _marks(values: list[list[float]]) -> Landmarks:
    array = np.asarray(values)
    return Landmarks(array[:, :2], array[:, 2:])
