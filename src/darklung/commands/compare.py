"""``darklung compare``: what two finished runs differ in, and by how much their results do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from darklung import __version__
from darklung.core.checks import require
from darklung.core.files import make_folder
from darklung.io.tables import save_json
from darklung.report.html import write_report
from darklung.report.runs import runs_sections
from darklung.steps.scoring.finished import open_run
from darklung.steps.scoring.runs import compare_runs

PAGE, RESULT = "compare.html", "compare.json"
LISTED = 40  # differing settings and versions that are printed


def compare_folders(first: Path, second: Path, *, out: Path | None = None) -> str:
    """Compare two runs and return what to print; with `out` also ``compare.json`` and ``compare.html``.

    Raises
    ------
    DarklungError
        A folder that is no finished run, or the same one twice.
    """
    require(first.resolve() != second.resolve(), f"{first}: the same run twice; wanted two")
    found = compare_runs(open_run(first), open_run(second))
    lines = list(_lines(found))
    if out is not None:
        make_folder(out)
        save_json(out / RESULT, found)
        title = f"{first.resolve().name} and {second.resolve().name}"
        facts = {"Settings that differ": len(found["settings"]), "Versions that differ": len(found["environment"])}
        write_report(out / PAGE, title=title, summary=facts, sections=runs_sections(found), footer=f"darklung {__version__}")
        lines += ["", f"page: {out / PAGE}; numbers: {out / RESULT}"]
    return "\n".join(lines)


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{name}: {run}" for name, run in zip(("first", "second"), found["runs"]))
    for title in ("settings", "environment"):
        rows = found[title]
        yield from ("", f"{title}: {len(rows)} differ" if rows else f"{title}: the same")
        yield from (f"  {r['name']}: {r['first']} | {r['second']}" for r in rows[:LISTED])
        if len(rows) > LISTED:
            yield f"  ... and {len(rows) - LISTED} more"
    yield from ("", f"{'tasks':<14}{'same key':>10}{'other key':>11}{'first only':>12}{'second only':>13}")
    for stage, row in found["tasks"].items():
        counts = [len(row[k]) for k in ("other_key", "first_only", "second_only")]
        yield f"{stage:<14}{row['same']:>10}{counts[0]:>11}{counts[1]:>12}{counts[2]:>13}"
    for split, arms in found["results"].items():
        yield from ("", f"{split}: first, second, and first minus second over the same animals")
        for arm, entry in arms.items():
            yield f"  {arm} ({entry['animals']['both']} animals in both)"
            yield from (f"    {name:<13}{_row(entry, name)}" for name in entry["values"])
    yield from ("", *(f"note: {note}" for note in found["notes"])) if found["notes"] else ()


def _row(entry: Mapping[str, Any], name: str) -> str:
    values = entry["values"][name]
    sides = "".join(f"{_number(values[k]['value']):>8}" for k in ("first", "second"))
    row = (entry["paired"] or {}).get(name)
    if not row or row["value"] is None:
        return sides
    within = "" if row["low"] is None else f" [{row['low']:+.3f}, {row['high']:+.3f}]"
    chance = "" if row.get("p") is None else f"  p {row['p']:.3g} (Holm {row['p_holm']:.3g})"
    return f"{sides}{row['value']:>+10.3f}{within}{chance}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
