"""Arrays of numpy on disk: .npy mapped, .npz looked at and read member by member; nothing in them is executed."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.files import reading
from darklung.io.volume_file import check_fits, check_memory

# Longest header of an array; those of plain arrays have some hundred bytes.
_HEADER_BYTES = 10_000


def read_npy(path: Path, name: str = "") -> NDArray[Any]:
    """The array of a .npy file, mapped from disk; `name` is what errors call it."""
    name = name or str(path)
    require(path.is_file(), f"{name}: no such file")
    with reading(name, "npy"), path.open("rb") as file:
        shape, order, dtype = _header(file)
        start = file.tell()
        require(dtype.kind in "uifb", f"{name}: cannot be read: wanted numbers, got {dtype}")
        check_fits(name, math.prod(shape) * dtype.itemsize, path.stat().st_size - start, packed=False)
        mapped: NDArray[Any] = np.memmap(path, dtype, "r", start, shape, "F" if order else "C")
        return mapped


def npz_members(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Name -> shape and type of the arrays in a .npz file, of which only the headers are read."""
    require(path.is_file(), f"{path}: no such file")
    with reading(path, "npz"), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        twice = next((name for name in names if names.count(name) > 1), None)
        require(twice is None, f"{path}: holds {twice!r} twice")
        return {name.removesuffix(".npy"): _member(archive, name) for name in names}


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a .npz file, after a look at their sizes."""
    members = npz_members(path)
    wanted = sum(math.prod(shape) * dtype.itemsize for shape, dtype in members.values())
    check_fits(str(path), wanted, path.stat().st_size, packed=True)
    check_memory(str(path), wanted)
    # Opened here, since numpy leaves the file open when it is not an archive.
    with reading(path, "npz"), path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: np.asarray(archive[name]) for name in members}


def _member(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    require(name.endswith(".npy"), f"{archive.filename}: wanted arrays alone, got {name!r}")
    with archive.open(name) as file:
        shape, _, dtype = _header(file)
    return shape, dtype


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    require(version in ((1, 0), (2, 0)), f"wanted format 1.0 or 2.0 of numpy, got {version[0]}.{version[1]}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    found: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(file, max_header_size=_HEADER_BYTES)
    require(all(n >= 0 for n in found[0]), f"wanted a shape, got {found[0]}")
    return found
