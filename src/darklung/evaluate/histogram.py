"""AUROC, ROC and Dice counts over any number of voxels in bounded memory: a histogram of float16 logits.

A float16 has 65,536 patterns; ordered by value they are bins whose width follows the logit (relative width 0.1 %). Logits,
not probabilities: a saturated sigmoid puts thousands of distinct scores into one bin (0.06 of AUROC was lost that way).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_finite, require
from darklung.core.types import LESION, UNKNOWN
from darklung.evaluate.roc import Curve, thin

BINS = 65536
LARGEST = 65504.0  # of float16; beyond it the order of scores is lost


@dataclass(frozen=True)
class LogitHistogram:
    """Counts of voxels by logit; add two with ``+``.

    Parameters
    ----------
    positive, negative : (65536,) int64
        Voxels of either label in each bin, bins in rising order of logit.
    """

    positive: NDArray[np.int64]
    negative: NDArray[np.int64]

    def __add__(self, other: LogitHistogram) -> LogitHistogram:
        return LogitHistogram(self.positive + other.positive, self.negative + other.negative)


def empty_histogram() -> LogitHistogram:
    """No voxel yet."""
    return LogitHistogram(np.zeros(BINS, dtype=np.int64), np.zeros(BINS, dtype=np.int64))


def logit_histogram(*, logits: NDArray, labels: NDArray) -> LogitHistogram:
    """Count voxels by their logit, rounded to float16, and label.

    Parameters
    ----------
    logits : array of any shape
        Finite; beyond ±65504 all share the outermost bin.
    labels : array of the same shape
        `LESION` is positive, background negative, and `UNKNOWN` is not counted.
    """
    require(logits.shape == labels.shape, f"labels: wanted shape {logits.shape}, got {labels.shape}")
    check_finite("logits", logits)
    known = labels != UNKNOWN
    half = np.clip(logits[known], -LARGEST, LARGEST).astype(np.float16) + np.float16(0)  # + 0 turns −0 into 0
    bits = half.view(np.uint16)
    order = np.where(bits & 0x8000, ~bits, bits | 0x8000)  # rising with the value
    found = labels[known] == LESION
    positive = np.bincount(order[found], minlength=BINS)
    return LogitHistogram(positive, np.bincount(order, minlength=BINS) - positive)


def bin_values() -> NDArray[np.float32]:
    """Logit of each bin, (65536,) rising; NaN for the patterns that are no numbers."""
    order = np.arange(BINS, dtype=np.uint16)
    bits = np.where(order & 0x8000, order & 0x7FFF, ~order).astype(np.uint16)
    with np.errstate(invalid="ignore"):
        return bits.view(np.float16).astype(np.float32)


def histogram_auroc(histogram: LogitHistogram) -> float:
    """AUROC of the rounded logits, ties counting half; NaN without a positive or a negative."""
    positive, negative = histogram.positive.astype(np.float64), histogram.negative.astype(np.float64)
    n, m = positive.sum(), negative.sum()
    if n == 0 or m == 0:
        return float("nan")
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / (n * m))


def histogram_roc(histogram: LogitHistogram) -> Curve:
    """ROC curve with one point for each bin that holds a voxel."""
    used = np.flatnonzero(histogram.positive + histogram.negative)[::-1]
    n, m = histogram.positive.sum(), histogram.negative.sum()
    require(n > 0 and m > 0, f"histogram: an ROC curve needs both labels, got {n} positive and {m} negative voxels")
    tpr = np.concatenate([[0], np.cumsum(histogram.positive[used])]) / n
    fpr = np.concatenate([[0], np.cumsum(histogram.negative[used])]) / m
    return Curve(fpr, tpr, np.concatenate([[np.inf], bin_values()[used]]).astype(np.float64))


def histogram_precision_recall(histogram: LogitHistogram) -> Curve:
    """Precision against recall with one point for each bin that holds a voxel; precision is 1 at recall 0 by convention."""
    used = np.flatnonzero(histogram.positive + histogram.negative)[::-1]
    n = histogram.positive.sum()
    require(n > 0, "histogram: precision and recall need a positive voxel, got none")
    true, false = np.cumsum(histogram.positive[used]), np.cumsum(histogram.negative[used])
    precision = np.concatenate([[1.0], true / (true + false)])
    threshold = np.concatenate([[np.inf], bin_values()[used]])
    return Curve(np.concatenate([[0.0], true / n]), precision, threshold.astype(np.float64))


def histogram_confusion(histogram: LogitHistogram, *, threshold: float = 0.0) -> dict[str, int]:
    """Voxels ``tp``, ``fp``, ``fn``, ``tn`` if those above `threshold` are called, as Dice calls them."""
    with np.errstate(invalid="ignore"):
        called = bin_values() > threshold
    tp, fp = int(histogram.positive[called].sum()), int(histogram.negative[called].sum())
    return {"tp": tp, "fp": fp, "fn": int(histogram.positive.sum()) - tp, "tn": int(histogram.negative.sum()) - fp}


def voxel_results(histogram: LogitHistogram, *, points: int = 200) -> dict[str, Any]:
    """AUROC, average precision, thinned curves and confusion at logit 0 of voxels; None where a label is missing."""
    n, m = int(histogram.positive.sum()), int(histogram.negative.sum())
    counts = {"positives": n, "negatives": m, "confusion": histogram_confusion(histogram)}
    if n == 0 or m == 0:
        return {**counts, "auroc": None, "average_precision": None, "roc": None, "pr": None}
    roc, pr = histogram_roc(histogram), histogram_precision_recall(histogram)
    average = float((np.diff(pr.x) * pr.y[1:]).sum())
    roc, pr = thin(roc, points=points), thin(pr, points=points)
    curves = {"roc": {"fpr": roc.x, "tpr": roc.y}, "pr": {"recall": pr.x, "precision": pr.y}}
    plain = {k: {axis: v.tolist() for axis, v in c.items()} for k, c in curves.items()}
    return {**counts, "auroc": histogram_auroc(histogram), "average_precision": average, **plain}
