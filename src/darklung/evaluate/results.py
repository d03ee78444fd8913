"""What one arm reached on one split: metrics, curves, and every rate with its number and interval."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.evaluate.calibration import reliability
from darklung.evaluate.dice import pooled_dice, subject_dice
from darklung.evaluate.froc import MEAN_POINTS, FrocSums
from darklung.evaluate.metrics import called_share
from darklung.evaluate.outlines import outline_results
from darklung.evaluate.proportions import share_interval, share_of
from darklung.evaluate.roc import Curve, confusion, precision_recall_curve, roc_curve, thin
from darklung.evaluate.scored import Scored, Spread
from darklung.evaluate.statistics import Estimate

SIZE_EDGES_MM = (0.0, 0.75, 1.0, 1.5, 2.0, 3.0, 10.0, np.inf)
KINDS = ("tile", "sham", "mimic")
CURVE_POINTS = 200


def arm_results(view: Scored, spreads: Mapping[str, Spread]) -> dict[str, Any]:
    """Everything of an arm, with its metrics' values and replicates; see docs/decisions/073-comparison-file.md."""
    threshold = view.threshold
    return {
        "n": _counts(view),
        "metrics": {name: spread.estimate(len(view.subjects)) for name, spread in spreads.items()},
        "threshold": threshold,
        **_curves(view),
        "confusion": None if threshold is None else confusion(scores=view.scores, labels=view.labels, threshold=threshold),
        "probability": _probability(view),
        "froc": _froc(view),
        "by_class": _by_class(view),
        "by_size": _by_size(view),
        "by_kind": None if threshold is None else _by_kind(view),
        "by_animal": _by_animal(view),
        "by_fold": _by_fold(view),
        "dice_by_subject": _dice_by_subject(view.tables.voxels) if view.tables.outlined else None,
        "outlines": None if view.tables.outlines is None else outline_results(view.tables.outlines),
    }


def _counts(view: Scored) -> dict[str, int]:
    positives, negatives = int((view.labels == 1).sum()), int((view.labels == 0).sum())
    return {"subjects": len(view.subjects), "positives": positives, "negatives": negatives}


def _curves(view: Scored) -> dict[str, Any]:
    scores, labels, probability = view.scores, view.labels, view.probabilities
    curve = thin(roc_curve(scores=scores, labels=labels), points=CURVE_POINTS)
    pr = thin(precision_recall_curve(scores=scores, labels=labels), points=CURVE_POINTS)
    return {
        "roc": {"fpr": curve.x, "tpr": curve.y},
        "pr": {"recall": pr.x, "precision": pr.y},
        "reliability": None if probability is None else _reliability(view, probability),
    }


def _reliability(view: Scored, probability: NDArray[np.float64]) -> dict[str, Any]:
    """Bins of equal width with the interval of the observed share."""
    found = reliability(probabilities=probability, labels=view.labels)
    number = np.minimum((probability * 10).astype(np.int64), 9)
    shares = [_rate(view, view.labels == 1, number == b) for b in np.unique(number)]
    return {**found, "low": [s.low for s in shares], "high": [s.high for s in shares]}


def _rate(view: Scored, hit: NDArray[np.bool_], rows: NDArray[np.bool_]) -> Estimate:
    """Share of the chosen rows that are hits."""
    x, n = view.sums(hit & rows), view.sums(rows)
    value = float(x.sum() / n.sum()) if n.sum() else float("nan")
    return share_interval(value=value, share=share_of(x, n), replicates=np.zeros(0))


def _probability(view: Scored) -> dict[str, float] | None:
    """The curve from score to probability, and the Brier score of saying the share of positives everywhere."""
    if view.logistic is None:
        return None
    share = float(view.labels.mean()) if len(view.labels) else float("nan")
    slope = view.logistic.slope / view.logistic.scale
    intercept = view.logistic.intercept - slope * view.logistic.center
    return {"slope": slope, "intercept": intercept, "brier_of_prevalence": share * (1 - share)}


def _froc(view: Scored) -> dict[str, Any] | None:
    if not view.searches:
        return None
    parts = {mimics: _froc_part(view, sums, view.found[mimics]) for mimics, sums in view.searches.items()}
    return parts[True] | {"mimics_not_counted": parts[False]}


def _froc_part(view: Scored, sums: FrocSums, replicates: NDArray[np.float64]) -> dict[str, Any]:
    require(list(sums.subjects) == view.subjects, "lesions: subjects differ from those of the voxel table")
    one = np.ones((1, len(view.subjects)))
    fp, found = (np.append(0.0, row[0]) for row in sums.rates(one))
    thinned = thin(Curve(fp, found, np.append(np.inf, sums.levels)), points=CURVE_POINTS)
    values = sums.sensitivities(one, MEAN_POINTS)[0]
    points = {}
    for k, x in enumerate(MEAN_POINTS):
        share = share_of(values[k] * sums.lesion_count, sums.lesion_count)
        points[f"{x:g}"] = share_interval(value=float(values[k]), share=share, replicates=replicates[:, k])
    return {"fp_per_subject": thinned.x, "sensitivity": thinned.y, "points": points}


def _called(view: Scored, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Share of the chosen rows that is called, with their number and the interval."""
    found = called_share(view, rows).estimate(len(view.subjects))
    return {"n": int(rows.sum()), "sensitivity": found.value, "low": found.low, "high": found.high}


def _by_class(view: Scored) -> dict[str, dict[str, Any]]:
    tissue = view.tables.tiles["tissue"].to_numpy()
    positive = view.labels == 1
    return {str(name): _called(view, positive & (tissue == name)) for name in sorted(set(tissue[positive]))}


def _by_size(view: Scored) -> list[dict[str, Any]]:
    millimetres = view.tables.tiles["diameter_m"].to_numpy(dtype=float) * 1e3
    out = []
    for low, high in pairwise(SIZE_EDGES_MM):
        chosen = (view.labels == 1) & (millimetres >= low - 1e-9) & (millimetres < high - 1e-9)
        if chosen.any():
            out.append({"low_mm": low, "high_mm": high} | _called(view, chosen))
    return out


def _by_kind(view: Scored) -> dict[str, dict[str, Any]]:
    """False positives by kind of negative, and of mimics by class."""
    kind, tissue = (view.tables.tiles[c].to_numpy() for c in ("kind", "tissue"))
    rows = {k: kind == k for k in KINDS}
    for name in sorted(set(tissue[kind == "mimic"])):
        rows[f"mimic, {name}"] = (kind == "mimic") & (tissue == name)
    found = {k: _called(view, chosen) for k, chosen in rows.items() if chosen.any()}
    return {k: {"value" if name == "sensitivity" else name: v for name, v in row.items()} for k, row in found.items()}


def _by_animal(view: Scored) -> list[dict[str, Any]]:
    """Lesions found and tiles called of each animal, its highest tile, and its Dice."""
    called, positive = view.called, view.labels == 1
    columns = {
        "lesions": view.sums(positive),
        "found": view.sums(positive * called),
        "negatives": view.sums(~positive),
        "false": view.sums(~positive * called),
    }
    own = subject_dice(view.tables.voxels) if view.tables.outlined else pd.Series(dtype=float)
    rows = []
    for k, name in enumerate(view.subjects):
        counts = {c: None if np.isnan(v[k]) else int(v[k]) for c, v in columns.items()}
        scores = view.scores[view.clusters == k]
        highest = float(scores.max()) if len(scores) else None
        rows.append({"animal": name, **counts, "highest": highest, "dice": own.get(name)})
    return rows


def _by_fold(view: Scored) -> list[dict[str, Any]]:
    """Sensitivity and specificity of each fold's model on its own animals; empty where one rule was applied to all."""
    if "fold" not in view.tables.tiles or view.threshold is None:
        return []
    fold = view.tables.tiles["fold"].to_numpy()
    if len(set(fold)) < 2:
        return []
    rows = []
    for k in sorted(set(fold)):
        chosen = fold == k
        hits = [
            called_share(view, chosen & (view.labels == 1)),
            called_share(view, chosen & (view.labels == 0), against=True),
        ]
        estimates = [h.estimate(len(view.subjects)) for h in hits]
        animals = len(set(view.clusters[chosen]))
        rows.append({"fold": int(k), "animals": animals, "sensitivity": estimates[0], "specificity": estimates[1]})
    return rows


def _dice_by_subject(voxels: pd.DataFrame) -> dict[str, Any]:
    """Beside the pooled Dice: its distribution over animals with lesions, and what is segmented in those without."""
    ill, healthy = subject_dice(voxels), voxels[voxels["true"] == 0]
    return {
        "pooled": pooled_dice(voxels),
        "mean": float(ill.mean()) if len(ill) else None,
        "median": float(ill.median()) if len(ill) else None,
        "subjects_with_lesion": len(ill),
        "false_voxels_per_lesion_free_subject": float(healthy["predicted"].mean()) if len(healthy) else None,
    }


def plain(value: Any) -> Any:
    """The same with JSON types only: estimates to dicts, arrays to lists, NaN and infinity to None."""
    if isinstance(value, Estimate):
        return plain({"value": value.value, "low": value.low, "high": value.high})
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
