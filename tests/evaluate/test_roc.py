"""Curves and scores of small samples and of voxel histograms, against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from darklung.core.checks import DarklungError
from darklung.evaluate.calibration import brier, fit_logistic, reliability
from darklung.evaluate.dice import dice_table, pooled_dice, subject_dice
from darklung.evaluate.histogram import bin_values, empty_histogram, histogram_auroc, histogram_roc, logit_histogram
from darklung.evaluate.roc import (
    Curve,
    auroc,
    confusion,
    precision_recall_curve,
    roc_curve,
    thin,
    threshold_at_specificity,
)


@st.composite
def samples(draw):
    """Scores with ties and both labels."""
    n = draw(st.integers(2, 60))
    scores = draw(st.lists(st.integers(-8, 8), min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    labels[0], labels[1] = 0, 1
    return np.array(scores) / 4, np.array(labels)


@given(samples())
@settings(deadline=None)
def test_curves_agree_with_sklearn(sample):
    scores, labels = sample
    assert auroc(scores=scores, labels=labels) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    fpr, tpr, _ = metrics.roc_curve(labels, scores, drop_intermediate=False)
    curve = roc_curve(scores=scores, labels=labels)
    np.testing.assert_allclose(curve.x, fpr, atol=1e-12)
    np.testing.assert_allclose(curve.y, tpr, atol=1e-12)
    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    pr = precision_recall_curve(scores=scores, labels=labels)
    np.testing.assert_allclose(pr.y, precision[::-1], atol=1e-12)
    np.testing.assert_allclose(pr.x, recall[::-1], atol=1e-12)


@given(samples())
@settings(deadline=None)
def test_auroc_keeps_under_rising_maps_and_mirrors_with_labels(sample):
    scores, labels = sample
    value = auroc(scores=scores, labels=labels)
    assert auroc(scores=np.exp(scores), labels=labels) == pytest.approx(value, abs=1e-12)
    assert auroc(scores=scores, labels=1 - labels) == pytest.approx(1 - value, abs=1e-12)


@given(samples(), st.floats(0, 1))
@settings(deadline=None)
def test_threshold_reaches_specificity_and_is_the_lowest_that_does(sample, wanted):
    scores, labels = sample
    threshold = threshold_at_specificity(scores=scores, labels=labels, specificity=wanted)
    negative = scores[labels == 0]
    assert np.mean(negative < threshold) >= wanted - 1e-9
    lower = negative[negative < threshold]
    if len(lower):
        assert np.mean(negative < lower.max()) < wanted


def test_threshold_is_applied_to_other_data_unchanged():
    threshold = threshold_at_specificity(scores=np.arange(100.0), labels=np.zeros(100, int))
    counts = confusion(scores=[94.0, 95.0, 96.0, 10.0], labels=[1, 1, 0, 0], threshold=threshold)
    assert counts == {"tp": 1, "fp": 1, "fn": 1, "tn": 1}


def test_undefined_is_nan_and_bad_input_raises():
    assert np.isnan(auroc(scores=[1.0], labels=[1]))
    with pytest.raises(DarklungError, match="labels: wanted 0 and 1"):
        auroc(scores=[1.0, 2.0], labels=[0, 2])
    with pytest.raises(DarklungError, match="not finite"):
        auroc(scores=[1.0, np.nan], labels=[0, 1])
    with pytest.raises(DarklungError, match="no negative unit"):
        threshold_at_specificity(scores=[1.0], labels=[1])


def test_thinned_curve_keeps_ends_and_area():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 20000)
    curve = roc_curve(scores=rng.normal(labels, 1), labels=labels)
    few = thin(curve, points=200)
    assert len(few.x) <= 200
    assert (few.x[0], few.y[0], few.x[-1], few.y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(few.y, few.x) == pytest.approx(np.trapezoid(curve.y, curve.x), abs=2e-3)
    straight = thin(Curve(np.linspace(0, 1, 50), np.linspace(0, 1, 50), np.linspace(1, 0, 50)))
    assert len(straight.x) == 2


def test_histogram_equals_exact_auroc_of_the_rounded_logits():
    rng = np.random.default_rng(1)
    labels = rng.random(200_000) < 0.01
    logits = (rng.normal(-6, 2, labels.shape) + 3 * labels).astype(np.float32)
    whole = logit_histogram(logits=logits, labels=labels)
    parts = empty_histogram()
    for part in np.array_split(np.arange(len(labels)), 7):
        parts = parts + logit_histogram(logits=logits[part], labels=labels[part])
    np.testing.assert_array_equal(parts.positive, whole.positive)
    rounded = logits.astype(np.float16).astype(np.float64)
    assert histogram_auroc(whole) == pytest.approx(metrics.roc_auc_score(labels, rounded), abs=1e-12)
    assert histogram_auroc(whole) == pytest.approx(metrics.roc_auc_score(labels, logits), abs=2e-4)
    curve = histogram_roc(whole)
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(histogram_auroc(whole), abs=1e-12)


def test_histogram_bins_rise_and_zero_has_one_bin():
    values = bin_values()
    assert np.all(np.diff(values[np.isfinite(values)]) >= 0)
    counts = logit_histogram(logits=np.array([0.0, -0.0, 1e9, -1e9]), labels=np.array([1, 1, 0, 0]))
    assert counts.positive.max() == 2
    assert values[np.flatnonzero(counts.negative)].tolist() == [-65504.0, 65504.0]


def test_histogram_survives_logits_whose_probabilities_saturate():
    logits = np.array([20.0, 21.0, 22.0, 23.0])  # sigmoids all 1 in float32
    assert histogram_auroc(logit_histogram(logits=logits, labels=np.array([0, 0, 1, 1]))) == 1.0


@given(samples())
@settings(deadline=None)
def test_logistic_is_finite_and_monotonic(sample):
    scores, labels = sample
    curve = fit_logistic(scores=scores, labels=labels)
    p = curve.probability(np.sort(scores))
    assert np.all((p >= 0) & (p <= 1))
    assert np.all(np.diff(p) >= 0) or np.all(np.diff(p) <= 0)


def test_logistic_finds_the_true_curve_and_brier_agrees_with_sklearn():
    rng = np.random.default_rng(3)
    scores = rng.normal(0, 2, 50_000)
    truth = 1 / (1 + np.exp(-(1.5 * scores - 2)))
    labels = (rng.random(scores.shape) < truth).astype(int)
    p = fit_logistic(scores=scores, labels=labels).probability(scores)
    assert np.abs(p - truth).max() < 0.02
    assert brier(probabilities=p, labels=labels) == pytest.approx(metrics.brier_score_loss(labels, p))
    table = reliability(probabilities=p, labels=labels)
    assert sum(table["count"]) == len(labels)
    np.testing.assert_allclose(table["predicted"], table["observed"], atol=0.03)


def test_reliability_refuses_logits():
    with pytest.raises(DarklungError, match="from 0 to 1"):
        reliability(probabilities=[-3.0, 0.2], labels=[0, 1])


def test_dice_pools_and_leaves_lesion_free_subjects_out_of_the_mean():
    region = np.ones((4, 4), bool)
    region[0] = False
    target = np.zeros((4, 4), np.uint8)
    target[1, :2] = 1
    logits = np.full((4, 4), -1.0)
    logits[1, 1:3] = 1
    logits[0] = 1  # outside the region: not counted
    ill = dice_table(subject="a", logits=logits, target=target, region=region)
    healthy = dice_table(subject="b", logits=logits, target=np.zeros_like(target), region=region)
    assert ill.iloc[0].tolist() == ["a", 2, 2, 1]
    both = pd.concat([ill, healthy])
    assert pooled_dice(ill) == 0.5
    assert pooled_dice(both) == pytest.approx(2 / 6)
    assert subject_dice(both).to_dict() == {"a": 0.5}
