"""Arrays on disk with named axes: HDF5, Zarr, NXtomo, lists of npy, TIFF, EDF, raw binary and fabio's files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.files import reading
from darklung.io import nxtomo
from darklung.io.description import Hdf5Source, NxtomoSource, RawSource, Source, ZarrSource, named_files, resolve_path
from darklung.io.edf import read_edf
from darklung.io.fabio_frames import read_fabio
from darklung.io.hdf5 import check_dataset
from darklung.io.heaps import check_heaps, walk
from darklung.io.holes import check_holes, holes_of, need_filters
from darklung.io.npy import read_npy
from darklung.io.patterns import in_order, is_pattern
from darklung.io.references import check_allowed, check_found, files_behind
from darklung.io.tiff_frames import read_tiff
from darklung.io.volume_file import check_memory
from darklung.io.zarr_frames import check_unscaled

Index = tuple[slice, ...]


@dataclass(frozen=True)
class Member:
    """A file that belongs to a source, and the array in it, if it holds several."""

    path: Path
    name: str
    array: str = ""


class Stack:
    """An array on disk with named axes, read in blocks.

    Parameters
    ----------
    name : str
        File and field, for error lines.
    axes : tuple of str
    shape : tuple of int
    dtype : numpy dtype, native byte order
    read : function of (slice, ...), one a native axis
    check : the same, that raises where something is missing in the files; it reads no values
    """

    def __init__(
        self, name: str, axes: tuple[str, ...], shape: tuple[int, ...], dtype: Any, read: Any, check: Any = None
    ) -> None:
        require(
            len(axes) == len(shape),
            f"{name}: wanted {len(axes)} axes ({', '.join(axes)}), the data have shape {tuple(shape)}",
        )
        require(all(n > 0 for n in shape), f"{name}: is empty, shape {tuple(shape)}")
        require(np.dtype(dtype).kind in "uifb", f"{name}: wanted numbers, got dtype {dtype}")
        self.name, self.axes, self.shape, self._read, self._check = name, axes, tuple(shape), read, check
        # Nothing computes with half floats.
        self.dtype = np.dtype(np.float32 if dtype == np.float16 else dtype).newbyteorder("=")

    def check(self, index: Index) -> None:
        """Raise where the files lack part of a block."""
        if self._check is not None:
            self._check(index)

    def read(self, index: Index) -> NDArray[Any]:
        """A block, in the native order of axes."""
        values = math.prod(len(range(*part.indices(count))) for part, count in zip(index, self.shape))
        check_memory(self.name, values * self.dtype.itemsize)
        with reading(self.name, named=True):
            block = self._read(index)
        return np.asarray(block).astype(self.dtype, copy=False)


def open_source(source: Source, description: Path, field: str) -> Stack:
    """Make a `Stack` of a described source; `field` names it in error lines."""
    if isinstance(source, NxtomoSource):
        return _open_nxtomo(source, description, field)
    members = _members(source, description, field)
    if isinstance(source, Hdf5Source):
        for member in members:
            _check_references(source, member.path, description, member.name)
        # Each is opened once, so that what is missing is known before anything is read.
        arrays = {member: Hdf5Array(member) for member in members}
        return _stack(members, source, field, arrays.__getitem__)
    readers: dict[str, Callable[[Member], NDArray[Any]]] = {
        "npy": lambda member: read_npy(member.path, member.name),
        "tiff": lambda member: read_tiff(member.path, member.name),
        "edf": lambda member: read_edf(member.path, several=True),
        "fabio": lambda member: read_fabio(member.path),
    }
    if isinstance(source, RawSource):
        layout = source
        return _stack(members, source, field, lambda member: _read_binary(member.path, layout, field))
    if isinstance(source, ZarrSource):
        return _stack(members, source, field, _open_zarr)
    return _stack(members, source, field, readers[source.kind])


class Hdf5Array:
    """A dataset seen as an array that opens its file when it is sliced."""

    def __init__(self, member: Member) -> None:
        self._member = member
        with _hdf5(member) as handle:
            item = _dataset(handle, member)
            check_dataset(item, share=0)
            need_filters(item, member.name)
            check_unscaled(item.attrs, member.name)
            self.shape, self.dtype, self._holes = item.shape, item.dtype, holes_of(item)

    def check(self, index: Index) -> None:
        """Raise where a part is missing."""
        check_holes(self._holes, index, self._member.name, self.shape)

    def __getitem__(self, index: Index) -> Any:
        self.check(index)
        with h5py.File(self._member.path, "r") as handle:
            return handle[self._member.array][index]


@contextmanager
def _hdf5(member: Member) -> Iterator[h5py.File]:
    with reading(member.name, "HDF5"):
        check_heaps(member.path, member.name)
    with reading(member.name, "HDF5"), h5py.File(member.path, "r") as handle:
        yield handle


def _dataset(handle: h5py.File, member: Member) -> h5py.Dataset:
    try:
        item = handle[member.array]
    except (KeyError, OSError) as error:
        for gone in (p for p in files_behind(member.path, [member.array]) if not p.is_file()):
            raise DarklungError(f"{member.name}: leads to {gone}, which is not there") from error
        raise DarklungError(f"{member.name}: no such dataset; the file holds {_datasets(handle)}") from error
    require(isinstance(item, h5py.Dataset), f"{member.name}: is a group, not a dataset")
    require(item.shape is not None, f"{member.name}: is empty, a dataset without values")
    check_found(item, member.path, member.array)
    return item


def _open_zarr(member: Member) -> Any:
    from darklung.io.zarr_frames import ZarrArray

    return ZarrArray(member.path, member.array, member.name)


def source_files(source: Source, description: Path) -> Iterator[tuple[str, list[Path]]]:
    """Each name or pattern of a source, and all files that are read for it: also those that HDF5 files lead to."""
    for text, files in named_files(source, description):
        behind: list[Path] = []
        if isinstance(source, Hdf5Source | NxtomoSource):
            with suppress(OSError):  # what is no HDF5 is told when it is opened
                behind = [p for file in files for p in files_behind(file, _objects(source, file)) if p.exists()]
        yield text, [*files, *behind]


def _objects(source: Hdf5Source | NxtomoSource, file: Path) -> list[str]:
    """What is read of an HDF5 file."""
    if isinstance(source, NxtomoSource):
        return nxtomo.objects(file, source.entry)
    return [member.array for member in _arrays(Member(file, str(file), source.dataset))]


def _check_references(source: Hdf5Source | NxtomoSource, file: Path, description: Path, name: str) -> None:
    """Refuse what leads to files that nobody named, before anything of it is opened."""
    allowed = [resolve_path(text, description) for text in source.links]
    with reading(name, "HDF5"):
        check_allowed(file, _objects(source, file), allowed=allowed, name=name)


def _open_nxtomo(source: NxtomoSource, description: Path, field: str) -> Stack:
    file = resolve_path(source.file, description)
    name = f"{file}: {field} (NXtomo {source.frames})"
    require(file.exists(), f"{name}: no such file")
    _check_references(source, file, description, name)
    with reading(name, "HDF5"):
        dataset, numbers, frame, dtype = nxtomo.select(file, source.entry, source.frames, name)
    axes, counts = source.frame_axes, source.frame_counts
    require(
        len(axes) == len(counts) and int(np.prod(counts)) == len(numbers),
        f"{name}: {len(numbers)} frames, frame_axes ({', '.join(axes)}) tell {' × '.join(map(str, counts))}",
    )
    numbers, array = numbers.reshape(counts), Hdf5Array(Member(file, name, dataset))
    read = nxtomo.frame_reader(file, dataset, numbers)

    def check(index: Index) -> None:
        for n in numbers[index[: len(counts)]].ravel():
            array.check((slice(int(n), int(n) + 1), *index[len(counts) :]))

    return Stack(name, source.all_axes, (*counts, *frame), dtype, read, check)


def _datasets(handle: h5py.File) -> str:
    found = [name for name, item in walk(handle) if isinstance(item, h5py.Dataset)]
    return (", ".join(found[:12]) + (", ..." if len(found) > 12 else "")) or "no dataset"


def _members(source: Any, description: Path, field: str) -> list[Member]:
    """What a source names, in the order in which it is read."""
    found: list[Path] = []
    for text, files in named_files(source, description):
        told = "no file matches" if is_pattern(text) else "no such file"
        require(bool(files), f"{resolve_path(text, description)}: {field}: {told}")
        found += files
    # One file alone may stand for all: that is meant.
    if 1 < len(set(found)) < len(found):
        raise DarklungError(f"{next(p for p in found if found.count(p) > 1)}: {field}: is named twice")
    dataset = getattr(source, "dataset", "")
    members = []
    for path in found:
        name = f"{path}: {field}" + (f" ({dataset})" if dataset else "")
        require(path.is_dir() if isinstance(source, ZarrSource) else path.is_file(), f"{name}: no such file")
        members += _arrays(Member(path, name, dataset)) if isinstance(source, Hdf5Source) else [Member(path, name, dataset)]
    return members


def _arrays(member: Member) -> list[Member]:
    """The datasets that a pattern such as ``entry/data/data_*`` stands for, in natural order."""
    if not any(c in member.array for c in "*?"):
        return [member]
    with _hdf5(member) as handle:
        places = [""]
        for part in member.array.strip("/").split("/"):
            groups = [(place, handle[place or "/"]) for place in places if not place or place in handle]
            inside = [(place, key) for place, group in groups if isinstance(group, h5py.Group) for key in group]
            places = [f"{place}/{key}".strip("/") for place, key in inside if fnmatchcase(key, part)]
        require(bool(places), f"{member.name}: no such dataset; the file holds {_datasets(handle)}")
    label = member.name.removesuffix(f"({member.array})")
    return [Member(member.path, f"{label}({place})", place) for place in in_order(member.array, places)]


def _stack(members: list[Member], source: Any, field: str, read_one: Any) -> Stack:
    """The members as one array: stacked along file axes, or their frames laid end to end."""
    name = f"{members[0].name}{f' and {len(members) - 1} more' if len(members) > 1 else ''}"
    if source.frame_axes:
        return _joined(members, source, name, read_one)
    counts = source.file_counts or ((len(members),) if source.file_axes else ())
    require(
        int(np.prod(counts, dtype=int)) == len(members),
        f"{name}: {len(members)} files, file_axes ({', '.join(source.file_axes)}) tell {' × '.join(map(str, counts)) or 1}",
    )
    first = _opened(read_one, members[0])

    def chosen(index: Index) -> Iterator[Member]:
        for where in product(*(range(*part.indices(count)) for part, count in zip(index, counts))):
            yield members[int(np.ravel_multi_index(where, counts)) if counts else 0]

    def read(index: Index) -> Any:
        blocks = []
        for member in chosen(index):
            block = _alike(_opened(read_one, member), first, member.name)
            with reading(member.name):
                blocks.append(np.asarray(block[index[len(counts) :]]))
        lengths = [len(range(*part.indices(count))) for part, count in zip(index, counts)]
        return np.stack(blocks).reshape(*lengths, *blocks[0].shape)

    def check(index: Index) -> None:
        for member in chosen(index):
            _alike(read_one(member), first, member.name).check(index[len(counts) :])

    able = check if hasattr(first, "check") else None
    return Stack(name, source.all_axes, (*counts, *first.shape), first.dtype, read, able)


def _joined(members: list[Member], source: Any, name: str, read_one: Any) -> Stack:
    """Frames of all members one after the other, in the shape that `frame_counts` tell."""
    first = _opened(read_one, members[0])
    lengths = []
    for member in members:
        one = _opened(read_one, member)
        require(
            len(one.shape) > 1, f"{member.name}: wanted frames along the first of two axes or more, got shape {one.shape}"
        )
        lengths.append(_alike(one, first, member.name, start=1).shape[0])
    counts, total = source.frame_counts, sum(lengths)
    told = f"{', '.join(source.frame_axes)}) tell {' × '.join(map(str, counts))}"
    require(int(np.prod(counts)) == total, f"{name}: {total} frames, frame_axes ({told}")
    numbers, ends = np.arange(total).reshape(counts), np.cumsum(lengths)

    def runs(index: Index) -> Iterator[tuple[Member, Index]]:
        flat = numbers[index[: len(counts)]].ravel()
        part = np.searchsorted(ends, flat, side="right")
        for run in np.split(flat, np.flatnonzero((np.diff(flat) != 1) | (np.diff(part) != 0)) + 1):
            member = int(np.searchsorted(ends, run[0], side="right"))
            start = int(run[0] - ends[member] + lengths[member])
            yield members[member], (slice(start, start + len(run)), *index[len(counts) :])

    def read(index: Index) -> Any:
        blocks = [_part(read_one, member, inner) for member, inner in runs(index)]
        return np.concatenate(blocks).reshape(*numbers[index[: len(counts)]].shape, *blocks[0].shape[1:])

    def check(index: Index) -> None:
        for member, inner in runs(index):
            read_one(member).check(inner)

    able = check if hasattr(first, "check") else None
    return Stack(name, source.all_axes, (*counts, *first.shape[1:]), first.dtype, read, able)


def _alike(block: Any, first: Any, name: str, start: int = 0) -> Any:
    """`block`, if its shape (from axis `start`) and type are those of the first file's."""
    same = block.shape[start:] == first.shape[start:]
    require(same, f"{name}: shape {block.shape}, but the first file has {first.shape}")
    require(block.dtype == first.dtype, f"{name}: dtype {block.dtype}, but the first file has {first.dtype}")
    return block


def _part(read_one: Any, member: Member, index: Index) -> NDArray[Any]:
    with reading(member.name):
        return np.asarray(read_one(member)[index])


def _opened(read_one: Any, member: Member) -> Any:
    with reading(member.name):
        return read_one(member)


def _read_binary(file: Path, source: RawSource, field: str) -> NDArray[Any]:
    dtype = np.dtype(source.dtype).newbyteorder("<" if source.byte_order == "little" else ">")
    wanted = source.header_bytes + math.prod(source.shape) * dtype.itemsize + source.trailer_bytes
    size, trailer = file.stat().st_size, ", trailer" if source.trailer_bytes else ""
    require(size == wanted, f"{file}: {field}: {size} bytes, but header, shape{trailer} and dtype tell {wanted}")
    return np.memmap(file, dtype=dtype, mode="r", offset=source.header_bytes, shape=source.shape)
