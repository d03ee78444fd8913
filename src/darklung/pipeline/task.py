"""What is to be done: a function, what it gets, and what it reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darklung.core.checks import require


@dataclass(frozen=True)
class Task:
    """One unit of work: a stage applied to one item (an animal, a fold, or ``"all"``).

    Parameters
    ----------
    stage, item : str
        Together the task's name and the folder of its output, ``stage/item``.
    function : str
        ``"package.module:function"``, called with a `Context`. The source of its module, and of all that this imports,
        decides whether the task is due (`darklung.pipeline.imports`).
    parameters : mapping
        JSON values; everything that the result depends on apart from the inputs, the seed included.
    inputs : mapping
        Name -> names of the tasks whose output folders are read.
    files : mapping
        Name -> a file or folder from outside the run; its content is part of the key.
    plugins : tuple of str
        Functions of the user, ``"package.module:function"``; their source counts as that of `function` does. Short names of
        darklung's own tables (without a colon) are allowed and add nothing: the step's module reaches those functions.
    transient : bool
        The output is large and is removed as soon as nothing needs it any more (its record stays).
    data : tuple of Path
        Files or folders from outside that are too large to be read before a run: place, size and time of change are part of
        the key. The content is hashed while the task reads it, and of a file with another time before it counts as another.
    gpu : bool
        It is given a GPU by a cluster whose workers offer one; no part of the key.
    """

    stage: str
    item: str
    function: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    transient: bool = False
    data: tuple[Path, ...] = ()
    gpu: bool = False

    def __post_init__(self) -> None:
        # Names come from files of others too; none may lead out of the run folder.
        plain = re.fullmatch(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}", self.item)
        require(plain is not None, f"task {self.stage}: wanted the name of one folder, got {self.item[:80]!r}")

    @property
    def name(self) -> str:
        """``stage/item``."""
        return f"{self.stage}/{self.item}"

    def needs(self) -> set[str]:
        """Names of the tasks that must be done before."""
        return {n for names in self.inputs.values() for n in names}


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
    earlier : tuple of Path
        Finished outputs of this task that differ in its own parameters alone (in their ``record.json``), oldest first: a
        function may go on from one. They may be gone once it has returned.
    """

    out: Path
    scratch: Path
    inputs: Mapping[str, tuple[Path, ...]]
    parameters: Mapping[str, Any]
    files: Mapping[str, Path]
    progress: Callable[[float, str], None]
    earlier: tuple[Path, ...] = ()

    def input(self, name: str) -> Path:
        """The only folder of an input that has one."""
        (path,) = self.inputs[name]
        return path
