"""``darklung retrieve``: described raw scans to maps with errors, an overview figure, a table, and records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.fitting import Fit
from darklung.core.types import PROJECTION_MAPS, Projections, Scan
from darklung.correct.flux import normalise_flux, normalise_monitor
from darklung.io.description import RawScan, read_raw, resolve_path
from darklung.io.hdf5 import save, save_projections
from darklung.io.tables import save_table
from darklung.pipeline import Context, Task, run_tasks
from darklung.pipeline.record import read_json
from darklung.retrieve.covariance import view_covariances
from darklung.retrieve.reference import group_flats

STAGE = "retrieve"
# Maps held at once of scans that do not fit into memory, and how many of their views are shown and summed up.
BLOCK_BYTES, SHOWN = 2**27, 16
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
    tasks = [_task(raw, columns, description) for raw, columns in scans]
    names = [t.name for t in tasks]
    require(len(set(names)) == len(names), f"{description}: two scans have the same name, wanted each once")
    about = {"description": str(description), "scans": len(scans)}
    run_tasks(tasks, folder=out, targets=names, workers=workers, about=about)
    rows = []
    for task, (raw, columns) in zip(tasks, scans):
        rows.append({"name": raw.name, **_numbers(columns), **read_json(out / task.name / "summary.json")})
    own = dict.fromkeys(scans[0][1], "column of the series table")
    save_table(out / "scans", rows, {**own, **MEANINGS})
    return _told(rows, out)


def _task(raw: RawScan, columns: dict[str, str], description: Path) -> Task:
    item = re.sub(r"[^A-Za-z0-9._-]+", "_", raw.name).strip(".") or "scan"
    parameters = {
        "description": str(description.resolve()),
        "name": raw.name,
        "scan": raw.model_dump(mode="json"),
        "columns": columns,
        "files": [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in raw_files(raw, description)],
    }
    return Task(
        STAGE,
        item,
        "darklung.steps.retrieve:retrieve_one",
        parameters,
        code=("retrieve", "correct", "io", "steps.retrieve", "steps.quality", "report"),
    )


def raw_files(raw: RawScan, description: Path) -> Iterator[Path]:
    """The files that a scan is read from; missing ones are told when they are opened, with the field that names them."""
    for field in ("sample", "flat", "dark_frame", "bad_pixels"):
        source: Any = getattr(raw, field)
        if source is None:
            continue
        listed = getattr(source, "file", None) or source.files
        for text in [listed] if isinstance(listed, str) else listed:
            path = resolve_path(text, description)
            found = sorted(path.parent.glob(path.name)) if any(c in path.name for c in "*?[") else [path]
            yield from (p for p in found if p.exists())


def retrieve_one(context: Context) -> None:
    """One scan; those that stay on disk are written as they are retrieved, and some of their views are shown."""
    from darklung.io.frames import LazyFrames, load_scan
    from darklung.retrieve.overview import overview_png, summarise
    from darklung.retrieve.pixels import find_bad_pixels
    from darklung.retrieve.stepping import retrieve, retrieve_blocks
    from darklung.steps.quality import quality_page

    description = Path(context.parameters["description"])
    raw = next((r for r, _ in read_raw(description) if r.name == context.parameters["name"]), None)
    if raw is None:
        raise DarklungError(f"{description}: no scan {context.parameters['name']!r} any more")
    scan = load_scan(raw, description)
    if raw.retrieval.find_bad_pixels:
        scan = replace(scan, bad_pixels=find_bad_pixels(scan))
    context.progress(0.2, "frames are open")
    options = raw.retrieval.options()
    dose = _doses(raw, scan)
    if isinstance(scan.frames, LazyFrames):
        pixels = len(scan.directions_rad) * scan.geometry.rows * scan.geometry.cols
        block = max(1, BLOCK_BYTES // (len(PROJECTION_MAPS) * 4 * pixels))
        blocks = _told_on(context, retrieve_blocks(scan, views=block, **options), scan.geometry.views)
        done = ((part, _normalised(maps, raw, dose, part)) for part, maps in blocks)
        shown = np.unique(np.linspace(0, scan.geometry.views - 1, SHOWN).astype(int)).tolist()
        projections = save_projections(context.out / "projections.h5", done, geometry=scan.geometry, keep=shown)
    else:
        projections = _normalised(retrieve(scan, **options), raw, dose, slice(None))
        save(context.out / "projections.h5", projections)
    if raw.retrieval.covariance:
        _save_covariances(context.out / "covariance.h5", scan, options["fit"])
    context.progress(0.8, "retrieved")
    overview_png(projections, context.out / "overview.png", title=raw.name)
    quality_page(projections, context.out / "quality.html", title=raw.name, scan=scan, options=options)
    numbers = {**summarise(projections), "views": scan.geometry.views}
    (context.out / "summary.json").write_text(json.dumps(numbers, indent=1))


def _doses(raw: RawScan, scan: Scan) -> NDArray[np.float64] | None:
    """Monitor's readings during each view over those during its flats, (direction, view); None without a monitor."""
    if raw.retrieval.normalise != "monitor":
        return None
    views, flats = np.asarray(raw.view_doses), np.asarray(raw.flat_doses)
    for name, values, count in (("view_doses", views, scan.geometry.views), ("flat_doses", flats, scan.flats.shape[1])):
        require(len(values) == count, f"{raw.name}: {name}: wanted {count} values, got {len(values)}")
    reference = np.full(scan.view_time_s.shape, flats.mean())
    if raw.retrieval.reference == "interpolate":
        for direction, times in enumerate(scan.flat_time_s):
            groups = group_flats(times, scan.view_time_s[direction])
            middle = [times[group].mean() for group in groups]
            reference[direction] = np.interp(scan.view_time_s[direction], middle, [flats[group].mean() for group in groups])
    return np.asarray(views / reference)


def _normalised(projections: Projections, raw: RawScan, dose: NDArray[np.float64] | None, part: slice) -> Projections:
    if dose is not None:
        return normalise_monitor(projections, view_dose=dose[:, part], flat_dose=np.ones_like(dose[:, part]))
    if raw.retrieval.normalise == "none":
        return projections
    air = [col for first, last in raw.retrieval.air_cols for col in range(first, last + 1)]
    return normalise_flux(projections, air_cols=air or None, each_row=raw.retrieval.normalise == "air_rows")


def _save_covariances(path: Path, scan: Scan, fit: Fit) -> None:
    """(direction, view, row, col) float32 datasets of the three covariances."""
    names = ("attenuation_dark_field", "attenuation_phase", "dark_field_phase")
    directions, views, _, rows, cols = scan.frames.shape
    with h5py.File(path, "w") as file:
        for name in names:
            file.create_dataset(name, (directions, views, rows, cols), np.float32, chunks=(1, 1, rows, cols))
        for direction in range(directions):
            found = view_covariances(scan, direction=direction, views=range(views), fit=fit)
            for view, covariance in enumerate(found):
                for name in names:
                    file[name][direction, view] = getattr(covariance, name)


def _told_on(context: Context, blocks: Any, views: int) -> Iterator[Any]:
    for part, block in blocks:
        yield part, block
        context.progress(0.2 + 0.6 * part.stop / views, f"view {part.stop} of {views}")


def _numbers(columns: dict[str, str]) -> dict[str, Any]:
    """Columns of the series table, as numbers where they are."""

    def number(text: str) -> Any:
        try:
            return float(text)
        except ValueError:
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
    return "\n".join(
        [head, *lines, foot, f"maps, overview.png, quality.html and records: {out / STAGE}; table: {out / 'scans.csv'}"]
    )
