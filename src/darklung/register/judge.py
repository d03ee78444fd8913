"""What speaks against a pose: weakly determined, no better than another, nothing alike, mirrored, no size of tissue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.register.pose import SHARED
from darklung.register.search import Answer, overlap
from darklung.register.transform import PlaneMap

WEAK_VOXELS = 1.5
"""Predicted error of the mean place from which a pose is weak."""
RIVAL_GAP = 8.0
"""In log-likelihood; a rival that is less than this worse could be the truth."""
LEAST_DICE, LEAST_EXPLAINED = 0.86, 0.25
SHRINKAGES = (-0.03, 0.36)
STRETCH = 0.15
MIRROR_GAP = 0.02
"""By how much the mirrored pictures must explain more."""


@dataclass(frozen=True)
class Quality:
    """How well a section fits and how safe its place is.

    Parameters
    ----------
    section : str
    dice : float
        Of the outlines.
    explained : tuple of float
        Share of the picture's variance that the volume explains: the outline, then each channel.
    error_m : (rows, columns, normal)
        Predicted, root mean square over the lung.
    """

    section: str
    dice: float
    explained: tuple[float, ...]
    error_m: tuple[float, float, float]


def qualities(answer: Answer, maps: Sequence[PlaneMap]) -> list[Quality]:
    """Of each section."""
    dices = overlap(answer.problem, answer.matched)
    found = []
    for one, target, dice, explained in zip(maps, answer.problem.targets, dices, answer.matched.explained):
        error = np.sqrt((one.error_m(target.points_m[target.values[:, 0] > 0.5]) ** 2).mean(axis=0))
        rows, cols, normal = (float(e) for e in error)
        found.append(Quality(one.section, float(dice), tuple(float(e) for e in explained), (rows, cols, normal)))
    return found


def shrinkage_of(answer: Answer) -> float:
    """By how much of them all lengths in the pictures shrank, as found."""
    return float(1 - np.exp(-answer.matched.parameters[SHARED.index("scale")]))


def flags(
    answer: Answer, found: Sequence[Quality], *, voxel_m: float, mirrored: NDArray[np.float64] | None = None
) -> list[str]:
    """Sentences, none where nothing speaks against the pose.

    Parameters
    ----------
    answer : Answer
    found : sequence of Quality
    voxel_m : float
    mirrored : (section, feature), optional
        What mirrored pictures explain at their own best pose.
    """
    told = [*_weak(answer, found, voxel_m), *_unlike(found), *_sizes(answer)]
    if mirrored is not None:
        own, other = (float(e[:, 1:].mean()) for e in (answer.matched.explained, mirrored))
        if other > own + MIRROR_GAP:
            told.append(
                f"mirrored pictures fit better ({other:.2f} of the texture explained, {own:.2f} as they lie): turned over?"
            )
    return told


def _weak(answer: Answer, found: Sequence[Quality], voxel_m: float) -> list[str]:
    told = []
    worst = max(found, key=lambda q: max(q.error_m))
    if max(worst.error_m) > WEAK_VOXELS * voxel_m:
        across = ", ".join(f"{1e6 * e:.0f}" for e in worst.error_m)
        told.append(f"{worst.section}: the pose is weakly determined: {across} um along rows, columns and normal")
    close = [r for r in answer.rivals if r[1] < RIVAL_GAP]
    if close:
        told.append(f"the pose is weakly determined: another one, {1e3 * close[0][0]:.1f} mm away, fits nearly as well")
    return told


def _unlike(found: Sequence[Quality]) -> list[str]:
    told = []
    for one in found:
        if one.dice < LEAST_DICE:
            told.append(f"{one.section}: the outlines agree badly (Dice {one.dice:.2f})")
        if max(one.explained[1:]) < LEAST_EXPLAINED:
            told.append(
                f"{one.section}: its texture is not the volume's ({max(one.explained[1:]):.2f} explained): another animal?"
            )
    return told


def _sizes(answer: Answer) -> list[str]:
    told, shrunk = [], shrinkage_of(answer)
    if not SHRINKAGES[0] <= shrunk <= SHRINKAGES[1]:
        told.append(f"lengths would have shrunk by {100 * shrunk:.0f} %: is the pixel right?")
    stretch = float(answer.matched.parameters[SHARED.index("stretch")])
    if abs(stretch) > STRETCH:
        told.append(f"rows and columns would have shrunk unlike, by {100 * abs(stretch):.0f} %")
    return told
