"""Calibrations as files: JSON that is checked key by key when it is read, with where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from darklung.calibrate.beam import Beam
from darklung.calibrate.fibres import FibreCalibration
from darklung.calibrate.sphere_fits import ModelRow
from darklung.calibrate.sphere_models import SphereShape
from darklung.calibrate.spheres import SphereCalibration
from darklung.calibrate.units import AttenuationUnit, ScatterUnit
from darklung.core.checks import DarklungError, require
from darklung.core.files import read_object, reading
from darklung.correct.ladder import METHODS, Knowledge
from darklung.correct.response import SpectralResponse
from darklung.correct.wedge import Wedge
from darklung.io.documents import Document, validate
from darklung.io.tables import save_json

SCHEMA = 1
CALIBRATION, FIGURE = "calibration.json", "calibration.png"
Numbers = tuple[float, ...]


class _Beam(Document):
    energies_kev: Numbers
    weights: Numbers
    visible: Numbers
    reference_energy_kev: float
    powder_per_m: Numbers
    modes: tuple[Numbers, ...]


class _Curve(Document):
    diameter_m: Numbers
    signal: Numbers
    thickness_m: Numbers
    filters: tuple[str, ...]
    holds: dict[str, Any]
    scale_per_m2: float
    correlation_length_m: float
    offset: float
    covariance: tuple[Numbers, ...]
    residual: float
    model: str
    fill: float
    setting: str
    free: float
    beam: _Beam | None


class _Fibres(Document):
    angle_rad: Numbers
    mean: Numbers
    modulation: Numbers
    angle_error_rad: Numbers
    turn_rad: float
    turn_error_rad: float
    reference_modulation: float
    reference_modulation_error: float
    misfit: float | None
    directions_rad: Numbers


class _Response(Document):
    energies_kev: Numbers
    weights: Numbers
    visible: Numbers
    reference_energy_kev: float


class _Wedge(Document):
    material: str
    thickness_m: Numbers
    attenuation: Numbers
    dark_field: Numbers


class _Unit(Document):
    zero_per_m: float
    reference_per_m: float
    zero_error_per_m: float
    reference_error_per_m: float
    reference: str


class _Attenuation(Document):
    zero_per_m: float
    reference_per_m: float
    zero_error_per_m: float
    reference_error_per_m: float
    material: str
    energy_kev: float


class _File(Document):
    darklung_calibration: Literal[1]
    name: str
    provenance: dict[str, Any]


class SpheresFile(_File):
    """Response to spheres, one curve a setting."""

    kind: Literal["spheres"]
    correlation_length_m: float
    curves: tuple[_Curve, ...]
    models: tuple[dict[str, Any], ...] = ()


class FibresFile(_File):
    """Directional response."""

    kind: Literal["fibres"]
    fibres: _Fibres


class WedgesFile(_File):
    """What hardening corrections learn from wedges."""

    kind: Literal["wedges"]
    method: str
    why: str
    response: _Response
    wedge: _Wedge
    second_material: str
    exponent: float
    max_thickness_m: float
    judged: tuple[dict[str, Any], ...] = ()


class UnitFile(_File):
    """Units of one scan: of scattering, and of attenuation where an object of known material was there."""

    kind: Literal["unit"]
    unit: _Unit
    attenuation: _Attenuation | None = None


KINDS: Mapping[str, type[_File]] = {"spheres": SpheresFile, "fibres": FibresFile, "wedges": WedgesFile, "unit": UnitFile}


@dataclass(frozen=True)
class Calibration:
    """What a calibration file holds; of the four parts the one that `kind` names is set.

    Parameters
    ----------
    kind, name : str
    provenance : mapping
        ``command``, ``created``, ``inputs`` (path -> SHA-256) and ``environment`` (versions).
    curves : tuple of SphereCalibration
    fibres : FibreCalibration, optional
    knowledge : Knowledge, optional
        Of the hardening corrections, with `method`, the recommended one.
    unit : ScatterUnit, optional
        With `attenuation`, an AttenuationUnit or None.
    """

    kind: str
    name: str
    provenance: Mapping[str, Any]
    curves: tuple[SphereCalibration, ...] = ()
    fibres: FibreCalibration | None = None
    knowledge: Knowledge | None = None
    method: str = "none"
    unit: ScatterUnit | None = None
    attenuation: AttenuationUnit | None = None


def plain(value: Any) -> dict[str, Any]:
    """A dataclass of numbers, names and arrays as JSON; NaN becomes null."""
    found = {field.name: getattr(value, field.name) for field in fields(value)}
    return {k: _plain(v.tolist() if isinstance(v, np.ndarray) else v) for k, v in found.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def save_calibration(path: Path, kind: str, name: str, origin: Mapping[str, Any], **content: Any) -> None:
    """Write a calibration of `KINDS`; the file appears whole or not at all."""
    document = {"darklung_calibration": SCHEMA, "kind": kind, "name": name, **content, "provenance": dict(origin)}
    validate(document, KINDS[kind], path.name)
    save_json(path, document)


def load_calibration(path: Path, wanted: str = "") -> Calibration:
    """Read and check a calibration, of the kind `wanted` if one is; nothing in the file is executed.

    Raises
    ------
    DarklungError
        No such file, no JSON, another kind of file, a key that is missing, unknown or of the wrong type, or numbers that no
        calibration can have: one line each, with the file and the key.
    """
    content = _content(path)
    kind = str(content.get("kind"))
    if kind not in KINDS:
        raise DarklungError(f"{path}: kind: {kind!r} is not known; known: {', '.join(sorted(KINDS))}")
    if wanted and kind != wanted:
        raise DarklungError(f"{path}: wanted a calibration of {wanted}, got one of {kind}")
    file: Any = validate(content, KINDS[kind], str(path))
    with reading(path, "a calibration"):
        return _made(file)


def _content(path: Path) -> dict[str, Any]:
    content = read_object(path)
    require("darklung_calibration" in content, f"{path}: wanted what darklung calibrate wrote, got another JSON file")
    return content


def _made(file: Any) -> Calibration:
    """The checked file as the types that corrections use."""
    parts: dict[str, Any] = {}
    if isinstance(file, SpheresFile):
        require(len(file.curves) > 0, "curves: wanted at least one, got none")
        parts["curves"] = tuple(_curve(part) for part in file.curves)
    if isinstance(file, FibresFile):
        names = ("angle_rad", "mean", "modulation", "angle_error_rad", "directions_rad")
        values = _arrays(file.fibres, *names)
        values["misfit"] = np.nan if values["misfit"] is None else values["misfit"]
        parts["fibres"] = FibreCalibration(**values)
    if isinstance(file, WedgesFile):
        if file.method not in METHODS:
            raise DarklungError(f"method: {file.method!r} is not known; known: {', '.join(sorted(METHODS))}")
        wedge = Wedge(**_arrays(file.wedge, "thickness_m", "attenuation", "dark_field"))
        parts["method"] = file.method
        parts["knowledge"] = Knowledge(
            SpectralResponse(**_arrays(file.response, "energies_kev", "weights", "visible")),
            wedge=wedge,
            material=wedge.material,
            second_material=file.second_material,
            exponent=file.exponent,
            max_thickness_m=file.max_thickness_m,
        )
    if isinstance(file, UnitFile):
        parts["unit"] = ScatterUnit(**file.unit.model_dump())
        parts["attenuation"] = file.attenuation and AttenuationUnit(**file.attenuation.model_dump())
    return Calibration(file.kind, file.name, file.provenance, **parts)


def curve_document(curve: SphereCalibration) -> dict[str, Any]:
    """A sphere calibration as JSON, with what it holds for."""
    found = plain(curve)
    shape, beam = found.pop("shape"), found.pop("beam")
    told = {"model": shape.model, "fill": shape.fill, "beam": None if beam is None else plain(beam), "holds": curve.holds}
    return {**found, **told, "filters": list(curve.filters)}


def model_document(row: ModelRow) -> dict[str, Any]:
    """One model that was compared, as the file tells of it."""
    errors = np.sqrt(np.diag(row.fit.covariance))
    return {
        "model": row.fit.shape.model,
        "offset": row.fit.offset if row.offset else None,
        "scale_per_m2": row.fit.scale_per_m2,
        "scale_error_per_m2": float(errors[0]),
        "correlation_length_m": row.fit.correlation_length_m,
        "correlation_length_error_m": float(errors[1]),
        "residual": row.fit.residual,
        "left_out": row.left_out,
        "score": row.score,
    }


def _curve(part: _Curve) -> SphereCalibration:
    values = _arrays(part, "diameter_m", "signal", "thickness_m", "covariance")
    shape, holds = SphereShape(*(values.pop(name) for name in ("model", "fill"))), values.pop("holds")
    names = ("energies_kev", "weights", "visible", "powder_per_m", "modes")
    values["beam"] = None if part.beam is None else Beam(**_arrays(part.beam, *names))
    curve = SphereCalibration(**values, shape=shape)
    require(curve.holds == holds, f"holds: wanted what the rows say, {curve.holds}, got {holds}")
    return curve


def _arrays(part: Document, *names: str) -> dict[str, Any]:
    values = part.model_dump()
    for name in names:
        try:
            values[name] = np.array(values[name], dtype=np.float64)
        except ValueError:
            raise DarklungError(f"{name}: wanted rows of equal length") from None
    return values
