"""Drawings as inline SVG: matplotlib's object interface (no global state), colours that follow the page's light or dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Okabe-Ito colours, told apart with any colour vision and on light and dark.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")
LONGEST_LABEL = 34
MOST_INSIDE = 6  # arms whose legend fits into the drawing
INK = "#010203"  # stands for the text's colour; becomes currentColor
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10.5,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#8C8C8C",
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}
# The second, third and fourth seven arms have the same colours with other lines and hatches.
LINES: tuple[Any, ...] = ("solid", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
HATCHES = ("", "////", "....", "xxxx")


class Colours(dict[str, str]):
    """Arm -> colour, and how its lines and bars differ from those of another arm of the same colour."""

    def line(self, arm: str) -> Any:
        """Dashes of matplotlib."""
        return LINES[self._round(arm) % len(LINES)]

    def hatch(self, arm: str) -> str:
        """Hatch of matplotlib."""
        return HATCHES[self._round(arm) % len(HATCHES)]

    def _round(self, arm: str) -> int:
        return list(self).index(arm) // len(COLOURS)


def arm_colours(arms: Sequence[str]) -> Colours:
    """A fixed colour for each arm; from the eighth on colours come again with other lines."""
    return Colours({arm: COLOURS[i % len(COLOURS)] for i, arm in enumerate(arms)})


def drawing(draw: Any, *, name: str, width: float, height: float, panels: tuple[int, int] = (1, 1)) -> str:
    """SVG text of what ``draw(axes)`` draws; `axes` is a flat list of the panels' axes.

    Parameters
    ----------
    draw : callable
    name : str
        Unique in the report: it keeps the identifiers of several drawings apart.
    width, height : float
        Inches.
    panels : (rows, columns)
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(list(np.ravel(figure.subplots(*panels, squeeze=False))))
        stream = io.StringIO()
        with warnings.catch_warnings():
            # Names too long for their panel make a cramped drawing, not a failed report.
            warnings.filterwarnings("ignore", message="constrained_layout not applied")
            figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return inline_svg(stream.getvalue(), name)


def inline_svg(text: str, name: str) -> str:
    """Strip what a page does not need (prologue, metadata, name spaces) and make identifiers unique by `name`."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    prefix = re.sub(r"[^a-z0-9]+", "-", name.lower())
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1; font-family: inherit", text)
    return text.replace(INK, "currentColor").strip()


def _finite(values: Sequence[float | None]) -> list[float]:
    return [np.nan if v is None else float(v) for v in values]


Series = Mapping[str, tuple[Sequence[float | None], Sequence[float | None]]]


def curves(
    series: Series,
    *,
    name: str,
    colours: Colours,
    labels: tuple[str, str],
    diagonal: bool = False,
    markers: bool = False,
    limits: tuple[tuple[float, float], tuple[float, float]] | None = ((-0.02, 1.02), (-0.02, 1.02)),
    dashed: Series | None = None,
    bands: Mapping[str, tuple[Sequence[float | None] | None, Sequence[float | None] | None]] | None = None,
) -> str:
    """One line for each key of `series` (x, y); a dashed one for each of `dashed`; of `bands` an interval at each point."""

    def draw(axes: list[Any]) -> None:
        (ax,) = axes
        if diagonal:
            ax.plot([0, 1], [0, 1], color="#8C8C8C", linewidth=1, linestyle=(0, (4, 4)))
        for key, (x, y) in series.items():
            marker = "o" if markers else None
            low, high = (bands or {}).get(key, (None, None))
            _whiskers(ax, x, y, list(zip(low or (), high or ())), colours[key])
            both = np.array([_finite(x), _finite(y)])
            x, y = both[:, np.isfinite(both).all(axis=0)]  # an empty bin of a reliability curve leaves no gap
            style = {"linewidth": 1.9, "linestyle": colours.line(key), "marker": marker, "markersize": 4}
            ax.plot(x, y, color=colours[key], label=_plain(key), **style)
        for key, (x, y) in (dashed or {}).items():
            ax.plot(_finite(x), _finite(y), color=colours[key], linewidth=1.3, linestyle=(0, (3, 2)))
        ax.set_xlabel(labels[0])
        ax.set_ylabel(labels[1])
        if limits is not None:
            ax.set_xlim(limits[0])
            ax.set_ylim(limits[1])
        if series:
            many = len(series) > MOST_INSIDE or markers
            below = {"loc": "upper left", "bbox_to_anchor": (-0.15, -0.17), "ncols": 2} if many else {"loc": "best"}
            ax.legend(fontsize=9, **below)

    more = 0.19 * -(-len(series) // 2) if len(series) > MOST_INSIDE or markers else 0.0
    return drawing(draw, name=name, width=4.3, height=3.7 + more)


def bundles(
    lines: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]],
    *,
    name: str,
    colours: Colours,
    labels: tuple[str, str],
) -> str:
    """Several lines of one colour for each key, such as folds of an arm."""

    def draw(axes: list[Any]) -> None:
        (ax,) = axes
        for key, own in lines.items():
            for i, (x, y) in enumerate(own):
                label = _plain(key) if i == 0 else None
                ax.plot(x, y, color=colours[key], linestyle=colours.line(key), linewidth=1.4, label=label, marker=".")
        ax.set_xlabel(labels[0])
        ax.set_ylabel(labels[1])
        ax.legend(fontsize=9, ncols=2, loc="upper left", bbox_to_anchor=(-0.15, -0.17))

    return drawing(draw, name=name, width=4.3, height=3.7 + 0.19 * -(-len(lines) // 2))


def forest(rows: Sequence[tuple[str, float | None, float | None, float | None]], *, name: str, label: str) -> str:
    """Differences with intervals, one row each (text, value, low, high); zero is marked."""

    def draw(axes: list[Any]) -> None:
        (ax,) = axes
        places = np.arange(len(rows))[::-1]
        for place, (_, value, low, high) in zip(places, rows):
            if value is None:
                continue
            clear = low is not None and high is not None and (low > 0 or high < 0)
            colour = COLOURS[0] if clear else "#8C8C8C"
            if low is not None and high is not None:
                ax.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
            ax.plot([value], [place], "o", color=colour, markersize=6)
        ax.axvline(0, color=INK, linewidth=0.9)
        ax.set_yticks(places, [_plain(r[0]) for r in rows])
        ax.set_ylim(-0.7, len(rows) - 0.3)
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel(label)

    return drawing(draw, name=name, width=7.4, height=1.0 + 0.36 * max(len(rows), 1))


def grouped_bars(
    groups: Sequence[str],
    values: Mapping[str, Sequence[float | None]],
    *,
    name: str,
    colours: Colours,
    label: str,
    limits: Mapping[str, Sequence[tuple[float | None, float | None]]] | None = None,
) -> str:
    """Bars of `values` (arm -> one a group) side by side in each group, with intervals; a missing value leaves a gap."""

    def draw(axes: list[Any]) -> None:
        (ax,) = axes
        width = 0.8 / max(len(values), 1)
        for i, (key, heights) in enumerate(values.items()):
            x = np.arange(len(groups)) - 0.4 + (i + 0.5) * width
            style: dict[str, Any] = {"hatch": colours.hatch(key), "edgecolor": "white"} if colours.hatch(key) else {}
            ax.bar(x, _finite(heights), width * 0.9, color=colours[key], label=_plain(key), **style)
            _whiskers(ax, x, heights, (limits or {}).get(key))
        ax.set_xticks(np.arange(len(groups)), [_plain(g) for g in groups])
        ax.set_xlim(-0.55, len(groups) - 0.45)
        ax.set_ylim(0, 1.02)
        ax.set_ylabel(label)
        ax.grid(axis="x", visible=False)
        ax.legend(fontsize=9, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2)

    return drawing(draw, name=name, width=max(4.6, 1.3 + 1.1 * len(groups)), height=3.6)


Limits = Sequence[tuple[float | None, float | None]]


def _whiskers(ax: Any, places: Any, values: Sequence[float | None], limits: Limits | None, colour: str = INK) -> None:
    """Intervals as thin lines."""
    for x, value, (low, high) in zip(places, values, limits or ()):
        if None not in (x, value, low, high):
            ax.plot([x, x], [low, high], color=colour, linewidth=0.9)


def confusion(matrices: Mapping[str, Mapping[str, float | None]], *, name: str) -> str:
    """One 2 x 2 matrix an arm; the shade is the share within the true class."""

    def draw(axes: list[Any]) -> None:
        for ax, (arm, counts) in zip(axes, matrices.items()):
            table = np.array([[counts.get("tp"), counts.get("fn")], [counts.get("fp"), counts.get("tn")]], dtype=float)
            with np.errstate(invalid="ignore", divide="ignore"):
                share = np.nan_to_num(table / table.sum(axis=1, keepdims=True))
            for (row, col), value in np.ndenumerate(table):
                good = row == col
                ax.add_patch(_square(row, col, COLOURS[0] if good else COLOURS[1], 0.12 + 0.6 * share[row, col]))
                text = "–" if np.isnan(value) else f"{value:.0f}"
                ax.text(col, row - 0.08, text, ha="center", va="center", fontsize=13, fontweight="bold")
                ax.text(col, row + 0.25, f"{100 * share[row, col]:.0f} %", ha="center", va="center", fontsize=9)
            ax.set(xlim=(-0.52, 1.52), ylim=(1.52, -0.52), aspect="equal", title=_plain(arm))
            ax.set_xticks([0, 1], ["called\nlesion", "called\nnone"])
            ax.set_yticks([0, 1], ["lesion", "none"])
            ax.grid(visible=False)
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
        for ax in axes[len(matrices) :]:
            ax.set_visible(False)

    count = max(len(matrices), 1)
    across = min(count, 4)
    rows = -(-count // across)
    return drawing(draw, name=name, width=2.5 * across, height=2.7 * rows, panels=(rows, across))


def _square(row: int, col: int, colour: str, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((col - 0.48, row - 0.48), 0.96, 0.96, facecolor=colour, alpha=alpha, edgecolor="none")


def _plain(text: str) -> str:
    """Names as labels: no line too long to draw, and without $…$ being read as mathematics."""
    lines = [s if len(s) <= LONGEST_LABEL else s[: LONGEST_LABEL - 1] + "…" for s in str(text).split("\n")]
    return "\n".join(lines).replace("$", r"\$").replace("_", " ")
