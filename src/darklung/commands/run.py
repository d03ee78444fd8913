"""``darklung run``: read a study, do its tasks, say what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
import yaml

from darklung.commands.words import with_changes
from darklung.core.checks import require
from darklung.core.files import read_object, write_bytes, write_text
from darklung.core.screen import screen
from darklung.core.seams import importable
from darklung.evaluate.sites import site_lines
from darklung.flow import door, plugins
from darklung.flow.plan import Plan, plan
from darklung.io.documents import validate
from darklung.io.names import COMPARISON, REPORT
from darklung.pipeline import Owner, check_folder, note_files, run_tasks, stale
from darklung.pipeline.cluster import on_dask
from darklung.pipeline.executors import Place, executor
from darklung.steps import correct, evaluate, report
from darklung.study.study import Study, read_study

SETTINGS = "study.yaml"
EXECUTORS = ("local", "dask")
ACROSS = 5  # metrics beside each other, in a terminal


@dataclass(frozen=True)
class Result:
    """What a finished run leaves: the report (the folder of cases where nothing is learned), a table to print, its cost."""

    report: Path
    table: str
    computed: int


def run_study(path: Path, *, out: Path | None = None, workers: int | None = None, place: Place = executor) -> Result:
    """Run the study in `path` in the folder `out` (``runs/NAME`` by default); what is done already is kept.

    `place` is where tasks are computed: `place_of`.

    Raises
    ------
    DarklungError
        A mistake in the study file, or a stage that failed; run again to go on from there.
    """
    with opened(path) as (study, made):
        folder = out or Path("runs") / study.name
        computed = run_plan(made, study, folder=folder, owner=Owner("run", path), workers=workers, place=place)
    if study.learning is None:
        return Result(folder / "cases", f"{len(made.members)} cases", computed)
    write_bytes(folder / REPORT, (folder / report.STAGE / report.ITEM / REPORT).read_bytes())
    note_files(folder, [REPORT])
    comparison = read_object(folder / evaluate.STAGE / evaluate.ITEM / COMPARISON)
    return Result(folder / REPORT, comparison_table(comparison), computed)


def place_of(name: str, scheduler: str | None) -> Place:
    """Where tasks are computed, of the words of the command line.

    Raises
    ------
    DarklungError
        An unknown name, a scheduler that nothing would ask, or Dask is not installed.
    """
    require(name in EXECUTORS, f"executor: wanted {' or '.join(EXECUTORS)}, got {name!r}")
    require(scheduler is None or name == "dask", f"scheduler {scheduler}: wanted --executor dask with it, got {name}")
    return on_dask(scheduler) if name == "dask" else executor


def list_tasks(path: Path, *, out: Path | None = None) -> str:
    """Check a study and list its tasks, each done or to do."""
    with opened(path) as (study, made):
        tasks = told_tasks(made, out or Path("runs") / study.name, Owner("run", path))
        return "\n".join([*plugins.told(plugins.named(study)), tasks])


@contextmanager
def opened(path: Path, *, learning: Mapping[str, Any] | None = None) -> Iterator[tuple[Study, Plan]]:
    """A study and its tasks, checked; modules beside the file can be imported meanwhile, if it names plug-ins.

    `learning` are keys of that part in place of the file's; with points those of parts in it, ``training.learning_rate``.
    """
    study = read_study(path)
    if learning and study.learning is not None:
        content = resolved(study)
        study = validate({**content, "learning": with_changes(content["learning"], learning)}, Study, str(path))
    with importable(path.parent) if plugins.named(study) else nullcontext():
        made = plan(study)
        door.check(study, made)
        for note in door.notes(study):
            typer.echo(note, file=screen())
        yield study, made


def run_plan(made: Plan, study: Study, *, folder: Path, owner: Owner, workers: int | None, place: Place = executor) -> int:
    """Bring a plan's targets up to date in `folder`; returns how many tasks were computed."""
    about = {"name": study.name, "seed": study.seed, "study": resolved(study)}
    told: dict[str, Any] = {"about": about, "owner": owner}
    computed = run_tasks(made.tasks, folder=folder, targets=made.targets, workers=workers, place=place, **told)
    write_resolved(study, folder / SETTINGS)
    note_files(folder, [SETTINGS])
    return computed


def told_tasks(made: Plan, folder: Path, owner: Owner) -> str:
    """One line a task, done or to do.

    Raises
    ------
    DarklungError
        The folder cannot be used: it belongs to another study, or has an older format.
    """
    check_folder(folder, owner)
    needed = stale(made.tasks, folder, made.targets)
    lines = [f"{'to do' if t.name in needed else 'done ':<6} {t.name}" for t in made.tasks]
    corrected = [t for t in made.tasks if t.stage == correct.STAGE]
    used = dict.fromkeys(f"correction: {line}" for t in corrected for line in correct.ready(json.dumps(t.parameters)).told())
    return "\n".join([*lines, *used, f"{len(needed)} of {len(made.tasks)} tasks to do in {folder}"])


def resolved(study: Study) -> dict[str, Any]:
    """The study with every default written out, as a study file has it."""
    return study.model_dump(mode="json", by_alias=True)


def write_resolved(study: Study, path: Path) -> None:
    """The same as a file, which is a study file itself."""
    write_text(path, yaml.safe_dump(resolved(study), sort_keys=False, allow_unicode=True))


def comparison_table(comparison: dict) -> str:
    """The arms' metrics with their intervals, as text."""
    names = list(comparison["metrics"])
    groups = [names[start : start + ACROSS] for start in range(0, len(names), ACROSS)]
    lines = []
    for split in comparison["splits"]:
        results = comparison["results"].get(split)
        if not results:
            continue
        n = next(iter(results.values()))["n"]
        lines += ["", f"{split}: {n['subjects']} animals, {n['positives']} positive and {n['negatives']} negative tiles"]
        width = max(16, *(len(arm) + 1 for arm in comparison["arms"]))
        for group in groups:
            lines.append(f"{'arm':<{width}}" + "".join(f"{name:>24}" for name in group))
            for arm in comparison["arms"]:
                metrics = results[arm]["metrics"]
                lines.append(f"{arm:<{width}}" + "".join(f"{_interval(metrics[name]):>24}" for name in group))
    return "\n".join([*lines, *site_lines(comparison)]).strip()


def _interval(metric: dict) -> str:
    if metric["value"] is None:
        return "-"
    if metric["low"] is None:
        return f"{metric['value']:.3f}"
    return f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"
