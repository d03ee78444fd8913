"""The metrics of a comparison: `METRICS`, name -> title and function.

A metric sees one arm on one split (`Scored`) and gives its value with the value in every bootstrap replicate; interval,
table, report and paired differences follow from that. To add one, write its function and its line in `METRICS`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.evaluate.froc import MEAN_POINTS
from darklung.evaluate.proportions import Share, share_of
from darklung.evaluate.replicates import RankedUnits, threshold_replicates
from darklung.evaluate.roc import threshold_at_specificity
from darklung.evaluate.scored import Metric, Scored, Spread
from darklung.evaluate.statistics import count_pairs, ratio_replicates

ECE_BINS = 10
# Design effect that is taken for an AUROC before the data, in units of its smaller class (at most 1 if all are independent).
AUROC_DESIGN = 0.4


def auroc(view: Scored) -> Spread:
    """Of the tiles (`darklung.evaluate.roc.auroc`)."""
    return _auroc(view, view.scores, view.labels, view.clusters)


def animal_auroc(view: Scored) -> Spread:
    """Of animals with and without lesions, each with its highest tile."""
    lesions = view.tables.lesions
    ill = view.sums(view.labels) > 0
    if lesions is not None:
        ill = np.isin(view.subjects, lesions["subject"][lesions["number"] > 0])
    highest = np.full(len(view.subjects), -np.inf)
    np.maximum.at(highest, view.clusters, view.scores)
    seen = np.flatnonzero(np.isfinite(highest))
    return _auroc(view, highest[seen], ill[seen].astype(np.int64), seen, design=1.0)


def _auroc(view: Scored, scores: NDArray, labels: NDArray, clusters: NDArray, *, design: float = AUROC_DESIGN) -> Spread:
    pairs = count_pairs(scores=scores, labels=labels, clusters=clusters, count=len(view.subjects))
    smaller = min(int((labels == 1).sum()), int((labels == 0).sum()))
    share = Share(smaller, 0.0, design, 0.0, len(view.subjects))
    return Spread(float(pairs.auroc(np.ones((1, len(view.subjects))))[0]), pairs.auroc(view.weights), share)


def average_precision(view: Scored) -> Spread:
    """Area under precision against recall of the tiles, as a sum over steps of recall."""
    ranked = RankedUnits.of(view.scores, view.clusters, view.labels)
    one = np.ones((1, len(view.subjects)))
    return Spread(float(ranked.average_precision(one)[0]), ranked.average_precision(view.weights))


def sensitivity(view: Scored) -> Spread:
    """Share of the positive tiles that is called."""
    return called_share(view, view.labels == 1)


def specificity(view: Scored) -> Spread:
    """Share of the negative tiles that is not called."""
    return called_share(view, view.labels == 0, against=True)


def called_share(view: Scored, rows: NDArray[np.bool_], *, against: bool = False) -> Spread:
    """Share of the chosen tile rows that is called, or (`against`) is not; the threshold's replicates are in its spread."""
    if view.threshold is None:
        return _undefined(view)
    trials = view.sums(rows)
    limits = np.array([view.threshold]) if view.thresholds is None else np.append(view.threshold, view.thresholds)
    called = view.reached(rows, limits)
    counts = trials - called if against else called
    varied = counts[0] if view.thresholds is None else counts[1:]
    total = float(trials.sum())
    value = float(counts[0].sum()) / total if total else float("nan")
    bottom = view.weights @ trials
    replicates = np.full(len(bottom), np.nan)
    np.divide((view.weights * varied).sum(axis=1), bottom, out=replicates, where=bottom > 0)
    return Spread(value, replicates, share_of(counts[0], trials))


def equal_sensitivity(view: Scored) -> Spread:
    """Sensitivity at the threshold that gives the wanted specificity on these very animals: arms at equal false alarms."""
    negative = view.labels == 0
    if not negative.any():
        return _undefined(view)
    given: dict[str, Any] = {"scores": view.scores, "labels": view.labels, "specificity": view.specificity}
    limit = threshold_at_specificity(**given)
    varied = threshold_replicates(**given, clusters=view.clusters, weights=view.weights)
    return sensitivity(replace(view, threshold=limit, thresholds=varied))


def froc(view: Scored) -> Spread:
    """Mean share of lesions found at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a subject, mimics counted."""
    sums = view.searches.get(True)
    if sums is None:
        return _undefined(view)
    one = np.ones((1, len(view.subjects)))
    value = sums.sensitivities(one, MEAN_POINTS).mean(axis=1)
    found = view.found[True].mean(axis=1)
    share = share_of(value * sums.lesion_count, sums.lesion_count)
    return Spread(float(value[0]), found, share)


def dice(view: Scored) -> Spread:
    """2 Σ overlap / Σ (predicted + true) over all voxels of the search regions; not defined without outlines or lesions."""
    voxels = view.tables.voxels.set_index("subject").loc[view.subjects]
    true = voxels["true"].to_numpy(dtype=float)
    if not view.tables.outlined or not true.any():
        return _undefined(view)
    size = voxels["predicted"].to_numpy(dtype=float) + true
    spread = _ratio(view, 2 * voxels["overlap"].to_numpy(dtype=float), size)
    return replace(spread, replicates=np.where(view.weights @ true > 0, spread.replicates, np.nan))


def brier(view: Scored) -> Spread:
    """Mean squared distance of a tile's probability and label."""
    probability = view.probabilities
    if probability is None:
        return _undefined(view)
    error = (probability - view.labels) ** 2
    return _ratio(view, view.sums(error), view.sums(np.ones(len(error))))


def calibration_error(view: Scored) -> Spread:
    """Mean distance of predicted probability and observed share over ten bins of probability, weighted by their tiles.

    Naeini, Cooper and Hauskrecht 2015, 10.1609/aaai.v29i1.9602. It is 0 at best, and above it by chance where tiles are few.
    """
    probability = view.probabilities
    if probability is None or not len(probability):
        return _undefined(view)
    number = np.minimum((probability * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gaps = np.zeros((len(view.subjects), ECE_BINS))
    np.add.at(gaps, (view.clusters, number), probability - view.labels)
    count = view.sums(np.ones(len(probability)))
    value = float(np.abs(gaps.sum(axis=0)).sum() / count.sum())
    tiles = view.weights @ count
    distance = np.abs(view.weights @ gaps).sum(axis=1)
    return Spread(value, np.divide(distance, tiles, out=np.full(len(tiles), np.nan), where=tiles > 0))


METRICS: dict[str, Metric] = {
    "auroc": Metric("AUROC", auroc),
    "sensitivity": Metric("Sensitivity", sensitivity),
    "specificity": Metric("Specificity", specificity),
    "equal_sensitivity": Metric("Sensitivity at equal specificity", equal_sensitivity),
    "average_precision": Metric("Average precision", average_precision),
    "animal_auroc": Metric("AUROC of animals", animal_auroc),
    "froc": Metric("Lesions found, mean of 1/8 to 8 FP", froc),
    "dice": Metric("Dice", dice),
    "brier": Metric("Brier (lower is better)", brier),
    "calibration_error": Metric("Calibration error (lower is better)", calibration_error),
}


def _ratio(view: Scored, numerator: NDArray, denominator: NDArray) -> Spread:
    value = float(numerator.sum() / denominator.sum()) if denominator.sum() else float("nan")
    return Spread(value, ratio_replicates(numerator=numerator, denominator=denominator, weights=view.weights))


def _undefined(view: Scored) -> Spread:
    return Spread(float("nan"), np.full(len(view.weights), np.nan))
