"""Where an arm errs, looked at: lesions that it missed and the worst false positives, in three planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.types import Image
from darklung.report.blocks import Block, Details, Section, Text, number
from darklung.report.planes import colour_bars, planes


@dataclass(frozen=True)
class Sight:
    """One place to look at.

    Parameters
    ----------
    title : str
        What is there and what the arm said.
    image : Image
        The arm's channels; the first is shown.
    probability : (*spatial) array
    region, lesion : (*spatial) bool
    at : tuple of int
        Voxel.
    """

    title: str
    image: Image
    probability: NDArray
    region: NDArray[np.bool_]
    lesion: NDArray[np.bool_]
    at: tuple[int, ...]


@dataclass(frozen=True)
class ArmErrors:
    """What is shown of an arm: lesions missed (of how many), and false positives (of how many), worst first."""

    arm: str
    missed: Sequence[Sight]
    missed_count: int
    false: Sequence[Sight]
    false_count: int


def gallery_section(errors: Sequence[ArmErrors]) -> Section | None:
    """One folded part an arm and kind of error; None where nothing is wrong."""
    blocks: list[Block] = []
    for own in errors:
        arm = own.arm.replace("_", " ")
        for kind, sights, count in (
            ("missed", own.missed, own.missed_count),
            ("false positives", own.false, own.false_count),
        ):
            if sights:
                title = f"{arm}: {kind}, {len(sights)} of {count}"
                blocks.append(Details(title, tuple(b for s in sights for b in _shown(s))))
    if not blocks:
        return None
    lead = (
        "Lesions with the lowest scores of those missed, and negatives with the highest of those called. Of each the first "
        "channel of the arm above and its probability below; lesions are outlined, a frame marks a place without one, "
        "the bar is 2 mm."
    )
    return Section("Errors to look at", tuple(blocks), lead)


def _shown(sight: Sight) -> tuple[Block, ...]:
    rows = planes(sight.image, sight.probability, sight.region, sight.at, name=sight.title, outline=sight.lesion)
    return Text(sight.title), *rows, colour_bars(sight.image, sight.region)


def sight_title(what: str, score: float, threshold: float) -> str:
    """What is there and what the arm said of it."""
    return f"{what}: score {number(score, 2)}, threshold {number(threshold, 2)}"
