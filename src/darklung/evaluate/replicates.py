"""What needs the order of units in every replicate: thresholds and average precision, by weighted running sums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.core.checks import check_range
from darklung.evaluate.roc import split_scores

ROWS = 200  # replicates at a time


def portions(weights: NDArray) -> Iterator[NDArray]:
    """Replicates in portions that keep the memory small."""
    for start in range(0, len(weights), ROWS):
        yield np.asarray(weights[start : start + ROWS])


def threshold_replicates(
    *, scores: ArrayLike, labels: ArrayLike, clusters: ArrayLike, weights: NDArray, specificity: float
) -> NDArray[np.float64]:
    """`darklung.evaluate.roc.threshold_at_specificity` of each replicate, (replicate,); +inf where none has a negative.

    Parameters
    ----------
    scores, labels, clusters : (unit,) arrays
        Score, label 0 or 1, and number of the animal, a column of `weights`.
    weights : (replicate, animal) int
    specificity : float
    """
    check_range("specificity", specificity, 0, 1)
    _, negative = split_scores(scores=scores, labels=labels)
    who = np.asarray(clusters)[np.asarray(labels) == 0]
    order = np.argsort(negative, kind="stable")
    negative, who = negative[order], who[order]
    found: list[NDArray] = []
    for part in portions(weights):
        below = np.cumsum(part[:, who], axis=1)
        total = below[:, -1:] if len(negative) else np.zeros((len(part), 1))
        needed = np.ceil(specificity * total - 1e-9)
        place = (below < np.maximum(needed, 1)).sum(axis=1)
        limit = np.append(np.nextafter(negative, np.inf), np.inf)[np.minimum(place, len(negative))]
        found.append(np.where((needed[:, 0] == 0) & (total[:, 0] > 0), np.append(negative, np.inf)[place], limit))
    return np.concatenate(found)


@dataclass(frozen=True)
class RankedUnits:
    """Units from the highest score to the lowest; ties are one step.

    Parameters
    ----------
    who : (unit,) int64
        Animal.
    positive : (unit,) bool
    last : (level,) int64
        Last unit of each distinct score.
    """

    who: NDArray[np.int64]
    positive: NDArray[np.bool_]
    last: NDArray[np.int64]

    @classmethod
    def of(cls, scores: NDArray, clusters: NDArray, labels: NDArray) -> RankedUnits:
        """Sort units."""
        order = np.argsort(-scores, kind="stable")
        falling = scores[order]
        ends = np.flatnonzero(np.append(np.diff(falling) != 0, True)) if len(falling) else np.zeros(0, np.int64)
        return cls(np.asarray(clusters)[order], np.asarray(labels)[order] == 1, ends.astype(np.int64))

    def average_precision(self, weights: NDArray) -> NDArray[np.float64]:
        """Σ (recall step · precision) for each row of `weights` (replicate, animal); NaN without a positive."""
        found = [self._part(np.asarray(part, dtype=np.float64)) for part in portions(weights)]
        return np.concatenate(found)

    def _part(self, weights: NDArray) -> NDArray[np.float64]:
        unit = weights[:, self.who]
        hits = np.cumsum(np.where(self.positive, unit, 0.0), axis=1)[:, self.last]
        every = np.cumsum(unit, axis=1)[:, self.last]
        precision = np.divide(hits, every, out=np.zeros_like(hits), where=every > 0)
        total = hits[:, -1] if hits.shape[1] else np.zeros(len(hits))
        summed = (np.diff(hits, axis=1, prepend=0.0) * precision).sum(axis=1)
        return np.divide(summed, total, out=np.full(len(total), np.nan), where=total > 0)
