"""What the training of one row, an arm seen by one observer, is told, and its task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklung.core.channel import errors_of
from darklung.io.case import LabelledCase
from darklung.io.documents import Document
from darklung.io.images import image_grid
from darklung.io.names import CHANNELS
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


def cases_of(context: Context, p: Parameters) -> tuple[list[LabelledCase], list[LabelledCase]]:
    """Training and validation cases of a task, as its arm sees them; those of training with what augmentation needs."""
    channels = p.learning.arms[p.arm]
    made = context.inputs.get("channels", ())
    folders = [context.inputs.get(name, ()) for name in ("training", "validation")]
    training = [load_seen(f, (*channels, *errors_asked_for(p.learning, channels, f)), made) for f in folders[0]]
    return training, [load_seen(f, channels, made) for f in folders[1]]


def errors_asked_for(part: LearningPart, channels: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """Stored standard errors of channels that augmentation needs beside them, in the order of the channels."""
    if not part.training.augmentation.rescans:
        return ()
    names = image_grid(folder / CHANNELS).names
    every = dict.fromkeys(error for name in channels for error in errors_of(name, names))
    return tuple(name for name in every if name not in channels)


def redraw_of(context: Context, p: Parameters) -> Redraw | None:
    """Training cases that a bank changes in turn, where the study has one."""
    if not (p.learning.bank and p.bank):
        return None
    from darklung.steps.bank import make_redraw

    channels, folders = p.learning.arms[p.arm], context.inputs["training"]
    channels = (*channels, *errors_asked_for(p.learning, channels, folders[0]))
    return make_redraw(folders, channels=channels, part=p.learning.bank, facts=p.bank, seed=p.seed)
