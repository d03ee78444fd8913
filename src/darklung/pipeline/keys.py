"""The key of a task says whether it was done already: a hash of all that its result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darklung.core.checks import require
from darklung.pipeline.artefacts import Notes
from darklung.pipeline.contents import content_hash, stamp
from darklung.pipeline.imports import PACKAGE, Sources
from darklung.pipeline.task import Task


@dataclass(frozen=True)
class Identity:
    """What a task is told apart by.

    Parameters
    ----------
    key : str
        Of all that its result depends on.
    surroundings : str
        The same without the task's own parameters: function, source, plug-ins, files, inputs.
    inputs : mapping
        Key of each task whose output it reads.
    outside : mapping
        Files and folders from outside -> their stamps when the key was made.
    """

    key: str
    surroundings: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    outside: Mapping[Path, list[Any]] = field(default_factory=dict)

    def require_unchanged(self) -> None:
        """Raise if a file from outside is another than the one that the key tells of."""
        for path, seen in self.outside.items():
            there = stamp(path) if path.exists() else []
            require(there == seen, f"{path}: was changed since this run began; run again")


def key_of(surroundings: str, parameters: Mapping[str, Any]) -> str:
    """Key of a task with these parameters, which tells of any record whether it differs from a task in parameters alone."""
    return _digest({"surroundings": surroundings, "parameters": parameters})


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _nothing(name: str) -> Notes:
    return {}


def task_keys(tasks: Iterable[Task], *, package: Path = PACKAGE, noted: Callable[[str], Notes] = _nothing) -> dict[str, str]:
    """Key of every task, see `task_identities`."""
    return {name: found.key for name, found in task_identities(tasks, package=package, noted=noted).items()}


def task_identities(
    tasks: Iterable[Task], *, package: Path = PACKAGE, noted: Callable[[str], Notes] = _nothing
) -> dict[str, Identity]:
    """Identity of every task: SHA-256 over function, parameters, source, plug-ins, outside files and the keys of its inputs.

    Source is that of the step's own module and of what it imports (`darklung.pipeline.imports`). `tasks` must be in an order
    in which inputs come first. Output contents are not hashed, so that all keys are known before anything runs; library
    versions are recorded but do not enter, since any upgrade would discard days of work. `noted` tells what the record of a
    task notes of its data (`darklung.pipeline.contents.stamp`).

    Raises
    ------
    DarklungError
        A task named twice or before its inputs; a file or a plug-in that is not there.
    """
    sources, contents, stamps = Sources(package), dict[Path, str](), dict[Path, list[Any]]()
    keys: dict[str, Identity] = {}
    for task in tasks:
        require(task.name not in keys, f"task {task.name}: named twice")
        for needed in task.needs():
            require(needed in keys, f"task {task.name}: its input {needed} is not among the tasks before it")
        for path in (*task.files.values(), *task.data):  # before they are read: what changes meanwhile is noticed
            if path not in stamps:
                stamps[path] = stamp(path) if path.exists() else []
        for path in task.files.values():
            if path not in contents:
                contents[path] = content_hash(path)
        parts = {
            "function": task.function,
            "item": task.item,
            "inputs": {k: [keys[n].key for n in names] for k, names in task.inputs.items()},
            "source": sources.version(task.function.partition(":")[0]),
            "plugins": _plugin_versions(task, sources),
            "files": {k: contents[p] for k, p in task.files.items()},
            "data": _stamps(task, noted),
        }
        surroundings = _digest(parts)
        inputs = {name: keys[name].key for name in sorted(task.needs())}
        outside = {path: stamps[path] for path in (*task.files.values(), *task.data)}
        keys[task.name] = Identity(key_of(surroundings, task.parameters), surroundings, inputs, outside)
    return keys


def _stamps(task: Task, noted: Callable[[str], Notes]) -> list[Any]:
    known = noted(task.name) if task.data else {}
    return [stamp(path, known) for path in task.data]


def _plugin_versions(task: Task, sources: Sources) -> dict[str, str]:
    """Version of each of the user's functions; short names of darklung's tables are none."""
    versions = {}
    for name in task.plugins:
        module, colon, _ = name.partition(":")
        if not colon:
            continue
        version = sources.version(module)
        require(version is not None, f"{name}: no module {module} beside the study file or on Python's path")
        versions[name] = str(version)
    return versions
