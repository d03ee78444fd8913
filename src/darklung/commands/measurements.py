"""Signals of calibration phantoms as a user gives them: a raw series, which is retrieved first, or a table."""

from __future__ import annotations

from pathlib import Path

from darklung.calibrate.measurements import Measurements
from darklung.commands.retrieve import retrieve_described
from darklung.steps.calibrate.measurements import read_series, read_table


def read_measurements(source: Path, out: Path, *, workers: int | None = None) -> Measurements:
    """Medians of every scan of a raw series (YAML, retrieved into `out` first), or the rows of a CSV table.

    Raises
    ------
    DarklungError
        What `read_table` or `retrieve_described` raises.
    """
    if source.suffix.lower() == ".csv":
        return read_table(source)
    retrieve_described(source, out, workers=workers)
    return read_series(source, out)


def read_settings(sources: list[Path], out: Path, *, workers: int | None = None) -> list[Measurements]:
    """Of several series, each retrieved into a folder of its own."""
    places = [out / source.stem if len(sources) > 1 else out for source in sources]
    return [read_measurements(source, place, workers=workers) for source, place in zip(sources, places)]
