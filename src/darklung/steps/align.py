"""Projections as an aligned detector would have seen them, with what was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.checks import require
from darklung.core.files import write_text
from darklung.core.geometry import ParallelGeometry
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.correct.geometry import Alignment, align, estimate_shifts, estimate_tilt
from darklung.correct.invalid import fill_invalid
from darklung.io.hdf5 import save_projections
from darklung.io.names import PROJECTIONS
from darklung.io.projections import open_projections
from darklung.pipeline import Context, Task
from darklung.steps.projections import ReadsProjections, wired
from darklung.study.processing import AlignmentPart

STAGE = "align"
FOUND = "alignment.json"


class Parameters(ReadsProjections):
    """What is found and what is given."""

    alignment: AlignmentPart


def task(name: str, alignment: AlignmentPart, projections: str | Path) -> Task:
    """Alignment of another task's projections, or of those in a file."""
    fields, reads = wired(projections)
    parameters = Parameters(alignment=alignment, **fields).model_dump(mode="json")
    return Task(STAGE, name, "darklung.steps.align:align_projections", parameters, **reads)


def align_projections(context: Context) -> None:
    """``projections.h5`` resampled once, and ``alignment.json``."""
    p = Parameters.model_validate(context.parameters)
    numbers = align_stored(p.path(context), context.out / PROJECTIONS, p.alignment)
    write_text(context.out / FOUND, json.dumps(numbers, indent=1))


def align_stored(source: Path, target: Path, part: AlignmentPart) -> dict[str, Any]:
    """Align a file of projections, of darklung or not, read whole; `target` holds the same maps. Returns the numbers."""
    stored = open_projections(source)
    result, numbers = aligned(stored.read(slice(0, stored.geometry.rows), PROJECTION_MAPS), part, source=source)
    views = slice(0, result.geometry.views)
    save_projections(target, [(views, result)], geometry=result.geometry, maps=stored.written)
    return numbers


def aligned(
    projections: Projections, part: AlignmentPart, *, source: Path | str = "projections"
) -> tuple[Projections, dict[str, Any]]:
    """Find axis, tilt and (if wanted) each view's shift, resample once; also the numbers, with their errors."""
    filled, report = fill_invalid(projections)
    geometry = projections.geometry
    require(isinstance(geometry, ParallelGeometry), f"{source}: a cone beam's opposite views do not mirror each other")
    found = Alignment(float(geometry.axis_col or 0.0), 0.0, np.zeros((geometry.views, 2)), part.magnification)
    if "estimate" in (part.tilt, part.axis):
        found = estimate_tilt(filled)
    given_tilt, given_axis = part.tilt_rad(), part.axis_col()
    angle = found.tilt_rad if given_tilt is None else given_tilt
    column = found.axis_col if given_axis is None else given_axis
    moved = np.zeros((geometry.views, 2))
    if part.shifts:
        moved = estimate_shifts(align(filled, Alignment(column, angle, moved)))
    numbers = {
        "axis_col": column,
        "axis_error": found.axis_error if given_axis is None else None,
        "axis_of_file": geometry.axis_col,
        "tilt_rad": angle,
        "tilt_error_rad": found.tilt_error_rad if given_tilt is None else None,
        "magnification": part.magnification,
        "shifts_px": moved.tolist() if part.shifts else None,
        "invalid_share": report["invalid_share"],
    }
    known = {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in numbers.items()}
    return align(filled, Alignment(column, angle, moved, part.magnification)), known
