"""Arms compared: every metric with its interval, thresholds and calibration from validation, differences with p-values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.evaluate.calibration import Logistic, fit_logistic, reliability
from darklung.evaluate.dice import pooled_dice, subject_dice
from darklung.evaluate.froc import FrocSums, froc_curve, sensitivity_at
from darklung.evaluate.metrics import METRICS, Metric, Scored, auroc, scored
from darklung.evaluate.roc import Curve, confusion, precision_recall_curve, roc_curve, thin, threshold_at_specificity
from darklung.evaluate.statistics import (
    LEVEL,
    PERMUTATIONS,
    REPLICATES,
    Estimate,
    bootstrap_weights,
    holm,
    interval,
    paired_permutation,
)
from darklung.evaluate.tables import ArmTables

SPLITS = ("validation", "test")
SIZE_EDGES_MM = (0.0, 0.75, 1.0, 1.5, 2.0, 3.0, 10.0)
FROC_POINTS = (0.25, 1.0)  # false positives a subject
KINDS = ("tile", "sham", "mimic")
CURVE_POINTS = 200


def compare(
    *,
    tables: Mapping[str, Mapping[str, ArmTables]],
    seed: int,
    replicates: int = REPLICATES,
    permutations: int = PERMUTATIONS,
    specificity: float = 0.95,
    crossed: bool = False,
    thresholds: Mapping[str, float | None] | None = None,
    metrics: Mapping[str, Metric] = METRICS,
) -> dict[str, Any]:
    """Compare arms on validation and test subjects, or on test subjects alone.

    The threshold (given specificity among the negatives) and the logistic curve from score to probability are fixed on
    validation units and applied unchanged to test units. Intervals: bootstrap over animals, the same replicates
    for all arms. Differences of AUROC: paired bootstrap interval; p by swapping arms in whole animals, corrected by Holm
    within the split.

    Parameters
    ----------
    tables : mapping split -> arm -> ArmTables
        Splits ``validation`` and ``test``, or ``test``; within a split all arms have the same units.
    seed : int
    replicates, permutations : int
    specificity : float
    crossed : bool
        Animals may be in validation of one fold and in test of another (each tested by a model that did not see it); the
        scores should then be aligned by fold, see `darklung.evaluate.folds.align_fold`.
    thresholds : mapping arm -> score, optional
        For the split ``test`` alone: from which score a tile is called. An arm of None has no sensitivity, and without
        validation there is no probability of a tile.
    metrics : mapping name -> Metric

    Returns
    -------
    dict
        Ready for JSON; undefined values are None. See docs/decisions/073-comparison-file.md for its keys.

    Raises
    ------
    DarklungError
        Splits or arms are missing, or the arms' units differ, or validation lacks positives or negatives.
    """
    wanted = SPLITS if thresholds is None else ("test",)
    arms = _check(tables, wanted, crossed)
    splits = [s for s in SPLITS if s in tables]
    given = dict(thresholds or {})
    if thresholds is None:
        fixed = {arm: _fix(arm, tables["validation"][arm].tiles, specificity) for arm in arms}
    else:
        fixed = {arm: (given.get(arm), None) for arm in arms}
    views = {s: _views(tables[s], fixed, seed, replicates) for s in splits}
    result = {
        "arms": arms,
        "splits": splits,
        "metrics": {name: metric.title for name, metric in metrics.items()},
        "results": {s: {arm: _arm(views[s][arm], metrics) for arm in arms} for s in splits},
        "differences": {s: _differences(views[s], seed, permutations) for s in splits},
        "settings": {
            "seed": seed,
            **_origin(specificity, given, validated=thresholds is None),
            "interval": f"{LEVEL:.0%} bootstrap over animals, percentiles expanded for their number",
            "replicates": replicates,
            "permutations": permutations,
            "unit": "lung tile; positive: the tile that holds most of a lesion",
            "froc": "mimics count as false positives; without them under mimics_not_counted",
        },
    }
    return _plain(result)


def _origin(specificity: float, given: Mapping[str, float | None], *, validated: bool) -> dict[str, Any]:
    """Where thresholds and probabilities come from."""
    if validated:
        known = "logistic curve fitted on validation units"
        return {"specificity": specificity, "threshold_from": "validation", "probability": known}
    some = any(t is not None for t in given.values())
    told = "given" if some else "none: no sensitivity or specificity is claimed"
    return {"threshold_from": told, "probability": "none: there are no validation units to fit one on"}


def _check(tables: Mapping[str, Mapping[str, ArmTables]], splits: Sequence[str], crossed: bool) -> list[str]:
    require(set(tables) == set(splits), f"tables: wanted the splits {', '.join(splits)}, got {', '.join(tables)}")
    arms = list(tables["test"])
    require(len(arms) >= 1, "tables: wanted at least one arm, got none")
    for split, own in tables.items():
        same = set(own) == set(arms)
        require(same, f"tables: arms of {split} ({', '.join(own)}) are not those of test ({', '.join(arms)})")
        first = _units(own[arms[0]])
        for arm in arms[1:]:
            require(_units(own[arm]).equals(first), f"tables: units of {arm} differ from those of {arms[0]} in {split}")
    animals = [set(own[arms[0]].voxels["subject"]) for own in tables.values()]
    both = set.intersection(*animals) if len(animals) > 1 else set()
    require(crossed or not both, f"tables: subjects are in validation and in test: {', '.join(sorted(both))}")
    return arms


def _units(tables: ArmTables) -> pd.DataFrame:
    units = tables.tiles[["subject", "tile", "kind", "label"]]
    return units.sort_values(["subject", "tile"]).reset_index(drop=True)


def _fix(arm: str, tiles: pd.DataFrame, specificity: float) -> tuple[float | None, Logistic | None]:
    """Threshold and logistic curve from an arm's validation units."""
    scores, labels = tiles["score"].to_numpy(), tiles["label"].to_numpy()
    n, m = int((tiles["reachable"] & (labels == 1)).sum()), int((labels == 0).sum())
    require(n > 0 and m > 0, f"validation units of {arm}: wanted positives and negatives, got {n} and {m}")
    threshold = threshold_at_specificity(scores=scores, labels=labels, specificity=specificity)
    # The stand-in score of a lesion outside the region would bend the curve.
    real = tiles["reachable"].to_numpy()
    return threshold, fit_logistic(scores=scores[real], labels=labels[real])


def _views(
    arms: Mapping[str, ArmTables], fixed: Mapping[str, tuple[float | None, Logistic | None]], seed: int, replicates: int
) -> dict[str, Scored]:
    subjects = set(next(iter(arms.values())).voxels["subject"])
    weights = bootstrap_weights(clusters=len(subjects), seed=seed, replicates=replicates)
    return {arm: scored(t, weights, threshold=fixed[arm][0], logistic=fixed[arm][1]) for arm, t in arms.items()}


def _arm(view: Scored, metrics: Mapping[str, Metric]) -> dict[str, Any]:
    scores, labels = view.scores, view.labels
    curve = thin(roc_curve(scores=scores, labels=labels), points=CURVE_POINTS)
    pr = thin(precision_recall_curve(scores=scores, labels=labels), points=CURVE_POINTS)
    probability = None if view.logistic is None else view.logistic.probability(scores)
    threshold = view.threshold
    return {
        "n": {
            "subjects": len(view.subjects),
            "positives": int((labels == 1).sum()),
            "negatives": int((labels == 0).sum()),
        },
        "metrics": {name: metric.function(view).estimate(len(view.subjects)) for name, metric in metrics.items()},
        "threshold": threshold,
        "roc": {"fpr": curve.x, "tpr": curve.y},
        "pr": {"recall": pr.x, "precision": pr.y},
        "reliability": None if probability is None else reliability(probabilities=probability, labels=labels),
        "confusion": None if threshold is None else confusion(scores=scores, labels=labels, threshold=threshold),
        "froc": _froc(view),
        "by_class": _by_class(view),
        "by_size": _by_size(view),
        "false_positive_rate_by_kind": None if threshold is None else _by_kind(view),
        "dice_by_subject": _dice_by_subject(view.tables.voxels) if view.tables.outlined else None,
    }


def _froc(view: Scored) -> dict[str, Any] | None:
    candidates, lesions = view.tables.candidates, view.tables.lesions
    if candidates is None or lesions is None or not (lesions["number"] > 0).any():
        return None
    counted = _froc_part(view, candidates, lesions, mimics=True)
    return counted | {"mimics_not_counted": _froc_part(view, candidates, lesions, mimics=False)}


def _froc_part(view: Scored, candidates: pd.DataFrame, lesions: pd.DataFrame, *, mimics: bool) -> dict[str, Any]:
    curve = froc_curve(candidates=candidates, lesions=lesions, mimics=mimics)
    sums = FrocSums.of(candidates=candidates, lesions=lesions, mimics=mimics)
    require(list(sums.subjects) == view.subjects, "lesions: subjects differ from those of the voxel table")
    thinned = thin(Curve(curve.fp_per_subject, curve.sensitivity, curve.threshold), points=CURVE_POINTS)
    points = {
        f"{x:g}": interval(
            value=sensitivity_at(curve, fp_per_subject=x),
            replicates=sums.sensitivity(view.weights, fp_per_subject=x),
            clusters=len(view.subjects),
        )
        for x in FROC_POINTS
    }
    return {"fp_per_subject": thinned.x, "sensitivity": thinned.y, "points": points}


def _by_class(view: Scored) -> dict[str, dict[str, Any]]:
    tissue = view.tables.tiles["tissue"].to_numpy()
    positive = view.labels == 1
    return {str(name): _share(view.called[positive & (tissue == name)]) for name in sorted(set(tissue[positive]))}


def _by_size(view: Scored) -> list[dict[str, Any]]:
    millimetres = view.tables.tiles["diameter_m"].to_numpy(dtype=float) * 1e3
    out = []
    for low, high in pairwise(SIZE_EDGES_MM):
        chosen = (view.labels == 1) & (millimetres >= low - 1e-9) & (millimetres < high - 1e-9)
        if chosen.any():
            out.append({"low_mm": low, "high_mm": high} | _share(view.called[chosen]))
    return out


def _share(called: NDArray[np.float64]) -> dict[str, Any]:
    return {"n": len(called), "sensitivity": float(called.mean())}


def _by_kind(view: Scored) -> dict[str, float | None]:
    kind = view.tables.tiles["kind"].to_numpy()
    return {k: float(view.called[kind == k].mean()) if (kind == k).any() else None for k in KINDS}


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


def _differences(views: Mapping[str, Scored], seed: int, permutations: int) -> list[dict[str, Any]]:
    spreads = {arm: auroc(view) for arm, view in views.items()}
    rows: list[dict[str, Any]] = []
    for a, b in combinations(views, 2):
        estimate = (spreads[a] - spreads[b]).estimate(len(views[a].subjects))
        p = paired_permutation(
            first=views[a].scores,
            second=views[b].scores,
            labels=views[a].labels,
            clusters=views[a].clusters,
            seed=seed,
            permutations=permutations,
        )
        rows.append({"a": a, "b": b, "metric": "auroc"} | _plain(estimate) | {"p": p})
    corrected = holm([row["p"] for row in rows])
    return [row | {"p_holm": p} for row, p in zip(rows, corrected)]


def _plain(value: Any) -> Any:
    """The same with JSON types only: estimates to dicts, arrays to lists, NaN and infinity to None."""
    if isinstance(value, Estimate):
        return _plain({"value": value.value, "low": value.low, "high": value.high})
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
