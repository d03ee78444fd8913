"""Files: one boundary for what readers raise, and one way to write so that a file appears whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from darklung.core.checks import DarklungError, require

_REFUSALS = (
    *(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENOMEM)),
    "can't start new thread",  # Python's own words where there is no memory for its stack, or a limit on threads
)
# Text that people or darklung write is far shorter.
MOST_TEXT_BYTES = 2**28
_PARTIAL = ".partial"
# Disk full, over quota or too large; read-only or no rights; broken device; too many open files; no memory, no process; no
# name of a place.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_PLACE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)
_MACHINE = frozenset((*_DISK, *_PLACE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN))


def one_line(error: BaseException) -> str:
    """What went wrong, short and in one line."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):  # of copies: (from, to, why) each
        return one_line(OSError(error.args[0][0][-1]))
    text = error.strerror if isinstance(error, OSError) and error.strerror else error
    if isinstance(error, KeyError) and error.args:  # would be told in quotes
        text = error.args[0]
    return " ".join(str(text).split())[:200] or type(error).__name__


def machine_line(error: BaseException) -> str:
    """What the machine refused (``FILE: No space left on device``), and empty where memory, disk or rights are not at fault.

    Libraries wrap what the disk refused into errors of their own, or tell it in their text alone.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, MemoryError) or getattr(found, "errno", None) in _MACHINE:
            place = getattr(found, "filename", None)
            return f"{place}: {one_line(found)}" if place else one_line(found)
        if any(text in str(found) for text in _REFUSALS):
            return one_line(found)
        found = found.__cause__ or found.__context__
    return ""


@contextmanager
def reading(name: object, what: str = "", *, named: bool = False) -> Iterator[None]:
    """The boundary to a reader: whatever it raises inside becomes one line, ``NAME: cannot be read as WHAT (...)``.

    What darklung's own types refuse gets the name of the file in front, unless a file is `named` already.

    Libraries raise errors of any kind on a broken file, so that no list of them is ever complete. What is opened, parsed
    and converted of a file from outside belongs inside; what is computed of it does not.

    Raises
    ------
    DarklungError
    """
    try:
        yield
    except DarklungError as error:
        if named or str(name).partition(": ")[0] in str(error):
            raise
        raise DarklungError(f"{name}: {error}") from error
    except Exception as error:
        told = f" as {what}" if what else ""
        raise DarklungError(f"{name}: cannot be read{told} ({one_line(error)})") from error


def read_text(path: Path, what: str = "text") -> str:
    """Text in UTF-8, whatever the machine's language, with or without a byte order mark; short enough to be one."""
    if not path.exists():
        raise DarklungError(f"{path}: no such file")
    # A device or a pipe may have no end; a folder is told by who opens it.
    require(path.is_file() or path.is_dir(), f"{path}: wanted a file, got a device or a pipe")
    with reading(path, what), path.open("rb") as file:
        content = file.read(MOST_TEXT_BYTES + 1)  # also of a file that tells no size, or grows
        told = f"{path}: wanted text of at most {MOST_TEXT_BYTES >> 20} MiB, got {path.stat().st_size >> 20} MiB or more"
        require(len(content) <= MOST_TEXT_BYTES, told)
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file, or one line that says what is wrong with it."""
    text = read_text(path, "JSON")
    with reading(path, "JSON"):
        content = json.loads(text)
    require(isinstance(content, dict), f"{path}: wanted a JSON object, got {type(content).__name__}")
    found: dict[str, Any] = content
    return found


def make_folder(folder: Path) -> None:
    """Make a folder that the user asked for, and those above it, where they are not there yet.

    Raises
    ------
    DarklungError
        It cannot be made: a file is in the way, the place takes no folders, no rights, a full disk.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DarklungError(f"{folder}: cannot make the folder ({one_line(error)})") from error


def check_replaceable(folder: Path) -> None:
    """Refuse a folder that may not be exchanged for a new one: a home, or what somebody works in.

    Raises
    ------
    DarklungError
    """
    real = folder.resolve()
    for place, what in ((Path.cwd(), "the folder that this was called in"), (Path("~").expanduser(), "a home")):
        held = place.resolve().is_relative_to(real)
        require(not held, f"{folder}: is or holds {place}, {what}; wanted the name of a new folder")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside `path` to write a file or a folder to; it takes the place of `path` when the block ends without error.

    What a process that was killed has left of the same file is removed first, and the old folder put back, if it was killed
    between taking that away and putting the new one in its place.
    """
    for left in sorted(path.parent.glob(f".{_escaped(path.name)}.*{_PARTIAL}")):
        if _being_written(left):
            continue
        if left.name.startswith(f".{path.name}.old.") and not path.exists():
            os.replace(left, path)
        else:
            _remove(left)
    partial = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        yield partial
        if path.is_dir():  # a folder cannot be replaced in one step
            old = path.with_name(f".{path.name}.old.{os.getpid()}{_PARTIAL}")
            os.replace(path, old)
            os.replace(partial, path)
            _remove(old)
        else:
            os.replace(partial, path)
    finally:
        _remove(partial)


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8; a reader sees the old file or the whole new one."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """The same of bytes."""
    with whole(path) as partial:
        partial.write_bytes(content)


def write_figure(path: Path | str, figure: Any, *, dpi: int) -> None:
    """The same of a figure of matplotlib, as PNG."""
    with whole(Path(path)) as partial:
        figure.savefig(partial, dpi=dpi, format="png")


def _escaped(name: str) -> str:
    from glob import escape

    return escape(name)


def _being_written(partial: Path) -> bool:
    """Whether the process that a partial file is named after may still write it."""
    import psutil

    number = partial.name.removesuffix(_PARTIAL).rpartition(".")[2]
    if not number.isdigit() or int(number) == os.getpid():
        return False
    try:
        # A process that began later has got the number of one that is gone.
        return bool(psutil.Process(int(number)).create_time() <= partial.stat().st_mtime)
    except (psutil.Error, OSError):
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
