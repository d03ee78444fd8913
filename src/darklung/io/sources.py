"""Arrays on disk with named axes: HDF5, NXtomo, lists of npy, TIFF, EDF and raw binary files."""

from __future__ import annotations

import glob
import math
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.files import reading
from darklung.io import nxtomo
from darklung.io.description import EdfSource, Hdf5Source, NpySource, NxtomoSource, RawSource, TiffSource, resolve_path
from darklung.io.edf import read_edf
from darklung.io.hdf5 import check_dataset
from darklung.io.npy import read_npy
from darklung.io.tiff_stack import check_page, opened_tiff
from darklung.io.volume_file import check_memory

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
        # Nothing calculates in half precision.
        dtype = np.float32 if np.dtype(dtype) == np.float16 else dtype
        self.name, self.axes, self.shape, self.dtype, self._read = (
            name,
            axes,
            tuple(shape),
            np.dtype(dtype).newbyteorder("="),
            read,
        )

    def read(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """A block, in the native order of axes."""
        values = math.prod(len(range(*part.indices(count))) for part, count in zip(index, self.shape))
        check_memory(self.name, values * self.dtype.itemsize)
        with reading(self.name):
            block = self._read(index)
        return np.asarray(block).astype(self.dtype, copy=False)


def open_source(source: Source, description: Path, field: str) -> Stack:
    """Make a `Stack` of a described source; `field` names it in error lines."""
    if isinstance(source, Hdf5Source):
        return _open_hdf5(source, resolve_path(source.file, description), field)
    if isinstance(source, NxtomoSource):
        return _open_nxtomo(source, resolve_path(source.file, description), field)
    files = _files(source, description, field)
    readers = {"npy": read_npy, "tiff": _read_tiff, "edf": lambda file, name: read_edf(file)}
    if isinstance(source, RawSource):
        layout = source
        return _stack_files(files, source, field, lambda file, name: _read_binary(file, layout, name))
    return _stack_files(files, source, field, readers[source.kind])


def _open_hdf5(source: Hdf5Source, file: Path, field: str) -> Stack:
    name = f"{file}: {field} ({source.dataset})"
    require(file.exists(), f"{name}: no such file")

    def read(index: tuple[slice, ...]) -> Any:
        with h5py.File(file, "r") as handle:
            return handle[source.dataset][index]

    with reading(name, "HDF5"), h5py.File(file, "r") as handle:
        if source.dataset not in handle:
            raise DarklungError(f"{name}: no such dataset; the file holds {_datasets(handle)}")
        item = handle[source.dataset]
        check_dataset(item, share=0)
        shape, dtype = item.shape, item.dtype
    return Stack(name, source.axes, shape, dtype, read)


def _open_nxtomo(source: NxtomoSource, file: Path, field: str) -> Stack:
    name = f"{file}: {field} (NXtomo {source.frames})"
    require(file.exists(), f"{name}: no such file")
    with reading(name, "HDF5"):
        dataset, numbers, frame, dtype = nxtomo.select(file, source.entry, source.frames, name)
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
    patterns = [source.files] if isinstance(source.files, str) else list(source.files)
    found: list[Path] = []
    for pattern in patterns:
        path = resolve_path(pattern, description)
        matches = [Path(p) for p in sorted(glob.glob(str(path)))] if glob.has_magic(str(path)) else [path]
        require(bool(matches), f"{path}: {field}: no file matches")
        found += matches
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
    name = f"{file}: {field}"
    with reading(name):
        result: NDArray[Any] = read_one(file, name)
        return result


def _read_tiff(file: Path, name: str) -> NDArray[Any]:
    with opened_tiff(file, name) as opened:
        for page in opened.pages:
            check_page(file, page)
        found = opened.series[0]
        if found.dataoffset is None:
            return np.asarray(found.asarray())
        # Uncompressed and in one piece: only what is asked for is read.
        return np.memmap(file, np.dtype(found.dtype).newbyteorder(opened.byteorder), "r", found.dataoffset, found.shape)


def _read_binary(file: Path, source: RawSource, name: str) -> NDArray[Any]:
    dtype = np.dtype(source.dtype).newbyteorder("<" if source.byte_order == "little" else ">")
    wanted = source.header_bytes + math.prod(source.shape) * dtype.itemsize
    size = file.stat().st_size
    require(size == wanted, f"{name}: {size} bytes, but header, shape and dtype tell {wanted}")
    return np.memmap(file, dtype=dtype, mode="r", offset=source.header_bytes, shape=source.shape)
