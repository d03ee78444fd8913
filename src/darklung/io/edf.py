"""EDF images: a text header in braces, padded to a block, and a binary array, once or several times."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.io.fabio_frames import read_fabio

DTYPES = {
    "signedbyte": "i1",
    "unsignedbyte": "u1",
    "signedshort": "i2",
    "unsignedshort": "u2",
    "signedinteger": "i4",
    "unsignedinteger": "u4",
    "signedlong": "i4",
    "unsignedlong": "u4",
    "signed64": "i8",
    "unsigned64": "u8",
    "float": "f4",
    "floatvalue": "f4",
    "double": "f8",
    "doublevalue": "f8",
}
ORDERS = {"lowbytefirst": "<", "highbytefirst": ">"}
_LONGEST_HEADER = 1 << 20
_BLOCK = 512
_LAYOUT = ("dim_1", "dim_2", "dim_3", "datatype", "byteorder", "compression")
_SIZE = re.compile(r"0*[1-9][0-9]{0,9}")


def read_edf(file: Path, *, several: bool = False) -> NDArray[Any]:
    """The array of a file, (row, col) or (slice, row, col), mapped from disk; of `several` images alike (image, ...).

    Raises
    ------
    ValueError
        No header, missing keys, unknown data type or byte order, fewer or more bytes than the headers tell, images that are
        not alike, or compression (which fabio reads, if it is installed).
    """
    size, at, images = file.stat().st_size, 0, []
    while True:
        header, start = _read_header(file, at)
        if header.get("compression", "none").lower() not in ("none", "no", ""):
            return _compressed(file, header["compression"])
        dtype, shape = _layout(header)
        at = start + int(np.prod(shape, dtype=object)) * dtype.itemsize
        if size < at:
            raise ValueError(f"{size} bytes, but the header tells {at}")
        images.append(np.memmap(file, dtype=dtype, mode="r", offset=start, shape=shape))
        following, padding = _after(file, at)
        if not following:
            break
        if following != b"{":
            raise ValueError(f"{size} bytes, but the header tells {at}, and no further header follows")
        at += padding
    alike = {(image.shape, image.dtype) for image in images}
    if len(alike) > 1:
        raise ValueError(f"holds {len(images)} images that are not alike")
    if len(images) > 1 and not several:
        raise ValueError(f"holds {len(images)} images, wanted one")
    return images[0] if len(images) == 1 else np.stack(images)


def _read_header(file: Path, at: int) -> tuple[dict[str, str], int]:
    """Keys (lower case) with their values of the header at byte `at`, and where its array starts."""
    with file.open("rb") as opened:
        opened.seek(at)
        text = opened.read(_LONGEST_HEADER)
    ends = [match.end() for match in re.finditer(rb"\}\r?\n", text)] if text.lstrip().startswith(b"{") else []
    if not ends:
        raise ValueError("no EDF header")
    # A header fills whole blocks; a brace within it belongs to a value.
    end = next((e for e in ends if e % _BLOCK == 0), ends[0])
    header: dict[str, str] = {}
    for key, value in re.findall(r"([^=;{}]+)=([^;]*);", text[:end].decode("latin-1").lstrip()[1:]):
        name, told = key.strip().lower(), value.strip()
        if name in _LAYOUT and header.get(name, told) != told:
            raise ValueError(f"{key.strip()} is told twice, as {header[name]} and as {told}")
        header[name] = told
    return header, at + end


def _layout(header: dict[str, str]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    missing = {"dim_1", "datatype", "byteorder"} - set(header)
    if missing:
        raise ValueError(f"the EDF header lacks {', '.join(sorted(missing))}")
    kind, order = header["datatype"].lower(), header["byteorder"].lower()
    if kind not in DTYPES or order not in ORDERS:
        raise ValueError(f"DataType {header['datatype']!r} with ByteOrder {header['byteorder']!r} is not known")
    sizes = {f"Dim_{n}": header[f"dim_{n}"] for n in (3, 2, 1) if f"dim_{n}" in header}
    for key, text in sizes.items():
        if not _SIZE.fullmatch(text):
            raise ValueError(f"{key} = {text[:40]!r}: wanted a whole number > 0")
    dtype, shape = np.dtype(ORDERS[order] + DTYPES[kind]), tuple(map(int, sizes.values()))
    told, held = header.get("size", ""), int(np.prod(shape, dtype=object)) * dtype.itemsize
    if _SIZE.fullmatch(told) and int(told) != held:
        raise ValueError(f"Size tells {told} bytes, but Dim and DataType {held}")
    return dtype, shape


def _compressed(file: Path, how: str) -> NDArray[Any]:
    try:
        return read_fabio(file)
    except ValueError as error:
        raise ValueError(f"compressed EDF ({how}): {error}") from error


def _after(file: Path, at: int) -> tuple[bytes, int]:
    """The first byte after an array that is no padding (empty at the end of the file), and how much padding there is."""
    with file.open("rb") as opened:
        opened.seek(at)
        rest = opened.read(2 * _BLOCK)
    left = rest.lstrip(b"\0 \r\n\t")
    return left[:1], len(rest) - len(left)
