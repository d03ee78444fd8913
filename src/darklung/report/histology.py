"""A page for a section: what was counted where, maps of φ and S_V, numbers by piece beside published ones."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.report.blocks import Block, Bullets, Figure, Interval, Row, Section, Table, Text
from darklung.report.html import write_report
from darklung.report.pictures import picture, window_of
from darklung.slides.slide import averaged

# Of outside, parenchyma, airway, vessel, dense, gap, tumour, excluded: Okabe-Ito, told apart with any colour vision.
COLOURS = np.array(
    [
        [205, 220, 240],
        [0, 0, 0],
        [0, 114, 178],
        [213, 94, 0],
        [0, 158, 115],
        [230, 159, 0],
        [204, 121, 167],
        [140, 140, 140],
    ],
    dtype=np.float32,
)
_WIDTH = 1300


@dataclass(frozen=True)
class Overview:
    """A section at a coarse pixel.

    Parameters
    ----------
    name : str
    rgb : (row, col, 3) uint8
    labels : (row, col) uint8
        Index into `names`.
    names : tuple of str
    pixel_m : float
    told : mapping
        What the file says of itself; ``synthetic`` is shown.
    """

    name: str
    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    names: tuple[str, ...]
    pixel_m: float
    told: Mapping[str, Any]


def write_stereology(
    path: Path,
    view: Overview,
    *,
    tiles: Sequence[Mapping[str, Any]],
    pieces: Sequence[Mapping[str, Any]],
    flags: Sequence[str],
    tile_m: float,
    published: Sequence[tuple[str, str, str, str]] = (),
) -> Path:
    """Write the page of one section; rows are those of its tables."""
    whole = pieces[0]
    verdict: Block = (
        Bullets(tuple(flags), "warning") if flags else Text("Nothing was found that speaks against it.", "verdict")
    )
    sections = [
        Section("Verdict", (verdict,)),
        Section("Section", (_pictures(view), _legend(view)), "What was counted: parenchyma, the part without a tint."),
        Section("Pieces", (_table(pieces), _robust(pieces)), "On the slide; ± one standard error."),
        Section("Tiles", (_maps(tiles, tile_m),), f"Tiles of {1e6 * tile_m:g} um."),
    ]
    if published:
        rows = tuple(published)
        sections.append(Section("Published", (Table(("quantity", "value", "animals", "source"), rows),)))
    summary = {
        "φ": round(whole["tissue_fraction"], 3),
        "S_V": f"{whole['interface_density_per_m'] / 100:.0f} /cm",
        "Intercept": f"{1e6 * whole['intercept_m']:.1f} um",
        "Tiles": whole["tiles"],
    }
    subtitle = "SYNTHETIC section, simulated" if view.told.get("synthetic") else "stereology of a section"
    return write_report(path, title=view.name, subtitle=subtitle, summary=summary, sections=sections)


def overlaid(view: Overview) -> NDArray[np.uint8]:
    """The picture with everything that is not counted tinted."""
    tint = (view.labels != 1)[..., None]
    mixed = np.where(tint, 0.5 * view.rgb + 0.5 * COLOURS[view.labels], view.rgb)
    return np.asarray(mixed, dtype=np.uint8)


def _pictures(view: Overview) -> Row:
    rows, cols = _bounded(view.labels > 0)
    step = max(1, -(-max(rows.stop - rows.start, cols.stop - cols.start) // _WIDTH))
    plain, tinted = (averaged(one[rows, cols], step) for one in (view.rgb, overlaid(view)))
    left = Figure(rgb_image(plain, "section"), "as it is", f"section {view.name}")
    return Row((left, Figure(rgb_image(tinted, "regions"), "what was counted", f"regions of {view.name}")))


def _bounded(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)


def rgb_image(rgb: NDArray[np.uint8], alt: str) -> str:
    """``<img>`` of colours, (row, col, 3)."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(stream, format="PNG", optimize=True)
    text = base64.b64encode(stream.getvalue()).decode()
    return f'<img src="data:image/png;base64,{text}" alt="{alt}" width="{rgb.shape[1]}" height="{rgb.shape[0]}">'


def _legend(view: Overview) -> Table:
    names = ("", "none", "blue", "vermilion", "green", "orange", "purple", "grey")
    rows = []
    for number in range(1, len(view.names)):
        area = 1e6 * float((view.labels == number).sum()) * view.pixel_m**2
        rows.append((view.names[number], names[number], round(area, 3)))
    return Table(("region", "tint", "mm²"), tuple(rows))


def _table(pieces: Sequence[Mapping[str, Any]]) -> Table:
    header = ("piece", "mm²", "tiles", "φ", "± ", "S_V /cm", "± ", "intercept um", "± ", "septum um", "± ")
    rows = []
    for row in pieces:
        cells: list[Any] = [row["piece"], round(row["parenchyma_mm2"], 2), row["tiles"]]
        for name, scale, digits in _SHOWN:
            cells += [_scaled(row[name], scale, digits), _scaled(row[f"{name}_se"], scale, digits)]
        rows.append(tuple(cells))
    return Table(header, tuple(rows))


_SHOWN = (("tissue_fraction", 1.0, 3), ("interface_density_per_m", 0.01, 0), ("intercept_m", 1e6, 1), ("septum_m", 1e6, 1))


def _robust(pieces: Sequence[Mapping[str, Any]]) -> Table:
    """What hangs on resolution, threshold and shrinkage."""
    header = ("piece", "at", "φ", "S_V /cm", "intercept um", "septum um")
    names = (
        ("_half", "half resolution"),
        ("_low", "threshold −20 %"),
        ("_high", "threshold +20 %"),
        ("_before", "before shrinkage"),
    )
    rows = tuple(
        (row["piece"], told, *(_scaled(row[f"{name}{ending}"], scale, digits) for name, scale, digits in _SHOWN))
        for row in pieces
        for ending, told in names
    )
    return Table(header, rows, caption="The same again, otherwise.")


def _scaled(value: float | None, scale: float, digits: int) -> Interval:
    return Interval(None if value is None else scale * value, digits=digits)


def _maps(tiles: Sequence[Mapping[str, Any]], tile_m: float) -> Row:
    figures = []
    rows = [round(t["row_mm"] * 1e-3 / tile_m - 0.5) for t in tiles]
    cols = [round(t["col_mm"] * 1e-3 / tile_m - 0.5) for t in tiles]
    shape = (max(rows) - min(rows) + 1, max(cols) - min(cols) + 1)
    for name, title, scale in (("tissue_fraction", "φ", 1.0), ("interface_density_per_m", "S_V /cm", 0.01)):
        grid = np.full(shape, np.nan)
        for row, col, tile in zip(rows, cols, tiles):
            grid[row - min(rows), col - min(cols)] = np.nan if tile[name] is None else scale * tile[name]
        low, high = window_of(grid)
        zoom = max(2, 360 // max(shape))
        drawn = picture(grid, window=(low, high), heat=True, zoom=zoom, alt=title)
        figures.append(Figure(drawn, f"{title}: {low:.3g} to {high:.3g}", title))
    return Row(tuple(figures))
