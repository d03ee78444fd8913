"""Conformal risk control over animals: which scores to look at so that at most a promised share of lesions is missed.

The loss of an animal is the share of its lesions that score below what is looked at: monotone in the threshold, at most 1.
Of n animals that a model did not learn from, the threshold is the largest λ with (Σ losses + 1) / (n + 1) ≤ α. A further
animal, exchangeable with them, then misses at most α of its lesions in the mean, and, where scores have no ties, at least
α − 2 / (n + 1). Angelopoulos, Bates, Fisch, Lei and Schuster 2022, arXiv:2208.02814.

The same as a rank: r(s) = (1 + Σ over animals of the share of lesions that score at most s) / (n + 1); what has r > α is
looked at, which is s ≥ λ. With K models, each with its own validation animals, the sum goes over all animals, each judged by
the model that did not see it, and s is the score by that model (cross-conformal: Vovk 2015, 10.1007/s10472-013-9368-4; as
CV+: Barber et al. 2021, 10.1214/20-AOS1965). No scale of one model is carried to another, and no test image is used. What is
proven is then less than what is promised (`proven`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darklung.core.checks import check_range, check_shape, require

ROUNDING = 1e-9  # of sums of 1 / lesions


@dataclass(frozen=True)
class Calibration:
    """What one model says of the lesions of animals that it did not learn from.

    Parameters
    ----------
    scores : (lesion,) float64
        Rising; of lesions that have a score.
    weights : (lesion,) float64
        1 / lesions of the animal.
    never : float
        Sum of the weights of lesions without any score: no threshold finds them.
    animals : int
        With a lesion.
    """

    scores: NDArray[np.float64]
    weights: NDArray[np.float64]
    never: float
    animals: int

    def __post_init__(self) -> None:
        check_shape("weights", self.weights, "lesion", self.scores.shape)
        require(bool(np.all(np.diff(self.scores) >= 0)), "calibration: wanted rising scores")
        total = float(self.weights.sum()) + self.never
        require(abs(total - self.animals) < 1e-6, f"calibration: wanted weights of {self.animals} in all, got {total:g}")

    @classmethod
    def of(cls, scores: ArrayLike, animals: ArrayLike) -> Calibration:
        """From the score of each lesion, NaN or -inf where it has none, and its animal, (lesion,) each."""
        values, who = np.asarray(scores, dtype=np.float64), np.asarray(animals)
        require(values.shape == who.shape, f"animals: wanted shape {values.shape}, got {who.shape}")
        _, number, count = np.unique(who, return_inverse=True, return_counts=True)
        weights = 1 / count[number]
        scored = np.isfinite(values)
        order = np.argsort(values[scored], kind="stable")
        return cls(values[scored][order], weights[scored][order], float(weights[~scored].sum()), len(count))

    def at_most(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Sum over animals of the share of lesions that score at most so much."""
        sums = np.append(0.0, np.cumsum(self.weights))
        return np.asarray(self.never + sums[np.searchsorted(self.scores, scores, side="right")])


def ranks(calibrations: Sequence[Calibration], scores: ArrayLike) -> NDArray[np.float64]:
    """Rank of each item among known lesions, 0 to 1: of lesions that are truly there, a share of about r has at most r.

    Parameters
    ----------
    calibrations : sequence of Calibration
        One a model, of different animals.
    scores : (model, item)
        Of each item by each model.
    """
    values = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    many = len(calibrations)
    require(many >= 1, "calibrations: wanted at least one model, got none")
    require(values.shape[0] == many, f"scores: wanted those of {many} models, got {values.shape[0]}")
    below = sum((c.at_most(own) for c, own in zip(calibrations, values)), np.zeros(values.shape[1]))
    return np.asarray((1 + below) / (animals_of(calibrations) + 1))


def looked_at(rank: ArrayLike, level: float) -> NDArray[np.bool_]:
    """Whether items are on the list that promises a share `level` of the lesions."""
    return np.asarray(np.asarray(rank, dtype=np.float64) > _alpha(level) + ROUNDING)


def conformal_threshold(calibration: Calibration, level: float) -> float | None:
    """Score of one model from which on items are looked at, so that a share `level` of the lesions is promised.

    None where nothing can be promised, see `why_not`.

    Parameters
    ----------
    calibration : Calibration
    level : float
        Above 0 and below 1, such as 0.9.
    """
    if why_not([calibration], level):
        return None
    passing = looked_at(ranks([calibration], calibration.scores[None]), level)
    return float(calibration.scores[int(np.argmax(passing))])


def animals_of(calibrations: Sequence[Calibration]) -> int:
    """Animals with a lesion in all."""
    return sum(c.animals for c in calibrations)


def why_not(calibrations: Sequence[Calibration], level: float) -> str:
    """Why a level cannot be promised, in a line; empty where it can."""
    alpha, n = _alpha(level), animals_of(calibrations)
    least = math.ceil(1 / alpha - 1 - ROUNDING)
    if n < least:
        return f"{100 * level:g} % cannot be promised of {n} animals with lesions: {least} are the fewest"
    never = sum(c.never for c in calibrations)
    if (1 + never) / (n + 1) > alpha + ROUNDING:
        share = 100 * never / n
        return f"{100 * level:g} % cannot be promised: {share:.1f} % of the lesions of {n} animals have no score at all"
    return ""


def proven(calibrations: Sequence[Calibration], level: float) -> float:
    """Share of the lesions that is found in the mean whatever the models have in common, at least.

    `level` itself for one model. For K models 1 − 2 (α (n + 1) + K − 1) / (n + K): the weighted mean of the models' ranks
    is (Σ + K) / (n + K), each of them is a p-value, and twice a mean of p-values is one (Rüschendorf 1982; Vovk and Wang
    2020, 10.1093/biomet/asaa027). Animals must be exchangeable, and no model may have seen its own.
    """
    many, n, alpha = len(calibrations), animals_of(calibrations), _alpha(level)
    if many == 1:
        return level
    return max(0.0, 1 - 2 * (alpha * (n + 1) + many - 1) / (n + many))


def _alpha(level: float) -> float:
    """The share that may be missed."""
    check_range("level", level, 0.01, 0.999)
    return 1 - level
