"""What the training of one row, an arm seen by one observer, is told, and its task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from darklung.io.case import LabelledCase
from darklung.io.documents import Document
from darklung.pipeline import Context, Task
from darklung.steps.seen import load_seen
from darklung.study.learning import LearningPart
from darklung.study.observers import Row

if TYPE_CHECKING:
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

    @property
    def row(self) -> Row:
        """The arm with its observer, where the part is that of one row."""
        return Row(self.arm, self.learning.observers[0])


def task(
    function: str,
    parameters: Parameters,
    row: Row,
    training: tuple[str, ...],
    validation: tuple[str, ...],
    made: tuple[str, ...] = (),
) -> Task:
    """The training of one row and fold on cases of other tasks, with the channels that further ones made of them, by the
    function of its observer's step."""
    p = parameters.model_copy(update={"learning": parameters.learning.of_row(row)})
    inputs = {"training": training, "validation": validation, **({"channels": made} if made else {})}
    plugins = (p.learning.network, p.learning.loss, p.learning.metric)
    return Task(STAGE, f"{row.name}.fold{p.fold}", function, p.model_dump(mode="json"), inputs, plugins=plugins, gpu=True)


def cases_of(context: Context, channels: tuple[str, ...]) -> tuple[list[LabelledCase], list[LabelledCase]]:
    """Training and validation cases of a task, as an arm of these channels sees them."""
    made = context.inputs.get("channels", ())
    training, validation = (
        [load_seen(f, channels, made) for f in context.inputs.get(n, ())] for n in ("training", "validation")
    )
    return training, validation


def redraw_of(context: Context, p: Parameters) -> Redraw | None:
    """Training cases that a bank changes in turn, where the study has one."""
    if not (p.learning.bank and p.bank):
        return None
    from darklung.steps.bank import make_redraw

    channels, folders = p.learning.arms[p.arm], context.inputs["training"]
    return make_redraw(folders, channels=channels, part=p.learning.bank, facts=p.bank, seed=p.seed)
