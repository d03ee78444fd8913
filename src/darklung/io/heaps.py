"""A look at the global heaps of an HDF5 file before HDF5 reads them: on a damaged one its C library never returns.

Texts of variable length lie in global heaps. An object of such a heap that is free space of no size leaves HDF5 where it is
for ever, in a call that no signal ends. Attributes are therefore read once through a file of our own, which sees each block
before HDF5 does and gives it none that is damaged in this way.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py

from darklung.core.checks import require

# https://docs.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html, III.E: signature, version, size; then the objects.
_SIGN, _HEAD, _OBJECT, _LENGTH_AT = b"GCOL", 16, 16, 8
_MOST_DEPTH, _MOST_TEXTS = 64, 2**20


def check_heaps(path: Path, name: str = "") -> None:
    """Raise where the texts in the attributes of an HDF5 file lie in a damaged heap; a file is looked at once a process.

    What else is wrong with a file is left to those who read it. The error begins with `name`, or with the path.

    Raises
    ------
    DarklungError
    """
    try:
        about = path.stat()
    except OSError:
        return
    told = _told(path, about.st_size, about.st_mtime_ns)
    require(not told, f"{name or path}: cannot be read as HDF5 ({told})")


@lru_cache(maxsize=4096)
def _told(path: Path, size: int, time_ns: int) -> str:
    with path.open("rb", buffering=0) as raw:
        guard = _Guard(raw, size)
        try:
            with h5py.File(guard, "r") as file:
                guard.width = file.id.get_create_plist().get_sizes()[1]
                _look(file)
        except Exception:  # noqa: BLE001  libraries raise anything here, and the reader will meet and tell it
            pass
    return guard.told


def _look(file: h5py.File) -> None:
    """Read all attributes that hold text of variable length; what is refused is gone around."""
    seen: set[int] = set()
    pending: list[tuple[Any, int]] = [(file, 0)]
    while pending:
        item, depth = pending.pop()
        address = _address(item)
        if address in seen or depth > _MOST_DEPTH:
            continue
        seen.add(address)
        _texts(item)
        if isinstance(item, h5py.Group):
            pending += [(inner, depth + 1) for inner in _inside(item)]


def _address(item: Any) -> int:
    try:
        return int(h5py.h5o.get_info(item.id).addr)
    except Exception:  # noqa: BLE001
        return -1


def _inside(group: h5py.Group) -> Iterator[Any]:
    try:
        for key in group:
            if isinstance(group.get(key, getlink=True), h5py.HardLink):
                try:
                    yield group[key]
                except Exception:  # noqa: BLE001  one damaged object says nothing of the others
                    continue
    except Exception:  # noqa: BLE001
        return


def _texts(item: Any) -> None:
    try:
        for name in item.attrs:
            try:
                if item.attrs.get_id(name).dtype.hasobject:
                    item.attrs[name]
            except Exception:  # noqa: BLE001
                continue
        if isinstance(item, h5py.Dataset) and item.dtype.hasobject and not (item.is_virtual or item.external):
            _ = item[()] if item.size is not None and item.size <= _MOST_TEXTS else None
    except Exception:  # noqa: BLE001
        return


class _Guard(io.RawIOBase):
    """The file as HDF5 sees it: blocks with a heap that would hold it are given as zeros, and noted."""

    def __init__(self, raw: io.RawIOBase, size: int) -> None:
        self._raw, self._size, self._known = raw, size, set[int]()
        self.told, self.width = "", 8

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._raw.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._raw.seek(offset, whence)

    def readinto(self, block: Any) -> int:
        start = self._raw.tell()
        count = self._raw.readinto(block) or 0
        self._raw.seek(max(start - len(_SIGN) + 1, 0))
        window = self._raw.read(start + count - self._raw.tell()) or b""
        first, at = start + count - len(window), window.find(_SIGN)
        while at >= 0:
            if self._endless(first + at):
                block[:count] = bytes(count)
            at = window.find(_SIGN, at + 1)
        self._raw.seek(start + count)
        return count

    def _endless(self, at: int) -> bool:
        """Whether a walk over the objects of the heap at `at` would not come to its end."""
        if at in self._known:
            return False
        self._raw.seek(at)
        head = self._raw.read(_HEAD) or b""
        size = self._length(head, 0)
        if size > self._size - at:
            return self._note(at, f"a heap of {size} bytes at byte {at} goes beyond the file's end")
        heap = head + (self._raw.read(size - _HEAD) if size > _HEAD else b"")
        place = _HEAD
        while place + _OBJECT <= len(heap):
            index, length = int.from_bytes(heap[place : place + 2], "little"), self._length(heap, place)
            # Free space counts its own head, others do not, and are filled to multiples of eight.
            step = length if index == 0 else _OBJECT + -(-length // 8) * 8
            if step == 0 or step > len(heap) - place:
                return self._note(at, f"a heap at byte {at} holds an object of {length} bytes that is none")
            place += step
        self._known.add(at)
        return False

    def _length(self, heap: bytes, place: int) -> int:
        return int.from_bytes(heap[place + _LENGTH_AT : place + _LENGTH_AT + self.width], "little")

    def _note(self, at: int, told: str) -> bool:
        self.told = self.told or told
        return True
