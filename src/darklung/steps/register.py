"""Sections placed in the volume of their animal: transforms, labels as a case, agreement with maps, a page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from darklung.core.channel import values_of
from darklung.core.checks import check_one_of, require
from darklung.core.resample import reorient
from darklung.core.types import Image
from darklung.features.lung import find_lungs
from darklung.histology.plane import PLANES
from darklung.io.documents import Document
from darklung.io.images import save_image
from darklung.io.labels import read_region
from darklung.io.tables import save_json, save_table
from darklung.io.volumes import VolumeOptions, read_volume
from darklung.pipeline import Context, Task
from darklung.register.carry import Carried, carry
from darklung.register.features import MATCHES
from darklung.register.files import Landmarks, read_landmarks, save_maps
from darklung.register.judge import shrinkage_of
from darklung.register.place import Placed, place
from darklung.register.pose import SHARED
from darklung.register.search import Question
from darklung.report.registration import write_registration
from darklung.steps.carried import Agreed, agreed, save_labels
from darklung.steps.compared import compared_maps
from darklung.steps.placeable import Placeable, read_placeable
from darklung.steps.registered_page import overlay, pairs, planes
from darklung.study.histology import RegisterPart, SectionPart

STAGE = "register"
MAPS, FACTS, SECTIONS, PAGE, LABELLED, PROBABILITY = (
    "transforms.json", "quality.json", "sections", "registration.html", "case", "carried.ome.zarr"
)  # fmt: skip
COARSE_M = 60e-6
MIRRORED = {"no": (1.0, 1.0), "up-down": (-1.0, 1.0), "left-right": (1.0, -1.0)}
"""Flip -> signs of (row, col) from the picture's middle."""
COLUMNS = {
    "section": "name of the section",
    "number": "of the section in its block, from 1",
    "z_mm": "where the middle of the section's lung lies in the volume's frame",
    "y_mm": "likewise",
    "x_mm": "likewise",
    "outline_dice": "of the section's outline and the volume's lung in its plane",
    "error_rows_um": "predicted standard deviation of a place along the picture's rows, root mean square over the lung",
    "error_cols_um": "likewise along its columns",
    "error_normal_um": "likewise across the section",
    "landmarks": "landmarks that the pose was not drawn to",
    "landmark_error_um": "median distance of these from where the section puts them; empty where there are none",
    "landmark_error_95_um": "95th percentile of the same",
    "lung_mm2": "area of lung on the slide",
    "lung_before_mm2": "the same in the animal, as found",
    "carried_mm2": "area of what is carried, on the slide",
    "carried_before_mm2": "the same in the animal, as found",
}


class Parameters(Document):
    """Whose sections, and how they are placed."""

    subject: str
    animal: str
    volume: str
    reading: VolumeOptions = VolumeOptions()
    lung: str = Field("", description="where lung is, if not found in the volume")
    landmarks: str = Field("", description="table of landmarks")
    truth: str = Field("", description="labels of the volume that carried ones are compared with")
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    positions: tuple[float | None, ...]
    sections: tuple[SectionPart, ...]
    register_: RegisterPart = Field(RegisterPart(), alias="register")


def task(parameters: Parameters) -> Task:
    """Sections of one animal in its volume.

    Raises
    ------
    DarklungError
        Places of some of the sections alone.
    """
    p = parameters
    known = sum(one is not None for one in p.positions)
    told = "sections: wanted the position of each (or a spacing), or of none"
    require(known in (0, len(p.positions)), f"{told}; got those of {known} of {len(p.positions)}")
    files = {f"{name}: {what}": path for name, part in zip(p.names, p.sections) for what, path in part.files().items()}
    if p.landmarks:
        files["landmarks"] = Path(p.landmarks)
    data = tuple(Path(one) for one in (p.volume, p.lung, p.truth) if one)
    plain = p.model_dump(mode="json", by_alias=True)
    return Task(STAGE, p.subject, "darklung.steps.register:register", plain, files=files, data=data)


def register(context: Context) -> None:
    """``transforms.json``, ``sections``, ``quality.json``, ``case``, ``carried.ome.zarr`` and ``registration.html``."""
    start = time.perf_counter()
    p = Parameters.model_validate(context.parameters)
    image = reorient(read_volume(Path(p.volume), options=p.reading))
    lung = _lung(p, image)
    marks = landmarks_of(p)
    ask = _question(p, image, marks["fit"])
    sections = []
    for number, (name, part) in enumerate(zip(p.names, p.sections)):
        context.progress(0.3 * number / len(p.names), name)
        sections.append(read_placeable(name, part, carried=p.register_.carry, coarse_m=COARSE_M))
    views = [s.view for s in sections]
    placed = place(views, image, lung, ask, progress=lambda share, word: context.progress(0.3 + 0.5 * share, word))
    save_maps(context.out / MAPS, placed.maps)
    carried = carry(image, placed.maps, [s.drawn for s in sections], reach_m=p.register_.reach)
    _written(context.out, Done(p, image, lung, sections, placed, carried, marks["check"]), time.perf_counter() - start)


def landmarks_of(p: Parameters) -> dict[str, dict[str, Landmarks]]:
    """Landmarks by use and section, in the frame of the sections: mirrored where a picture is, as outlines are."""
    if not p.landmarks:
        return {"fit": {}, "check": {}}
    signs = {name: MIRRORED[part.flip] for name, part in zip(p.names, p.sections)}
    read = read_landmarks(Path(p.landmarks), p.names)
    return {
        use: {name: replace(marks, points_m=marks.points_m * signs[name]) for name, marks in own.items()}
        for use, own in read.items()
    }


@dataclass(frozen=True)
class Done:
    """All that is written of one subject."""

    p: Parameters
    image: Image
    lung: NDArray[np.bool_]
    sections: Sequence[Placeable]
    placed: Placed
    carried: Carried
    check: dict[str, Landmarks]


def _written(out: Path, done: Done, seconds: float) -> None:
    p, image, carried, part = done.p, done.image, done.carried, done.p.register_
    rows = [_row(done, number) for number in range(len(p.names))]
    save_table(out / SECTIONS, rows, COLUMNS)
    labels = carried.labels(part.band)
    if (labels[done.lung] != 255).any():
        save_labels(out / LABELLED, image, done.lung, labels, subject=p.subject, animal=p.animal, told=_told(done))
    probability = np.where(carried.seen, carried.probability, np.nan).astype(np.float32)
    layers = np.stack([probability, np.where(carried.seen, carried.error_m, np.nan)]).astype(np.float32)
    save_image(out / PROBABILITY, image.with_data(layers, ("probability", "border_error"), ("1", "m")))
    truth = agreed(carried, labels, Path(p.truth), image) if p.truth else None
    maps = compared_maps(p.sections, p.names, done.placed.maps, image, part, out)
    facts = {**_facts(done), "seconds": seconds, "labels": None if truth is None else asdict(truth)}
    save_json(out / FACTS, {**facts, "maps": {name: asdict(one.agreement) for name, one in maps.items()}})
    channel = _question(p, image, {}).channels[0]
    write_registration(
        out / PAGE,
        title=p.subject,
        synthetic=any(s.synthetic for s in done.sections),
        flags=done.placed.flags,
        overlays=[overlay(s, m, image, channel, done.lung) for s, m in zip(done.sections, done.placed.maps)],
        rows=rows,
        planes=planes(image, channel, carried),
        pairs=pairs(maps),
        summary=_summary(done, truth),
    )


def _lung(p: Parameters, image: Image) -> NDArray[np.bool_]:
    require(len(image.shape) == 3, f"{p.volume}: wanted a volume, got an image of {len(image.shape)} axes")
    if p.lung:
        return read_region(Path(p.lung), like=image)
    told = f"{p.volume}: has no channel attenuation to find the lung in; say where it is (--lung)"
    require("attenuation" in image.names, told)
    return find_lungs(image).lung


def _question(p: Parameters, image: Image, fit: dict[str, Landmarks]) -> Question:
    part = p.register_
    known = ((s,) if s in image.names else values_of(image.names, s) for s in MATCHES)
    channels = part.channels or tuple(n for names in known for n in names)
    require(bool(channels), f"{p.volume}: wanted a channel {' or '.join(MATCHES)}, got {', '.join(image.names)}")
    for name in channels:
        check_one_of(f"{p.volume}: channel", name, image.names)
    numbers, spacing = _along(p)
    quarter = (0.0, np.pi / 2, np.pi, -np.pi / 2)
    return Question(
        axes=np.eye(3)[:, list(PLANES[part.plane])],
        channels=channels,
        numbers=numbers,
        spacing_m=spacing,
        shrinkage=part.shrinkage,
        turns_rad=quarter if part.turn == "any" else (0.0,),
        landmarks={p.names.index(n): (m.points_m, m.places_m) for n, m in fit.items()},
        landmark_sd_m=part.landmark_error,
    )


def _along(p: Parameters) -> tuple[tuple[float, ...], float | None]:
    """Place of each section in the stack, in steps, and the step in the animal; None where nobody knows it."""
    known = [one for one in p.positions if one is not None]
    if len(known) < len(p.positions) or len(known) < 2:
        return tuple(float(n) for n in p.numbers), None
    step = (known[-1] - known[0]) / (len(known) - 1)
    part, places = p.register_, tuple(one / step for one in known)
    shrunk = 0.15 if part.shrinkage is None else part.shrinkage
    return places, step if part.spacing == "before" else step / (1 - shrunk)


def _row(done: Done, number: int) -> dict[str, Any]:
    one, plane, quality = done.sections[number], done.placed.maps[number], done.placed.quality[number]
    z, y, x = plane.position_m(one.view.middle_m())
    rows, cols, normal = quality.error_m
    area = 1e6 * one.drawn.pixel_m**2
    lung, carried = area * float(one.drawn.lung.sum()), area * float(one.drawn.mask.sum())
    return {
        "section": one.name,
        "number": done.p.numbers[number],
        "z_mm": 1e3 * float(z),
        "y_mm": 1e3 * float(y),
        "x_mm": 1e3 * float(x),
        "outline_dice": quality.dice,
        "error_rows_um": 1e6 * rows,
        "error_cols_um": 1e6 * cols,
        "error_normal_um": 1e6 * normal,
        **_landmark_errors(done, one.name, number),
        "lung_mm2": lung,
        "lung_before_mm2": lung * plane.area_ratio(),
        "carried_mm2": carried,
        "carried_before_mm2": carried * plane.area_ratio(),
    }


def _landmark_errors(done: Done, name: str, number: int) -> dict[str, Any]:
    marks = done.check.get(name)
    if marks is None:
        return {"landmarks": 0, "landmark_error_um": None, "landmark_error_95_um": None}
    off = 1e6 * np.linalg.norm(done.placed.maps[number].position_m(marks.points_m) - marks.places_m, axis=1)
    median, high = (float(v) for v in np.percentile(off, [50, 95]))
    return {"landmarks": len(off), "landmark_error_um": median, "landmark_error_95_um": high}


def _facts(done: Done) -> dict[str, Any]:
    parameters = done.placed.answer.matched.parameters
    tilts = [float(np.degrees(v)) for v in parameters[:3]]
    return {
        "flags": list(done.placed.flags),
        "channels": list(_question(done.p, done.image, {}).channels),
        "frame": done.image.frame,
        "shrinkage": shrinkage_of(done.placed.answer),
        "tilt_deg": tilts[:2],
        "turn_deg": tilts[2],
        "spacing_m": float(parameters[SHARED.index("spacing")]) if len(done.p.names) > 1 else None,
        "sections": [asdict(q) for q in done.placed.quality],
        "rivals": [list(r) for r in done.placed.answer.rivals],
    }


def _told(done: Done) -> dict[str, Any]:
    """Of where the labels come from, for the case."""
    part = done.p.register_
    return {"sections": list(done.p.names), "band": part.band, "carry": part.carry, "flags": list(done.placed.flags)}


def _summary(done: Done, truth: Agreed | None) -> dict[str, str | int | float | None]:
    found: dict[str, str | int | float | None] = {
        "Sections": len(done.p.names),
        "Shrinkage": f"{100 * shrinkage_of(done.placed.answer):.0f} %",
        "Outline Dice": round(min(q.dice for q in done.placed.quality), 3),
        "Voxels seen": int(done.carried.seen.sum()),
    }
    return found if truth is None else {**found, "Dice with given labels": round(truth.dice, 3)}


def output(folder: Path, subject: str) -> Path:
    """Where the output of one subject lies."""
    return folder / STAGE / subject
