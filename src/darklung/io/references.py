"""Files that an HDF5 file leads to: external links, parts of virtual datasets, external storage."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py

from darklung.core.checks import DarklungError, require
from darklung.io.heaps import check_heaps
from darklung.io.patterns import matching

_MOST_FILES, _MOST_STEPS = 100_000, 1_000_000
# Parts of a virtual dataset may be counted: %b, or %<digits>b, stands for a number.
_COUNTED = re.compile(r"%\d*b")


def files_behind(file: Path, names: Iterable[str]) -> list[Path]:
    """All other files that must be opened to read objects of an HDF5 file, each once; they need not exist.

    Raises
    ------
    DarklungError
        Links that lead in a circle, or to more files than a scan has.
    OSError
        A file that is no HDF5.
    """
    pending, seen, found = [(file, name) for name in names], set[tuple[Path, str]](), dict[Path, None]()
    while pending:
        at = pending.pop()
        if at in seen:
            continue
        seen.add(at)
        require(len(seen) < _MOST_STEPS and len(found) < _MOST_FILES, f"{file}: leads to more files than a scan has")
        if at[0].is_file():
            for other, name in _next(at, first=file):
                found |= {other: None} if other != file else {}
                pending += [(other, name)] if name else []
    return list(found)


def check_allowed(file: Path, names: Iterable[str], *, allowed: Sequence[Path], name: str) -> None:
    """Refuse an HDF5 file that leads to a file outside its own folder, unless that one is allowed by name or pattern.

    Parameters
    ----------
    file : Path
    names : iterable of str
        Objects that are read.
    allowed : sequence of Path
        Names and patterns.
    name : str
        Of the file, for the error line.
    """
    known = [p.resolve() for pattern in allowed for p in matching(pattern)]
    for other in files_behind(file, names):
        inside = other.resolve().is_relative_to(file.resolve().parent)
        told = f"{name}: leads to {other}, outside its folder; allow it by name (links: [...])"
        require(inside or other.resolve() in known, told)


def check_found(item: h5py.Dataset | h5py.Group, file: Path, asked: str) -> None:
    """Refuse what HDF5 did not find where a link of `file` leads: it also looks in the folder that one works in."""
    at = Path(item.file.filename).resolve()
    if at == file.resolve():
        return
    behind = files_behind(file, [asked])
    for gone in (p for p in behind if at not in {b.resolve() for b in behind}):
        raise DarklungError(f"{file}: {asked}: leads to {gone}, which is not there ({at} is another file)")


def check_alone(file: h5py.File) -> None:
    """Refuse an open HDF5 file that leads to other files: what darklung writes, and projections, hold all themselves."""
    for name, link in _links(file):
        require(not isinstance(link, h5py.ExternalLink), f"{file.filename}: {name}: is a link to another file, not followed")
        item = file[name] if isinstance(link, h5py.HardLink) else None
        inside = not isinstance(item, h5py.Dataset) or not (item.external or item.is_virtual)
        require(inside, f"{file.filename}: {name}: keeps its values in other files, which are not read")


def _links(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for key in group:
        link, name = group.get(key, getlink=True), f"{above}{key}"
        yield name, link
        if isinstance(link, h5py.HardLink) and group.get(key, getclass=True) is h5py.Group and name.count("/") < 8:
            yield from _links(group[key], f"{name}/")


def _next(at: tuple[Path, str], *, first: Path) -> list[tuple[Path, str]]:
    """What an object leads to; what is no HDF5 leads nowhere, unless nothing else is asked for."""
    try:
        return list(_references(*at))
    except OSError:
        if at[0] == first:
            raise
        return []


def _references(file: Path, name: str) -> Iterator[tuple[Path, str]]:
    """The next (file, name) on the way to an object, or those that its values lie in."""
    check_heaps(file)
    with h5py.File(file, "r") as handle:
        at: Any = handle
        parts = [p for p in name.split("/") if p]
        for number, part in enumerate(parts):
            link = at.get(part, getlink=True) if isinstance(at, h5py.Group) and part in at.keys() else None  # noqa: SIM118
            rest = "/".join(parts[number + 1 :])
            if isinstance(link, h5py.ExternalLink):
                yield file.parent / link.filename, f"{link.path}/{rest}"
                return
            if isinstance(link, h5py.SoftLink):
                start = "" if link.path.startswith("/") else f"{at.name}/"
                yield file, f"{start}{link.path}/{rest}"
                return
            if link is None:
                return
            at = at[part]
        yield from _parts(file, at) if isinstance(at, h5py.Dataset) else ()


def _parts(file: Path, data: h5py.Dataset) -> Iterator[tuple[Path, str]]:
    for own in data.external or ():
        yield Path.cwd() / own[0], ""  # as HDF5 looks for them
    for source in data.virtual_sources() if data.is_virtual else ():
        if source.file_name == ".":
            yield file, source.dset_name
            continue
        counted = file.parent / _COUNTED.sub("*", source.file_name)
        every = matching(counted) if counted.name != Path(source.file_name).name else [file.parent / source.file_name]
        for other in every:
            yield other, source.dset_name
