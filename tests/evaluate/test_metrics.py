"""Every metric against an independent implementation on random and adversarial inputs: ties, lone classes, few animals."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from darklung.core.types import BACKGROUND, LESION, UNKNOWN
from darklung.evaluate.calibration import fit_logistic
from darklung.evaluate.histogram import histogram_confusion, logit_histogram, voxel_results
from darklung.evaluate.metrics import ECE_BINS, METRICS
from darklung.evaluate.scored import scored
from darklung.evaluate.statistics import bootstrap_weights
from darklung.evaluate.tables import ArmTables

ANIMALS = 5


def random_tables(seed):
    """Tables with ties, animals without lesions and, now and then, one class alone."""
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(6, 60))
    labels = (rng.random(rows) < rng.choice([0.05, 0.3, 0.9])).astype(np.int8)
    scores = np.round(rng.normal(labels, 1.5), int(rng.integers(0, 3)))
    who = rng.integers(0, ANIMALS, rows)
    names = np.array([f"m{i}" for i in who])
    tiles = pd.DataFrame({"subject": names, "tile": np.arange(rows), "label": labels, "score": scores})
    tiles = tiles.assign(kind=np.where(labels == 1, "lesion", "tile"), number=np.where(labels == 1, tiles["tile"] + 1, 0))
    tiles = tiles.assign(tissue="", diameter_m=1e-3, reachable=True)
    true = rng.integers(0, 20, ANIMALS) * (rng.random(ANIMALS) < 0.6)
    predicted = rng.integers(0, 20, ANIMALS)
    overlap = np.minimum(true, predicted) // 2
    subjects = [f"m{i}" for i in range(ANIMALS)]
    voxels = pd.DataFrame({"subject": subjects, "predicted": predicted, "true": true, "overlap": overlap})
    lesions = tiles.loc[tiles["label"] == 1, ["subject", "number", "tissue", "diameter_m"]]
    none = pd.DataFrame({"subject": subjects, "number": 0, "tissue": "", "diameter_m": np.nan})
    candidates = tiles.loc[rng.permutation(rows)[: rows // 2], ["subject", "score", "number"]]
    candidates = candidates.assign(kind=np.where(candidates["number"] > 0, "lesion", "none"))
    return ArmTables(tiles, voxels, candidates, pd.concat([lesions, none], ignore_index=True))


def repeated(tables, row):
    """The tables of the animals that a replicate drew, an animal drawn again under another name."""
    parts = {}
    for name in ("tiles", "voxels", "candidates", "lesions"):
        table = getattr(tables, name)
        copies = [
            table[table["subject"] == f"m{i}"].assign(subject=f"m{i}-{k}") for i, n in enumerate(row) for k in range(n)
        ]
        parts[name] = pd.concat(copies, ignore_index=True)
    return ArmTables(**parts)


def best_threshold(negative, specificity):
    """The lowest score above which at most the allowed share of negatives lies, by trying all."""
    allowed = len(negative) - int(np.ceil(specificity * len(negative) - 1e-9))
    return min(t for t in [*(negative + 1e-9), negative.min()] if (negative >= t).sum() <= allowed)


def expected(name, tables, logistic):
    """By scikit-learn or the definition."""
    y, s = tables.tiles["label"].to_numpy(), tables.tiles["score"].to_numpy()
    p = logistic.probability(s)
    both, ill = 0 < y.sum() < len(y), tables.voxels["true"].sum() > 0
    highest = tables.tiles.groupby("subject")["score"].max()
    sick = highest.index.isin(tables.tiles["subject"][y == 1])
    sums = tables.voxels[["predicted", "true", "overlap"]].sum()
    bins = np.minimum((p * ECE_BINS).astype(int), ECE_BINS - 1)
    value = {
        "auroc": lambda: sk.roc_auc_score(y, s) if both else np.nan,
        "sensitivity": lambda: sk.recall_score(y, s >= 0.7) if y.any() else np.nan,
        "specificity": lambda: sk.recall_score(1 - y, s < 0.7) if (y == 0).any() else np.nan,
        "equal_sensitivity": lambda: (s[y == 1] >= best_threshold(s[y == 0], 0.9)).mean() if both else np.nan,
        "average_precision": lambda: sk.average_precision_score(y, s) if y.any() else np.nan,
        "animal_auroc": lambda: sk.roc_auc_score(sick, highest) if 0 < sick.sum() < len(sick) else np.nan,
        "froc": lambda: np.mean([brute_froc(tables, x) for x in (0.125, 0.25, 0.5, 1, 2, 4, 8)]) if y.any() else np.nan,
        "dice": lambda: 2 * sums["overlap"] / (sums["predicted"] + sums["true"]) if ill else np.nan,
        "brier": lambda: sk.brier_score_loss(y, p, pos_label=1),
        "calibration_error": lambda: sum(
            abs(p[bins == b].sum() - y[bins == b].sum()) for b in range(ECE_BINS)
        ) / len(y),
    }[name]  # fmt: skip
    return float(value())


def brute_froc(tables, limit):
    """Best share of lesions over all thresholds with at most `limit` false positives a subject."""
    c, subjects = tables.candidates, tables.voxels["subject"].nunique()
    score, false = c["score"].to_numpy(), (c["kind"] == "none").to_numpy()
    names = np.array([f"{s}/{n}" for s, n in zip(c["subject"], c["number"])])
    lesions = (tables.lesions["number"] > 0).sum()
    best = 0.0
    for t in np.unique(score):
        kept = score >= t
        if (kept & false).sum() / subjects <= limit + 1e-12:
            best = max(best, len(set(names[kept & ~false])) / lesions)
    return best


LOGISTIC = fit_logistic(scores=[0.0, 1.0, 2.0, 0.5], labels=[0, 1, 1, 0])


@given(st.integers(0, 1_000_000))
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_metrics_equal_an_independent_computation(seed):
    tables = random_tables(seed)
    weights = bootstrap_weights(clusters=ANIMALS, seed=seed, replicates=1)
    view = scored(tables, weights, threshold=0.7, logistic=LOGISTIC, specificity=0.9)
    for name, metric in METRICS.items():
        wanted = expected(name, tables, LOGISTIC)
        assert metric.function(view).value == pytest.approx(wanted, nan_ok=True, abs=1e-9), name


@pytest.mark.parametrize("seed", range(25))
def test_a_replicate_is_the_metric_of_the_animals_drawn(seed):
    tables = random_tables(seed)
    weights = bootstrap_weights(clusters=ANIMALS, seed=seed, replicates=1)
    view = scored(tables, weights, threshold=0.7, logistic=LOGISTIC, specificity=0.9)
    drawn = repeated(tables, weights[0])
    for name, metric in METRICS.items():
        wanted = expected(name, drawn, LOGISTIC) if len(drawn.tiles) else np.nan
        assert metric.function(view).replicates[0] == pytest.approx(wanted, nan_ok=True, abs=1e-9), name


@given(st.integers(0, 1_000_000))
@settings(deadline=None, max_examples=60)
def test_voxel_results_equal_sklearn_and_unknown_voxels_count_nowhere(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(5, 400))
    labels = np.where(rng.random(size) < 0.2, LESION, BACKGROUND)
    logits = rng.normal(labels * 3, 2).astype(np.float16).astype(np.float32)
    unknown = rng.random(size) < 0.2
    found = voxel_results(logit_histogram(logits=logits, labels=np.where(unknown, UNKNOWN, labels)), points=10_000)
    y, s = labels[~unknown], logits[~unknown]
    assert found["positives"] == y.sum()
    if 0 < y.sum() < len(y):
        assert found["auroc"] == pytest.approx(sk.roc_auc_score(y, s))
        assert found["average_precision"] == pytest.approx(sk.average_precision_score(y, s))
        tn, fp, fn, tp = sk.confusion_matrix(y, s > 0, labels=[0, 1]).ravel()
        assert found["confusion"] == {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
    else:
        assert found["auroc"] is found["pr"] is None


def test_voxels_at_the_threshold_are_not_called_as_dice_does_not():
    histogram = logit_histogram(logits=np.array([0.0, -0.0, 1e-6, 5.0]), labels=np.array([1, 0, 0, 1]))
    assert histogram_confusion(histogram) == {"tp": 1, "fp": 1, "fn": 1, "tn": 1}
