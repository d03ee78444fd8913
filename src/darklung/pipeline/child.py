"""One task in a process of its own below a worker of a cluster: a job comes in on the standard input, lines of JSON go out.

A process for each task and not the worker's own: no module that was edited since is still loaded, threads and memory are as
a local worker process has them, and an end of the worker ends the task.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pickle
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import darklung
from darklung.pipeline.folder import WORKERS_LOCK
from darklung.pipeline.imports import PACKAGE, Sources
from darklung.pipeline.task import Task
from darklung.pipeline.worker import Job, Outcome, Tell, pooled, start_worker

OUTCOME = "outcome"


@dataclass(frozen=True)
class Errand:
    """A job with what another machine must know to do it.

    Parameters
    ----------
    job : Job
    path : tuple of str
        Where this process finds modules; places that the other one lacks come last there.
    slots : mapping
        Host -> tasks at once on it; its cores are divided by them.
    source : str
        `source_digest` here; another darklung is refused there.
    code : mapping
        `code_of` the task here; other code of the user is refused there.
    """

    job: Job
    path: tuple[str, ...]
    slots: dict[str, int]
    source: str
    code: dict[str, str | None]


@cache
def source_digest() -> str:
    """Version and digest of darklung's own source and of the language, as a line that tells two installations apart."""
    digest = hashlib.sha256()
    root = Path(darklung.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return f"{darklung.__version__} ({digest.hexdigest()[:12]}, Python {sys.version_info.major}.{sys.version_info.minor})"


def code_of(task: Task) -> dict[str, str | None]:
    """Version of each module of the user that a task runs, as this process finds it."""
    sources, names = Sources(), (task.function, *task.plugins)
    modules = sorted({name.partition(":")[0] for name in names if ":" in name})
    return {module: sources.version(module) for module in modules if module.split(".")[0] != PACKAGE.name}


def strange(folder: Path, source: str) -> str:
    """Why this process cannot work for a run in `folder`, in words; empty if it can."""
    if not (folder / WORKERS_LOCK).exists():
        return f"does not see the run folder {folder}; wanted a folder that all machines share under one path"
    if source_digest() != source:
        return f"has darklung {source_digest()}, wanted {source} as here"
    return ""


def run_errand(errand: Errand, host: str, tell: Tell) -> Outcome:
    """Do a job in a process below this one; returns its outcome.

    Raises
    ------
    OSError
        The process cannot be started.
    RuntimeError
        It died, such as for want of memory.
    """
    threads = max(1, _cores() // errand.slots.get(host, 1))
    # Dask presets this one, which makes large arrays slow; without it memory is as in a local process.
    environment = {k: v for k, v in os.environ.items() if k != "MALLOC_TRIM_THRESHOLD_"}
    # -P: what lies where the worker was started is no module.
    command = [sys.executable, "-P", "-m", "darklung.pipeline.child", str(threads), str(os.getpid())]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as child:
        outcome = _talk(child, errand, tell)
    if outcome is None:
        raise RuntimeError(f"the process of {errand.job.task.name} died with code {child.returncode} (out of memory?)")
    return outcome


def _talk(child: subprocess.Popen[str], errand: Errand, tell: Tell) -> Outcome | None:
    if child.stdin is None or child.stdout is None:
        return None
    try:
        child.stdin.write(base64.b64encode(pickle.dumps(errand)).decode() + "\n")
        child.stdin.close()
    except BrokenPipeError:
        return None
    outcome = None
    for line in child.stdout:
        kind, *words = json.loads(line)
        if kind == OUTCOME:
            outcome = (words[0], words[1])
        else:
            tell(words[0], words[1])
    return outcome


def _cores() -> int:
    """Cores that this process may use, which a queue gives."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Lines:
    """Takes progress as the queue of a pool does."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def put(self, message: Sequence[Any]) -> None:
        try:
            self._out.write(json.dumps(message) + "\n")
            self._out.flush()
        except BrokenPipeError:  # the worker is gone, and the task is computed elsewhere
            os._exit(1)


def main(threads: int, parent: int) -> None:
    """What the process does."""
    lines = _Lines(os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)  # what a task prints is no message
    errand: Errand = pickle.loads(base64.b64decode(sys.stdin.readline()))
    sys.path += [place for place in errand.path if place not in sys.path]
    wrong = strange(errand.job.folder, errand.source)
    if other := [module for module, version in code_of(errand.job.task).items() if version != errand.code[module]]:
        wrong = wrong or f"finds another {other[0]}, wanted that of this run"
    if wrong:
        lines.put((OUTCOME, "refused", f"a worker on {platform.node()} {wrong}"))
        return
    start_worker(lines, threads, parent, str(errand.job.folder / WORKERS_LOCK))
    lines.put((OUTCOME, *pooled(errand.job)))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
