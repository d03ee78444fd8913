"""Who looks at the channels of an arm: networks, and boosted trees on filtered channels as a baseline beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from darklung.io.documents import Document, Length
from darklung.study.scanner import Count

Observer = Literal["network", "boosting"]
NETWORK: Observer = "network"
BOOSTING: Observer = "boosting"


@dataclass(frozen=True)
class Row:
    """One arm seen by one observer: what is trained, predicted, compared and shown as one.

    Its name is that of the arm for the network, and ``ARM.OBSERVER`` else. Arms have no dot in their names.
    """

    arm: str
    observer: Observer = NETWORK

    @property
    def name(self) -> str:
        """As folders, tables and pages call it."""
        return self.arm if self.observer == NETWORK else f"{self.arm}.{self.observer}"


class BoostingPart(Document):
    """Boosted trees on the channels of single voxels, filtered at several scales."""

    trees: Annotated[int, Field(ge=1, le=10_000)] = Field(200, description="at most; validation animals choose how many")
    leaves: Annotated[int, Field(ge=2, le=1024)] = Field(15, description="of a tree, at most")
    learning_rate: float = Field(0.1, gt=0, le=1, description="share of each tree that is added")
    scales: tuple[Annotated[Length, Field(gt=0, le=0.1)], ...] = Field(
        (0.2e-3, 0.4e-3, 0.8e-3, 1.6e-3), min_length=1, max_length=16, description="standard deviations of the filters"
    )
    voxels: Count = Field(6000, description="drawn for each training animal, half of them of lesions")
