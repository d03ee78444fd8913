"""Intervals of shares: Wilson's where animals do not matter, a width at 0 and 1, coverage with few and alike units."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darklung.evaluate.proportions import (
    Share,
    correlation_of,
    difference_interval,
    share_interval,
    share_of,
    wilson,
)
from darklung.evaluate.replicates import RankedUnits, threshold_replicates
from darklung.evaluate.roc import threshold_at_specificity
from darklung.evaluate.statistics import Estimate, bootstrap_weights, least_p, paired_permutation

NONE, NAN = np.zeros(0), float("nan")


def test_wilson_of_a_textbook_case():
    # Newcombe 1998, table I: 81 of 263 and 0 of 20, 95 %.
    assert wilson(value=81 / 263, units=263, quantile=1.959964) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(value=0.0, units=20, quantile=1.959964) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_variance_between_animals_is_that_of_the_bootstrap():
    rng = np.random.default_rng(1)
    n = rng.integers(1, 9, 40)
    x = rng.binomial(n, rng.beta(4, 2, 40))
    weights = bootstrap_weights(clusters=40, seed=1, replicates=20_000)
    found = (weights @ x / (weights @ n)).var()
    assert share_of(x, n).variance == pytest.approx(found * 40 / 39, rel=0.05)


def test_all_found_has_a_width_that_falls_with_the_animals():
    widths = []
    for animals in (3, 6, 20, 60):
        found = share_interval(value=1.0, share=share_of([3] * animals, [3] * animals), replicates=NONE)
        assert found.high == 1.0
        widths.append(1 - found.low)
    assert widths == sorted(widths, reverse=True)
    assert 0.2 < widths[1] < 0.4  # 18 of 18 lesions in six animals do not mean 100 %


def test_nothing_is_said_of_one_animal_or_none():
    for trials in ([5, 0, 0], [0, 0, 0]):
        found = share_interval(value=0.5, share=share_of([1, 0, 0], trials), replicates=NONE)
        assert np.isnan(found.low)
        assert np.isnan(found.high)


def test_what_varies_with_the_threshold_widens():
    share = share_of([2, 3, 1, 2], [3, 3, 3, 3])
    plain = share_interval(value=8 / 12, share=share, replicates=NONE)
    varied = share_interval(value=8 / 12, share=share, replicates=np.array([0.2, 1.0] * 50))
    assert varied.high - varied.low > 1.3 * (plain.high - plain.low)
    full = Share(12, 0.0, 1.2, 1.0, 4)
    narrow, wide = (share_interval(value=1.0, share=full, replicates=np.array([1.0, low] * 50)) for low in (1.0, 0.5))
    assert wide.low < narrow.low - 0.02


@pytest.mark.parametrize(
    ("animals", "truth", "alike", "units"), [(6, 0.95, 0.1, 3), (10, 0.8, 0.3, 3), (20, 0.95, 0.02, 80)]
)
def test_shares_cover(animals, truth, alike, units):
    rng = np.random.default_rng(3)
    runs, hits = 400, 0
    for _ in range(runs):
        n = rng.integers(max(1, units - 2), units + 3, animals)
        x = rng.binomial(n, rng.beta(truth * (1 - alike) / alike, (1 - truth) * (1 - alike) / alike, animals))
        found = share_interval(value=x.sum() / n.sum(), share=share_of(x, n), replicates=NONE)
        hits += found.low <= truth <= found.high
    assert 0.92 <= hits / runs <= 0.995


def test_a_difference_of_equal_certainties_is_not_certain():
    full = share_interval(value=1.0, share=share_of([3] * 6, [3] * 6), replicates=NONE)
    found = difference_interval(full, full, correlation=0.0)
    assert found.value == 0
    assert found.low == pytest.approx(full.low - 1)
    assert found.high == pytest.approx(1 - full.low)


def test_difference_interval_is_newcombes():
    # Newcombe 1998, method 10 without continuity correction on independent samples is the square-and-add of two Wilsons.
    one, other = Estimate(0.8, 0.7, 0.87), Estimate(0.6, 0.5, 0.7)
    found = difference_interval(one, other, correlation=0.0)
    assert found.low == pytest.approx(0.2 - np.hypot(0.1, 0.1))
    assert found.high == pytest.approx(0.2 + np.hypot(0.07, 0.1))
    assert difference_interval(one, other, correlation=0.9).low > found.low


def test_correlation_is_numpys_and_zero_where_nothing_varies():
    a, b = np.random.default_rng(0).normal(size=(2, 50))
    assert correlation_of(a, a + b) == pytest.approx(np.corrcoef(a, a + b)[0, 1])
    assert correlation_of(np.ones(50), b) == 0
    assert correlation_of(np.full(3, np.nan), b[:3]) == 0


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=40)
def test_thresholds_and_average_precision_are_those_of_repeated_rows(seed):
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(seed)
    who, labels = rng.integers(0, 5, 40), rng.integers(0, 2, 40)
    scores = np.round(rng.normal(labels, 1.5), 1)
    weights = bootstrap_weights(clusters=5, seed=seed, replicates=4)
    limits = threshold_replicates(scores=scores, labels=labels, clusters=who, weights=weights, specificity=0.9)
    precision = RankedUnits.of(scores, who, labels).average_precision(weights)
    for row, limit, value in zip(weights, limits, precision):
        index = np.repeat(np.arange(40), row[who])
        if not (labels[index] == 0).any():
            assert limit == np.inf
            continue
        assert limit == threshold_at_specificity(scores=scores[index], labels=labels[index], specificity=0.9)
        if labels[index].any():
            assert value == pytest.approx(average_precision_score(labels[index], scores[index]))


def test_the_least_p_is_reached_and_never_undercut():
    labels, who = np.tile([1, 0, 0, 0], 6), np.repeat(np.arange(6), 4)
    good, bad = labels * 2.0, -labels * 2.0
    found = paired_permutation(first=good, second=bad, labels=labels, clusters=who, seed=0)
    assert found == least_p(6) == 2 / 2**6


@pytest.mark.parametrize(("first", "second"), [(NAN, NAN), (NAN, 0.4), (0.4, NAN)])
def test_a_difference_of_what_has_no_interval_has_none(first, second):
    """One animal: an interval of no width, or from -1 to 1, would say what nobody knows."""
    known = Estimate(0.5, 0.4, 0.6)
    one, other = (known if end == 0.4 else Estimate(0.5, NAN, NAN) for end in (first, second))
    found = difference_interval(one, other, correlation=0.5)
    assert found.value == 0
    assert np.isnan([found.low, found.high]).all()
    undefined = difference_interval(Estimate(NAN, NAN, NAN), known, correlation=0.0)
    assert np.isnan([undefined.value, undefined.low, undefined.high]).all()
