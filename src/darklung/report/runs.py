"""Sections that show what two runs differ in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darklung.report.blocks import Block, Bullets, Cell, Details, Interval, Section, Table, Text

HEADER = ("Metric", "First", "Second", "First − second, same animals", "p", "p (Holm)")


def runs_sections(found: Mapping[str, Any]) -> list[Section]:
    """Results first, then settings, tasks and versions.

    Parameters
    ----------
    found : mapping
        Of ``darklung compare``: ``runs``, ``settings``, ``environment``, ``tasks``, ``results``, ``notes``.
    """
    blocks: list[Block] = [Bullets(tuple(f"{n}: {r}" for n, r in zip(("First", "Second"), found["runs"])))]
    if found["notes"]:
        blocks.append(Bullets(tuple(found["notes"]), "note"))
    for split, arms in found["results"].items():
        blocks += [_table(split, arm, entry) for arm, entry in arms.items()]
    lead = "95 % intervals. A difference is paired: each animal counts for both runs or for neither."
    settings = _listed(found["settings"], "Every setting is the same.")
    environment = _listed(found["environment"], "The same versions on the same machine.")
    return [
        Section("Results", tuple(blocks), lead),
        Section("Settings that differ", (settings,)),
        Section("Tasks", _tasks(found["tasks"]), "A task with another key was computed from something else."),
        Section("Versions and machine", (environment,)),
    ]


def _table(split: str, arm: str, entry: Mapping[str, Any]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, values in entry["values"].items():
        paired = (entry["paired"] or {}).get(name) or {}
        sides = [Interval(*(values[k].get(v) for v in ("value", "low", "high"))) for k in ("first", "second")]
        difference = Interval(paired.get("value"), paired.get("low"), paired.get("high"))
        rows.append((name.replace("_", " "), *sides, difference, paired.get("p"), paired.get("p_holm")))
    n = entry["animals"]
    caption = f"{arm.replace('_', ' ')}, {split}: {n['first']} and {n['second']} animals, {n['both']} of them in both"
    return Table(HEADER, tuple(rows), caption)


def _listed(rows: list[Mapping[str, Any]], otherwise: str) -> Block:
    if not rows:
        return Text(otherwise)
    return Table(("Name", "First", "Second"), tuple((r["name"], str(r["first"]), str(r["second"])) for r in rows))


def _tasks(stages: Mapping[str, Any]) -> tuple[Block, ...]:
    kinds = ("other_key", "first_only", "second_only")
    rows = tuple((stage, str(r["same"]), *(str(len(r[k])) for k in kinds)) for stage, r in stages.items())
    table = Table(("Stage", "Same key", "Other key", "First only", "Second only"), rows)
    names = tuple(name for r in stages.values() for k in kinds for name in r[k])
    return (table, Details(f"The {len(names)} tasks that differ", (Bullets(names),))) if names else (table,)
