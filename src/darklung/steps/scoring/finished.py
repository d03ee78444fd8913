"""Finished runs, read back: settings, keys, results, and the tables that their evaluation kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from darklung.core.checks import require
from darklung.evaluate.tables import ArmTables
from darklung.io.case import case_facts, case_insertions
from darklung.io.names import CASE, COMPARISON
from darklung.pipeline.artefacts import CHANGED, RUN_RECORD, require_as_written
from darklung.pipeline.contents import file_hash
from darklung.pipeline.folder import check_folder, require_up_to_date
from darklung.pipeline.record import read_json, seal_holds
from darklung.publish.columns import FLAG
from darklung.publish.dataset import IMAGES, RUN, SUMS, TABLES
from darklung.publish.sums import is_deposit, read_sums
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
    deposited: bool = False

    def _table(self, stage: str, name: str) -> pd.DataFrame | None:
        """A table of the run; in a deposit all lie together, with a flag in every row and nothing where a text was empty."""
        place = self.folder / (TABLES if self.deposited else stage) / f"{name}.parquet"
        table = pd.read_parquet(place) if place.is_file() else None
        if table is None or not self.deposited:
            return table
        texts = [c for c in table.columns if pd.api.types.is_string_dtype(table[c]) or table[c].dtype == object]
        return table.drop(columns=[FLAG]).assign(**{c: table[c].fillna("") for c in texts if c != FLAG})

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
        return {name: self._table(f"{STAGE}/{ITEM}", name) for name in KEPT}

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
        cases = self.folder / (IMAGES if self.deposited else "cases")
        for folder in sorted(f.parent for f in cases.glob(f"*/{CASE}")):
            things = sorted(json.dumps(_rounded(asdict(i))) for i in case_insertions(folder))
            seed = seeds.get(folder.name, "")
            if things or seed:
                found.setdefault(case_facts(folder).animal, []).append((folder.name, things, seed))
        return dict(found)

    def _seeds(self) -> dict[str, str]:
        table = self._table(cohort.NAME, cohort.TABLE)
        rows: list[dict[Any, Any]] = [] if table is None else table.to_dict("records")
        return {str(r["subject"]): str(r["seed"]) for r in rows if {"subject", "seed"} <= set(r)}


def open_run(folder: Path) -> FinishedRun:
    """A run that came to its comparison, or its deposit.

    Raises
    ------
    DarklungError
        One line: no run folder, one of an older format, one without results, or results that are not what was written.
    """
    deposited = is_deposit(folder)
    run = folder / RUN if deposited else folder
    about = read_json(run / RUN_RECORD)
    require(isinstance(about, dict), f"{folder}: no finished run (no {RUN_RECORD})")
    check_folder(run)
    place = run / STAGE / ITEM
    tables = folder / TABLES if deposited else place
    require_as_written(place / COMPARISON, *(tables / f"{name}.parquet" for name in KEPT))
    if deposited:
        _require_listed(folder, [place / COMPARISON, *(tables / f"{name}.parquet" for name in KEPT)])
    comparison = read_json(place / COMPARISON)
    done = isinstance(comparison, dict) and "study" in about and (tables / "units.parquet").is_file()
    require(done, f"{folder}: no finished run; wanted {STAGE}/{ITEM} with {COMPARISON} and units.parquet")
    _check_record(about, run / RUN_RECORD)
    require_up_to_date(run, f"{STAGE}/{ITEM}")
    require(seal_holds(run / RUN_RECORD), f"{run / RUN_RECORD}: {CHANGED}; darklung verify tells more")
    if deposited:
        tells = (folder / IMAGES).glob(f"*/{CASE}")  # with the table of the cohort: whose each case is
        _require_listed(folder, [run / RUN_RECORD, tables / f"{cohort.TABLE}.parquet", *tells])
    return FinishedRun(folder, about, comparison, deposited)


def _check_record(about: Mapping[str, Any], file: Path) -> None:
    """Refuse a record of a run of another form: that of a deposit is a stranger's."""
    parts = (about["study"], about.get("environment", {}))
    tasks = about.get("tasks", [])
    rows = isinstance(tasks, list) and all(isinstance(row, dict) and {"task", "key"} <= set(row) for row in tasks)
    formed = rows and all(isinstance(part, dict) for part in parts)
    require(formed, f"{file}: wanted a study, an environment and tasks with their keys")


def _require_listed(folder: Path, files: Sequence[Path]) -> None:
    """Refuse files of a deposit that are not what its checksums tell."""
    sums = read_sums(folder)
    for file in (f for f in files if f.is_file()):
        require(sums.get(file) == file_hash(file), f"{file}: is not what {SUMS} tells; darklung verify tells more")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, (list, tuple)):
        return [_rounded(v) for v in value]
    return {k: _rounded(v) for k, v in value.items()} if isinstance(value, dict) else value
