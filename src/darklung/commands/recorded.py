"""What a command leaves that is no task of a run gets a record too: contents of what it read and of what it wrote."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from darklung.core.checks import require
from darklung.pipeline.artefacts import RECORD, RUN_RECORD, Reading, note
from darklung.pipeline.folder import LOG, note_files
from darklung.pipeline.record import SEAL, environment, read_json, write_record

P = ParamSpec("P")
T = TypeVar("T")
# What `--out` of some commands names instead of a folder.
FILES = (".h5", ".hdf5", ".nx", ".nxs", ".md")


def recorded(command: Callable[P, T]) -> Callable[P, T]:
    """The command with a record of what it writes at `out`: ``record.json``, of a single file ``NAME.record.json``.

    All other arguments that are paths are what it reads. In a run folder its files are noted in ``run.json`` instead.
    """

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        given: dict[str, Any] = dict(signature(command).bind(*args, **kwargs).arguments)
        out = given.pop("out", None)
        if out is None:
            return command(*args, **kwargs)
        before = _seen(out)
        _require_own(out)
        with Reading(_paths(given.values())) as reading:
            result = command(*args, **kwargs)
        after = _seen(out)
        names = sorted(name for name, when in after.items() if before.get(name) != when)
        if names:
            _write(out, command.__name__.rstrip("_"), names, set(before) - set(after), reading)
        return result

    return run


def _paths(values: Any) -> Iterator[Path]:
    """Files and images among the arguments; of a run folder its own record tells."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _paths(value)
        elif isinstance(value, Path) and (value.is_file() or value.suffix == ".zarr"):
            yield value


def _place(out: Path) -> tuple[Path, str]:
    """The folder, and what names in it begin with."""
    alone = not out.is_dir() and out.suffix in FILES
    return (out.parent, out.stem) if alone else (out, "")


def _book(out: Path) -> Path:
    folder, begin = _place(out)
    return folder / (f"{out.name}.{RECORD}" if begin else RECORD)


def _require_own(out: Path) -> None:
    """Refuse to write among the outputs of a task, whose record would not hold any more."""
    about = read_json(_book(out))
    require(not isinstance(about, dict) or "key" not in about, f"{out}: holds the output of a task; wanted another folder")


def _seen(out: Path) -> dict[str, int]:
    """Name -> time of change, of files and images that are nobody's task."""
    folder, begin = _place(out)
    found: dict[str, int] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if not path.name.startswith(begin or path.name[:1].strip(".")) or path.name.endswith((RECORD, RUN_RECORD, LOG)):
            continue
        files = path.rglob("*") if path.suffix == ".zarr" else [path]
        found |= {f.relative_to(folder).as_posix(): f.stat().st_mtime_ns for f in files if f.is_file()}
    return found


def _write(out: Path, command: str, names: list[str], gone: set[str], reading: Reading) -> None:
    folder, _ = _place(out)
    if (folder / RUN_RECORD).is_file():
        note_files(folder, names, gone=gone)
        return
    book = _book(out)
    about: dict[str, Any] = read_json(book) or {}
    kept = {name: known for name, known in about.get("outputs", {}).items() if name not in gone}
    told = {"command": f"darklung {command}", "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **about}
    told |= {"environment": environment(), "reads": {**about.get("reads", {}), **reading.notes()}}
    told |= {"outputs": {**kept, **note({name: folder / name for name in names})}}
    write_record(book, {k: v for k, v in told.items() if k != SEAL})
