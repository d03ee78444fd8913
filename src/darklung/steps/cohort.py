"""The cohort as a table with a data dictionary: one row a case, known before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from darklung.io.tables import load_table, save_table
from darklung.phantom.cohort import TABLE_COLUMNS
from darklung.pipeline import Context, Task
from darklung.steps.members import Member

STAGE, ITEM, TABLE = "cohort", "all", "cohort"
NAME = f"{STAGE}/{ITEM}"
COUNTS = ("lesions", "shams", "mimics")
COLUMNS = {
    **TABLE_COLUMNS,
    "subject": "name of the case",
    "split": "train (divided further by animal), test (held out), or predict (no labels)",
    "synthetic_flag": "true: the animal is simulated, or what is labelled was put into a measured scan",
    "animal": "animal; folds and intervals go by it",
    "source": "source of the study that the case belongs to",
    "time_point": "of several scans of one animal",
}


def task(members: Sequence[Member]) -> Task:
    """The table of a study's cases; what only simulated animals have is empty for others."""
    rows = [{**m.row, "subject": m.item, "animal": m.animal, "split": m.use} for m in members]
    parameters = {"rows": [{name: row.get(name, _nothing(name)) for name in COLUMNS} for row in rows]}
    return Task(STAGE, ITEM, "darklung.steps.cohort:write_cohort", parameters)


def _nothing(name: str) -> Any:
    return False if name == "synthetic_flag" else None if name in COUNTS else ""


def write_cohort(context: Context) -> None:
    """``cohort.csv``, ``cohort.parquet`` and ``cohort.dictionary.csv``."""
    rows = context.parameters["rows"]
    if any(row["seed"] == "" for row in rows):
        rows = [{**row, "seed": str(row["seed"])} for row in rows]
    save_table(context.out / TABLE, rows, COLUMNS)


def trained_cases(run: Path) -> frozenset[str]:
    """Cases of a run that its table of the cohort gives to training; none where there is no such table."""
    place = run / NAME / TABLE
    rows = load_table(place) if place.with_suffix(".parquet").is_file() else []
    return frozenset(str(row["subject"]) for row in rows if row.get("split") == "train")
