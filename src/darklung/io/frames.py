"""Raw frames as declared by a description, read when they are needed."""

from __future__ import annotations

import glob
import struct
import zlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, check_finite, require
from darklung.core.geometry import ParallelGeometry
from darklung.core.types import Scan
from darklung.io.description import (
    EvenAngles,
    EvenTimes,
    Hdf5Source,
    NpySource,
    RawScan,
    RawSource,
    TiffSource,
    read_raw,
    resolve_path,
)

SAMPLE_AXES = ("direction", "view", "step", "row", "col")
FLAT_AXES = ("direction", "flat", "step", "row", "col")
# Scans up to this size are read at once; larger ones stay on disk and are read view by view.
EAGER_BYTES = 2**29
_READ_ERRORS = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, EOFError, struct.error, zlib.error)

Source = Hdf5Source | NpySource | TiffSource | RawSource


def load_scans(path: Path | str, *, eager_bytes: int = EAGER_BYTES) -> Iterator[tuple[str, Scan, dict[str, str]]]:
    """The scans of a description file (`darklung.io.description`): (name, Scan, columns of the series table).

    Frames of scans larger than `eager_bytes` are `LazyFrames`, read when they are sliced; smaller ones are arrays, checked
    for values that are not finite or negative.

    Raises
    ------
    DarklungError
        One line that names the file and the field: missing or truncated file, missing dataset, wrong number of axes or
        length of an axis, values that are not finite.
    """
    path = Path(path)
    for description, columns in read_raw(path):
        yield description.name, load_scan(description, path, eager_bytes=eager_bytes), columns


def load_scan(raw: RawScan, path: Path, *, eager_bytes: int = EAGER_BYTES) -> Scan:
    """One scan of the description file `path`; see `load_scans`."""
    region = (raw.region.rows, raw.region.cols)
    sample = LazyFrames(open_source(raw.sample, path, "sample"), SAMPLE_AXES, region=region, repeat=raw.repeat)
    flat = LazyFrames(open_source(raw.flat, path, "flat"), FLAT_AXES, region=region, repeat=raw.repeat)
    phases = raw.steps.phases_rad()
    _check_lengths(raw, path, sample, flat, len(phases))
    directions, views, _, rows, cols = sample.shape
    times = _even(raw.view_times, views, f"{path}: view_times"), _even(raw.flat_times, flat.shape[1], f"{path}: flat_times")
    axis = -1.0 if raw.axis_col is None else raw.axis_col - (raw.region.cols[0] if raw.region.cols else 0)
    return Scan(
        frames=sample.all_if_small(eager_bytes),
        flats=flat.all_if_small(eager_bytes),
        step_phase_rad=np.tile(phases, (directions, 1)),
        directions_rad=np.asarray(raw.directions, dtype=np.float64),
        geometry=ParallelGeometry(_even(raw.angles, views, f"{path}: angles"), rows, cols, raw.pixel, axis),
        view_time_s=np.tile(times[0], (directions, 1)),
        flat_time_s=np.tile(times[1], (directions, 1)),
        dark_frame=_dark_frame(raw, path, region, sample.repeats if raw.repeat == "sum" else 1),
        bad_pixels=_bad_pixels(raw, path, region),
    )


def _check_lengths(raw: RawScan, path: Path, sample: LazyFrames, flat: LazyFrames, steps: int) -> None:
    for stack in (sample, flat):
        name = stack.stack.name
        require(stack.shape[2] == steps, f"{name}: {stack.shape[2]} steps, but steps in {path} tells {steps}")
        require(
            stack.shape[0] == len(raw.directions),
            f"{name}: {stack.shape[0]} directions, but directions in {path} tells {len(raw.directions)}",
        )
    require(
        sample.shape[3:] == flat.shape[3:],
        f"{flat.stack.name}: (row, col) {flat.shape[3:]}, but the sample has {sample.shape[3:]}",
    )
    require(
        raw.repeat != "sum" or sample.repeats == flat.repeats,
        f"{flat.stack.name}: {flat.repeats} repeats to sum, but the sample has {sample.repeats}; use repeat: mean",
    )


def _even(values: Any, count: int, name: str) -> NDArray[np.float64]:
    if values is None:
        return np.zeros(count)
    if isinstance(values, (EvenAngles, EvenTimes)):
        return np.asarray(values.first + values.step * np.arange(count), dtype=np.float64)
    require(len(values) == count, f"{name}: wanted {count} values, got {len(values)}")
    return np.asarray(values, dtype=np.float64)


def _dark_frame(raw: RawScan, path: Path, region: Any, repeats: int) -> NDArray[np.float64] | None:
    """The mean dark frame, times the repeats that are summed in sample and flat."""
    if raw.dark_frame is None:
        return None
    stack = open_source(raw.dark_frame, path, "dark_frame")
    frame = np.asarray(LazyFrames(stack, SAMPLE_AXES, region=region, repeat="mean")[...], dtype=np.float64)
    check_finite(stack.name, frame)
    return frame[0, 0, 0] * repeats


def _bad_pixels(raw: RawScan, path: Path, region: Any) -> NDArray[np.bool_] | None:
    if raw.bad_pixels is None:
        return None
    stack = open_source(raw.bad_pixels, path, "bad_pixels")
    return np.asarray(LazyFrames(stack, SAMPLE_AXES, region=region, repeat=None)[0, 0, 0]) != 0


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


class LazyFrames:
    """A `Stack` seen as an array with the axes of `Scan`, read when it is sliced.

    The repeat axis is summed or averaged, missing axes have length 1, and only the region's rows and columns are read.
    """

    def __init__(self, stack: Stack, axes: tuple[str, ...], *, region: Any, repeat: str | None) -> None:
        self.stack, self._axes, self._repeat = stack, axes, repeat
        length = dict(zip(stack.axes, stack.shape))
        self.repeats = length.get("repeat", 1)
        self._start = dict.fromkeys(axes, 0)
        for name, limits in zip(("row", "col"), region):
            if limits is None:
                continue
            first, last = limits
            full = length.get(name, 1)
            require(0 <= first <= last < full, f"{stack.name}: region {name}s {first}–{last} outside 0–{full - 1}")
            self._start[name], length[name] = first, last - first + 1
        self.shape = tuple(length.get(name, 1) for name in axes)
        self.ndim = len(axes)
        mean = repeat == "mean" and self.repeats > 1
        total = repeat == "sum" and self.repeats > 1 and stack.dtype.kind in "uib"
        self.dtype = np.dtype(np.float64) if mean else np.dtype(np.int64) if total else stack.dtype
        self.nbytes = int(np.prod(self.shape)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype=dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = self._full_key(key)
        wanted = {name: k if isinstance(k, slice) else slice(k, k + 1) for name, k in zip(self._axes, keys)}
        index = tuple(
            slice(None)
            if name == "repeat"
            else slice(wanted[name].start + self._start[name], wanted[name].stop + self._start[name])
            for name in self.stack.axes
        )
        block = self.stack.read(index)
        names = list(self.stack.axes)
        if "repeat" in names:
            block = self._combine(block, names.index("repeat"))
            names.remove("repeat")
        order = [names.index(name) for name in self._axes if name in names]
        shape = [wanted[name].stop - wanted[name].start for name in self._axes]
        result = np.ascontiguousarray(block.transpose(order)).reshape(shape)
        return result[tuple(0 if not isinstance(k, slice) else slice(None) for k in keys)]

    def _combine(self, block: NDArray[Any], axis: int) -> NDArray[Any]:
        if self.repeats == 1:
            return block.take(0, axis=axis)
        return block.mean(axis=axis) if self._repeat == "mean" else block.sum(axis=axis, dtype=self.dtype)

    def _full_key(self, key: Any) -> list[Any]:
        """Integers and slices with start and stop for every axis; steps and index arrays are refused."""
        parts = list(key) if isinstance(key, tuple) else [key]
        if any(part is Ellipsis for part in parts):
            at = next(i for i, part in enumerate(parts) if part is Ellipsis)
            parts[at : at + 1] = [slice(None)] * (self.ndim - len(parts) + 1)
        parts += [slice(None)] * (self.ndim - len(parts))
        result: list[Any] = []
        for part, length, name in zip(parts, self.shape, self._axes):
            if isinstance(part, slice):
                start, stop, step = part.indices(length)
                require(step == 1 and stop >= start, f"{self.stack.name}: axis {name}: only plain slices, got {part}")
                result.append(slice(start, stop))
            else:
                number = int(part)
                require(-length <= number < length, f"{self.stack.name}: axis {name}: {number} outside 0–{length - 1}")
                result.append(number % length)
        return result

    def all_if_small(self, limit_bytes: int) -> Any:
        """The whole as a checked array if it is not larger than `limit_bytes`, else self."""
        if self.nbytes > limit_bytes:
            return self
        array = self[...]
        check_finite(self.stack.name, array)
        require(
            array.dtype.kind in "ub" or bool((array >= 0).all()),
            f"{self.stack.name}: negative counts, the lowest is {array.min()}",
        )
        return array


def open_source(source: Source, description: Path, field: str) -> Stack:
    """Make a `Stack` of a described source; `field` names it in error lines."""
    if isinstance(source, Hdf5Source):
        return _open_hdf5(source, resolve_path(source.file, description), field)
    files = _files(source, description, field)
    readers = {"npy": _read_npy, "tiff": _read_tiff}
    if isinstance(source, RawSource):
        layout = source
        return _stack_files(files, source, field, lambda file: _read_binary(file, layout, field))
    return _stack_files(files, source, field, readers[source.kind])


def _open_hdf5(source: Hdf5Source, file: Path, field: str) -> Stack:
    name = f"{file}: {field} ({source.dataset})"
    require(file.exists(), f"{name}: no such file")

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


def _datasets(handle: h5py.File) -> str:
    found: list[str] = []
    handle.visititems(lambda path, item: found.append(path) if isinstance(item, h5py.Dataset) else None)
    return (", ".join(found[:12]) + (", ..." if len(found) > 12 else "")) or "no dataset"


def _files(source: NpySource | TiffSource | RawSource, description: Path, field: str) -> list[Path]:
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


def _stack_files(files: list[Path], source: NpySource | TiffSource | RawSource, field: str, read_one: Any) -> Stack:
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
