"""Runs that end at a task's border once their hours are over, and study files left alone where they are the same."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from darklung.pipeline.executors import Executor, executor
from darklung.pipeline.progress import Progress
from darklung.pipeline.worker import Job, Outcome


class OutOfTime(Exception):
    """The hours are over; what was running has ended and is kept."""


@dataclass(frozen=True)
class Stop:
    """When to stop (seconds of `time.monotonic`, None: never), and how many workers there are."""

    at_s: float | None = None
    workers: int | None = None

    @classmethod
    def after(cls, hours: float | None, workers: int | None) -> Stop:
        """So many hours from now."""
        return cls(None if hours is None else time.monotonic() + 3600 * hours, workers)

    def check(self) -> None:
        """Raise `OutOfTime` once it is over."""
        if self.at_s is not None and time.monotonic() >= self.at_s:
            raise OutOfTime

    @contextmanager
    def place(self, workers: int, folder: Path, progress: Progress) -> Iterator[Executor]:
        """Where tasks run: on this machine, and none begins after the end. Leaving lets running ones finish."""
        with executor(workers, folder, progress) as here:
            yield _Until(here, self)


@dataclass(frozen=True)
class _Until:
    here: Executor
    stop: Stop

    @property
    def slots(self) -> int:
        return self.here.slots

    def submit(self, job: Job) -> None:
        self.stop.check()
        self.here.submit(job)

    def wait(self) -> list[tuple[Job, Outcome]]:
        return self.here.wait()


def write(path: Path, content: dict[str, Any]) -> Path:
    """A YAML file, left alone where it is the same."""
    text = yaml.safe_dump(content, sort_keys=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)
    return path
