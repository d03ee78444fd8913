"""Sections into a volume from start to end: pose, bending, errors, and what speaks against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.types import Image
from darklung.register.bend import bent
from darklung.register.features import SectionView
from darklung.register.judge import Quality, flags, qualities
from darklung.register.search import Answer, Progress, Question, search
from darklung.register.transform import PlaneMap

FLOOR_VOXELS = 0.16
"""Of the error along each axis: what all parts of a picture share does not show in how they differ, such as a border of the
lung that is found too far out."""


@dataclass(frozen=True)
class Placed:
    """Sections in a volume.

    Parameters
    ----------
    maps : tuple of PlaneMap
    quality : tuple of Quality
    flags : tuple of str
        What speaks against the pose; none where nothing does.
    answer : Answer
    """

    maps: tuple[PlaneMap, ...]
    quality: tuple[Quality, ...]
    flags: tuple[str, ...]
    answer: Answer


def place(
    views: Sequence[SectionView],
    image: Image,
    lung: NDArray[np.bool_],
    question: Question,
    *,
    mirrored: bool = True,
    progress: Progress = lambda share, word: None,
) -> Placed:
    """Find pose and bending of the sections of one block, and judge them.

    Parameters
    ----------
    views : sequence of SectionView
    image : Image
    lung : (z, y, x) bool
    question : Question
    mirrored : bool
        Also place the mirrored pictures, to tell sections that lay turned over; takes as long again.
    progress : function, optional

    Raises
    ------
    DarklungError
        As `darklung.register.search.search`.
    """
    share = 0.5 if mirrored else 1.0
    answer = search(views, image, lung, question, lambda done, word: progress(share * done, word))
    other = None
    if mirrored:
        turned = [v.mirrored() for v in views]
        found = search(turned, image, lung, question, lambda d, word: progress(0.5 + 0.45 * d, f"mirrored: {word}"))
        other = found.matched.explained
    maps = [_map(answer, number, view.name, image) for number, view in enumerate(views)]
    judged = qualities(answer, maps)
    told = flags(answer, judged, voxel_m=max(image.spacing_m), mirrored=other)
    return Placed(tuple(maps), tuple(judged), tuple(told), answer)


def _map(answer: Answer, number: int, name: str, image: Image) -> PlaneMap:
    nine, covariance = answer.place(number), answer.place_covariance(number)
    covariance[:3, :3] += (FLOOR_VOXELS * max(image.spacing_m)) ** 2 * np.eye(3)
    plane = PlaneMap(name, image.frame, nine[:3], nine[3:].reshape(2, 3).T, None, covariance)
    return bent(plane, answer.problem.targets[number], answer.problem.grid, answer.matched.sd)
