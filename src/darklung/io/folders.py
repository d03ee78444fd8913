"""Folders of frames: which files belong together, and what is in one of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from darklung.core.checks import require

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class FileGroup:
    """Files of one kind of name, in natural order.

    Parameters
    ----------
    pattern : str
        Their names, with ``*`` for each number that varies.
    files : tuple of Path
    counts : tuple of int
        How many values each number has, slowest first, where the files fill such a grid; else one count.
    """

    pattern: str
    files: tuple[Path, ...]
    counts: tuple[int, ...]


def file_groups(folder: Path) -> list[FileGroup]:
    """The files of a folder, those whose names differ in numbers alone together; hidden ones are left out.

    Raises
    ------
    DarklungError
        No file in it.
    """
    alike: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            alike.setdefault(_DIGITS.sub("#", path.name), []).append(path)
    require(bool(alike), f"{folder}: wanted files in it, found none")
    return [_group(files) for files in alike.values()]


def _group(files: list[Path]) -> FileGroup:
    parts = {path: _DIGITS.split(path.name) for path in files}
    files = sorted(files, key=lambda path: [int(n) for n in parts[path][1::2]])
    values = [{int(n) for n in column} for column in zip(*(p[1::2] for p in parts.values()))]
    varying = [2 * n + 1 for n, found in enumerate(values) if len(found) > 1]
    first = parts[files[0]]
    pattern = "".join("*" if n in varying else text for n, text in enumerate(first))
    counts = tuple(len(found) for found in values if len(found) > 1)
    filled = 1
    for count in counts:
        filled *= count
    return FileGroup(pattern, tuple(files), counts if filled == len(files) else (len(files),))


def folder_lines(folder: Path) -> Iterator[str]:
    """What `darklung show` tells of a folder: groups of files, folders in it."""
    for group in file_groups(folder):
        counted = f"{' × '.join(map(str, group.counts))} files" if len(group.files) > 1 else "1 file"
        size = sum(path.stat().st_size for path in group.files)
        yield f"  {group.pattern:<48} {counted:<28} {size / 2**20:.1f} MiB"
    inner = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if inner:
        yield f"  folders: {', '.join(inner[:12])}{' ...' if len(inner) > 12 else ''}"
