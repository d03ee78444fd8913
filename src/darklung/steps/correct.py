"""Beam and visibility hardening of projections, block by block of views."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from darklung.calibrate.hardening import Hardening, hardening
from darklung.core.files import write_text
from darklung.correct.ladder import RECOMMENDED
from darklung.io.names import PROJECTIONS
from darklung.pipeline import Context, Task
from darklung.steps.blocks import change_projections
from darklung.steps.projections import ReadsProjections, wired
from darklung.study.calibrations import CalibrationsPart
from darklung.study.correction import CorrectionPart
from darklung.study.scanner import InstrumentPart

STAGE = "correct"
RECORD = "correction.json"


class Parameters(ReadsProjections):
    """What is corrected, and what is known of the beam."""

    correction: CorrectionPart
    instrument: InstrumentPart | None = None
    calibrations: CalibrationsPart = CalibrationsPart()

    def files(self) -> dict[str, Path]:
        """Files from outside that decide the correction."""
        instrument = {} if self.instrument is None else self.instrument.files()
        return {**self.calibrations.files("wedges"), **instrument}


def known_of(correction: CorrectionPart, instrument: InstrumentPart | None, calibrations: CalibrationsPart) -> Parameters:
    """The parameters of a scanner; of its calibrations the one by wedges alone decides.

    Raises
    ------
    DarklungError
        What `hardening` would refuse, before anything is computed.
    """
    known = Parameters(correction=correction, instrument=instrument, calibrations=calibrations.only("wedges"))
    energy_kev(known)
    return known


def energy_kev(known: Parameters) -> float | None:
    """Energy that corrected values refer to; None where nothing is corrected."""
    if not needed(known):
        return None
    if known.instrument is not None and not known.calibrations.wedges:
        return float(known.instrument.reference_energy_kev)
    used = ready(known.model_dump_json())
    return None if used.knowledge is None or used.method == "none" else used.knowledge.response.reference_energy_kev


@lru_cache(maxsize=64)
def ready(parameters: str) -> Hardening:
    """The correction of these parameters (JSON), made once for planning all animals of a scanner."""
    return hardening_of(Parameters.model_validate_json(parameters))


def tasks(parameters: Parameters, *, transient: bool = False) -> Callable[[str, str | Path], Task]:
    """What makes correction of another task's projections, or of those in a file, a task."""
    shared, function = parameters.model_dump(mode="json"), "darklung.steps.correct:correct"
    files, plugins = parameters.files(), parameters.correction.plugins()

    def task(name: str, projections: str | Path) -> Task:
        fields, reads = wired(projections)
        plain = {**shared, **fields}
        return Task(STAGE, name, function, plain, files=files, plugins=plugins, transient=transient, **reads)

    return task


def needed(parameters: Parameters) -> bool:
    """Whether anything is to be done: without spectra nothing is recommended."""
    known = parameters.instrument is not None or bool(parameters.calibrations.wedges)
    return parameters.correction.hardening != "none" and (known or parameters.correction.hardening != RECOMMENDED)


def hardening_of(p: Parameters) -> Hardening:
    """The correction, see `darklung.calibrate.hardening.hardening`."""
    calibration = p.calibrations.files().get("wedges")
    if calibration is None:
        return hardening(p.correction, instrument=None if p.instrument is None else p.instrument.instrument())
    energy = None if p.instrument is None else p.instrument.reference_energy_kev
    return hardening(p.correction, calibration=calibration, energy_kev=energy)


def correct(context: Context) -> None:
    """``projections.h5`` corrected, and ``correction.json``: what was used, and what it did."""
    p = Parameters.model_validate(context.parameters)
    correction = hardening_of(p)
    lines = change_projections(p.path(context), context.out / PROJECTIONS, correction, whole=correction.whole)
    record = {**correction.record(), "told": [*lines, *correction.told()]}
    write_text(context.out / RECORD, json.dumps(record, indent=1))
