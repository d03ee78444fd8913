"""The spectra that a scanner's owner believes, from the instrument section of a study or protocol file."""

from __future__ import annotations

from pathlib import Path

from darklung.core.checks import require
from darklung.correct.response import SpectralResponse
from darklung.io.documents import read_yaml, validate
from darklung.study.scanner import InstrumentPart


def read_response(path: Path) -> SpectralResponse:
    """The believed spectra of the ``instrument`` section of a YAML file."""
    content = read_yaml(path)
    section = content.get("instrument") if isinstance(content, dict) else None
    require(isinstance(section, dict), f"{path}: wanted a section instrument, as in a study file")
    part: InstrumentPart = validate(section, InstrumentPart, f"{path}: instrument")
    return SpectralResponse.of(part.located(path.parent).instrument())
