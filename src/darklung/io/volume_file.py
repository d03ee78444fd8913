"""What every reader of foreign volumes gives back: a checked header, where the voxels lie, and a way to read them.

Headers are checked against the file's size and the memory at hand before anything is read; packed data are unpacked no
farther than their header says.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.core.checks import require
from darklung.core.files import reading
from darklung.core.grey import ARBITRARY
from darklung.core.orientation import ANATOMICAL, SCANNER_AXES, Direction, rounded_direction, towards

# Deflate packs a byte of data into no less than 1/1032 byte.
DEFLATE_RATIO = 1032
# What opening, scaling and checking take for each voxel beside the stored numbers: float32 and a mask.
_WORKING_BYTES = 6
_PIECE = 2**20
MOST_HEADER_BYTES = 2**20


@dataclass(frozen=True)
class Place:
    """Where a grid lies: spacing, origin and direction in (z, y, x) and the frame, as in `Image`."""

    spacing_m: tuple[float, ...]
    origin_m: tuple[float, ...] = ()
    direction: Direction = SCANNER_AXES
    frame: str = "scanner"

    def in_frame(self, frame: str) -> Place:
        """The same numbers of the file told as another frame: x and y turn around between `ANATOMICAL` and the others."""
        if (frame == ANATOMICAL) == (self.frame == ANATOMICAL):
            return replace(self, frame=frame)
        signs = np.array([1.0, -1.0, -1.0])
        direction = tuple(tuple(float(v) for v in row) for row in signs[:, None] * np.asarray(self.direction) + 0.0)
        origin = tuple(float(v) for v in signs * self.origin_m + 0.0) if self.origin_m else ()
        return replace(self, origin_m=origin, direction=direction, frame=frame)


@dataclass(frozen=True)
class VolumeFile:
    """One volume on disk, its header checked, its voxels not read yet.

    Parameters
    ----------
    name : str
        Path, for error lines.
    kind : str
        What the format is called.
    shape : (z, y, x)
        Slices, rows and columns as stored.
    dtype : numpy dtype
    read : function
        Gives the stored numbers, (z, y, x).
    place : Place, optional
        None where the format does not say the spacing.
    slope, intercept : float
        Value = slope · stored + intercept.
    unit : str
        Of the value, "a.u." where the format does not say.
    channel : str
        Where the format says it.
    notes : tuple of str
        What else the header tells.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], NDArray[Any]]
    place: Place | None = None
    slope: float = 1.0
    intercept: float = 0.0
    unit: str = ARBITRARY
    channel: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(
            len(self.shape) == 3 and all(n > 0 for n in self.shape),
            f"{self.name}: wanted a volume (z, y, x), got shape {self.shape}",
        )
        require(self.dtype.kind in "uif", f"{self.name}: wanted whole or real numbers, got {self.dtype}")
        scaled = bool(np.isfinite([self.slope, self.intercept]).all()) and self.slope != 0
        require(scaled, f"{self.name}: wanted a finite slope that is not 0, got {self.slope} and intercept {self.intercept}")

    @property
    def bytes(self) -> int:
        """Of the stored numbers."""
        return int(np.prod([int(n) for n in self.shape], dtype=object)) * self.dtype.itemsize

    def stored(self) -> NDArray[Any]:
        """The stored numbers in the machine's byte order, (z, y, x).

        Raises
        ------
        DarklungError
            More than the memory at hand, or a file that ends too early or is not what its header says.
        """
        check_memory(self.name, self.bytes // self.dtype.itemsize * (self.dtype.itemsize + _WORKING_BYTES))
        with reading(self.name):
            values = self.read()
        require(values.shape == self.shape, f"{self.name}: the header tells shape {self.shape}, got {values.shape}")
        return values.astype(self.dtype.newbyteorder("="), copy=False)

    def lines(self) -> list[str]:
        """What to tell of it, one thing a line."""
        told = [f"  {' × '.join(map(str, self.shape))} (slices × rows × columns) {self.dtype.newbyteorder('=')}"]
        told += place_lines(self.place)
        if (self.slope, self.intercept) != (1.0, 0.0):
            told.append(f"  value = {self.slope:.8g} × stored + {self.intercept:.8g}")
        told.append(f"  unit {self.unit}" + (f", channel {self.channel}" if self.channel else ""))
        return told + [f"  {note}" for note in self.notes]


def place_lines(place: Place | None) -> list[str]:
    """Spacing, axes, frame and origin, for a reader."""
    if place is None:
        return ["  spacing: not told by the files; declare it (spacing: 100 um)"]
    spacing = " × ".join(f"{1e6 * d:.6g}" for d in place.spacing_m)
    axes = ", ".join(towards(place.direction, place.frame))
    origin = f"; origin {_mm(place.origin_m)} mm" if place.origin_m else ""
    return [f"  spacing {spacing} um; axes towards {axes}", f"  frame {place.frame}{origin}"]


def place_from_affine(name: str, affine_m: NDArray[np.float64], frame: str) -> Place:
    """Grid of an affine matrix in right, anterior, superior (RAS) metres, whose columns belong to the indices (x, y, z).

    In the frame `ANATOMICAL` x and y turn around; of other frames the numbers are x, y and z as they are.
    """
    require(bool(np.isfinite(affine_m).all()), f"{name}: the orientation is not finite")
    columns = affine_m[:3, :3][::-1, ::-1]
    spacing = np.linalg.norm(columns, axis=0)
    require(bool((spacing > 0).all()), f"{name}: wanted a spacing > 0 along each axis, got {spacing.tolist()} m")
    direction = rounded_direction(name, columns / spacing)
    origin = tuple(float(v) for v in affine_m[:3, 3][::-1])
    place = Place(tuple(float(v) for v in spacing), origin, direction, "scanner")
    return place.in_frame(frame)


def affine_of_place(place: Place) -> NDArray[np.float64]:
    """The inverse of `place_from_affine`: (4, 4), RAS metres of the indices (x, y, z)."""
    plain = place.in_frame("scanner")
    affine = np.eye(4)
    affine[:3, :3] = (np.asarray(plain.direction) * plain.spacing_m)[::-1, ::-1]
    affine[:3, 3] = plain.origin_m[::-1]
    return affine


def lps_to_ras(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn an affine of the frame of DICOM and ITK into one of NIfTI's, or back."""
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def affine_from(directions: ArrayLike, origin: ArrayLike) -> NDArray[np.float64]:
    """(4, 4) affine of the steps along each index and the first voxel's place."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(directions, dtype=np.float64).T
    affine[:3, 3] = origin
    return affine


def check_fits(name: str, wanted: int, held: int, *, packed: bool) -> None:
    """Raise where a file of `held` bytes cannot hold the `wanted` bytes that its header tells."""
    most = held * DEFLATE_RATIO if packed else held
    require(
        wanted <= most,
        f"{name}: the header tells {wanted} bytes of voxels, which {held}{' packed' if packed else ''} bytes cannot hold: "
        "truncated, or a wrong header",
    )


def check_memory(name: str, wanted: int) -> None:
    """Raise where `wanted` bytes are more than the memory at hand."""
    import psutil

    free = int(psutil.virtual_memory().available)
    require(wanted <= free, f"{name}: wants {wanted / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free")


def read_plain(file: BinaryIO, wanted: int, name: str) -> bytearray:
    """Exactly `wanted` bytes from where the file stands."""
    data = bytearray(wanted)
    got = file.readinto(data)  # type: ignore[attr-defined]
    require(got == wanted, f"{name}: truncated: {got} of {wanted} bytes of voxels")
    return data


def read_packed(file: BinaryIO, wanted: int, name: str, *, short: bool = False) -> bytearray:
    """The first `wanted` bytes of a gzip or zlib stream (one member or several), unpacked no farther than that.

    Where the stream ends with them its checksum is verified. With `short` fewer bytes are fine.
    """
    data, unpacker, packed = bytearray(), zlib.decompressobj(wbits=47), file.read(_PIECE)
    while packed and len(data) < wanted:
        data += unpacker.decompress(packed, min(wanted - len(data), _PIECE))
        packed = unpacker.unconsumed_tail
        if unpacker.eof and len(data) < wanted:
            packed = unpacker.unused_data.lstrip(b"\0")
            unpacker = zlib.decompressobj(wbits=47)
        packed = packed or file.read(_PIECE)
    if not short:
        whole = len(data) == wanted and _ends_or_goes_on(file, unpacker, packed)
        require(whole, f"{name}: truncated: {len(data)} of {wanted} bytes of voxels, or no end of the packed stream")
    return data


def _ends_or_goes_on(file: BinaryIO, unpacker: Any, packed: bytes) -> bool:
    """Whether a stream has its end, checksum included, or more data; one byte of them is unpacked."""
    more = b""
    while packed and not (unpacker.eof or more):
        more = unpacker.decompress(packed, 1)
        packed = unpacker.unconsumed_tail or file.read(_PIECE)
    return bool(unpacker.eof or more)


def as_volume(data: bytearray, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Bytes as (z, y, x), the last index running fastest."""
    return np.frombuffer(data, dtype=dtype).reshape(shape)


def beside(header: Path, name: str) -> Path:
    """The data file that a header names: in the header's own folder, or refused."""
    path = header.parent / name
    plain = bool(name) and Path(name).name == name and name not in (".", "..") and "\\" not in name
    require(plain, f"{header}: wanted the name of a file in the same folder, got {name!r}")
    require(path.is_file(), f"{header}: its data file {name} is missing")
    inside = path.resolve().parent == header.parent.resolve()
    require(inside, f"{header}: its data file {name} lies in another folder")
    return path


def _mm(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{1e3 * v:.6g}" for v in values) + ")"
