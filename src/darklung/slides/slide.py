"""Pictures of histology sections of any size: what is known before anything is read, and parts of them at any coarseness.

Nothing is read whole that does not fit: pyramids are read from the level that is just fine enough, tile by tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, check_range, require
from darklung.core.files import reading

Box = tuple[int, int, int, int]
"""First row, first column, rows, columns, of the finest level."""
Rgb = NDArray[np.uint8]

PIXELS_M = (0.02e-6, 50e-6)
"""What a pixel of a section can be: beyond it the unit is wrong."""
WHITE = 255
MOST_BYTES = 2**28
"""Of colours that are read at once."""


@dataclass(frozen=True)
class Level:
    """One size of a picture: rows, columns, and how many pixels of the finest one along an edge of its own."""

    rows: int
    cols: int
    factor: int


@dataclass(frozen=True)
class Slide:
    """A picture of a section on disk; nothing of it is read yet.

    Parameters
    ----------
    name : str
        Path, for error lines.
    kind : str
        What the format is called.
    levels : tuple of Level
        From the finest, factors rising from 1.
    read : function
        (level, row, col, rows, cols) of that level -> (row, col, 3) uint8; the box lies inside.
    pixel_m : float, optional
        Edge of a pixel of the finest level; None where nobody said it.
    notes : tuple of str
        What else is told, and what speaks against it.
    told : mapping
        What the file says of itself, such as that it is synthetic.
    """

    name: str
    kind: str
    levels: tuple[Level, ...]
    read: Callable[[int, int, int, int, int], Rgb]
    pixel_m: float | None = None
    notes: tuple[str, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(len(self.levels) > 0 and self.levels[0].factor == 1, f"{self.name}: holds no picture")
        if self.pixel_m is not None:
            check_pixel(self.name, self.pixel_m)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the finest level."""
        return self.levels[0].rows, self.levels[0].cols

    def pixel(self) -> float:
        """Edge of a pixel [m]; raises where it is not known."""
        if self.pixel_m is None:
            raise DarklungError(
                f"{self.name}: pixel: the file does not tell it; give it ('0.5 um') or a scale bar of stated length"
            )
        return self.pixel_m

    def region(self, box: Box, factor: int = 1) -> Rgb:
        """Colours of a box, each the mean of `factor` × `factor` pixels; white where the box leaves the picture.

        Parameters
        ----------
        box : (row, col, rows, cols)
            Of the finest level; rows and columns are multiples of `factor`.
        factor : int

        Raises
        ------
        DarklungError
            More than is read at once, or a file that is broken.
        """
        row, col, rows, cols = box
        require(rows % factor == 0 and cols % factor == 0, f"region: wanted a multiple of {factor}, got {rows} × {cols}")
        level, step = self._level_for(factor, row, col)
        d = self.levels[level].factor
        own = (row // d, col // d, rows // d, cols // d)
        require(own[2] * own[3] * 3 <= MOST_BYTES, f"{self.name}: wanted at most {MOST_BYTES} bytes at once, got {own[2:]}")
        return averaged(self._padded(level, own), step)

    def _level_for(self, factor: int, row: int, col: int) -> tuple[int, int]:
        """The coarsest level from whose pixels those of `factor` are whole means, and how many along an edge."""
        for number in range(len(self.levels) - 1, -1, -1):
            d = self.levels[number].factor
            if factor % d == 0 and row % d == 0 and col % d == 0:
                return number, factor // d
        return 0, factor

    def _padded(self, level: int, box: Box) -> Rgb:
        row, col, rows, cols = box
        size = self.levels[level]
        out = np.full((rows, cols, 3), WHITE, np.uint8)
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + rows, size.rows), min(col + cols, size.cols)
        if bottom <= top or right <= left:
            return out
        with reading(self.name):
            part = self.read(level, top, left, bottom - top, right - left)
        out[top - row : bottom - row, left - col : right - col] = part
        return out

    def overview_shape(self, factor: int) -> tuple[int, int]:
        """Rows and columns of `overview`."""
        return -(-self.shape[0] // factor), -(-self.shape[1] // factor)

    def overview(self, factor: int, progress: Callable[[int, int], None] | None = None) -> Rgb:
        """The whole picture at a coarseness, read in bands of bounded size."""
        rows, cols = self.overview_shape(factor)
        out = np.empty((rows, cols, 3), np.uint8)
        bands = list(_bands(rows, cols, self._bytes_per_pixel(factor)))
        for number, (first, count) in enumerate(bands, start=1):
            box = (first * factor, 0, count * factor, cols * factor)
            out[first : first + count] = self.region(box, factor)
            if progress:
                progress(number, len(bands))
        return out

    def _bytes_per_pixel(self, factor: int) -> int:
        _, step = self._level_for(factor, 0, 0)
        return 3 * step**2

    def lines(self) -> list[str]:
        """What to tell of it, one thing a line."""
        sizes = ", ".join(f"{one.rows} × {one.cols}" for one in self.levels)
        pixel = "not told" if self.pixel_m is None else f"{1e6 * self.pixel_m:.6g} um"
        told = [f"{self.name} ({self.kind})", f"  rows × columns: {sizes}", f"  pixel: {pixel}"]
        return told + [f"  {note}" for note in self.notes]


def check_pixel(name: str, pixel_m: float) -> float:
    """Return a pixel's edge that a section can have, else raise."""
    check_range(f"{name}: pixel [m]", pixel_m, *PIXELS_M)
    return pixel_m


def with_pixel(slide: Slide, pixel_m: float, why: str) -> Slide:
    """The slide with a stated pixel; a file that tells another by more than a twentieth is told of in the notes."""
    notes = [*slide.notes, f"pixel {1e6 * pixel_m:.4g} um: {why}"]
    if slide.pixel_m is not None and abs(slide.pixel_m / pixel_m - 1) > 0.05:
        notes.append(f"but the file tells a pixel of {1e6 * slide.pixel_m:.4g} um: one of them is wrong")
    return replace(slide, pixel_m=check_pixel(slide.name, pixel_m), notes=tuple(notes))


def mirrored(slide: Slide, axis: str) -> Slide:
    """The same picture with rows (``"up-down"``) or columns (``"left-right"``) reversed: a section that lay turned over."""
    require(axis in ("up-down", "left-right"), f"flip: wanted up-down or left-right, got {axis!r}")
    down = axis == "up-down"

    def read(level: int, row: int, col: int, rows: int, cols: int) -> Rgb:
        size = slide.levels[level]
        if down:
            return slide.read(level, size.rows - row - rows, col, rows, cols)[::-1]
        return slide.read(level, row, size.cols - col - cols, rows, cols)[:, ::-1]

    return replace(slide, read=read, notes=(*slide.notes, f"mirrored {axis}"))


def origin_m(shape: tuple[int, int], factor: int, pixel_m: float) -> tuple[float, float]:
    """Where the middle of the first pixel of an overview lies in the frame ``section``, from the middle of the picture."""
    first = (factor - 1) / 2
    return (first - (shape[0] - 1) / 2) * pixel_m, (first - (shape[1] - 1) / 2) * pixel_m


def whole_factor(name: str, first: tuple[int, int], other: tuple[int, int]) -> int:
    """How many pixels of the finest level go along one of a coarser one; 0 where it is no whole number."""
    ratios = [a / b for a, b in zip(first, other) if b]
    factor = round(sum(ratios) / len(ratios)) if ratios else 0
    fits = factor >= 1 and all(abs(a - b * factor) <= 2 * factor for a, b in zip(first, other))
    return factor if fits else 0


def averaged(rgb: Rgb, step: int) -> Rgb:
    """Means over `step` × `step` pixels; at the end the last row and column are repeated."""
    if step == 1:
        return rgb
    short = [-n % step for n in rgb.shape[:2]]
    wide = np.pad(rgb, ((0, short[0]), (0, short[1]), (0, 0)), mode="edge") if any(short) else rgb
    rows, cols = wide.shape[0] // step, wide.shape[1] // step
    sums = wide.reshape(rows, step, cols, step, 3).sum(axis=(1, 3), dtype=np.uint32)
    return ((sums + step**2 // 2) // step**2).astype(np.uint8)


def _bands(rows: int, cols: int, bytes_per_pixel: int) -> Iterator[tuple[int, int]]:
    """First row and number of rows of bands that fit `MOST_BYTES`."""
    most = max(1, MOST_BYTES // (4 * max(cols * bytes_per_pixel, 1)))
    for first in range(0, rows, most):
        yield first, min(most, rows - first)
