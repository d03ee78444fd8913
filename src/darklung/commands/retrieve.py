"""``darklung retrieve``: described raw scans to maps with errors, an overview figure, a table, and records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from darklung.core.checks import DarklungError, require
from darklung.core.units import parse_number
from darklung.io.description import read_raw, series_table
from darklung.io.names import SUMMARY
from darklung.io.tables import save_table
from darklung.pipeline import Task, note_files, run_tasks
from darklung.pipeline.record import read_json
from darklung.report.quality import BETWEEN
from darklung.report.quality import MEANINGS as QUALITY
from darklung.steps.retrieve import JUDGED, STAGE, task_of_raw

TABLE = "scans"
MEANINGS = {
    "name": "name of the scan",
    "directions": "grating directions",
    "views": "views",
    "rows": "detector rows that were read",
    "cols": "detector columns that were read",
    "valid_fraction": "share of pixels that can be trusted",
    "flat_visibility": "median visibility without sample",
    "visibility": "median visibility with sample",
    "transmission": "median transmission",
    "attenuation": "median -ln T",
    "dark_field": "median -ln(V/V0)",
    "phase_spread_rad": "standard deviation of the differential phase [rad]",
    "attenuation_error": "median standard error of -ln T of a pixel",
    "dark_field_error": "median standard error of -ln(V/V0) of a pixel",
    "phase_error_rad": "median standard error of the phase of a pixel [rad]",
    **{key: QUALITY[key] for key in JUDGED},
}


def retrieve_described(description: Path, out: Path, *, workers: int | None = None) -> str:
    """Retrieve every scan of a description and return a table to print.

    Writes ``out/retrieve/NAME/{projections.h5, overview.png, quality.html, summary.json, record.json}`` for each scan, and
    the table of all as ``out/scans.csv`` and ``out/scans.parquet``. A scan retrieved before from the same files is left as
    it is.

    Raises
    ------
    DarklungError
        One line for each mistake in the description or in the data.
    """
    scans = list(read_raw(description))
    tasks = retrieval_tasks(description)
    read, written = series_table(description), (out / TABLE).with_suffix(".csv")
    same = read is not None and written.exists() and read.samefile(written)
    require(
        not same, f"{written}: the description reads it, and the table of results would take its place; wanted another --out"
    )
    about = {"description": str(description), "scans": len(scans)}
    run_tasks(tasks, folder=out, targets=[t.name for t in tasks], workers=workers, about=about, settings=[description])
    rows = []
    for task, (raw, columns) in zip(tasks, scans):
        rows.append({"name": raw.name, **_numbers(columns), **read_json(out / task.name / SUMMARY)})
    own = dict.fromkeys(scans[0][1], "column of the series table")
    note_files(out, save_table(out / TABLE, rows, {**own, **MEANINGS}))
    return _told(rows, out)


def retrieval_tasks(description: Path) -> list[Task]:
    """One task a scan of a description, each with the retrieval that the description asks for."""
    tasks = [task_of_raw(raw, columns, description, raw.retrieval) for raw, columns in read_raw(description)]
    names = [t.name for t in tasks]
    require(len(set(names)) == len(names), f"{description}: two scans have the same name, wanted each once")
    return tasks


def _numbers(columns: dict[str, str]) -> dict[str, Any]:
    """Columns of the series table, as numbers where they are."""

    def number(text: str) -> Any:
        try:
            return parse_number(text)
        except DarklungError:
            return text

    return {k: number(v) for k, v in columns.items()}


def _told(rows: list[dict[str, Any]], out: Path) -> str:
    head = f"{'scan':<22}{'V0':>8}{'T':>9}{'-ln D':>9}{'+-':>8}{'valid':>8}"
    lines = [
        f"{r['name']:<22}{r['flat_visibility']:8.4f}{r['transmission']:9.4f}{r['dark_field']:9.4f}"
        f"{r['dark_field_error']:8.4f}{100 * r['valid_fraction']:7.1f}%"
        for r in rows
    ]
    foot = "medians of valid pixels; +- is the median standard error of -ln D of one pixel"
    against = [f"{r['name']}: {line}" for r in rows for line in (r["findings"] or "").split(BETWEEN) if line]
    return "\n".join(
        [
            head,
            *lines,
            foot,
            *against,
            f"maps, overview.png, quality.html and records: {out / STAGE}; table: {out / 'scans.csv'}",
        ]
    )
