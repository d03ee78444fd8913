"""Labelled cases: an image's channels, cropped to where is searched, with what is known of its lesions on the same grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from darklung.calibrate.units import AttenuationUnit, ScatterUnit, in_units
from darklung.core.checks import DarklungError, require
from darklung.core.types import Image, Phantom
from darklung.features.channels import crop_to_region, derived_channels
from darklung.features.labels import Truth, hard_negatives, no_truth, truth_of_labels, truth_of_phantom
from darklung.features.lung import find_lungs, search_around
from darklung.features.reference_object import find_object
from darklung.io.case import CaseFacts, LabelledCase, load_case, save_case
from darklung.io.documents import Document
from darklung.io.hdf5 import load
from darklung.io.images import is_own_image, load_image
from darklung.io.names import CASE, CHANNELS, PHANTOM, VOLUME
from darklung.pipeline import Context, Task
from darklung.study.calibrations import CalibrationsPart, ReferencePart
from darklung.study.processing import ChannelsPart

STAGE = "cases"
IMAGES = (VOLUME, CHANNELS)


class Parameters(Document):
    """Whose image it is, and how channels are made of it."""

    channels: ChannelsPart
    about: dict[str, Any]
    seed: int
    region: str = Field("", description="where lung is, if not found in the image")
    labels: str = Field("", description="lesions of a measured volume")
    resampled: bool = Field(False, description="whether labels and region are on the grid of before a resampling")
    calibrations: CalibrationsPart = CalibrationsPart()
    reference: ReferencePart | None = Field(None, description="the object in the image that gives scatter units")


def task(name: str, parameters: Parameters, image: str, *, phantom: str = "") -> Task:
    """The case of another task's image; its truth is a phantom's, an insertion's, or in files."""
    inputs: dict[str, tuple[str, ...]] = {"image": (image,)}
    if phantom:
        inputs["phantom"] = (phantom,)
    data = tuple(Path(p) for p in (parameters.region, parameters.labels) if p)
    unit, plain = parameters.calibrations.files("unit"), parameters.model_dump(mode="json")
    return Task(STAGE, name, "darklung.steps.cases:make_case", plain, inputs, files=unit, data=data)


def task_of_case(folder: Path, name: str, about: dict[str, Any], stage: str = STAGE) -> Task:
    """A labelled case that exists already, brought into the run."""
    parameters = {"folder": str(folder.resolve()), "about": about}
    return Task(stage, name, "darklung.steps.cases:adopt", parameters, data=(folder,))


def make_case(context: Context) -> None:
    """Channels, lung, search region and truth of one image."""
    p = Parameters.model_validate(context.parameters)
    folder = context.input("image")
    image = load_image(next(folder / n for n in IMAGES if (folder / n).exists()))
    lung, region = _regions(p, image, folder)
    units, told = _units(p, image)
    if units is not None:
        image = in_units(image, *units)

    def truth(box: tuple[slice, ...], grid: Image) -> Truth:
        return _truth(context, p, image, box, grid)

    about = {**p.about, "provenance": {**p.about.get("provenance", {}), **told}}
    facts, margin = CaseFacts(**about), p.channels.margin
    save_case(context.out, labelled(image, lung, region, truth, about=facts, margin_m=margin, seed=p.seed))


def labelled(
    image: Image,
    lung: NDArray[np.bool_],
    region: NDArray[np.bool_],
    truth: Callable[[tuple[slice, ...], Image], Truth],
    *,
    about: CaseFacts,
    margin_m: float,
    seed: int,
) -> LabelledCase:
    """The case of an image: its channels with those made of them, cropped to the search region.

    Parameters
    ----------
    image : Image
    lung, region : (*spatial) bool
        Lung, and where is searched.
    truth : callable
        Called with the box of the crop and the cropped image; gives labels, instances and insertions there.
    about : CaseFacts
    margin_m : float
        Kept around the search region.
    seed : int
        Of the channel ``noise``.
    """
    channels = _finite(derived_channels(image, seed=seed), region)
    crop = crop_to_region(channels, region, margin_m=margin_m)
    labels, instances, insertions = truth(crop.slices, crop.image)
    hard, inside = hard_negatives(insertions, instances, crop.image), lung[crop.slices]
    return LabelledCase(crop.image, labels, inside, crop.region, instances, hard, insertions, about)


def adopt(context: Context) -> None:
    """A case from elsewhere under this run's name, animal and site."""
    p = context.parameters
    case = load_case(Path(p["folder"]))
    save_case(context.out, replace(case, about=replace(case.about, **p["about"])))


def _units(p: Parameters, image: Image) -> tuple[tuple[ScatterUnit, AttenuationUnit | None] | None, dict[str, Any]]:
    """The scanner's units, of its file or of objects in the image, and what the case tells of them."""
    if p.reference is None:
        known = p.calibrations.load("unit")
        if known is None or known.unit is None:
            return None, {}
        return (known.unit, known.attenuation), {} if known.attenuation is None else _told(known.attenuation)
    part, solid = p.reference, p.reference.absorber
    try:
        foam = find_object(image, shape=part.shape, diameter_m=part.diameter)
        unit = ScatterUnit(foam.zero, foam.value, foam.zero_error, foam.value_error, part.material)
        told: dict[str, Any] = {"scatter_unit": {**asdict(unit), "diameter_m": foam.diameter_m}}
        if solid is None:
            return (unit, None), told
        found = find_object(image, shape=solid.shape, diameter_m=solid.diameter, channel="attenuation")
        scale = AttenuationUnit(
            found.zero, found.value, found.zero_error, found.value_error, material=solid.material, energy_kev=solid.energy
        )
    except DarklungError as error:
        raise DarklungError(f"{p.about['subject']}: {error}") from error
    return (unit, scale), told | _told(scale, diameter_m=found.diameter_m)


def _told(scale: AttenuationUnit, **more: float) -> dict[str, Any]:
    """Attenuation refers to the scale's energy from here on; scatter units to none."""
    return {"attenuation_unit": {**asdict(scale), **more}, "energy_kev": scale.energy_kev}


def _regions(p: Parameters, image: Image, folder: Path) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Lung and search region: given, from the insertion, everywhere, or found in the image."""
    if p.region:
        given = _given_region(Path(p.region), image, resampled=p.resampled)
        return given, _around(given, image)
    if (folder / CASE).exists() and len(image.shape) == 2:
        inserted = load_case(folder, ())
        return inserted.lung, inserted.region
    if p.channels.lung == "all":
        everywhere = np.isfinite(image.data).all(axis=0)
        return everywhere, everywhere
    require(len(image.shape) == 3, f"{p.about['subject']}: a radiograph does not tell where lung is; wanted a region")
    found = find_lungs(image)
    return found.lung, found.search


def _around(lung: NDArray[np.bool_], image: Image) -> NDArray[np.bool_]:
    """Where is searched around a lung that somebody drew; a radiograph has no wall to look behind."""
    return search_around(lung, spacing_m=image.spacing_m) if lung.ndim == 3 else lung


def _finite(image: Image, region: NDArray[np.bool_]) -> Image:
    """Values for voxels without one, such as those outside a lobe: the region's median; inside the region none may lack.

    ``valid(NAME)`` then tells of each channel where its values are its own.
    """
    bad = ~np.isfinite(image.data)
    if not bad.any():
        return image
    missing = int((bad.any(axis=0) & region).sum())
    require(missing == 0, f"channels: {missing} voxels of the search region have no value")
    data = image.data.copy()
    for values, absent in zip(data, bad):
        values[absent] = np.median(values[region])
    some = [i for i, absent in enumerate(bad) if absent.any() and not image.names[i].startswith("valid(")]
    names = (*image.names, *(f"valid({image.names[i]})" for i in some))
    return image.with_data(np.concatenate([data, ~bad[some]]).astype(data.dtype), names, (*image.units, *("1",) * len(some)))


def _truth(context: Context, p: Parameters, image: Image, box: tuple[slice, ...], grid: Image) -> Truth:
    """Labels, instances and insertions on the cropped grid."""
    folder = context.input("image")
    if "phantom" in context.inputs:
        return truth_of_phantom(load(context.input("phantom") / PHANTOM, Phantom), grid)
    if (folder / CASE).exists():
        inserted = load_case(folder, ())
        return inserted.labels[box], inserted.instances[box], inserted.insertions
    if p.labels:
        from darklung.io.labels import check_unknown, read_labels

        drawn = read_labels(Path(p.labels), like=image, resample_labels=p.resampled)
        check_unknown(drawn, p.labels)
        return truth_of_labels(drawn[box], grid)
    return no_truth(grid)


def _given_region(path: Path, image: Image, *, resampled: bool) -> NDArray[np.bool_]:
    """Where lung is, of a file of darklung or of any label volume."""
    from darklung.io.labels import read_lung, read_region

    if path.suffix == ".npy" or is_own_image(path):
        return read_lung(path, image.shape)[0]
    return read_region(path, like=image, resample_labels=resampled)
