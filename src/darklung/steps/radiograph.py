"""One radiograph of a simulated animal, by the same retrieval and correction as its CT, with its truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.random import derive_seed
from darklung.core.types import Image, Phantom, Projections
from darklung.correct.invalid import fill_invalid
from darklung.features.channels import derived_channels
from darklung.io.documents import Document
from darklung.io.hdf5 import load, save
from darklung.io.images import save_image
from darklung.io.names import PHANTOM, PROJECTIONS
from darklung.io.retrieval import Retrieval
from darklung.pipeline import Context, Task
from darklung.simulate.scan import simulate_scan
from darklung.steps import correct
from darklung.steps.correct import hardening_of, needed
from darklung.steps.reconstruct import channel_names
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
    maps = derived_channels(_maps(projections), seed=p.seed)
    save_image(context.out / "radiograph.ome.zarr", maps)
    save_image(context.out / "truth.ome.zarr", radiograph_truth(animal, maps, p.scan.supersampling))


def _maps(projections: Projections) -> Image:
    """Attenuation (mean over directions) and the dark field of each direction of the only view."""
    spacing = (projections.geometry.pixel_m,) * 2
    data = np.stack([projections.attenuation.mean(axis=0)[0], *(d[0] for d in projections.dark_field)])
    names = channel_names(projections.directions_rad)
    return Image(data.astype(np.float32), names, ("1",) * len(names), spacing, frame="detector")


def radiograph_truth(animal: Phantom, pixels: Image, supersampling: int) -> Image:
    """Paths through lung and lesions [m] and the insertion with the longest path, along y, on the pixels of a radiograph."""

    def path(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        through = mask.sum(axis=1) * animal.voxel_m
        rows, cols = (n // supersampling for n in through.shape)
        blocks = through[: rows * supersampling, : cols * supersampling]
        return np.asarray(blocks.reshape(rows, supersampling, cols, supersampling).mean(axis=(1, 3)))

    longest, number = np.zeros(pixels.shape), np.zeros(pixels.shape)
    for k in np.unique(animal.instances[animal.instances > 0]):
        own = path(animal.instances == k)
        number[own > longest] = k
        longest = np.maximum(longest, own)
    layers = {"lung_path": path(animal.lobes > 0), "lesion_path": path(animal.lesion_mask()), "instance": number}
    data = np.stack([v.astype(np.float32) for v in layers.values()])
    return Image(data, tuple(layers), ("m", "m", "1"), pixels.spacing_m, pixels.origin_m, "detector")
