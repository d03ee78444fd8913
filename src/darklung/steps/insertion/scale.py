"""Where a scale is read from: an instrument, a calibration, or the lung itself."""

from __future__ import annotations

import json
from pathlib import Path

from darklung.core.checks import DarklungError, check_positive, require
from darklung.insert.scale import ASSUMED_XI_M, Scale
from darklung.study.protocols import protocol_path, read_protocol


def scale_files(text: str) -> dict[str, Path]:
    """Files that a scale is read from: its own, and of an instrument that of the spectrum."""
    path = Path(text)
    if text == "own":
        return {}
    if path.suffix == ".json":
        return {"scale": path}
    return {"scale": protocol_path(text), **read_protocol(text).instrument.files()}


def read_scale(text: str) -> Scale:
    """``own``, a protocol or study file, a ready protocol by name, or a ``calibration.json`` of ``darklung calibrate``.

    Raises
    ------
    DarklungError
        Not one of these.
    """
    if text == "own":
        return Scale("the lung's own", None, ASSUMED_XI_M)
    path = Path(text)
    if path.suffix == ".json":
        return Scale(f"calibration {path}", None, _calibrated(path))
    instrument = read_protocol(text).instrument.instrument()
    return Scale(text, instrument.reference_energy_kev, instrument.reference_correlation_length_m, instrument)


def _calibrated(path: Path) -> float:
    require(path.is_file(), f"--scale: no file {path}")
    try:
        value = json.loads(path.read_text())["correlation_length_m"]
    except (ValueError, KeyError, TypeError) as error:
        raise DarklungError(f"--scale: {path}: wanted what darklung calibrate writes, with correlation_length_m") from error
    return check_positive(f"{path}: correlation_length_m", value)
