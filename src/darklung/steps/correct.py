"""Beam and visibility hardening of projections, block by block of views."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from darklung.calibrate.file import load_calibration
from darklung.core.checks import DarklungError
from darklung.core.types import Projections
from darklung.correct.ladder import Knowledge, find_correction
from darklung.correct.response import SpectralResponse
from darklung.io.names import PROJECTIONS
from darklung.physics.materials import MATERIALS
from darklung.pipeline import Context, Task
from darklung.steps.blocks import change_projections
from darklung.steps.projections import ReadsProjections, wired
from darklung.study.processing import RECOMMENDED, CorrectionPart
from darklung.study.scanner import InstrumentPart
from darklung.study.sources import CalibrationsPart

STAGE = "correct"
# Thickness of tissue up to which known spectra correct.
REACH_M = 0.06
# Corrections that look at each pixel by itself, so that blocks of views can be corrected one after another.
BY_PIXEL = ("none", "look_up", "two_material", "factor", "inversion")
Change = Callable[[Projections], Projections]


class Parameters(ReadsProjections):
    """What is corrected, and what is known of the beam."""

    correction: CorrectionPart
    instrument: InstrumentPart | None = None
    calibrations: CalibrationsPart = CalibrationsPart()


def task(name: str, parameters: Parameters, projections: str | Path, *, transient: bool = False) -> Task:
    """Correction of another task's projections, or of those in a file."""
    files = dict(parameters.calibrations.files())
    if parameters.instrument is not None:
        files |= parameters.instrument.files()
    fields, inputs = wired(projections)
    plain = parameters.model_copy(update=fields).model_dump(mode="json")
    function, plugins = "darklung.steps.correct:correct", (parameters.correction.hardening,)
    return Task(STAGE, name, function, plain, inputs, files=files, plugins=plugins, transient=transient)


def needed(parameters: Parameters) -> bool:
    """Whether anything is to be done: without spectra nothing is recommended."""
    known = parameters.instrument is not None or bool(parameters.calibrations.wedges)
    return parameters.correction.hardening != "none" and (known or parameters.correction.hardening != RECOMMENDED)


def correct(context: Context) -> None:
    """``projections.h5`` corrected, and ``correction.json``: the method that was used."""
    p = Parameters.model_validate(context.parameters)
    method, change = hardening(p)
    lines = change_projections(p.path(context), context.out / PROJECTIONS, change, whole=method not in BY_PIXEL)
    (context.out / "correction.json").write_text(json.dumps({"method": method, "told": lines}, indent=1))


def hardening(p: Parameters) -> tuple[str, Change]:
    """The method and what it does to projections; spectra are those of a calibration, else of the instrument.

    Raises
    ------
    DarklungError
        A method that needs spectra where none are known, or a calibration of another kind.
    """
    knowledge, method = _knowledge(p)
    correction = find_correction(method)
    return method, lambda projections: correction(projections, knowledge)


def _knowledge(p: Parameters) -> tuple[Knowledge, str]:
    part, chosen = p.correction, p.correction.hardening
    if p.calibrations.wedges:
        found = load_calibration(Path(p.calibrations.wedges))
        if found.knowledge is None:
            raise DarklungError(f"{p.calibrations.wedges}: wanted a calibration of wedges, got one of {found.kind}")
        return found.knowledge, found.method if chosen == RECOMMENDED else chosen
    if p.instrument is None:
        raise DarklungError(
            f"correction.hardening: {chosen} needs spectra; wanted calibrations.wedges or an instrument of the source"
        )
    response = SpectralResponse.of(p.instrument.instrument())
    knowledge = Knowledge(
        response,
        material="soft_tissue",
        second_material=part.second_material,
        second_m=part.second_path * MATERIALS[part.second_material].density_g_cm3,
        max_thickness_m=REACH_M,
    )
    return knowledge, "inversion" if chosen == RECOMMENDED else chosen
