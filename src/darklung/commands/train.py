"""``darklung train``: the networks of a study alone, with how well each fold's does on its validation animals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import typer

from darklung.commands.run import opened, run_plan, told_tasks
from darklung.core.checks import DarklungError, check_one_of, require
from darklung.core.extras import require_extra
from darklung.flow import plugins
from darklung.flow.costs import check_networks, told_networks
from darklung.flow.plan import Plan
from darklung.learn.launch import launched
from darklung.pipeline import Owner, Task
from darklung.pipeline.record import read_json
from darklung.pipeline.schedule import reachable
from darklung.steps import training


def train_study(
    path: Path,
    *,
    out: Path | None = None,
    arms: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    workers: int | None = None,
    processes: int = 1,
    dry_run: bool = False,
) -> str:
    """Train the networks of a study and return a table to print; the cases that they need are made if they are not there.

    The folder is that of ``darklung run``, which goes on from what was trained. A training that differs from one that is
    there in having more steps alone goes on from it (docs/training.md).

    Parameters
    ----------
    path : Path
        The study file.
    out : Path, optional
        Run folder; ``runs/NAME`` by default.
    arms : sequence of str
        Keys of ``learning.arms``, with ``.boosting`` for boosted trees; all by default.
    changes : mapping, optional
        Keys of ``learning`` in place of the file's, such as ``steps``.
    workers : int, optional
    processes : int
        Share the steps of each training among so many, on this machine; trainings then follow each other. Those of torchrun
        are found by themselves, and all but the first of them compute and return nothing.
    dry_run : bool
        Tell what would be computed, and what the networks are and cost.

    Raises
    ------
    DarklungError
        A mistake in the study, no such arm, or a step that failed.
    """
    rank, size = launched()
    if max(size, processes) == 1 or dry_run:
        return _trained(path, out=out, arms=arms, changes=changes, workers=workers, dry_run=dry_run)
    require_extra("train", "torch", "sklearn")
    require(workers in (None, 1), f"workers: wanted 1 with more than one process a training, got {workers}")
    from darklung.learn import follower, ranks

    if rank:
        follower.follow_torchrun()
        raise typer.Exit
    with ranks.processes(processes):
        return _trained(path, out=out, arms=arms, changes=changes, workers=1, size=max(size, processes))


def _trained(
    path: Path,
    *,
    out: Path | None,
    arms: Sequence[str],
    changes: Mapping[str, Any] | None,
    workers: int | None,
    size: int = 1,
    dry_run: bool = False,
) -> str:
    """`train_study` in the `size` processes that there are."""
    owner = Owner("train", path)
    with opened(path, learning=changes) as (study, made):
        part = study.learning
        if part is None:
            raise DarklungError(f"{path}: learning: wanted what is to be trained, got none")
        for arm in arms:
            check_one_of("arm", arm, tuple(row.name for row in (*part.rows, *(part.flat.rows if part.flat else ()))))
        check_networks(study, part, size)
        trained = [t for t in made.tasks if t.stage == training.STAGE and (not arms or _row(t) in arms)]
        # All tasks are in the plan, so that nothing of the other arms is set aside.
        wanted = Plan(made.tasks, tuple(t.name for t in trained), made.members)
        folder = out or Path("runs") / study.name
        if dry_run:
            networks = told_networks(study, part, [a for a in arms or part.arms if a in part.arms])
            return "\n".join([*plugins.told(plugins.named(study)), *networks, told_tasks(_needed(wanted), folder, owner)])
        computed = run_plan(wanted, study, folder=folder, owner=owner, workers=workers)
    lines = [_head(), *(_told(t, folder / t.name) for t in trained)]
    lines.append(f"{computed} task(s) computed. Models and records: {folder / training.STAGE}")
    if changes:
        content = part.model_dump(mode="json", by_alias=True)
        said = ", ".join(f"{name}: {reduce(getitem, name.split('.'), content)}" for name in changes)
        lines.append(f"darklung run trains what {path} says; to keep this, write there under learning: {said}")
    return "\n".join(lines)


def _row(task: Task) -> str:
    """The arm, with its observer if that is not the network."""
    return training.Parameters.model_validate(task.parameters).row.name


def _needed(made: Plan) -> Plan:
    """The tasks that the targets need alone."""
    names = reachable({t.name: t for t in made.tasks}, made.targets)
    return Plan(tuple(t for t in made.tasks if t.name in names), made.targets, made.members)


def _head() -> str:
    return f"{'arm':<20}{'fold':>5}{'steps':>8}{'begun at':>10}{'best at':>9}{'score':>9}  {'by':<16}{'state kept':>11}"


def _told(task: Task, folder: Path) -> str:
    """One fold: its steps, where it was continued, and the score on the validation animals that its state was chosen by."""
    from darklung.learn.checkpoint import CHECKPOINT_FILE
    from darklung.learn.predict import DESCRIPTION_FILE

    about = read_json(folder / DESCRIPTION_FILE)
    chosen, begun = about["selected"], (about["continued_from"] or {"step": 0})["step"]
    score = "-" if chosen["score"] is None else f"{chosen['score']:.4f}"
    state = folder / CHECKPOINT_FILE
    kept = f"{state.stat().st_size / 2**20:.1f} MiB" if state.is_file() else "no"
    numbers = f"{about['steps_done']:8d}{begun:10d}{chosen['step']:9d}{score:>9}"
    return f"{_row(task):<20}{task.parameters['fold']:5d}{numbers}  {chosen['by']:<16}{kept:>11}"
