"""One radiograph of a simulated animal, by the same retrieval and correction as its CT, with its truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from darklung.core.random import derive_seed
from darklung.core.types import Phantom
from darklung.core.views import view_image
from darklung.correct.invalid import fill_invalid
from darklung.features.channels import derived_channels
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
from darklung.study.processing import SIMULATED, ProcessingPart
from darklung.study.scanner import EffectsPart, InstrumentPart, ScanPart
from darklung.study.sources import SimulatedSource

STAGE = "radiograph"
COUNTS = 1e5  # open-beam counts of a pixel in all steps and directions of one view, as in dey_2025_radiograph


class Parameters(Document):
    """The scanner of the animal's site, at the dose of a radiograph."""

    instrument: InstrumentPart
    scan: ScanPart
    effects: EffectsPart
    retrieval: Retrieval
    correction: correct.Parameters
    seed: int


def task(source: SimulatedSource, animal: Mapping[str, Any], processing: ProcessingPart, seed: int) -> Task:
    """The radiograph of one animal."""
    name, at = animal["name"], source.at(animal["site"])
    known = correct.known_of(processing.correction, at.instrument, at.calibrations)
    retrieval = processing.retrieval_of(SIMULATED)
    parameters = Parameters(
        instrument=at.instrument,
        scan=replace(at.scan, views=1, counts_per_pixel=COUNTS),
        effects=at.effects,
        retrieval=retrieval,
        correction=known,
        seed=derive_seed(seed, "radiograph", name),
    )
    plugins = (*known.correction.plugins(), *retrieval.plugins())
    inputs = {"phantom": (f"phantom/{name}",)}
    plain = parameters.model_dump(mode="json")
    return Task(STAGE, name, "darklung.steps.radiograph:radiograph", plain, inputs, known.files(), plugins)


def radiograph(context: Context) -> None:
    """One radiograph through the animal's back, retrieved and corrected, with its truth on the same pixels.

    ``radiograph.ome.zarr`` has the channels of a CT case, as line integrals; ``truth.ome.zarr`` the path in lung and in
    lesions [m] and the insertion that fills most of each ray.
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
    save_image(context.out / "radiograph.ome.zarr", maps)
    save_image(context.out / "truth.ome.zarr", radiograph_truth(animal, maps, fine_geometry(animal, p.scan)))
