"""What the pipeline itself costs: trivial tasks one after the other and in processes, and planning a large cohort.

python benchmarks/pipeline.py [--tasks 8000] [--workers 2]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import sys
import tempfile
import time
from pathlib import Path

from darklung.pipeline import Task, run_tasks

STEPS = "def step(context):\n    (context.out / 'value').write_text('1')\n"
CHAIN = 8


def chains(count: int) -> list[Task]:
    """Chains of `CHAIN` tasks, as of animals, and one task that reads the end of each."""
    tasks = []
    for i in range(count // CHAIN):
        for k in range(CHAIN):
            inputs = {"before": (f"step{k - 1}/item-{i:05d}",)} if k else {}
            parameters = {"seed": i, "options": {"a": 1.0, "b": "text", "c": [1, 2, 3]}}
            tasks.append(Task(f"step{k}", f"item-{i:05d}", "trivial_step:step", parameters, inputs, transient=k == 1))
    ends = tuple(t.name for t in tasks if t.stage == f"step{CHAIN - 1}")
    return [*tasks, Task("end", "all", "trivial_step:step", {}, {"ends": ends})]


def seconds(count: int, workers: int, again: bool = False) -> tuple[float, float]:
    """(time of the run, time of a second run that finds everything done)."""
    with tempfile.TemporaryDirectory() as folder:
        tasks, times = chains(count), []
        for _ in range(2):
            start = time.perf_counter()
            with contextlib.redirect_stderr(io.StringIO()):
                run_tasks(tasks, folder=Path(folder), targets=["end/all"], workers=workers, about={})
            times.append(time.perf_counter() - start)
    return times[0], times[1]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "trivial_step.py").write_text(STEPS)
        sys.path.insert(0, folder)
        small = max(given.tasks // 8, CHAIN)
        for workers in (1, given.workers):
            few, many = seconds(small, workers), seconds(given.tasks, workers)
            growth = math.log(many[0] / few[0]) / math.log(given.tasks / small)
            for count, (first, second) in ((small, few), (given.tasks, many)):
                told = f"{1e3 * first / count:.2f} ms a task, {1e3 * second / count:.2f} ms when done already"
                print(f"{workers} worker(s), {count} tasks: {told}")
            print(f"{workers} worker(s): time grows as the number of tasks to the power {growth:.2f}")


if __name__ == "__main__":
    main()
