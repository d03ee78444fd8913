"""What the images of a study will be, told by headers and settings before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import Channel
from darklung.core.checks import DarklungError, require
from darklung.core.geometry import ConeGeometry, Geometry, ParallelGeometry
from darklung.core.types import Image
from darklung.features.channels import derived_channels
from darklung.io.case import case_facts, case_lesions
from darklung.io.description import read_raw
from darklung.io.images import image_grid, is_own_image
from darklung.io.names import CHANNELS, item_name
from darklung.io.projections import open_projections
from darklung.io.volumes import header_of
from darklung.steps.reconstruct import SIGNALS, expected_names, with_default_options
from darklung.steps.retrieve import check_files
from darklung.study.processing import ReconstructionPart
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
from darklung.tomo.fbp import view_weights

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
    channels : tuple of str, optional
        None where a function of the user's makes them, whose names nobody knows yet.
    item : str
        Name of the case; empty for all of a source.
    side : int, optional
        Voxels along the longest axis.
    lesions : int, optional
        Known in it, where its file tells.
    """

    told: str
    source: str
    spacing_m: tuple[float, ...]
    channels: tuple[str, ...] | None
    item: str = ""
    side: int | None = None
    lesions: int | None = None


def expected_images(study: Study, name: str) -> Iterator[Expected]:
    """The images of one source, in the order of its files.

    Raises
    ------
    DarklungError
        Of the first image that cannot be made, or from which no channels can be made.
    """
    source: Any = study.sources[name]
    yield from _OF[type(source)](study, name, source)


def _simulated(study: Study, name: str, source: SimulatedSource) -> Iterator[Expected]:
    place = f"sources.{name}"
    for site in ("", *source.sites):
        at = source.at(site)
        scan, beam = at.scan, f"{place}.sites.{site}.instrument" if site else f"{place}.instrument"
        try:
            at.instrument.instrument()
        except DarklungError as error:
            raise DarklungError(f"{beam}: {error}") from error
        where = f"{place}.sites.{site}.scan" if site else f"{place}.scan"
        require(scan.views > 1, f"{where}.views: one view is a radiograph; wanted views of a turn")
        if scan.source_axis_m == np.inf:
            _check_turn(where, ParallelGeometry(scan.angles_rad, 1, 2, 1.0), study.processing.reconstruction)
    pixel = source.body.voxel * source.scan.supersampling
    part = with_default_options(study.processing.reconstruction, variances=True)
    names = expected_names(np.asarray(source.scan.directions_rad), part)
    size = None if source.body.atlas else max(source.body.width, source.body.length)
    spacing = study.processing.voxel or pixel
    side = None if size is None else round(size / spacing)
    yield Expected(place, name, (spacing,) * 3, _derived(f"{place}.scan.directions", names), side=side)


def _frames(study: Study, name: str, source: FramesSource) -> Iterator[Expected]:
    for description in found_files(source.files, f"sources.{name}.files"):
        for raw, _ in read_raw(description):
            told = f"{description}: {raw.name}"
            check_files(raw, description)
            require(raw.angles is not None, f"{told}: angles: not given, which is a radiograph; wanted views of a turn")
            part = with_default_options(study.processing.reconstruction, variances=True)
            names = expected_names(np.asarray(raw.directions), part)
            spacing = (study.processing.voxel or raw.pixel,) * 3
            yield Expected(told, name, spacing, _derived(told, names), item=item_name(raw.name))


def _projections(study: Study, name: str, source: ProjectionsSource) -> Iterator[Expected]:
    from darklung.steps.chain import stem

    for path in found_files(source.files, f"sources.{name}.files"):
        stored = open_projections(path)
        _check_turn(str(path), stored.geometry, study.processing.reconstruction)
        part = with_default_options(study.processing.reconstruction, variances=stored.variances)
        names = expected_names(stored.directions_rad, part, present=stored.present)
        spacing = (study.processing.voxel or stored.geometry.pixel_m,) * 3
        yield Expected(str(path), name, spacing, _derived(str(path), names), item=item_name(stem(path)))


def _volumes(study: Study, name: str, source: VolumesSource) -> Iterator[Expected]:
    from darklung.steps.chain import stem

    for path in found_files(source.files, f"sources.{name}.files"):
        if is_own_image(path):
            grid = image_grid(path)
            spacing, names = grid.spacing_m, grid.names
        else:
            spacing, names = header_of(path, options=source.reading)[0], (source.reading.channel,)
        if study.processing.voxel:
            spacing = (study.processing.voxel,) * len(spacing)
        yield Expected(str(path), name, spacing, _derived(str(path), names), item=item_name(stem(path)))


def _cases(study: Study, name: str, source: CasesSource) -> Iterator[Expected]:
    for folder in found_files(source.files, f"sources.{name}.files"):
        item = item_name(case_facts(folder).subject)
        grid = image_grid(folder / CHANNELS)
        lesions = None if source.use == "predict" else case_lesions(folder)
        yield Expected(str(folder), name, grid.spacing_m, grid.names, item=item, lesions=lesions)


def _lobes(study: Study, name: str, source: LobesSource) -> Iterator[Expected]:
    place = f"sources.{name}"
    if study.insertion is not None:
        yield Expected(place, name, (study.insertion.pixel,) * 2, _derived(place, SIGNALS))


def _derived(told: str, names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names of the channels of a case whose image has these; made of a tiny image as they will be of the real one."""
    if names is None:
        return None
    require("attenuation" in names, f"{told}: wanted a channel attenuation, got {', '.join(names)}")
    shape = (len(names), *(_SMALL,) * 3)
    tiny = Image(np.zeros(shape, np.float32), tuple(names), ("1",) * len(names), (1.0,) * 3)
    try:
        return derived_channels(tiny, seed=0).names
    except DarklungError as error:
        raise DarklungError(f"{told}: {error}") from error


def _check_turn(told: str, geometry: Geometry, part: ReconstructionPart) -> None:
    """Refuse angles that leave a gap, where the method needs a half or a full turn."""
    if part.method not in ("fbp", "tensor") or isinstance(geometry, ConeGeometry) or part.source_axis is not None:
        return
    angles: NDArray[np.float64] = geometry.angles_rad
    try:
        view_weights(angles)
    except DarklungError as error:
        raise DarklungError(f"{told}: {error}") from error


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
