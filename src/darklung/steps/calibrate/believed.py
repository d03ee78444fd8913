"""The spectra that a scanner's owner believes, from the instrument section of a study or protocol file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from darklung.calibrate.beam import filter_name
from darklung.calibrate.beam_fits import Belief
from darklung.calibrate.file import load_calibration
from darklung.core.checks import DarklungError, check_one_of, require
from darklung.correct.response import SpectralResponse
from darklung.io.documents import read_yaml, validate
from darklung.physics.instrument import Instrument
from darklung.physics.materials import MATERIALS
from darklung.study.scanner import InstrumentPart


def read_response(path: Path) -> SpectralResponse:
    """The believed spectra of the ``instrument`` section of a YAML file."""
    return SpectralResponse.of(read_instrument(path))


def read_belief(
    instrument: Path | None, wedges: Path | None, material: str, gains: Mapping[str, float] = MappingProxyType({})
) -> Belief | None:
    """What is believed of the beam: of an instrument, of a calibration of wedges, or of both (ξ of the first, spectra of the
    second); None without either."""
    if instrument is None and wedges is None:
        require(not material, "--material: belongs to --instrument or --wedges, got neither")
        require(not gains, "--gain: belongs to --instrument or --wedges, got neither")
        return None
    if material:
        check_one_of("material", material, MATERIALS)
    known = read_instrument(instrument) if instrument else None
    told = tuple((filter_name(text), gain) for text, gain in gains.items())
    require(len({text for text, _ in told}) == len(told), f"--gain: wanted each filter once, got {', '.join(gains)}")
    xi = known.reference_correlation_length_m if known else 0.0
    if wedges is None:
        return Belief(SpectralResponse.of(known), xi, material, gains=told) if known else None
    learnt = load_calibration(wedges, "wedges").knowledge
    if learnt is None or learnt.wedge is None:
        raise DarklungError(f"{wedges}: wanted a calibration with a measured wedge")
    return Belief(learnt.response, _at(known, learnt.response), material, (learnt.wedge,), told)


def _at(known: Instrument | None, response: SpectralResponse) -> float:
    """ξ of the instrument at the reference energy of other spectra; 0 where there is no instrument."""
    if known is None:
        return 0.0
    return known.reference_correlation_length_m * known.reference_energy_kev / response.reference_energy_kev


def read_instrument(path: Path) -> Instrument:
    """The instrument of the ``instrument`` section of a YAML file."""
    content = read_yaml(path)
    section = content.get("instrument") if isinstance(content, dict) else None
    require(isinstance(section, dict), f"{path}: wanted a section instrument, as in a study file")
    part: InstrumentPart = validate(section, InstrumentPart, f"{path}: instrument")
    return part.located(path.parent).instrument()
