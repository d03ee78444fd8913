"""Sections as PNG or JPEG: one picture in one piece, its size looked at before it is unpacked."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.checks import require
from darklung.core.files import reading
from darklung.io.volume_file import check_memory
from darklung.slides.slide import Level, Rgb, Slide

MOST_PIXELS = 150_000_000
"""Of a picture that has no tiles: it has to be unpacked whole."""
_MODES = ("RGB", "L", "P", "RGBA", "CMYK")


def open_plain(path: Path) -> Slide:
    """Check a PNG or JPEG: a bomb of many pixels ends in one line. Its dots per inch are a printer's and no pixel size."""
    with _opened(path) as file:
        cols, rows = file.size
        require(file.mode in _MODES, f"{path}: wanted colours or grey of 8 bits, got {file.mode}")
        kind = str(file.format)
    require(
        rows * cols <= MOST_PIXELS,
        f"{path}: {rows} × {cols} pixels in one piece, wanted at most {MOST_PIXELS}: save it as a TIFF of tiles",
    )
    held: list[Rgb] = []

    def read(level: int, row: int, col: int, high: int, wide: int) -> Rgb:
        if not held:
            held.append(_unpacked(path, rows, cols))
        return held[0][row : row + high, col : col + wide]

    return Slide(name=str(path), kind=kind, levels=(Level(rows, cols, 1),), read=read)


def _unpacked(path: Path, rows: int, cols: int) -> Rgb:
    check_memory(str(path), 2 * 3 * rows * cols)
    with _opened(path) as file:
        found = np.asarray(on_white(file))
    require(found.shape == (rows, cols, 3), f"{path}: the header tells {rows} × {cols} pixels, got {found.shape}")
    return found


def on_white(file: Any) -> Any:
    """Colours; what is transparent lies on white."""
    from PIL import Image

    if file.mode == "RGBA" or (file.mode == "P" and "transparency" in file.info):
        own = file.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", own.size, (255, 255, 255, 255)), own).convert("RGB")
    return file.convert("RGB")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A picture with its errors in one line; warnings of its size are ours to give."""
    from PIL import Image

    with reading(path, "PNG or JPEG"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            file = Image.open(path, formats=("PNG", "JPEG"))
        with file:
            yield file
