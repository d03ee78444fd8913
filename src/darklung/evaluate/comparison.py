"""Arms compared: every metric with its interval, thresholds and calibration from validation, differences with p-values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.evaluate.calibration import Logistic, fit_logistic, reliability
from darklung.evaluate.dice import pooled_dice, subject_dice
from darklung.evaluate.froc import FrocSums, froc_curve, sensitivity_at
from darklung.evaluate.roc import Curve, confusion, precision_recall_curve, roc_curve, thin, threshold_at_specificity
from darklung.evaluate.statistics import (
    LEVEL,
    PERMUTATIONS,
    REPLICATES,
    Estimate,
    bootstrap_weights,
    count_pairs,
    holm,
    interval,
    paired_permutation,
    ratio_replicates,
)
from darklung.evaluate.tables import ArmTables

SPLITS = ("validation", "test")
SIZE_EDGES_MM = (0.0, 0.75, 1.0, 1.5, 2.0, 3.0, 10.0)
FROC_POINTS = (0.25, 1.0)  # false positives a subject
KINDS = ("tile", "sham", "mimic")
CURVE_POINTS = 200


@dataclass(frozen=True)
class _View:
    """One arm on one split, with what was fixed on validation."""

    tables: ArmTables
    clusters: NDArray[np.int64]  # of each tile row
    subjects: list[str]
    weights: NDArray[np.int64]
    threshold: float
    logistic: Logistic

    @property
    def scores(self) -> NDArray[np.float64]:
        return self.tables.tiles["score"].to_numpy(dtype=np.float64)

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.tables.tiles["label"].to_numpy(dtype=np.int64)

    @property
    def called(self) -> NDArray[np.bool_]:
        return self.scores >= self.threshold

    def sums(self, values: NDArray) -> NDArray[np.float64]:
        """Sum of a value of the tile rows over each subject."""
        sums = np.bincount(self.clusters, weights=np.asarray(values, dtype=float), minlength=len(self.subjects))
        return np.asarray(sums, dtype=np.float64)


def compare(
    *,
    tables: Mapping[str, Mapping[str, ArmTables]],
    seed: int,
    replicates: int = REPLICATES,
    permutations: int = PERMUTATIONS,
    specificity: float = 0.95,
    crossed: bool = False,
) -> dict[str, Any]:
    """Compare arms on validation and test subjects.

    The threshold (given specificity among the negatives) and the logistic curve from score to probability are fixed on
    validation units and applied unchanged to test units. Intervals: bootstrap over animals, the same replicates
    for all arms. Differences of AUROC: paired bootstrap interval; p by swapping arms in whole animals, corrected by Holm
    within the split.

    Parameters
    ----------
    tables : mapping split -> arm -> ArmTables
        Splits ``validation`` and ``test``; within a split all arms have the same units.
    seed : int
    replicates, permutations : int
    specificity : float
    crossed : bool
        Animals may be in validation of one fold and in test of another (each tested by a model that did not see it); the
        scores should then be aligned by fold, see `darklung.evaluate.folds.align_fold`.

    Returns
    -------
    dict
        Ready for JSON; undefined values are None. See docs/decisions/073-comparison-file.md for its keys.

    Raises
    ------
    DarklungError
        Splits or arms are missing, or the arms' units differ, or validation lacks positives or negatives.
    """
    arms = _check(tables, crossed)
    fixed = {arm: _fix(arm, tables["validation"][arm].tiles, specificity) for arm in arms}
    views = {s: _views(tables[s], fixed, seed, replicates) for s in SPLITS}
    result = {
        "arms": arms,
        "splits": list(SPLITS),
        "results": {s: {arm: _arm(views[s][arm]) for arm in arms} for s in SPLITS},
        "differences": {s: _differences(views[s], seed, permutations) for s in SPLITS},
        "settings": {
            "seed": seed,
            "specificity": specificity,
            "threshold_from": "validation",
            "probability": "logistic curve fitted on validation units",
            "interval": f"{LEVEL:.0%} bootstrap over animals, percentiles expanded for their number",
            "replicates": replicates,
            "permutations": permutations,
            "unit": "lung tile; positive: the tile that holds most of a lesion",
            "froc": "mimics count as false positives; without them under mimics_not_counted",
        },
    }
    return _plain(result)


def _check(tables: Mapping[str, Mapping[str, ArmTables]], crossed: bool) -> list[str]:
    require(set(tables) == set(SPLITS), f"tables: wanted the splits {', '.join(SPLITS)}, got {', '.join(tables)}")
    arms = list(tables["validation"])
    require(len(arms) >= 1, "tables: wanted at least one arm, got none")
    for split in SPLITS:
        same = set(tables[split]) == set(arms)
        require(
            same, f"tables: arms of {split} ({', '.join(tables[split])}) are not those of validation ({', '.join(arms)})"
        )
        first = _units(tables[split][arms[0]])
        for arm in arms[1:]:
            require(
                _units(tables[split][arm]).equals(first), f"tables: units of {arm} differ from those of {arms[0]} in {split}"
            )
    both = set(tables["validation"][arms[0]].voxels["subject"]) & set(tables["test"][arms[0]].voxels["subject"])
    require(crossed or not both, f"tables: subjects are in validation and in test: {', '.join(sorted(both))}")
    return arms


def _units(tables: ArmTables) -> pd.DataFrame:
    units = tables.tiles[["subject", "tile", "kind", "label"]]
    return units.sort_values(["subject", "tile"]).reset_index(drop=True)


def _fix(arm: str, tiles: pd.DataFrame, specificity: float) -> tuple[float, Logistic]:
    """Threshold and logistic curve from an arm's validation units."""
    scores, labels = tiles["score"].to_numpy(), tiles["label"].to_numpy()
    n, m = int((tiles["reachable"] & (labels == 1)).sum()), int((labels == 0).sum())
    require(n > 0 and m > 0, f"validation units of {arm}: wanted positives and negatives, got {n} and {m}")
    threshold = threshold_at_specificity(scores=scores, labels=labels, specificity=specificity)
    # The stand-in score of a lesion outside the region would bend the curve.
    real = tiles["reachable"].to_numpy()
    return threshold, fit_logistic(scores=scores[real], labels=labels[real])


def _views(
    arms: Mapping[str, ArmTables], fixed: Mapping[str, tuple[float, Logistic]], seed: int, replicates: int
) -> dict[str, _View]:
    subjects = sorted(set(next(iter(arms.values())).voxels["subject"]))
    weights = bootstrap_weights(clusters=len(subjects), seed=seed, replicates=replicates)
    code = {s: i for i, s in enumerate(subjects)}
    out = {}
    for arm, tables in arms.items():
        ordered = tables.tiles.sort_values(["subject", "tile"], ignore_index=True)
        clusters = ordered["subject"].map(code).to_numpy(dtype=np.int64)
        same = ArmTables(ordered, tables.voxels, tables.candidates, tables.lesions)
        out[arm] = _View(same, clusters, subjects, weights, *fixed[arm])
    return out


def _arm(view: _View) -> dict[str, Any]:
    scores, labels = view.scores, view.labels
    curve = thin(roc_curve(scores=scores, labels=labels), points=CURVE_POINTS)
    pr = thin(precision_recall_curve(scores=scores, labels=labels), points=CURVE_POINTS)
    probability = view.logistic.probability(scores)
    return {
        "n": {
            "subjects": len(view.subjects),
            "positives": int((labels == 1).sum()),
            "negatives": int((labels == 0).sum()),
        },
        "metrics": _metrics(view),
        "threshold": view.threshold,
        "roc": {"fpr": curve.x, "tpr": curve.y},
        "pr": {"recall": pr.x, "precision": pr.y},
        "reliability": reliability(probabilities=probability, labels=labels),
        "confusion": confusion(scores=scores, labels=labels, threshold=view.threshold),
        "froc": _froc(view),
        "by_class": _by_class(view),
        "by_size": _by_size(view),
        "false_positive_rate_by_kind": _by_kind(view),
        "dice_by_subject": _dice_by_subject(view.tables.voxels),
    }


def _metrics(view: _View) -> dict[str, Estimate]:
    positive, negative = view.labels == 1, view.labels == 0
    probability = view.logistic.probability(view.scores)
    voxels = view.tables.voxels.set_index("subject").loc[view.subjects]
    overlap = 2 * voxels["overlap"].to_numpy(dtype=float)
    size = (voxels["predicted"] + voxels["true"]).to_numpy(dtype=float)
    ratios = {
        "sensitivity": (view.sums(positive & view.called), view.sums(positive)),
        "specificity": (view.sums(negative & ~view.called), view.sums(negative)),
        "dice": (overlap, size),
        "brier": (view.sums((probability - view.labels) ** 2), view.sums(np.ones(len(positive)))),
    }
    return {"auroc": _auroc(view)} | {name: _ratio(view, *parts) for name, parts in ratios.items()}


def _auroc(view: _View) -> Estimate:
    pairs = count_pairs(scores=view.scores, labels=view.labels, clusters=view.clusters, count=len(view.subjects))
    value = float(pairs.auroc(np.ones((1, len(view.subjects))))[0])
    return interval(value=value, replicates=pairs.auroc(view.weights), clusters=len(view.subjects))


def _ratio(view: _View, numerator: NDArray, denominator: NDArray) -> Estimate:
    value = float(numerator.sum() / denominator.sum()) if denominator.sum() else float("nan")
    replicates = ratio_replicates(numerator=numerator, denominator=denominator, weights=view.weights)
    return interval(value=value, replicates=replicates, clusters=len(view.subjects))


def _froc(view: _View) -> dict[str, Any] | None:
    candidates, lesions = view.tables.candidates, view.tables.lesions
    if candidates is None or lesions is None or not (lesions["number"] > 0).any():
        return None
    counted = _froc_part(view, candidates, lesions, mimics=True)
    return counted | {"mimics_not_counted": _froc_part(view, candidates, lesions, mimics=False)}


def _froc_part(view: _View, candidates: pd.DataFrame, lesions: pd.DataFrame, *, mimics: bool) -> dict[str, Any]:
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


def _by_class(view: _View) -> dict[str, dict[str, Any]]:
    tissue = view.tables.tiles["tissue"].to_numpy()
    positive = view.labels == 1
    return {str(name): _share(view.called[positive & (tissue == name)]) for name in sorted(set(tissue[positive]))}


def _by_size(view: _View) -> list[dict[str, Any]]:
    millimetres = view.tables.tiles["diameter_m"].to_numpy(dtype=float) * 1e3
    out = []
    for low, high in pairwise(SIZE_EDGES_MM):
        chosen = (view.labels == 1) & (millimetres >= low - 1e-9) & (millimetres < high - 1e-9)
        if chosen.any():
            out.append({"low_mm": low, "high_mm": high} | _share(view.called[chosen]))
    return out


def _share(called: NDArray[np.bool_]) -> dict[str, Any]:
    return {"n": len(called), "sensitivity": float(called.mean())}


def _by_kind(view: _View) -> dict[str, float | None]:
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


def _differences(views: Mapping[str, _View], seed: int, permutations: int) -> list[dict[str, Any]]:
    pairs = {
        arm: count_pairs(scores=v.scores, labels=v.labels, clusters=v.clusters, count=len(v.subjects))
        for arm, v in views.items()
    }
    rows: list[dict[str, Any]] = []
    for a, b in combinations(views, 2):
        one = np.ones((1, len(views[a].subjects)))
        value = float(pairs[a].auroc(one)[0] - pairs[b].auroc(one)[0])
        spread = pairs[a].auroc(views[a].weights) - pairs[b].auroc(views[b].weights)
        estimate = interval(value=value, replicates=spread, clusters=len(views[a].subjects))
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
