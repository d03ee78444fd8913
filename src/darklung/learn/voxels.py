"""Voxels that a feature observer learns from: of lesions and of everything else, both classes alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.learn.data import Case

HARD_SHARE = 0.5  # of the voxels that are no lesion, where the case names hard negatives


@dataclass(frozen=True)
class Drawn:
    """Voxels with what is known of them: (voxel, feature) float32, and whether each is of a lesion, (voxel,) bool."""

    features: NDArray[np.float32]
    lesion: NDArray[np.bool_]


def draw_voxels(
    case: Case, features: NDArray[np.float32], *, of_lesion: int, others: int, rng: np.random.Generator
) -> Drawn:
    """Known voxels of a case: `of_lesion` of each lesion, and at most `others` elsewhere, a part of them hard negatives.

    A lesion of fewer voxels gives some of them more than once, so that small lesions count as much as large ones.

    Parameters
    ----------
    case : Case
    features : (voxel, feature) float32
        Of the voxels of its region, in the order of ``np.flatnonzero(case.region)``.
    of_lesion, others : int
    rng : numpy.random.Generator
    """
    chosen = [np.sort(rng.choice(part, of_lesion, replace=len(part) < of_lesion)) for part in lesions_of(case)]
    free = _others(case, others, rng)
    at = np.concatenate([*chosen, free])
    rows = np.cumsum(case.region.ravel()) - 1
    return Drawn(features[rows[at]], np.arange(len(at)) < len(at) - len(free))


def voxels_a_lesion(cases: Sequence[Case], voxels: int) -> int:
    """How many of each lesion make half of `voxels` times the number of cases."""
    return max(1, voxels * len(cases) // (2 * max(1, sum(len(lesions_of(c)) for c in cases))))


def joined(drawn: Sequence[Drawn]) -> Drawn:
    """Voxels of all cases."""
    return Drawn(np.concatenate([d.features for d in drawn]), np.concatenate([d.lesion for d in drawn]))


def lesions_of(case: Case) -> list[NDArray[np.int64]]:
    """Flat indices of the known voxels of each lesion."""
    touching = ndimage.generate_binary_structure(case.target.ndim, case.target.ndim)
    labels, count = ndimage.label(case.lesion & case.counted, touching)
    return [np.flatnonzero(labels.ravel() == i) for i in range(1, count + 1)]


def _others(case: Case, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Flat indices of known voxels that are no lesion."""
    free = case.counted & ~case.lesion
    hard = free & case.hard if case.hard is not None else np.zeros_like(free)
    first = _some(np.flatnonzero(hard), int(HARD_SHARE * count), rng)
    return np.concatenate([first, _some(np.flatnonzero(free & ~hard), count - len(first), rng)])


def _some(places: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.sort(rng.choice(places, min(count, len(places)), replace=False)).astype(np.int64)
