"""Frames to attenuation, dark field and phase: of a simulated animal, or of a raw scan that a description names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from darklung.core.checks import DarklungError, require
from darklung.core.files import write_text
from darklung.core.fitting import Fit
from darklung.core.types import PROJECTION_MAPS, Image, Projections, Scan
from darklung.correct.flux import normalise_flux, normalise_monitor, outer_columns
from darklung.io.description import RawScan, read_raw
from darklung.io.documents import Document
from darklung.io.hdf5 import load, save, save_checks, save_projections, written_hdf5
from darklung.io.images import save_image
from darklung.io.names import PREVIEW, PROJECTIONS, SCAN, SUMMARY, item_name
from darklung.io.retrieval import Retrieval
from darklung.io.sources import source_files
from darklung.pipeline import Context, Task
from darklung.retrieve.covariance import view_covariances
from darklung.retrieve.methods import find_retrieval, retriever_of
from darklung.retrieve.reference import group_flats
from darklung.retrieve.stepping import Block, Retriever

STAGE = "retrieve"
# Maps held at once of scans that do not fit into memory, and how many of their views are shown and summed up.
BLOCK_BYTES, SHOWN = 2**27, 16
PAGES = ("overview.png", "quality.html")
# What a scan's page found, told in the table of scans too.
JUDGED = (
    "misfit", "odd_views", "lost_views", "saturated_share", "above_one_share", "second_harmonic", "dark_scale",
    "streak_index", "row_streak_index", "air_streak_index", "noise_ratio", "air_noise_ratio", "findings",
)  # fmt: skip


class Parameters(Document):
    """How curves are fitted; for a raw scan also where it is described, with what decides its frames."""

    retrieval: Retrieval
    description: str = ""
    name: str = ""
    scan: dict[str, Any] = Field({})
    columns: dict[str, str] = Field({})


def tasks_of_scans(retrieval: Retrieval, *, transient: bool) -> Callable[[str], Task]:
    """What makes retrieval of one simulated scan a task."""
    _check_readings(retrieval, None)
    parameters = Parameters(retrieval=retrieval).model_dump(mode="json")
    function, plugins = "darklung.steps.retrieve:retrieve", retrieval.plugins()

    def task(name: str) -> Task:
        inputs = {"scan": (f"scan/{name}",)}
        return Task(STAGE, name, function, parameters, inputs, plugins=plugins, transient=transient)

    return task


def task_of_raw(raw: RawScan, columns: dict[str, str], description: Path, retrieval: Retrieval) -> Task:
    """Retrieval of a described scan."""
    try:
        find_retrieval(retrieval)
        _check_readings(retrieval, raw)
    except DarklungError as error:
        raise DarklungError(f"{description}: {raw.name}: {error}") from error
    parameters = Parameters(
        retrieval=retrieval,
        description=str(description.resolve()),
        name=raw.name,
        scan=raw.model_dump(mode="json", exclude={"retrieval"}),
        columns=columns,
    )
    function, plain = "darklung.steps.retrieve:retrieve", parameters.model_dump(mode="json")
    frames = tuple(raw_files(raw, description))
    return Task(STAGE, item_name(raw.name), function, plain, data=frames, plugins=retrieval.plugins())


def _check_readings(retrieval: Retrieval, raw: RawScan | None) -> None:
    """Refuse a monitor that nobody read, and flats in a time that nobody told, before frames are read."""
    if raw is not None and (lacking := raw.lacking(retrieval)):
        raise DarklungError(f"{lacking} of a raw description")
    told = "retrieval.normalise: monitor needs view_doses and flat_doses of a raw description"
    require(raw is not None or retrieval.normalise != "monitor", told)


def raw_files(raw: RawScan, description: Path) -> Iterator[Path]:
    """The files that a scan is read from; missing ones are told by `check_files`, or when they are opened."""
    for _, _, found in _listed(raw, description):
        yield from found


def check_files(raw: RawScan, description: Path) -> None:
    """Refuse a description that names a file which is not there, or a pattern that none fits."""
    for field, text, found in _listed(raw, description):
        require(bool(found), f"{description}: {raw.name}: {field}: {text}: no such file")


def _listed(raw: RawScan, description: Path) -> Iterator[tuple[str, str, list[Path]]]:
    """Field, file or pattern in it, and the files that there are."""
    for field in ("sample", "flat", "dark_frame", "bad_pixels"):
        if getattr(raw, field) is not None:
            yield from ((field, *listed) for listed in source_files(getattr(raw, field), description))


def retrieve(context: Context) -> None:
    """``projections.h5``, one view as ``preview.ome.zarr``, ``summary.json``; of raw scans also an overview and a page."""
    p = Parameters.model_validate(context.parameters)
    raw, scan = _opened(context, p)
    scan = _marked(scan, p.retrieval)
    context.progress(0.2, "frames are open")
    projections, checks = _retrieved(context, scan, p.retrieval, _doses(raw, scan, p.retrieval))
    options = {**p.retrieval.arguments(), "air_cols": _air(p.retrieval, scan)}
    if p.retrieval.covariance:
        _save_covariances(context.out / "covariance.h5", scan, options["fit"])
    context.progress(0.8, "retrieved")
    _save_preview(context.out / PREVIEW, scan, projections)
    _tell(context.out, projections, scan, options, checks, raw.name if raw else "")


def _opened(context: Context, p: Parameters) -> tuple[RawScan | None, Scan]:
    """The description, if there is one, and the frames; those of a description stay on disk where they can."""
    if "scan" in context.inputs:
        return None, load(context.input("scan") / SCAN, Scan)
    from darklung.io.frames import load_scan

    description = Path(p.description)
    raw = next((r for r, _ in read_raw(description) if r.name == p.name), None)
    if raw is None:
        raise DarklungError(f"{description}: no scan {p.name!r} any more")
    return raw, load_scan(raw, description)


def retrieved(scan: Scan, part: Retrieval, raw: RawScan | None = None) -> Projections:
    """The projections of a scan in memory, as `retrieve` writes them; `raw` is its description, if it has one."""
    scan, views = _marked(scan, part), slice(0, scan.geometry.views)
    return _normalised(retriever_of(scan, part, air_cols=_air(part, scan))(views), part, _doses(raw, scan, part), views)


def _marked(scan: Scan, part: Retrieval) -> Scan:
    """The scan with its bad pixels found, where that is asked for."""
    if not part.find_bad_pixels:
        return scan
    from darklung.retrieve.pixels import find_bad_pixels

    return replace(scan, bad_pixels=find_bad_pixels(scan, gain=part.gain))


def _air(part: Retrieval, scan: Scan) -> list[int] | None:
    """Columns without object: as said, or beside the animal, where the dose is taken from air anyway."""
    # They settle what the frames alone cannot tell about the dose of a step.
    beside = part.normalise == "air" and part.steps != "nominal"
    return list(part.air()) or (outer_columns(scan.geometry.cols).tolist() if beside else None)


def _retrieved(
    context: Context, scan: Scan, part: Retrieval, dose: NDArray[np.float64] | None
) -> tuple[Projections, dict[str, Any]]:
    """Write ``projections.h5``; scans that stay on disk are written as they are retrieved, and some views come back.

    With it comes what was seen in the frames; a method of one's own sees nothing.
    """
    from darklung.io.frames import LazyFrames

    place, run = context.out / PROJECTIONS, retriever_of(scan, part, air_cols=_air(part, scan))
    if not isinstance(scan.frames, LazyFrames):
        every = slice(0, scan.geometry.views)
        projections = _normalised(run(every), part, dose, every)
        save(place, projections)
        return projections, _seen(run, part)
    pixels = len(scan.directions_rad) * scan.geometry.rows * scan.geometry.cols
    block = max(1, BLOCK_BYTES // (len(PROJECTION_MAPS) * 4 * pixels))
    done = _told_on(context, scan.geometry.views, block, lambda views: _normalised(run(views), part, dose, views))
    kept = save_projections(place, done, geometry=scan.geometry, keep=_spread(scan.geometry.views))
    return kept, _seen(run, part)


def _spread(views: int) -> list[int]:
    """At most `SHOWN` views, spread evenly."""
    return [int(view) for view in np.unique(np.linspace(0, views - 1, SHOWN).astype(int))]


def _seen(run: Block, part: Retrieval) -> dict[str, Any]:
    return {**run.checks, "normalise": part.normalise} if isinstance(run, Retriever) else {}


def _told_on(context: Context, count: int, size: int, run: Block) -> Iterator[tuple[slice, Projections]]:
    """Blocks of `size` views of `count`, in order."""
    for start in range(0, count, size):
        views = slice(start, min(start + size, count))
        yield views, run(views)
        context.progress(0.2 + 0.6 * views.stop / count, f"view {views.stop} of {count}")


def _doses(raw: RawScan | None, scan: Scan, part: Retrieval) -> NDArray[np.float64] | None:
    """Monitor's readings during each view over those during its flats, (direction, view); None without a monitor."""
    _check_readings(part, raw)
    if part.normalise != "monitor" or raw is None:
        return None
    told = {"views": raw.view_doses or (), "flats": raw.flat_doses or ()}
    views, flats = (np.asarray(v)[raw.leave_out.kept(which, len(v))] for which, v in told.items())  # type: ignore[arg-type]
    for name, values, count in (("view_doses", views, scan.geometry.views), ("flat_doses", flats, scan.flats.shape[1])):
        require(len(values) == count, f"{raw.name}: {name}: wanted {count} values, got {len(values)}")
    reference = np.full(scan.view_time_s.shape, flats.mean())
    if part.reference == "interpolate":
        for direction, times in enumerate(scan.flat_time_s):
            groups = group_flats(times, scan.view_time_s[direction])
            middle = [times[group].mean() for group in groups]
            reference[direction] = np.interp(scan.view_time_s[direction], middle, [flats[group].mean() for group in groups])
    return np.asarray(views / reference)


def _normalised(projections: Projections, part: Retrieval, dose: NDArray[np.float64] | None, views: slice) -> Projections:
    if dose is not None:
        return normalise_monitor(projections, view_dose=dose[:, views], flat_dose=np.ones_like(dose[:, views]))
    if part.normalise == "none":
        return projections
    around = part.normalise == "air_around"
    return normalise_flux(
        projections,
        air_cols=part.air() or None,
        air_lines=part.lines() if around else None,
        each_row=around or part.normalise == "air_rows",
    )


def _save_covariances(path: Path, scan: Scan, fit: Fit) -> None:
    """(direction, view, row, col) float32 datasets of the three covariances."""
    names = ("attenuation_dark_field", "attenuation_phase", "dark_field_phase")
    directions, views, _, rows, cols = scan.frames.shape
    with written_hdf5(path) as file:
        for name in names:
            file.create_dataset(name, (directions, views, rows, cols), np.float32, chunks=(1, 1, rows, cols))
        for direction in range(directions):
            found = view_covariances(scan, direction=direction, views=range(views), fit=fit)
            for view, covariance in enumerate(found):
                for name in names:
                    file[name][direction, view] = getattr(covariance, name)


def _save_preview(path: Path, scan: Scan, projections: Projections) -> None:
    """One view, kept for the report after the frames are gone."""
    shown = projections.geometry.views // 4
    maps = {name: getattr(projections, name)[0, shown] for name in ("attenuation", "dark_field", "phase", "visibility")}
    # Of a scan on disk only some views came back.
    whole = projections.geometry.views == scan.geometry.views
    view = shown if whole else _spread(scan.geometry.views)[shown]
    maps["raw frame"] = np.asarray(scan.frames[0, view, 0])
    pixel = scan.geometry.pixel_m
    units = {"phase": "rad", "raw frame": "counts"}
    data = np.stack([m.astype(np.float32) for m in maps.values()])
    save_image(path, Image(data, tuple(maps), tuple(units.get(n, "1") for n in maps), (pixel, pixel), frame="detector"))


def _tell(
    out: Path, projections: Projections, scan: Scan, options: dict[str, Any], checks: dict[str, Any], title: str
) -> None:
    """Numbers of every scan; pictures of measured ones (`title`), whose maps somebody has to trust or not."""
    from darklung.retrieve.overview import overview_png, summarise
    from darklung.retrieve.quality import flats_numbers, seen_in
    from darklung.steps.quality import quality_page

    numbers = {**summarise(projections), "views": scan.geometry.views}
    if title:
        if not checks:  # a method of one's own saw nothing
            checks = seen_in(scan, options, _spread(scan.geometry.views))
        checks = {**checks, **flats_numbers(scan, options)}
        overview_png(projections, out / PAGES[0], title=title)
        found = quality_page(projections, out / PAGES[1], title=title, scan=scan, options=options, checks=checks)
        numbers |= {key: value for key, value in found.items() if key in JUDGED}
    save_checks(out / PROJECTIONS, checks)
    write_text(out / SUMMARY, json.dumps(numbers, indent=1))
