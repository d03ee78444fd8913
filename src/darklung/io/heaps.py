"""A look at the texts of an HDF5 file before HDF5 reads them: on damaged ones its C library crashes or never returns.

Texts of variable length lie in global heaps. An object of such a heap that is free space of no size leaves HDF5 where it is
for ever, in a call that no signal ends; a type of variable length that is neither text nor a list makes it jump to nowhere.
Attributes are therefore read once through a file of our own, which sees each block before HDF5 does and gives it none that
is damaged in this way.
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
# IV.A.2.d of the same: in an encoded type the low half of the fourth byte says of a variable length what it is of.
_KIND_AT, _LISTS_AND_TEXTS = 3, (0, 1)


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
                for _, item in walk(file):
                    _texts(item, guard)
        except Exception:  # noqa: BLE001  libraries raise anything here, and the reader will meet and tell it
            pass
    return guard.told


def walk(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Names and objects of an HDF5 file, each once, in the order of names; without links to elsewhere and damaged objects.

    h5py's `visititems` counts what lies behind each object on the way, which of a damaged list never ends.
    """
    seen: set[tuple[int, ...]] = set()
    pending: list[tuple[str, Any, int]] = [("", file, 0)]
    while pending:
        name, item, depth = pending.pop()
        address = _address(item)
        if address in seen or depth > _MOST_DEPTH:
            continue
        seen.add(address)
        yield name, item
        if isinstance(item, h5py.Group):
            pending += [(f"{name}/{key}".lstrip("/"), inner, depth + 1) for key, inner in _inside(item)][::-1]


def _address(item: Any) -> tuple[int, ...]:
    try:
        return tuple(h5py.h5g.get_objinfo(item.id).objno)
    except Exception:  # noqa: BLE001
        return ()


def _inside(group: h5py.Group) -> Iterator[tuple[str, Any]]:
    try:
        for key in group:
            if isinstance(group.get(key, getlink=True), h5py.HardLink):
                try:
                    yield key, group[key]
                except Exception:  # noqa: BLE001  one damaged object says nothing of the others
                    continue
    except Exception:  # noqa: BLE001
        return


def _texts(item: Any, guard: _Guard) -> None:
    """Read what holds text of variable length; what is refused is gone around."""
    try:
        for name in item.attrs:
            try:
                attribute = item.attrs.get_id(name)
                if attribute.dtype.hasobject and guard.takes(attribute.get_type(), f"attribute {name!r}"):
                    item.attrs[name]
            except Exception:  # noqa: BLE001
                continue
        mine = isinstance(item, h5py.Dataset) and item.dtype.hasobject and not (item.is_virtual or item.external)
        if mine and 0 < (item.size or 0) <= _MOST_TEXTS and guard.takes(item.id.get_type(), repr(item.name)):
            _ = item[()]
    except Exception:  # noqa: BLE001
        return


def _is_sound(kind: h5py.h5t.TypeID) -> bool:
    """Whether all that is of variable length in a type is a list or a text."""
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        return all(_is_sound(kind.get_member_type(n)) for n in range(kind.get_nmembers()))
    if kind.get_class() == h5py.h5t.VLEN:
        return kind.encode()[_KIND_AT] & 15 in _LISTS_AND_TEXTS and _is_sound(kind.get_super())
    return _is_sound(kind.get_super()) if kind.get_class() == h5py.h5t.ARRAY else True


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

    def takes(self, kind: h5py.h5t.TypeID, name: str) -> bool:
        """Whether values of such a type may be read; what may not is noted."""
        return _is_sound(kind) or not self._note(f"the type of {name} is neither of texts nor of lists")

    def _endless(self, at: int) -> bool:
        """Whether a walk over the objects of the heap at `at` would not come to its end."""
        if at in self._known:
            return False
        self._raw.seek(at)
        head = self._raw.read(_HEAD) or b""
        size = self._length(head, 0)
        if size > self._size - at:
            return self._note(f"a heap of {size} bytes at byte {at} goes beyond the file's end")
        heap = head + (self._raw.read(size - _HEAD) if size > _HEAD else b"")
        place = _HEAD
        while place + _OBJECT <= len(heap):
            index, length = int.from_bytes(heap[place : place + 2], "little"), self._length(heap, place)
            # Free space counts its own head, others do not, and are filled to multiples of eight.
            step = length if index == 0 else _OBJECT + -(-length // 8) * 8
            if step == 0 or step > len(heap) - place:
                return self._note(f"a heap at byte {at} holds an object of {length} bytes that is none")
            place += step
        self._known.add(at)
        return False

    def _length(self, heap: bytes, place: int) -> int:
        return int.from_bytes(heap[place + _LENGTH_AT : place + _LENGTH_AT + self.width], "little")

    def _note(self, told: str) -> bool:
        self.told = self.told or told
        return True
