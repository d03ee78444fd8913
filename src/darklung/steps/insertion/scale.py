"""Where a scale is read from: an instrument, a calibration, or the lung itself."""

from __future__ import annotations

from pathlib import Path

from darklung.calibrate.file import load_calibration
from darklung.core.checks import DarklungError, require
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
    """``own``, a protocol or study file, a ready protocol by name, or what ``darklung calibrate spheres`` saved (ξ).

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
    try:
        lengths = sorted({curve.correlation_length_m for curve in load_calibration(path, "spheres").curves})
        told = ", ".join(f"{1e6 * length:.4g} um" for length in lengths)
        require(len(lengths) == 1, f"{path}: is of {len(lengths)} settings (ξ {told}); wanted the scan's alone")
    except DarklungError as error:
        raise DarklungError(f"--scale: {error}") from error
    return lengths[0]
