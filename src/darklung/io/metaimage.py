"""MetaImage volumes (.mha; .mhd with its data file beside it), as ITK writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.orientation import ANATOMICAL
from darklung.core.units import parse_number
from darklung.io.volume_file import (
    VolumeFile,
    affine_from,
    as_volume,
    beside,
    check_fits,
    lps_to_ras,
    place_from_affine,
    read_packed,
    read_plain,
)

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_MOST_LINES, _LONGEST_LINE = 200, 4096


def is_metaimage(start: bytes) -> bool:
    """Whether a file starts as the text header of a MetaImage does."""
    first = start.split(b"=", 1)[0].strip().lower()
    return b"=" in start and first in (b"objecttype", b"ndims", b"comment", b"objectsubtype")


def open_metaimage(path: Path) -> VolumeFile:
    """Check the header of a MetaImage: lengths are mm in DICOM's frame (left, posterior, superior).

    Raises
    ------
    DarklungError
        Not three dimensions, more than one number a voxel, text, a list of data files, a data file outside the header's
        folder, or a header that the file cannot fulfil.
    """
    fields, end = _fields(path)
    name = str(path)
    count = _whole(name, fields, "ndims", "3")
    require(count == 3, f"{name}: wanted NDims = 3, got {count}")
    channels = _whole(name, fields, "elementnumberofchannels", "1")
    require(channels == 1, f"{name}: wanted one number a voxel, got ElementNumberOfChannels = {channels}")
    require(_truth(fields, "binarydata", "true"), f"{name}: wanted binary voxels, got text (BinaryData = False)")
    kind = fields.get("elementtype", "").upper()
    require(kind in _TYPES, f"{name}: ElementType: wanted one of {', '.join(_TYPES)}, got {kind!r}")
    msb = _truth(fields, "binarydatabyteordermsb", fields.get("elementbyteordermsb", "false"))
    dtype = np.dtype(_TYPES[kind]).newbyteorder(">" if msb else "<")
    sizes = _wholes(name, fields, "dimsize", 3)
    data, offset = _data_file(path, fields, end)
    packed = _truth(fields, "compresseddata", "false")
    shape = tuple(reversed(sizes))
    found = VolumeFile(
        name=name,
        kind="MetaImage",
        shape=shape,
        dtype=dtype,
        read=lambda: _voxels(data, offset, shape, dtype, packed=packed),
        place=place_from_affine(name, lps_to_ras(_affine(name, fields)), ANATOMICAL),
    )
    held = data.stat().st_size
    if offset < 0:
        require(not packed, f"{data}: HeaderSize = -1 cannot be used with packed data")
        offset = max(0, held - found.bytes)
    check_fits(str(data), found.bytes, held - offset, packed=packed)
    return found


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Lower-case keys up to ElementDataFile, which ends the header, and where it ends."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for _ in range(_MOST_LINES):
            line = file.readline(_LONGEST_LINE)
            key, found, value = line.decode("latin-1").partition("=")
            if not found:
                break
            fields[key.strip().lower()] = value.strip()
            if key.strip().lower() == "elementdatafile":
                return fields, file.tell()
    raise DarklungError(f"{path}: wanted the header of a MetaImage, it ends without ElementDataFile")


def _data_file(path: Path, fields: dict[str, str], end: int) -> tuple[Path, int]:
    """The file of the voxels and the byte from which they lie there; -1: at its end."""
    named = fields["elementdatafile"]
    if named.upper() in ("LOCAL", ""):
        return path, end
    several = named.upper().startswith("LIST") or "%" in named
    require(not several, f"{path}: a list of data files is not read (ElementDataFile = {named!r})")
    offset = _whole(str(path), fields, "headersize", "0")
    require(offset >= -1, f"{path}: HeaderSize: wanted >= -1, got {offset}")
    return beside(path, named), offset


def _affine(name: str, fields: dict[str, str]) -> NDArray[np.float64]:
    """Millimetres to metres; each triple of TransformMatrix is the direction of one index."""
    spacing = _numbers(name, fields, "elementspacing" if "elementspacing" in fields else "elementsize", 3, "1 1 1")
    directions = _numbers(name, fields, _first(fields, "transformmatrix", "rotation", "orientation"), 9, "1 0 0 0 1 0 0 0 1")
    origin = _numbers(name, fields, _first(fields, "offset", "position", "origin"), 3, "0 0 0")
    steps = np.reshape(directions, (3, 3)) * np.reshape(spacing, (3, 1))
    return affine_from(1e-3 * steps, 1e-3 * np.asarray(origin))


def _first(fields: dict[str, str], *keys: str) -> str:
    return next((k for k in keys if k in fields), keys[0])


def _numbers(name: str, fields: dict[str, str], key: str, count: int, default: str = "") -> list[float]:
    text = fields.get(key, default)
    try:
        values = [parse_number(v) for v in text.split()]
    except DarklungError:
        values = []
    require(len(values) == count, f"{name}: {key}: wanted {count} numbers, got {text[:80]!r}")
    return values


def _whole(name: str, fields: dict[str, str], key: str, default: str) -> int:
    return _wholes(name, fields, key, 1, default)[0]


def _wholes(name: str, fields: dict[str, str], key: str, count: int, default: str = "") -> list[int]:
    values = _numbers(name, fields, key, count, default)
    require(
        all(v.is_integer() for v in values), f"{name}: {key}: wanted whole numbers, got {fields.get(key, default)[:80]!r}"
    )
    return [int(v) for v in values]


def _truth(fields: dict[str, str], key: str, default: str) -> bool:
    return fields.get(key, default).strip().lower() in ("true", "1")


def _voxels(path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], *, packed: bool) -> NDArray[Any]:
    wanted = int(np.prod(shape)) * dtype.itemsize
    with path.open("rb") as file:
        file.seek(offset if offset >= 0 else max(0, path.stat().st_size - wanted))
        return as_volume((read_packed if packed else read_plain)(file, wanted, str(path)), dtype, shape)
