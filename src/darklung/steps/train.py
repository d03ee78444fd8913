"""Train one arm's network on one fold."""

from __future__ import annotations

from typing import Any

from darklung.io.case import case_facts
from darklung.io.documents import Document
from darklung.pipeline import Context, Task
from darklung.study.learning import LearningPart

STAGE = "train"


class Parameters(Document):
    """One arm alone (adding an arm must not train the others anew), the animals of its folds, and what a bank draws."""

    learning: LearningPart
    arm: str
    fold: int
    training_animals: tuple[str, ...]
    validation_animals: tuple[str, ...]
    seed: int
    bank: dict[str, Any] | None = None


def one_arm(part: LearningPart, arm: str) -> LearningPart:
    """The learning part with this arm alone."""
    return part.model_copy(update={"arms": {arm: part.arms[arm]}})


def task(parameters: Parameters, training: tuple[str, ...], validation: tuple[str, ...]) -> Task:
    """The training of one arm and fold on cases of other tasks."""
    p = parameters.model_copy(update={"learning": one_arm(parameters.learning, parameters.arm)})
    inputs = {"training": training, "validation": validation}
    function = "darklung.steps.train:train"
    plugins = (p.learning.network, p.learning.loss, p.learning.metric)
    return Task(STAGE, f"{p.arm}.fold{p.fold}", function, p.model_dump(mode="json"), inputs, plugins=plugins)


def train(context: Context) -> None:
    """A model in ``model.json`` and ``model.safetensors``, with its log."""
    from darklung.learn.train import train
    from darklung.steps.network_case import beam_of, case_of

    p = Parameters.model_validate(context.parameters)
    part = p.learning
    channels = part.arms[p.arm]

    def cases(name: str, animals: tuple[str, ...]) -> list[Any]:
        return [case_of(path, animal, channels)[1] for path, animal in zip(context.inputs.get(name, ()), animals)]

    beams = [beam_of(case_facts(path)) for path in context.inputs["training"]]
    redraw = None
    if part.bank and p.bank:
        from darklung.steps.bank import make_redraw

        redraw = make_redraw(
            context.inputs["training"],
            p.training_animals,
            channels=channels,
            part=part.bank,
            facts=p.bank,
            seed=p.seed,
        )
    train(
        cases_train=cases("training", p.training_animals),
        cases_validation=cases("validation", p.validation_animals),
        channels=channels,
        network=part.network,
        loss=part.loss,
        metric=part.metric,
        widths=part.widths,
        patch=part.patch,
        batch=part.batch,
        steps=part.steps,
        learning_rate=part.learning_rate,
        normalisation=part.normalisation,
        network_options=part.network_options,
        loss_options=part.loss_options,
        facts={"arm": p.arm, "beams": [list(b) for b in dict.fromkeys(beams)]},
        seed=p.seed,
        scratch=context.scratch,
        out=context.out,
        redraw=redraw,
        progress=context.progress,
    )
