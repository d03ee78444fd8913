"""One task in one process: an empty folder in, a finished output folder out, never half of it."""

from __future__ import annotations

import os
import platform
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darklung.core.checks import DarklungError
from darklung.core.files import machine_line
from darklung.core.seams import resolve
from darklung.pipeline.artefacts import RECORD, Reading, note, outputs_of
from darklung.pipeline.folder import OLD, PARTIAL, SCRATCH, earlier_outputs, scratch_name, share_lock
from darklung.pipeline.keys import Identity
from darklung.pipeline.record import measured, sealed_text, task_record
from darklung.pipeline.task import Context, Task

Tell = Callable[[float, str], None]
Outcome = tuple[str, str]

_messages: Any = None
_lock: Any = None


def start_worker(messages: Any, threads: int, parent: int, lock_file: str) -> None:
    """Initialise a worker process: where progress goes, how many threads, and an end when the parent is gone."""
    global _messages, _lock
    _messages = messages
    limit_threads(threads)
    _lock = open(lock_file)  # noqa: SIM115  held until the process ends, see folder.claim
    share_lock(_lock)

    def watch() -> None:
        # A parent that was killed cannot tell its workers; they must not write beside the next run's.
        while os.getppid() == parent:
            time.sleep(0.3)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def limit_threads(threads: int) -> Callable[[], None]:
    """Give this process its share of the cores; returns a function that takes the limits off again.

    Linear algebra gets one thread: its sums depend on how many there are, and results must not depend on the machine's cores
    or on the number of workers. Our own kernels give the same bits for any number, and take `threads`.
    """
    from threadpoolctl import threadpool_limits

    wanted = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": str(threads)}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    limits = threadpool_limits(1)

    def restore() -> None:
        limits.restore_original_limits()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    return restore


@dataclass(frozen=True)
class Job:
    """A task with all that is needed to run it, here or elsewhere.

    Parameters
    ----------
    task, identity
    folder : Path
        The run folder.
    paths : mapping
        Name -> output folders of the task's inputs.
    """

    task: Task
    identity: Identity
    folder: Path
    paths: Mapping[str, tuple[Path, ...]]


def pooled(job: Job) -> Outcome:
    """Run a task in a worker process; returns (outcome, text), since exceptions do not all travel between processes."""

    def progress(fraction: float, text: str = "") -> None:
        _messages.put((job.task.name, float(fraction), text))

    return attempt(job, progress)


def attempt(job: Job, progress: Tell) -> Outcome:
    """Run a task: ("done", ""), ("refused", one line) for bad input, or ("failed", traceback)."""
    try:
        perform(job, progress)
    except DarklungError as error:
        return "refused", str(error)
    except Exception as error:  # noqa: BLE001  whatever a plug-in raises is reported with its traceback, and stops the run
        line = machine_line(error)
        return ("refused", line) if line else ("failed", traceback.format_exc())
    return "done", ""


def perform(job: Job, progress: Tell) -> None:
    """Call the task's function on a fresh folder, then put the folder in its place in one step."""
    task = job.task
    partial = job.folder / PARTIAL / f"{task.stage}__{task.item}.{platform.node()[:20]}.{os.getpid()}"
    scratch = job.folder / SCRATCH / scratch_name(task.name, job.identity.key)
    # Left by nobody: the run cleared the folder when it claimed it, and this process runs a task once.
    partial.mkdir(parents=True)
    scratch.mkdir(parents=True, exist_ok=True)
    function = resolve(f"task {task.name}", task.function, {})
    started = time.time()
    reading = Reading((*task.files.values(), *task.data))
    job.identity.require_unchanged()
    with measured() as cost, reading:
        earlier = earlier_outputs(job.folder, task.name, job.identity.surroundings)
        function(Context(partial, scratch, job.paths, task.parameters, task.files, progress, earlier))
        outputs = note(outputs_of(partial), threads=_threads())
    job.identity.require_unchanged()
    inputs = {k: list(v) for k, v in task.inputs.items()}
    record = task_record(
        key=job.identity.key,
        inputs=inputs,
        made_from=job.identity.inputs,
        parameters=task.parameters,
        cost=cost,
        started=started,
        reads=reading.notes(),
        outputs=outputs,
    )
    # Nobody reads the folder before it is published, so that its record need not appear in one step of its own.
    (partial / RECORD).write_text(sealed_text(record), encoding="utf-8")
    publish(partial, job.folder / task.stage / task.item)
    remove(scratch)


def _threads() -> int:
    """This process's share of the cores, as `limit_threads` gave it."""
    return int(os.environ.get("NUMBA_NUM_THREADS", "1"))


def publish(partial: Path, place: Path) -> None:
    """Move a finished folder to its place, replacing an older one."""
    try:
        os.replace(partial, place)
    except OSError:  # the first of its stage, or not the first of its name; rare, so not looked for before
        place.parent.mkdir(parents=True, exist_ok=True)
        old = partial.parent / OLD / place.parent.name / place.name  # `claim` knows it
        if place.exists():
            old.parent.mkdir(parents=True, exist_ok=True)
            os.replace(place, old)
        os.replace(partial, place)
        shutil.rmtree(old, ignore_errors=True)


def remove(folder: Path) -> None:
    """Remove a folder, most often an empty one."""
    try:
        folder.rmdir()
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
