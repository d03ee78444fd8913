"""The cohort as a table with a data dictionary: one row a subject, known before anything is simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from darklung.io.tables import save_table
from darklung.pipeline import Context

Rows = list[dict[str, Any]]
COPY_COLUMNS = {
    "subject": "name of the copy of a measured lobe",
    "animal": "animal; folds and intervals go by it",
    "lobe": "measured lobe that the copy was made from",
    "seed": "seed of the insertions, shared by all copies; each draws from its own name",
    "synthetic_flag": "true: the tumours are synthetic, the maps are measured",
}


def animal_rows(animals: Sequence[Mapping[str, Any]], site: str) -> tuple[Rows, dict[str, str]]:
    """Rows of simulated animals and what their columns mean."""
    from darklung.phantom.cohort import TABLE_COLUMNS, cohort_table
    from darklung.steps.ct import subject_of

    rows = cohort_table([subject_of(animal) for animal in animals])
    meanings = {
        "animal": "animal; folds and intervals go by it",
        **TABLE_COLUMNS,
    }
    return [{**row, "animal": row["subject"], "site": row["site"] or site} for row in rows], meanings


def copy_rows(copies: Sequence[Mapping[str, Any]]) -> tuple[Rows, dict[str, str]]:
    """Rows of copies of measured lobes and what their columns mean."""
    rows = [{"subject": c["name"], **{k: c[k] for k in ("animal", "lobe", "seed")}, "synthetic_flag": True} for c in copies]
    return rows, COPY_COLUMNS


def write_cohort(context: Context) -> None:
    """``cohort.csv``, ``cohort.parquet`` and ``cohort.dictionary.csv``."""
    save_table(context.out / "cohort", context.parameters["rows"], context.parameters["meanings"])
