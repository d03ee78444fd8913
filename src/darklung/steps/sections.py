"""Pictures of sections opened as a description says: pixel from file, statement or scale bar, flips, masks, outlines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, check_one_of, require
from darklung.histology.regions import NAMES, Regions, with_drawn
from darklung.histology.scale_bar import bar_boxes, bar_length, one_bar
from darklung.slides.opening import open_slide
from darklung.slides.polygons import painted, read_outlines
from darklung.slides.slide import Slide, mirrored, with_pixel
from darklung.study.histology import SectionPart

Mask = NDArray[np.bool_]
DRAWABLE = NAMES[1:]
_BAR_PIXELS = 4_000_000
_BAR_MARGIN = 12


def open_section(part: SectionPart) -> Slide:
    """The picture of a section with its pixel, mirrored where it lay turned over.

    Raises
    ------
    DarklungError
        No pixel is told anywhere, both a pixel and a scale bar, no bar, or what `open_slide` raises.
    """
    slide = open_slide(part.file)
    require(part.pixel is None or part.scale_bar is None, f"{part.file}: wanted pixel or scale_bar, got both")
    if part.pixel is not None:
        slide = with_pixel(slide, part.pixel, "given")
    elif part.scale_bar is not None:
        pixels = scale_bar_pixels(slide)
        slide = with_pixel(slide, part.scale_bar / pixels, f"scale bar of {1e6 * part.scale_bar:g} um is {pixels} pixels")
    slide.pixel()
    return slide if part.flip == "no" else mirrored(slide, part.flip)


def scale_bar_pixels(slide: Slide) -> int:
    """Length of the burnt-in bar on the finest level: found on a coarse picture, measured on the fine one."""
    rows, cols = slide.shape
    factor = max(1, int(np.ceil(np.sqrt(rows * cols / _BAR_PIXELS))))
    try:
        box = one_bar(bar_boxes(slide.overview(factor)))
        m = _BAR_MARGIN * factor
        top, left = box[0].start * factor - m, box[1].start * factor - m
        high, wide = ((s.stop - s.start) * factor + 2 * m for s in box)
        return bar_length(slide.region((top, left, high, wide)))
    except DarklungError as error:
        raise DarklungError(f"{slide.name}: {error}") from None


def drawn_masks(part: SectionPart, slide: Slide, *, factor: int) -> dict[str, Mask]:
    """A user's masks and outlines by class, on the grid of the picture's overview."""
    shape = slide.overview_shape(factor)
    for name in part.masks:
        check_one_of("masks", name, DRAWABLE)
    found = {name: _mask(path, slide, factor) for name, path in part.masks.items()}
    if part.outlines is not None:
        outlines = read_outlines(part.outlines, shape=slide.shape, known=DRAWABLE)
        own = painted(outlines, shape=shape, factor=factor)
        found |= {name: found[name] | mask if name in found else mask for name, mask in own.items()}
    return {name: _flipped(mask, part.flip) for name, mask in found.items()}


def with_masks(regions: Regions, masks: Mapping[str, Mask]) -> Regions:
    """The regions with what was drawn over them."""
    return with_drawn(regions, masks) if masks else regions


def _mask(path: Path, slide: Slide, factor: int) -> Mask:
    """A picture that is not black where the class is: of the section's own shape, or its shape at the overview."""
    own = open_slide(path)
    shape = slide.overview_shape(factor)
    if own.shape == slide.shape:
        return np.asarray(own.overview(factor).max(axis=-1) >= 128)
    fits = own.shape == shape
    require(fits, f"{path}: wanted the shape of its section, {slide.shape}, or of its overview, {shape}, got {own.shape}")
    return np.asarray(own.overview(1).max(axis=-1) > 0)


def _flipped(mask: Mask, flip: str) -> Mask:
    if flip == "no":
        return mask
    return np.ascontiguousarray(mask[::-1] if flip == "up-down" else mask[:, ::-1])
