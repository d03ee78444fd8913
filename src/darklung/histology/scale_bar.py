"""A burnt-in scale bar: a dark grey or black bar, filled, much longer than high, that ends sharply."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require

_DARK, _COLOURLESS = 130, 24
_LEAST_PIXELS, _LEAST_RATIO, _LEAST_FILLED = 12, 5.0, 0.6


def bar_boxes(rgb: NDArray[np.uint8]) -> list[tuple[slice, slice]]:
    """Boxes of what looks like a scale bar in a picture, the longest first."""
    from scipy.ndimage import find_objects, label

    dark = _is_dark(rgb)
    parts, _ = label(dark)
    found: list[tuple[slice, slice]] = []
    for number, box in enumerate(find_objects(parts), start=1):
        high, wide = (s.stop - s.start for s in box)
        filled = float((parts[box] == number).mean())
        if wide >= _LEAST_PIXELS and wide >= _LEAST_RATIO * high and filled >= _LEAST_FILLED:
            found.append((box[0], box[1]))
    return sorted(found, key=lambda b: b[1].start - b[1].stop)


def bar_length(rgb: NDArray[np.uint8]) -> int:
    """Length in pixels of the one bar in a picture that shows it and little else.

    Of each row the distance from its first to its last dark pixel; the median over rows that are mostly dark, so that text
    in the bar and a ragged edge do not count.

    Raises
    ------
    DarklungError
        No bar.
    """
    dark = _is_dark(rgb)
    extents = []
    for row in dark:
        cols = np.flatnonzero(row)
        if len(cols) and len(cols) >= 0.5 * (cols[-1] - cols[0] + 1) and len(cols) >= 0.5 * _widest(dark):
            extents.append(int(cols[-1] - cols[0] + 1))
    require(bool(extents), "scale bar: none found, wanted a dark bar of even height; give the pixel itself")
    return int(np.median(extents))


def one_bar(boxes: list[tuple[slice, slice]]) -> tuple[slice, slice]:
    """The one bar among candidates; raises where there is none, or a second one nearly as long."""
    if not boxes:
        raise DarklungError("scale bar: none found, wanted a dark bar of even height; give the pixel itself")
    lengths = [b[1].stop - b[1].start for b in boxes]
    clear = len(boxes) == 1 or lengths[1] < 0.5 * lengths[0]
    require(clear, f"scale bar: {len(boxes)} bars found, of {lengths[0]} and {lengths[-1]} pixels; give the pixel itself")
    return boxes[0]


def _is_dark(rgb: NDArray[Any]) -> NDArray[np.bool_]:
    most, least = rgb.max(axis=-1).astype(np.int16), rgb.min(axis=-1).astype(np.int16)
    return np.asarray((most < _DARK) & (most - least < _COLOURLESS))


def _widest(dark: NDArray[np.bool_]) -> int:
    return int(dark.sum(axis=1).max(initial=0))
