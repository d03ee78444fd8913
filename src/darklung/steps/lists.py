"""Conformal lists as they travel with a run's models: what each model knows of lesions, and what was promised of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from darklung.core.types import Image
from darklung.evaluate.conformal import Calibration, looked_at, ranks
from darklung.evaluate.promises import near_scores
from darklung.io.documents import Document
from darklung.io.names import own_channels


class KnownLesions(Document):
    """Scores of the candidates of one fold's validation animals that hit lesions, see `Calibration`."""

    fold: int
    scores: tuple[float, ...]
    weights: tuple[float, ...]
    never: float
    animals: int

    def calibration(self) -> Calibration:
        """The same with arrays."""
        return Calibration(np.array(self.scores), np.array(self.weights), self.never, self.animals)


class Lists(Document):
    """Levels that can be promised (none where `told` says why), and the models' lesions, in the order of the models."""

    levels: tuple[float, ...]
    models: tuple[KnownLesions, ...]
    told: tuple[str, ...] = Field(())

    def of_folders(self, folders: Sequence[Path]) -> Lists | None:
        """For the models in folders ``ARM.foldN``, in their order; None where they are not those that were judged."""
        by_fold = {str(m.fold): m for m in self.models}
        folds = [f.name.rpartition(".fold")[2] for f in folders]
        if sorted(folds) != sorted(by_fold):
            return None
        return self.model_copy(update={"models": tuple(by_fold[f] for f in folds)})

    def ranks(self, image: Image, places: NDArray[np.int64], region: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Of candidates of a prediction that kept each model's own maps (`darklung.evaluate.conformal.ranks`)."""
        maps = [image.channel(n) for n in own_channels(image.names)]
        scores = near_scores(places=places, maps=maps, region=region, spacing_m=image.spacing_m)
        return ranks([m.calibration() for m in self.models], scores)

    def promised(self, rank: float) -> str:
        """The lists that a candidate of this rank is on, such as ``90 %``."""
        return ", ".join(percent(level) for level in self.levels if looked_at(rank, level))


def percent(level: float) -> str:
    """A level as text."""
    return f"{100 * level:g} %"
