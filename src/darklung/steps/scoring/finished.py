"""Finished runs, read back: settings, keys, results, and the tables that their evaluation kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from darklung.core.checks import require
from darklung.evaluate.tables import ArmTables
from darklung.io.case import case_facts, case_insertions
from darklung.io.names import CASE, COMPARISON
from darklung.pipeline.artefacts import RUN_RECORD, require_as_written
from darklung.pipeline.folder import check_folder
from darklung.pipeline.record import read_json
from darklung.report.records import flatten
from darklung.steps import cohort
from darklung.steps.evaluate import ITEM, STAGE

DIGITS = 9  # of the places and sizes [m] by which animals are recognised
KEPT = ("units", "overlap", "candidates", "lesions")  # tables of the evaluation
NOT_COMPARED = ("name",)  # of the study, which says nothing of what was done


@dataclass(frozen=True)
class FinishedRun:
    """A run with results; see `open_run`."""

    folder: Path
    about: Mapping[str, Any]
    comparison: Mapping[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting of the study by its dotted name."""
        study = {k: v for k, v in self.about.get("study", {}).items() if k not in NOT_COMPARED}
        return {name: value for name, value in flatten(study) if value != {}}

    @property
    def environment(self) -> dict[str, Any]:
        """Versions and machine by dotted names."""
        return dict(flatten(self.about.get("environment", {})))

    @property
    def keys(self) -> dict[str, str]:
        """Task -> key."""
        return {row["task"]: row["key"] for row in self.about.get("tasks", ())}

    @cached_property
    def _tables(self) -> dict[str, pd.DataFrame | None]:
        place = self.folder / STAGE / ITEM
        files = {name: place / f"{name}.parquet" for name in KEPT}
        return {name: pd.read_parquet(file) if file.is_file() else None for name, file in files.items()}

    def tables(self, split: str, arm: str) -> ArmTables:
        """Tables of an arm; no Dice where the overlap of single animals was not kept, no FROC without candidates."""
        units, overlap, candidates, lesions = (self._of(self._tables[name], split, arm) for name in KEPT)
        if candidates is None or lesions is None or not len(lesions):
            candidates = lesions = None
        if overlap is not None and len(overlap):
            return ArmTables(units, overlap, candidates, lesions)
        subjects = pd.DataFrame({"subject": sorted(set(units["subject"]))})
        return ArmTables(units, subjects.assign(predicted=0, true=0, overlap=0), candidates, lesions, outlined=False)

    @staticmethod
    def _of(table: pd.DataFrame | None, split: str, arm: str) -> Any:
        if table is None:
            return None
        return table[(table["split"] == split) & (table["arm"] == arm)].drop(columns=["split", "arm"]).reset_index(drop=True)

    @cached_property
    def animals(self) -> dict[str, Any]:
        """What each animal is known by: its cases' insertions with their places, and its seed if it was simulated.

        An animal without any of both is nobody: its name alone does not say that two are one.
        """
        seeds = self._seeds()
        found: dict[str, list[Any]] = {}
        for folder in sorted(f.parent for f in (self.folder / "cases").glob(f"*/{CASE}")):
            things = sorted(json.dumps(_rounded(asdict(i))) for i in case_insertions(folder))
            seed = seeds.get(folder.name, "")
            if things or seed:
                found.setdefault(case_facts(folder).animal, []).append((folder.name, things, seed))
        return dict(found)

    def _seeds(self) -> dict[str, str]:
        table = self.folder / cohort.NAME / f"{cohort.TABLE}.parquet"
        if not table.is_file():
            return {}
        rows = pd.read_parquet(table)
        return {str(r["subject"]): str(r["seed"]) for r in rows.to_dict("records") if {"subject", "seed"} <= set(r)}


def open_run(folder: Path) -> FinishedRun:
    """A run that came to its comparison.

    Raises
    ------
    DarklungError
        One line: no run folder, one of an older format, one without results, or results that are not what was written.
    """
    about = read_json(folder / RUN_RECORD)
    require(isinstance(about, dict), f"{folder}: no finished run (no {RUN_RECORD})")
    check_folder(folder)
    place = folder / STAGE / ITEM
    require_as_written(place / COMPARISON, *(place / f"{name}.parquet" for name in KEPT))
    comparison = read_json(place / COMPARISON)
    done = isinstance(comparison, dict) and "study" in about and (place / "units.parquet").is_file()
    require(done, f"{folder}: no finished run; wanted {STAGE}/{ITEM} with {COMPARISON} and units.parquet")
    return FinishedRun(folder, about, comparison)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, (list, tuple)):
        return [_rounded(v) for v in value]
    return {k: _rounded(v) for k, v in value.items()} if isinstance(value, dict) else value
