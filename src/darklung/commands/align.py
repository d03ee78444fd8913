"""``darklung align``: projections as an aligned detector would have seen them, with what was found told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from darklung.core.checks import DarklungError, require
from darklung.core.geometry import ParallelGeometry
from darklung.core.types import Projections
from darklung.core.units import parse_quantity
from darklung.correct.geometry import Alignment, align, estimate_shifts, estimate_tilt
from darklung.correct.invalid import fill_invalid
from darklung.io.hdf5 import load, save


def align_file(
    source: Path,
    out: Path,
    *,
    tilt: str = "estimate",
    axis: str = "estimate",
    shifts: bool = False,
    magnification: float = 1.0,
) -> str:
    """Find axis, tilt and (if wanted) each view's shift, resample once, write, and return lines to print.

    Parameters
    ----------
    source : Path
        Projections of ``darklung retrieve`` (HDF5); they are read whole.
    out : Path
        The new file; ``OUT.json`` beside it holds the numbers.
    tilt : str
        "estimate", or an angle such as "0.3 deg".
    axis : str
        "estimate", or a column.
    shifts : bool
        Also find by how much the sample moved in each view.
    magnification : float
        Relative to the pixel that the file states; not estimated here (see `correct.geometry.estimate_magnification`).
    """
    require(out.suffix in (".h5", ".hdf5"), f"{out}: wanted a file ending in .h5")
    projections = load(source, Projections)
    filled, report = fill_invalid(projections)
    geometry = projections.geometry
    require(isinstance(geometry, ParallelGeometry), f"{source}: a cone beam's opposite views do not mirror each other")
    found = Alignment(float(geometry.axis_col or 0.0), 0.0, np.zeros((geometry.views, 2)), magnification)
    estimate = "estimate" in (tilt, axis)
    if estimate:
        found = estimate_tilt(filled)
    angle = found.tilt_rad if tilt == "estimate" else parse_quantity(tilt, "angle")
    column = found.axis_col if axis == "estimate" else _column(axis)
    moved = np.zeros((geometry.views, 2))
    if shifts:
        moved = estimate_shifts(align(filled, Alignment(column, angle, moved)))
    result = align(filled, Alignment(column, angle, moved, magnification))
    out.parent.mkdir(parents=True, exist_ok=True)
    save(out, result)
    numbers = {
        "axis_col": column,
        "axis_error": found.axis_error if axis == "estimate" else None,
        "tilt_rad": angle,
        "tilt_error_rad": found.tilt_error_rad if tilt == "estimate" else None,
        "magnification": magnification,
        "shifts_px": moved.tolist() if shifts else None,
        "invalid_share": report["invalid_share"],
    }
    known = {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in numbers.items()}
    out.with_name(f"{out.name}.json").write_text(json.dumps(known, indent=1))
    lines = [
        f"axis: column {column:.2f}{_error(found.axis_error, axis)}; the file said {geometry.axis_col:.2f}",
        f"tilt: {np.degrees(angle):.3f}{_error(float(np.degrees(found.tilt_error_rad)), tilt)} degrees",
    ]
    if shifts:
        rows, cols = moved.std(axis=0)
        lines.append(f"shifts: standard deviation {rows:.2f} rows, {cols:.2f} columns")
    return "\n".join([*lines, f"aligned projections: {out}"])


def _column(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DarklungError(f"--axis: wanted estimate or a column, got {text!r}") from None


def _error(error: float, given: str) -> str:
    return "" if given != "estimate" or np.isnan(error) else f" ± {error:.3f}"
