"""A page that shows whether retrieved maps can be trusted: maps, histograms, errors, validity, streaks, residuals."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.report.blocks import Block, Bullets, Cell, Figure, Section, Table, Text
from darklung.report.html import write_report

Array = NDArray[Any]
# Between findings in a table; they hold semicolons themselves.
BETWEEN = " | "
NAMES = {"attenuation": "attenuation −ln T", "dark_field": "dark field −ln D", "phase": "phase [rad]"}
MEANINGS = {
    "name": "name of the map",
    "page": "its page",
    "valid_share": "share of pixels that can be trusted",
    "flat_visibility": "median visibility without sample",
    "attenuation": "median -ln T",
    "dark_field": "median -ln(V/V0)",
    "streak_index": "root mean square of the columns' excess in -ln D in standard errors; about 1 without streaks",
    "streaked_share": "share of pixels in columns beyond 5 standard errors",
    "row_streak_index": "the same of rows",
    "row_streaked_share": "share of pixels in rows beyond 5 standard errors",
    "air_streak_index": "the same of -ln T in air, of columns or rows, whichever is worse",
    "air_streaked_share": "share of air pixels in columns or rows beyond 5 standard errors",
    "noise_ratio": "measured noise of -ln D over the stated one",
    "air_noise_ratio": "measured noise of -ln T in air over the stated one",
    "misfit": "mean reduced chi square of the fits, of the median view (of the worst direction)",
    "odd_views": "views whose chi square is far above that of the others",
    "second_harmonic": "second harmonic of the flats over the first",
    "lost_views": "views that lack counts in a step",
    "saturated_share": "share of pixels that reach the detector's end",
    "above_one_share": "share of pixels whose visibility is above 1 beyond noise",
    "dark_scale": "excess of the dark frame's hot pixels in the flats over that in the dark frame; 1 where exposures agree",
    "findings": "what speaks against the map",
}


@dataclass(frozen=True)
class QualityPage:
    """What one page shows; maps are (row, col) of one view, or (view, col) of a line detector.

    Parameters
    ----------
    title, subtitle : str
    facts : mapping
        Numbers under the title.
    findings : tuple of str
        What was found wrong; empty: nothing.
    maps : mapping
        Name to map; values outside `valid` are drawn too.
    valid : bool map
    flagged : bool map, optional
        Pixels of streaked columns.
    errors : mapping
        Name to standard errors of the valid pixels (any shape).
    profiles : mapping
        Name to (label of x, x, values, level of what is expected or None): curves over columns, steps or views.
    misfit : map, optional
        Reduced χ² of the fits.
    table : rows of (name, value)
    """

    title: str
    facts: Mapping[str, str | int | float | None]
    findings: tuple[str, ...]
    maps: Mapping[str, Array]
    valid: Array
    subtitle: str = ""
    flagged: Array | None = None
    errors: Mapping[str, Array] = field(default_factory=dict)
    profiles: Mapping[str, tuple[str, Array, Array, float | None]] = field(default_factory=dict)
    misfit: Array | None = None
    table: tuple[tuple[str, Cell], ...] = ()


def quality_facts(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers under the title."""
    facts = {
        "Valid": f"{100 * numbers['valid_share']:.1f} %",
        "V0": round(numbers["flat_visibility"], 4),
        "−ln T": round(numbers["attenuation"], 4),
        "−ln D": round(numbers["dark_field"], 4),
    }
    for key, name in (("streak_index", "Streak index"), ("noise_ratio", "Noise / stated"), ("misfit", "χ²")):
        if numbers[key] is not None:
            facts[name] = round(numbers[key], 3)
    return facts


def quality_table(numbers: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """All numbers, each with what it means."""
    return tuple((MEANINGS.get(key, key.replace("_", " ")), value) for key, value in numbers.items())


def write_quality(path: Path, page: QualityPage) -> Path:
    """Write the page as one self-contained HTML file."""
    verdict: Block = Text("Nothing was found that speaks against these maps.", "verdict")
    if page.findings:
        verdict = Bullets(page.findings, "warning")
    sections = [
        Section("Verdict", (verdict,), "What the numbers below say against these maps, if anything."),
        Section("Maps", (_figure("maps", page, _draw_maps, columns=min(3, len(page.maps) + 1)),)),
        Section("Histograms", (_figure("histograms", page, _draw_histograms, columns=3),), "Valid pixels only."),
    ]
    if page.profiles:
        sections.append(Section("Columns, steps and views", (_figure("profiles", page, _draw_profiles, columns=2),)))
    if page.misfit is not None:
        lead = (
            "Reduced χ² of each pixel's fit: 1 is photon noise alone, more means steps, doses or counts are not as declared."
        )
        sections.append(Section("Residuals", (_figure("residuals", page, _draw_misfit, columns=2),), lead))
    if page.table:
        sections.append(Section("Numbers", (Table(("", "value"), page.table),)))
    return write_report(path, title=page.title, subtitle=page.subtitle, summary=page.facts, sections=sections)


def _figure(name: str, page: QualityPage, draw: Any, *, columns: int) -> Figure:
    """An ``<img>`` of what ``draw`` puts on as many panels as it wants."""
    # The object-oriented interface needs no display and no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    panels = draw(page)
    rows = -(-len(panels) // columns)
    figure = Canvas(figsize=(5.2 * columns, 3.9 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for axis, panel in zip(axes, panels):
        panel(figure, axis)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=80)
    text = base64.b64encode(stream.getvalue()).decode()
    return Figure(f'<img src="data:image/png;base64,{text}" alt="{name}">', "", name)


def _limits(values: Array) -> tuple[float, float]:
    """1st to 99th percentile, never empty."""
    known = values[np.isfinite(values)]
    if known.size == 0:
        return 0.0, 1.0
    low, high = (float(x) for x in np.percentile(known, (1, 99)))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _draw_maps(page: QualityPage) -> list[Any]:
    def one(name: str, values: Array) -> Any:
        def draw(figure: Any, axis: Any) -> None:
            low, high = (-np.pi, np.pi) if name.startswith("phase") else _limits(values[page.valid])
            colours = "twilight" if name.startswith("phase") else "gray"
            image = axis.imshow(values, vmin=low, vmax=high, cmap=colours, interpolation="nearest", aspect=_aspect(values))
            axis.set_title(name)
            figure.colorbar(image, ax=axis, shrink=0.8)

        return draw

    def validity(figure: Any, axis: Any) -> None:
        shown = np.where(page.valid, 1.0, 0.0)
        if page.flagged is not None:
            shown = np.where(page.flagged, 0.5, shown)
        axis.imshow(shown, vmin=0, vmax=1, cmap="gray", interpolation="nearest", aspect=_aspect(shown))
        streaked = "" if page.flagged is None else ", streaked columns grey"
        axis.set_title(f"valid white{streaked}")

    return [*(one(name, values) for name, values in page.maps.items()), validity]


def _aspect(values: Array) -> str:
    rows, cols = values.shape
    return "equal" if 0.2 < rows / cols < 5 else "auto"


def _draw_histograms(page: QualityPage) -> list[Any]:
    def one(name: str, values: Array) -> Any:
        def draw(figure: Any, axis: Any) -> None:
            known = values[np.isfinite(values)]
            axis.hist(known.ravel(), bins=120, range=_limits(known), color="0.4")
            if known.size:
                axis.axvline(float(np.median(known)), color="C3", linewidth=1)
            axis.set_xlabel(name)
            axis.set_yticks([])

        return draw

    def errors(figure: Any, axis: Any) -> None:
        for name, values in page.errors.items():
            known = values[np.isfinite(values) & (values > 0)]
            if known.size:
                axis.hist(np.log10(known), bins=100, histtype="step", label=name)
        axis.set_xlabel("log10 of the stated standard error")
        axis.set_yticks([])
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False)

    panels = [one(name, values[page.valid]) for name, values in page.maps.items()]
    return [*panels, errors] if page.errors else panels


def _draw_profiles(page: QualityPage) -> list[Any]:
    def one(name: str, content: tuple[str, Array, Array, float | None]) -> Any:
        def draw(figure: Any, axis: Any) -> None:
            label, x, values, level = content
            axis.plot(x, values, "o-" if len(x) < 40 else "-", markersize=3, linewidth=1, color="C0")
            if level is not None:
                for side in {level, -level} if (np.nanmin(values, initial=0) < 0) else {level}:
                    axis.axhline(side, color="C3", linewidth=1, linestyle="--")
            axis.set_xlabel(label)
            axis.set_title(name)

        return draw

    return [one(name, content) for name, content in page.profiles.items()]


def _draw_misfit(page: QualityPage) -> list[Any]:
    values = np.asarray(page.misfit)

    def seen(figure: Any, axis: Any) -> None:
        image = axis.imshow(values, vmin=0, vmax=3, cmap="magma", interpolation="nearest", aspect=_aspect(values))
        axis.set_title("reduced χ²")
        figure.colorbar(image, ax=axis, shrink=0.8)

    def counted(figure: Any, axis: Any) -> None:
        known = values[np.isfinite(values)]
        axis.hist(known, bins=120, range=(0, 5), color="0.4")
        if known.size:
            axis.axvline(float(np.mean(known)), color="C3", linewidth=1)
        axis.set_xlabel("reduced χ² (line: mean)")
        axis.set_yticks([])

    return [seen, counted]
