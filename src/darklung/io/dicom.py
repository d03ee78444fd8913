"""DICOM series: the folder of one CT's slices, uncompressed. Needs pydicom (the extra ``volumes``)."""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.files import reading
from darklung.core.grey import ARBITRARY, HOUNSFIELD
from darklung.core.orientation import ANATOMICAL
from darklung.io.volume_file import VolumeFile, affine_from, check_fits, lps_to_ras, place_from_affine

_PLAIN_SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_ENDINGS = (".dcm", ".ima", "")
# Of the distance between slices: by how much one may differ from the others.
_EVEN = 0.02
_NEEDED = ("SeriesInstanceUID", "Rows", "Columns", "BitsAllocated", "PixelSpacing", "ImageOrientationPatient")
_SAME = (
    "Rows", "Columns", "BitsAllocated", "PixelRepresentation", "PixelSpacing", "ImageOrientationPatient", "RescaleSlope",
    "RescaleIntercept", "RescaleType",
)  # fmt: skip

Slices = list[tuple[Path, Any]]


def is_dicom(path: Path) -> bool:
    """Whether a file has the mark of DICOM after its preamble."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def open_dicom(folder: Path, *, series: str = "") -> VolumeFile:
    """Check the headers of a series of slices: places, sizes, spacing, scale.

    Parameters
    ----------
    folder : Path
    series : str
        UID, number or description, where the folder holds more than one.

    Raises
    ------
    DarklungError
        pydicom is not installed; several series; multi-frame, compressed or colour images; slices missing, twice at one
        place, unevenly spaced or of mixed size; slices that are not perpendicular to the line they lie on.
    """
    _pydicom()
    slices = _one_series(folder, _headers(folder), series)
    first = slices[0][1]
    for path, header in slices:
        _check_slice(path, header, first, slices[0][0])
    ordered, step = _ordered(folder, slices)
    first = ordered[0][1]
    name, (down, across) = str(folder), (1e-3 * float(v) for v in first.PixelSpacing)
    cosines = np.array([float(v) for v in first.ImageOrientationPatient]).reshape(2, 3)
    affine = affine_from([across * cosines[0], down * cosines[1], 1e-3 * step], 1e-3 * _position(ordered[0][1]))
    dtype = np.dtype(f"{'i' if int(first.get('PixelRepresentation', 0)) else 'u'}{int(first.BitsAllocated) // 8}")
    shape = (len(ordered), int(first.Rows), int(first.Columns))
    return VolumeFile(
        name=name,
        kind="DICOM series",
        shape=shape,
        dtype=dtype,
        read=lambda: _voxels([path for path, _ in ordered], shape, dtype),
        place=place_from_affine(name, lps_to_ras(affine), ANATOMICAL),
        slope=float(first.get("RescaleSlope", 1.0) or 1.0),
        intercept=float(first.get("RescaleIntercept", 0.0) or 0.0),
        unit=_unit(first),
        notes=_notes(first),
    )


def _pydicom() -> Any:
    try:
        import pydicom
    except ImportError:
        raise DarklungError("DICOM: wants pydicom: pip install 'darklung[volumes]'") from None
    return pydicom


def _read(path: Path, *, header_only: bool) -> Any:
    """A data set, without the pixels if so wanted; a file that inflates itself is refused before it does."""
    pydicom = _pydicom()
    # pydicom warns of every odd value; what matters is checked here.
    with reading(path, "DICOM"), warnings.catch_warnings(), _mapped(path) as file:
        warnings.simplefilter("ignore")
        pydicom.filereader.read_preamble(file, False)
        syntax = str(pydicom.filereader._read_file_meta_info(file).get("TransferSyntaxUID", ""))
        file.seek(0)
        plain = syntax in _PLAIN_SYNTAXES
        require(plain, f"{path}: wanted uncompressed DICOM, got transfer syntax {syntax or 'none'}; convert it first")
        header = pydicom.dcmread(file, stop_before_pixels=header_only)
        if not header_only:
            return header.pixel_array
        list(header)  # converts every value here, not when it is first looked at
        return header


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    """A file whose elements cannot be longer than it is: pydicom takes as much memory as they tell, before it reads."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield mapped


def _headers(folder: Path) -> Slices:
    found = []
    for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        if path.name.upper() == "DICOMDIR":
            continue
        marked = is_dicom(path)
        require(marked or path.suffix.lower() not in _ENDINGS, f"{path}: wanted DICOM, its mark is missing")
        if marked:
            found.append((path, _read(path, header_only=True)))
            _check_header(*found[-1])
    require(bool(found), f"{folder}: no DICOM file")
    return found


def _check_header(path: Path, header: Any) -> None:
    """What a slice must have to be placed, in numbers that make sense."""
    with reading(path, "DICOM"):
        require(
            int(header.get("NumberOfFrames", 1) or 1) == 1, f"{path}: multi-frame DICOM is not read; split it into slices"
        )
        for key in (*_NEEDED, "ImagePositionPatient"):
            require(header.get(key) is not None, f"{path}: has no {key}")
        numbers = [*header.PixelSpacing, *header.ImageOrientationPatient, *header.ImagePositionPatient]
        whole = len(numbers) == 11 and bool(np.isfinite([float(v) for v in numbers]).all())
        require(whole, f"{path}: wanted 2 numbers of PixelSpacing, 6 of ImageOrientationPatient, 3 of ImagePositionPatient")
        spacing = [float(v) for v in header.PixelSpacing]
        require(min(spacing) > 0, f"{path}: PixelSpacing: wanted > 0, got {spacing}")
        kind = str(header.get("PhotometricInterpretation", "MONOCHROME2"))
        grey = int(header.get("SamplesPerPixel", 1)) == 1 and kind == "MONOCHROME2"
        require(grey, f"{path}: wanted grey values (MONOCHROME2), got {kind}")
        bits, rows, cols = (int(header[key].value) for key in ("BitsAllocated", "Rows", "Columns"))
        require(bits in (8, 16, 32), f"{path}: BitsAllocated: wanted 8, 16 or 32, got {bits}")
        require(rows > 0 and cols > 0, f"{path}: wanted rows and columns, got {rows} × {cols}")
        check_fits(str(path), rows * cols * bits // 8, path.stat().st_size, packed=False)


def _one_series(folder: Path, found: Slices, series: str) -> Slices:
    groups: dict[str, Slices] = {}
    for path, header in found:
        groups.setdefault(str(header.SeriesInstanceUID), []).append((path, header))
    told = {
        uid: (str(g[0][1].get("SeriesNumber", "")), str(g[0][1].get("SeriesDescription", ""))) for uid, g in groups.items()
    }
    listed = "; ".join(f"{uid} (number {n or '-'}, {d or '-'}, {len(groups[uid])} slices)" for uid, (n, d) in told.items())
    chosen = [uid for uid in groups if not series or series in (uid, *told[uid])]
    require(len(chosen) > 0, f"{folder}: no series {series!r}; it holds {listed}")
    require(len(chosen) == 1, f"{folder}: holds {len(chosen)} series, choose one with series: {listed}")
    return groups[chosen[0]]


def _check_slice(path: Path, header: Any, first: Any, first_path: Path) -> None:
    for key in _SAME:
        values = [header.get(key), first.get(key)]
        require(_close(*values), f"{path}: {key} is {values[0]}, but {values[1]} in {first_path.name}")


def _close(one: Any, other: Any) -> bool:
    if one is None or other is None or isinstance(one, (str, int)):
        return bool(one == other)
    return bool(np.allclose(np.atleast_1d(one).astype(float), np.atleast_1d(other).astype(float), rtol=1e-4, atol=1e-4))


def _position(header: Any) -> NDArray[np.float64]:
    return np.array([float(v) for v in header.ImagePositionPatient])


def _ordered(folder: Path, slices: Slices) -> tuple[Slices, NDArray[np.float64]]:
    """Slices along the normal of their planes, and the step from one to the next [mm]."""
    require(len(slices) > 1, f"{folder}: wanted a series of slices, got one")
    cosines = np.array([float(v) for v in slices[0][1].ImageOrientationPatient]).reshape(2, 3)
    normal = np.cross(*cosines)
    places = np.array([_position(header) @ normal for _, header in slices])
    order = np.argsort(places, kind="stable")
    ordered, gaps = [slices[n] for n in order], np.diff(places[order])
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    close = int(np.argmin(gaps))
    twice = f"{ordered[close][0].name} and {ordered[close + 1][0].name}"
    require(gaps[close] > 1e-3 * max(usual, 1e-6), f"{folder}: two slices at one place: {twice}")
    wide = int(np.argmax(gaps))
    missing = round(float(gaps[wide]) / usual) - 1
    between = f"between {ordered[wide][0].name} and {ordered[wide + 1][0].name}"
    require(missing < 1, f"{folder}: {missing} slice(s) missing {between} ({gaps[wide]:g} mm apart, others {usual:g} mm)")
    even = float(np.abs(gaps - usual).max()) <= _EVEN * usual
    require(even, f"{folder}: slices are unevenly spaced, {gaps.min():g} to {gaps.max():g} mm")
    positions = np.array([_position(header) for _, header in ordered])
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    off = float(np.abs(positions - positions[0] - np.arange(len(ordered))[:, None] * step).max())
    require(off <= 2 * _EVEN * usual, f"{folder}: slices do not lie on a line, one is off by {off:g} mm")
    return ordered, step


def _unit(header: Any) -> str:
    """Hounsfield units where the slices say so, as CT does by default where it has a scale."""
    told = str(header.get("RescaleType", "") or "")
    scaled = header.get("RescaleSlope") is not None
    plain_ct = not told and scaled and str(header.get("Modality", "")) == "CT"
    return HOUNSFIELD if told.upper() == "HU" or plain_ct else ARBITRARY


def _notes(header: Any) -> tuple[str, ...]:
    """Of the scanner; nothing of who was scanned."""
    keys = ("Modality", "Manufacturer", "ManufacturerModelName", "SeriesDescription", "KVP", "PatientPosition")
    return tuple(f"{key}: {header.get(key)}" for key in keys if header.get(key) not in (None, ""))


def _voxels(files: Sequence[Path], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    volume = np.empty(shape, dtype)
    for into, path in zip(volume, files):
        values = _read(path, header_only=False)
        require(values.shape == shape[1:], f"{path}: wanted {shape[1:]} pixels, got {values.shape}")
        into[...] = values
    return volume
