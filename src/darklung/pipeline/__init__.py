"""Runs the ordered tasks of a study: keys, atomic outputs, records, resume, progress. No science."""

from darklung.pipeline.folder import Owner, check_folder, note_files
from darklung.pipeline.keys import task_keys
from darklung.pipeline.run import run_tasks, stale
from darklung.pipeline.task import Context, Task

__all__ = ["Context", "Owner", "Task", "check_folder", "note_files", "run_tasks", "stale", "task_keys"]
