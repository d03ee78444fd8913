"""The log of a SkyScan (Bruker) scan: what NRecon writes beside its slices (``NAME_rec.log``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from darklung.core.checks import DarklungError, require
from darklung.core.units import parse_number

_MOST_BYTES = 2**20
_RECONSTRUCTION = "[reconstruction]"


@dataclass(frozen=True)
class SkyscanLog:
    """What the log tells of the slices and how they were made.

    Parameters
    ----------
    path : Path
    pixel_m : float
        Of a slice.
    step : int
        Between two slices, in pixels.
    first, last : int
        Numbers of the first and the last slice, in the file names.
    cols, rows : int
        Of a slice.
    grey_range : (float, float), optional
        Attenuation of grey value 0 and of the largest, in the log's own scale (see docs/volumes.md).
    voltage_kv, exposure_s, rotation_deg : float, optional
        Tube, exposure of a frame, and by how much NRecon turned the slices.
    told : tuple of str
        Scanner, filter and more, for a reader.
    """

    path: Path
    pixel_m: float
    step: int
    first: int
    last: int
    cols: int
    rows: int
    grey_range: tuple[float, float] | None
    voltage_kv: float | None
    exposure_s: float | None
    rotation_deg: float | None
    told: tuple[str, ...]


def find_log(folder: Path) -> Path | None:
    """The log of reconstructed slices in a folder: ``*_rec.log``, else the only ``*.log`` that tells of a reconstruction.

    Raises
    ------
    DarklungError
        More than one.
    """
    logs = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".log" and p.is_file())
    named = [p for p in logs if p.stem.lower().endswith("_rec")] or [p for p in logs if _is_log(p)]
    told = ", ".join(p.name for p in named[:5])
    require(len(named) <= 1, f"{folder}: wanted one scanner's log, found {told}; name one (log)")
    return named[0] if named else None


def read_log(path: Path) -> SkyscanLog:
    """Read a log; every number that the slices need must be there.

    Raises
    ------
    DarklungError
        No log of reconstructed slices, or a number missing or that makes no sense.
    """
    require(path.is_file(), f"{path}: no such file")
    fields = _fields(path)
    pixel = _number(path, fields, "pixel size (um)", needed=True)
    low = _number(path, fields, "minimum for cs to image conversion")
    high = _number(path, fields, "maximum for cs to image conversion")
    wrong = low is not None and high is not None and high <= low
    require(not wrong, f"{path}: Maximum for CS to Image Conversion: wanted more than the minimum {low}, got {high}")
    exposure = _number(path, fields, "exposure (ms)")
    log = SkyscanLog(
        path=path,
        pixel_m=float(pixel or 0) / 1e6,
        step=_whole(path, fields, "section to section step"),
        first=_whole(path, fields, "first section"),
        last=_whole(path, fields, "last section"),
        cols=_whole(path, fields, "result image width (pixels)"),
        rows=_whole(path, fields, "result image height (pixels)"),
        grey_range=(low, high) if low is not None and high is not None else None,
        voltage_kv=_number(path, fields, "source voltage (kv)"),
        exposure_s=None if exposure is None else exposure / 1e3,
        rotation_deg=_number(path, fields, "cs static rotation (deg)"),
        told=tuple(f"{k}: {fields[k]}" for k in _TOLD if fields.get(k)),
    )
    fits = log.pixel_m > 0 and log.step > 0 and log.cols > 0 and log.rows > 0 and 0 <= log.first <= log.last
    require(fits, f"{path}: wanted pixel, step and size > 0 and sections in order, got {log.pixel_m} m, step {log.step}, "
            f"{log.cols} × {log.rows}, sections {log.first} to {log.last}")  # fmt: skip
    return log


_TOLD = (
    "scanner", "filter", "source current (ua)", "image rotation", "use 360 rotation", "beam hardening correction (%)",
    "ring artifact correction", "smoothing", "hu calibration", "suggested hu - calibration",
)  # fmt: skip


def _is_log(path: Path) -> bool:
    with path.open("rb") as file:
        return _RECONSTRUCTION.encode() in file.read(_MOST_BYTES).lower()


def _fields(path: Path) -> dict[str, str]:
    """Lower-case keys; those of a later section win, so that the reconstruction's pixel size is the one that counts."""
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    require(len(content) <= _MOST_BYTES and b"\0" not in content, f"{path}: wanted the text of a scanner's log")
    text = content.decode("latin-1")
    require(_RECONSTRUCTION in text.lower(), f"{path}: wanted the log of reconstructed slices; it has no [Reconstruction]")
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip().lower().replace("mininum", "minimum"): value.strip() for key, _, value in pairs}


def _number(path: Path, fields: dict[str, str], key: str, *, needed: bool = False) -> float | None:
    if key not in fields:
        require(not needed, f"{path}: has no {key!r}")
        return None
    try:
        return parse_number(fields[key])
    except DarklungError as error:
        raise DarklungError(f"{path}: {key}: {error}") from None


def _whole(path: Path, fields: dict[str, str], key: str) -> int:
    value = _number(path, fields, key, needed=True)
    require(value == int(value or 0), f"{path}: {key}: wanted a whole number, got {value}")
    return int(value or 0)
