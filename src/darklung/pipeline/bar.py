"""A progress bar with the time left for one long calculation: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from darklung.core.screen import screen

_EVERY_S = 10.0


class Bar:
    """Called with (done, in all); a context manager that clears up after itself.

    Parameters
    ----------
    name : str
    stream : TextIO, optional
        `darklung.core.screen` by default, so that output can be redirected.
    """

    def __init__(self, name: str, stream: TextIO | None = None) -> None:
        self.name, self.stream = name, stream or screen()
        self._told = time.perf_counter()
        self._left = TimeLeft()
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
        now, left = time.perf_counter(), self._left(done, total)
        if now - self._told >= _EVERY_S or done == total:
            self._told = now
            self.stream.write(f"{self.name}: {done} of {total}, {left}\n")
            self.stream.flush()


class TimeLeft:
    """Called with (done, in all); ``about 40 s left``, from the mean time of a unit since the first one was done.

    The first unit waits for what is done once (compilation, reading) and says nothing of the others.

    Parameters
    ----------
    clock : callable
        Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._started = clock, clock()
        self._first: tuple[float, int] | None = None

    def __call__(self, done: int, total: int) -> str:
        now = self._clock()
        if done >= total:
            return f"done in {now - self._started:.0f} s"
        if self._first is None and done > 0:
            self._first = (now, done)
        if self._first is None or done <= self._first[1]:
            return "time left: ?"
        left = (now - self._first[0]) / (done - self._first[1]) * (total - done)
        return f"about {left / 60:.0f} min left" if left > 90 else f"about {left:.0f} s left"
