"""The page of ``darklung detectability``: curves of d′ with intervals, the best place of each lesion, the whole table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darklung.report.blocks import Block, Bullets, Figure, Interval, Row, Section, Table, Text
from darklung.report.figures import arm_colours, curves
from darklung.report.html import write_report

Rows = Sequence[Mapping[str, Any]]
OBSERVERS = (
    "d′ is that of a channelised Hotelling observer (6 Laguerre–Gauss channels a signal), without bias of finite samples; "
    "intervals are those of 95 % over realisations of the noise. One set of draws serves all lesions: they err together. "
    "The ideal observer is linear, knows the line integrals that the image is made of, and is exact: no other does better.",
)
TASK = (
    "The lesion is known exactly: its class, size and place; the background is the plan's mouse, known but for photon noise "
    "of views and flats, in its central slice.",
    "There is no clutter: no vessels, airways, texture, mimics, motion or hardening. In CT this is the wrong end point to "
    "judge an arm by: attenuation at a known place is near perfect, and search among vessels and mimics is what is hard.",
    "One slice is seen, of all that a lesion spans, by few channels: an observer of the volume can do better, and a search "
    "among clutter does worse. So these curves compare protocols; they are neither a bound nor what a reader finds.",
    *OBSERVERS,
)
RADIOGRAPH = (
    "The lesion is known exactly: a sphere of its class and size at a known place; the background is the plan's mouse, "
    "known but for photon noise of the view and the flats.",
    "There is no clutter: no ribs, heart, vessels, airways, texture, mimics, scatter or hardening. In a radiograph all of "
    "them lie over the lesion: judge arms by d′ in clutter.",
    "The image is retrieved from one view. So these curves compare protocols; they do not say what a reader finds.",
    *OBSERVERS,
)

COLUMNS = {
    "": ("d_prime", "d_low", "d_high"),
    " in clutter": ("d_clutter", "clutter_low", "clutter_high"),
    " against mimics": ("d_mimics", "mimics_low", "mimics_high"),
}
AGAINST = (
    "Against mimics: images without the lesion hold one of the mimics that were asked for, of the lesion's size, anywhere "
    "within its class's ranges of tissue fraction and interfaces. A linear observer knows the mean of unlike mimics alone.",
)
CLUTTER = (
    "In clutter the lesion is known exactly, and the lung about it is one of many: places with room for it "
    "in noise-free images of simulated mice of three families, with one draw of photon noise each. Vessels, airways, heart, "
    "ribs and each mouse's own density are what the observer must tell from the lesion; it knows their covariance.",
    "The lesion is that of the plan's lung, added to whatever lies there; noise is that of the plan's lung. Mimics are not "
    "among the backgrounds, and the place is still known: a search does worse.",
    "d′ in clutter has no bias of few backgrounds in first order: half of the mice, and a quarter, train the observer, the "
    "others test it. Intervals are those of 95 % by leaving out mice. Where places are too few it is not told.",
)


def write_detectability(path: Path, rows: Rows, units: Mapping[str, str], *, title: str, radiograph: bool = False) -> Path:
    """Write the page.

    Parameters
    ----------
    path : Path
    rows : sequence of mappings
        The swept keys, and the columns of `darklung.steps.detectability.MEANINGS`.
    units : mapping
        The swept keys, columns of `rows`, each with its unit (empty for a plain number).
    title : str
    radiograph : bool
        The protocol has one view.
    """
    keys, swept = list(units), [f"{key} [{unit}]" if unit else key for key, unit in units.items()]
    task = RADIOGRAPH if radiograph else TASK
    more = [text for key, text in (("d_clutter", CLUTTER), ("d_mimics", AGAINST)) if any(key in row for row in rows)]
    sections = [
        Section("What is asked", (Bullets(task, "note"), *(Bullets(text, "note") for text in more))),
        Section("Best place of each lesion", (_best(rows, keys, swept),)),
    ]
    if len(keys) == 1:
        sections.append(
            Section(
                "Curves",
                _figures(rows, keys[0], swept[0]),
                "Bars: 95 % intervals over realisations of the noise, in clutter over mice.",
            )
        )
    beside = (*_heads(rows), "backgrounds") if _heads(rows) else ()
    head = (*swept, "dose [mGy]", "lesion", "size [mm]", "arm", "d′", "AUC", "d′, eye filter", "d′, ideal", *beside)
    cells = tuple((*(_short(row[k]) for k in keys), *_cells(row)) for row in rows)
    sections.append(Section("All places", (Table(head, cells, "d′ and AUC, 95 % intervals"),)))
    places = len({tuple(row[k] for k in keys) for row in rows})
    facts: dict[str, str | int | float | None] = {
        "Places": places,
        "Swept": ", ".join(swept),
        "Lesions": len({(r["lesion"], r["size_mm"]) for r in rows}),
    }
    return write_report(path, title=f"Detectability: {title}", summary=facts, sections=sections)


def _short(value: float) -> str:
    return f"{value:.4g}"


def _cells(row: Mapping[str, Any]) -> tuple[Any, ...]:
    found = Interval(row["d_prime"], row["d_low"], row["d_high"], 2)
    area = Interval(row["auc"], row["auc_low"], row["auc_high"], 4)
    more = (*_in_clutter(row), row["backgrounds"]) if "d_clutter" in row else ()
    return (
        f"{row['dose_mgy']:.3g}",
        row["lesion"],
        f"{row['size_mm']:g}",
        row["arm"],
        found,
        area,
        f"{row['d_eye']:.2f}",
        f"{row['d_ideal']:.2f}",
        *more,
    )


def _heads(rows: Rows) -> list[str]:
    """Of the columns beside noise alone those that there are."""
    return [f"d′{where}" for where, columns in COLUMNS.items() if where and any(columns[0] in row for row in rows)]


def _in_clutter(row: Mapping[str, Any]) -> list[Interval]:
    own = [columns for where, columns in COLUMNS.items() if where and columns[0] in row]
    return [Interval(row[value], row[low], row[high], 2) for value, low, high in own]


def best_places(rows: Rows) -> list[Mapping[str, Any]]:
    """Of each lesion, size and arm the row of the highest d′."""
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in rows:
        kind = (row["lesion"], row["size_mm"], row["arm"])
        if kind not in found or row["d_prime"] > found[kind]["d_prime"]:
            found[kind] = row
    return list(found.values())


def _best(rows: Rows, keys: Sequence[str], swept: Sequence[str]) -> Block:
    head = (
        "lesion",
        "size [mm]",
        "arm",
        *swept,
        "dose [mGy]",
        "time [s]",
        "d′",
        *_heads(rows),
    )
    cells = []
    for row in best_places(rows):
        cost = (*(_short(row[k]) for k in keys), f"{row['dose_mgy']:.3g}", f"{row['time_s']:.0f}")
        d = Interval(row["d_prime"], row["d_low"], row["d_high"], 2)
        cells.append(
            (
                row["lesion"],
                f"{row['size_mm']:g}",
                row["arm"],
                *cost,
                d,
                *_in_clutter(row),
            )
        )
    return Table(head, tuple(cells), "Highest d′ over the places; look at dose and time before you call one better")


def _figures(rows: Rows, key: str, label: str) -> tuple[Block, ...]:
    """Of each lesion d′ of noise alone, and beside it d′ in clutter and against mimics, which have scales of their own."""
    kinds = list(dict.fromkeys((row["lesion"], row["size_mm"]) for row in rows))
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    drawn: list[Figure] = []
    told = [where for where, columns in COLUMNS.items() if any(columns[0] in row for row in rows)]
    for kind in kinds:
        own = [r for r in rows if (r["lesion"], r["size_mm"]) == kind]
        drawn += [_figure(own, (key, label), kind, arms, where) for where in told]
    wide = max(len(told), 2)
    return tuple(Row(tuple(drawn[k : k + wide])) for k in range(0, len(drawn), wide)) or (Text("none"),)


def _figure(rows: Rows, swept: tuple[str, str], kind: tuple[str, float], arms: Sequence[str], where: str) -> Figure:
    """`swept` is a key with its label, `where` one of `COLUMNS`."""
    (key, label), series, bands, absent = swept, {}, {}, []
    for arm in arms:
        own = [row for row in rows if row["arm"] == arm]
        values = [[row[column] for row in own] for column in COLUMNS[where]]
        unknown = values[0].count(None)
        absent += [f"{arm} at {unknown} of {len(own)}"] if unknown else []
        if unknown < len(own):
            series[arm], bands[arm] = ([row[key] for row in own], values[0]), (values[1], values[2])
    name = f"detect-{kind[0]}-{kind[1]:g}{where.replace(' ', '-')}"
    look: dict[str, Any] = {"colours": arm_colours(arms), "labels": (label, f"d′{where}"), "markers": True, "limits": None}
    drawing = curves(series, name=name, bands=bands, **look)
    told = f"{kind[0]}, {kind[1]:g} mm{where}"
    caption = f"{told}; not told: {', '.join(absent)} places" if absent else told
    return Figure(drawing, caption, f"d′ of {told} against {key}, a line for each arm")
