"""What the training of one row, an arm seen by one observer, is told, and its task."""

from __future__ import annotations

from typing import Any

from darklung.io.documents import Document
from darklung.pipeline import Task
from darklung.study.learning import LearningPart
from darklung.study.observers import Row

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


def task(function: str, parameters: Parameters, row: Row, training: tuple[str, ...], validation: tuple[str, ...]) -> Task:
    """The training of one row and fold on cases of other tasks, by the function of its observer's step."""
    p = parameters.model_copy(update={"learning": parameters.learning.of_row(row)})
    inputs = {"training": training, "validation": validation}
    plugins = (p.learning.network, p.learning.loss, p.learning.metric)
    return Task(STAGE, f"{row.name}.fold{p.fold}", function, p.model_dump(mode="json"), inputs, plugins=plugins)
