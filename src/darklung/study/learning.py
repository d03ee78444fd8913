"""Stages that every kind of study shares: train, predict, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.types import Image
from darklung.io.images import save_image
from darklung.pipeline import Context
from darklung.study.cases import StoredCase, load_case
from darklung.study.config import LearningPart


def case_of(folder: Path, animal: str, channels: tuple[str, ...]) -> tuple[StoredCase, Any]:
    """A stored case and the same as the networks take it; its subject is the animal, by which folds and intervals go."""
    from darklung.learn.data import Case

    stored = load_case(folder, channels)
    return stored, Case(
        subject=animal,
        image=stored.channels,
        target=stored.target.astype(np.uint8),
        region=stored.region,
        hard=stored.hard,
    )


def learn(context: Context) -> None:
    """Train one arm's network on one fold."""
    from darklung.learn.train import train

    p = context.parameters
    part = LearningPart.model_validate(p["learning"])
    channels = part.arms[p["arm"]]

    def cases(name: str) -> list[Any]:
        return [
            case_of(path, animal, channels)[1] for path, animal in zip(context.inputs.get(name, ()), p[f"{name}_animals"])
        ]

    train(
        cases_train=cases("training"),
        cases_validation=cases("validation"),
        channels=channels,
        network=part.network,
        loss=part.loss,
        metric=part.metric,
        widths=part.widths,
        patch=part.patch,
        batch=part.batch,
        steps=part.steps,
        learning_rate=part.learning_rate,
        seed=p["seed"],
        scratch=context.scratch,
        out=context.out,
        progress=context.progress,
    )


def predict(context: Context) -> None:
    """Logits of one arm for the cases of one role (validation or test), from one fold's model or the mean of several."""
    from darklung.learn.predict import predict

    p = context.parameters
    part = LearningPart.model_validate(p["learning"])
    channels = part.arms[p["arm"]]
    models = list(context.inputs["models"])
    for i, (path, animal) in enumerate(zip(context.inputs["cases"], p["animals"])):
        context.progress(i / len(p["animals"]), path.name)
        stored, case = case_of(path, animal, channels)
        logits = predict(model_dir=models, case=case, overlap=part.overlap)
        grid = stored.channels
        image = Image(logits[None], ("logit",), ("1",), grid.spacing_m, grid.origin_m, grid.frame)
        save_image(context.out / f"{path.name}.ome.zarr", image)
