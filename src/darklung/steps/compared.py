"""Stereology of sections beside maps of a volume: tile by tile at the place where registration put them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.types import Image
from darklung.histology.regions import PARENCHYMA, Regions
from darklung.histology.stereology import measured
from darklung.io.tables import save_table
from darklung.register.agreement import Agreement, agreement
from darklung.register.reslice import resliced
from darklung.register.transform import PlaneMap
from darklung.steps.sections import open_section
from darklung.steps.stereology import Tile, measure
from darklung.study.histology import RegisterPart, SectionPart, StereologyPart

TABLE = "tiles"
QUANTITIES = {"tissue_fraction": "fraction_map", "interface_density_per_m": "surface_map"}
"""What stereology counts -> which parameter names the channel of its map."""
_POINTS = 12
COLUMNS = {
    "section": "name of the section",
    "row_mm": "middle of the tile in the picture, from its upper edge",
    "col_mm": "likewise from its left edge",
    "tissue_fraction": "of the section: points in tissue over points in parenchyma",
    "tissue_fraction_map": "of the volume: mean over the parenchyma of the tile, where registration put it",
    "interface_density_per_m": "of the section, before shrinkage as registration found it",
    "interface_density_per_m_map": "of the volume: mean over the parenchyma of the tile, where registration put it",
}


@dataclass(frozen=True)
class Compared:
    """One quantity: of sections, of the volume, and how they agree."""

    section: NDArray[np.float64]
    volume: NDArray[np.float64]
    agreement: Agreement


def compared_maps(
    sections: Sequence[SectionPart],
    names: Sequence[str],
    maps: Sequence[PlaneMap],
    image: Image,
    part: RegisterPart,
    out: Path,
) -> dict[str, Compared]:
    """The quantities whose map the volume has; the tiles as a table in `out`. Nothing where it has none.

    Raises
    ------
    DarklungError
        As `darklung.steps.stereology.measure`, or fewer than four tiles.
    """
    wanted = {q: getattr(part, word) for q, word in QUANTITIES.items() if getattr(part, word) in image.names}
    if not wanted:
        return {}
    rows: list[dict[str, Any]] = []
    for name, section, plane in zip(names, sections, maps):
        slide = open_section(section)
        found = measure(slide, section, StereologyPart(tile=f"{part.tile} m"), lambda share, word: None)
        middle = np.array([n * slide.pixel() / 2 for n in slide.shape])
        for tile in found.tiles:
            points = _parenchyma(tile, found.regions, part.tile)
            rows.append(_row(name, tile, points - middle, plane, image, wanted))
    save_table(out / TABLE, rows, COLUMNS)
    return {q: _compared(rows, q) for q in wanted}


def _parenchyma(tile: Tile, regions: Regions, tile_m: float) -> NDArray[np.float64]:
    """Points of a tile, from the picture's edge, where the section has parenchyma: what stereology counted."""
    steps = tile_m * ((np.arange(_POINTS) + 0.5) / _POINTS - 0.5)
    points = (np.asarray(tile.middle_m) + np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1)).reshape(-1, 2)
    index = np.floor(points / regions.pixel_m).astype(int)
    inside = ((index >= 0) & (index < regions.labels.shape)).all(axis=1)
    index, points = index[inside], points[inside]
    return np.asarray(points[regions.labels[tuple(index.T)] == PARENCHYMA])


def _row(
    name: str, tile: Tile, points: NDArray[np.float64], plane: PlaneMap, image: Image, wanted: Mapping[str, str]
) -> dict[str, Any]:
    counted = measured(tile.fine)
    # Lengths of the slide are shorter than in the animal, so the interface in a volume is more.
    values = {
        "tissue_fraction": counted.tissue_fraction,
        "interface_density_per_m": counted.interface_density_per_m / np.sqrt(plane.area_ratio()),
    }
    row: dict[str, Any] = {"section": name, "row_mm": 1e3 * tile.middle_m[0], "col_mm": 1e3 * tile.middle_m[1]}
    for quantity, value in values.items():
        row[quantity] = _known(value)
        row[f"{quantity}_map"] = _known(_at(image, wanted[quantity], plane, points)) if quantity in wanted else None
    return row


def _at(image: Image, channel: str, plane: PlaneMap, points: NDArray[np.float64]) -> float:
    """Mean of a channel over the places of points; NaN where more than half of them is unknown."""
    values = resliced(image, image.channel(channel), plane, points)
    known = np.isfinite(values)
    return float(values[known].mean()) if known.any() and known.mean() >= 0.5 else float("nan")


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _compared(rows: Sequence[Mapping[str, Any]], quantity: str) -> Compared:
    both = [np.array([np.nan if r[n] is None else r[n] for r in rows]) for n in (quantity, f"{quantity}_map")]
    return Compared(both[0], both[1], agreement(both[0], both[1]))
