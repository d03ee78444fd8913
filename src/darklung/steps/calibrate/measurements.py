"""Measurements of calibration phantoms: from a raw series, or from a table of what other software retrieved."""

from __future__ import annotations

from pathlib import Path

from darklung.calibrate.measurements import Measurements, medians
from darklung.core.types import Projections
from darklung.io.description import read_raw
from darklung.io.hdf5 import load
from darklung.io.names import PROJECTIONS, item_name
from darklung.io.tables import load_table, read_rows
from darklung.steps.retrieve import STAGE, raw_files


def read_table(source: Path) -> Measurements:
    """What other software retrieved: a CSV table, one row a scan.

    Needed are the columns ``attenuation`` (−ln T) and ``dark_field`` (−ln(V/V0)), or ``dark_field_<degrees>`` of several
    directions; optional are ``name`` and the standard errors ``attenuation_error`` and ``dark_field_error``.

    Raises
    ------
    DarklungError
        A file that cannot be read, or no rows.
    """
    rows = [{"name": f"row {number}", **row} for number, row in enumerate(read_rows(source), start=2)]
    return Measurements(source.stem, tuple(rows), (source,))


def read_series(source: Path, out: Path) -> Measurements:
    """Medians of every scan of a raw series (YAML) that was retrieved into `out`."""
    rows = load_table(out / "scans")
    files = [out / STAGE / item_name(row["name"]) / PROJECTIONS for row in rows]
    measured = [{**row, **medians(load(file, Projections), file)} for row, file in zip(rows, files)]
    frames = [path for raw, _ in read_raw(source) for path in raw_files(raw, source)]
    return Measurements(source.stem, tuple(measured), (source, *dict.fromkeys(frames), out / "scans.csv"))
