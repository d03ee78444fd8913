"""Logits of one arm for cases: from one fold's model, or the mean of several."""

from __future__ import annotations

from dataclasses import replace

from darklung.io.documents import Document
from darklung.io.images import save_image
from darklung.io.names import LOGITS
from darklung.pipeline import Context, Task

STAGE = "predict"


class Parameters(Document):
    """What is predicted: an arm's channels on cases of animals, by the models of a fold or of all (None)."""

    arm: str
    fold: int | None
    role: str
    network: str
    channels: tuple[str, ...]
    animals: tuple[str, ...]
    overlap: float


def task(parameters: Parameters, models: tuple[str, ...], cases: tuple[str, ...]) -> Task:
    """The prediction of other tasks' cases by other tasks' models."""
    p = parameters
    item = f"{p.arm}.{p.role}" if p.fold is None else f"{p.arm}.fold{p.fold}.{p.role}"
    inputs = {"models": models, "cases": cases}
    return Task(STAGE, item, "darklung.steps.predict:predict", p.model_dump(mode="json"), inputs, plugins=(p.network,))


def predict(context: Context) -> None:
    """``NAME.logits.ome.zarr`` of each case."""
    from darklung.learn.predict import predict
    from darklung.steps.network_case import case_of

    p = Parameters.model_validate(context.parameters)
    models = list(context.inputs["models"])
    for i, (path, animal) in enumerate(zip(context.inputs["cases"], p.animals)):
        context.progress(i / len(p.animals), path.name)
        stored, case = case_of(path, animal, p.channels)
        logits = predict(model_dir=models, case=case, overlap=p.overlap)
        image = replace(stored.channels, data=logits[None], names=("logit",), units=("1",))
        save_image(context.out / f"{path.name}{LOGITS}", image)
