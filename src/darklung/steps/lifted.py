"""Logits of radiographs brought to the voxels of the same animals' volumes: what a radiograph says of each place in CT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from darklung.core.geometry import Geometry
from darklung.core.types import Image
from darklung.core.views import positions_m, seen_at, view_of
from darklung.io.case import case_facts, load_case
from darklung.io.documents import Document
from darklung.io.images import load_image, save_image
from darklung.io.names import DIAMETER, LOGITS, MEMBER
from darklung.pipeline import Context, Task
from darklung.steps.radiograph import VIEW

STAGE = "lifted"
SEEN = "views"  # channel: how many radiographs see a voxel


class Parameters(Document):
    """Which prediction it is, and the radiographs of each volume."""

    arm: str
    fold: int | None
    role: str
    radiographs: dict[str, tuple[str, ...]]


def task(what: tuple[str, int | None, str], prediction: str, radiographs: Mapping[str, Sequence[str]]) -> Task:
    """A prediction of radiographs in the volumes' place.

    Parameters
    ----------
    what : (arm, fold or None, role)
    prediction : str
        Task of the prediction.
    radiographs : mapping
        Task of each volume -> tasks of its radiographs.
    """
    arm, fold, role = what
    names = {case.partition("/")[2]: tuple(r.partition("/")[2] for r in own) for case, own in radiographs.items()}
    item = f"{arm}.{role}" if fold is None else f"{arm}.fold{fold}.{role}"
    inputs = {
        "cases": tuple(radiographs),
        "radiographs": tuple(r for own in radiographs.values() for r in own),
        "prediction": (prediction,),
    }
    parameters = Parameters(arm=arm, fold=fold, role=role, radiographs=names)
    return Task(STAGE, item, "darklung.steps.lifted:lift", parameters.model_dump(mode="json"), inputs)


def lift(context: Context) -> None:
    """``NAME.logits.ome.zarr`` of each volume: the mean over its radiographs of their maps where the voxel is seen."""
    p = Parameters.model_validate(context.parameters)
    folders = {path.name: path for path in context.inputs["radiographs"]}
    predicted = context.input("prediction")
    for i, path in enumerate(context.inputs["cases"]):
        context.progress(i / len(p.radiographs), path.name)
        volume = load_case(path, ())
        own = p.radiographs[path.name]
        views = [(load_image(predicted / f"{n}{LOGITS}"), view_of(case_facts(folders[n]).provenance.get(VIEW))) for n in own]
        save_image(context.out / f"{path.name}{LOGITS}", lifted(volume.channels, volume.region, views))


def lifted(grid: Image, region: NDArray[np.bool_], views: Sequence[tuple[Image, Geometry]]) -> Image:
    """The maps of radiographs at the voxels of a volume's region, linear between pixels, the mean over views that see them.

    Depth is not told by one view: all voxels of a ray have the same value. Voxels that no view sees, or outside the region,
    have the map's lowest value, and 0 in the channel ``views``.

    Parameters
    ----------
    grid : Image
        Of the volume, in the scanner's frame.
    region : (z, y, x) bool
    views : sequence of (Image, Geometry)
        Maps of each radiograph, those of a prediction, and the beam of its one view.
    """
    from scipy.ndimage import map_coordinates

    places = positions_m(grid, np.argwhere(region))
    names = [n for n in views[0][0].names if n not in (DIAMETER, "logit_spread")]
    total, count = np.zeros((len(names), len(places))), np.zeros(len(places))
    for image, geometry in views:
        at = seen_at(geometry, image, places)
        seen = ((at >= 0) & (at <= np.array(image.shape) - 1)).all(axis=1)
        maps = [map_coordinates(image.channel(n).astype(np.float64), at[seen].T, order=1, mode="nearest") for n in names]
        total[:, seen] += maps
        count += seen
    out = {}
    for name, values in zip(names, total):
        lowest = min(float(image.channel(name).min()) for image, _ in views)
        out[name] = np.full(region.shape, lowest, dtype=np.float32)
        out[name][region] = np.where(count > 0, values / np.maximum(count, 1), lowest)
    own = [out[n] for n in names if n.startswith(MEMBER)]
    out["logit_spread"] = np.std(own, axis=0) if own else np.zeros(region.shape)
    out[SEEN] = np.zeros(region.shape)
    out[SEEN][region] = count
    data = np.stack([v.astype(np.float32) for v in out.values()])
    return grid.with_data(data, tuple(out), ("1",) * len(out))
