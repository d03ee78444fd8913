"""Logits of radiographs brought to the voxels of the same animals' volumes: what a radiograph says of each place in CT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from darklung.core.views import view_of
from darklung.evaluate.lifted import lifted
from darklung.features.radiographs import VIEW
from darklung.io.case import case_facts, load_case
from darklung.io.documents import Document
from darklung.io.images import load_image, save_image
from darklung.io.names import LOGITS
from darklung.pipeline import Context, Task

STAGE = "lifted"


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
