"""Stereology of a section, tile by tile: regions on a coarse picture, lines and points on the fine one; tables, a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.types import Image
from darklung.histology.published import PUBLISHED
from darklung.histology.regions import NAMES, PARENCHYMA, Regions, find_regions
from darklung.histology.stain import grey_density, optical_density, plateau_of, threshold_between
from darklung.histology.stereology import Counts, Measured, combined, count, measured, standard_errors, strips
from darklung.histology.tissue import Sight, density_at, without_specks
from darklung.io.documents import Document
from darklung.io.images import save_image
from darklung.io.tables import save_json, save_table
from darklung.pipeline import Context, Task
from darklung.report.histology import Overview, write_stereology
from darklung.slides.slide import Slide, averaged, origin_m
from darklung.steps.sections import drawn_masks, open_section, with_masks
from darklung.study.histology import SectionPart, StereologyPart

STAGE = "stereology"
TILES, PIECES, PAGE, LABELS, FACTS = "tiles", "pieces", "stereology.html", "regions.ome.zarr", "section.json"
OVERVIEW_M = 5.5e-6
"""Pixel on which walls and lumens are told apart."""
MOST_OVERVIEW = 24_000_000
COARSEST_M = 8e-6
LEAST_SHARE = 0.2
"""Of a tile that must be parenchyma."""
SAMPLED_TILES = 24
BAND = 0.2
"""By how much the threshold is moved to see what hangs on it."""
USUAL_INTERCEPT_M = (15e-6, 150e-6)
NUMBERS = ("tissue_fraction", "interface_density_per_m", "intercept_m", "septum_m")
WORDS = {
    "tissue_fraction": "points in tissue over points in parenchyma",
    "interface_density_per_m": "interface of air and tissue in a volume of parenchyma, on the slide",
    "intercept_m": "mean chord of airspace, 4 (1 - phi)/S_V, on the slide",
    "septum_m": "arithmetic mean thickness of septa, 2 phi/S_V, on the slide",
}
COLUMNS = {
    "section": "name of the section",
    "piece": "number of the piece of lung, the largest first; all: together",
    "row_mm": "middle of the tile in the picture, from its upper edge",
    "col_mm": "middle of the tile in the picture, from its left edge",
    "parenchyma_share": "of the tile",
    "tiles": "tiles that were counted",
    "points": "test points in parenchyma",
    "crossings": "of test lines with the interface",
    **WORDS,
    **{f"{n}_se": f"standard error of {n}: between tiles, and what half the resolution tells" for n in WORDS},
    **{f"{n}_half": f"{n} again at half resolution" for n in WORDS},
    **{f"{n}_low": f"{n} at a threshold lower by a fifth" for n in WORDS},
    **{f"{n}_high": f"{n} at a threshold higher by a fifth" for n in WORDS},
    **{f"{n}_before": f"{n} before the stated shrinkage" for n in WORDS},
    **{f"{n}_mm2": f"area of {n} on the slide" for n in NAMES[1:]},
}  # fmt: skip


class Parameters(Document):
    """One section and how it is measured."""

    name: str
    section: SectionPart
    measure: StereologyPart


def task(name: str, section: SectionPart, part: StereologyPart) -> Task:
    """Stereology of one section."""
    parameters = Parameters(name=name, section=section, measure=part).model_dump(mode="json")
    return Task(STAGE, name, "darklung.steps.stereology:stereology", parameters, files=section.files())


def stereology(context: Context) -> None:
    """``tiles``, ``pieces``, ``regions.ome.zarr``, ``section.json`` and ``stereology.html`` of one section."""
    p = Parameters.model_validate(context.parameters)
    slide = open_section(p.section)
    context.progress(0.02, "opened")
    found = measure(slide, p.section, p.measure, context.progress)
    pieces = [_piece_row(found, p.measure.shrinkage, number) for number in (None, *range(1, found.regions.count + 1))]
    pieces = [{"section": p.name, **row} for row in pieces if row["tiles"] > 0]
    tiles = [{"section": p.name, **_tile_row(tile)} for tile in found.tiles]
    save_table(context.out / TILES, tiles, COLUMNS)
    save_table(context.out / PIECES, pieces, COLUMNS)
    save_image(context.out / LABELS, _labels_image(slide, found.regions))
    flags = _flags(slide, found, pieces[0])
    facts = {"section": p.name, "pixel_m": slide.pixel(), "flags": flags, "notes": list(slide.notes), **dict(slide.told)}
    save_json(context.out / FACTS, {**facts, "threshold": found.threshold, "working_pixel_m": found.pixel_m})
    view = Overview(p.name, found.overview, found.regions.labels, NAMES, found.regions.pixel_m, dict(slide.told))
    others = [(p.quantity, p.value, p.animals, p.told()) for p in PUBLISHED]
    rows: dict[str, Any] = {"tiles": tiles, "pieces": pieces, "published": others}
    write_stereology(context.out / PAGE, view, **rows, flags=flags, tile_m=p.measure.tile)


@dataclass(frozen=True)
class Tile:
    """What was counted in one tile: at full and half resolution, at a lower and a higher threshold, and its parts."""

    piece: int
    middle_m: tuple[float, float]
    share: float
    fine: Counts
    coarse: Counts
    low: Counts
    high: Counts
    parts: tuple[Counts, ...]


@dataclass(frozen=True)
class Found:
    """All tiles of a section, its regions and its overview."""

    tiles: tuple[Tile, ...]
    regions: Regions
    overview: NDArray[np.uint8]
    threshold: float
    pixel_m: float


Progress = Callable[[float, str], None]


def measure(slide: Slide, section: SectionPart, part: StereologyPart, progress: Progress) -> Found:
    """Regions, threshold and tiles of a section; memory is that of the overview and one tile.

    Raises
    ------
    DarklungError
        Pixels too coarse for septa, no tissue, no tile with enough parenchyma.
    """
    pixel_m, told = slide.pixel(), f"{1e6 * slide.pixel():.3g} um"
    require(pixel_m <= COARSEST_M, f"{slide.name}: pixel: wanted at most {1e6 * COARSEST_M:g} um to see septa, got {told}")
    sight = Sight(part.resolution)
    factor = max(1, int(sight.resolution_m / pixel_m + 1e-6))
    coarse = overview_factor(slide)
    overview = slide.overview(coarse, lambda done, total: progress(0.02 + 0.18 * done / total, "overview"))
    regions = find_regions(overview, pixel_m=coarse * pixel_m)
    regions = with_masks(regions, drawn_masks(section, slide, factor=coarse))
    progress(0.3, "regions")
    reader = _Reader(slide, regions, coarse, factor, sight, part)
    boxes = list(reader.boxes())
    require(bool(boxes), f"{slide.name}: no tile of {1e6 * part.tile:g} um holds {LEAST_SHARE:.0%} of parenchyma")
    threshold = reader.threshold(boxes)
    tiles = []
    for number, box in enumerate(boxes, start=1):
        tiles.append(reader.tile(box, threshold))
        progress(0.3 + 0.65 * number / len(boxes), f"tile {number} of {len(boxes)}")
    return Found(tuple(t for t in tiles if t.fine.points > 0), regions, overview, threshold, factor * pixel_m)


def overview_factor(slide: Slide, wanted_m: float = OVERVIEW_M) -> int:
    """Pixels of the finest level along one of the overview: about `wanted_m`, coarser where the picture is huge.

    A multiple of a level of the pyramid, so that this one is read and not the finest.
    """
    rows, cols = slide.shape
    wanted = max(wanted_m / slide.pixel(), float(np.sqrt(rows * cols / MOST_OVERVIEW)))
    level = max(one.factor for one in slide.levels if one.factor <= 1.5 * wanted or one.factor == 1)
    return level * max(1, round(wanted / level))


class _Reader:
    """Tiles of a section, read with the halo that decides what is at their edges."""

    def __init__(self, slide: Slide, regions: Regions, coarse: int, factor: int, sight: Sight, part: StereologyPart) -> None:
        self.slide, self.regions, self.coarse, self.factor, self.sight = slide, regions, coarse, factor, sight
        self.pixel_m = factor * slide.pixel()
        self.plateau = np.inf
        self.size = 2 * max(8, round(part.tile / self.pixel_m / 2))
        self.every = max(1, round(part.lines / self.pixel_m))
        self.halo = 2 * (1 + sight.halo(2 * self.pixel_m))

    def boxes(self) -> Iterator[tuple[int, int]]:
        """First row and column of the tiles with enough parenchyma, in pixels of the finest level."""
        step = self.size * self.factor
        rows, cols = self.slide.shape
        for row in range(0, rows, step):
            for col in range(0, cols, step):
                part = self.regions.labels[self._coarse(row, step), self._coarse(col, step)]
                if part.size and (part == PARENCHYMA).mean() >= LEAST_SHARE:
                    yield row, col

    def _coarse(self, first: int, count: int) -> slice:
        return slice(first // self.coarse, max(first // self.coarse + 1, (first + count) // self.coarse))

    def _wide(self, box: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.uint16]]:
        """Colours, where parenchyma is, and the pieces, of a tile with its halo."""
        span = (self.size + 2 * self.halo) * self.factor
        row, col = (n - self.halo * self.factor for n in box)
        rgb = self.slide.region((row, col, span, span), self.factor)
        at = [(start + (np.arange(span // self.factor) + 0.5) * self.factor) // self.coarse for start in (row, col)]
        shape = self.regions.labels.shape
        inside = [(a >= 0) & (a < n) for a, n in zip(at, shape)]
        index = np.ix_(*(np.clip(a, 0, n - 1).astype(np.intp) for a, n in zip(at, shape)))
        valid = inside[0][:, None] & inside[1][None, :]
        return rgb, (self.regions.labels[index] == PARENCHYMA) & valid, self.regions.pieces[index]

    def threshold(self, boxes: list[tuple[int, int]]) -> float:
        """Between glass and tissue, over parenchyma of tiles spread through the section."""
        chosen = [boxes[i] for i in np.unique(np.linspace(0, len(boxes) - 1, SAMPLED_TILES).round().astype(int))]
        seen = [(rgb, reference) for rgb, reference, _ in map(self._wide, chosen)]
        self.plateau = plateau_of(np.concatenate([grey_density(optical_density(rgb))[r] for rgb, r in seen]))
        return threshold_between(np.concatenate([self._density(rgb)[r] for rgb, r in seen]), self.plateau)

    def _density(self, rgb: NDArray[np.uint8], step: int = 1) -> NDArray[np.float32]:
        return density_at(rgb, pixel_m=step * self.pixel_m, sight=self.sight, plateau=self.plateau)

    def tile(self, box: tuple[int, int], threshold: float) -> Tile:
        """Everything that is counted in one tile."""
        rgb, reference, pieces = self._wide(box)
        inner = (slice(self.halo, -self.halo),) * 2
        half = (slice(self.halo // 2, -self.halo // 2),) * 2
        density, coarse = self._density(rgb), self._density(averaged(rgb, 2), 2)
        own, every, pixel_m = reference[inner], self.every, self.pixel_m

        def lines(factor: float) -> Counts:
            return count(self._tissue(density, factor * threshold)[inner], own, pixel_m=pixel_m, every=every)

        tissue = self._tissue(density, threshold)[inner]
        rough = self._tissue(coarse, threshold, 2)[half]
        rare = max(1, round(every / 2))
        seen = pieces[inner][own]
        middle = tuple((n + self.size * self.factor / 2) * self.slide.pixel() for n in box)
        return Tile(
            piece=int(np.bincount(seen).argmax()) if seen.size else 0,
            middle_m=(middle[0], middle[1]),
            share=float(own.mean()),
            fine=count(tissue, own, pixel_m=pixel_m, every=every),
            coarse=count(rough, reference[::2, ::2][half], pixel_m=2 * pixel_m, every=rare),
            low=lines(1 - BAND),
            high=lines(1 + BAND),
            parts=tuple(strips(tissue, own, pixel_m=pixel_m, every=every)),
        )

    def _tissue(self, density: NDArray[np.float32], threshold: float, step: int = 1) -> NDArray[np.bool_]:
        least = self.sight.least_area_m2
        return without_specks(density > threshold, pixel_m=step * self.pixel_m, least_area_m2=least)


def _summed(counts: list[Counts]) -> Counts:
    total = Counts(0, 0, 0, 0)
    for one in counts:
        total = total + one
    return total


def _columns(found: Measured, ending: str = "") -> dict[str, float | None]:
    """Numbers as columns; what is not known is empty."""
    return {f"{n}{ending}": v if np.isfinite(v := getattr(found, n)) else None for n in NUMBERS}


def _tile_row(tile: Tile) -> dict[str, Any]:
    fine, coarse = measured(tile.fine), measured(tile.coarse)
    return {
        "piece": str(tile.piece),
        "row_mm": 1e3 * tile.middle_m[0],
        "col_mm": 1e3 * tile.middle_m[1],
        "parenchyma_share": tile.share,
        "points": int(tile.fine.points),
        "crossings": float(tile.fine.crossings),
        **_columns(fine),
        **_columns(combined(standard_errors(tile.parts), fine, coarse), "_se"),
    }


def _piece_row(found: Found, shrinkage: float, piece: int | None) -> dict[str, Any]:
    tiles = [t for t in found.tiles if piece is None or t.piece == piece]
    sums = {name: _summed([getattr(t, name) for t in tiles]) for name in ("fine", "coarse", "low", "high")}
    fine, coarse, low, high = (measured(sums[n]) for n in ("fine", "coarse", "low", "high"))
    areas = {f"{n}_mm2": 1e6 * found.regions.area_m2(i, piece) for i, n in enumerate(NAMES) if i}
    return {
        "piece": "all" if piece is None else str(piece),
        "tiles": len(tiles),
        "points": int(sums["fine"].points),
        "crossings": float(sums["fine"].crossings),
        **_columns(fine),
        **_columns(combined(standard_errors([t.fine for t in tiles]), fine, coarse), "_se"),
        **_columns(coarse, "_half"),
        **_columns(low, "_low"),
        **_columns(high, "_high"),
        **_columns(fine.before_shrinkage(shrinkage), "_before"),
        **areas,
    }


def _flags(slide: Slide, found: Found, whole: dict[str, Any]) -> list[str]:
    """What speaks against the numbers."""
    flags = [note for note in slide.notes if note.startswith("but ")]
    intercept = whole["intercept_m"]
    if intercept is not None and not USUAL_INTERCEPT_M[0] <= intercept <= USUAL_INTERCEPT_M[1]:
        low, high = (1e6 * v for v in USUAL_INTERCEPT_M)
        flags.append(
            f"mean linear intercept {1e6 * intercept:.3g} um, in mice {low:g} to {high:g}: is the pixel "
            f"({1e6 * slide.pixel():.3g} um) right, and is it lung?"
        )
    if found.pixel_m > 4e-6:
        flags.append(f"pixels of {1e6 * found.pixel_m:.3g} um blur septa: the interface density comes out too small")
    if found.regions.pixel_m > 1.6 * OVERVIEW_M:
        flags.append(f"airways and vessels were sought at {1e6 * found.regions.pixel_m:.3g} um: small ones are missed")
    if len(found.tiles) < 5:
        flags.append(f"{len(found.tiles)} tile(s): the errors between tiles say little")
    return flags


def _labels_image(slide: Slide, regions: Regions) -> Image:
    data = np.stack([regions.labels.astype(np.uint16), regions.pieces])
    origin = origin_m(slide.shape, round(regions.pixel_m / slide.pixel()), slide.pixel())
    return Image(data, ("region", "piece"), ("1", "1"), (regions.pixel_m,) * 2, origin, "section")


def output(folder: Path, name: str) -> Path:
    """Where the output of one section lies."""
    return folder / STAGE / name
