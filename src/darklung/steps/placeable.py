"""A section as registration takes it: its features on a coarse grid, the masks that are carried, and a small picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError
from darklung.histology.regions import EXCLUDED, GAP, NAMES, OUTSIDE, Regions, find_regions
from darklung.histology.stain import grey_density, optical_density
from darklung.register.carry import Drawn
from darklung.register.features import SectionView, view_section
from darklung.slides.slide import averaged, origin_m
from darklung.steps.sections import drawn_masks, open_section, with_masks
from darklung.steps.stereology import overview_factor
from darklung.study.histology import SectionPart

OVERVIEW_M, DRAWN_M, SHOWN_M = 8e-6, 24e-6, 30e-6
"""Pixels on which tissue is found, masks are carried, and the page shows the section."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Placeable:
    """One section.

    Parameters
    ----------
    name : str
    view : SectionView
    drawn : Drawn
    rgb : (row, col, 3) uint8
        A small picture.
    rgb_pixel_m, rgb_origin_m : float, (row, col)
        Of the small picture, in the frame of the section.
    synthetic : bool
        Whether the file says that it was simulated.
    """

    name: str
    view: SectionView
    drawn: Drawn
    rgb: NDArray[np.uint8]
    rgb_pixel_m: float
    rgb_origin_m: tuple[float, float]
    synthetic: bool = False


def read_placeable(name: str, part: SectionPart, *, carried: str, coarse_m: float) -> Placeable:
    """Open a section and find what registration needs of it.

    Raises
    ------
    DarklungError
        As `open_section` and `find_regions`, or no lung in the section.
    """
    slide = open_section(part)
    factor = overview_factor(slide, OVERVIEW_M)
    rgb = slide.overview(factor)
    try:
        regions = find_regions(rgb, pixel_m=factor * slide.pixel())
    except DarklungError as error:  # which of the stack
        raise DarklungError(f"{name}: {error}") from error
    regions = with_masks(regions, drawn_masks(part, slide, factor=factor))
    origin = origin_m(slide.shape, factor, slide.pixel())
    found = placeable(name, rgb, regions, origin, carried=carried, coarse_m=coarse_m)
    return replace(found, synthetic=bool(slide.told.get("synthetic")))


def placeable(
    name: str, rgb: NDArray[np.uint8], regions: Regions, origin: tuple[float, float], *, carried: str, coarse_m: float
) -> Placeable:
    """The same from an overview and its regions.

    Parameters
    ----------
    name : str
    rgb : (row, col, 3) uint8
    regions : Regions
        On the pixels of `rgb`.
    origin : (row, col)
        Middle of the first pixel in the frame of the section [m].
    carried : str
        Name of the region that is carried.
    coarse_m : float
        Pixel of the features.
    """
    lung = (regions.pieces > 0) & (regions.labels != OUTSIDE) & (regions.labels != GAP)
    tissue = grey_density(optical_density(rgb)) > regions.threshold
    view = view_section(name, lung=lung, tissue=tissue, pixel_m=regions.pixel_m, origin_m=origin, coarse_m=coarse_m)
    step = max(1, round(SHOWN_M / regions.pixel_m))
    first = (step - 1) / 2 * regions.pixel_m
    return Placeable(
        name,
        view,
        _drawn(regions, origin, carried),
        averaged(rgb, step),
        step * regions.pixel_m,
        (origin[0] + first, origin[1] + first),
    )


def _drawn(regions: Regions, origin: tuple[float, float], carried: str) -> Drawn:
    step = max(1, round(DRAWN_M / regions.pixel_m))
    known = (regions.labels != OUTSIDE) & (regions.labels != GAP) & (regions.labels != EXCLUDED)
    mask, lung = (_halved(m, step) for m in (regions.labels == NAMES.index(carried), known))
    first = (step - 1) / 2 * regions.pixel_m
    return Drawn(mask, lung | mask, step * regions.pixel_m, (origin[0] + first, origin[1] + first))


def _halved(mask: Mask, step: int) -> Mask:
    """Blocks of which at least half are in the mask."""
    short = [-n % step for n in mask.shape]
    wide = np.pad(mask, [(0, s) for s in short])
    rows, cols = wide.shape[0] // step, wide.shape[1] // step
    return np.asarray(wide.reshape(rows, step, cols, step).mean(axis=(1, 3)) >= 0.5)
