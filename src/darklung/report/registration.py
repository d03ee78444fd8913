"""A page for sections that were placed in a volume: overlays, checkerboards, errors, carried labels, agreement with maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import check_shape
from darklung.report.blocks import Block, Bullets, Cell, Figure, Interval, Row, Section, Slider, Table, Text
from darklung.report.figures import COLOURS, drawing
from darklung.report.histology import rgb_image
from darklung.report.html import write_report
from darklung.report.pictures import picture, window_of

BLENDS = (0, 25, 50, 75, 100)
SQUARES = 8
_TURQUOISE, _ORANGE = (64, 224, 208), (245, 125, 21)


@dataclass(frozen=True)
class Overlay:
    """A section and the volume on the pixels of its picture.

    Parameters
    ----------
    name : str
    rgb : (row, col, 3) uint8
    volume : (row, col) float
        A channel of the volume in the section's plane, NaN outside.
    section_lung, volume_lung : (row, col) bool
    """

    name: str
    rgb: NDArray[np.uint8]
    volume: NDArray[np.floating]
    section_lung: NDArray[np.bool_]
    volume_lung: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for name in ("volume", "section_lung", "volume_lung"):
            check_shape(f"{self.name}: {name}", getattr(self, name), "row, col", self.rgb.shape[:2])


@dataclass(frozen=True)
class Plane:
    """A slice of the volume.

    Parameters
    ----------
    title : str
    values : (row, col) float
    lesion : (row, col) bool
    probability : (row, col) float
        NaN where no section saw.
    """

    title: str
    values: NDArray[np.floating]
    lesion: NDArray[np.bool_]
    probability: NDArray[np.floating]


@dataclass(frozen=True)
class Pairs:
    """A quantity measured in sections and in a map.

    Parameters
    ----------
    title, unit : str
    scale : float
        From the numbers to the unit.
    section, volume : (pair,) float
    told : mapping
        Of `darklung.register.agreement.Agreement`.
    """

    title: str
    unit: str
    scale: float
    section: NDArray[np.float64]
    volume: NDArray[np.float64]
    told: Mapping[str, float]


def write_registration(
    path: Path,
    *,
    title: str,
    synthetic: bool,
    flags: Sequence[str],
    overlays: Sequence[Overlay],
    rows: Sequence[Mapping[str, Any]],
    planes: Sequence[Plane],
    pairs: Sequence[Pairs],
    summary: Mapping[str, str | int | float | None],
) -> Path:
    """Write the page of one subject; rows are those of its table of sections."""
    good = Text("Nothing was found that speaks against the pose.", "verdict")
    verdict: Block = Bullets(tuple(flags), "warning") if flags else good
    sections = [
        Section("Verdict", (verdict,)),
        Section("Errors", (_table(rows),), "Predicted errors are standard deviations; landmarks are those not drawn to."),
        Section("Overlays", tuple(_blocks(overlays)), "Outlined: the volume's lung in turquoise, the section's in orange."),
        Section("Labels", (_labels(planes),), "Lesions (probability from one half) outlined; slate: seen by no section."),
    ]
    if pairs:
        blocks = tuple(b for p in pairs for b in (Figure(_scatter(p), "", p.title), _agreement(p)))
        sections.append(Section("Maps", blocks, "Tiles of the sections beside the volume's maps at the same place."))
    subtitle = "SYNTHETIC sections, simulated, in a volume" if synthetic else "sections in a volume"
    return write_report(path, title=title, subtitle=subtitle, summary=summary, sections=sections)


def _blocks(overlays: Sequence[Overlay]) -> list[Block]:
    blocks: list[Block] = []
    for number, one in enumerate(overlays, start=1):
        grey = _grey(one)
        frames = tuple((_blend(one, grey, share / 100),) for share in BLENDS)
        labels = tuple(f"{share} % section" for share in BLENDS)
        slider = Slider(
            f"overlay-{number}", frames, (f"{one.name} over the volume",), labels, start=2, alt=f"share of {one.name}"
        )
        board = rgb_image(_checkered(one, grey), "checkerboard")
        turns = Figure(board, "section and volume in turn", f"checkerboard, {one.name}")
        blocks.append(Row((slider, turns)))
    return blocks


def _grey(one: Overlay) -> NDArray[np.float64]:
    low, high = window_of(one.volume, one.volume_lung)
    scaled = 255 * np.clip((np.nan_to_num(one.volume, nan=low) - low) / (high - low), 0, 1)
    return np.asarray(np.repeat(scaled[..., None], 3, axis=-1))


def _blend(one: Overlay, grey: NDArray[np.float64], share: float) -> str:
    mixed = share * one.rgb + (1 - share) * grey
    for mask, colour in ((one.volume_lung, _TURQUOISE), (one.section_lung, _ORANGE)):
        mixed[mask & ~ndimage.binary_erosion(mask, iterations=2)] = colour
    return rgb_image(np.asarray(np.rint(mixed), dtype=np.uint8), f"{one.name}, {100 * share:.0f} %")


def _checkered(one: Overlay, grey: NDArray[np.float64]) -> NDArray[np.uint8]:
    rows, cols = one.rgb.shape[:2]
    side = max(1, max(rows, cols) // SQUARES)
    odd = (np.arange(rows)[:, None] // side + np.arange(cols)[None, :] // side) % 2 == 1
    return np.asarray(np.where(odd[..., None], one.rgb, grey), dtype=np.uint8)


_SHOWN = ("section", "outline_dice", "error_rows_um", "error_cols_um", "error_normal_um", "landmarks", "landmark_error_um",
          "landmark_error_95_um", "carried_before_mm2")  # fmt: skip
_HEADS = (
    "section",
    "outline Dice",
    "rows um",
    "columns um",
    "normal um",
    "landmarks",
    "their error um",
    "95 % um",
    "carried mm²",
)


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    def cell(row: Mapping[str, Any], name: str) -> Cell:
        value = row[name]
        if isinstance(value, float) or value is None:
            return Interval(value, digits=0 if name.endswith("_um") else 3)
        return value

    return Table(_HEADS, tuple(tuple(cell(row, name) for name in _SHOWN) for row in rows))


def _labels(planes: Sequence[Plane]) -> Row:
    figures = []
    for one in planes:
        window, zoom = window_of(one.values), max(1, round(320 / max(one.values.shape)))
        drawn = picture(one.values, window=window, outline=one.lesion, zoom=zoom, alt=one.title)
        likely = picture(one.probability, window=(0.0, 1.0), outline=one.lesion, heat=True, zoom=zoom, alt=one.title)
        figures += [
            Figure(drawn, one.title, one.title),
            Figure(likely, f"{one.title}: probability", f"probability, {one.title}"),
        ]
    return Row(tuple(figures))


def _scatter(pairs: Pairs) -> str:
    x, y = pairs.scale * pairs.section, pairs.scale * pairs.volume
    told = {
        k: v if k in ("correlation", "low", "high", "slope", "count") else pairs.scale * v for k, v in pairs.told.items()
    }

    def draw(axes: list[Any]) -> None:
        left, right = axes
        ends = np.array([np.nanmin([x, y]), np.nanmax([x, y])])
        left.plot(ends, ends, color=COLOURS[6], linestyle="--")
        left.plot(x, y, ".", color=COLOURS[0], alpha=0.6)
        left.set(xlabel=f"section, {pairs.unit}", ylabel=f"map, {pairs.unit}", title=pairs.title)
        right.plot((x + y) / 2, y - x, ".", color=COLOURS[0], alpha=0.6)
        for name, style in (("bias", "-"), ("limit_low", "--"), ("limit_high", "--")):
            right.axhline(told[name], color=COLOURS[1], linestyle=style)
        right.set(xlabel=f"mean, {pairs.unit}", ylabel=f"map − section, {pairs.unit}", title="Bland–Altman")

    return drawing(draw, name=f"agreement-{pairs.title}", width=9.0, height=3.6, panels=(1, 2))


def _agreement(pairs: Pairs) -> Table:
    t, s = pairs.told, pairs.scale
    rows = (
        ("tiles", Interval(t["count"], digits=0)),
        ("correlation", Interval(t["correlation"], t["low"], t["high"], digits=2)),
        (f"bias, {pairs.unit}", Interval(s * t["bias"], s * t["bias_low"], s * t["bias_high"])),
        (f"limits of agreement, {pairs.unit}", Interval(s * t["bias"], s * t["limit_low"], s * t["limit_high"])),
    )
    return Table((pairs.title, "value"), rows)
