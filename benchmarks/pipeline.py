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

import yaml

from darklung.pipeline import Task, run_tasks

QUICK = Path(__file__).parents[1] / "examples/quick.yaml"
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


def seconds(count: int, workers: int) -> tuple[float, float, float]:
    """(time of the run, this process's own share of the processor, time of a second run that finds everything done)."""
    with tempfile.TemporaryDirectory() as folder:
        tasks, times, used = chains(count), [], []
        for _ in range(2):
            start, busy = time.perf_counter(), time.process_time()
            with contextlib.redirect_stderr(io.StringIO()):
                run_tasks(tasks, folder=Path(folder), targets=["end/all"], workers=workers, about={})
            times.append(time.perf_counter() - start)
            used.append(time.process_time() - busy)
    return times[0], used[0], times[1]


def planning(animals: int, held_out: int) -> tuple[int, float, float]:
    """(tasks, seconds, seconds of processor) to read, plan and key the demo with so many animals."""
    from darklung.commands.run import list_tasks

    study = yaml.safe_load(QUICK.read_text())
    study["sources"]["mice"]["cohort"] |= {"animals": animals, "test_animals": held_out}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.yaml")
        path.write_text(yaml.safe_dump(study, sort_keys=False))
        start, used = time.perf_counter(), time.process_time()
        told = list_tasks(path, out=Path(folder, "run"))
        return told.count("\n"), time.perf_counter() - start, time.process_time() - used


def main() -> None:
    """Print a table."""
    tasks, took, used = planning(1000, 250)
    print(f"1,000 + 250 animals, {tasks} tasks: planned in {took:.1f} s ({used:.1f} s of processor)")
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
            for count, (first, busy, second) in ((small, few), (given.tasks, many)):
                told = f"{1e3 * first / count:.2f} ms a task ({1e3 * busy / count:.2f} ms of this process's processor)"
                print(f"{workers} worker(s), {count} tasks: {told}, {1e3 * second / count:.2f} ms when done already")
            print(f"{workers} worker(s): time grows as the number of tasks to the power {growth:.2f}")


if __name__ == "__main__":
    main()
