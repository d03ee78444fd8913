"""Do what is not done yet, in order, several tasks at once; what was finished before a crash stays finished."""

from __future__ import annotations

import os
import queue
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from darklung.core.checks import DarklungError, require
from darklung.pipeline.progress import Progress
from darklung.pipeline.record import environment, read_json, write_json
from darklung.pipeline.task import Task, task_keys
from darklung.pipeline.worker import PARTIAL, RECORD, SCRATCH, attempt, limit_threads, pooled, start_worker

LOCK, WORKERS_LOCK, LOG, RUN_RECORD = ".lock", ".workers.lock", "log.txt", "run.json"


def run_tasks(
    tasks: Sequence[Task], *, folder: Path, targets: Sequence[str], workers: int | None = None, about: Mapping[str, Any]
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

    Raises
    ------
    DarklungError
        A task failed, or another process works in `folder`. What was finished before stays.
    """
    by_name = {t.name: t for t in tasks}
    keys = task_keys(tasks)
    workers = workers or os.cpu_count() or 1
    require(workers >= 1, f"workers: wanted at least 1, got {workers}")
    with claim(folder):
        needed = stale(by_name, keys, folder, targets)
        run = Run(by_name, keys, folder, needed)
        workers = max(1, min(workers, len(needed)))
        wanted = needed | reachable(by_name, targets)
        with (folder / LOG).open("a") as log, Progress(len(wanted), len(wanted) - len(needed), log=log) as progress:
            if needed:
                progress.line(f"{len(wanted) - len(needed)} of {len(wanted)} tasks are done already; {workers} worker(s)")
                (run.alone if workers == 1 else run.together)(progress, workers)
        write_run_record(tasks, keys, folder, about)
    return len(needed)


def reachable(by_name: Mapping[str, Task], targets: Sequence[str]) -> set[str]:
    """The targets and everything that they are made from."""
    found: set[str] = set()
    pending = list(targets)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += [n for names in by_name[name].inputs.values() for n in names]
    return found


def stale(by_name: Mapping[str, Task], keys: Mapping[str, str], folder: Path, targets: Sequence[str]) -> set[str]:
    """Tasks that must be computed so that every target is up to date."""
    records = {name: read_json(folder / name / RECORD) or {} for name in reachable(by_name, targets)}
    found: set[str] = set()
    pending = [t for t in targets if records[t].get("key") != keys[t]]
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        for needed in (n for names in by_name[name].inputs.values() for n in names):
            if records[needed].get("key") != keys[needed] or records[needed].get("removed"):
                pending.append(needed)
    return found


class Run:
    """The bookkeeping of one run: what is ready, what is finished, which outputs nobody needs any more."""

    def __init__(self, by_name: Mapping[str, Task], keys: Mapping[str, str], folder: Path, needed: set[str]) -> None:
        self.by_name, self.keys, self.folder = by_name, keys, folder
        # Later tasks first: an animal's chain is finished before the next one starts, which frees its raw frames.
        self.waiting = [name for name in reversed(list(by_name)) if name in needed]
        self.unfinished = set(needed)

    def _needs(self, name: str) -> set[str]:
        return {n for names in self.by_name[name].inputs.values() for n in names}

    def next_ready(self) -> str | None:
        """Take the next task whose inputs are all there; of equals, the one deepest in the flow."""
        for name in self.waiting:
            if not self._needs(name) & self.unfinished:
                self.waiting.remove(name)
                return name
        return None

    def paths(self, name: str) -> dict[str, tuple[Path, ...]]:
        """Output folders of the task's inputs."""
        return {k: tuple(self.folder / n for n in names) for k, names in self.by_name[name].inputs.items()}

    def finished(self, name: str) -> None:
        """Note a task as done and drop transient outputs that nothing left to do will read."""
        self.unfinished.discard(name)
        for needed in self._needs(name):
            if self.by_name[needed].transient and not any(needed in self._needs(n) for n in self.unfinished):
                strip(self.folder / needed)

    def alone(self, progress: Progress, workers: int) -> None:
        """Everything in this process, one after the other."""
        restore = limit_threads(os.cpu_count() or 1)
        try:
            while (name := self.next_ready()) is not None:
                started = time.perf_counter()

                def tell(fraction: float, text: str = "", name: str = name) -> None:
                    progress.update(name, fraction, text)

                outcome = attempt(self.by_name[name], self.keys[name], self.folder, self.paths(name), tell)
                self._conclude(name, outcome, started, progress)
        finally:
            restore()

    def together(self, progress: Progress, workers: int) -> None:
        """Several processes; a failure lets the running tasks finish, then stops."""
        context = get_context("spawn")  # fork would copy threads of numba and torch in an unknown state
        messages = context.Queue()
        threads = max(1, (os.cpu_count() or 1) // workers)
        initial = (messages, threads, os.getpid(), str(self.folder / WORKERS_LOCK))
        with (
            listening(messages, progress),
            ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker, initargs=initial) as pool,
        ):
            running: dict[Future, tuple[str, float]] = {}
            try:
                while True:
                    while len(running) < workers and (name := self.next_ready()) is not None:
                        call = (self.by_name[name], self.keys[name], self.folder, self.paths(name))
                        running[pool.submit(pooled, *call)] = (name, time.perf_counter())
                    if not running:
                        return
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        name, started = running.pop(future)
                        self._conclude(name, future.result(), started, progress)
            except BrokenProcessPool as error:
                names = ", ".join(n for n, _ in running.values()) or name
                raise DarklungError(f"a worker process died (out of memory?) during {names}; run again to go on") from error
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(getattr(pool, "_processes", {}).values()):
                    process.terminate()
                raise

    def _conclude(self, name: str, outcome: tuple[str, str], started: float, progress: Progress) -> None:
        kind, text = outcome
        if kind == "done":
            self.finished(name)
            progress.finish(name, time.perf_counter() - started)
            return
        if kind == "refused":
            progress.line(f"{name} refused: {text}")
            raise DarklungError(f"{name}: {text}")
        errors = self.folder / "errors" / f"{name.replace('/', '__')}.txt"
        errors.parent.mkdir(exist_ok=True)
        errors.write_text(text)
        progress.line(f"{name} failed, see {errors}")
        raise DarklungError(f"{name}: {text.strip().splitlines()[-1]} (traceback in {errors})")


@contextmanager
def listening(messages: Any, progress: Progress) -> Iterator[None]:
    """Pass the workers' progress on to the screen."""
    stop = threading.Event()

    def listen() -> None:
        while not stop.is_set():
            try:
                progress.update(*messages.get(timeout=0.2))
            except queue.Empty:
                continue

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        stop.set()
        listener.join()


def strip(place: Path) -> None:
    """Remove a transient output, keeping its record with a note."""
    record = read_json(place / RECORD)
    if record is None:
        return
    # The note comes first: a crash in between leaves an output that is computed again, never one that is half there.
    write_json(place / RECORD, {**record, "removed": True})
    for path in place.iterdir():
        if path.name != RECORD:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Lock the run folder; waits a little for workers that a killed run left behind, and clears what they left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DarklungError(f"{folder}: cannot make the run folder ({error.strerror})") from error
    with (folder / LOCK).open("a") as lock, (folder / WORKERS_LOCK).open("a") as workers_lock:
        if not _try_lock(lock, seconds=1):
            raise DarklungError(f"{folder}: another darklung process works in this folder")
        if not _try_lock(workers_lock, seconds=20):
            raise DarklungError(f"{folder}: processes of an earlier run still work in this folder")
        _unlock(workers_lock)
        shutil.rmtree(folder / PARTIAL, ignore_errors=True)
        yield
        shutil.rmtree(folder / PARTIAL, ignore_errors=True)
        scratch = folder / SCRATCH
        if scratch.exists() and not any(scratch.iterdir()):
            scratch.rmdir()


def _try_lock(file: Any, seconds: float) -> bool:
    try:
        import fcntl
    except ImportError:  # no advisory locks on this system; two runs in one folder are then the user's care
        return True
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > end:
                return False
            time.sleep(0.1)


def _unlock(file: Any) -> None:
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(file, fcntl.LOCK_UN)


def write_run_record(tasks: Sequence[Task], keys: Mapping[str, str], folder: Path, about: Mapping[str, Any]) -> None:
    """Sum up the run in ``run.json``: every task's key and cost, and the totals."""
    rows = []
    for task in tasks:
        record = read_json(folder / task.name / RECORD)
        if record and record.get("key") == keys[task.name]:
            rows.append({"task": task.name, **{k: record[k] for k in ("key", "started", "wall_s", "peak_memory_mib")}})
    write_json(
        folder / RUN_RECORD,
        {
            **about,
            "environment": environment(),
            "total_task_s": round(sum(r["wall_s"] for r in rows), 1),
            "peak_memory_mib": max((r["peak_memory_mib"] for r in rows), default=0.0),
            "tasks": rows,
        },
    )
