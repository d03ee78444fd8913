"""Content of files, read once and remembered until they change."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from darklung.core.checks import DarklungError

T = TypeVar("T")
# A file changed just now may change again within one tick of its clock and keep its stamp; it is read again.
SETTLED_NS = 2_000_000_000
_known: dict[tuple[str, Callable[[Path], Any]], tuple[tuple[int, ...], Any]] = {}


def remembered(path: Path, compute: Callable[[Path], T]) -> T:
    """``compute(path)``, computed again only if the file's stamp (times, size, place on disk) is another."""
    try:
        about = os.stat(path)
    except OSError as error:
        raise DarklungError(f"{path}: no such file or folder") from error
    stamp = (about.st_mtime_ns, about.st_ctime_ns, about.st_size, about.st_ino)
    known = _known.get((str(path), compute))
    if known is not None and known[0] == stamp:
        value: T = known[1]
        return value
    settled = time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) > SETTLED_NS
    value = compute(path)
    if settled:
        _known[str(path), compute] = (stamp, value)
    return value


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content."""
    return remembered(path, _digest)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_of(path: Path) -> list[Path]:
    """A file, or all files below a folder, those of linked folders too: whoever reads the folder reads them."""
    if path.is_file():
        return [path]
    found, linked = [], {path.resolve()}
    for place, folders, names in os.walk(path, followlinks=True):
        folders.sort()
        folders[:] = [name for name in folders if _goes_on(Path(place, name), linked)]
        found += [Path(place, name) for name in names]
    return sorted(p for p in found if p.is_file())


def _goes_on(folder: Path, linked: set[Path]) -> bool:
    """Whether a folder is no link, or one to where none led before: links may go round in circles."""
    if not folder.is_symlink():
        return True
    before = len(linked)
    linked.add(folder.resolve())
    return len(linked) > before


def stamp(path: Path, known: Mapping[str, Any] | None = None) -> list[Any]:
    """Name, size and time of change of a file: for keys, where content takes long to read.

    Of a folder size of all its files, and a hash over the name, size and time of each: slices that changed places, or one
    that an older one of the same size replaced, are other data. `known` are earlier notes
    (`darklung.pipeline.artefacts.Notes`) by absolute path. A file of another time whose content is the noted one counts with
    the noted time: data that were copied or touched are the same data.
    """
    files = files_of(path)
    found = [_size_and_time(file, known or {}) for file in files]
    if path.is_file():
        return [str(path.resolve()), *found[0]]
    names = [file.relative_to(path).as_posix() for file in files]
    digest = hashlib.sha256(repr(list(zip(names, found))).encode()).hexdigest()
    return [str(path.resolve()), sum(size for size, _ in found), digest]


def _size_and_time(file: Path, known: Mapping[str, Any]) -> tuple[int, int]:
    about = os.stat(file)
    time_ns, noted = about.st_mtime_ns, known.get(str(file.absolute()))
    if noted and noted["bytes"] == about.st_size and noted["mtime_ns"] != time_ns and file_hash(file) == noted["sha256"]:
        time_ns = noted["mtime_ns"]
    return about.st_size, time_ns


def content_hash(path: Path) -> str:
    """SHA-256 of a file with its name, or of all files below a folder with their paths in it.

    Raises
    ------
    DarklungError
        Nothing is there.
    """
    return _together(path, files_of(path)) if path.is_dir() else _digest_of([(path.name, path)])


def source_hash(folder: Path) -> str:
    """SHA-256 of all Python source below a folder."""
    return _together(folder, (p for p in sorted(folder.rglob("*.py")) if p.is_file()))


def _together(folder: Path, files: Iterable[Path]) -> str:
    return _digest_of((p.relative_to(folder).as_posix(), p) for p in files)


def _digest_of(files: Iterable[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, file in files:
        digest.update(f"{name}\0{file_hash(file)}\0".encode())
    return digest.hexdigest()
