"""One radiograph of a simulated animal, by the same retrieval and correction as its CT, with its truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from darklung.core.geometry import Geometry
from darklung.core.random import derive_seed
from darklung.core.types import Image, Insertion, Phantom
from darklung.core.views import pixel_position_m, shadow_of, view_facts, view_image
from darklung.correct.invalid import fill_invalid
from darklung.features.channels import crop_to_region, derived_channels
from darklung.features.labels import hard_negatives, lesion_labels
from darklung.insert.radiograph import LABEL_CHORD_M
from darklung.io.case import CaseFacts, LabelledCase, load_case, save_case
from darklung.io.documents import Document
from darklung.io.hdf5 import load, save
from darklung.io.images import save_image
from darklung.io.names import PHANTOM, PROJECTIONS
from darklung.io.retrieval import Retrieval
from darklung.phantom.describe import radiograph_truth
from darklung.pipeline import Context, Task
from darklung.simulate.scan import fine_geometry, simulate_scan
from darklung.steps import correct
from darklung.steps.correct import hardening_of, needed
from darklung.steps.retrieve import retrieved
from darklung.study.processing import SIMULATED, ChannelsPart, ProcessingPart
from darklung.study.scanner import EffectsPart, InstrumentPart, ScanPart
from darklung.study.sources import RadiographsPart, SimulatedSource

STAGE = "radiograph"
COUNTS = RadiographsPart().counts  # as in dey_2025_radiograph
VIEW = "view"  # of a case's provenance: the beam that it was taken with


class Parameters(Document):
    """The scanner of the animal's site, at the dose of a radiograph; `about` and `channels` of one that becomes a case."""

    instrument: InstrumentPart
    scan: ScanPart
    effects: EffectsPart
    retrieval: Retrieval
    correction: correct.Parameters
    seed: int
    about: dict[str, Any] = Field({})
    channels: ChannelsPart = ChannelsPart()


def task(
    source: SimulatedSource,
    animal: Mapping[str, Any],
    processing: ProcessingPart,
    seed: int,
    *,
    angle_rad: float = 0.0,
    counts: float = COUNTS,
    about: Mapping[str, Any] | None = None,
) -> Task:
    """The radiograph of one animal; with `about` a labelled case beside its CT's, under the name of its subject."""
    name, at = animal["name"], source.at(animal["site"])
    item = name if about is None else about["subject"]
    known = correct.known_of(processing.correction, at.instrument, at.calibrations)
    retrieval = processing.retrieval_of(SIMULATED)
    parameters = Parameters(
        instrument=at.instrument,
        scan=replace(at.scan, views=1, first_rad=angle_rad, counts_per_pixel=counts),
        effects=at.effects,
        retrieval=retrieval,
        correction=known,
        seed=derive_seed(seed, "radiograph", item),
        about=dict(about or {}),
        channels=processing.channels,
    )
    plugins = (*known.correction.plugins(), *retrieval.plugins())
    inputs: dict[str, tuple[str, ...]] = {"phantom": (f"phantom/{name}",)}
    inputs |= {} if about is None else {"case": (f"cases/{name}",)}
    plain = parameters.model_dump(mode="json")
    return Task(STAGE, item, "darklung.steps.radiograph:radiograph", plain, inputs, known.files(), plugins)


def radiograph(context: Context) -> None:
    """One radiograph, through the animal's back by default, retrieved and corrected, with its truth on the same pixels.

    ``radiograph.ome.zarr`` has the channels of a CT case, as line integrals; ``truth.ome.zarr`` the path in lung and in
    lesions [m] and the insertion that fills most of each ray. Where the animal's CT case is an input, it is a labelled case
    too.
    """
    p = Parameters.model_validate(context.parameters)
    animal = load(context.input("phantom") / PHANTOM, Phantom)
    instrument = p.instrument.instrument()
    raw = simulate_scan(animal, instrument=instrument, protocol=p.scan, effects=p.effects, seed=p.seed)
    projections = retrieved(raw, p.retrieval)
    if needed(p.correction):
        projections = hardening_of(p.correction)(projections)
    projections, _ = fill_invalid(projections)
    save(context.out / PROJECTIONS, projections)
    maps = derived_channels(view_image(projections), seed=p.seed)
    truth = radiograph_truth(animal, maps, fine_geometry(animal, p.scan))
    save_image(context.out / "radiograph.ome.zarr", maps)
    save_image(context.out / "truth.ome.zarr", truth)
    if "case" in context.inputs:
        save_case(context.out, _case(p, maps, truth, projections.geometry, animal.insertions, context.input("case")))


def _case(
    p: Parameters, maps: Image, truth: Image, geometry: Geometry, insertions: tuple[Insertion, ...], volume: Path
) -> LabelledCase:
    """The radiograph as a case: lung and search region are the shadows of those found in the CT, not of the truth."""
    ct = load_case(volume, ())
    lung, region = (shadow_of(mask, ct.channels, geometry, maps) for mask in (ct.lung, ct.region))
    crop = crop_to_region(maps, region, margin_m=p.channels.margin)
    thrown = tuple(replace(i, center_m=_thrown(i.center_m, geometry)) for i in insertions)
    instances = truth.channel("instance").astype(np.uint16)
    lesions = np.isin(instances, [i.number for i in insertions if i.kind == "lesion"])
    instances[lesions & (truth.channel("lesion_path") <= LABEL_CHORD_M)] = 0  # rays that only graze one
    own = instances[crop.slices]
    told = {**p.about, "provenance": {**p.about.get("provenance", {}), VIEW: view_facts(geometry)}}
    return LabelledCase(
        channels=crop.image,
        labels=lesion_labels(own, thrown),
        lung=lung[crop.slices],
        region=crop.region,
        instances=own,
        hard=hard_negatives(thrown, own, crop.image),
        insertions=thrown,
        about=CaseFacts(**told),
    )


def _thrown(center_m: tuple[float, float, float], geometry: Geometry) -> tuple[float, float, float]:
    """Where a point is seen, in the detector's frame, as insertions in radiographs have it: (z, 0, across)."""
    row, col = pixel_position_m(geometry, np.array([center_m]))[0]
    return float(row), 0.0, float(col)
