"""Retrieved projections to volumes on disk, slab by slab, with numbers and pictures; radiographs stay maps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import Channel, dark_field_at, tensor
from darklung.core.checks import require
from darklung.core.files import write_text
from darklung.core.geometry import ConeGeometry, Geometry
from darklung.core.types import Image, Projections
from darklung.io.images import create_image, finish_image, open_array
from darklung.io.names import SUMMARY, VOLUME
from darklung.io.projections import ProjectionsFile, hold, open_projections
from darklung.pipeline import Context, Task
from darklung.pipeline.record import read_json, write_json
from darklung.steps.projections import ReadsProjections, wired
from darklung.study.processing import ReconstructionPart
from darklung.tomo.beams import field_shape
from darklung.tomo.methods import METHODS, Volumes, apply_method, check_device, silent
from darklung.tomo.stream import SPLINE, SlabPlan, method_bytes, plan_cone_slabs, plan_slabs
from darklung.tomo.tensor import COMPONENTS
from darklung.tomo.tensor_method import DERIVED, MADE_OF

STAGE = "reconstruct"
SIGNALS = ("attenuation", "dark_field")
# Slices on either side that iterative methods need, since their penalties couple slices; fbp and cgls treat each by itself.
HALO = {"fbp": 0, "cgls": 0}
AXIS_ROWS = 16
# Channels that orientation.png shows better.
UNDRAWN = {*COMPONENTS, *DERIVED} - {"mean", "anisotropy", "in_plane_anisotropy"}  # of the tensor
MAPS = 7  # float32 projections of each direction in memory: the five that are read, their copies with invalid pixels filled


class Parameters(ReadsProjections):
    """How it is reconstructed."""

    name: str
    reconstruction: ReconstructionPart
    pictures: bool


def tasks(part: ReconstructionPart, *, pictures: bool) -> Callable[[str, str | Path], Task]:
    """What makes reconstruction of another task's projections, or of those in a file, a task."""
    check_device(part.method, part.options, cone=part.source_axis is not None)
    shared = Parameters(name="", reconstruction=part, pictures=pictures).model_dump(mode="json")
    function = "darklung.steps.reconstruct:reconstruct"

    def task(name: str, projections: str | Path) -> Task:
        fields, reads = wired(projections)
        return Task(STAGE, name, function, {**shared, "name": name, **fields}, plugins=(part.method,), **reads)

    return task


def resolved(stored: ProjectionsFile, part: ReconstructionPart) -> tuple[ProjectionsFile, ReconstructionPart]:
    """The file in the beam that the user says, and the part `with_default_options`."""
    stored, angles = replace(stored, geometry=in_beam(stored.geometry, part)), stored.geometry.angles_rad
    turned = len(angles) < 2 or np.ptp(angles) > 0
    require(
        bool(turned), f"{stored.path}: angles_rad: all {len(angles)} views have the same angle; say angles where frames are"
    )
    check_device(part.method, part.options, cone=isinstance(stored.geometry, ConeGeometry))
    return stored, with_default_options(part, variances=stored.variances)


def channel_names(directions_rad: NDArray[np.float64]) -> tuple[str, ...]:
    """Names of the channels that every method makes: attenuation, and the dark field of each direction."""
    return ("attenuation", *(dark_field_at(float(a)).name for a in directions_rad))


def expected_names(
    directions_rad: NDArray[np.float64], part: ReconstructionPart, *, present: Sequence[str] = SIGNALS
) -> tuple[str, ...] | None:
    """Names of the channels that reconstruction will make of projections; None of a user's method, which may add some.

    Parameters
    ----------
    directions_rad : (direction,) array
    part : ReconstructionPart
        With the options that `resolved` gives.
    present : sequence of str
        Signals that the projections have.
    """
    if part.method not in METHODS:
        return None
    names = list(channel_names(directions_rad))
    if part.options.get("noise"):
        names += [Channel.parse(name).noise().name for name in names]
    if part.options.get("phase"):
        names += [Channel("refraction", float(np.degrees(a))).name for a in directions_rad if abs(np.sin(a)) > 0.999]
    if part.method == "tensor":
        names += [tensor(t).name for t in (*DERIVED, *COMPONENTS)]
        names += [tensor(t).known().name for t in (*COMPONENTS, *MADE_OF) if part.options.get("probes")]
    return tuple(n for n in names if (s := Channel.parse(n).signal) not in SIGNALS or s in present)


def with_default_options(part: ReconstructionPart, *, variances: bool) -> ReconstructionPart:
    """The part with what belongs to a result unless the user says no: noise maps of fbp, and what is known of a tensor."""
    more: dict[str, dict[str, Any]] = {"fbp": {"noise": True} if variances else {}, "tensor": {"probes": 2}}
    return part.model_copy(update={"options": {**more.get(part.method, {}), **part.options}})


def in_beam(g: Geometry, choices: ReconstructionPart) -> Geometry:
    """The geometry with the source where the user says it is, and the tilt in a cone beam (else `upright` takes it away)."""
    if choices.source_axis is not None:
        if isinstance(g, ConeGeometry):
            g = replace(g, source_axis_m=choices.source_axis)
        else:
            g = ConeGeometry(g.angles_rad, g.rows, g.cols, g.pixel_m, choices.source_axis, g.axis_col)
    if choices.tilt is not None and isinstance(g, ConeGeometry):
        g = replace(g, tilt_rad=choices.tilt)
    return g


def planned(stored: ProjectionsFile, choices: ReconstructionPart) -> SlabPlan:
    directions = len(stored.directions_rad)
    noise = bool(choices.options.get("noise"))
    channels = (1 + directions) * (2 if noise else 1)
    if choices.method == "tensor":
        channels += len(DERIVED) + len(COMPONENTS) + (len(COMPONENTS) + len(MADE_OF)) * bool(choices.options.get("probes"))
    size = method_bytes(choices.method, stored.geometry, directions=directions, maps=MAPS, channels=channels)
    g = stored.geometry
    if isinstance(g, ConeGeometry):
        return plan_cone_slabs(
            g,
            memory_bytes=choices.memory_bytes(),
            bytes_per_slice=size,
            channels=channels,
            whole=choices.method != "fbp",
        )
    halo = HALO.get(choices.method, 4)
    if choices.tilt:
        halo += int(np.ceil(abs(np.tan(choices.tilt)) * max(g.axis_col, g.cols - 1 - g.axis_col))) + SPLINE
    return plan_slabs(
        g,
        memory_bytes=choices.memory_bytes(),
        multiple=8,
        bytes_per_slice=size,
        halo=halo,
        channels=channels,
    )


def reconstruct(context: Context) -> None:
    """One scan: slabs go to the scratch folder as they are done, so that a crash loses one slab at most."""
    p = Parameters.model_validate(context.parameters)
    stored, choices = resolved(open_projections(p.path(context)), p.reconstruction)
    stored = replace(stored, geometry=_with_axis(stored, choices))
    plan = planned(stored, choices)
    place, ledger = context.scratch / VOLUME, context.scratch / "slabs.json"
    # Slabs are worth what the volume they are in is: it may have been moved away before the process was killed.
    notes: list[Any] = (read_json(ledger) or []) if place.is_dir() else []
    if not notes:  # a ledger of the volume that was moved away must not vouch for the next one
        ledger.unlink(missing_ok=True)
    for number, rows in enumerate(plan.slabs[len(notes) :], start=len(notes)):

        def step(fraction: float, text: str, number: int = number) -> None:
            context.progress((number + fraction) / len(plan.slabs), f"slab {number + 1} of {len(plan.slabs)}, {text}")

        step(0.0, "reading")
        read, own = plan.around(rows)
        found = _slab(stored, read, choices, step)
        _write(place, found, own, rows, stored, plan, fresh=number == 0)
        notes.append(dict(found.notes))
        write_json(ledger, notes)
    finish_image(place)
    summary = _summary(stored, choices, plan, notes, place)
    write_text(context.out / SUMMARY, json.dumps(summary, indent=1))
    if p.pictures:
        _draw(place, context.out, f"{p.name}, {choices.method}")
    shutil.move(place, context.out / VOLUME)


def reconstructed(projections: Projections, part: ReconstructionPart) -> Image:
    """The volumes of projections in memory, as `reconstruct` writes them; all slices at once, whatever the memory."""
    stored, choices = resolved(hold(projections), part)
    stored = replace(stored, geometry=_with_axis(stored, choices))
    found = _slab(stored, slice(0, stored.geometry.rows), choices, silent)
    names, units, volumes = zip(*_kept(found, stored))
    return Image(np.stack(volumes), names, units, (stored.geometry.pixel_m,) * 3)


def _draw(volume: Path, out: Path, title: str) -> None:
    from darklung.report import orientation, slices

    slices.slices_png(volume, out / "slices.png", title=title, drawn=lambda c: c.role != "known" and c.part not in UNDRAWN)
    if tensor("yx").name in slices.open_slices(volume).units:
        orientation.orientation_png(volume, out / "orientation.png", title=title)


def _with_axis(stored: ProjectionsFile, choices: ReconstructionPart) -> Geometry:
    """The geometry with the rotation axis where the user, the file or the data say."""
    from darklung.tomo.sinogram import estimate_axis

    given = choices.axis_col()
    if choices.axis == "estimate":
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


def _slab(stored: ProjectionsFile, rows: slice, choices: ReconstructionPart, step: Callable[[float, str], None]) -> Volumes:
    from darklung.tomo.sinogram import cautions, suppress_rings

    part = _filled(stored.read(rows))
    if choices.rings:
        names = [n for n in ("attenuation", "dark_field") if n in stored.present]
        rid = {n: np.stack([suppress_rings(v, width=choices.rings) for v in getattr(part, n)]) for n in names}
        part = replace(
            part, attenuation=rid.get("attenuation", part.attenuation), dark_field=rid.get("dark_field", part.dark_field)
        )
    if choices.tilt and not isinstance(stored.geometry, ConeGeometry):
        from darklung.tomo.tilt import upright

        g = stored.geometry
        part = upright(part, tilt_rad=choices.tilt, middle=((g.rows - 1) / 2 - rows.start, g.axis_col))
    shape = field_shape(part.geometry)
    found = apply_method(choices.method, choices.options, part, shape=shape, progress=step)
    seen = getattr(part, "attenuation" if "attenuation" in stored.present else "dark_field").mean(axis=0)
    told = cautions(seen, part.geometry, analytic=choices.method == "fbp")
    return replace(found, notes={**found.notes, "cautions": [*_dead_views(stored, part), *told]})


def _dead_views(stored: ProjectionsFile, part: Projections) -> list[str]:
    """Which views hold nothing, in these rows."""
    dead = np.flatnonzero(~part.valid.any(axis=(2, 3)).all(axis=0)) if "valid" in stored.present else ()
    listed = ", ".join(str(int(v)) for v in dead[:5]) + (", ..." if len(dead) > 5 else "")
    return [f"{len(dead)} view(s) without a valid pixel, filled in from those beside: {listed}"] if len(dead) else []


def _kept(found: Volumes, stored: ProjectionsFile) -> list[tuple[str, str, NDArray[np.float32]]]:
    """(name, unit, volume) of each channel that the file has data for."""
    names = channel_names(stored.directions_rad)
    every = [(n, "1/m", v) for n, v in zip(names, (found.attenuation, *found.dark_field))]
    every += [(name, unit, volume) for name, (unit, volume) in found.extras.items()]
    absent = [n for n in ("attenuation", "dark_field") if n not in stored.present]
    return [channel for channel in every if Channel.parse(channel[0]).signal not in absent]


def _write(
    place: Path,
    found: Volumes,
    own: slice,
    rows: slice,
    stored: ProjectionsFile,
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


def _summary(
    stored: ProjectionsFile, choices: ReconstructionPart, plan: SlabPlan, notes: list[Any], volume: Path
) -> dict[str, Any]:
    array = open_array(volume)
    exact: Any = json.loads((volume / "zarr.json").read_text(encoding="utf-8"))["attributes"]["darklung"]
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
        "slab_notes": [{k: v for k, v in note.items() if k != "cautions"} for note in notes],
        "cautions": list(dict.fromkeys(line for note in notes for line in note["cautions"])),
        "middle_slice": {
            name: {"median": float(np.median(v)), "low": float(np.percentile(v, 1)), "high": float(np.percentile(v, 99))}
            for name, v in zip(exact["names"], middle)
        },
    }


def _tilt(geometry: Geometry, choices: ReconstructionPart) -> float:
    return geometry.tilt_rad if isinstance(geometry, ConeGeometry) else choices.tilt or 0.0
