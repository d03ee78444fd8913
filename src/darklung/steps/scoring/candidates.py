"""Tables of candidates: where a program thinks lesions are, with a score each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.types import Image
from darklung.core.units import parse_number
from darklung.io.tables import read_foreign
from darklung.steps.findings import PAGE, TABLE

TABLES = (".csv", ".parquet")
CASES = ("case", "subject")
PLACES = ("z_mm", "y_mm", "x_mm")
MM = 1e-3


def is_table(path: Path) -> bool:
    """Whether a file is a table of candidates by its ending."""
    return path.is_file() and path.suffix.lower() in TABLES


def read_candidates(path: Path) -> dict[str, pd.DataFrame]:
    """Candidates of each case, ``z_mm``, ``y_mm``, ``x_mm`` and ``score`` (the higher the likelier).

    Raises
    ------
    DarklungError
        No such table, columns that are missing, or entries that are no finite numbers.
    """
    table = read_foreign(path)
    name = next((c for c in CASES if c in table.columns), "")
    missing = [c for c in (*PLACES, "score") if c not in table.columns]
    require(name != "", f"{path}: wanted a column case (or subject), got {', '.join(map(str, table.columns))}")
    require(not missing, f"{path}: column {', '.join(missing)} is missing; it has {', '.join(map(str, table.columns))}")
    numbers = table[[*PLACES, "score"]].map(_number).astype(np.float64)
    bad = ~np.isfinite(numbers.to_numpy()).all(axis=1)
    if bad.any():
        first = int(np.argmax(bad))
        raise DarklungError(f"{path}: row {first + 1}: wanted finite numbers, got {table.iloc[first].to_dict()}")
    return {str(case): rows.reset_index(drop=True) for case, rows in numbers.groupby(table[name].astype(str))}


def _number(cell: Any) -> float:
    """The number in a cell; NaN where there is none."""
    try:
        return parse_number(cell) if isinstance(cell, str) else float(cell)
    except (DarklungError, TypeError, ValueError):
        return float("nan")


def read_findings(folder: Path) -> tuple[dict[str, pd.DataFrame], set[str]]:
    """Candidates and cases of the folders that ``darklung predict`` writes, one a case, also where it found nothing."""
    if not folder.is_dir():
        return {}, set()
    places = [page.parent for page in sorted(folder.glob(f"*/{PAGE}"))]
    found: dict[str, pd.DataFrame] = {}
    for table in (place / f"{TABLE}.parquet" for place in places):
        found |= read_candidates(table) if table.is_file() else {}
    return found, {place.name for place in places}


def voxels_of(candidates: pd.DataFrame, grid: Image) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Voxel (candidate, axis) and score of those on the grid, and how many are off it.

    Places are in the labels' frame; of a radiograph z and x count.
    """
    columns = PLACES if len(grid.shape) == 3 else ("z_mm", "x_mm")
    places = candidates[list(columns)].to_numpy(dtype=np.float64) * MM
    index = np.array([grid.index_of(place) for place in places]).reshape(-1, len(columns))
    voxels = np.rint(index).astype(np.int64)
    on = ((voxels >= 0) & (voxels < grid.shape)).all(axis=1)
    return voxels[on], candidates["score"].to_numpy(dtype=np.float64)[on], int((~on).sum())
