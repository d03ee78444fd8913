"""Do what is not done yet, in order, several tasks at once; what was finished before a crash stays finished."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from darklung.core.checks import DarklungError, require
from darklung.core.files import write_text
from darklung.pipeline.artefacts import RECORD, RUN_RECORD, Notes
from darklung.pipeline.executors import Executor, Place, executor
from darklung.pipeline.folder import (
    LOG,
    SUPERSEDED,
    Owner,
    check_folder,
    claim,
    damage_of,
    mark,
    set_aside,
    strip,
    superseded,
    sweep,
    take_back,
    write_run_record,
)
from darklung.pipeline.keys import Identity, task_identities, task_keys
from darklung.pipeline.progress import Pace, Progress
from darklung.pipeline.record import read_json, read_record
from darklung.pipeline.schedule import Schedule, reachable, spent
from darklung.pipeline.task import Task
from darklung.pipeline.worker import Job, Outcome

Records = dict[str, dict[str, Any]]


def run_tasks(
    tasks: Sequence[Task],
    *,
    folder: Path,
    targets: Sequence[str],
    workers: int | None = None,
    about: Mapping[str, Any],
    owner: Owner | None = None,
    settings: Sequence[Path] = (),
    place: Place = executor,
) -> int:
    """Bring the outputs of `targets` up to date and return how many tasks were computed.

    Parameters
    ----------
    tasks : sequence of Task
        Inputs first. A task whose record carries its present key, and whose outputs are what the record notes, is not
        computed again. Transient outputs are computed only where something stale needs them.
    folder : Path
        The run folder; made if needed, and locked while this runs.
    targets : sequence of str
        Names of the tasks whose outputs are wanted.
    workers : int, optional
        Processes; the number of cores by default. 1 works in this process.
    about : mapping
        Goes into ``run.json`` (study, parameters).
    owner : Owner, optional
        Whose the folder is. Then another study file is refused, and outputs of tasks that are no longer in the plan are
        moved to ``.superseded``, and taken back, by anybody, if they are wanted again. Without it the folder collects what
        many calls leave.
    settings : sequence of Path
        Files in which the user said what to do, beside the owner's; ``darklung verify`` tells if they were changed.
    place : callable
        ``place(workers, folder, progress)``: where tasks are computed; on this machine, or `darklung.pipeline.cluster`.

    Raises
    ------
    DarklungError
        A task failed, the folder belongs to another study or has an older format, or another process works in it. What was
        finished before stays.
    """
    by_name = {t.name: t for t in tasks}
    workers = workers or os.cpu_count() or 1
    require(workers >= 1, f"workers: wanted at least 1, got {workers}")
    check_folder(folder, owner)
    identities = task_identities(tasks, noted=_noted(folder))
    keys = {name: found.key for name, found in identities.items()}
    with claim(folder):
        mark(folder, owner)
        gone: list[str] = []
        if owner is not None:
            gone = set_aside(folder, by_name, owner)
        take_back(folder, keys)
        records, damage = read_records(folder, keys, settle=True)
        needed = due(by_name, keys, records, targets)
        wanted = needed | reachable(by_name, targets)
        current = {n: keys[n] for n in keys if n not in needed and n in records and records[n]["key"] == keys[n]}
        sweep(folder, [n for n in spent(by_name, wanted, needed) if n in current], current)
        workers = max(1, min(workers, len(needed)))
        pace = Pace(needed, stage_seconds(records), workers)
        with (folder / LOG).open("a") as log, Progress(len(wanted), len(wanted) - len(needed), pace, log=log) as progress:
            if gone:
                progress.line(f"no longer asked for, moved to {folder / SUPERSEDED}: {_few(gone)}")
            for name in sorted(needed & set(damage)):
                progress.line(f"{name}: {damage[name]}; it is computed again")
            if needed:
                with place(workers, folder, progress) as here:
                    pace.share(here.slots)
                    done = len(wanted) - len(needed)
                    progress.line(f"{done} of {len(wanted)} tasks are done already; {here.slots} worker(s)")
                    compute(Schedule(by_name, needed), by_name, identities, folder, here, progress)
        records |= read_records(folder, {n: keys[n] for n in needed})[0]
        whole = {n: r for n, r in records.items() if r["key"] == keys[n]}
        write_run_record(folder, names=list(by_name), records=whole, about=about, owner=owner, settings=settings)
    return len(needed)


def stale(tasks: Sequence[Task], folder: Path, targets: Sequence[str]) -> set[str]:
    """Tasks that must be computed so that every target is up to date."""
    keys = task_keys(tasks, noted=_noted(folder))
    return due({t.name: t for t in tasks}, keys, read_records(folder, keys)[0], targets)


def _noted(folder: Path) -> Callable[[str], Notes]:
    """What the record of a task in the folder notes of its data."""

    def reads(name: str) -> Notes:
        found: Notes = (read_record(folder / name / RECORD) or {}).get("reads", {})
        return found

    return reads


def read_records(folder: Path, keys: Mapping[str, str], *, settle: bool = False) -> tuple[Records, dict[str, str]]:
    """Records of these tasks in the folder, also of outputs set aside that have the present key.

    A record of the present key counts only if the outputs beside it are what it notes: else the task is among the damaged,
    name -> what is wrong. With `settle` the times of copied files are noted anew, so that they are read once.
    """
    if not folder.is_dir():
        return {}, {}
    aside = (folder / SUPERSEDED).is_dir()
    finished = set((read_json(folder / RUN_RECORD) or {}).get("finished", ()))
    found: Records = {}
    damage: dict[str, str] = {}
    for name, key in keys.items():
        place, record = folder / name, read_record(f"{folder}/{name}/{RECORD}")
        if aside and (not record or record["key"] != key) and (kept := read_record(superseded(folder, name, key) / RECORD)):
            place, record = superseded(folder, name, key), kept
        if record is None:
            if name in finished or os.path.isdir(place):
                damage[name] = f"{RECORD} is gone or not what was written"
            continue
        if record["key"] == key and (wrong := damage_of(place, record, settle=settle)):
            damage[name] = wrong
        else:
            found[name] = record
    return found, damage


def due(
    by_name: Mapping[str, Task], keys: Mapping[str, str], records: Mapping[str, Mapping[str, Any]], targets: Sequence[str]
) -> set[str]:
    """`stale` from records that were read."""

    def current(name: str) -> bool:
        return name in records and records[name]["key"] == keys[name]

    found: set[str] = set()
    kept = (n for n in reachable(by_name, targets) if not by_name[n].transient)
    pending = [n for n in (*targets, *kept) if not current(n)]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            needs = by_name[name].needs()
            pending += [n for n in needs if not current(n) or records[n].get("removed")]
    return found


def stage_seconds(records: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Mean time of a task of each stage, also of tasks that are due again."""
    spent: dict[str, list[float]] = {}
    for name, record in records.items():
        spent.setdefault(name.split("/")[0], []).append(float(record.get("wall_s", 0.0)))
    return {stage: sum(seconds) / len(seconds) for stage, seconds in spent.items()}


def compute(
    schedule: Schedule,
    by_name: Mapping[str, Task],
    identities: Mapping[str, Identity],
    folder: Path,
    here: Executor,
    progress: Progress,
) -> None:
    """Give the executor what is ready until nothing is left; a failure lets the running tasks finish, then stops."""
    running = 0
    while True:
        while running < here.slots and (name := schedule.next_ready()) is not None:
            paths = {k: tuple(folder / n for n in names) for k, names in by_name[name].inputs.items()}
            progress.start(name)
            here.submit(Job(by_name[name], identities[name], folder, paths))
            running += 1
        if not running:
            return
        for job, outcome in here.wait():
            running -= 1
            conclude(job, outcome, progress)
            for unneeded in schedule.finished(job.task.name):
                strip(folder / unneeded)


def conclude(job: Job, outcome: Outcome, progress: Progress) -> None:
    """Tell how a task ended.

    Raises
    ------
    DarklungError
        It was refused or failed; a traceback is in the folder ``errors``.
    """
    (kind, text), name = outcome, job.task.name
    if kind == "done":
        progress.finish(name)
        return
    if kind == "refused":
        progress.line(f"{name} refused: {text}")
        raise DarklungError(f"{name}: {text}")
    errors = job.folder / "errors" / f"{name.replace('/', '__')}.txt"
    errors.parent.mkdir(exist_ok=True)
    write_text(errors, text)
    progress.line(f"{name} failed, see {errors}")
    raise DarklungError(f"{name}: {text.strip().splitlines()[-1]} (traceback in {errors})")


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
