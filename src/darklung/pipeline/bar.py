"""A progress bar with the time left for one long calculation: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO

_EVERY_S = 10.0


class Bar:
    """Called with (done, in all); a context manager that clears up after itself.

    Parameters
    ----------
    name : str
    stream : TextIO, optional
        Standard error by default, so that output can be redirected.
    """

    def __init__(self, name: str, stream: TextIO | None = None) -> None:
        self.name, self.stream = name, stream or sys.stderr
        self.started = self._told = time.perf_counter()
        self._rich: Any = None
        self._task: Any = None

    def __enter__(self) -> Bar:
        if self.stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._rich = Progress(*columns, TextColumn("left"), console=Console(file=self.stream))
            self._rich.start()
            self._task = self._rich.add_task(self.name, total=None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._rich is not None:
            self._rich.stop()

    def __call__(self, done: int, total: int) -> None:
        if self._rich is not None:
            self._rich.update(self._task, completed=done, total=total)
            return
        now = time.perf_counter()
        if now - self._told >= _EVERY_S or done == total:
            self._told = now
            self.stream.write(f"{self.name}: {done} of {total}, {time_left(now - self.started, done, total)}\n")
            self.stream.flush()


def time_left(seconds: float, done: int, total: int) -> str:
    """``about 40 s left``, from the mean time so far."""
    if done >= total:
        return f"done in {seconds:.0f} s"
    left = seconds / max(done, 1) * (total - done)
    return f"about {left / 60:.0f} min left" if left > 90 else f"about {left:.0f} s left"
