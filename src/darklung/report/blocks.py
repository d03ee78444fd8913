"""What a report is made of: sections of blocks, turned into HTML with every text escaped."""

from __future__ import annotations

import base64
import csv
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from io import StringIO

from darklung.core.checks import check_one_of, require
from darklung.io.tables import plain_cell

TONES = ("plain", "note", "warning", "verdict", "code")
MARKUP = re.compile(r"^\s*<(svg|img)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Text:
    """A paragraph; `tone` sets it off as a note, a warning or a verdict."""

    text: str
    tone: str = "plain"

    def __post_init__(self) -> None:
        check_one_of("tone", self.tone, TONES)


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]
    tone: str = "plain"

    def __post_init__(self) -> None:
        check_one_of("tone", self.tone, TONES)


@dataclass(frozen=True)
class Interval:
    """A table cell: a value with its interval; None prints as a dash."""

    value: float | None
    low: float | None = None
    high: float | None = None
    digits: int = 3


Cell = str | int | float | bool | None | Interval


@dataclass(frozen=True)
class Table:
    """Rows of cells. Numbers are set right; the first column holds the rows' names."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    marked_rows: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            require(len(row) == len(self.header), f"table: wanted {len(self.header)} cells in a row, got {len(row)}")


@dataclass(frozen=True)
class Figure:
    """A drawing or picture: `markup` is an ``<svg>`` or ``<img>`` that this package made; `alt` says what it shows."""

    markup: str
    caption: str
    alt: str

    def __post_init__(self) -> None:
        require(MARKUP.match(self.markup) is not None, "figure: wanted <svg> or <img> markup")


@dataclass(frozen=True)
class Row:
    """Blocks side by side where the screen is wide enough."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Slider:
    """Frames of which one is seen at a time; without JavaScript the frame `start` is shown.

    Parameters
    ----------
    identity : str
        Unique in the report; ``#identity=5`` in the address opens frame 5.
    frames : tuple of tuple of str
        For each frame the markup of its panels.
    panels : tuple of str
        Title under each panel.
    labels : tuple of str
        One a frame.
    """

    identity: str
    frames: tuple[tuple[str, ...], ...]
    panels: tuple[str, ...]
    labels: tuple[str, ...]
    caption: str = ""
    start: int = 0
    alt: str = ""

    def __post_init__(self) -> None:
        require(
            re.fullmatch(r"[a-z0-9-]+", self.identity) is not None,
            f"slider identity: wanted a-z, 0-9, -, got {self.identity!r}",
        )
        require(len(self.frames) == len(self.labels) > 0, "slider: wanted as many labels as frames, and at least one")
        require(0 <= self.start < len(self.frames), f"slider start: wanted 0 to {len(self.frames) - 1}, got {self.start}")
        for frame in self.frames:
            require(len(frame) == len(self.panels), f"slider: wanted {len(self.panels)} panels in a frame, got {len(frame)}")
            for markup in frame:
                require(MARKUP.match(markup) is not None, "slider: wanted <svg> or <img> markup")


@dataclass(frozen=True)
class Layer:
    """A volume of a `Viewer`.

    Parameters
    ----------
    title, unit : str
    nifti : bytes
        A packed NIfTI file.
    palette : str
        A colour map of NiiVue.
    window : (float, float)
        Shown from and to.
    opacity : float
        Where it is shown.
    base : bool
        Of these one is shown at a time, below the others.
    shown : bool
        From the start.
    """

    title: str
    unit: str
    nifti: bytes
    palette: str
    window: tuple[float, float]
    opacity: float
    base: bool = False
    shown: bool = False


@dataclass(frozen=True)
class Viewer:
    """Volumes on one grid in three planes and in space, started by a button; reads `at_mm` first (x, y, z of NIfTI)."""

    identity: str
    layers: tuple[Layer, ...]
    at_mm: tuple[float, float, float]
    anatomical: bool
    caption: str = ""

    def __post_init__(self) -> None:
        require(any(layer.base for layer in self.layers), "viewer: wanted a layer to look at")


@dataclass(frozen=True)
class Download:
    """A link that saves a text as a file."""

    label: str
    filename: str
    text: str
    media: str = "text/plain"


@dataclass(frozen=True)
class Details:
    """Blocks that the reader unfolds."""

    summary: str
    blocks: tuple[Block, ...]


Block = Text | Bullets | Table | Figure | Row | Slider | Viewer | Details | Download


@dataclass(frozen=True)
class Section:
    """A heading with its blocks; `lead` is one sentence that says what the section shows."""

    title: str
    blocks: tuple[Block, ...] = field(default_factory=tuple)
    lead: str = ""


def anchor(title: str) -> str:
    """Identifier for links to a section."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"


def number(value: float | None, digits: int = 3) -> str:
    """Text of a number: fixed digits for what is of order one, two significant ones below; a dash for none or NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, (bool, int)):
        return str(value)
    if value != 0 and abs(value) < 10**-digits:
        return f"{value:.2g}".replace("-", "−")
    if abs(value) >= 1e4:
        return f"{value:.4g}"
    return f"{value:.{digits}f}".replace("-", "−")


def fixed(value: float | None, digits: int = 3) -> str:
    """Text of a number with so many digits after the point, however small; a dash for none or NaN."""
    if value is None or math.isnan(value) or abs(value) >= 1e4:
        return number(value, digits)
    text = f"{value:.{digits}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", "−")


def render_section(section: Section) -> str:
    """HTML of a section."""
    lead = f'<p class="lead">{escape(section.lead)}</p>' if section.lead else ""
    body = "\n".join(render(b) for b in section.blocks)
    return f'<section id="{anchor(section.title)}"><h2>{escape(section.title)}</h2>{lead}\n{body}\n</section>'


def render(block: Block) -> str:
    """HTML of a block."""
    match block:
        case Text():
            return f'<p class="{block.tone}">{escape(block.text)}</p>'
        case Bullets():
            return f'<ul class="{block.tone}">{_items(block.items)}</ul>'
        case Table():
            return _table(block)
        case Figure():
            return (
                f'<figure><div class="drawing" role="img" aria-label="{escape(block.alt)}">{block.markup}</div>'
                f"<figcaption>{escape(block.caption)}</figcaption></figure>"
            )
        case Row():
            return f'<div class="row">{"".join(render(b) for b in block.blocks)}</div>'
        case Slider():
            return _slider(block)
        case Viewer():
            return _viewer(block)
        case Download():
            return f'<p class="download">{_link(block)}</p>'
        case Details():
            inner = "".join(render(b) for b in block.blocks)
            return f"<details><summary>{escape(block.summary)}</summary>{inner}</details>"


def _items(items: Iterable[str]) -> str:
    return "".join(f"<li>{escape(i)}</li>" for i in items)


def _table(table: Table) -> str:
    sides = ["" if isinstance(c, str) else ' class="num"' for c in (table.rows or [table.header])[0]]
    head = "".join(f'<th scope="col"{side}>{escape(h)}</th>' for side, h in zip(sides, table.header))
    rows = []
    for index, row in enumerate(table.rows):
        mark = ' class="marked"' if index in table.marked_rows else ""
        cells = "".join(_data(c, h) for c, h in zip(row[1:], table.header[1:]))
        rows.append(f'<tr{mark}><th scope="row">{_cell(row[0])}</th>{cells}</tr>')
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    body = "".join(rows) or f'<tr><td colspan="{len(table.header)}">none</td></tr>'
    whole = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    name = f"{anchor(table.caption or table.header[0])[:40].strip('-')}.csv"
    link = _link(Download("CSV", name, table_csv(table), "text/csv")) if table.rows else ""
    return f'<div class="scroll">{whole}</div><p class="download">{link}</p>'


def _data(cell: Cell, head: str) -> str:
    """On a narrow screen each cell has a line of its own, with its column's name."""
    kind = "" if isinstance(cell, str) else ' class="num"'
    return f'<td{kind} data-label="{escape(head)}">{_cell(cell)}</td>'


def table_csv(table: Table) -> str:
    """The table as CSV, numbers in full; an interval takes three columns."""
    wide = [any(isinstance(row[k], Interval) for row in table.rows) for k in range(len(table.header))]
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    heads = [[h, f"{h}, low", f"{h}, high"] if w else [h] for h, w in zip(table.header, wide)]
    writer.writerow([plain_cell(h) for own in heads for h in own])
    for row in table.rows:
        cells = [_values(cell) if w else [cell] for cell, w in zip(row, wide)]
        writer.writerow([plain_cell(v) for own in cells for v in own])
    return stream.getvalue()


def _values(cell: Cell) -> list[Cell]:
    return [cell.value, cell.low, cell.high] if isinstance(cell, Interval) else [cell, None, None]


def _link(block: Download) -> str:
    data = base64.b64encode(block.text.encode("utf-8", "replace")).decode()
    where = f"data:{block.media};base64,{data}"
    return f'<a download="{escape(block.filename)}" href="{where}">{escape(block.label)}</a>'


def _cell(cell: Cell) -> str:
    if isinstance(cell, Interval):
        text = fixed(cell.value, cell.digits)
        if cell.low is None or cell.high is None:
            return text
        return f'{text} <span class="ci">{fixed(cell.low, cell.digits)} to {fixed(cell.high, cell.digits)}</span>'
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return escape(cell) if isinstance(cell, str) else number(cell)


def _slider(slider: Slider) -> str:
    """All frames are in the page; the style sheet shows the start frame, the script the chosen one."""
    frames = []
    for index, (panels, label) in enumerate(zip(slider.frames, slider.labels)):
        cells = "".join(
            f"<figure>{markup}<figcaption>{escape(title)}</figcaption></figure>"
            for markup, title in zip(panels, slider.panels)
        )
        state = " shown" if index == slider.start else ""
        frames.append(f'<div class="frame{state}" data-label="{escape(label)}">{cells}</div>')
    last = len(slider.frames) - 1
    control = (
        f'<label class="control"><input type="range" min="0" max="{last}" value="{slider.start}" step="1" '
        f'aria-label="{escape(slider.alt or "slice")}"><output>{escape(slider.labels[slider.start])}</output></label>'
    )
    caption = f'<p class="caption">{escape(slider.caption)}</p>' if slider.caption else ""
    return f'<div class="slider" id="{slider.identity}">{control if last else ""}{_joined(frames)}{caption}</div>'


def _viewer(viewer: Viewer) -> str:
    """The layers stand in the page as text that no browser runs."""
    layers = [{**asdict(layer), "nifti": base64.b64encode(layer.nifti).decode("ascii")} for layer in viewer.layers]
    facts = {"at_mm": viewer.at_mm, "anatomical": viewer.anatomical}
    chosen = _joined([f'<option value="{k}">{escape(o.title)}</option>' for k, o in enumerate(viewer.layers) if o.base])
    boxes = _joined([_layer_box(k, o) for k, o in enumerate(viewer.layers) if not o.base])
    return (
        f'<div class="viewer" id="{viewer.identity}" data-facts="{escape(json.dumps(facts))}">'
        f'<button type="button">Open in three planes and in space</button><div class="stage" hidden>'
        f'<p class="choices"><label>channel <select>{chosen}</select></label>{boxes}</p>'
        f'<div class="screen"><canvas></canvas></div></div><p class="told" aria-live="polite"></p>'
        f'<p class="caption">{escape(viewer.caption)}</p>'
        f'<script type="application/json">{json.dumps(layers).replace("<", chr(92) + "u003c")}</script></div>'
    )


def _layer_box(index: int, layer: Layer) -> str:
    checked = " checked" if layer.shown else ""
    return f'<label><input type="checkbox" data-layer="{index}"{checked}>{escape(layer.title)}</label>'


def _joined(parts: Sequence[str]) -> str:
    return "".join(parts)
