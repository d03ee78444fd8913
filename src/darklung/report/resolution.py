"""The page of ``darklung resolution``: curves of MTF, noise power and NEQ, MTF50 and MTF10 by channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.channel import Channel
from darklung.core.recipe import file_name
from darklung.report.blocks import Block, Bullets, Cell, Figure, Interval, Row, Section, Table
from darklung.report.figures import Colours, arm_colours, curves
from darklung.report.html import write_report

Rows = Sequence[Mapping[str, Any]]
MEANT = (
    "MTF is that of this image: detector, blur, reconstruction, filters and the area of a pixel together, across the edge "
    "that was shown. In a noisy or non-linear reconstruction it holds for that contrast at that noise.",
    "Along z and in the plane across it: of a sphere what is within 20 degrees of them as seen from its centre, and noise "
    "of frequencies within 20 degrees of them. So an image that is less sharp along z than in its slices is told.",
    "Bars of the MTF are 95 % intervals by leaving out one of 16 pieces of the edge; of noise power and NEQ, 95 % intervals "
    "over blocks of tiles.",
    "NEQ = S² MTF²/NPS. Of −ln T with S = 1 it counts the quanta on an area that an ideal detector would need for as little "
    "noise; with S the contrast of an object its integral over the object's spectrum is d′² of the ideal observer.",
    "Beyond half the sampling frequency an MTF is what the edge shows between pixels: the image folds it back.",
)
KINDS = (
    ("mtf", "MTF", "Modulation transfer"),
    ("nps", "NPS", "Noise power, mean over directions"),
    ("neq", "NEQ", "Noise-equivalent quanta"),
)


def write_resolution(path: Path, rows: Rows, channels: Rows, steps: Rows, *, title: str) -> dict[str, str]:
    """Write the page, and return the drawings by name, as SVG.

    Parameters
    ----------
    path : Path
    rows, channels, steps : sequences of mappings
        Columns `MEANINGS`, `SUMMARY` and `SPREAD` of `darklung.steps.resolution`.
    """
    drawings, figures = {}, []
    for kind, label, told in KINDS:
        for name, group in _groups(kind, channels):
            if text := _drawn(rows, group, (kind, label, name), arm_colours([_name(row) for row in channels])):
                drawings[name] = text
                figures.append(Figure(text, told, f"{label} of {', '.join(map(_name, group))} against frequency"))
    if steps:
        drawings["edges"] = _steps(steps, channels)
        told = "Each channel across its edge, from 0 outside to 1 inside: what is no plain step is in the MTF"
        figures.append(Figure(drawings["edges"], told, "level of each channel against the distance to its edge"))
    pairs: tuple[Block, ...] = tuple(Row(tuple(figures[k : k + 3])) for k in range(0, len(figures), 3))
    sections = [
        Section("What is shown", (Bullets(MEANT, "note"),)),
        Section("Channels", (_table(channels),)),
        Section("Curves", pairs),
    ]
    sections += _missing(channels)
    facts: dict[str, str | int | float | None] = {"Channels": len(channels)}
    write_report(path, title=f"Resolution and noise: {title}", summary=facts, sections=sections)
    return drawings


def _name(row: Mapping[str, Any]) -> str:
    """The channel, and where it matters along what."""
    return row["channel"] + {"all": "", "plane": ", in plane"}.get(row["along"], f", along {row['along']}")


def _groups(kind: str, channels: Rows) -> list[tuple[str, Rows]]:
    """Which channels share a drawing: all their MTFs, but noise of one signal alone, since scales differ by far."""
    signals = list(dict.fromkeys(Channel.parse(row["channel"]).signal for row in channels))
    if kind == "mtf" or len(signals) == 1:
        return [(kind, channels)]
    every = [[row for row in channels if Channel.parse(row["channel"]).signal == signal] for signal in signals]
    return [(f"{kind}-{file_name(signal)}", own) for signal, own in zip(signals, every)]


def _drawn(rows: Rows, channels: Rows, what: tuple[str, str, str], colours: Colours) -> str:
    kind, label, drawing = what
    names = [_name(row) for row in channels]
    series, bands = {}, {}
    for name in names:
        own = [r for r in rows if _name(r) == name and np.isfinite(r[kind])]
        if own:
            series[name] = ([r["frequency_per_mm"] for r in own], [r[kind] for r in own])
            bands[name] = ([r[f"{kind}_low"] for r in own], [r[f"{kind}_high"] for r in own])
    if not series:
        return ""
    axes = {_name(row): (row["unit"], row["noise_axes"]) for row in channels}
    units = {_unit(kind, *axes[name]) for name in series}
    words = f"{label} [{units.pop()}]" if len(units) == 1 and kind != "mtf" else label
    return curves(
        series,
        name=f"resolution-{drawing}",
        colours=colours,
        labels=("frequency [1/mm]", words),
        limits=None,
        bands=bands,
    )


def _steps(steps: Rows, channels: Rows) -> str:
    """Edge spread functions, each on its own scale: levels of the outer and the inner end are 0 and 1."""
    series = {}
    for row in channels:
        own = [(s["distance_mm"], s["level"]) for s in steps if _name(s) == _name(row)]
        if own:
            place, level = np.array(own).T
            count = max(len(level) // 8, 1)
            inner, outer = level[:count].mean(), level[-count:].mean()
            series[_name(row)] = (place.tolist(), ((level - outer) / ((inner - outer) or 1.0)).tolist())
    colours = arm_colours([_name(row) for row in channels])
    labels = ("distance to the edge [mm]", "level")
    return curves(series, name="resolution-edges", colours=colours, labels=labels, limits=None)


def _unit(kind: str, unit: str, axes: int) -> str:
    power = "²" if axes == 2 else "³"
    if kind == "neq":
        return f"1/mm{power}"
    return f"mm{power}" if unit == "1" else f"({unit})² mm{power}"


def _table(channels: Rows) -> Block:
    head = ("channel", "unit", "MTF50 [1/mm]", "MTF10 [1/mm]", "contrast", "SD of a pixel", "S", "noise power in", "tiles")
    rows: list[tuple[Cell, ...]] = []
    for row in channels:
        ends = [Interval(row[f"{n}_per_mm"], row[f"{n}_low"], row[f"{n}_high"]) for n in ("mtf50", "mtf10")]
        tiles = (
            "–"
            if row["tiles"] is None
            else f"{row['tiles']} of {row['tile_pixels']}{'²' if row['noise_axes'] == 2 else '³'}"
        )
        values = (_short(row["contrast"]), _short(row["noise_sd"]), _short(row["signal"]))
        rows.append((_name(row), row["unit"], *ends, *values, _unit("nps", row["unit"], row["noise_axes"]), tiles))
    return Table(head, tuple(rows), "Each channel, 95 % intervals")


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _missing(channels: Rows) -> list[Section]:
    told = tuple(f"{_name(row)}: {row['missing']}" for row in channels if row["missing"])
    return [Section("Not measured", (Bullets(told, "warning"),))] if told else []
