"""``darklung reconstruct``: retrieved projections to volumes on disk, slab by slab, with a picture, numbers and records."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.geometry import ConeGeometry, Geometry
from darklung.core.types import Projections
from darklung.io.images import create_image, open_array
from darklung.io.projections import ProjectionsFile, open_projections
from darklung.pipeline import Context, Task, run_tasks
from darklung.pipeline.record import read_json, write_json
from darklung.steps.reconstructors import channel_names, method_files
from darklung.study.reconstruct_choices import Choices, axis_column, bytes_of, options_of, quantity
from darklung.tomo.beams import field_shape
from darklung.tomo.methods import Volumes, find_method
from darklung.tomo.stream import SPLINE, SlabPlan, method_bytes, plan_cone_slabs, plan_slabs
from darklung.tomo.tensor import COMPONENTS

STAGE = "reconstruct"
SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs")
CODE = (
    "tomo",
    "correct.invalid",
    "features.channels",
    "io",
    "steps.reconstruct",
    "study.reconstruct_choices",
    "steps.reconstructors",
    "report.slices",
    "report.orientation",
)
# Slices on either side that iterative methods need, since their penalties couple slices; fbp and cgls treat each by itself.
HALO = {"fbp": 0, "cgls": 0}
AXIS_ROWS = 16
# Channels that orientation.png shows better.
UNDRAWN = ("known_", "tensor_in_plane_angle", *(f"tensor_{name}" for name in COMPONENTS))
MAPS = 7  # float32 projections of each direction in memory: the five that are read, their copies with invalid pixels filled


def reconstruct_files(
    source: Path,
    out: Path,
    *,
    method: str,
    options: Sequence[str],
    axis: str,
    rings: int,
    memory: str,
    tell: Callable[[str], None],
    tilt: str = "",
    source_axis: str = "",
) -> str:
    """Reconstruct every scan of `source` and return a table to print.

    Writes ``out/reconstruct/NAME/{volume.ome.zarr, slices.png, summary.json, record.json}``. What is done is not done again;
    a killed command goes on with the slab that it was at.

    Parameters
    ----------
    source : Path
        An HDF5 file of projections, the output folder of ``darklung retrieve``, or a description of raw scans, which are
        then retrieved first.
    options : sequence of str
        ``name=value`` for the method.
    axis, rings
        As in `Choices`.
    memory : str
        Such as ``"4 GiB"``; slabs are made as large as fit.
    tell : callable
        Gets the lines to be shown before the start.
    tilt, source_axis : str, optional
        An angle and a length, as in `Choices`; what the file says by default.

    Raises
    ------
    DarklungError
        Unknown method or option, files that cannot be used, too little memory for one slab.
    """
    turn, far = quantity("--tilt", tilt, "angle"), quantity("--source", source_axis, "length")
    choices = Choices(method, options_of(options), axis, rings, bytes_of(memory), turn, far)
    find_method(method, choices.options)
    axis_column(axis)
    files = _files(source, out)
    tasks = []
    for name, path in files.items():
        stored = _in_beam(open_projections(path), choices)
        own = _with_maps(choices, stored)
        tell(f"{name}: {_planned(stored, own)}")
        tasks.append(_task(name, path, own))
    names = [t.name for t in tasks]
    run_tasks(tasks, folder=out, targets=names, workers=1, about={"source": str(source), "choices": asdict(choices)})
    return _told({t.item: read_json(out / t.name / "summary.json") for t in tasks}, out)


def _with_maps(choices: Choices, stored: ProjectionsFile) -> Choices:
    """What belongs to a result unless the user says no: noise of filtered back-projection, what is known of a tensor."""
    variances = all(f"{n}_variance" in stored.present for n in ("attenuation", "dark_field"))
    more: dict[str, dict[str, Any]] = {"fbp": {"noise": True} if variances else {}, "tensor": {"probes": 2}}
    return replace(choices, options={**more.get(choices.method, {}), **choices.options})


def _task(name: str, path: Path, choices: Choices) -> Task:
    about = path.stat()
    parameters = {
        "name": name,
        "file": str(path.resolve()),
        "size": about.st_size,
        "modified_ns": about.st_mtime_ns,
        "choices": asdict(choices),
    }
    files = method_files(choices.method)
    return Task(STAGE, name, "darklung.steps.reconstruct:reconstruct_one", parameters, {}, CODE, files)


def _files(source: Path, out: Path) -> dict[str, Path]:
    """Name -> file of projections."""
    require(source.exists(), f"{source}: no such file or folder")
    if source.is_dir():
        found = sorted(source.glob("retrieve/*/projections.h5")) or sorted(source.glob("*/projections.h5"))
        found = found or sorted(source.glob("projections.h5"))
        require(bool(found), f"{source}: wanted retrieve/NAME/projections.h5 in it, as darklung retrieve writes; found none")
        return {_name(p): p for p in found}
    if source.suffix in (".yaml", ".yml"):
        from darklung.steps.retrieve import retrieve_described

        retrieve_described(source, out)
        return _files(out, out)
    require(
        source.suffix in SUFFIXES, f"{source}: wanted {', '.join(SUFFIXES)}, .yaml or a folder; darklung show tells more"
    )
    return {_name(source): source}


def _name(path: Path) -> str:
    text = path.resolve().parent.name if path.name == "projections.h5" else path.stem
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip(".") or "scan"


def _in_beam(stored: ProjectionsFile, choices: Choices) -> ProjectionsFile:
    """The file, with the source where the user says it is, and the tilt in a cone beam (else `upright` takes it away)."""
    g = stored.geometry
    if choices.source_m is not None:
        if isinstance(g, ConeGeometry):
            g = replace(g, source_axis_m=choices.source_m)
        else:
            g = ConeGeometry(g.angles_rad, g.rows, g.cols, g.pixel_m, choices.source_m, g.axis_col)
    if choices.tilt_rad is not None and isinstance(g, ConeGeometry):
        g = replace(g, tilt_rad=choices.tilt_rad)
    return replace(stored, geometry=g)


def _planned(stored: ProjectionsFile, choices: Choices) -> SlabPlan:
    directions = len(stored.directions_rad)
    noise = bool(choices.options.get("noise"))
    channels = (1 + directions) * (2 if noise else 1)
    if choices.method == "tensor":
        channels += 10 + 6 * bool(choices.options.get("probes"))
    size = method_bytes(choices.method, stored.geometry, directions=directions, maps=MAPS, channels=channels)
    g = stored.geometry
    if isinstance(g, ConeGeometry):
        return plan_cone_slabs(
            g,
            memory_bytes=choices.memory_bytes,
            bytes_per_slice=size,
            channels=channels,
            whole=choices.method != "fbp",
        )
    halo = HALO.get(choices.method, 4)
    if choices.tilt_rad:
        halo += int(np.ceil(abs(np.tan(choices.tilt_rad)) * max(g.axis_col, g.cols - 1 - g.axis_col))) + SPLINE
    return plan_slabs(
        g,
        memory_bytes=choices.memory_bytes,
        multiple=8,
        bytes_per_slice=size,
        halo=halo,
        channels=channels,
    )


def reconstruct_one(context: Context) -> None:
    """One scan: slabs go to the scratch folder as they are done, so that a crash loses one slab at most."""
    p = context.parameters
    choices = Choices(**p["choices"])
    stored = _in_beam(open_projections(Path(p["file"])), choices)
    stored = replace(stored, geometry=_with_axis(stored, choices.axis))
    plan = _planned(stored, choices)
    place, ledger = context.scratch / "volume.ome.zarr", context.scratch / "slabs.json"
    notes: list[Any] = read_json(ledger) or []
    for number, rows in enumerate(plan.slabs[len(notes) :], start=len(notes)):

        def step(fraction: float, text: str, number: int = number) -> None:
            context.progress((number + fraction) / len(plan.slabs), f"slab {number + 1} of {len(plan.slabs)}, {text}")

        step(0.0, "reading")
        read, own = plan.around(rows)
        found = _slab(stored, read, choices, step)
        _write(place, found, own, rows, stored, choices, plan, fresh=number == 0)
        notes.append(dict(found.notes))
        write_json(ledger, notes)
    shutil.move(place, context.out / "volume.ome.zarr")
    summary = _summary(stored, choices, plan, notes, context.out / "volume.ome.zarr")
    (context.out / "summary.json").write_text(json.dumps(summary, indent=1))
    _draw(context.out, f"{p['name']}, {choices.method}")


def _draw(out: Path, title: str) -> None:
    from darklung.report import orientation, slices

    volume = out / "volume.ome.zarr"
    slices.slices_png(volume, out / "slices.png", title=title, leave_out=UNDRAWN)
    if "tensor_yx" in slices.open_slices(volume).units:
        orientation.orientation_png(volume, out / "orientation.png", title=title)


def _with_axis(stored: ProjectionsFile, axis: str) -> Geometry:
    """The geometry with the rotation axis where the user, the file or the data say."""
    from darklung.tomo.sinogram import estimate_axis

    given = axis_column(axis)
    if axis == "estimate":
        rows = np.unique(np.linspace(0, stored.geometry.rows - 1, AXIS_ROWS).astype(np.int64))
        name = "attenuation" if "attenuation" in stored.present else "dark_field"
        part = _filled(stored.read(rows, (name, "valid")))
        given = estimate_axis(getattr(part, name).mean(axis=0), part.geometry)
    if given is None:
        return stored.geometry
    last = stored.geometry.cols - 1
    require(0 <= given <= last, f"axis: wanted a column of the detector, 0 to {last}, got {given:.2f}")
    return replace(stored.geometry, axis_col=given)


def _filled(projections: Projections) -> Projections:
    from darklung.correct.invalid import fill_invalid

    return fill_invalid(projections)[0]


def _slab(stored: ProjectionsFile, rows: slice, choices: Choices, step: Callable[[float, str], None]) -> Volumes:
    from darklung.tomo.sinogram import suppress_rings

    part = _filled(stored.read(rows))
    if choices.rings:
        names = [n for n in ("attenuation", "dark_field") if n in stored.present]
        rid = {n: np.stack([suppress_rings(v, width=choices.rings) for v in getattr(part, n)]) for n in names}
        part = replace(
            part, attenuation=rid.get("attenuation", part.attenuation), dark_field=rid.get("dark_field", part.dark_field)
        )
    if choices.tilt_rad and not isinstance(stored.geometry, ConeGeometry):
        from darklung.tomo.tilt import upright

        g = stored.geometry
        part = upright(part, tilt_rad=choices.tilt_rad, middle=((g.rows - 1) / 2 - rows.start, g.axis_col))
    found: Volumes = find_method(choices.method, choices.options)(part, **choices.options, progress=step)
    return found


def _kept(found: Volumes, stored: ProjectionsFile) -> list[tuple[str, str, NDArray[np.float32]]]:
    """(name, unit, volume) of each channel that the file has data for."""
    names = channel_names(stored.directions_rad, ())
    every = [(n, "1/m", v) for n, v in zip(names, (found.attenuation, *found.dark_field))]
    for name, (unit, volume) in found.extras.items():
        number = re.fullmatch(r"dark_field_noise_(\d+)", name)
        every.append((f"{names[1 + int(number[1])]}_noise" if number else name, unit, volume))
    absent = tuple(n for n in ("attenuation", "dark_field") if n not in stored.present)
    return [channel for channel in every if not (absent and channel[0].startswith(absent))]


def _write(
    place: Path,
    found: Volumes,
    own: slice,
    rows: slice,
    stored: ProjectionsFile,
    choices: Choices,
    plan: SlabPlan,
    *,
    fresh: bool,
) -> None:
    channels = _kept(found, stored)
    if fresh:
        g = stored.geometry
        create_image(
            place,
            names=tuple(n for n, _, _ in channels),
            units=tuple(u for _, u, _ in channels),
            shape=field_shape(g),
            spacing_m=g.pixel_m,
            slab=plan.slabs[0].stop,
        )
    array = open_array(place)
    for i, (_, _, volume) in enumerate(channels):
        array[i, rows] = volume[own]


def _summary(stored: ProjectionsFile, choices: Choices, plan: SlabPlan, notes: list[Any], volume: Path) -> dict[str, Any]:
    array = open_array(volume)
    exact: Any = json.loads((volume / "zarr.json").read_text())["attributes"]["darklung"]
    middle = np.asarray(array[:, array.shape[1] // 2])
    return {
        "method": choices.method,
        "options": choices.options,
        "axis_col": stored.geometry.axis_col,
        "axis_from": choices.axis,
        "rings": choices.rings,
        "tilt_rad": _tilt(stored.geometry, choices),
        "source_axis_m": stored.geometry.source_axis_m if isinstance(stored.geometry, ConeGeometry) else None,
        "shape": list(array.shape[1:]),
        "voxel_m": stored.geometry.pixel_m,
        "slabs": len(plan.slabs),
        "slab_notes": notes,
        "middle_slice": {
            name: {"median": float(np.median(v)), "low": float(np.percentile(v, 1)), "high": float(np.percentile(v, 99))}
            for name, v in zip(exact["names"], middle)
        },
    }


def _tilt(geometry: Geometry, choices: Choices) -> float:
    return geometry.tilt_rad if isinstance(geometry, ConeGeometry) else choices.tilt_rad or 0.0


def _told(summaries: dict[str, Any], out: Path) -> str:
    lines = [f"{'scan':<22}{'voxels (z, y, x)':>20}{'axis':>9}  channels of the middle slice, 1 % to 99 % of the voxels"]
    for name, s in summaries.items():
        shape = " x ".join(str(n) for n in s["shape"])
        ranges = ", ".join(f"{n} {v['low']:.3g} to {v['high']:.3g}" for n, v in s["middle_slice"].items())
        lines.append(f"{name:<22}{shape:>20}{s['axis_col']:9.2f}  {ranges}")
    lines.append(f"volumes (OME-Zarr), slices.png, summary and record: {out / STAGE}; NIfTI: darklung export")
    return "\n".join(lines)
