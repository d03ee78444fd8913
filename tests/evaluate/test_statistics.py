"""Cluster bootstrap, permutation and Holm: against brute force, and their coverage on simulated animals."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darklung.evaluate.roc import auroc
from darklung.evaluate.statistics import (
    bootstrap_weights,
    count_pairs,
    holm,
    interval,
    paired_permutation,
    ratio_replicates,
)


def units(seed, clusters=5, rows=40):
    rng = np.random.default_rng(seed)
    who = rng.integers(0, clusters, rows)
    labels = rng.integers(0, 2, rows)
    scores = np.round(rng.normal(labels, 1.5), 1)
    return scores, labels, who


@given(st.integers(0, 100_000))
@settings(deadline=None, max_examples=50)
def test_weighted_auroc_equals_repeating_the_rows(seed):
    scores, labels, who = units(seed)
    pairs = count_pairs(scores=scores, labels=labels, clusters=who, count=5)
    for weights in bootstrap_weights(clusters=5, seed=seed, replicates=3):
        rows = np.repeat(np.arange(len(who)), weights[who])
        value = pairs.auroc(weights[None])[0]
        np.testing.assert_allclose(value, auroc(scores=scores[rows], labels=labels[rows]), atol=1e-12)


def test_weights_draw_whole_clusters_and_repeat_with_the_seed():
    weights = bootstrap_weights(clusters=9, seed=4)
    assert weights.shape == (10_000, 9)
    assert (weights.sum(axis=1) == 9).all()
    np.testing.assert_array_equal(weights, bootstrap_weights(clusters=9, seed=4))
    assert abs(weights.var() - 8 / 9) < 0.03


def test_ratio_and_interval():
    weights = np.array([[1, 1], [2, 0], [0, 2]])
    np.testing.assert_allclose(ratio_replicates(numerator=[1, 0], denominator=[2, 2], weights=weights), [0.25, 0.5, 0])
    undefined = ratio_replicates(numerator=[1, 0], denominator=[2, 0], weights=weights)
    assert np.isnan(undefined[2])
    assert np.isnan(interval(value=0.5, replicates=undefined, clusters=2).low)
    got = interval(value=50, replicates=np.arange(101.0), clusters=10**7)
    assert (got.low, got.high) == pytest.approx((2.5, 97.5), abs=1e-3)
    wide = interval(value=50, replicates=np.arange(101.0), clusters=6)
    # t(0.975, 5) = 2.5706 from a table; times sqrt(6/5) = 2.8159; normal tail 0.00243
    assert (wide.low, wide.high) == pytest.approx((0.243, 99.757), abs=2e-3)


def brute_permutation(first, second, labels, who):
    """All swaps of whole clusters on mid-ranks, difference of AUROC recomputed each time."""
    from scipy.stats import rankdata

    a, b = rankdata(first), rankdata(second)

    def difference(swap):
        x, y = np.where(swap, b, a), np.where(swap, a, b)
        return auroc(scores=x, labels=labels) - auroc(scores=y, labels=labels)

    observed = abs(difference(np.zeros(len(who), bool)))
    names = np.unique(who)
    values = [
        abs(difference(np.array([bits[list(names).index(w)] for w in who], bool)))
        for bits in itertools.product([0, 1], repeat=len(names))
    ]
    return np.mean(np.array(values) >= observed - 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_permutation_equals_brute_force(seed):
    first, labels, who = units(seed)
    second = first + np.random.default_rng(seed + 50).normal(0, 1, len(first))
    got = paired_permutation(first=first, second=second, labels=labels, clusters=who, seed=0)
    assert got == pytest.approx(brute_permutation(first, second, labels, who))


def test_permutation_ignores_the_arms_scales_and_finds_a_difference():
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(20), 15)
    labels = rng.integers(0, 2, len(who))
    good, bad = rng.normal(2 * labels, 1), rng.normal(0.3 * labels, 1)
    small = paired_permutation(first=good, second=bad, labels=labels, clusters=who, seed=1)
    scaled = paired_permutation(first=1e3 * good - 7, second=np.exp(bad), labels=labels, clusters=who, seed=1)
    assert small == scaled < 0.001
    assert paired_permutation(first=good, second=good, labels=labels, clusters=who, seed=1) == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_equals_its_definition(p):
    got = holm(p)
    order = sorted(range(len(p)), key=lambda i: p[i])
    for place, i in enumerate(order):
        want = max(min(1.0, (len(p) - k) * p[j]) for k, j in enumerate(order[: place + 1]))
        assert got[i] == pytest.approx(want)


def test_holm_of_a_textbook_row_and_nan():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    got = holm([0.01, float("nan")])
    assert got[0] == 0.01
    assert np.isnan(got[1])


@pytest.mark.parametrize("animals", [8, 30])
def test_intervals_cover_the_truth_with_correlated_units(animals):
    """Animals whose units share a random shift: 95 % intervals of the AUROC against its value over very many animals."""
    rng = np.random.default_rng(7)

    def draw(count):
        shift = np.repeat(rng.normal(0, 1, count), 20)
        labels = np.tile(np.arange(20) < 5, count).astype(int)
        return rng.normal(labels, 1) + shift, labels, np.repeat(np.arange(count), 20)

    truth = auroc(**dict(zip(("scores", "labels"), draw(20_000))))
    hits = 0
    runs = 200
    for run in range(runs):
        scores, labels, who = draw(animals)
        pairs = count_pairs(scores=scores, labels=labels, clusters=who, count=animals)
        weights = bootstrap_weights(clusters=animals, seed=run, replicates=400)
        got = interval(value=0.5, replicates=pairs.auroc(weights), clusters=animals)
        hits += got.low <= truth <= got.high
    assert 0.89 <= hits / runs <= 0.99
