"""Tasks on Dask's workers: on this machine, or any whose scheduler has an address, such as SLURM's by dask-jobqueue."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from darklung.core.checks import DarklungError, require
from darklung.pipeline.child import Errand, code_of, run_errand, source_digest, strange
from darklung.pipeline.executors import Executor, Place, uninterrupted
from darklung.pipeline.progress import Progress
from darklung.pipeline.worker import Job, Outcome

GPU = "GPU"
_WAIT_S = 300  # for the first worker; a queue may take its time
_CONNECT_S = 20
# Workers that a task may lose before it counts as what kills them; Dask's own number, which its scheduler keeps.
_LOSSES = 3
_RETRIES = 2  # of a task whose own process died, such as for want of memory on one machine


def needs_dask() -> None:
    """Raise unless Dask is installed."""
    missing = [name for name in ("dask", "distributed") if find_spec(name) is None]
    require(not missing, f"executor dask: {' and '.join(missing)} cannot be imported; pip install 'darklung[cluster]'")


def on_dask(address: str | None) -> Place:
    """The executor on a scheduler's workers, for `run_tasks`.

    Parameters
    ----------
    address : str, optional
        ``tcp://HOST:PORT``, or the path of a scheduler file (``.json``). Without it workers are started on this machine.
    """
    needs_dask()

    def ready(workers: int, folder: Path, progress: Progress) -> AbstractContextManager[Executor]:
        return _on_dask(address, workers, folder.resolve(), progress)

    return ready


@contextmanager
def _on_dask(address: str | None, workers: int, folder: Path, progress: Progress) -> Iterator[Executor]:
    """Leaving the context lets running tasks finish; an interrupt ends them."""
    with _client(address, workers) as client:
        _wait_for_one(client, address)
        _check(client, folder)
        here = _Dask(client, folder, progress)
        try:
            yield here
        except KeyboardInterrupt:
            here.end()
            raise
        finally:
            here.close()


@contextmanager
def _client(address: str | None, workers: int) -> Iterator[Any]:
    distributed = _distributed()

    logging.getLogger("distributed").setLevel(logging.ERROR)  # a lost worker is told by us, in one line
    if address is None:
        with uninterrupted():  # processes started here never see Ctrl-C; this one ends them
            cluster = distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0, silence_logs=logging.ERROR
            )
        with cluster, distributed.Client(cluster, set_as_default=False) as client:
            yield client
        return
    how = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    try:
        client = distributed.Client(**how, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        line = str(error).splitlines()[0]
        raise DarklungError(f"scheduler {address}: wanted one that answers, such as tcp://HOST:8786 ({line})") from error
    with client:
        yield client


def _wait_for_one(client: Any, address: str | None) -> None:
    try:
        client.wait_for_workers(1, timeout=_WAIT_S)
    except TimeoutError:
        raise DarklungError(f"scheduler {address}: wanted a worker, got none in {_WAIT_S} s") from None


def _check(client: Any, folder: Path) -> None:
    """Raise if a worker that is there cannot work for this run; those that come later are asked before each task."""
    for worker, wrong in client.run(strange, folder, source_digest()).items():
        require(not wrong, f"worker {worker} {wrong}")


class _Dask:
    def __init__(self, client: Any, folder: Path, progress: Progress) -> None:
        self._client, self._folder, self._progress = client, folder, progress
        self._topic = f"darklung-{uuid4()}"
        self._running: dict[Any, Job] = {}
        self._begun: Counter[str] = Counter()
        self._ended: set[str] = set()
        offers = client.run_on_scheduler(_resources)
        self._gpus = any(offer.get(GPU, 0) >= 1 for offer in offers)
        client.subscribe_topic(self._topic, self._hear)

    @property
    def slots(self) -> int:
        """Tasks at once, of the workers that are there now."""
        here: int = sum(self._client.nthreads().values())
        return max(1, here)  # all may be lost for a moment; what waits is kept

    def submit(self, job: Job) -> None:
        slots: Counter[str] = Counter()
        for worker, threads in self._client.nthreads().items():
            slots[_host(worker)] += threads
        errand = Errand(job, tuple(p for p in sys.path if p), dict(slots), source_digest(), code_of(job.task))
        wanted = {GPU: 1} if self._gpus and job.task.gpu else None
        name = f"{job.task.stage}-{job.task.item}-{uuid4()}"
        how = {"pure": False, "resources": wanted, "retries": _RETRIES}
        self._running[self._client.submit(_errand, errand, self._topic, key=name, **how)] = job

    def wait(self) -> list[tuple[Job, Outcome]]:
        ended = []
        for future in self._ended_of("FIRST_COMPLETED"):
            job = self._running.pop(future)
            self._ended.add(job.task.name)
            ended.append((job, self._outcome(future, job)))
        return ended

    def _ended_of(self, when: str) -> set[Any]:
        with self._client.as_current():
            done: set[Any] = _distributed().wait(list(self._running), return_when=when).done
        return done

    def _outcome(self, future: Any, job: Job) -> Outcome:
        try:
            kind, text = future.result()
        except _distributed().KilledWorker:
            lost = f"lost {_LOSSES + 1} workers one after the other (out of memory?); run again to go on"
            raise DarklungError(f"{job.task.name}: {lost}") from None
        except Exception as error:  # whatever Dask or a connection raises; a task's own are outcomes
            raise DarklungError(f"{job.task.name}: {str(error) or type(error).__name__}; run again to go on") from error
        return str(kind), str(text)

    def _hear(self, event: tuple[Any, dict[str, Any]]) -> None:
        """What a worker tells of a task."""
        told = event[1]
        name = told["task"]
        if "begun_on" not in told:  # Dask puts a "worker" into each
            self._progress.update(name, told["fraction"], told["text"])
            return
        self._begun[name] += 1
        if self._begun[name] > 1 and name not in self._ended:
            self._progress.line(
                f"{name}: its worker or its process was lost; computed on {told['begun_on']} (attempt {self._begun[name]})"
            )

    def end(self) -> None:
        """Drop what waits and end what runs: a worker's process can be restarted, a thread of it cannot be stopped."""
        names = {future.key for future in self._running}
        busy = [w for w, keys in self._client.processing().items() if names & {str(k) for k in keys}]
        self._client.cancel(list(self._running))
        self._running.clear()
        if busy:
            self._client.restart_workers(busy, raise_for_error=False)

    def close(self) -> None:
        """Let what runs finish."""
        if self._running:
            self._ended_of("ALL_COMPLETED")
        self._client.unsubscribe_topic(self._topic)


def _resources(dask_scheduler: Any = None) -> list[dict[str, float]]:
    """What each worker offers, asked on the scheduler."""
    return [dict(worker.resources) for worker in dask_scheduler.workers.values()]


def _distributed() -> Any:
    return import_module("distributed")


def _host(worker: str) -> str:
    return urlsplit(worker).hostname or worker


def _errand(errand: Errand, topic: str) -> Outcome:
    """Runs on a worker."""
    worker, name = _distributed().get_worker(), errand.job.task.name
    worker.log_event(topic, {"task": name, "begun_on": worker.address})

    def tell(fraction: float, text: str = "") -> None:
        worker.log_event(topic, {"task": name, "fraction": fraction, "text": text})

    return run_errand(errand, _host(worker.address), tell)
