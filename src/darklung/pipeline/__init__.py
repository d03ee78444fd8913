"""Runs the ordered tasks of a study: keys, atomic outputs, records, resume, progress. No science."""

from darklung.pipeline.run import run_tasks
from darklung.pipeline.task import Context, Task

__all__ = ["Context", "Task", "run_tasks"]
