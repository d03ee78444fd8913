"""``darklung simulate``: the raw frames of one mouse or calibration object, in a CT, a radiograph, or without gratings."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from darklung.core.checks import DarklungError, check_one_of, require
from darklung.core.files import make_folder, write_text
from darklung.core.types import Scan
from darklung.core.units import parse_quantity, split_unit
from darklung.io.documents import read_yaml_text
from darklung.io.hdf5 import save
from darklung.io.volume_file import check_memory
from darklung.phantom.subject import make_phantom
from darklung.pipeline.bar import Bar
from darklung.simulate import objects
from darklung.simulate.attenuation import simulate_attenuation
from darklung.simulate.powder import Scene
from darklung.simulate.scan import simulate_scan
from darklung.study.protocols import ProtocolFile, read_protocol

OBJECTS: Mapping[str, Callable[..., Any]] = {
    "mouse": make_phantom,
    "cylinder": objects.cylinder,
    "edge": objects.edge,
    "fibres": objects.fibres,
    "foam": objects.cylinder,
    "star": objects.star,
    "suspension": objects.suspension,
    "wedge": objects.step_wedge,
}
USUAL: Mapping[str, dict[str, Any]] = {
    "mouse": {},
    "cylinder": {"diameter_m": 25e-3},
    "edge": {"thickness_m": 1e-3},
    "fibres": {"diameter_m": 10e-3, "angle_rad": 0.0},
    "foam": {"diameter_m": 25e-3, "foam_diameter_m": 10e-3},
    "star": {"thickness_m": 1e-3, "diameter_m": 20e-3},
    "suspension": {"sphere_diameter_m": 2e-6},
    "wedge": {"thicknesses_m": (0.0, 1e-3, 2e-3, 4e-3, 8e-3)},
}
FIELDS_M = {"mouse": (18e-3, 24e-3)}
USUAL_FIELD_M = (6e-3, 27e-3)
_OURS = ("voxel_m", "shape", "field_of_view_m", "seed")


def simulate_files(
    target: str,
    what: str,
    *,
    out: Path,
    options: Sequence[str] = (),
    field: str | None = None,
    seed: int = 1,
    radiograph: bool = False,
    gratings: bool = True,
    noise: bool = True,
) -> str:
    """Simulate one object with one protocol and return the text to print.

    Writes ``scan.h5`` (raw frames) and ``scan.yaml``, its description for ``darklung retrieve``; without gratings
    ``projections.h5`` for ``darklung reconstruct``; and ``record.json``.

    Parameters
    ----------
    target : str
        A protocol file, a study with one simulated source, or a ready protocol.
    what : str
        A key of `OBJECTS`.
    out : Path
    options : sequence of str
        ``name=value`` of the object's function, lengths and angles with their unit: ``diameter=25 mm``.
    field : str, optional
        Length along z and width of the field of view, such as ``"6 mm,27 mm"``.
    seed : int
    radiograph : bool
        One view instead of the protocol's, with all steps and directions, at a view's dose.
    gratings : bool
        False: attenuation alone, at equal dose.
    noise : bool
        False gives expected counts.
    """
    protocol = read_protocol(target)
    plan = protocol.scan
    if radiograph:
        plan = replace(plan, views=1, counts_per_pixel=plan.counts_per_pixel / plan.views)
    check_memory("simulate", plan.memory_bytes(*_pixels(what, protocol, field), gratings=gratings))
    scene = make_object(what, protocol, options=options, field=field, seed=seed)
    instrument = protocol.instrument.instrument()
    make_folder(out)
    record = {"protocol": protocol.model_dump(mode="json"), "object": what, "options": list(options), "seed": seed}
    write_text(out / "record.json", json.dumps({**record, "radiograph": radiograph, "gratings": gratings}, indent=1))
    with Bar(what) as bar:
        if not gratings:
            values = simulate_attenuation(
                scene,
                instrument=instrument,
                protocol=plan,
                seed=seed,
                behind_sample=protocol.transmission_behind,
                noise=noise,
                progress=bar,
            )
            save(out / "projections.h5", values)
            shape = " x ".join(map(str, values.attenuation.shape))
            return f"−ln T without gratings ({shape}) in {out / 'projections.h5'}"
        scan = simulate_scan(
            scene, instrument=instrument, protocol=plan, seed=seed, effects=protocol.effects, noise=noise, progress=bar
        )
    save(out / "scan.h5", scan)
    write_text(out / "scan.yaml", yaml.safe_dump(describe(scan, what), sort_keys=False))
    shape = " x ".join(map(str, scan.frames.shape))
    note = protocol.instrument.bins_note()
    noted = f"note: {note}\n" if note else ""
    return (
        f"{noted}{shape} frames (direction, view, step, row, col) in {out / 'scan.h5'}\n"
        f"next: darklung retrieve {out / 'scan.yaml'} --out {out / 'maps'}"
    )


def make_object(
    what: str, protocol: ProtocolFile, *, options: Sequence[str] = (), field: str | None = None, seed: int = 1
) -> Scene:
    """The object on the protocol's voxels: detector pixel over supersampling."""
    make = OBJECTS[check_one_of("object", what, OBJECTS)]
    given = {**USUAL[what], **_options(what, make, options)}
    pixels = _pixels(what, protocol, field)
    k = protocol.scan.supersampling
    voxel_m = protocol.pixel / k
    if what == "mouse":
        extent = (pixels[0] * protocol.pixel, pixels[1] * protocol.pixel)
        found = make(seed=seed, voxel_m=voxel_m, field_of_view_m=extent, **given)
    else:
        found = make(voxel_m=voxel_m, shape=(pixels[0] * k, pixels[1] * k, pixels[1] * k), **given)
    return found if isinstance(found, Scene) else Scene(found)


def _pixels(what: str, protocol: ProtocolFile, field: str | None) -> tuple[int, int]:
    """Rows and columns that see the field of view."""
    depth_m, width_m = _field(check_one_of("object", what, OBJECTS), field)
    return max(1, round(depth_m / protocol.pixel)), max(1, round(width_m / protocol.pixel))


def _field(what: str, text: str | None) -> tuple[float, float]:
    if text is None:
        return FIELDS_M.get(what, USUAL_FIELD_M)
    parts = text.split(",")
    require(len(parts) == 2, f"field: wanted length along z and width, such as '6 mm,27 mm', got {text!r}")
    depth, width = (parse_quantity(part.strip(), "length") for part in parts)
    require(depth > 0 and width > 0, f"field: wanted lengths > 0, got {text!r}")
    return depth, width


def _options(what: str, make: Callable[..., Any], texts: Sequence[str]) -> dict[str, Any]:
    """``diameter=25 mm`` -> ``diameter_m: 0.025``, by the names of the function's arguments."""
    names = [name for name in inspect.signature(make).parameters if name not in _OURS]
    known = {split_unit(name)[0]: name for name in names if what != "mouse" or name in ("variant", "shams", "mimics")}
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        require(bool(equals), f"--set: wanted name=value, got {text!r}")
        name = known[check_one_of(f"--set for {what}", key, known)]
        try:
            found[name] = _value(value, split_unit(name)[1], many=name.startswith("thicknesses"))
        except DarklungError as error:
            raise DarklungError(f"--set {key}: {error}") from error
    return found


def _value(text: str, kind: str, *, many: bool) -> Any:
    if many:
        return tuple(parse_quantity(part.strip(), kind) for part in text.split(","))
    return parse_quantity(text, kind) if kind else read_yaml_text(text)


def describe(scan: Scan, name: str) -> dict[str, Any]:
    """What ``darklung retrieve`` has to know of ``scan.h5``."""

    def source(dataset: str, *axes: str) -> dict[str, Any]:
        return {"kind": "hdf5", "file": "scan.h5", "dataset": dataset, "axes": list(axes)}

    text: dict[str, Any] = {
        "name": name,
        "sample": source("frames", "direction", "view", "step", "row", "col"),
        "flat": source("flats", "direction", "flat", "step", "row", "col"),
    }
    for field in ("dark_frame", "bad_pixels"):
        if getattr(scan, field) is not None:
            text[field] = source(field, "row", "col")
    return {
        **text,
        "steps": {"count": scan.step_phase_rad.shape[1], "endpoint_repeated": False},
        "pixel": f"{scan.geometry.pixel_m!r} m",
        "directions": [f"{float(a)!r} rad" for a in scan.directions_rad],
        "angles": [f"{float(a)!r} rad" for a in scan.geometry.angles_rad],
        "view_times": [f"{float(t)!r} s" for t in scan.view_time_s[0]],
        "flat_times": [f"{float(t)!r} s" for t in scan.flat_time_s[0]],
    }
