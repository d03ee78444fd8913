"""One radiograph of a simulated animal, by the same retrieval and correction as its CT, with its truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import Field

from darklung.core.random import derive_seed
from darklung.core.types import Phantom
from darklung.core.views import view_image
from darklung.correct.invalid import fill_invalid
from darklung.features.channels import derived_channels
from darklung.features.radiographs import radiograph_case
from darklung.insert.radiograph import LABEL_CHORD_M
from darklung.io.case import CaseFacts, load_case, save_case
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
        ct, about = load_case(context.input("case"), ()), CaseFacts(**p.about)
        how: dict[str, Any] = {"about": about, "margin_m": p.channels.margin, "least_path_m": LABEL_CHORD_M}
        save_case(context.out, radiograph_case(maps, truth, projections.geometry, ct, animal.insertions, **how))
