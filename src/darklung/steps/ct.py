"""Stages of a simulated CT study, each one function from a task's inputs to its output folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter as clock
from typing import Any

import numpy as np

from darklung.core.checks import DarklungError, check_one_of
from darklung.core.types import Image, Phantom, Projections, Scan
from darklung.io.case import StoredCase, hard_negatives, instances_on_grid, save_case
from darklung.io.hdf5 import load, save
from darklung.io.images import load_image, save_image
from darklung.pipeline import Context
from darklung.pipeline.bar import time_left
from darklung.study.config import (
    AtlasPart,
    BodyPart,
    CorrectionPart,
    CTStudy,
    ReconstructionPart,
    RetrievalPart,
)
from darklung.study.scanner import EffectsPart, InstrumentPart, ScanPart

# Thickness of tissue up to which known spectra correct.
REACH_M = 0.06


def plan_animals(study: CTStudy) -> list[dict[str, Any]]:
    """The cohort, one plain dict an animal; animal i depends on the study's seed and its own number alone."""
    from darklung.phantom.cohort import plan_cohort

    part = study.cohort
    subjects = plan_cohort(
        subjects=part.animals,
        test_subjects=part.test_animals,
        seed=study.seed,
        variants={"train": part.variant, "test": part.test_variant},
        sites={"train": part.sites or tuple(study.sites), "test": part.test_sites or tuple(study.sites)},
        lesions_per_subject=part.lesions,
        diameters_m=part.diameter,
        classes=part.tissues,
        lesion_free_fraction=part.lesion_free,
        shams=part.shams,
        mimics=part.mimics,
    )
    listed = {subject: name for name, site in study.sites.items() for subject in site.subjects}
    for name in listed:
        check_one_of("sites: subject", name, [s.name for s in subjects])
    return [asdict(replace(s, site=listed.get(s.name, s.site))) for s in subjects]


def subject_of(row: Mapping[str, Any]) -> Any:
    """The plan of one animal, from what `plan_animals` gave."""
    from darklung.phantom.cohort import Subject
    from darklung.phantom.lesions import LesionRequest

    requests = {kind: tuple(LesionRequest(**r) for r in row[kind]) for kind in ("lesions", "shams", "mimics")}
    return Subject(**{**row, **requests})


def phantom(context: Context) -> None:
    """One animal: anatomy, microstructure, lesions."""
    p = context.parameters
    body = BodyPart.model_validate(p["body"])
    # Detector pixels must hold whole voxels, so the field of view is rounded up to whole pixels.
    pixel = body.voxel * p["supersampling"]
    extent = (pixel * math.ceil(body.length / pixel - 1e-9), pixel * math.ceil(body.width / pixel - 1e-9))
    subject = subject_of(p["subject"])
    if body.atlas is None:
        made = subject.make(voxel_m=body.voxel, field_of_view_m=extent)
    else:
        made = subject.make_from(_atlas(body.atlas), voxel_m=body.voxel, depth_m=extent[0], multiple=p["supersampling"])
    save(context.out / "phantom.h5", made)


def _atlas(part: AtlasPart) -> Any:
    from darklung.phantom.atlas import make_atlas, read_labels

    return make_atlas(read_labels(part.file), voxel_m=part.voxel, table=part.table, axes=part.axes)


def scan(context: Context) -> None:
    """Raw phase-stepping frames of one animal."""
    from darklung.simulate.scan import simulate_scan

    p, started = context.parameters, clock()
    frames = simulate_scan(
        load(context.input("phantom") / "phantom.h5", Phantom),
        instrument=InstrumentPart.model_validate(p["instrument"]).instrument(),
        protocol=ScanPart.model_validate(p["scan"]),
        effects=EffectsPart.model_validate(p["effects"]),
        seed=p["seed"],
        progress=lambda done, total: context.progress(done / total, f"views, {time_left(clock() - started, done, total)}"),
    )
    save(context.out / "scan.h5", frames)


def retrieve(context: Context) -> None:
    """Attenuation, dark field and phase with variances and validity."""
    from darklung.correct.flux import outer_columns
    from darklung.retrieve.stepping import retrieve

    part = RetrievalPart.model_validate(context.parameters["retrieval"])
    raw = load(context.input("scan") / "scan.h5", Scan)
    # Air beside the animal settles what the frames alone cannot tell about the dose of a step.
    air = outer_columns(raw.geometry.cols) if part.steps != "nominal" else None
    projections = retrieve(raw, reference=part.reference, steps=part.steps, air_cols=air, variance=part.variance)
    save(context.out / "projections.h5", projections)
    _save_preview(context, raw, projections)


def _save_preview(context: Context, raw: Scan, projections: Projections) -> None:
    """One view, kept for the report after the frames are gone."""
    view = raw.geometry.views // 4
    maps = {name: getattr(projections, name)[0, view] for name in ("attenuation", "dark_field", "phase", "visibility")}
    maps["raw frame"] = raw.frames[0, view, 0].astype(np.float32)
    pixel = raw.geometry.pixel_m
    units = {"phase": "rad", "raw frame": "counts"}
    image = Image(
        data=np.stack([m.astype(np.float32) for m in maps.values()]),
        names=tuple(maps),
        units=tuple(units.get(n, "1") for n in maps),
        spacing_m=(pixel, pixel),
        frame="detector",
    )
    save_image(context.out / "preview.ome.zarr", image)


def correct(context: Context) -> None:
    """Flux, hardening, and values for pixels that cannot be trusted."""
    from darklung.correct.flux import normalise_flux
    from darklung.correct.invalid import fill_invalid

    p = context.parameters
    part = CorrectionPart.model_validate(p["correction"])
    projections = load(context.input("retrieve") / "projections.h5", Projections)
    if part.flux:
        projections = normalise_flux(projections)
    instrument = InstrumentPart.model_validate(p["instrument"]).instrument()
    projections = without_hardening(projections, instrument, part)
    filled, report = fill_invalid(projections)
    save(context.out / "projections.h5", filled)
    (context.out / "validity.json").write_text(json.dumps(report))


def without_hardening(projections: Projections, instrument: Any, part: CorrectionPart) -> Projections:
    """Beam and visibility hardening corrected as for soft tissue; the energy law of scattering is that of lung.

    The spectra are the instrument's own, or those of a calibration file, which reach as far as its wedge.
    """
    from darklung.calibrate.file import load_calibration
    from darklung.correct.ladder import Knowledge, find_correction
    from darklung.correct.response import SpectralResponse
    from darklung.physics.materials import MATERIALS

    response, reach = SpectralResponse.of(instrument), REACH_M
    if part.calibration:
        found = load_calibration(Path(part.calibration))
        known = found.knowledge
        if known is None:
            raise DarklungError(f"{part.calibration}: wanted a calibration of wedges, got one of {found.kind}")
        response = replace(known.response, reference_energy_kev=instrument.reference_energy_kev)
        reach = known.max_thickness_m
    knowledge = Knowledge(
        response,
        material="soft_tissue",
        second_material=part.second_material,
        second_m=part.second_path * MATERIALS[part.second_material].density_g_cm3,
        max_thickness_m=reach,
    )
    return find_correction(part.hardening)(projections, knowledge)


def reconstruct(context: Context) -> None:
    """Volumes of attenuation and of the dark field of each direction, by the method that the study names."""
    from darklung.steps.reconstructors import volumes_to_image
    from darklung.tomo.methods import find_method

    part = ReconstructionPart.model_validate(context.parameters["reconstruction"])
    projections = load(context.input("correct") / "projections.h5", Projections)
    found = find_method(part.method, part.options)(projections, **part.options, progress=context.progress)
    save_image(context.out / "image.ome.zarr", volumes_to_image(found, projections))
    (context.out / "directions.json").write_text(json.dumps([float(a) for a in projections.directions_rad]))
    (context.out / "notes.json").write_text(json.dumps(dict(found.notes), indent=1))


def features(context: Context) -> None:
    """Channels for the networks, cropped to the lungs found in the image, and the truth on the same grid."""
    from darklung.features.channels import crop_to_region, direction_name, stack_channels
    from darklung.features.lung import lung_region
    from darklung.steps.reconstructors import with_extras

    image = load_image(context.input("reconstruct") / "image.ome.zarr")
    animal = load(context.input("phantom") / "phantom.h5", Phantom)
    angles = [float(a) for a in json.loads((context.input("reconstruct") / "directions.json").read_text())]
    channels = stack_channels(
        attenuation=_one(image, "attenuation", "attenuation"),
        dark_field=[_one(image, direction_name(angle), "dark_field") for angle in angles],
        directions_rad=angles,
        extras=("noise", *(("anisotropy",) if len(angles) > 1 else ())),
        seed=context.parameters["seed"],
    )
    channels = with_extras(channels, image)
    crop = crop_to_region(channels, lung_region(channels))
    instances = instances_on_grid(animal, crop.image)
    lesions = [i.number for i in animal.insertions if i.kind == "lesion"]
    case = StoredCase(
        channels=crop.image,
        target=np.isin(instances, lesions),
        region=crop.region,
        instances=instances,
        hard=hard_negatives(animal.insertions, instances, crop.image),
        insertions=animal.insertions,
    )
    save_case(context.out, case)


def _one(image: Image, channel: str, name: str) -> Image:
    """One channel of an image under another name."""
    return Image(image.channel(channel)[None], (name,), ("1/m",), image.spacing_m, image.origin_m, image.frame)
