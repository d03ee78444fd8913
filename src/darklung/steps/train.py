"""Train one arm's network on one fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from darklung.io.case import LabelledCase
from darklung.pipeline import Context
from darklung.pipeline.artefacts import RECORD
from darklung.pipeline.record import read_json
from darklung.steps.training import Parameters, cases_of, redraw_of
from darklung.study.learning import LearningPart

if TYPE_CHECKING:
    from darklung.learn.checkpoint import Earlier
    from darklung.learn.data import Redraw


def train(context: Context) -> None:
    """A model in ``model.json`` and ``model.safetensors``, with its log."""
    p = Parameters.model_validate(context.parameters)
    training, validation = cases_of(context, p)
    fit(
        p.learning,
        p.arm,
        training,
        validation,
        seed=p.seed,
        scratch=context.scratch,
        out=context.out,
        redraw=redraw_of(context, p),
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
    from darklung.steps.network_case import facts_of, network_case

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
        facts=facts_of(part, arm, training),
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
    training = p.learning.training.model_copy(update={"tracking": ()})
    return p.model_copy(
        update={"learning": p.learning.model_copy(update={"steps": 1, "keep_state": True, "training": training})}
    )
