"""The table of conformal lists: what each promises of the lesions, what it reached on test animals, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darklung.report.blocks import Block, Bullets, Cell, Details, Interval, Section, Table
from darklung.report.metric_tables import count, interval, name
from darklung.report.verdicts import Comparison

LEAD = (
    "Each list holds what scores like the known lesions of validation animals, so low that the promised share of a further "
    "animal's lesions is on it, in the mean over animals like these; the rest of the list is false."
)
CAPTIONS = {
    "candidates": "Candidates of a search of the whole lung",
    "tiles": "The same for tiles of the lung",
}


def promises_section(comparison: Comparison) -> Section | None:
    """Lists of every arm on the test animals; None where no arm has any."""
    found: Mapping[str, Any] = comparison.get("promises") or {}
    rows = [(arm, row) for arm, own in found.items() for row in (own or {}).get("lists") or ()]
    if not rows:
        return None
    first, second = ([(a, r) for a, r in rows if r.get("unit") == unit] for unit in CAPTIONS)
    blocks: list[Block] = [_table(first, CAPTIONS["candidates"])] if first else []
    if second:
        table = _table(second, CAPTIONS["tiles"])
        blocks.append(Details("Tiles", (table,)) if blocks else table)
    if why := _reasons(rows):
        blocks.append(Bullets(why, "note"))
    return Section("Lists that promise a share of the lesions", tuple(blocks), LEAD)


def _reasons(rows: list[tuple[str, Mapping[str, Any]]]) -> tuple[str, ...]:
    """Why lists are empty, each reason once with its arms."""
    arms: dict[str, list[str]] = {}
    for arm, row in rows:
        if row.get("why"):
            arms.setdefault(str(row["why"]), []).append(name(arm))
    return tuple(f"{', '.join(dict.fromkeys(own))}: {why}" for why, own in arms.items())


def _table(rows: list[tuple[str, Mapping[str, Any]]], caption: str) -> Table:
    unit = "ml" if any(row.get("false_per_ml") for _, row in rows) else "animal"
    article = "a" if unit == "ml" else "an"
    header = (
        "Arm", "Promised", "Proven", "Rests on animals", "From score", "Lesions found", "Share of an animal's lesions",
        f"False positives {article} {unit}", "Mimics not counted",
    )  # fmt: skip
    return Table(header, tuple(_row(arm, row, unit) for arm, row in rows), f"{caption}; 95 % intervals over animals")


def _row(arm: str, row: Mapping[str, Any], unit: str) -> tuple[Cell, ...]:
    start = (
        name(arm),
        f"{100 * row['level']:g} %",
        f"{100 * row['proven']:.0f} %" if row.get("proven") is not None and not row.get("why") else "–",
        f"{count(row.get('animals'))}, {count(row.get('models'))} models",
    )
    if row.get("why"):
        return (*start, *("–",) * 5)
    limit = row.get("threshold")
    return (
        *start,
        Interval(limit) if limit is not None else "rank",
        f"{count(row.get('found'))} of {count(row.get('lesions'))}",
        interval(row.get("coverage")),
        interval(row.get(f"false_per_{unit}")),
        interval(row.get(f"false_per_{unit}_without_mimics")),
    )
