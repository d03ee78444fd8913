"""Whether what lies in a folder is what darklung wrote there, from what, and with which version."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from darklung.core.checks import DarklungError
from darklung.pipeline.artefacts import ADDED, CHANGED, GONE, RECORD, RUN_RECORD, Note, outputs_of
from darklung.pipeline.contents import file_hash
from darklung.pipeline.record import SEAL, environment, read_json, seal_holds

Tell = Callable[[int, int], None]


@dataclass
class Found:
    """What a look at files gave.

    Parameters
    ----------
    wrong : list of (Path, str)
        Each artefact that differs, and how.
    notes : list of str
        What does not make an output wrong: inputs that are not there any more, other versions.
    files, size_bytes : int
        Read.
    seconds : float
    """

    wrong: list[tuple[Path, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Book:
    """A record with contents: that of a task, of a command, or of a run."""

    path: Path
    content: Mapping[str, Any]

    @property
    def place(self) -> Path:
        """The folder that it tells of."""
        return self.path.parent

    @property
    def outputs(self) -> Mapping[str, Note]:
        """Name -> what was written; nothing of an output that was removed once it had been read."""
        outputs: Mapping[str, Note] = self.content.get("files" if self.path.name == RUN_RECORD else "outputs", {})
        return {} if self.content.get("removed") else _whole_notes(outputs)

    @property
    def reads(self) -> dict[str, Note]:
        """Path -> what was read."""
        told = self.content.get("settings", {}) if self.path.name == RUN_RECORD else {}
        return {**_whole_notes(self.content.get("reads", {})), **_whole_notes(told)}


def _whole_notes(notes: Any) -> dict[str, Note]:
    """Those that can be read, of a record that may be damaged itself."""
    items = notes.items() if isinstance(notes, dict) else ()
    return {name: known for name, known in items if _is_note(known)}


def _is_note(known: Any) -> TypeGuard[Note]:
    kinds = {"bytes": int, "mtime_ns": int, "sha256": str}
    return isinstance(known, dict) and all(isinstance(known.get(k), kind) for k, kind in kinds.items())


def verify(path: Path, *, progress: Tell | None = None) -> Found:
    """Read again what a run, a folder or one file holds, and compare it with the records.

    Parameters
    ----------
    path : Path
        A run folder, a stage or a task in it, an image or any file that darklung wrote, or a folder of another command.
    progress : callable, optional
        Called with bytes done and in all.

    Raises
    ------
    DarklungError
        Nothing there, or nothing that tells what it should hold.
    """
    path, found = path.absolute(), Found()
    if not path.exists() and not path.parent.is_dir():
        raise DarklungError(f"{path}: no such file or folder")
    books = _books_below(path) if path.is_dir() else []
    wanted: dict[Path, str] = {}
    inside = Path()
    if not books:
        books, inside = _book_above(path)
    for book in books:
        _look_at(book, inside, found, wanted)
    _compare(wanted, found, progress)
    found.wrong = sorted(dict.fromkeys(found.wrong))
    return found


def verify_listed(listed: Mapping[Path, str], *, progress: Tell | None = None) -> Found:
    """Read files again whose SHA-256 a list tells, path -> SHA-256."""
    found = Found()
    there = {path: digest for path, digest in listed.items() if path.is_file()}
    found.wrong = [(path, GONE) for path in listed if path not in there]
    _compare(there, found, progress)
    return found


def _is_book(path: Path) -> bool:
    return path.name in (RECORD, RUN_RECORD) or path.name.endswith(f".{RECORD}")


def _books(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*.json") if _is_book(p)) if folder.is_dir() else []


def _opened(path: Path) -> Book:
    content = read_json(path)
    return Book(path, content if isinstance(content, dict) else {})


def _books_below(folder: Path) -> list[Book]:
    """Those of a folder and of all below it, such as a run, its stages and tasks; images and hidden folders have none."""
    places = []
    for place, folders, _ in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not name.endswith(".zarr"))
        places.append(Path(place))
    return [_opened(path) for place in places for path in _books(place)]


def _book_above(path: Path) -> tuple[list[Book], Path]:
    """The record that tells of one file or of a part of an output, and its name in it; of a record itself that record."""
    if _is_book(path) and path.is_file():
        return [_opened(path)], Path(path.name)
    for place in path.parents:
        for book in map(_opened, _books(place)):
            name = path.relative_to(place)
            if any(Path(known).is_relative_to(name) for known in book.outputs) or _owns(book, name):
                return [book], name
    raise DarklungError(f"{path}: no record tells what it should hold; darklung verify looks at what darklung wrote")


def _owns(book: Book, name: Path) -> bool:
    """Whether a name lies among the outputs of a task, where nothing else may be."""
    return "key" in book.content or any(name.is_relative_to(top) for top in _images(book))


def _images(book: Book) -> set[str]:
    return {known.split("/")[0] for known in book.outputs if "/" in known}


def _look_at(book: Book, inside: Path, found: Found, wanted: dict[Path, str]) -> None:
    """What a record says of itself and of which files there are; contents go to `wanted`, path -> SHA-256."""
    if not _sealed(book.path):
        if book.content and not {SEAL, "outputs", "files", "finished"} & set(book.content):
            found.notes.append(f"{book.path}: a record without contents, of an older darklung or of a function of it")
        else:
            found.wrong.append((book.path, CHANGED))
    whole = inside == Path()
    for name, known in book.outputs.items():
        if Path(name).is_relative_to(inside):
            _want(book.place / name, known, found, wanted)
    found.wrong += [(p, ADDED) for n, p in _extra(book).items() if Path(n).is_relative_to(inside)]
    if whole and _sealed(book.path):
        _look_around(book, found, wanted)


def _look_around(book: Book, found: Found, wanted: dict[Path, str]) -> None:
    """What was read, which tasks have gone, and which versions made it."""
    for name, known in book.reads.items():
        if Path(name).exists():
            _want(Path(name), known, found, wanted)
        else:
            found.notes.append(f"{name}: was read, and is not there any more to look at")
    gone = (name for name in book.content.get("finished", ()) if not (book.place / name / RECORD).is_file())
    found.wrong += [(book.place / name, GONE) for name in gone]
    found.notes += [n for n in other_versions(book.content.get("environment", {})) if n not in found.notes]


def _want(path: Path, known: Note, found: Found, wanted: dict[Path, str]) -> None:
    try:
        size = os.stat(path).st_size
    except OSError:
        found.wrong.append((path, GONE))
        return
    if size != known["bytes"]:
        found.wrong.append((path, CHANGED))
    elif wanted.setdefault(path, known["sha256"]) != known["sha256"]:
        found.wrong.append((path, f"{CHANGED}: two records tell of different contents"))


def _extra(book: Book) -> dict[str, Path]:
    """Files that nobody noted, in the folder of a task or in an image."""
    if book.content.get("removed") or not book.outputs:
        return {}
    if "key" in book.content:
        there = outputs_of(book.place)
    else:
        there = {f"{top}/{n}": p for top in _images(book) for n, p in outputs_of(book.place / top).items()}
    return {name: path for name, path in there.items() if name not in book.outputs}


def _sealed(path: Path) -> bool:
    try:
        return seal_holds(path)
    except OSError:
        return False


def other_versions(made: Mapping[str, Any]) -> Iterator[str]:
    """In what the darklung and the libraries of a record's environment differ from those here, in lines."""
    here = environment()
    if made and made.get("source") != here["source"]:
        then, now = made.get("versions", {}), here["versions"]
        yield f"made by another darklung: {_told(then, made)}; this is {_told(now, here)}"
    for name, now in here["versions"].items():
        then = made.get("versions", {}).get(name, now)
        if name not in ("darklung", "commit") and then != now:
            yield f"made with {name} {then}; here is {now}"


def _told(versions: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    return f"{versions.get('darklung')} (commit {versions.get('commit')}, source {str(environment.get('source'))[:12]})"


def _compare(wanted: Mapping[Path, str], found: Found, progress: Tell | None) -> None:
    """Read all files, several at once: the hash lets other threads run."""
    sizes = {path: os.stat(path).st_size for path in wanted}
    found.files, found.size_bytes = len(sizes), sum(sizes.values())
    done, start = 0, time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, same in zip(wanted, pool.map(_same, wanted.items())):
            done += sizes[path]
            if progress is not None:
                progress(done, found.size_bytes)
            if not same:
                found.wrong.append((path, CHANGED))
    found.seconds = time.perf_counter() - start


def _same(item: tuple[Path, str]) -> bool:
    path, known = item
    try:
        return file_hash(path) == known
    except OSError:
        return False


def told(found: Found, *, most: int = 100) -> Iterable[str]:
    """Lines to print: each artefact that differs, what else is to be known, and a sum."""
    yield from (f"{path}: {how}" for path, how in found.wrong[:most])
    if len(found.wrong) > most:
        yield f"... and {len(found.wrong) - most} more"
    yield from (f"note: {line}" for line in found.notes)
    rate = found.size_bytes / max(found.seconds, 1e-9)
    sum_up = f"{len(found.wrong)} artefact(s) differ" if found.wrong else "all as written"
    cost = f"{found.size_bytes / 1e6:.1f} MB read in {found.seconds:.2f} s ({rate / 1e6:.0f} MB/s)"
    yield f"{found.files} files, {cost}: {sum_up}"
