"""One arm on one split as a metric sees it, and what a metric gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from darklung.evaluate.calibration import Logistic
from darklung.evaluate.froc import MEAN_POINTS, FrocSums
from darklung.evaluate.proportions import Share, correlation_of, difference_interval, share_interval
from darklung.evaluate.statistics import Estimate, interval
from darklung.evaluate.tables import ArmTables

ORDER = ["subject", "tile", "number"]


@dataclass(frozen=True)
class Scored:
    """One arm on one split, with what was fixed before.

    Parameters
    ----------
    tables : ArmTables
        Tile rows sorted by `ORDER`.
    clusters : (row,) int64
        Subject of each tile row, as an index of `subjects`.
    subjects : list of str
    weights : (replicate, subject) int64
        Of the bootstrap, the same for all arms.
    threshold : float or None
        Score from which a tile is called; without one nothing is called, and nothing is claimed of it.
    logistic : Logistic or None
        From score to probability.
    thresholds : (replicate,) float64, optional
        What the threshold would have been of other validation animals; `threshold` itself by default.
    specificity : float
        At which sensitivities are compared.
    """

    tables: ArmTables
    clusters: NDArray[np.int64]
    subjects: list[str]
    weights: NDArray[np.int64]
    threshold: float | None
    logistic: Logistic | None
    thresholds: NDArray[np.float64] | None = None
    specificity: float = 0.95

    @property
    def scores(self) -> NDArray[np.float64]:
        """Of the tile rows."""
        return self.tables.tiles["score"].to_numpy(dtype=np.float64)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of the tile rows, 0 or 1."""
        return self.tables.tiles["label"].to_numpy(dtype=np.int64)

    @property
    def probabilities(self) -> NDArray[np.float64] | None:
        """Of the tile rows; None without a logistic curve."""
        return None if self.logistic is None else self.logistic.probability(self.scores)

    @property
    def called(self) -> NDArray[np.float64]:
        """1 for tile rows that are called positive, 0 for others; NaN without a threshold."""
        if self.threshold is None:
            return np.full(len(self.tables.tiles), np.nan)
        return (self.scores >= self.threshold).astype(np.float64)

    @cached_property
    def searches(self) -> dict[bool, FrocSums]:
        """The search of the whole lung with mimics as false positives (True) and without; empty without any lesion."""
        candidates, lesions = self.tables.candidates, self.tables.lesions
        if candidates is None or lesions is None or not (lesions["number"] > 0).any():
            return {}
        return {m: FrocSums.of(candidates=candidates, lesions=lesions, mimics=m) for m in (True, False)}

    @cached_property
    def found(self) -> dict[bool, NDArray[np.float64]]:
        """Share of lesions found at `MEAN_POINTS` in each replicate of `searches`, (replicate, point)."""
        return {mimics: sums.sensitivities(self.weights, MEAN_POINTS) for mimics, sums in self.searches.items()}

    def sums(self, values: NDArray) -> NDArray[np.float64]:
        """Sum of a value of the tile rows over each subject."""
        sums = np.bincount(self.clusters, weights=np.asarray(values, dtype=float), minlength=len(self.subjects))
        return np.asarray(sums, dtype=np.float64)

    def reached(self, rows: NDArray[np.bool_], limits: NDArray) -> NDArray[np.float64]:
        """How many of the chosen tile rows of each subject score at or above each limit, (limit, subject)."""
        scores, who = self.scores[rows], self.clusters[rows]
        counts = np.zeros((len(limits), len(self.subjects)))
        for i in np.unique(who):
            own = np.sort(scores[who == i])
            counts[:, i] = len(own) - np.searchsorted(own, limits, side="left")
        return counts


@dataclass(frozen=True)
class Spread:
    """A value, what it is in each replicate (NaN where it is not defined), and what it rests on if it is a share."""

    value: float
    replicates: NDArray[np.float64]
    share: Share | None = None

    def estimate(self, clusters: int) -> Estimate:
        """The value with its interval."""
        if self.share is not None:
            return share_interval(value=self.value, share=self.share, replicates=self.replicates)
        return interval(value=self.value, replicates=self.replicates, clusters=clusters)

    def minus(self, other: Spread, clusters: int) -> Estimate:
        """Paired difference with its interval: both on the same replicates of the same animals."""
        if self.share is None or other.share is None:
            replicates = self.replicates - other.replicates
            return interval(value=self.value - other.value, replicates=replicates, clusters=clusters)
        alike = correlation_of(self.replicates, other.replicates)
        return difference_interval(self.estimate(clusters), other.estimate(clusters), correlation=alike)


@dataclass(frozen=True)
class Metric:
    """How a metric is headed in a table, and the function that gives it."""

    title: str
    function: Callable[[Scored], Spread]


def scored(
    tables: ArmTables,
    weights: NDArray[np.int64],
    *,
    threshold: float | None = None,
    logistic: Logistic | None = None,
    thresholds: NDArray[np.float64] | None = None,
    specificity: float = 0.95,
) -> Scored:
    """An arm's tables in the order that the metrics want; `weights` for the subjects in alphabetical order."""
    subjects = sorted(set(tables.voxels["subject"]))
    code = {s: i for i, s in enumerate(subjects)}
    ordered = tables.tiles.sort_values(ORDER, ignore_index=True)
    clusters = ordered["subject"].map(code).to_numpy(dtype=np.int64)
    view = replace(tables, tiles=ordered)
    return Scored(view, clusters, subjects, weights, threshold, logistic, thresholds, specificity)
