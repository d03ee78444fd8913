"""What is in a file or a folder: arrays with shapes, types, units and places, so that a description can be written."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from darklung.core.checks import DarklungError, require
from darklung.core.files import reading
from darklung.io.edf import read_edf
from darklung.io.fabio_frames import read_fabio
from darklung.io.folders import folder_lines
from darklung.io.foreign_zarr import is_zarr
from darklung.io.heaps import check_heaps
from darklung.io.images import image_grid, is_own_image
from darklung.io.npy import npz_members, read_npy
from darklung.io.tiff_frames import read_tiff
from darklung.io.tiff_stack import opened_tiff
from darklung.io.volume_file import Place, place_lines
from darklung.io.volumes import open_volume, volume_kind

_ATTRIBUTES_SHOWN = 6
_VALUES_SHOWN = 6


def describe_file(path: Path) -> str:
    """Lines that tell the content of an HDF5, npy, npz, TIFF, EDF or CBF file, a volume (`darklung.io.volumes`), a folder.

    Of a volume: size, spacing, what its axes run towards, scale and unit of its values, and its scanner's log.

    Raises
    ------
    DarklungError
        The file is missing, of another kind, or cannot be read.
    """
    if not path.exists():
        raise DarklungError(f"{path}: no such file")
    if path.is_dir():
        return _folder(path)
    require(path.is_file(), f"{path}: wanted a file, got a device or a pipe")
    if volume_kind(path) not in ("", "tiff"):
        return _volume(path)
    kind = file_kind(path)
    readers = {"hdf5": _hdf5, "npy": _npy, "npz": _npz, "tiff": _tiff, "edf": _edf, "fabio": _fabio}
    if kind not in readers:
        raise DarklungError(
            f"{path}: wanted HDF5, npy, npz, TIFF, EDF, CBF or a volume; raw tells nothing ({path.stat().st_size} bytes)"
        )
    with reading(path, kind):
        return "\n".join([f"{path} ({kind})", *readers[kind](path)])


def _volume(path: Path) -> str:
    if is_own_image(path):
        image = image_grid(path)
        place = Place(image.spacing_m, image.origin_m, image.direction, image.frame)
        channels = ", ".join(f"{n} [{u}]" for n, u in zip(image.names, image.units))
        size = f"  {' × '.join(map(str, image.shape))} {image.data.dtype}; channels {channels}"
        return "\n".join([f"{path} (OME-Zarr of darklung)", size, *place_lines(place)])
    found = open_volume(path)
    return "\n".join([f"{path} ({found.kind})", *found.lines()])


def _folder(path: Path) -> str:
    """A volume if it is one, else the arrays of a Zarr store, else the files."""
    try:
        return _volume(path)
    except DarklungError as error:
        told = str(error).partition("\n")[0].removeprefix(f"{path}: ")
    if is_zarr(path):
        return "\n".join([f"{path} (zarr, no image: {told})", *_zarr(path)])
    return "\n".join([f"{path} (folder, no volume: {told})", *folder_lines(path)])


def _zarr(path: Path) -> list[str]:
    import zarr

    with reading(path, "Zarr"):
        found = zarr.open(str(path), mode="r")
        arrays = {"": found} if isinstance(found, zarr.Array) else dict(_zarr_arrays(found, ""))
    return [_array(name, array.shape, array.dtype) for name, array in arrays.items()] or ["  no array"]


def _zarr_arrays(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, array in sorted(group.arrays()):
        yield prefix + name, array
    for name, inner in sorted(group.groups()):
        yield from _zarr_arrays(inner, f"{prefix}{name}/")


def file_kind(path: Path) -> str:
    """hdf5, npy, npz, tiff, edf, fabio or unknown, by the first bytes; names tell CBF alone."""
    with path.open("rb") as file:
        start = file.read(8)
    for kind, signs in (
        ("hdf5", (b"\x89HDF",)),
        ("npy", (b"\x93NUMPY",)),
        ("tiff", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ):
        if start.startswith(signs):
            return kind
    if path.suffix.lower() == ".cbf":
        return "fabio"
    return "npz" if start.startswith(b"PK\x03\x04") else "edf" if start.lstrip().startswith(b"{") else "unknown"


def _array(name: str, shape: Any, dtype: Any) -> str:
    return f"  {name or 'array':<48} {' × '.join(map(str, shape)) or 'one value':<28} {dtype}"


def _hdf5(path: Path) -> list[str]:
    check_heaps(path)
    with h5py.File(path, "r") as file:
        return list(_group(file, "", set())) or ["  no dataset"]


def _group(group: h5py.Group, prefix: str, seen: set[Any]) -> Iterator[str]:
    """Datasets and links, each object of the file once: groups may hold each other."""
    for key in group:
        name, link = prefix + key, group.get(key, getlink=True)
        if not isinstance(link, h5py.HardLink):
            yield f"  {name:<48} link to {_target(group, key, link)}"  # followed where it is read, not here
            continue
        item = group[key]
        if isinstance(item, h5py.Dataset):
            yield _dataset(name, item)
        elif isinstance(item, h5py.Group) and item.id.__hash__() not in seen:
            seen.add(item.id.__hash__())
            yield from _group(item, f"{name}/", seen)


def _target(group: h5py.Group, key: str, link: Any) -> str:
    if isinstance(link, h5py.SoftLink):
        return f"{link.path}{'' if key in group else ', which is not there'}"
    there = (Path(group.file.filename).parent / link.filename).exists()
    return f"{link.filename}: {link.path}{'' if there else ', which is not there'}"


def _dataset(name: str, item: h5py.Dataset) -> str:
    """Shape, type, attributes, and the values of a small one; nothing of others is read."""
    line = _array(name, item.shape, item.dtype) if item.shape is not None else f"  {name:<48} holds nothing"
    if item.shape is not None and item.size <= _VALUES_SHOWN:
        line += f"  = {np.asarray(item[()]).tolist()!r}"
    told = [f"{key}={_plain(value)}" for key, value in list(item.attrs.items())[:_ATTRIBUTES_SHOWN]]
    return line + (f"  [{', '.join(told)}]" if told else "")


def _plain(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)[:40]


def open_array(path: Path, kind: str) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype of the array of a frame file of some kind.

    Raises
    ------
    DarklungError
        It cannot be read.
    """
    readers: dict[str, Any] = {"npy": read_npy, "tiff": read_tiff}
    readers |= {"edf": partial(read_edf, several=True), "fabio": read_fabio}
    with reading(path, kind):
        found = readers[kind](path)
    return found.shape, found.dtype


def _npy(path: Path) -> list[str]:
    array = read_npy(path)
    return [_array("", array.shape, array.dtype)]


def _npz(path: Path) -> list[str]:
    return [_array(name, shape, dtype) for name, (shape, dtype) in npz_members(path).items()]


def _tiff(path: Path) -> list[str]:
    with opened_tiff(path) as file:
        return [_array(f"series {n} ({s.axes})", s.shape, s.dtype) for n, s in enumerate(file.series)]


def _edf(path: Path) -> list[str]:
    array = read_edf(path, several=True)
    return [_array("", array.shape, array.dtype)]


def _fabio(path: Path) -> list[str]:
    array = read_fabio(path)
    return [_array("", array.shape, array.dtype)]
