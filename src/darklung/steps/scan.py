"""Raw phase-stepping frames of a simulated animal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from darklung.core.types import Phantom
from darklung.io.documents import Document
from darklung.io.hdf5 import load, save
from darklung.io.names import PHANTOM, SCAN
from darklung.pipeline import Context, Task
from darklung.pipeline.bar import TimeLeft
from darklung.study.scanner import EffectsPart, InstrumentPart, ScanPart

if TYPE_CHECKING:  # what a study may say of sources must not decide the step's key
    from darklung.study.sources import SimulatedSource

STAGE = "scan"


class Parameters(Document):
    """A scanner and the seed of its noise."""

    instrument: InstrumentPart
    scan: ScanPart
    effects: EffectsPart
    seed: int


def tasks(source: SimulatedSource) -> Callable[[str, int], Task]:
    """What makes the scan of one animal at one site a task, of its name and the seed of its noise.

    Frames are large and go when nothing needs them, unless they shall be kept.
    """
    parts = Parameters(instrument=source.instrument, scan=source.scan, effects=source.effects, seed=0)
    shared, files, transient = parts.model_dump(mode="json"), source.instrument.files(), not source.scan.keep_frames

    def task(name: str, seed: int) -> Task:
        inputs, parameters = {"phantom": (f"phantom/{name}",)}, {**shared, "seed": seed}
        return Task(STAGE, name, "darklung.steps.scan:scan", parameters, inputs, files=files, transient=transient)

    return task


def scan(context: Context) -> None:
    """Raw phase-stepping frames of one animal."""
    from darklung.simulate.scan import simulate_scan

    p, left = Parameters.model_validate(context.parameters), TimeLeft()
    frames = simulate_scan(
        load(context.input("phantom") / PHANTOM, Phantom),
        instrument=p.instrument.instrument(),
        protocol=p.scan,
        effects=p.effects,
        seed=p.seed,
        progress=lambda done, total: context.progress(done / total, f"views, {left(done, total)}"),
    )
    save(context.out / SCAN, frames)
