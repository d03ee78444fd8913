"""What the images of a study will be, told by headers and settings before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from darklung.calibrate.file import load_calibration
from darklung.calibrate.units import PER_METRE, REFERENCE_UNITS, ScatterUnit, in_units
from darklung.core.channel import Channel, dark_field_at
from darklung.core.checks import require
from darklung.core.geometry import ConeGeometry, Geometry, ParallelGeometry, field_width
from darklung.core.types import Image
from darklung.features.channels import derived_channels
from darklung.features.recipe import Known, is_made, planned
from darklung.features.reference_object import check_object
from darklung.flow.chain import beam_facts, case_beam, own_beam
from darklung.flow.scanned import Light, check_detector, check_light, check_turn, in_place
from darklung.io.case import case_facts, case_lesions
from darklung.io.description import read_raw
from darklung.io.frames import load_scan
from darklung.io.images import image_grid, is_own_image
from darklung.io.names import CHANNELS, item_name, stem
from darklung.io.projections import open_projections
from darklung.io.volumes import header_of
from darklung.steps import correct
from darklung.steps.network_case import beam_of
from darklung.steps.reconstruct import SIGNALS, expected_names, with_default_options
from darklung.steps.recorded_energy import with_recorded_energy
from darklung.steps.retrieve import check_files
from darklung.study.processing import SIMULATED, ReconstructionPart
from darklung.study.scanner import ScanPart
from darklung.study.sources import (
    CasesSource,
    FramesSource,
    LobesSource,
    ProjectionsSource,
    SimulatedSource,
    VolumesSource,
    found_files,
)
from darklung.study.study import Study

_SMALL = 2  # voxels along each axis of an image that stands for a real one where only its channels count


@dataclass(frozen=True)
class Expected:
    """An image, or all images of a source that are alike.

    Parameters
    ----------
    told : str
        What it is, for error lines.
    source : str
        Of the study.
    spacing_m : one a spatial axis [m]
    channels : mapping, optional
        Name -> unit; None where a function of the user's makes them, whose names nobody knows yet.
    item : str
        Name of the case; empty for all of a source.
    side : int, optional
        Voxels along the longest axis.
    lesions : int, optional
        Known in it, where its file tells.
    energy_kev, correlation_length_m : float, optional
        That its values refer to, where anything tells them.
    """

    told: str
    source: str
    spacing_m: tuple[float, ...]
    channels: Mapping[str, str] | None
    item: str = ""
    side: int | None = None
    lesions: int | None = None
    energy_kev: float | None = None
    correlation_length_m: float | None = None

    def known(self) -> Known:
        """The same, as what is made of its channels asks for it."""
        beam = (self.energy_kev, self.correlation_length_m)
        extent = None if self.side is None else self.side * max(self.spacing_m)
        return Known(self.channels or {}, len(self.spacing_m), *beam, self.spacing_m, extent)


def made_units(image: Expected, channels: Sequence[str]) -> dict[str, str]:
    """Unit of each of `channels` that is made of those of an image, and not one of them.

    Raises
    ------
    DarklungError
        One that cannot be made: one line that says why.
    """
    lacking = [c for c in channels if image.channels is not None and c not in image.channels and is_made(c)]
    return {name: planned(name, image.known()).unit for name in lacking}


def expected_images(study: Study, name: str) -> Iterator[Expected]:
    """The images of one source, in the order of its files.

    Raises
    ------
    DarklungError
        Of the first image that cannot be made, or from which no channels can be made.
    """
    source: Any = study.sources[name]
    yield from _OF[type(source)](study, name, source)


def expected_radiographs(study: Study, name: str) -> Iterator[Expected]:
    """The radiographs that a source has of its animals beside their volumes.

    Raises
    ------
    DarklungError
        A file that is no case.
    """
    source: Any = study.sources[name]
    if isinstance(source, CasesSource):
        yield from _cases(study, name, source, "radiographs")
    elif isinstance(source, SimulatedSource) and source.radiographs is not None:
        signals = ("attenuation", *(dark_field_at(a).name for a in source.scan.directions_rad))
        place, pixel = f"sources.{name}.radiographs", source.body.voxel * source.scan.supersampling
        side = None if source.body.atlas else round(max(source.body.width, source.body.length) / pixel)
        channels = _derived(place, signals, units=dict.fromkeys(signals, "1"))
        for image in _simulated(study, name, source):
            yield replace(image, told=place, spacing_m=(pixel, pixel), channels=channels, side=side)


def _simulated(study: Study, name: str, source: SimulatedSource) -> Iterator[Expected]:
    part = with_default_options(study.processing.reconstruction, variances=True)
    names = expected_names(np.asarray(source.scan.directions_rad), part)
    spacing = study.processing.voxel or source.body.voxel * source.scan.supersampling
    side = None if source.body.atlas else round(max(source.body.width, source.body.length) / spacing)
    for site in source.sites or ("",):
        at, place = source.at(site), f"sources.{name}.sites.{site}" if site else f"sources.{name}"
        in_place(f"{place}.instrument", at.instrument.instrument)
        require(at.scan.views > 1, f"{place}.scan.views: one view is a radiograph; wanted views of a turn")
        geometry = _geometry(source, at.scan)
        retrieval = study.processing.retrieval_of(SIMULATED)
        check_light(f"{place}.scan", _light(at), retrieval)
        check_turn(f"{place}.scan", geometry, part)
        if source.body.atlas is None:  # which has a width of its own
            check_detector(f"{place}.scan", geometry, study.processing, retrieval)
        channels = _derived(place, names, unit=at.calibrations.unit)
        beam = beam_facts(correct.known_of(study.processing.correction, at.instrument, at.calibrations), at.calibrations)
        yield Expected(place, name, (spacing,) * 3, channels, side=side, **_beam(beam, at))


def _frames(study: Study, name: str, source: FramesSource) -> Iterator[Expected]:
    part = with_default_options(study.processing.reconstruction, variances=True)
    for description in found_files(source.files, f"sources.{name}.files"):
        for raw, _ in read_raw(description):
            told = f"{description}: {raw.name}"
            check_files(raw, description)
            require(raw.angles is not None, f"{told}: angles: not given, which is a radiograph; wanted views of a turn")
            scan = load_scan(raw, description, eager_bytes=0)  # headers, and no frames
            retrieval = study.processing.retrieval_of(raw.retrieval)
            check_light(told, Light(tuple(raw.steps.phases_rad()), scan.flats.shape[1]), retrieval)
            check_turn(told, scan.geometry, part)
            check_detector(told, scan.geometry, study.processing, retrieval)
            spacing = (study.processing.voxel or raw.pixel,) * 3
            channels = _derived(told, expected_names(np.asarray(raw.directions), part), **_unit_of(told, source, spacing))
            side = _side(scan.geometry, spacing)
            yield Expected(told, name, spacing, channels, item_name(raw.name), side, **_scanned(study, source))


def _projections(study: Study, name: str, source: ProjectionsSource) -> Iterator[Expected]:
    for path in found_files(source.files, f"sources.{name}.files"):
        stored = open_projections(path)
        part = with_default_options(study.processing.reconstruction, variances=stored.variances)
        check_turn(str(path), stored.geometry, part)
        check_detector(str(path), stored.geometry, study.processing)
        names = expected_names(stored.directions_rad, part, present=stored.present)
        spacing = (study.processing.voxel or stored.geometry.pixel_m,) * 3
        channels = _derived(str(path), names, **_unit_of(str(path), source, spacing))
        side = _side(stored.geometry, spacing)
        yield Expected(str(path), name, spacing, channels, item_name(stem(path)), side, **_scanned(study, source))


def _volumes(study: Study, name: str, source: VolumesSource) -> Iterator[Expected]:
    for path in found_files(source.files, f"sources.{name}.files"):
        if is_own_image(path):
            grid = image_grid(path)
            spacing, units = grid.spacing_m, dict(zip(grid.names, grid.units))
        else:
            spacing, unit = header_of(path, options=source.reading)
            units = {source.reading.channel: unit}
        if study.processing.voxel:
            spacing = (study.processing.voxel,) * len(spacing)
        channels = _derived(str(path), tuple(units), units=units, **_unit_of(str(path), source, spacing))
        beam = _beam(own_beam(with_recorded_energy(source, path)), source)
        yield Expected(str(path), name, spacing, channels, item=item_name(stem(path)), **beam)


def _cases(study: Study, name: str, source: CasesSource, key: str = "files") -> Iterator[Expected]:
    for folder in found_files(getattr(source, key), f"sources.{name}.{key}"):
        facts = case_facts(folder)
        grid = image_grid(folder / CHANNELS)
        lesions = None if source.use == "predict" else case_lesions(folder)
        channels, item = dict(zip(grid.names, grid.units)), item_name(facts.subject)
        energy, xi = beam_of(facts)
        energy = case_beam(source, folder, facts).get("energy_kev", energy)
        found = Expected(str(folder), name, grid.spacing_m, channels, item=item, lesions=lesions, energy_kev=energy)
        yield replace(found, correlation_length_m=xi)


def _lobes(study: Study, name: str, source: LobesSource) -> Iterator[Expected]:
    place = f"sources.{name}"
    if study.insertion is not None:
        channels = _derived(place, SIGNALS, units=dict.fromkeys(SIGNALS, "1"))
        yield Expected(place, name, (study.insertion.pixel,) * 2, channels, energy_kev=source.energy)


def _scanned(study: Study, source: FramesSource | ProjectionsSource) -> dict[str, Any]:
    """Energy and ξ: those of the correction, if there is one, else what the source says."""
    known = correct.known_of(study.processing.correction, source.instrument, source.calibrations)
    return _beam({**own_beam(source), **beam_facts(known, source.calibrations)}, source)


def _beam(
    facts: Mapping[str, Any], source: SimulatedSource | FramesSource | ProjectionsSource | VolumesSource
) -> dict[str, Any]:
    """Energy and ξ that values refer to; a unit of attenuation has an energy of its own."""
    found = {name: facts.get(name) for name in ("energy_kev", "correlation_length_m")}
    part = getattr(source, "reference", None)
    own = part.absorber.energy if part is not None and part.absorber else source.calibrations.unit_energy_kev()
    return found if own is None else {**found, "energy_kev": own}


def _derived(
    told: str,
    names: Sequence[str] | None,
    *,
    units: Mapping[str, str] | None = None,
    unit: str = "",
    reference: ScatterUnit | None = None,
) -> dict[str, str] | None:
    """Channels of a case whose image has these, with units; made of a tiny image as they will be of the real one.

    Parameters
    ----------
    told : str
    names : sequence of str, optional
    units : mapping, optional
        Of the image; those of a reconstruction if not given.
    unit : str
        A calibration of scatter units; empty without one.
    reference : ScatterUnit, optional
        Any, where an object in each image gives the unit.
    """
    if names is None:
        return None
    require("attenuation" in names, f"{told}: wanted a channel attenuation, got {', '.join(names)}")
    each = tuple(PER_METRE if units is None else units[name] for name in names)
    tiny = Image(np.zeros((len(names), *(_SMALL,) * 3), np.float32), tuple(names), each, (1.0,) * 3)
    if unit:
        known = load_calibration(Path(unit), "unit").unit
        tiny = tiny if known is None else in_place(f"{told}: calibrations.unit", lambda: in_units(tiny, known))
    if reference is not None:
        tiny = in_place(f"{told}: reference", lambda: in_units(tiny, reference))
    made = in_place(told, lambda: derived_channels(tiny, seed=0))
    return dict(zip(made.names, made.units))


def _unit_of(
    told: str, source: FramesSource | ProjectionsSource | VolumesSource, spacing: tuple[float, ...]
) -> dict[str, Any]:
    """What `_derived` needs of a source's unit; refuses an object that such an image cannot show."""
    part = source.reference
    if part is None:
        return {"unit": source.calibrations.unit}
    for one in (part, part.absorber):
        if one is not None:
            in_place(told, partial(check_object, one.shape, one.diameter, spacing))
    return {"reference": ScatterUnit(0.0, REFERENCE_UNITS)}


def _geometry(source: SimulatedSource, scan: ScanPart) -> Geometry:
    """Of a simulated scan; its detector is as large as the field of view."""
    pixel = source.body.voxel * source.scan.supersampling
    rows, cols = (max(2, int(np.ceil(side / pixel - 1e-9))) for side in (source.body.length, source.body.width))
    if scan.source_axis_m == np.inf:
        return ParallelGeometry(scan.angles_rad, rows, cols, pixel)
    return ConeGeometry(scan.angles_rad, rows, cols, pixel, scan.source_axis_m)


def _side(geometry: Geometry, spacing: tuple[float, ...]) -> int:
    """Voxels along the longest axis of the volume that is reconstructed of it."""
    return round(max(field_width(geometry), geometry.rows) * geometry.pixel_m / spacing[0])


def _light(source: SimulatedSource) -> Light:
    """What retrieval will find of a simulated scan: its curves share the counts evenly."""
    scan = source.scan
    curve = scan.counts_per_pixel / (scan.views * len(scan.directions_rad))
    phases = tuple(2 * np.pi * np.arange(scan.steps) / scan.steps)
    return Light(phases, scan.flats * scan.flat_repeats, curve * source.instrument.flat_visibility**2)


def noise_hint(channel: str, part: ReconstructionPart) -> str:
    """How a channel of noise or of a tensor that is not there would come to be."""
    wanted = Channel.parse(channel)
    if wanted.role == "noise" and part.method == "fbp" and part.options.get("noise") is False:
        return "; processing.reconstruction.options.noise is off"
    if wanted.signal == "tensor" and part.method != "tensor":
        return "; processing.reconstruction.method: tensor makes those of a tensor"
    return ""


_OF: dict[type[Any], Callable[[Study, str, Any], Iterator[Expected]]] = {
    SimulatedSource: _simulated,
    FramesSource: _frames,
    ProjectionsSource: _projections,
    VolumesSource: _volumes,
    CasesSource: _cases,
    LobesSource: _lobes,
}
