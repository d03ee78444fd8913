"""Live progress on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO


class Progress:
    """Shows how far a run is. On a terminal one bar for the run and one a running task; elsewhere a line a task."""

    def __init__(self, total: int, done: int, stream: TextIO | None = None, log: TextIO | None = None) -> None:
        self.total, self.done = total, done
        self.stream = stream or sys.stderr
        self.log = log
        self.started = time.perf_counter()
        self._already = done
        self._bars: dict[str, Any] = {}
        self._rich: Any = None

    def __enter__(self) -> Progress:
        if self.stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
            self._rich = Bars(*columns[:2], MofNCompleteColumn(), *columns[2:], console=Console(file=self.stream))
            self._rich.start()
            self._bars[""] = self._rich.add_task("run", total=self.total, completed=self.done, note="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._rich is not None:
            self._rich.stop()

    def line(self, text: str) -> None:
        """A line for the log, and for the screen where there are no bars."""
        stamped = f"[{time.strftime('%H:%M:%S')}] {text}"
        if self.log is not None:
            self.log.write(stamped + "\n")
            self.log.flush()
        if self._rich is not None:
            self._rich.console.print(stamped, markup=False, highlight=False)
        else:
            self.stream.write(stamped + "\n")
            self.stream.flush()

    def update(self, name: str, fraction: float, text: str) -> None:
        """A running task tells how far it is."""
        if self._rich is None:
            return
        if name not in self._bars:
            self._bars[name] = self._rich.add_task(name, total=100, note="")
        self._rich.update(self._bars[name], completed=round(100 * fraction), note=text)

    def finish(self, name: str, seconds: float) -> None:
        """A task is done."""
        self.done += 1
        if self._rich is not None:
            if name in self._bars:
                self._rich.remove_task(self._bars.pop(name))
            self._rich.update(self._bars[""], completed=self.done, note=self._left())
        self.line(f"{name} done in {seconds:.1f} s ({self.done}/{self.total}{self._left(', ')})")

    def _left(self, before: str = "") -> str:
        """A rough time left, from the mean time of the tasks done in this run."""
        new = self.done - self._already
        if new < 3 or self.done >= self.total:
            return ""
        seconds = (time.perf_counter() - self.started) / new * (self.total - self.done)
        return f"{before}about {seconds / 60:.0f} min left" if seconds > 90 else f"{before}about {seconds:.0f} s left"
