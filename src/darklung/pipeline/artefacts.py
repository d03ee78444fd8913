"""What files hold: noted when a task ends, and looked at before anybody believes it.

A note is size, time of change and SHA-256. A look at size and time costs microseconds and is taken before every run; the
content is read only where the time is another, and by ``darklung verify``.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypedDict

from darklung.core.checks import DarklungError, require
from darklung.pipeline.contents import file_hash, files_of

RECORD, RUN_RECORD = "record.json", "run.json"
GONE, CHANGED, ADDED = "is gone", "is not what was written", "was not written by darklung"
# Threads pay where several large files are read; the hash itself lets other threads run.
_LARGE_BYTES = 2**24


class Note(TypedDict):
    """Of one file."""

    bytes: int
    mtime_ns: int
    sha256: str


Notes = dict[str, Note]


def outputs_of(place: Path) -> dict[str, Path]:
    """Name -> file, of all below a task's folder but its record."""
    found: dict[str, Path] = {}
    for folder, _, names in os.walk(place):
        inside = "" if folder == str(place) else f"{Path(folder).relative_to(place).as_posix()}/"
        found |= {f"{inside}{name}": Path(folder, name) for name in names if os.path.isfile(f"{folder}/{name}")}
    found.pop(RECORD, None)
    return dict(sorted(found.items()))


def note(files: Mapping[str, Path], *, threads: int = 0) -> Notes:
    """Size, time and SHA-256 of each file, read by several threads where that pays; 0 takes one a core."""
    total = sum(os.stat(path).st_size for path in files.values())
    if total < _LARGE_BYTES or len(files) == 1:
        return {name: _note(path) for name, path in files.items()}
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        return dict(zip(files, pool.map(_note, files.values())))


def _note(path: Path) -> Note:
    about = os.stat(path)
    return {"bytes": about.st_size, "mtime_ns": about.st_mtime_ns, "sha256": file_hash(path)}


def look(place: Path, notes: Mapping[str, Note]) -> tuple[dict[str, str], Notes]:
    """What differs from the notes, name -> how; and notes with the times of now, for files that only have another time."""
    wrong: dict[str, str] = {}
    later: Notes = {}
    for name, known in notes.items():
        try:
            about = os.stat(f"{place}/{name}")
        except OSError:
            wrong[name] = GONE
            continue
        if about.st_size != known["bytes"]:
            wrong[name] = CHANGED
        elif about.st_mtime_ns != known["mtime_ns"]:
            if file_hash(place / name) == known["sha256"]:
                later[name] = {**known, "mtime_ns": about.st_mtime_ns}
            else:
                wrong[name] = CHANGED
    return wrong, later


def require_as_written(*files: Path) -> None:
    """Refuse files whose content is not what a record beside them tells; what no record knows is left alone.

    Raises
    ------
    DarklungError
        One line that names the first.
    """
    for file in files:
        if file.is_file():
            _require_noted(file, file_hash(file))


def _require_noted(file: Path, digest: str) -> None:
    """Of a file in a task's folder, or in an image there."""
    file = file.absolute()
    for place in file.parents:
        outputs = _outputs_in(place / RECORD)
        if outputs is not None:
            known = outputs.get(file.relative_to(place).as_posix())
            told = f"{file}: {CHANGED} (its record has another SHA-256); darklung verify tells more"
            require(known is None or known.get("sha256") == digest, told)
            return


def _outputs_in(record: Path) -> Notes | None:
    """What a record notes; None where there is none."""
    if not record.is_file():
        return None
    try:
        found: Notes = json.loads(record.read_text())["outputs"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


class Reading:
    """Hashes in a thread of its own what a task reads from outside, while the task reads it.

    Used as a context around the task's function; what it read is still in memory then, so that it is fetched once.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._files = {str(file.absolute()): file for path in paths for file in files_of(path)}
        self._notes: Notes = {}
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def _read(self) -> None:
        try:
            self._notes = {name: _note(path) for name, path in self._files.items()}
        except (OSError, DarklungError) as error:
            self._error = error

    def __enter__(self) -> Reading:
        if self._files:
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread is not None and kind is None:
            self._thread.join()

    def notes(self) -> Notes:
        """Path -> note.

        Raises
        ------
        DarklungError
            A file was changed or taken away meanwhile, so that nobody knows what the task has seen of it; or it is an output
            of darklung, and not what its own record tells.
        """
        if self._error is not None:
            raise DarklungError(f"an input cannot be read ({self._error})") from self._error
        for name, known in self._notes.items():
            require(_still(name, known), f"{name}: was changed while it was read; run again")
            _require_noted(Path(name), known["sha256"])
        return self._notes


def _still(name: str, known: Note) -> bool:
    try:
        about = os.stat(name)
    except OSError:
        return False
    return (about.st_size, about.st_mtime_ns) == (known["bytes"], known["mtime_ns"])
