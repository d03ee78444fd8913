"""Exact curves and scores of small samples: ROC, precision–recall, threshold, confusion.

A unit is called positive where its score is at or above the threshold. Streaming counts over voxels are in `histogram`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from darklung.core.checks import check_finite, check_range, require


@dataclass(frozen=True)
class Curve:
    """Points of a curve, from the highest threshold to the lowest.

    Parameters
    ----------
    x, y : (point,) float64
        ROC: false and true positive rate, from (0, 0) to (1, 1). Precision–recall: recall and precision, from recall 0.
    threshold : (point,) float64
        Score at or above which a unit is positive; +inf at the first point.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    threshold: NDArray[np.float64]


def split_scores(*, scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of the positives and of the negatives.

    Raises
    ------
    DarklungError
        Lengths that differ, scores that are not finite, or labels other than 0 and 1.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    require(values.ndim == 1 and values.shape == truth.shape, f"labels: wanted shape {values.shape}, got {truth.shape}")
    check_finite("scores", values)
    require(bool(np.isin(truth, (0, 1)).all()), "labels: wanted 0 and 1 only")
    return values[truth == 1], values[truth == 0]


def auroc(*, scores: ArrayLike, labels: ArrayLike) -> float:
    """Probability that a positive scores above a negative, ties counting half; NaN without a positive or a negative.

    Hanley and McNeil 1982, 10.1148/radiology.143.1.7063747.
    """
    positive, negative = split_scores(scores=scores, labels=labels)
    n, m = len(positive), len(negative)
    if n == 0 or m == 0:
        return float("nan")
    ranks = rankdata(np.concatenate([positive, negative]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def _counts(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray, NDArray, NDArray, int, int]:
    """Distinct scores, falling, and how many positives and negatives score at or above each; and how many there are."""
    positive, negative = split_scores(scores=scores, labels=labels)
    levels = np.unique(np.concatenate([positive, negative]))[::-1]
    true = len(positive) - np.searchsorted(np.sort(positive), levels, side="left")
    false = len(negative) - np.searchsorted(np.sort(negative), levels, side="left")
    return levels, true, false, len(positive), len(negative)


def roc_curve(*, scores: ArrayLike, labels: ArrayLike) -> Curve:
    """True against false positive rate at every distinct score; all NaN rates without positives or negatives."""
    levels, true, false, n, m = _counts(scores, labels)
    tpr = np.concatenate([[0], true]) / n if n else np.full(len(levels) + 1, np.nan)
    fpr = np.concatenate([[0], false]) / m if m else np.full(len(levels) + 1, np.nan)
    return Curve(fpr, tpr, np.concatenate([[np.inf], levels]))


def precision_recall_curve(*, scores: ArrayLike, labels: ArrayLike) -> Curve:
    """Precision against recall at every distinct score; precision is 1 at recall 0 by convention."""
    levels, true, false, n, _ = _counts(scores, labels)
    recall = np.concatenate([[0], true]) / n if n else np.full(len(levels) + 1, np.nan)
    precision = np.concatenate([[1.0], true / (true + false)])
    return Curve(recall, precision, np.concatenate([[np.inf], levels]))


def threshold_at_specificity(*, scores: ArrayLike, labels: ArrayLike, specificity: float = 0.95) -> float:
    """Lowest threshold at which at least `specificity` of the negatives score below it.

    Take it from validation data and apply it unchanged to test data; a threshold chosen on the test set flatters.

    Returns
    -------
    float
        The value just above the score of the last negative that must be called negative, so that it depends on the
        negatives alone and not on gaps between scores.

    Raises
    ------
    DarklungError
        No negatives.
    """
    check_range("specificity", specificity, 0, 1)
    _, negative = split_scores(scores=scores, labels=labels)
    require(len(negative) > 0, "threshold: no negative unit to fix the specificity on")
    needed = int(np.ceil(specificity * len(negative) - 1e-9))
    if needed == 0:
        return float(negative.min())
    return float(np.nextafter(np.sort(negative)[needed - 1], np.inf))


def confusion(*, scores: ArrayLike, labels: ArrayLike, threshold: float) -> dict[str, int]:
    """Counts ``tp``, ``fp``, ``fn``, ``tn`` at a threshold."""
    positive, negative = split_scores(scores=scores, labels=labels)
    tp, fp = int((positive >= threshold).sum()), int((negative >= threshold).sum())
    return {"tp": tp, "fp": fp, "fn": len(positive) - tp, "tn": len(negative) - fp}


def thin(curve: Curve, *, points: int = 200) -> Curve:
    """At most `points` points of a curve: the corners only, then evenly along its length; both ends are kept."""
    check_range("points", points, 2, 1e9)
    x, y = curve.x, curve.y
    keep = np.ones(len(x), dtype=bool)
    if len(x) > 2:
        turn = np.diff(x[:-1]) * np.diff(y[1:]) - np.diff(x[1:]) * np.diff(y[:-1])
        keep[1:-1] = np.abs(turn) > 1e-15
    index = np.flatnonzero(keep)
    if len(index) > points:
        length = np.concatenate([[0], np.cumsum(np.abs(np.diff(x[index])) + np.abs(np.diff(y[index])))])
        wanted = np.linspace(0, length[-1], points)
        index = index[np.unique(np.searchsorted(length, wanted - 1e-12).clip(0, len(index) - 1))]
    return Curve(x[index], y[index], curve.threshold[index])
