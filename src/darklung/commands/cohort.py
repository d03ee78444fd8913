"""``darklung cohort``: the animals alone, each with phantom and truth; radiographs or a CT of the same animal on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from darklung.commands.run import run_plan, told_tasks
from darklung.core.checks import DarklungError, require
from darklung.core.files import write_bytes
from darklung.core.seams import importable
from darklung.core.units import parse_whole
from darklung.flow import chain, plugins
from darklung.flow.plan import Plan
from darklung.io.documents import validate
from darklung.io.tables import load_table
from darklung.pipeline import Owner, note_files
from darklung.pipeline.folder import plans_of
from darklung.steps import cohort, describe, radiograph
from darklung.steps.phantom import plan_animals
from darklung.study.sources import SimulatedSource
from darklung.study.study import Study, read_study

TABLES = ("cohort", "mice", "insertions")
DEFAULT: dict[str, Any] = {"from": "simulation"}


def make_cohort(
    study_file: Path | None,
    *,
    out: Path,
    changes: Mapping[str, Any] | None = None,
    radiographs: bool = False,
    ct: bool = False,
    workers: int | None = None,
    dry_run: bool = False,
) -> str:
    """Make the animals of a study and return what to print.

    Writes ``cohort``, ``mice`` and ``insertions`` as CSV and Parquet with a data dictionary each, the phantoms
    (``out/phantom/NAME/phantom.h5``) and, if wanted, ``out/radiograph/NAME`` and ``out/cases/NAME``. What is done
    already, also by ``darklung run`` in the same folder, is not made again.

    Parameters
    ----------
    study_file : Path, optional
        A study of simulated animals; without it one with all defaults.
    out : Path
    changes : mapping, optional
        ``animals`` (text: training animals, or training and held-out ones as ``"150,50"``), ``voxel`` (text with unit) and
        ``seed`` in place of the study's; None leaves them.
    radiographs, ct : bool
        Simulate one radiograph, or the whole CT scan with its reconstruction, of each animal.
    workers : int, optional
    dry_run : bool
        Tell what would be made.

    Raises
    ------
    DarklungError
        A mistake in the study, or an animal that cannot be made as asked.
    """
    owner = Owner("cohort", study_file)
    told, name, source = _study(study_file, changes or {})
    _check_shared(out, told, study_file)
    study = told.model_copy(update={"sources": {name: source}, "learning": None, "insertion": None})
    code = plugins.named(study)
    with importable(study_file.parent) if study_file and code else nullcontext():
        plugins.check_processing(study.processing)
        animals = plan_animals(source, study.seed)
        made = _plan(study, source, animals, radiographs=radiographs, ct=ct)
        if dry_run:
            return "\n".join([*plugins.told(code), told_tasks(made, out, owner), *_counts(animals)])
        computed = run_plan(made, told, folder=out, owner=owner, workers=workers)
    for table in TABLES:
        for found in sorted((out / (cohort.NAME if table == "cohort" else describe.COLLECT)).glob(f"{table}.*")):
            write_bytes(out / found.name, found.read_bytes())
            note_files(out, [found.name])
    return "\n".join([*_told(out), f"{computed} task(s) computed. Tables, phantoms and records: {out}"])


def _check_shared(out: Path, study: Study, study_file: Path | None) -> None:
    """Refuse another study than the file's in the folder of its run, whose study.yaml tells how its models are applied."""
    same = study_file is not None and study == read_study(study_file)
    taken = {"run", "train"} & set(plans_of(out))
    require(same or not taken, f"{out}: holds a run of a study as its file has it; wanted another --out for changes of it")


def _study(study_file: Path | None, changes: Mapping[str, Any]) -> tuple[Study, str, SimulatedSource]:
    """The study with what the command line changes of it (then it learns nothing); name and content of its source."""
    origin = str(study_file or "options")
    study = read_study(study_file) if study_file else Study(name="cohort", sources={"mice": SimulatedSource(**DEFAULT)})
    simulated = study.simulated()
    if len(simulated) != 1:
        raise DarklungError(f"{origin}: wanted a study with one simulated source, got {len(simulated)}")
    ((name, source),) = simulated.items()
    update: dict[str, Any] = {}
    if changes.get("animals") is not None:
        counts = str(changes["animals"]).split(",")
        try:
            numbers = dict(zip(("animals", "test_animals"), [parse_whole(c.strip(" ")) for c in counts] + [0]))
            require(len(counts) <= 2, "more than two numbers")
        except DarklungError as error:
            told = f"wanted a number, or training,held-out such as 150,50, got {changes['animals']!r}"
            raise DarklungError(f"animals: {told}") from error
        update["cohort"] = _changed(source.cohort, numbers, f"{origin}: cohort")
    if changes.get("voxel") is not None:
        update["body"] = _changed(source.body, {"voxel": changes["voxel"]}, f"{origin}: body")
    source = source.model_copy(update=update)
    seed = study.seed if changes.get("seed") is None else changes["seed"]
    made = study.model_copy(update={"seed": seed, "sources": {**study.sources, name: source}})
    return (made if made == study else made.model_copy(update={"learning": None})), name, source


def _changed(part: Any, values: Mapping[str, Any], origin: str) -> Any:
    return validate({**part.model_dump(mode="json"), **values}, type(part), origin)


def _plan(
    study: Study, source: SimulatedSource, animals: Sequence[Mapping[str, Any]], *, radiographs: bool, ct: bool
) -> Plan:
    """All tasks, and the names of those whose outputs are wanted."""
    made = chain.build(study)
    table = cohort.task(made.members)
    described = [describe.task(a["name"], a, a["site"] or study.name) for a in animals]
    shown = [radiograph.task(source, a, study.processing, study.seed) for a in animals] if radiographs else []
    animal_tasks = made.tasks if ct else [t for t in made.tasks if t.stage == "phantom"]
    tables = describe.collect_task(described)
    targets = [table.name, tables.name, *(t.name for t in shown)]
    targets += [m.task for m in made.members] if ct else []
    return Plan((table, *animal_tasks, *described, *shown, tables), tuple(targets), tuple(made.members))


def _counts(animals: Sequence[Mapping[str, Any]]) -> list[str]:
    """Animals and what is planned for them."""
    kinds = ("lesions", "shams", "mimics")
    return [f"{len(animals)} animals; " + ", ".join(f"{sum(len(a[k]) for a in animals)} {k}" for k in kinds)]


def _told(out: Path) -> list[str]:
    """One line for each split, family and site."""
    rows, mice = load_table(out / "cohort"), {m["subject"]: m for m in load_table(out / "mice")}
    lines = [f"{'split':<8}{'family':<8}{'site':<14}{'animals':>8}{'lesions':>9}{'shams':>7}{'mimics':>8}{'lung ml':>9}"]
    for split, variant, site in sorted({(r["split"], r["variant"], r["site"]) for r in rows}):
        own = [r for r in rows if (r["split"], r["variant"], r["site"]) == (split, variant, site)]
        sums = [sum(r[k] for r in own) for k in ("lesions", "shams", "mimics")]
        volume = np.mean([mice[r["subject"]]["lung_volume_ml"] for r in own])
        lines.append(f"{split:<8}{variant:<8}{site:<14}{len(own):8d}{sums[0]:9d}{sums[1]:7d}{sums[2]:8d}{volume:9.3f}")
    return lines
