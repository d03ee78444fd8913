"""Arms compared: every metric with its interval, thresholds and calibration from validation, differences with p-values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.evaluate.calibration import Logistic, fit_logistic
from darklung.evaluate.metrics import METRICS
from darklung.evaluate.replicates import threshold_replicates
from darklung.evaluate.results import arm_results, plain
from darklung.evaluate.roc import threshold_at_specificity
from darklung.evaluate.scored import ORDER, Metric, Scored, Spread, scored
from darklung.evaluate.statistics import (
    LEVEL,
    PERMUTATIONS,
    REPLICATES,
    bootstrap_weights,
    holm,
    least_p,
    paired_permutation,
)
from darklung.evaluate.tables import ArmTables

SPLITS = ("validation", "test")
Question = tuple[str, str]


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
    questions: Sequence[Question] | None = None,
) -> dict[str, Any]:
    """Compare arms on validation and test subjects, or on test subjects alone.

    The threshold (given specificity among the negatives) and the logistic curve from score to probability are fixed on
    validation units and applied unchanged to test units; intervals of what rests on the threshold also draw other validation
    animals. Intervals: bootstrap over animals, the same replicates for all arms; of shares Wilson's
    (`darklung.evaluate.proportions`). Only the questions asked beforehand are answered: differences of every metric with
    paired intervals, and of AUROC a p by swapping arms in whole animals, corrected by Holm over the questions within the
    split.

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
    questions : sequence of (arm, arm), optional
        First minus second; by default every other arm against the first.

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
    asked = questions_of(arms, questions)
    views = {s: _views(tables, s, fixed, seed, replicates, specificity) for s in splits}
    # Once an arm: intervals and differences rest on the same replicates.
    spreads = {s: {arm: _spreads(view, metrics) for arm, view in own.items()} for s, own in views.items()}
    result = {
        "arms": arms,
        "splits": splits,
        "metrics": {name: metric.title for name, metric in metrics.items()},
        "results": {s: {arm: arm_results(views[s][arm], spreads[s][arm]) for arm in arms} for s in splits},
        "questions": [list(q) for q in asked],
        "differences": {s: _differences(views[s], asked, spreads[s], seed, permutations) for s in splits},
        "least_p": {s: _least(views[s], asked, permutations) for s in splits},
        "settings": {
            "seed": seed,
            **_origin(specificity, given, validated=thresholds is None),
            "interval": f"{LEVEL:.0%}: shares Wilson with the animals' design effect, others bootstrap over animals",
            "replicates": replicates,
            "permutations": permutations,
            "unit": "lung tile; positive: the tile that holds most of a lesion",
            "froc": "mimics count as false positives; without them under mimics_not_counted",
        },
    }
    found: dict[str, Any] = plain(result)
    return found


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
    units = tables.tiles[[*ORDER, "kind", "label"]]
    return units.sort_values(ORDER).reset_index(drop=True)


def _fix(arm: str, tiles: pd.DataFrame, specificity: float) -> tuple[float | None, Logistic | None]:
    """Threshold and logistic curve from an arm's validation units."""
    scores, labels = tiles["score"].to_numpy(), tiles["label"].to_numpy()
    n, m = int((tiles["reachable"] & (labels == 1)).sum()), int((labels == 0).sum())
    require(n > 0 and m > 0, f"validation units of {arm}: wanted positives and negatives, got {n} and {m}")
    threshold = threshold_at_specificity(scores=scores, labels=labels, specificity=specificity)
    # The stand-in score of a lesion outside the region would bend the curve.
    real = tiles["reachable"].to_numpy()
    return threshold, fit_logistic(scores=scores[real], labels=labels[real])


def questions_of(arms: Sequence[str], asked: Sequence[Question] | None) -> list[Question]:
    """What is compared with what, each arm known; by default every other arm against the first.

    Raises
    ------
    DarklungError
        An arm that is not there, or one against itself.
    """
    found = [(arm, arms[0]) for arm in arms[1:]] if asked is None else [(a, b) for a, b in asked]
    for a, b in found:
        missing = [x for x in (a, b) if x not in arms]
        require(not missing, f"questions: {', '.join(missing)} is no arm; these are {', '.join(arms)}")
        require(a != b, f"questions: {a} is asked against itself")
    return found


def _views(
    tables: Mapping[str, Mapping[str, ArmTables]],
    split: str,
    fixed: Mapping[str, tuple[float | None, Logistic | None]],
    seed: int,
    replicates: int,
    specificity: float,
) -> dict[str, Scored]:
    arms = tables[split]
    subjects = sorted(set(next(iter(arms.values())).voxels["subject"]))
    weights = bootstrap_weights(clusters=len(subjects), seed=seed, replicates=replicates)
    found = {}
    for arm, own in arms.items():
        limits = None
        if "validation" in tables:
            drawn = weights if split == "validation" else None
            limits = _other_thresholds(tables["validation"][arm], drawn, seed, replicates, specificity)
        threshold, logistic = fixed[arm]
        found[arm] = scored(own, weights, threshold=threshold, logistic=logistic, thresholds=limits, specificity=specificity)
    return found


def _other_thresholds(
    validation: ArmTables, weights: NDArray | None, seed: int, replicates: int, specificity: float
) -> NDArray[np.float64]:
    """The threshold that other validation animals would have given; drawn apart from the test animals' replicates."""
    subjects = sorted(set(validation.voxels["subject"]))
    if weights is None:
        weights = bootstrap_weights(clusters=len(subjects), seed=seed, replicates=replicates, name="threshold")
    tiles = validation.tiles
    who = tiles["subject"].map({s: i for i, s in enumerate(subjects)}).to_numpy(dtype=np.int64)
    scores, labels = tiles["score"].to_numpy(dtype=np.float64), tiles["label"].to_numpy()
    return threshold_replicates(scores=scores, labels=labels, clusters=who, weights=weights, specificity=specificity)


def _spreads(view: Scored, metrics: Mapping[str, Metric]) -> dict[str, Spread]:
    return {name: metric.function(view) for name, metric in metrics.items()}


def _differences(
    views: Mapping[str, Scored],
    asked: Sequence[Question],
    spreads: Mapping[str, Mapping[str, Spread]],
    seed: int,
    permutations: int,
) -> list[dict[str, Any]]:
    """A row for each question and metric; p for AUROC, which the questions are decided by."""
    rows: list[dict[str, Any]] = []
    for a, b in asked:
        count = len(views[a].subjects)
        for name in spreads[a]:
            estimate = spreads[a][name].minus(spreads[b][name], count)
            rows.append({"a": a, "b": b, "metric": name, **plain(estimate), "p": None, "p_holm": None})
    decided = [row for row in rows if row["metric"] == "auroc"]
    values = [_p_value(views[row["a"]], views[row["b"]], seed, permutations) for row in decided]
    for row, p, corrected in zip(decided, values, holm(values)):
        row |= {"p": p, "p_holm": corrected}
    return rows


def _p_value(a: Scored, b: Scored, seed: int, permutations: int) -> float:
    return paired_permutation(
        first=a.scores, second=b.scores, labels=a.labels, clusters=a.clusters, seed=seed, permutations=permutations
    )


def _least(views: Mapping[str, Scored], asked: Sequence[Question], permutations: int) -> dict[str, float]:
    """The smallest p that so many animals can give, alone and after Holm's correction."""
    view = next(iter(views.values()))
    alone = least_p(len(set(view.clusters)), permutations=permutations)
    return {"p": alone, "p_holm": min(1.0, alone * max(len(asked), 1))}
