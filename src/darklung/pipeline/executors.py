"""Where tasks run: in this process or in several on this machine; on a cluster, `darklung.pipeline.cluster`."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from typing import Any, Protocol

from darklung.core.checks import DarklungError
from darklung.pipeline.folder import WORKERS_LOCK
from darklung.pipeline.progress import Progress
from darklung.pipeline.worker import Job, Outcome, attempt, limit_threads, pooled, start_worker


class Executor(Protocol):
    """Takes up to `slots` jobs at once; all see the same run folder, in which a job leaves its whole output or none."""

    @property
    def slots(self) -> int:
        """Jobs at once, now."""

    def submit(self, job: Job) -> None:
        """Begin a job; returns at once."""

    def wait(self) -> list[tuple[Job, Outcome]]:
        """Jobs that have ended, at least one, each with ("done" | "refused" | "failed", text)."""


Place = Callable[[int, Path, Progress], AbstractContextManager[Executor]]


def executor(workers: int, folder: Path, progress: Progress) -> AbstractContextManager[Executor]:
    """The one for so many workers, ready while the context lasts."""
    return in_this_process(progress) if workers == 1 else in_processes(workers, folder, progress)


class _Here:
    slots = 1

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def wait(self) -> list[tuple[Job, Outcome]]:
        job = self._jobs.pop()

        def tell(fraction: float, text: str = "") -> None:
            self._progress.update(job.task.name, fraction, text)

        return [(job, attempt(job, tell))]


@contextmanager
def in_this_process(progress: Progress) -> Iterator[Executor]:
    """One job after the other, with all cores."""
    restore = limit_threads(os.cpu_count() or 1)
    try:
        yield _Here(progress)
    finally:
        restore()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Keep Ctrl-C until the block has ended; processes started within never see it, since this one ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # not on Windows
        yield
        return
    resource_tracker.ensure_running()  # when it starts it lets interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Pool:
    def __init__(self, pool: ProcessPoolExecutor, slots: int) -> None:
        self.slots = slots
        self._pool = pool
        self._running: dict[Future[Outcome], Job] = {}
        self._ended: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()

    def submit(self, job: Job) -> None:
        try:
            with nullcontext() if len(_started(self._pool)) == self.slots else uninterrupted():
                future = self._pool.submit(pooled, job)
        except BrokenProcessPool as error:
            raise self._died(job) from error
        self._running[future] = job
        future.add_done_callback(self._ended.put)

    def wait(self) -> list[tuple[Job, Outcome]]:
        future = self._ended.get()
        job = self._running.pop(future)
        try:
            return [(job, future.result())]
        except BrokenProcessPool as error:
            raise self._died(job) from error

    def _died(self, job: Job) -> DarklungError:
        names = ", ".join(j.task.name for j in (job, *self._running.values()))
        return DarklungError(f"a worker process died (out of memory?) during {names}; run again to go on")


def _started(pool: ProcessPoolExecutor) -> dict[int, Any]:
    """Its processes so far; it starts them one by one as jobs come."""
    return getattr(pool, "_processes", None) or {}


@contextmanager
def in_processes(workers: int, folder: Path, progress: Progress) -> Iterator[Executor]:
    """Several jobs at once; leaving the context lets running ones finish, an interrupt ends them.

    New processes get this one's ``sys.path``, so what `darklung.core.seams.importable` added is found there too.
    """
    context = get_context("spawn")  # fork would copy threads of numba and torch in an unknown state
    messages = context.Queue()
    threads = max(1, (os.cpu_count() or 1) // workers)
    initial = (messages, threads, os.getpid(), str(folder / WORKERS_LOCK))
    with (
        _listening(messages, progress),
        ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker, initargs=initial) as pool,
    ):
        try:
            yield _Pool(pool, workers)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(_started(pool).values()):
                process.terminate()
            raise


@contextmanager
def _listening(messages: Any, progress: Progress) -> Iterator[None]:
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
