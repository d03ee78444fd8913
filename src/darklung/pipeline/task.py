"""What is to be done, and the key that says whether it was done already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import darklung
from darklung.core.checks import DarklungError, require

PACKAGE = Path(darklung.__file__).parent


@dataclass(frozen=True)
class Task:
    """One unit of work: a stage applied to one item (an animal, a fold, or ``"all"``).

    Parameters
    ----------
    stage, item : str
        Together the task's name and the folder of its output, ``stage/item``.
    function : str
        ``"package.module:function"``, called with a `Context`.
    parameters : mapping
        JSON values; everything that the result depends on apart from the inputs, the seed included.
    inputs : mapping
        Name -> names of the tasks whose output folders are read.
    code : tuple of str
        Packages of darklung whose source decides the result (``"physics"``, ``"simulate"``, ...); `core` always counts.
    files : mapping
        Name -> a file or folder from outside the run; its content is part of the key.
    transient : bool
        The output is large and is removed as soon as nothing needs it any more (its record stays).
    """

    stage: str
    item: str
    function: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    code: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    transient: bool = False

    @property
    def name(self) -> str:
        """``stage/item``."""
        return f"{self.stage}/{self.item}"


@dataclass(frozen=True)
class Context:
    """What a task's function gets.

    Parameters
    ----------
    out : Path
        Empty folder to write into; it becomes the task's output when the function returns, and never half-way.
    scratch : Path
        Folder that outlives a crash, for checkpoints; removed when the task is done.
    inputs : mapping
        Name -> output folders of the tasks named in ``Task.inputs``.
    parameters, files : mapping
        As in `Task`.
    progress : callable
        ``progress(fraction, text)``, fraction 0 to 1.
    """

    out: Path
    scratch: Path
    inputs: Mapping[str, tuple[Path, ...]]
    parameters: Mapping[str, Any]
    files: Mapping[str, Path]
    progress: Callable[[float, str], None]

    def input(self, name: str) -> Path:
        """The only folder of an input that has one."""
        (path,) = self.inputs[name]
        return path


def task_keys(tasks: Iterable[Task]) -> dict[str, str]:
    """Key of every task: SHA-256 over its function, parameters, code, outside files and the keys of its inputs.

    `tasks` must be in an order in which inputs come first. Output contents are not hashed, so that all keys are known
    before anything runs; library versions are recorded but do not enter, since any upgrade would discard days of work.
    """
    keys: dict[str, str] = {}
    for task in tasks:
        require(task.name not in keys, f"task {task.name}: named twice")
        for needed in (n for names in task.inputs.values() for n in names):
            require(needed in keys, f"task {task.name}: its input {needed} is not among the tasks before it")
        parts = {
            "function": task.function,
            "item": task.item,
            "parameters": task.parameters,
            "inputs": {k: [keys[n] for n in names] for k, names in task.inputs.items()},
            "code": code_version(tuple(sorted({*task.code, "core"}))),
            "files": {k: content_hash(p) for k, p in task.files.items()},
        }
        keys[task.name] = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return keys


@lru_cache(maxsize=64)
def code_version(packages: tuple[str, ...]) -> str:
    """SHA-256 over the source of the named packages or modules of darklung (``"learn"``, ``"steps.ct"``)."""
    digest = hashlib.sha256()
    for package in packages:
        place = PACKAGE.joinpath(*package.split("."))
        sources = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        for source in sources:
            digest.update(str(source.relative_to(PACKAGE)).encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of all files below a folder with their names."""
    if not path.exists():
        raise DarklungError(f"{path}: no such file or folder")
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
