"""The cohort as a table with a data dictionary: one row a subject, written before anything is simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from darklung.io.tables import save_table
from darklung.pipeline import Context

MEANINGS = {
    "subject": "name of the animal, or of the copy of a measured lobe",
    "animal": "animal; folds and intervals go by it",
    "split": "train (folds of training and validation) or test (held out)",
    "variant": "family of simulated mice",
    "site": "scanner and protocol; the study's file describes it",
    "lobe": "measured lobe that the copy was made from",
    "lesions": "lesions asked for: class and diameter; what was placed is in each case's insertions.json",
    "shams": "sham insertions asked for",
    "mimics": "mimics asked for",
    "seed": "seed of the subject, as text since it has 63 bits",
    "synthetic_flag": "animal: all simulated; tumour: measured, with synthetic tumours",
}


def animal_rows(animals: Sequence[Mapping[str, Any]], study: str) -> list[dict[str, Any]]:
    """Rows of simulated animals, from their plans."""

    def names(requests: Sequence[Mapping[str, Any]]) -> str:
        return ", ".join(f"{r['tissue'].replace('_', ' ')} {1e3 * r['diameter_m']:.2f} mm" for r in requests) or "-"

    return [
        {
            "subject": a["name"],
            "animal": a["name"],
            "split": a["split"],
            "variant": a["variant"],
            "site": study,
            **{kind: names(a[kind]) for kind in ("lesions", "shams", "mimics")},
            "seed": str(a["seed"]),
            "synthetic_flag": "animal",
        }
        for a in animals
    ]


def copy_rows(copies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of copies of measured lobes."""
    return [
        {
            "subject": c["name"],
            "animal": c["animal"],
            "lobe": c["lobe"],
            "seed": str(c["seed"]),
            "synthetic_flag": "tumour",
        }
        for c in copies
    ]


def write_cohort(context: Context) -> None:
    """``cohort.csv``, ``cohort.parquet`` and ``cohort.dictionary.csv``."""
    save_table(context.out / "cohort", context.parameters["rows"], MEANINGS)
