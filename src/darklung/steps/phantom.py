"""Simulated animals: which there are, and each one's anatomy, microstructure and lesions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from darklung.core.checks import check_one_of
from darklung.io.documents import Document
from darklung.io.hdf5 import save
from darklung.io.names import PHANTOM
from darklung.pipeline import Context, Task
from darklung.study.cohort import AtlasPart, BodyPart

if TYPE_CHECKING:  # what a study may say of sources must not decide the step's key
    from darklung.phantom.cohort import Subject
    from darklung.study.sources import SimulatedSource

STAGE = "phantom"
CARRIED = ("lesions", "shams", "mimics")


class Parameters(Document):
    """One animal, as `plan_animals` gave it, and how it is sampled."""

    subject: dict[str, Any]
    body: BodyPart
    supersampling: int


def plan_animals(source: SimulatedSource, seed: int) -> list[dict[str, Any]]:
    """The cohort, one plain dict an animal; animal i depends on the seed and its own number alone."""
    return [plain(one) for one in plan_subjects(source, seed)]


def plain(subject: Subject) -> dict[str, Any]:
    """As `dataclasses.asdict`, which copies every number deeply and takes ten times as long."""
    return {**vars(subject), **{kind: tuple(dict(vars(one)) for one in getattr(subject, kind)) for kind in CARRIED}}


def plan_subjects(source: SimulatedSource, seed: int) -> list[Subject]:
    """The same as plans of animals."""
    from darklung.phantom.cohort import plan_cohort

    part = source.cohort
    subjects = plan_cohort(
        subjects=part.animals,
        test_subjects=part.test_animals,
        seed=seed,
        variants={"train": part.variant, "test": part.test_variant},
        sites={"train": part.sites or tuple(source.sites), "test": part.test_sites or tuple(source.sites)},
        lesions_per_subject=part.lesions,
        diameters_m=part.diameter,
        classes=part.tissues,
        lesion_free_fraction=part.lesion_free,
        shams=part.shams,
        mimics=part.mimics,
        mimic_surface=part.mimic_surface,
    )
    listed = {subject: name for name, site in source.sites.items() for subject in site.subjects}
    for name in listed:
        check_one_of("sites: subject", name, [s.name for s in subjects])
    return [replace(s, site=listed[s.name]) if s.name in listed else s for s in subjects]


def tasks(source: SimulatedSource) -> Callable[[Mapping[str, Any]], Task]:
    """What makes a task of one animal; the site changes how it is scanned and nothing of the animal."""
    shared = {"body": source.body.model_dump(mode="json"), "supersampling": source.scan.supersampling}
    files = source.body.files()

    def task(animal: Mapping[str, Any]) -> Task:
        parameters = {"subject": {**animal, "site": ""}, **shared}
        return Task(STAGE, animal["name"], "darklung.steps.phantom:phantom", parameters, files=files)

    return task


def subject_of(row: Mapping[str, Any]) -> Any:
    """The plan of one animal, from what `plan_animals` gave."""
    from darklung.phantom.cohort import Subject
    from darklung.phantom.lesions import LesionRequest

    requests = {kind: tuple(LesionRequest(**r) for r in row[kind]) for kind in CARRIED}
    return Subject(**{**row, **requests})


def phantom(context: Context) -> None:
    """One animal: anatomy, microstructure, lesions."""
    p = Parameters.model_validate(context.parameters)
    body = p.body
    # Detector pixels must hold whole voxels, so the field of view is rounded up to whole pixels.
    pixel = body.voxel * p.supersampling
    extent = (pixel * math.ceil(body.length / pixel - 1e-9), pixel * math.ceil(body.width / pixel - 1e-9))
    subject = subject_of(p.subject)
    if body.atlas is None:
        made = subject.make(voxel_m=body.voxel, field_of_view_m=extent)
    else:
        made = subject.make_from(_atlas(body.atlas), voxel_m=body.voxel, depth_m=extent[0], multiple=p.supersampling)
    save(context.out / PHANTOM, made)


def _atlas(part: AtlasPart) -> Any:
    from darklung.phantom.atlas import make_atlas, read_labels

    return make_atlas(read_labels(part.file), voxel_m=part.voxel, table=part.table, axes=part.axes)
