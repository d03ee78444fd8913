"""Insertion into raw stepping frames: counts change step by step, and stay counts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from darklung.core.channel import dark_field_at
from darklung.core.checks import DarklungError
from darklung.core.files import write_text
from darklung.core.types import Scan
from darklung.insert.beam import ViewShadow, shadows_of
from darklung.insert.frames import changed_views
from darklung.insert.maps import one_view_shadow, valid_view
from darklung.insert.scale import Scale
from darklung.insert.volume import volume_changes
from darklung.io.archive import described_frames
from darklung.io.description import RawScan, read_raw
from darklung.io.frames import load_scan
from darklung.io.hdf5 import opened_hdf5, scan_of, written_hdf5
from darklung.io.retrieval import Retrieval
from darklung.pipeline import Context
from darklung.steps.insertion.maps import finish_radiograph
from darklung.steps.insertion.parameters import Parameters
from darklung.steps.insertion.projections import case_of_projections
from darklung.steps.insertion.scale import read_scale
from darklung.steps.insertion.volumes import finish_volume, plan_volume


@dataclass(frozen=True)
class RawInput:
    """Raw frames that are read view by view, and the detector's gain."""

    scan: Scan
    gain: float
    raw: RawScan | None
    path: Path


def insert_frames(context: Context) -> None:
    """Raw frames with insertions.

    Of a described scan ``frames.h5`` and ``scan.yaml``, a description that ``darklung retrieve`` takes; of a darklung scan
    ``scan.h5``. The lesion is at one place in space and in all views, steps and directions.
    """
    p = Parameters.of(context)
    with opened(Path(p.paths.source), p.scan or None) as given:
        scale, scan = read_scale(p.scale), given.scan
        if p.paths.volume:
            names = [dark_field_at(a).name for a in scan.directions_rad]
            height = scan.geometry.rows * scan.parallel().pixel_m
            plan = plan_volume(p, Path(p.paths.volume), directions=names, height_m=height)
            changes = volume_changes(plan.placed, plan.grid, plan.region, host=plan.host)
            shadow = shadows_of(plan, scan.parallel(), blur_m=p.blur_m)
            write_frames(context, given, shadow, scale)
            finish_volume(context, plan, changes, {"route": "frames of a CT"})
            return
        _insert_radiograph(context, given, scale)


def _insert_radiograph(context: Context, given: RawInput, scale: Scale) -> None:
    from darklung.retrieve.methods import retriever_of

    p = Parameters.of(context)
    part, views = given.raw.retrieval if given.raw is not None else Retrieval(), slice(0, given.scan.geometry.views)
    before = retriever_of(given.scan, part)(views)
    case, image, notes = case_of_projections(p, before)
    shadow = one_view_shadow(case, image, image.names[1:], scale)
    frames = write_frames(context, given, shadow, replace(scale, instrument=None))
    after = retriever_of(replace(given.scan, frames=frames), part)(views)
    finish_radiograph(context, case, valid_view(after), before=image, notes={**notes, "route": "frames of one view"})


@contextmanager
def opened(source: Path, name: str | None) -> Iterator[RawInput]:
    """Raw frames of a description (the scan `name`) or of a darklung scan, open while they are worked on."""
    if name is None:
        with opened_hdf5(source) as file:
            scan = scan_of(file)
            scan.parallel()  # in a cone beam a view is not what `shadows_of` draws
            yield RawInput(scan, 1.0, None, source)
        return
    raw = next((r for r, _ in read_raw(source) if r.name == name), None)
    if raw is None:
        raise DarklungError(f"{source}: no scan {name!r} any more")
    scan = load_scan(raw, source)
    repeats = getattr(scan.frames, "repeats", 1) if raw.repeat == "mean" else 1
    yield RawInput(scan, raw.retrieval.gain / repeats, raw, source)


def write_frames(context: Context, given: RawInput, shadow_in: ViewShadow, scale: Scale) -> Any:
    """Write the changed frames view by view; returns them where they are those of one view, else None."""
    scan = given.scan
    name = "scan.h5" if given.raw is None else "frames.h5"
    target = context.scratch / name
    if given.raw is None:
        shutil.copyfile(given.path, target)
    else:
        with written_hdf5(target) as file:
            for field in ("flats", "dark_frame", "bad_pixels"):
                value = getattr(scan, field)
                if value is not None:
                    file.create_dataset(field, data=np.asarray(value))
            file.create_dataset("frames", shape=scan.frames.shape, dtype=scan.frames.dtype)
    with written_hdf5(target, "r+") as file:
        stored = file["frames"]
        seed, whole = Parameters.of(context).seed, given.raw is not None
        for d, view, curves in changed_views(scan, shadow_in, scale, seed, gain=given.gain, whole=whole):
            stored[d, view] = curves
            if d == 0:
                context.progress((view + 1) / scan.geometry.views, "views")
        kept = np.asarray(stored) if scan.geometry.views == 1 else None
    shutil.move(target, context.out / name)
    if given.raw is not None:
        text = yaml.safe_dump(described_frames(given.raw, scan, name), sort_keys=False, allow_unicode=True)
        write_text(context.out / "scan.yaml", text)
    return kept
