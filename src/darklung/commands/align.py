"""``darklung align``: projections as an aligned detector would have seen them, with what was found told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.checks import require
from darklung.core.files import make_folder, write_text
from darklung.io.documents import validate
from darklung.steps.align import align_stored
from darklung.study.processing import AlignmentPart


def align_file(source: Path, out: Path, **options: Any) -> str:
    """Align one file of projections and return lines to print.

    Parameters
    ----------
    source : Path
        Projections (HDF5, `darklung.io.projections`); they are read whole.
    out : Path
        The new file; ``OUT.json`` beside it holds the numbers.
    options
        Of `AlignmentPart`.
    """
    require(out.suffix in (".h5", ".hdf5"), f"{out}: wanted a file ending in .h5")
    part: AlignmentPart = validate(options, AlignmentPart, "align")
    make_folder(out.parent)
    numbers = align_stored(source, out, part)
    told = {k: v for k, v in numbers.items() if k != "axis_of_file"}
    write_text(out.with_name(f"{out.name}.json"), json.dumps(told, indent=1))
    axis, tilt, tilt_error = (numbers[name] for name in ("axis_col", "tilt_rad", "tilt_error_rad"))
    lines = [
        f"axis: column {axis:.2f}{_error(numbers['axis_error'])}; the file said {numbers['axis_of_file']:.2f}",
        f"tilt: {np.degrees(tilt):.3f}{_error(None if tilt_error is None else np.degrees(tilt_error))} degrees",
    ]
    if part.shifts:
        rows, cols = np.std(numbers["shifts_px"], axis=0)
        lines.append(f"shifts: standard deviation {rows:.2f} rows, {cols:.2f} columns")
    return "\n".join([*lines, f"aligned projections: {out}"])


def _error(error: float | None) -> str:
    return "" if error is None else f" ± {error:.3f}"
