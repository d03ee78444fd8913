"""Train one arm's network on one fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklung.io.case import LabelledCase, load_case
from darklung.io.documents import Document
from darklung.pipeline import Context, Task
from darklung.pipeline.artefacts import RECORD
from darklung.pipeline.record import read_json
from darklung.study.learning import LearningPart

if TYPE_CHECKING:
    from darklung.learn.checkpoint import Earlier
    from darklung.learn.data import Redraw

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
    p = Parameters.model_validate(context.parameters)
    part = p.learning
    channels = part.arms[p.arm]

    redraw = None
    if part.bank and p.bank:
        from darklung.steps.bank import make_redraw

        redraw = make_redraw(
            context.inputs["training"],
            channels=channels,
            part=part.bank,
            facts=p.bank,
            seed=p.seed,
        )

    training, validation = ([load_case(f, channels) for f in context.inputs.get(n, ())] for n in ("training", "validation"))
    fit(
        part,
        p.arm,
        training,
        validation,
        seed=p.seed,
        scratch=context.scratch,
        out=context.out,
        redraw=redraw,
        progress=context.progress,
        earlier=_earlier(context, p),
    )


def fit(
    part: LearningPart,
    arm: str,
    training: Sequence[LabelledCase],
    validation: Sequence[LabelledCase],
    *,
    seed: int,
    scratch: Path,
    out: Path,
    redraw: Redraw | None = None,
    progress: Callable[[float, str], None] | None = None,
    earlier: Earlier | None = None,
) -> Path:
    """Train the network of one arm on cases, whose animals tell them apart; see `darklung.learn.train.train`."""
    from darklung.learn.train import train
    from darklung.steps.network_case import beam_of, network_case

    beams = dict.fromkeys(beam_of(case.about) for case in training)
    return train(
        cases_train=[network_case(c) for c in training],
        cases_validation=[network_case(c) for c in validation],
        channels=part.arms[arm],
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
        training=part.training,
        facts={"arm": arm, "beams": [list(b) for b in beams]},
        seed=seed,
        scratch=scratch,
        out=out,
        redraw=redraw,
        progress=progress,
        earlier=earlier,
        keep_state=part.keep_state,
    )


def _earlier(context: Context, p: Parameters) -> Earlier | None:
    """The longest training that differs in having fewer steps alone, if its state was kept."""
    from darklung.learn.checkpoint import CHECKPOINT_FILE, Earlier

    found: list[tuple[int, int, Earlier]] = []
    for number, folder in enumerate(context.earlier):
        record = read_json(folder / RECORD)
        other = Parameters.model_validate(record["parameters"])
        if (folder / CHECKPOINT_FILE).is_file() and _but_steps(other) == _but_steps(p):
            found.append((other.learning.steps, number, Earlier(folder, record["key"])))
    fewer = [f for f in found if f[0] <= p.learning.steps]
    return max(fewer, key=lambda f: f[:2])[2] if fewer else None


def _but_steps(p: Parameters) -> Parameters:
    """What has to be the same of two trainings of which one goes on from the other."""
    return p.model_copy(
        update={"learning": p.learning.model_copy(update={"steps": 1, "keep_state": True, "candidates": "head"})}
    )
