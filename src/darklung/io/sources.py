"""Arrays on disk with named axes: HDF5, NXtomo, lists of npy, TIFF, EDF and raw binary files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.io import nxtomo
from darklung.io.description import (
    EdfSource,
    Hdf5Source,
    NpySource,
    NxtomoSource,
    RawSource,
    TiffSource,
    named_files,
    resolve_path,
)
from darklung.io.edf import read_edf
from darklung.io.patterns import is_pattern
from darklung.io.references import check_allowed, files_behind

_READ_ERRORS = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, EOFError, struct.error, zlib.error)

FileSource = NpySource | TiffSource | EdfSource | RawSource
Source = Hdf5Source | NxtomoSource | FileSource


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
    """

    def __init__(self, name: str, axes: tuple[str, ...], shape: tuple[int, ...], dtype: Any, read: Any) -> None:
        require(
            len(axes) == len(shape),
            f"{name}: wanted {len(axes)} axes ({', '.join(axes)}), the data have shape {tuple(shape)}",
        )
        require(all(n > 0 for n in shape), f"{name}: is empty, shape {tuple(shape)}")
        require(np.dtype(dtype).kind in "uifb", f"{name}: wanted numbers, got dtype {dtype}")
        self.name, self.axes, self.shape, self.dtype, self._read = (
            name,
            axes,
            tuple(shape),
            np.dtype(dtype).newbyteorder("="),
            read,
        )

    def read(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """A block, in the native order of axes."""
        try:
            block = self._read(index)
        except DarklungError:
            raise
        except _READ_ERRORS as error:
            raise DarklungError(f"{self.name}: cannot be read ({_one_line(error)})") from error
        return np.asarray(block).astype(self.dtype, copy=False)


def open_source(source: Source, description: Path, field: str) -> Stack:
    """Make a `Stack` of a described source; `field` names it in error lines."""
    if isinstance(source, Hdf5Source):
        return _open_hdf5(source, description, field)
    if isinstance(source, NxtomoSource):
        return _open_nxtomo(source, description, field)
    files = _files(source, description, field)
    readers = {"npy": _read_npy, "tiff": _read_tiff, "edf": read_edf}
    if isinstance(source, RawSource):
        layout = source
        return _stack_files(files, source, field, lambda file: _read_binary(file, layout, field))
    return _stack_files(files, source, field, readers[source.kind])


def _open_hdf5(source: Hdf5Source, description: Path, field: str) -> Stack:
    file = resolve_path(source.file, description)
    name = f"{file}: {field} ({source.dataset})"
    require(file.exists(), f"{name}: no such file")
    _check_references(source, file, description, name)

    def read(index: tuple[slice, ...]) -> Any:
        with h5py.File(file, "r") as handle:
            return handle[source.dataset][index]

    try:
        with h5py.File(file, "r") as handle:
            if source.dataset not in handle:
                raise DarklungError(f"{name}: no such dataset; the file holds {_datasets(handle)}")
            item = handle[source.dataset]
            require(isinstance(item, h5py.Dataset), f"{name}: is a group, not a dataset")
            shape, dtype = item.shape, item.dtype
    except OSError as error:
        raise DarklungError(f"{name}: cannot be read as HDF5 ({_one_line(error)})") from error
    return Stack(name, source.axes, shape, dtype, read)


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
    return [source.dataset] if isinstance(source, Hdf5Source) else nxtomo.objects(file, source.entry)


def _check_references(source: Hdf5Source | NxtomoSource, file: Path, description: Path, name: str) -> None:
    """Refuse what leads to files that nobody named, before anything of it is opened."""
    allowed = [resolve_path(text, description) for text in source.links]
    try:
        check_allowed(file, _objects(source, file), allowed=allowed, name=name)
    except OSError as error:
        raise DarklungError(f"{name}: cannot be read as HDF5 ({_one_line(error)})") from error


def _open_nxtomo(source: NxtomoSource, description: Path, field: str) -> Stack:
    file = resolve_path(source.file, description)
    name = f"{file}: {field} (NXtomo {source.frames})"
    require(file.exists(), f"{name}: no such file")
    _check_references(source, file, description, name)
    try:
        dataset, numbers, frame, dtype = nxtomo.select(file, source.entry, source.frames, name)
    except OSError as error:
        raise DarklungError(f"{name}: cannot be read as HDF5 ({_one_line(error)})") from error
    axes, counts = source.frame_axes, source.frame_counts
    require(
        len(axes) == len(counts) and int(np.prod(counts)) == len(numbers),
        f"{name}: {len(numbers)} frames, frame_axes ({', '.join(axes)}) tell {' × '.join(map(str, counts))}",
    )
    read = nxtomo.frame_reader(file, dataset, numbers.reshape(counts))
    return Stack(name, source.axes, (*counts, *frame), dtype, read)


def _datasets(handle: h5py.File) -> str:
    found: list[str] = []
    handle.visititems(lambda path, item: found.append(path) if isinstance(item, h5py.Dataset) else None)
    return (", ".join(found[:12]) + (", ..." if len(found) > 12 else "")) or "no dataset"


def _files(source: FileSource, description: Path, field: str) -> list[Path]:
    found: list[Path] = []
    for text, files in named_files(source, description):
        told = "no file matches" if is_pattern(text) else "no such file"
        require(bool(files), f"{resolve_path(text, description)}: {field}: {told}")
        found += files
    for path in found:
        require(path.is_file(), f"{path}: {field}: no such file")
    return found


def _stack_files(files: list[Path], source: FileSource, field: str, read_one: Any) -> Stack:
    counts = source.file_counts or ((len(files),) if source.file_axes else ())
    name = f"{files[0]}{f' and {len(files) - 1} more' if len(files) > 1 else ''}: {field}"
    require(
        int(np.prod(counts, dtype=int)) == len(files),
        f"{name}: {len(files)} files, file_axes ({', '.join(source.file_axes)}) tell {' × '.join(map(str, counts)) or 1}",
    )
    first = _opened(read_one, files[0], field)

    def read(index: tuple[slice, ...]) -> Any:
        chosen = [range(*part.indices(count)) for part, count in zip(index, counts)]
        blocks = []
        for where in product(*chosen):
            file = files[int(np.ravel_multi_index(where, counts)) if counts else 0]
            block = _opened(read_one, file, field)
            require(
                block.shape == first.shape, f"{file}: {field}: shape {block.shape}, but the first file has {first.shape}"
            )
            require(
                block.dtype == first.dtype, f"{file}: {field}: dtype {block.dtype}, but the first file has {first.dtype}"
            )
            blocks.append(np.asarray(block[index[len(counts) :]]))
        return np.stack(blocks).reshape(*(len(c) for c in chosen), *blocks[0].shape)

    return Stack(name, (*source.file_axes, *source.axes), (*counts, *first.shape), first.dtype, read)


def _opened(read_one: Any, file: Path, field: str) -> NDArray[Any]:
    try:
        result: NDArray[Any] = read_one(file)
    except DarklungError:
        raise
    except _READ_ERRORS as error:
        raise DarklungError(f"{file}: {field}: cannot be read ({_one_line(error)})") from error
    return result


def _read_npy(file: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return array


def _read_tiff(file: Path) -> NDArray[Any]:
    import tifffile

    try:
        try:
            # Uncompressed and in one piece: only what is asked for is read.
            return np.asanyarray(tifffile.memmap(file, mode="r"))
        except ValueError:
            return np.asarray(tifffile.imread(file))
    except tifffile.TiffFileError as error:
        raise ValueError(str(error)) from error


def _read_binary(file: Path, source: RawSource, field: str) -> NDArray[Any]:
    dtype = np.dtype(source.dtype).newbyteorder("<" if source.byte_order == "little" else ">")
    wanted = source.header_bytes + int(np.prod(source.shape)) * dtype.itemsize
    size = file.stat().st_size
    require(size == wanted, f"{file}: {field}: {size} bytes, but header, shape and dtype tell {wanted}")
    return np.memmap(file, dtype=dtype, mode="r", offset=source.header_bytes, shape=source.shape)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
