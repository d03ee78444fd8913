"""NIfTI-1 and NIfTI-2 files of one volume (.nii, .nii.gz), read and written."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.files import whole
from darklung.core.grey import ARBITRARY
from darklung.core.orientation import ANATOMICAL
from darklung.core.types import Image
from darklung.io.volume_file import (
    MOST_HEADER_BYTES,
    Place,
    VolumeFile,
    affine_of_place,
    as_volume,
    check_fits,
    place_from_affine,
    read_packed,
    read_plain,
)

GZIP = b"\x1f\x8b"
_METRES = {0: 1e-3, 1: 1.0, 2: 1e-3, 3: 1e-6}
_UNIT_NOTE = {0: "no unit of length: taken as mm"}
_HEADER_BYTES = 540
_COARSE_LEVELS = 255
# How this package tells frame, unit and, where its name is short enough, channel in the bytes of `descrip`.
_TOLD_BYTES = 80
_WRITTEN = re.compile(r"darklung frame=(\S+) unit=(\S*)(?: channel=(\S(?:.*\S)?))?")


def is_nifti(start: bytes) -> bool:
    """Whether (unpacked) bytes are the start of a NIfTI file, or of the header of a pair."""
    sizes = {start[:4], start[:4][::-1]}
    return bool(sizes & {(348).to_bytes(4, "little"), (540).to_bytes(4, "little")})


def open_nifti(path: Path) -> VolumeFile:
    """Check the header of a NIfTI file.

    The affine is the sform where it has a code, else the qform; without both nothing is known of orientation: axes are those
    of the file, in the frame "scanner". A length without unit is in mm.

    Raises
    ------
    DarklungError
        No NIfTI, a pair of files, more than one volume, colours or complex numbers, a sheared affine, or a header that the
        file cannot fulfil.
    """
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
        file.seek(0)
        start = read_packed(file, _HEADER_BYTES, str(path), short=True) if packed else file.read(_HEADER_BYTES)
    header = _header(str(path), bytes(start))
    shape = _shape(str(path), header)
    dtype = _dtype(str(path), header)
    offset = float(header["vox_offset"])
    require(
        len(start) >= 352 and int(header["sizeof_hdr"]) <= offset <= MOST_HEADER_BYTES,
        f"{path}: wanted voxels from byte {int(header['sizeof_hdr'])} to {MOST_HEADER_BYTES} on, got vox_offset {offset:g}",
    )
    slope, intercept = _scale(header)
    place, notes = _place(str(path), header)
    frame, unit, channel = _told(header)
    found = VolumeFile(
        name=str(path),
        kind="NIfTI",
        shape=shape,
        dtype=dtype,
        read=lambda: _voxels(path, shape, dtype, int(offset), packed=packed),
        place=place.in_frame(frame) if frame and place.frame == ANATOMICAL else place,
        slope=slope,
        intercept=intercept,
        unit=unit,
        channel=channel,
        notes=notes,
    )
    check_fits(str(path), found.bytes + int(offset), path.stat().st_size, packed=packed)
    return found


def write_nifti(path: Path, image: Image, channel: str) -> None:
    """Write one channel as a NIfTI file on the image's own grid (x, y, z; mm), whole or not at all.

    sform and qform both hold spacing, origin and direction: of the frame "LPS" as right, anterior, superior; of any other
    frame x, y and z as they are, which says nothing of the animal's left and right. Frame, unit and channel are written
    into the description, from which `open_nifti` reads them; a channel whose name is too long for it is left out. A
    two-dimensional image gets z = 1.
    """
    exported = _exported(_writable(image.channel(channel)), image)
    told = f"darklung frame={image.frame} unit={image.unit(channel)}"
    more = f"{told} channel={channel}"
    exported.header["descrip"] = (more if len(more.encode()) <= _TOLD_BYTES else told).encode(errors="replace")
    _write(path, exported)


def write_nifti_channels(path: Path, image: Image) -> None:
    """Write all channels as one NIfTI file of four axes (x, y, z, channel), as float32; a single channel as three axes."""
    values = np.asarray(image.data, dtype=np.float32)
    _write(path, _exported(values[0] if len(values) == 1 else values, image))


def coarse_nifti(image: Image, channel: str, window: tuple[float, float]) -> bytes:
    """One channel as a packed NIfTI file of 8 bits, to look at: scaled so that values are kept to 1/254 of the window.

    Values beyond the window and NaN become its ends and its lower end.
    """
    low, high = window
    slope = (high - low) / (_COARSE_LEVELS - 1)
    values = np.nan_to_num(image.channel(channel).astype(np.float64), nan=low)
    levels = np.rint((np.clip(values, low, high) - low) / slope).astype(np.uint8)
    exported = _exported(levels, image)
    exported.header.set_slope_inter(slope, low)
    return gzip.compress(exported.to_bytes(), compresslevel=6, mtime=0)


def _write(path: Path, exported: Any) -> None:
    with whole(path) as partial, partial.open("wb") as file:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed:
                exported.to_stream(packed)
        else:
            exported.to_stream(file)


def _exported(values: NDArray[Any], image: Image) -> Any:
    """An image of nibabel of values (*spatial) or (channel, *spatial)."""
    import nibabel

    affine = affine_of_place(_solid(image))
    affine[:3] *= 1e3
    several = values.shape[: values.ndim - len(image.shape)]
    turned = values.reshape(*several, *(1, *image.shape)[-3:]).transpose()
    exported = nibabel.Nifti1Image(np.ascontiguousarray(turned), affine, dtype=values.dtype)
    exported.header.set_xyzt_units("mm")
    exported.set_sform(affine, code=1)
    exported.set_qform(affine, code=1)
    return exported


def _header(name: str, start: bytes) -> Any:
    import nibabel

    require(is_nifti(start), f"{name}: wanted NIfTI, got another kind of file, or a truncated one")
    large = (540).to_bytes(4, "little") in (start[:4], start[:4][::-1])
    kind, size = (nibabel.Nifti2Header, 540) if large else (nibabel.Nifti1Header, 348)
    require(len(start) >= size, f"{name}: truncated: {len(start)} bytes of a header of {size}")
    header = kind(start[:size], check=False)
    magic = bytes(header["magic"].tobytes())[:3].rstrip(b"\0")
    pair = magic in (b"ni1", b"ni2")
    require(not pair, f"{name}: a pair of .hdr and .img files is not read; convert it to .nii")
    require(magic in (b"n+1", b"n+2"), f"{name}: wanted NIfTI, got magic {magic!r}")
    return header


def _shape(name: str, header: Any) -> tuple[int, ...]:
    count = int(header["dim"][0])
    require(1 <= count <= 7, f"{name}: wanted 3 dimensions, the header tells {count}")
    sizes = [int(n) for n in header["dim"][1 : count + 1]]
    require(all(n > 0 for n in sizes), f"{name}: wanted sizes > 0, the header tells {sizes}")
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    require(len(sizes) <= 3, f"{name}: wanted one volume, the header tells sizes {sizes}; take it apart first")
    return tuple(reversed(sizes + [1] * (3 - len(sizes))))


def _dtype(name: str, header: Any) -> np.dtype[Any]:
    code = int(header["datatype"])
    known = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
    require(code in known, f"{name}: wanted whole or real numbers, got NIfTI datatype {code}")
    return np.dtype(known[code]).newbyteorder(header.endianness)


def _scale(header: Any) -> tuple[float, float]:
    """Slope 0 or one that is no number means none."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    return (slope, intercept if np.isfinite(intercept) else 0.0) if np.isfinite(slope) and slope != 0 else (1.0, 0.0)


def _place(name: str, header: Any) -> tuple[Place, tuple[str, ...]]:
    unit = int(header["xyzt_units"]) & 7
    require(unit in _METRES, f"{name}: wanted a unit of length, got code {unit}")
    notes = [_UNIT_NOTE[unit]] if unit in _UNIT_NOTE else []
    sform, qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not (sform or qform):
        spacing = [float(abs(v)) for v in header["pixdim"][3:0:-1]]
        require(all(np.isfinite(v) and v > 0 for v in spacing), f"{name}: wanted pixdim > 0, got {spacing}")
        notes.append("neither sform nor qform: orientation unknown")
        return Place(tuple(v * _METRES[unit] for v in spacing)), tuple(notes)
    affine = np.asarray(header.get_sform() if sform else header.get_qform(), dtype=np.float64)
    other = np.asarray(header.get_qform(), dtype=np.float64) if sform and qform else affine
    require(bool(np.isfinite(affine).all()), f"{name}: the orientation is not finite")
    if not np.allclose(affine, other, rtol=1e-3, atol=1e-3 * float(np.abs(affine[:3, :3]).max())):
        notes.append("sform and qform differ: the sform is taken")
    affine[:3] *= _METRES[unit]
    return place_from_affine(name, affine, ANATOMICAL), tuple(notes)


def _told(header: Any) -> tuple[str, str, str]:
    found = _WRITTEN.match(header["descrip"].item().decode(errors="replace"))
    return (found[1], found[2] or ARBITRARY, found[3] or "") if found else ("", ARBITRARY, "")


def _voxels(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int, *, packed: bool) -> NDArray[Any]:
    wanted = int(np.prod(shape)) * dtype.itemsize
    with path.open("rb") as file:
        if packed:
            data = read_packed(file, offset + wanted, str(path))
            return np.frombuffer(data, dtype=dtype, offset=offset).reshape(shape)
        file.seek(offset)
        return as_volume(read_plain(file, wanted, str(path)), dtype, shape)


def _writable(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype == bool:
        return values.astype(np.uint8)
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _solid(image: Image) -> Place:
    """The place of an image as a volume: a two-dimensional one is a slice of 1 mm at z = 0."""
    if len(image.shape) == 3:
        return Place(image.spacing_m, image.origin_m, image.direction, image.frame)
    direction = np.eye(3)
    direction[1:, 1:] = image.direction
    return Place(
        (1e-3, *image.spacing_m), (0.0, *image.origin_m), tuple(tuple(map(float, row)) for row in direction), image.frame
    )
