"""What slide scanners write (SVS, NDPI, MRXS, SCN, ...) and TIFF packed with JPEG, through OpenSlide: an extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.checks import DarklungError, require
from darklung.core.files import reading
from darklung.slides.plain import on_white
from darklung.slides.slide import PIXELS_M, Level, Rgb, Slide, whole_factor


def open_scanner(path: Path) -> Slide:
    """Check a slide that OpenSlide reads; its pixel is the scanner's own.

    Raises
    ------
    DarklungError
        The extra is not installed, not a slide, pixels that are not square.
    """
    try:
        import openslide
    except ImportError as error:
        raise DarklungError(f"{path}: wants OpenSlide: pip install 'darklung[histology]'") from error
    with reading(path, "a slide by OpenSlide"):
        file = openslide.OpenSlide(str(path))
        sizes = [(int(rows), int(cols)) for cols, rows in file.level_dimensions]
        told = dict(file.properties)
    factors = [whole_factor(str(path), sizes[0], size) for size in sizes]
    chosen = [n for n, f in enumerate(factors) if f and f not in factors[:n]]

    def read(level: int, row: int, col: int, rows: int, cols: int) -> Rgb:
        number = chosen[level]
        corner = (round(col * sizes[0][1] / sizes[number][1]), round(row * sizes[0][0] / sizes[number][0]))
        with reading(path, "a slide by OpenSlide"):
            # Where the scanner saw nothing the slide is transparent.
            return np.asarray(on_white(file.read_region(corner, number, (cols, rows))))

    return Slide(
        name=str(path),
        kind=f"{told.get('openslide.vendor', 'slide')} slide through OpenSlide",
        levels=tuple(Level(*sizes[n], factors[n]) for n in chosen),
        read=read,
        pixel_m=_pixel(path, told),
    )


def _pixel(path: Path, told: dict[str, Any]) -> float | None:
    try:
        x, y = (1e-6 * float(told[f"openslide.mpp-{axis}"]) for axis in "xy")
    except (KeyError, ValueError):
        return None
    require(abs(x / y - 1) < 0.02 if y > 0 else False, f"{path}: wanted square pixels, got {x:g} × {y:g} m")
    return (x + y) / 2 if PIXELS_M[0] <= x <= PIXELS_M[1] else None
