"""Sections that say what was run: parameters, assumptions, cohort, stages with their cost, versions, sources of data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from darklung.report.blocks import Block, Bullets, Cell, Details, Section, Table, Text, number


def parameters_section(
    parameters: Mapping[str, Any], *, assumptions: Sequence[str] = (), title: str = "Parameters and assumptions"
) -> Section:
    """The study's resolved parameters (nested mappings become dotted names) and the list of assumptions."""
    blocks: list[Block] = []
    if assumptions:
        blocks.append(Bullets(tuple(assumptions), "note"))
    rows = tuple((name, _text(value)) for name, value in flatten(parameters))
    blocks.append(Details(f"All {len(rows)} resolved parameters", (Table(("Parameter", "Value"), rows),)))
    return Section(title, tuple(blocks), "Everything that was chosen, whether stated in the study file or by default.")


def cohort_section(rows: Sequence[Mapping[str, Any]], *, title: str = "Cohort", most: int = 60) -> Section:
    """One row a subject; at most `most` are shown at once, the rest is folded."""
    if not rows:
        return Section(title, (Text("The cohort is empty.", "warning"),))
    header = tuple(dict.fromkeys(str(k) for row in rows for k in row))
    cells = tuple(tuple(_cell(row.get(k)) for k in header) for row in rows)
    blocks: list[Block] = [Details(f"{len(rows)} subjects", (Table(header, cells[:most]),))]
    if len(cells) > most:
        blocks.append(Details(f"the other {len(cells) - most}", (Table(header, cells[most:]),)))
    counts = _counts(rows)
    return Section(title, ((Table(("Split", "Subjects"), counts), *blocks) if counts else tuple(blocks)))


def records_section(records: Sequence[Mapping[str, Any]], *, title: str = "Record of the run") -> Section:
    """Stages with wall time and peak memory, then versions and hardware.

    Parameters
    ----------
    records : sequence of mappings
        Each may hold ``stage`` (or ``name``), ``wall_s``, ``peak_memory_mib``, ``seed``, ``tasks`` and ``environments``
        (each with ``versions``, ``hardware``, ``source``).
    """
    rows: list[tuple[Cell, ...]] = []
    for record in records:
        name = record.get("stage") or record.get("name") or "–"
        tasks, seed = record.get("tasks"), record.get("seed")
        times = (_round(record.get(k)) for k in ("wall_s", "processor_s"))
        cost = (_cell(tasks), *times, _round(record.get("peak_memory_mib"), 0))
        rows.append((str(name), *cost, "–" if seed is None else str(seed)))
    header = ("Stage", "Tasks", "Wall time [s]", "Processor time [s]", "Peak memory [MiB]", "Seed")
    blocks: list[Block] = [
        Table(header, tuple(rows), "Time is summed over the stage's tasks; memory is the highest of any.")
    ]
    entries = _environments(records)
    if entries:
        blocks.append(Details("Versions and hardware", (Table(("What", "Value"), entries),)))
    return Section(title, tuple(blocks), "What was computed, at what cost, with which code.")


def _environments(records: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Every value that anything had while the run was computed: it may have gone on with another version elsewhere."""
    found: dict[str, dict[str, None]] = {}
    for environment in (e for record in records for e in record.get("environments") or ()):
        for name, value in flatten(environment):
            found.setdefault(name, {})[_text(value)] = None
    return tuple((name, "; ".join(values)) for name, values in found.items())


def sources_section(rows: Sequence[Mapping[str, Any]], *, title: str = "Sources of the data") -> Section:
    """Where measured data came from: one row a set, such as ``{"data", "source", "licence", "used", "left out"}``."""
    header = tuple(dict.fromkeys(str(k) for row in rows for k in row))
    if not header:
        return Section(title, (Text("All data were simulated."),))
    return Section(title, (Table(header, tuple(tuple(_cell(r.get(k)) for k in header) for r in rows)),))


def flatten(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Leaves of nested mappings with dotted names, in order."""
    leaves = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        leaves += flatten(item, f"{name}.") if isinstance(item, Mapping) and item else [(name, item)]
    return leaves


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(v) for v in value) or "none"
    if isinstance(value, Mapping):
        return "; ".join(f"{k}: {_text(v)}" for k, v in value.items()) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def _cell(value: Any) -> Cell:
    return value if isinstance(value, (str, int, float, bool)) or value is None else _text(value)


def _round(value: Any, digits: int = 1) -> Cell:
    return None if value is None else number(float(value), digits)


def _counts(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[Cell, ...], ...]:
    splits = [str(r["split"]) for r in rows if r.get("split") is not None]
    return tuple((s, splits.count(s)) for s in dict.fromkeys(splits))
