"""Train one arm's boosted trees on one fold: the baseline beside the networks, on the same cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from darklung.io.case import LabelledCase
from darklung.pipeline import Context
from darklung.steps.training import Parameters, cases_of, redraw_of
from darklung.study.learning import LearningPart

if TYPE_CHECKING:
    from darklung.learn.data import Redraw


def train(context: Context) -> None:
    """Trees in ``model.safetensors``, what they are in ``model.json``, and their scores."""
    p = Parameters.model_validate(context.parameters)
    training, validation = cases_of(context, p)
    redraw = redraw_of(context, p)
    fit(p.learning, p.arm, training, validation, seed=p.seed, out=context.out, redraw=redraw, progress=context.progress)


def fit(
    part: LearningPart,
    arm: str,
    training: Sequence[LabelledCase],
    validation: Sequence[LabelledCase],
    *,
    seed: int,
    out: Path,
    redraw: Redraw | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Path:
    """Train the trees of one arm on cases; see `darklung.learn.boosting.train_boosting`."""
    from darklung.learn.boosting import Recipe, train_boosting
    from darklung.steps.network_case import facts_of, network_case

    own = part.boosting
    return train_boosting(
        cases_train=[network_case(c) for c in training],
        cases_validation=[network_case(c) for c in validation],
        channels=part.arms[arm],
        out=out,
        recipe=Recipe(
            trees=own.trees,
            leaves=own.leaves,
            learning_rate=own.learning_rate,
            scales_m=own.scales,
            voxels=own.voxels,
            metric=part.metric,
            seed=seed,
        ),
        normalisation=part.normalisation,
        redraw=redraw,
        facts=facts_of(part, arm, training),
        progress=progress,
    )
