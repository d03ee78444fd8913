"""TIFF stacks: a folder of numbered slices, with or without a scanner's log, or one file of many pages."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.files import reading
from darklung.core.units import parse_quantity
from darklung.io.skyscan import SkyscanLog, find_log, read_log
from darklung.io.tiff_pages import check_pages
from darklung.io.volume_file import Place, VolumeFile, check_fits

ENDINGS = (".tif", ".tiff")
# Schemes that cannot blow up beyond what is checked: none, LZW, deflate (two numbers), PackBits.
NONE, LZW, DEFLATE, PACKBITS = 1, 5, (8, 32946), 32773
_DIGITS = re.compile(r"(\d+)")
_NAMES_SHOWN = 6
# Its warnings about odd files would stand beside the one line that an error gets.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def open_slices(folder: Path, *, pattern: str = "", log: Path | None = None) -> VolumeFile:
    """Check a folder of TIFF slices: names, numbers, sizes, types, and the scanner's log where there is one.

    Parameters
    ----------
    folder : Path
    pattern : str
        Of the slices' names, such as ``"scan_rec*.tif"``, where the folder holds more than one series.
    log : Path, optional
        The scanner's log; searched for in the folder.

    Raises
    ------
    DarklungError
        Names without numbers or with two that vary, missing slices (by name), mixed sizes or types, files of several
        pages, a log that tells another size, other slices or another step than the numbers.
    """
    found = log or find_log(folder)
    told = read_log(found) if found else None
    names = [p for p in folder.iterdir() if p.suffix.lower() in ENDINGS and p.is_file() and not p.name.startswith(".")]
    # NRecon leaves a picture of the scan named ..._spr.tif between the slices.
    files = [p for p in names if (fnmatch(p.name, pattern) if pattern else not p.stem.lower().endswith("_spr"))]
    require(bool(files), f"{folder}: no TIFF slices" + (f" named {pattern!r}" if pattern else ""))
    numbered = _numbered(folder, files)
    ordered = [path for _, path in numbered]
    first = _same_pages(ordered)
    shape = (len(ordered), *first[0])
    if told:
        numbers = [n for n, _ in numbered]
        _check_log(told, numbers[0], numbers[-1], shape)
        gap = numbers[1] - numbers[0] if len(numbers) > 1 else 1
        same = gap in (1, told.step)
        require(same, f"{told.path}: tells a step of {told.step} between sections, the files are every {gap}th number")
    return VolumeFile(
        name=str(folder),
        kind="TIFF slices" + (" with a SkyScan log" if told else ""),
        shape=shape,
        dtype=first[1],
        read=lambda: _read_slices(ordered, shape, first[1]),
        place=_log_place(told) if told else None,
        notes=_notes(told, first[1]) if told else (),
    )


def open_pages(path: Path, *, log: Path | None = None) -> VolumeFile:
    """Check a TIFF file of many pages, one a slice. The spacing is the log's, or read where ImageJ wrote it.

    Raises
    ------
    DarklungError
        One page only, pages of different size or type, colours, a compression that is not read, or a log of other slices.
    """
    with opened_tiff(path) as file:
        found = _pages(path, file)
    if log is None:
        return found
    told = read_log(log)
    _check_log(told, told.first, told.first + found.shape[0] - 1, found.shape)
    return replace(found, place=_log_place(told), notes=_notes(told, found.dtype))


def grey_scale(log: SkyscanLog, dtype: np.dtype[Any]) -> tuple[float, float]:
    """Slope and intercept of attenuation in the log's own scale: its range is spread over the range of whole numbers.

    Raises
    ------
    DarklungError
        The log tells no range, or slices that are no whole numbers.
    """
    require(dtype.kind == "u", f"{log.path}: grey: the log's range belongs to whole numbers >= 0, the slices hold {dtype}")
    if log.grey_range is None:
        raise DarklungError(f"{log.path}: grey: has no Minimum and Maximum for CS to Image Conversion")
    low, high = log.grey_range
    return (high - low) / float(np.iinfo(dtype).max), low


def _numbered(folder: Path, files: Sequence[Path]) -> list[tuple[int, Path]]:
    """Files in the order of the one number in their names that varies, none missing."""
    parts = {path: _DIGITS.split(path.stem) for path in files}
    texts = {tuple(p[::2]) for p in parts.values()}
    kinds = sorted({_DIGITS.sub("#", p.name) for p in files})
    told = ", ".join(kinds[:_NAMES_SHOWN])
    require(len(texts) == 1, f"{folder}: wanted the slices of one series, found {told}; choose with series: 'NAME*.tif'")
    columns = list(zip(*(p[1::2] for p in parts.values())))
    varying = [n for n, column in enumerate(columns) if len({int(v) for v in column}) > 1]
    if len(files) == 1 and columns:
        varying = [len(columns) - 1]
    require(len(varying) == 1, f"{folder}: wanted one number that counts the slices in names like {files[0].name}, "
            f"found {len(varying)}; choose with series: 'NAME*.tif'")  # fmt: skip
    numbered = sorted((int(parts[path][2 * varying[0] + 1]), path) for path in files)
    numbers = np.array([n for n, _ in numbered])
    gaps = np.diff(numbers)
    twice = [path.name for n in np.flatnonzero(gaps == 0)[:1] for _, path in numbered[n : n + 2]]
    require(not twice, f"{folder}: two slices with one number: {' and '.join(twice)}")
    if len(gaps) and (gaps != gaps.min()).any():
        _missing(folder, numbered, int(gaps.min()))
    return numbered


def _missing(folder: Path, numbered: list[tuple[int, Path]], step: int) -> None:
    have = {n for n, _ in numbered}
    first, last = numbered[0][0], numbered[-1][0]
    even = all((n - first) % step == 0 for n in have)
    require(even, f"{folder}: the slices' numbers are not evenly spaced between {first} and {last}")
    count = (last - first) // step + 1 - len(have)
    absent = []
    for number in range(first, last, step):
        if number not in have:
            absent.append(str(number))
        if len(absent) == _NAMES_SHOWN:
            break
    more = ", ..." if count > len(absent) else ""
    raise DarklungError(f"{folder}: {count} slice(s) missing between {first} and {last}: {', '.join(absent)}{more}")


def _same_pages(files: Sequence[Path]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type that all files have."""
    first: tuple[tuple[int, ...], np.dtype[Any]] | None = None
    for path in files:
        with opened_tiff(path) as file:
            require(len(file.pages) == 1, f"{path}: wanted one slice a file, got {len(file.pages)} pages")
            page = _checked(path, file.pages[0])
        first = first or page
        require(page[0] == first[0], f"{path}: shape {page[0]}, but {files[0].name} has {first[0]}")
        require(page[1] == first[1], f"{path}: {page[1]}, but {files[0].name} has {first[1]}")
    require(first is not None, "TIFF slices: no file")
    return first  # type: ignore[return-value]


def _checked(path: Path, page: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of a page that can be read: grey, complete, in a scheme that cannot blow up."""
    shape, dtype = tuple(int(n) for n in page.shape), np.dtype(page.dtype)
    grey = len(shape) == 2 and int(page.samplesperpixel) == 1 and page.photometric.name == "MINISBLACK"
    require(grey, f"{path}: wanted a grey slice (row, col), got {page.photometric.name} of shape {shape}")
    check_page(path, page)
    return shape, dtype


def check_page(path: Path, page: Any) -> None:
    """Raise unless a page holds plain numbers, all there, upright, in a scheme that cannot blow up."""
    turned = page.tags.get("Orientation")  # no reader here turns or mirrors what a file wants shown so
    told = f"{path}: wanted rows from the top and columns from the left, got TIFF Orientation"
    require(turned is None or turned.value in (0, 1), f"{told} {turned and turned.value}; write it as it is to be read")
    dtype, scheme, size = np.dtype(page.dtype), int(page.compression), path.stat().st_size
    require(dtype.kind in "uif", f"{path}: wanted whole or real numbers, got {dtype}")
    require(scheme in (NONE, LZW, *DEFLATE, PACKBITS), f"{path}: TIFF compression {page.compression!s} is not read")
    ends = max((int(o) + int(n) for o, n in zip(page.dataoffsets, page.databytecounts)), default=0)
    require(0 < ends <= size, f"{path}: truncated: {size} bytes, but the slice ends at {ends}")
    wanted = int(np.prod(page.shape, dtype=object)) * dtype.itemsize
    check_fits(str(path), wanted, sum(map(int, page.databytecounts)), packed=scheme != NONE)
    if scheme in DEFLATE:
        _check_deflate(path, page)


def _read_slices(files: Sequence[Path], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    volume = np.empty(shape, dtype)
    for into, path in zip(volume, files):
        with opened_tiff(path) as file:
            into[...] = file.pages[0].asarray()
    return volume


def _check_deflate(path: Path, page: Any) -> None:
    with path.open("rb") as file:
        for offset, count in zip(page.dataoffsets, page.databytecounts):
            file.seek(offset)
            check_deflate(path, page, file.read(count))


def check_deflate(path: Path, page: Any, packed: bytes) -> None:
    """A strip or tile may not unpack to more than it has room for, before anything unpacks it whole."""
    most = int(np.prod(page.chunks, dtype=object)) * np.dtype(page.dtype).itemsize
    unpacked = zlib.decompressobj().decompress(packed, most + 1)
    require(len(unpacked) <= most, f"{path}: a strip unpacks to more than its {most} bytes")


def _pages(path: Path, file: Any) -> VolumeFile:
    told = (file.imagej_metadata or {}) if file.is_imagej else {}
    pages, count = list(file.pages), len(file.pages)
    shape, dtype = _checked(path, pages[0])
    for number, page in enumerate(pages):
        require(_checked(path, page) == (shape, dtype), f"{path}: page {number} has another size or type than the first")
    images = int(told.get("images", count))
    # ImageJ writes large stacks as one page with all slices behind it.
    in_one = count == 1 and images > 1
    if in_one:
        held = path.stat().st_size - int(pages[0].dataoffsets[0])
        check_fits(str(path), images * int(np.prod(shape)) * dtype.itemsize, held, packed=False)
    depth = images if in_one else count
    require(depth > 1, f"{path}: wanted a stack, got one slice; give the folder of the slices")
    several = [k for k in ("channels", "frames") if int(told.get(k, 1)) > 1]
    require(not several, f"{path}: wanted one volume, ImageJ tells {', '.join(f'{told[k]} {k}' for k in several)}")
    whole = (depth, *shape)
    return VolumeFile(
        name=str(path),
        kind="TIFF stack",
        shape=whole,
        dtype=dtype,
        read=lambda: _read_pages(path, whole, dtype, in_one=in_one),
        place=_imagej_place(told, pages[0]),
    )


def _read_pages(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], *, in_one: bool) -> NDArray[Any]:
    volume = np.empty(shape, dtype)
    with opened_tiff(path) as file:
        if in_one:
            start = int(file.pages[0].dataoffsets[0])
            order = dtype.newbyteorder(file.byteorder)
            return np.fromfile(path, order, int(np.prod(shape)), offset=start).reshape(shape).astype(dtype)
        for into, page in zip(volume, file.pages):
            into[...] = page.asarray()
    return volume


def _imagej_place(told: dict[str, Any], page: Any) -> Place | None:
    """Spacing that ImageJ wrote: slices in `unit`, pixels as a resolution in 1/unit."""
    unit = str(told.get("unit", "")).replace("\\u00B5m", "um").replace("micron", "um")
    tags = [page.tags.get(name) for name in ("YResolution", "XResolution")]
    if "spacing" not in told or not unit or None in tags:
        return None
    try:
        metres = parse_quantity(f"1 {unit}", "length")
        per_pixel = [tag.value[1] / tag.value[0] for tag in tags if tag is not None]
        spacing = [float(told["spacing"]) * metres, *(p * metres for p in per_pixel)]
    except (DarklungError, ZeroDivisionError, TypeError, ValueError):
        return None
    return Place(tuple(spacing)) if all(np.isfinite(s) and s > 0 for s in spacing) else None


def _check_log(log: SkyscanLog, first: int, last: int, shape: tuple[int, ...]) -> None:
    size = (log.rows, log.cols)
    require(size == shape[1:], f"{log.path}: tells slices of {size} (rows, cols), the files have {shape[1:]}")
    same = (first, last) == (log.first, log.last)
    require(same, f"{log.path}: tells sections {log.first} to {log.last}, the files are {first} to {last}")


def _log_place(log: SkyscanLog) -> Place:
    return Place((log.pixel_m * log.step, log.pixel_m, log.pixel_m))


def _notes(log: SkyscanLog, dtype: np.dtype[Any]) -> tuple[str, ...]:
    notes = [f"log {log.path.name}", *log.told]
    if log.voltage_kv is not None:
        notes.append(f"voltage: {log.voltage_kv:g} kV")
    if log.exposure_s is not None:
        notes.append(f"exposure: {1e3 * log.exposure_s:g} ms")
    if log.grey_range is not None and dtype.kind == "u":
        notes.append(f"grey: log would give {log.grey_range[0]:g} to {log.grey_range[1]:g} (no unit told)")
    return tuple(notes)


@contextmanager
def opened_tiff(path: Path, name: str = "") -> Iterator[Any]:
    """A TIFF file without what its text may refer to elsewhere; mistakes in it are told in one line."""
    import tifffile

    with reading(name or path, "TIFF"):
        check_pages(path, name)
    with reading(name or path, "TIFF"), tifffile.TiffFile(path, is_ome=False) as file:
        yield file
