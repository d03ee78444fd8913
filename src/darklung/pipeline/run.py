"""Do what is not done yet, in order, several tasks at once; what was finished before a crash stays finished."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darklung.core.checks import DarklungError, require
from darklung.core.files import write_text
from darklung.pipeline.executors import Executor, executor
from darklung.pipeline.folder import (
    LOG,
    RECORD,
    SUPERSEDED,
    Owner,
    check_folder,
    claim,
    mark,
    set_aside,
    strip,
    superseded,
    sweep,
    take_back,
    write_run_record,
)
from darklung.pipeline.keys import Identity, task_identities
from darklung.pipeline.progress import Pace, Progress
from darklung.pipeline.record import read_json
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
) -> int:
    """Bring the outputs of `targets` up to date and return how many tasks were computed.

    Parameters
    ----------
    tasks : sequence of Task
        Inputs first. A task whose record carries its present key is not computed again, and a task that nothing stale
        needs is not computed at all.
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
        moved to ``.superseded`` (and taken back if they are wanted again). Without it the folder collects what many calls
        leave.

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
    identities = task_identities(tasks)
    keys = {name: found.key for name, found in identities.items()}
    with claim(folder):
        mark(folder, owner)
        gone: list[str] = []
        if owner is not None:
            gone = set_aside(folder, by_name, owner)
            take_back(folder, keys)
        records = read_records(folder, keys)
        needed = due(by_name, keys, records, targets)
        wanted = needed | reachable(by_name, targets)
        current = {n: keys[n] for n in keys if n not in needed and n in records and records[n]["key"] == keys[n]}
        sweep(folder, [n for n in spent(by_name, wanted, needed) if n in current], current)
        workers = max(1, min(workers, len(needed)))
        pace = Pace(needed, stage_seconds(records), workers)
        with (folder / LOG).open("a") as log, Progress(len(wanted), len(wanted) - len(needed), pace, log=log) as progress:
            if gone:
                progress.line(f"no longer asked for, moved to {folder / SUPERSEDED}: {_few(gone)}")
            if needed:
                progress.line(f"{len(wanted) - len(needed)} of {len(wanted)} tasks are done already; {workers} worker(s)")
                with executor(workers, folder, progress) as here:
                    compute(Schedule(by_name, needed), by_name, identities, folder, here, progress)
        records |= read_records(folder, {n: keys[n] for n in needed})
        whole = {n: r for n, r in records.items() if r["key"] == keys[n]}
        write_run_record(folder, names=list(by_name), records=whole, about=about, owner=owner)
    return len(needed)


def stale(by_name: Mapping[str, Task], keys: Mapping[str, str], folder: Path, targets: Sequence[str]) -> set[str]:
    """Tasks that must be computed so that every target is up to date."""
    return due(by_name, keys, read_records(folder, keys), targets)


def read_records(folder: Path, keys: Mapping[str, str]) -> Records:
    """Records of these tasks in the folder, also of outputs set aside that have the present key."""
    aside = (folder / SUPERSEDED).is_dir()
    found: Records = {}
    for name, key in keys.items():
        record = read_json(folder / name / RECORD)
        if aside and (not record or record.get("key") != key):
            record = read_json(superseded(folder, name, key) / RECORD) or record
        if isinstance(record, dict) and "key" in record:
            found[name] = record
    return found


def due(
    by_name: Mapping[str, Task], keys: Mapping[str, str], records: Mapping[str, Mapping[str, Any]], targets: Sequence[str]
) -> set[str]:
    """`stale` from records that were read."""

    def current(name: str) -> bool:
        return name in records and records[name]["key"] == keys[name]

    found: set[str] = set()
    pending = [t for t in targets if not current(t)]
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
