"""Cases of a study, as the plan knows them before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Member:
    """A case of the study.

    Parameters
    ----------
    task : str
        That makes it.
    animal : str
        It comes from; folds and intervals go by it.
    use : {"train", "test", "predict"}
    row : mapping
        What the table of the cohort says of it.
    """

    task: str
    animal: str
    use: str
    row: Mapping[str, Any] = field(default_factory=dict)

    @property
    def item(self) -> str:
        """Name of the case."""
        return self.task.split("/", 1)[1]
