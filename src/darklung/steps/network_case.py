"""A labelled case as the networks take it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from darklung.io.case import LabelledCase, load_case
from darklung.learn.data import Case


def case_of(folder: Path, animal: str, channels: tuple[str, ...]) -> tuple[LabelledCase, Case]:
    """A stored case and the same as the networks take it; its subject is the animal, by which folds and intervals go."""
    stored = load_case(folder, channels)
    return stored, Case(
        subject=animal,
        image=stored.channels,
        target=stored.target.astype(np.uint8),
        region=stored.region,
        hard=stored.hard,
    )
