"""Sections as TIFF: pyramids in further pages or sub-images, read tile by tile; the pixel from OME, ImageJ or tags."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.checks import DarklungError, require
from darklung.core.units import parse_quantity
from darklung.io.tiff_stack import DEFLATE, LZW, NONE, PACKBITS, check_deflate, opened_tiff
from darklung.slides.scanner import open_scanner
from darklung.slides.slide import MOST_BYTES, PIXELS_M, WHITE, Level, Rgb, Slide, whole_factor

TOLD = "darklung:"
"""Before the JSON with which our own files tell what they are."""
_JPEG = (6, 7, 33003, 33005, 34712)
_MOST_PAGES = 100
_OME = re.compile(r'PhysicalSize([XY])(Unit)?="([^"]{1,40})"')
_NEXT = re.compile(r"</(?:\w+:)?Image>")
_APERIO = re.compile(r"\bMPP\s*=\s*([0-9.]{1,12})")


def open_pyramid(path: Path) -> Slide:
    """Check a TIFF of a section: colours or grey of 8 bits, further levels where it has them.

    Files packed with JPEG go through OpenSlide. Tiles that are not in the file (sparse ones) are white.

    Raises
    ------
    DarklungError
        Not a TIFF, other numbers than 8 bits, a packing that is not read, tiles too large to be read.
    """
    with opened_tiff(path) as file:
        if int(file.pages[0].compression) in _JPEG:
            return open_scanner(path)
        pages = _levels(path, file)
        pixel_m, notes = _pixel(file)
        told = _told(file.pages[0])
        kind = "OME-TIFF" if "<OME" in str(file.pages[0].description)[:500] else "TIFF"
    first = pages[0][1]
    return Slide(
        name=str(path),
        kind=kind,
        levels=tuple(Level(*size, whole_factor(str(path), first, size)) for _, size in pages),
        read=lambda level, *box: _read(path, pages[level][0], box),
        pixel_m=pixel_m,
        notes=notes,
        told=told,
    )


Place = tuple[int, int]
"""Number of a page and of its sub-image, −1 for the page itself."""


def _levels(path: Path, file: Any) -> list[tuple[Place, tuple[int, int]]]:
    """Pages of one picture in falling size, whole factors apart; labels and thumbnails of another shape are left out."""
    found: list[tuple[Place, tuple[int, int]]] = []
    factors: list[int] = []
    for number in range(min(len(file.pages), _MOST_PAGES)):
        page = file.pages[number]
        subs = list(page.pages) if number == 0 and page.subifds else []
        for sub, one in enumerate((page, *subs), start=-1):
            size = (int(one.imagelength), int(one.imagewidth))
            factor = whole_factor(str(path), found[0][1], size) if found else 1
            if factor and (not factors or factor > factors[-1]):
                _check_page(path, one)
                found.append(((number, sub), size))
                factors.append(factor)
    return found


def _check_page(path: Path, page: Any) -> None:
    samples, dtype = int(page.samplesperpixel), np.dtype(page.dtype)
    wanted = dtype == np.uint8 and samples in (1, 3, 4) and int(page.planarconfig) == 1 and page.imagedepth == 1
    require(wanted, f"{path}: wanted colours or grey of 8 bits, interleaved, got {samples} × {dtype}")
    require(page.photometric.name in ("RGB", "MINISBLACK", "MINISWHITE"), f"{path}: {page.photometric.name} is not read")
    scheme = int(page.compression)
    require(scheme in (NONE, LZW, *DEFLATE, PACKBITS), f"{path}: TIFF compression {page.compression!s} is not read")
    size = int(np.prod(page.chunks, dtype=object))
    plain = scheme == NONE and page.is_contiguous
    require(plain or size <= MOST_BYTES, f"{path}: one strip or tile holds {size} bytes: save it with tiles")
    ends = max((int(o) + int(n) for o, n in zip(page.dataoffsets, page.databytecounts) if n), default=0)
    held = path.stat().st_size
    require(ends <= held, f"{path}: truncated: {held} bytes, but the picture ends at {ends}")


def _read(path: Path, place: Place, box: tuple[int, ...]) -> Rgb:
    with opened_tiff(path) as file:
        page = file.pages[place[0]]
        page = page if place[1] < 0 else page.pages[place[1]]
        if int(page.compression) == NONE and page.is_contiguous:
            return _as_rgb(_mapped(path, page, box), page)
        return _as_rgb(_from_chunks(path, file, page, box), page)


def _mapped(path: Path, page: Any, box: tuple[int, ...]) -> Rgb:
    row, col, rows, cols = box
    shape = (int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel))
    whole = np.memmap(path, np.uint8, "r", int(page.dataoffsets[0]), shape)
    return np.array(whole[row : row + rows, col : col + cols])


def _from_chunks(path: Path, file: Any, page: Any, box: tuple[int, ...]) -> Rgb:
    row, col, rows, cols = box
    samples = int(page.samplesperpixel)
    out = np.full((rows, cols, samples), WHITE, np.uint8)
    high, wide = int(page.chunks[0]), int(page.chunks[1])
    across = -(-int(page.imagewidth) // wide)
    for down in range(row // high, (row + rows - 1) // high + 1):
        for right in range(col // wide, (col + cols - 1) // wide + 1):
            tile = _chunk(path, file, page, down * across + right)
            if tile is None:
                continue
            top, left = down * high, right * wide
            y0, y1 = max(row, top), min(row + rows, top + tile.shape[0])
            x0, x1 = max(col, left), min(col + cols, left + tile.shape[1])
            if y1 > y0 and x1 > x0:
                out[y0 - row : y1 - row, x0 - col : x1 - col] = tile[y0 - top : y1 - top, x0 - left : x1 - left]
    return out


def _chunk(path: Path, file: Any, page: Any, index: int) -> Rgb | None:
    """One strip or tile, (row, col, sample); None where the file holds none of it."""
    count = int(page.databytecounts[index])
    if count == 0:
        return None
    file.filehandle.seek(int(page.dataoffsets[index]))
    packed = file.filehandle.read(count)
    if int(page.compression) in DEFLATE:
        check_deflate(path, page, packed)
    values = page.decode(packed, index)[0]
    return None if values is None else np.asarray(values)[0]


def _as_rgb(values: Rgb, page: Any) -> Rgb:
    if values.shape[-1] == 1:
        grey = WHITE - values if page.photometric.name == "MINISWHITE" else values
        return np.repeat(grey, 3, axis=-1)
    return values[..., :3]


def _told(page: Any) -> dict[str, Any]:
    """What our own files say of themselves."""
    text = str(page.software or "")
    if not text.startswith(TOLD):
        return {}
    try:
        found = json.loads(text.removeprefix(TOLD))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _pixel(file: Any) -> tuple[float | None, tuple[str, ...]]:
    """Edge of a pixel, and what was odd about it."""
    text = str(file.pages[0].description or "")[:100_000]
    sizes = _ome_pixel(text) or _aperio_pixel(text) or _tag_pixel(file)
    if sizes is None:
        return None, _dots(file)
    x, y = sizes
    if abs(x / y - 1) > 0.02:
        raise DarklungError(f"{file.filename}: wanted square pixels, got {1e6 * x:g} × {1e6 * y:g} um")
    value = (x + y) / 2
    if not PIXELS_M[0] <= value <= PIXELS_M[1]:
        return None, (f"the file tells a pixel of {1e6 * value:.4g} um, which no section has: not used",)
    return value, ()


def _ome_pixel(text: str) -> tuple[float, float] | None:
    own = _NEXT.split(text)[0]  # macro and label pictures behind it have pixels of their own
    found = {axis + (unit or ""): value for axis, unit, value in _OME.findall(own)}
    try:
        sizes = [parse_quantity(f"{found[a]} {found.get(a + 'Unit', 'um')}", "length") for a in "XY"]
    except (KeyError, DarklungError):
        return None
    return (sizes[0], sizes[1]) if min(sizes) > 0 else None


def _aperio_pixel(text: str) -> tuple[float, float] | None:
    found = _APERIO.search(text)
    value = 1e-6 * float(found[1]) if found and found[1].count(".") <= 1 else 0.0
    return (value, value) if value > 0 else None


def _tag_pixel(file: Any) -> tuple[float, float] | None:
    """From the resolution: of ImageJ in its unit, else in centimetres; dots per inch are a printer's, as in a PNG."""
    page = file.pages[0]
    tags = [page.tags.get(name) for name in ("XResolution", "YResolution")]
    if any(tag is None for tag in tags):
        return None
    told = str((file.imagej_metadata or {}).get("unit", "")) if file.is_imagej else ""
    unit = told.replace("\\u00B5m", "um").replace("micron", "um")
    number = int(page.tags["ResolutionUnit"].value) if "ResolutionUnit" in page.tags else 1
    scale = 10e-3 if number == 3 else 0.0
    try:
        scale = parse_quantity(f"1 {unit}", "length") if unit else scale
        x, y = (scale * tag.value[1] / tag.value[0] for tag in tags)
    except (DarklungError, ZeroDivisionError, TypeError):
        return None
    return (x, y) if min(x, y) > 0 else None


def _dots(file: Any) -> tuple[str, ...]:
    """That a file without a pixel has dots per inch."""
    tags = file.pages[0].tags
    inches = "ResolutionUnit" in tags and int(tags["ResolutionUnit"].value) == 2 and "XResolution" in tags
    return ("the file tells dots per inch, which are a printer's and no pixel: not used",) if inches else ()
