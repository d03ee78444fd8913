"""EDF images: a text header in braces, padded to a block, and one binary array."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def read_header(file: Path) -> tuple[dict[str, str], int]:
    """Keys (lower case) with their values, and the byte at which the array starts."""
    with file.open("rb") as opened:
        start = opened.read(_LONGEST_HEADER)
    end = start.find(b"}\n")
    if not start.lstrip().startswith(b"{") or end < 0:
        raise ValueError("no EDF header")
    text = start[:end].decode("latin-1").lstrip()[1:]
    pairs = re.findall(r"([^=;{}]+)=([^;]*);", text)
    return {key.strip().lower(): value.strip() for key, value in pairs}, end + 2


def read_edf(file: Path) -> NDArray[Any]:
    """The array of a file with one image, (row, col) or (slice, row, col), mapped from disk.

    Raises
    ------
    ValueError
        No header, missing keys, unknown data type, compression, or fewer bytes than the header tells.
    """
    header, offset = read_header(file)
    missing = {"dim_1", "datatype", "byteorder"} - set(header)
    if missing:
        raise ValueError(f"the EDF header lacks {', '.join(sorted(missing))}")
    if header.get("compression", "none").lower() not in ("none", "no", ""):
        raise ValueError(f"compressed EDF ({header['compression']}) is not read")
    kind, order = header["datatype"].lower(), header["byteorder"].lower()
    if kind not in DTYPES or order not in ORDERS:
        raise ValueError(f"DataType {header['datatype']!r} with ByteOrder {header['byteorder']!r} is not known")
    shape = [int(header[f"dim_{n}"]) for n in (3, 2, 1) if f"dim_{n}" in header]
    dtype = np.dtype(ORDERS[order] + DTYPES[kind])
    wanted = offset + math.prod(shape) * dtype.itemsize
    size = file.stat().st_size
    if size < wanted:
        raise ValueError(f"{size} bytes, but the header tells {wanted}")
    return np.memmap(file, dtype=dtype, mode="r", offset=offset, shape=tuple(shape))
