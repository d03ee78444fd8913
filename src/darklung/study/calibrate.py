"""``darklung calibrate``: spheres of known diameters to a saved response curve of the instrument."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.checks import DarklungError, require
from darklung.core.units import parse_quantity
from darklung.io.tables import load_table
from darklung.pipeline.record import environment
from darklung.pipeline.task import content_hash
from darklung.study.raw import retrieve_described


def calibrate_described(description: Path, out: Path, *, diameter: str, thickness: str, workers: int | None = None) -> str:
    """Retrieve a series of sphere powders, fit the sphere model to their median −ln D, and return a table to print.

    Parameters
    ----------
    description : Path
        A series of raw scans, one powder each.
    out : Path
        Gets what ``darklung retrieve`` writes, and ``calibration.json``, ``calibration.png``.
    diameter, thickness : str
        Quantity with its unit, where ``{column}`` stands for a column of the series table: ``"{diameter_um} um"``.

    Raises
    ------
    DarklungError
        Columns that are not there, thicknesses that differ, too few diameters, or what `retrieve_described` raises.
    """
    from darklung.correct.calibration import calibration_png, fit_spheres, leave_one_out

    retrieve_described(description, out, workers=workers)
    rows = load_table(out / "scans")
    diameters = np.array([_quantity(diameter, row) for row in rows])
    thicknesses = {_quantity(thickness, row) for row in rows}
    require(len(thicknesses) == 1, f"thickness: wanted one for all scans, got {sorted(thicknesses)} m")
    (depth,) = thicknesses
    signal = np.array([row["dark_field"] for row in rows])
    fit = fit_spheres(diameter_m=diameters, signal=signal, thickness_m=depth)
    predicted, inside = leave_one_out(diameter_m=diameters, signal=signal, thickness_m=depth)
    calibration_png(fit, out / "calibration.png", title=description.stem)
    (out / "calibration.json").write_text(json.dumps(_document(fit, description, out), indent=1))
    return _told(fit, rows, diameters, signal, predicted, inside, out)


def _quantity(template: str, row: Mapping[str, Any]) -> float:
    """A length from a template such as ``"{diameter_um} um"``."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in row:
            raise DarklungError(f"{template!r}: no column {found[1]!r} in the series table; known: {', '.join(row)}")
        return str(row[found[1]])

    return parse_quantity(re.sub(r"\{(\w+)\}", value, template), "length")


def _document(fit: Any, description: Path, out: Path) -> dict[str, Any]:
    """What is saved: the curve, its errors, where it holds, and where it came from."""
    low, high = fit.range_m
    return {
        "model": "spheres, -ln D = thickness * scale * xi * g(D / xi) + offset",
        "scale_per_m2": fit.scale_per_m2,
        "correlation_length_m": fit.correlation_length_m,
        "offset": fit.offset,
        "covariance": fit.covariance.tolist(),
        "residual": fit.residual,
        "thickness_m": fit.thickness_m,
        "valid_diameter_m": [low, high],
        "diameter_m": fit.diameter_m.tolist(),
        "dark_field": fit.signal.tolist(),
        "description": str(description),
        "scans": content_hash(out / "scans.csv"),
        "environment": environment(),
    }


def _told(
    fit: Any,
    rows: list[dict[str, Any]],
    diameters: np.ndarray,
    signal: np.ndarray,
    predicted: np.ndarray,
    inside: np.ndarray,
    out: Path,
) -> str:
    errors = np.sqrt(np.diag(fit.covariance))
    lines = [f"{'scan':<22}{'diameter um':>12}{'-ln D':>9}{'left out':>10}{'error':>9}"]
    for row, d, s, p, between in zip(rows, diameters, signal, predicted, inside):
        note = "" if between else "   (outside the others' range)"
        lines.append(f"{row['name']:<22}{1e6 * d:12.3f}{s:9.4f}{p:10.4f}{p - s:9.4f}{note}")
    lines += [
        "left out: predicted by the fit to all other scans",
        f"scale {fit.scale_per_m2:.4g} +- {errors[0]:.2g} /m2, effective xi {1e6 * fit.correlation_length_m:.3f} +- "
        f"{1e6 * errors[1]:.3f} um, offset {fit.offset:.4f} +- {errors[2]:.4f}, residual {fit.residual:.4f}",
        f"largest signal at {1e6 * fit.peak_m:.2f} um: below and above it two diameters give the same signal",
        f"saved: {out / 'calibration.json'}, {out / 'calibration.png'}",
    ]
    return "\n".join(lines)
