"""Sections as pyramids: OME-TIFF of tiles, written band by band, marked for what they are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from darklung.slides.slide import Rgb, averaged
from darklung.slides.tiff import TOLD

TILE = 512
STEP = 4
"""Between the levels of a pyramid."""
Render = Callable[[tuple[int, int, int, int]], Rgb]


def write_pyramid(
    path: Path,
    render: Render,
    *,
    shape: tuple[int, int],
    pixel_m: float,
    told: Mapping[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a picture that is made box by box; the file appears whole or not at all.

    Parameters
    ----------
    path : Path
    render : function
        Box (row, col, rows, cols) -> (row, col, 3) uint8.
    shape : (rows, cols)
    pixel_m : float
    told : mapping
        What the file says of itself (``Slide.told``).
    progress : function, optional
    """
    import tifffile

    sizes = [shape]
    while max(sizes[-1]) > 2 * TILE:
        sizes.append((-(-sizes[-1][0] // STEP), -(-sizes[-1][1] // STEP)))
    coarse = np.full((*(sizes[1] if len(sizes) > 1 else (1, 1)), 3), 255, np.uint8)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    options: dict[str, Any] = {"tile": (TILE, TILE), "photometric": "rgb", "compression": "zlib", "dtype": np.uint8}
    pixel: dict[str, Any] = {"PhysicalSizeX": 1e6 * pixel_m, "PhysicalSizeY": 1e6 * pixel_m}
    names = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm", "Name": path.stem}
    software = TOLD + json.dumps(dict(told))
    with tifffile.TiffWriter(partial, bigtiff=True, ome=True) as file:
        tiles = _tiles(render, shape, coarse, progress)
        metadata = {"axes": "YXS", **pixel, **names}
        file.write(tiles, shape=(*shape, 3), subifds=len(sizes) - 1, metadata=metadata, software=software, **options)
        for size in sizes[1:]:
            file.write(coarse, shape=(*size, 3), subfiletype=1, metadata=None, **options)
            coarse = averaged(coarse, STEP)
    os.replace(partial, path)


def _tiles(
    render: Render, shape: tuple[int, int], coarse: Rgb, progress: Callable[[int, int], None] | None
) -> Iterator[Rgb]:
    """Tiles in the order of the file, made a band at a time; what the next level shows is kept on the way."""
    down, across = (-(-n // TILE) for n in shape)
    for band in range(down):
        rows = min(TILE, shape[0] - band * TILE)
        made = np.full((TILE, across * TILE, 3), 255, np.uint8)
        for first in range(0, across, 4):
            cols = min(4 * TILE, shape[1] - first * TILE)
            made[:rows, first * TILE : first * TILE + cols] = render((band * TILE, first * TILE, rows, cols))
        if coarse.shape[0] > 1:
            part = averaged(made[:rows, : shape[1]], STEP)
            start = band * TILE // STEP
            coarse[start : start + part.shape[0]] = part
        for number in range(across):
            yield made[:, number * TILE : (number + 1) * TILE]
        if progress:
            progress(band + 1, down)
