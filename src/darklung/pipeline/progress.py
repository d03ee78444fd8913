"""Live progress on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, TextIO

from darklung.core.screen import screen

# A running task that is this far tells how long its stage takes.
TELLING = 0.05


class Pace:
    """How long is left: for each stage, what is left of it times what one of its tasks takes.

    A stage's cost is the mean of its tasks done in this run; else that of earlier runs in the folder; else what a running
    task's own progress promises since it first told any (before that it compiles and reads); else it is not known, and the
    time told is a lower bound.

    Parameters
    ----------
    names : iterable of str
        Tasks to do, ``stage/item``.
    earlier : mapping
        Stage -> seconds a task, from records.
    workers : int
        Tasks at once. What is left of a stage takes at least as long as one task.
    clock : callable
        Seconds.
    """

    def __init__(
        self,
        names: Iterable[str],
        earlier: Mapping[str, float],
        workers: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._left = Counter(_stage(n) for n in names)
        self._earlier, self._workers, self._clock = dict(earlier), workers, clock
        self._spent: dict[str, tuple[float, int]] = {}
        self._started: dict[str, float] = {}
        self._first: dict[str, tuple[float, float]] = {}
        self._promised: dict[str, float] = {}

    def share(self, workers: int) -> None:
        """So many tasks at once, once that is known."""
        self._workers = workers

    def start(self, name: str) -> None:
        """A task is begun."""
        self._started[name] = self._clock()
        self._first.pop(name, None)

    def update(self, name: str, fraction: float) -> None:
        """A running task tells how far it is."""
        started = self._started.get(name)
        if started is None or fraction <= 0:
            return
        now = self._clock()
        began, before = self._first.setdefault(name, (now, fraction))
        if fraction >= TELLING and fraction > before:
            rate = (now - began) / (fraction - before)
            self._promised[_stage(name)] = began - started + rate * (1 - before)

    def finish(self, name: str) -> float:
        """A task is done; returns the seconds it took."""
        seconds = self._clock() - self._started.pop(name)
        stage = _stage(name)
        total, count = self._spent.get(stage, (0.0, 0))
        self._spent[stage] = (total + seconds, count + 1)
        self._left[stage] -= 1
        return seconds

    def cost(self, stage: str) -> float | None:
        """Seconds a task of a stage, if known."""
        if stage in self._spent:
            total, count = self._spent[stage]
            return total / count
        return self._earlier.get(stage, self._promised.get(stage))

    def left(self) -> tuple[float, bool]:
        """(seconds left, whether every stage's cost is known)."""
        now, seconds, known = self._clock(), 0.0, True
        running: dict[str, list[float]] = {}
        for name, started in tuple(self._started.items()):
            running.setdefault(_stage(name), []).append(now - started)
        for stage, count in self._left.items():
            cost = self.cost(stage)
            if count > 0 and cost is not None:
                done = [min(s, cost) for s in running.get(stage, ())]
                longest = cost if len(done) < count else cost - min(done)
                seconds += max((count * cost - sum(done)) / self._workers, longest)
            known &= count <= 0 or cost is not None
        return seconds, known

    def told(self) -> str:
        """Such as ``about 3 min left``; ``more than ...`` while a stage was never timed; ``left: ...`` if none was."""
        seconds, known = self.left()
        if not any(self._left.values()):
            return ""
        if not known and seconds < 1:
            stages = [f"{count} {stage}" if count > 1 else stage for stage, count in self._left.items() if count > 0]
            return f"left: {', '.join(stages)}, never timed"
        words = f"{seconds / 60:.0f} min left" if seconds > 90 else f"{seconds:.0f} s left"
        return f"about {words}" if known else f"more than {words}"


def _stage(name: str) -> str:
    return name.split("/")[0]


class Progress:
    """Shows how far a run is. On a terminal one bar for the run and one a running task; elsewhere a line a task."""

    def __init__(self, total: int, done: int, pace: Pace, stream: TextIO | None = None, log: TextIO | None = None) -> None:
        self.total, self.done, self.pace = total, done, pace
        self.stream = stream or screen()
        self.log = log
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

    def start(self, name: str) -> None:
        """A task is begun."""
        self.pace.start(name)

    def update(self, name: str, fraction: float, text: str) -> None:
        """A running task tells how far it is."""
        self.pace.update(name, fraction)
        if self._rich is None:
            return
        if name not in self._bars:
            self._bars[name] = self._rich.add_task(name, total=100, note="")
        self._rich.update(self._bars[name], completed=round(100 * fraction), note=text)

    def finish(self, name: str) -> None:
        """A task is done."""
        seconds = self.pace.finish(name)
        self.done += 1
        left = self.pace.told()
        if self._rich is not None:
            if name in self._bars:
                self._rich.remove_task(self._bars.pop(name))
            self._rich.update(self._bars[""], completed=self.done, note=left)
        self.line(f"{name} done in {seconds:.1f} s ({self.done}/{self.total}{', ' if left else ''}{left})")
