"""Any of the core types as an HDF5 file: arrays are datasets, numbers and names attributes, nested types groups."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.files import reading, whole
from darklung.core.geometry import ConeGeometry, Geometry, ParallelGeometry
from darklung.core.types import PROJECTION_MAPS, Insertion, Phantom, Projections, Scan
from darklung.core.units import parse_number
from darklung.io.heaps import check_heaps
from darklung.io.holes import check_holes, holes_of
from darklung.io.references import check_alone
from darklung.io.volume_file import check_fits, check_memory

TYPES: dict[str, type] = {t.__name__: t for t in (Phantom, Insertion, Scan, Projections, ParallelGeometry, ConeGeometry)}
SCHEMA = 1
# Noise does not compress; smooth fields and labels do, and the fast level already gets most of it. They carry checksums
# too; frames and projections do not (docs/decisions/145): a filter makes HDF5 read a whole view for a few of its rows.
CHECKS = "checks"
COMPRESSED = {"Phantom"}
# What a file may tell beyond what it holds: chunks that were never written.
UNWRITTEN_BYTES = 2**26

T = TypeVar("T")


@contextmanager
def whole_file(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file that appears at `path` when it is complete, and not at all after an error."""
    with whole(path) as partial, written_hdf5(partial) as file:
        yield file


@contextmanager
def written_hdf5(path: Path, mode: Literal["w", "r+"] = "w") -> Iterator[h5py.File]:
    """An HDF5 file to write to, also where the disk may become full.

    Raises
    ------
    OSError
        At the end of the block: what the disk refused first.
    """
    with _Patient(path, "w+" if mode == "w" else "r+") as target:
        try:
            with h5py.File(target, mode) as file:
                yield file
        finally:
            if target.refused is not None:
                raise target.refused


class _Patient(io.FileIO):
    """A file that remembers what the disk refused and goes on: HDF5 crashes where a write to a file of its own fails."""

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self.refused: OSError | None = None
        self._path = path

    def write(self, data: Any, /) -> int:
        """All of it, or nothing at all once something was refused."""
        left = memoryview(data).cast("B")
        total = len(left)
        try:
            while left and self.refused is None:
                left = left[super().write(left) :]
        except OSError as error:
            self.refused = OSError(error.errno, error.strerror, str(self._path))
        return total

    def truncate(self, size: int | None = None, /) -> int:
        """As long as nothing was refused."""
        try:
            return super().truncate(size) if self.refused is None else size or 0
        except OSError as error:
            self.refused = OSError(error.errno, error.strerror, str(self._path))
            return size or 0


def save(path: Path, value: Any) -> None:
    """Write one of `TYPES` to `path`; the file appears whole or not at all.

    Each dataset carries the names of its axes where the type's checks state them, and every group the name of its type,
    so that the file can be read with any HDF5 tool.
    """
    with whole_file(path) as file:
        file.attrs["darklung_schema"] = SCHEMA
        _write(file, value)


def save_projections(
    path: Path,
    blocks: Iterable[tuple[slice, Projections]],
    *,
    geometry: Geometry,
    keep: Collection[int] = (),
    maps: Collection[str] = PROJECTION_MAPS,
) -> Projections | None:
    """Write `Projections` that come in blocks of views, so that no more than one block is held.

    Parameters
    ----------
    blocks : iterable of (slice of views, Projections of those views)
    geometry : ParallelGeometry or ConeGeometry
        Of the whole scan.
    keep : collection of int
        Views to give back as well, to look at.
    maps : collection of str
        Which of `PROJECTION_MAPS` to write; without some of them the file is read by `darklung.io.projections` alone.

    Returns
    -------
    Projections of the views to `keep`, or None
    """
    kept: dict[int, Projections] = {}
    with whole_file(path) as file:
        file.attrs["darklung_schema"], file.attrs["darklung_type"] = SCHEMA, "Projections"
        _write(file.create_group("geometry"), geometry)
        for views, block in blocks:
            for name in maps:
                values = getattr(block, name)
                directions, _, rows, cols = values.shape
                if name not in file:
                    shape = (directions, geometry.views, rows, cols)
                    file.create_dataset(name, shape, values.dtype, chunks=(1, 1, rows, cols))
                file[name][:, views] = values
            if "directions_rad" not in file:
                file["directions_rad"] = block.directions_rad
            kept |= {view: _one_view(block, view - views.start) for view in keep if views.start <= view < views.stop}
    return _joined([kept[view] for view in sorted(kept)]) if kept else None


def _one_view(block: Projections, number: int) -> Projections:
    maps = {name: getattr(block, name)[:, number : number + 1].copy() for name in PROJECTION_MAPS}
    geometry = replace(block.geometry, angles_rad=block.geometry.angles_rad[number : number + 1])
    return replace(block, **maps, geometry=geometry)


def _joined(parts: list[Projections]) -> Projections:
    maps = {name: np.concatenate([getattr(part, name) for part in parts], axis=1) for name in PROJECTION_MAPS}
    angles = np.concatenate([part.geometry.angles_rad for part in parts])
    return replace(parts[0], **maps, geometry=replace(parts[0].geometry, angles_rad=angles))


def load(path: Path, wanted: type[T]) -> T:
    """Read a file that `save` wrote.

    Raises
    ------
    DarklungError
        Missing or truncated file, another type than `wanted`, or a field that is not there.
    """
    with opened_hdf5(path, wanted.__name__) as file:
        found = str(file.attrs.get("darklung_type", "no darklung type"))
        require(found == wanted.__name__, f"{path}: wanted {wanted.__name__}, the file holds {found}")
        check_alone(file)
        return _read(file, wanted)


@contextmanager
def opened_hdf5(path: Path, what: str = "HDF5") -> Iterator[h5py.File]:
    """An HDF5 file to read; whatever goes wrong in the block is one line that names it."""
    require(path.exists(), f"{path}: no such file")
    check_heaps(path)
    with reading(path, what), h5py.File(path, "r") as file:
        yield file


def whole_dataset(item: h5py.Dataset) -> NDArray[Any]:
    """All values of a dataset, after a look at its size and at what it lacks."""
    check_dataset(item)
    name, every = f"{item.file.filename}: {item.name}", (slice(None),) * item.ndim
    check_holes(holes_of(item), every, name, item.shape, "do without this dataset")
    return np.asarray(item[()])


def real_numbers(item: h5py.Dataset) -> NDArray[np.float64]:
    """The same of real numbers; text is read as `parse_number` does.

    Raises
    ------
    DarklungError
        Also truth values, complex numbers, or text that is no number.
    """
    values, name = whole_dataset(item), f"{item.file.filename}: {item.name}"
    if values.dtype.kind in "SO":
        texts = [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values.ravel().tolist()]
        with reading(name):
            return np.array([parse_number(text) for text in texts]).reshape(values.shape)
    require(values.dtype.kind in "uif", f"{name}: wanted numbers, got {values.dtype}")
    return values.astype(np.float64)


def text_of(value: Any) -> str:
    """An attribute's text, also of writers that put it into an array of one; empty where there is no single one."""
    one = np.asarray(value, dtype=object).ravel()
    found = "" if one.size != 1 or isinstance(one[0], h5py.Empty) else one[0]
    return (found.decode(errors="replace") if isinstance(found, bytes) else str(found)).strip()


def check_dataset(item: h5py.Dataset, share: float = 1.0) -> None:
    """Raise where a dataset tells more than its file can hold, or a share of it is more than the memory at hand.

    Deflate and chunks that were never written make more of a file than it holds; parts in other files are not counted.
    """
    name = f"{item.file.filename}: {item.name}"
    require(isinstance(item, h5py.Dataset), f"{name}: is a group, not a dataset")
    require(item.shape is not None, f"{name}: holds nothing")
    wanted = math.prod(item.shape) * item.dtype.itemsize
    if not (item.is_virtual or item.external):
        held = os.path.getsize(item.file.filename)
        check_fits(name, wanted - UNWRITTEN_BYTES, held, packed=True)
    check_memory(name, int(wanted * share))


def save_checks(path: Path, checks: Mapping[str, Any]) -> None:
    """Add what was seen of a scan's frames to its projections: arrays and numbers by name, in a group of their own."""
    with h5py.File(path, "r+") as file:
        group = file.create_group(CHECKS)
        for name, value in checks.items():
            if value is not None:
                group[name] = value


def load_checks(path: Path) -> dict[str, Any]:
    """What `save_checks` added; empty where nothing was."""
    with h5py.File(path, "r") as file:
        group = file.get(CHECKS, {})
        found = {name: item[()] for name, item in group.items()}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


def scan_of(file: h5py.File) -> Scan:
    """The scan in an open file; its frames stay on disk."""
    found = str(file.attrs.get("darklung_type", "no darklung type"))
    require(found == Scan.__name__, f"{file.filename}: wanted Scan, the file holds {found}")
    check_alone(file)
    return _read(file, Scan, ("frames",))


def _write(group: h5py.Group, value: Any) -> None:
    name = type(value).__name__
    if name not in TYPES:
        raise DarklungError(f"cannot store a {name}; known: {', '.join(sorted(TYPES))}")
    group.attrs["darklung_type"] = name
    for field in fields(value):
        _write_field(group, field.name, getattr(value, field.name), compress=name in COMPRESSED)


def _write_field(group: h5py.Group, name: str, item: Any, *, compress: bool) -> None:
    if item is None:
        return
    if isinstance(item, np.ndarray) and item.ndim:
        options = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True} if compress else {}
        group.create_dataset(name, data=item, **options)
    elif is_dataclass(item):
        _write(group.create_group(name), item)
    elif isinstance(item, tuple) and item and is_dataclass(item[0]):
        for number, part in enumerate(item):
            _write(group.create_group(f"{name}/{number:04d}"), part)
    elif isinstance(item, tuple):
        group.attrs[name] = json.dumps(item)
    else:
        group.attrs[name] = item


def _read(group: h5py.Group, wanted: type[T], on_disk: tuple[str, ...] = ()) -> T:
    values: dict[str, Any] = {}
    for field in fields(wanted):  # type: ignore[arg-type]
        if field.name in group.attrs:
            values[field.name] = _from_attribute(group.attrs[field.name])
        elif field.name in group:
            item = group[field.name]
            values[field.name] = item if field.name in on_disk else _from_item(item)
    return wanted(**values)


def _from_attribute(item: Any) -> Any:
    if isinstance(item, str) and item.startswith("["):
        return tuple(json.loads(item))
    return item.item() if isinstance(item, np.generic) else item


def _from_item(item: h5py.Dataset | h5py.Group) -> Any:
    if isinstance(item, h5py.Dataset):
        return whole_dataset(item)
    if "darklung_type" in item.attrs:
        return _read(item, TYPES[str(item.attrs["darklung_type"])])
    return tuple(_read(item[k], TYPES[str(item[k].attrs["darklung_type"])]) for k in sorted(item))
