"""NRRD volumes (.nrrd; .nhdr with its data file beside it), raw or gzip."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.orientation import ANATOMICAL
from darklung.core.units import parse_number
from darklung.io.volume_file import (
    Place,
    VolumeFile,
    affine_from,
    as_volume,
    beside,
    check_fits,
    place_from_affine,
    read_packed,
    read_plain,
)

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_METRES = {"mm": 1e-3, "um": 1e-6, "µm": 1e-6, "cm": 1e-2, "m": 1.0, "millimeter": 1e-3, "micrometer": 1e-6}
# Signs that turn the space's axes into right, anterior, superior.
_SIDES = {
    "right": (0, 1),
    "left": (0, -1),
    "anterior": (1, 1),
    "posterior": (1, -1),
    "superior": (2, 1),
    "inferior": (2, -1),
}
_LETTERS = {name[0]: name for name in _SIDES}
_MOST_LINES, _LONGEST_LINE = 400, 8192


def open_nrrd(path: Path) -> VolumeFile:
    """Check the header of an NRRD file: lengths in its space units, else mm.

    Raises
    ------
    DarklungError
        Not three dimensions, another encoding than raw and gzip, a list of data files, a data file outside the header's
        folder, an unknown space, or a header that the file cannot fulfil.
    """
    fields, end = _fields(path)
    name = str(path)
    dimension = _value(name, fields, "dimension")
    require(dimension == "3", f"{name}: wanted dimension 3, got {dimension}")
    dtype = _dtype(name, fields)
    sizes = _numbers(name, "sizes", _value(name, fields, "sizes").split(), 3)
    require(all(n.is_integer() for n in sizes), f"{name}: sizes: wanted whole numbers, got {fields['sizes'][:80]!r}")
    encoding = _value(name, fields, "encoding").lower()
    require(encoding in ("raw", "gzip", "gz"), f"{name}: encoding: wanted raw or gzip, got {encoding!r}")
    packed = encoding != "raw"
    data, offset = _data_file(path, fields, end)
    shape = tuple(int(n) for n in reversed(sizes))
    place, notes = _place(name, fields)
    found = VolumeFile(
        name=name,
        kind="NRRD",
        shape=shape,
        dtype=dtype,
        read=lambda: _voxels(data, offset, shape, dtype, packed=packed),
        place=place,
        notes=notes,
    )
    check_fits(str(data), found.bytes, data.stat().st_size - offset, packed=packed)
    return found


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Lower-case fields up to the empty line, and the byte after it (or the end of a header alone)."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        magic = file.readline(_LONGEST_LINE).strip()
        require(bool(re.fullmatch(rb"NRRD000[1-5]", magic)), f"{path}: wanted NRRD0001 to NRRD0005, got {magic[:20]!r}")
        for _ in range(_MOST_LINES):
            line = file.readline(_LONGEST_LINE)
            text = line.decode("latin-1").strip("\r\n")
            if not text:
                require(bool(line) or "data file" in fields or "datafile" in fields, f"{path}: truncated in the header")
                return fields, file.tell()
            key, found, value = text.partition(": ")
            if found and not text.startswith("#") and ":=" not in text:
                fields[key.strip().lower()] = value.strip()
    raise DarklungError(f"{path}: wanted the header of an NRRD file, it has more than {_MOST_LINES} lines")


def _value(name: str, fields: dict[str, str], key: str) -> str:
    require(key in fields, f"{name}: its header has no {key}")
    return fields[key]


def _dtype(name: str, fields: dict[str, str]) -> np.dtype[Any]:
    told = _value(name, fields, "type").lower()
    code = next((c for c, names in _TYPES.items() if told in names), None)
    require(code is not None, f"{name}: type: wanted whole or real numbers, got {told!r}")
    dtype = np.dtype(str(code))
    if dtype.itemsize == 1:
        return dtype
    endian = _value(name, fields, "endian").lower()
    require(endian in ("little", "big"), f"{name}: endian: wanted little or big, got {endian!r}")
    return dtype.newbyteorder("<" if endian == "little" else ">")


def _data_file(path: Path, fields: dict[str, str], end: int) -> tuple[Path, int]:
    for key in ("line skip", "lineskip"):
        require(fields.get(key, "0") == "0", f"{path}: {key} is not read")
    skip = fields.get("byte skip", fields.get("byteskip", "0"))
    require(skip.isascii() and skip.isdigit(), f"{path}: byte skip: wanted a number >= 0, got {skip[:40]!r}")
    named = fields.get("data file", fields.get("datafile"))
    if named is None:
        return path, end + int(skip)
    several = named.upper().startswith("LIST") or "%" in named
    require(not several, f"{path}: a list of data files is not read (data file: {named!r})")
    return beside(path, named), int(skip)


def _place(name: str, fields: dict[str, str]) -> tuple[Place | None, tuple[str, ...]]:
    metres, notes = _metres(name, fields)
    if "space directions" not in fields:
        if "spacings" not in fields:
            return None, ()
        spacing = [abs(v) * metres for v in reversed(_numbers(name, "spacings", fields["spacings"].split(), 3))]
        require(min(spacing) > 0, f"{name}: wanted spacings > 0, got {spacing}")
        return Place(tuple(spacing)), (*notes, "no space directions: orientation unknown")
    directions = _vectors(name, "space directions", fields["space directions"], 3)
    origin = _vectors(name, "space origin", fields.get("space origin", "(0,0,0)"), 1)[0]
    affine = affine_from(metres * directions, metres * origin)
    space = fields.get("space", "")
    if not space:
        return place_from_affine(name, affine, "scanner"), (*notes, "no space: anatomy unknown")
    return place_from_affine(name, _space_to_ras(name, space) @ affine, ANATOMICAL), notes


def _metres(name: str, fields: dict[str, str]) -> tuple[float, tuple[str, ...]]:
    told = re.findall(r'"([^"]*)"', fields.get("space units", fields.get("units", "")))
    if not told:
        return 1e-3, ("no unit of length: taken as mm",)
    known = len(set(told)) == 1 and told[0] in _METRES
    require(known, f"{name}: units: wanted one of {', '.join(_METRES)} for all axes, got {told}")
    return _METRES[told[0]], ()


def _space_to_ras(name: str, space: str) -> NDArray[np.float64]:
    words = space.lower().split("-")
    if len(words) == 1 and len(space) == 3:
        words = [_LETTERS.get(letter, "") for letter in space.lower()]
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    known = len(words) == 3 and all(word in _SIDES for word in words)
    require(known, f"{name}: space: wanted anatomical axes such as left-posterior-superior, got {space!r}")
    for column, word in enumerate(words):
        row, sign = _SIDES[word]
        matrix[row, column] = sign
    require(abs(np.linalg.det(matrix)) == 1, f"{name}: space: wanted one of each pair of directions, got {space!r}")
    return matrix


def _vectors(name: str, key: str, text: str, count: int) -> NDArray[np.float64]:
    found = re.findall(r"\(([^()]*)\)", text)
    require(len(found) == count, f"{name}: {key}: wanted {count} vector(s), got {text[:80]!r}")
    return np.array([_numbers(name, key, vector.split(","), 3) for vector in found])


def _numbers(name: str, key: str, words: list[str], count: int) -> list[float]:
    try:
        values = [parse_number(word) for word in words]
    except DarklungError:
        values = []
    require(len(values) == count, f"{name}: {key}: wanted {count} numbers, got {' '.join(words)[:80]!r}")
    return values


def _voxels(path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], *, packed: bool) -> NDArray[Any]:
    wanted = int(np.prod(shape)) * dtype.itemsize
    with path.open("rb") as file:
        file.seek(offset)
        return as_volume((read_packed if packed else read_plain)(file, wanted, str(path)), dtype, shape)
