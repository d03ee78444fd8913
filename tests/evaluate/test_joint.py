"""How much a second arm counts: nothing if it tells nothing, by others' animals alone, and no gain out of nothing."""

import numpy as np
import pandas as pd
import pytest

from darklung.core.random import stream
from darklung.evaluate.calibration import logistic_weights
from darklung.evaluate.joint import TOO_FEW, fit_share, shares_by_fold
from darklung.evaluate.roc import auroc


def scores(seed, count, second):
    """Candidates of which the first arm tells something, and the second `second` standard deviations."""
    rng = stream(seed, "joint")
    labels = (rng.random(count) < 0.3).astype(int)
    return rng.normal(size=count) + 1.2 * labels, 2.0 * (rng.normal(size=count) + second * labels), labels


def test_an_arm_that_says_nothing_leaves_the_other_as_it_is():
    first, _, labels = scores(1, 300, 0.0)
    for silent in (np.zeros(300), np.full(300, -3.7)):
        share = fit_share(first=first, second=silent, labels=labels)
        assert (share.share, share.hits, share.false) == (0.0, int(labels.sum()), int((1 - labels).sum()))
        np.testing.assert_array_equal(share.joined(first, silent), first.astype(np.float32))
        other = fit_share(first=silent, second=first, labels=labels)
        assert other.share == 1.0


def test_the_share_is_that_of_two_independent_gaussians():
    """Of normal scores of one spread the logistic slopes are the means' distances over the variances."""
    first, second, labels = scores(2, 60_000, 0.9)
    b, c = logistic_weights(features=np.stack([first, second], axis=1), labels=labels)
    assert b == pytest.approx(1.2, abs=0.05)
    assert c == pytest.approx(0.9 * 2 / 4, abs=0.03)
    assert fit_share(first=first, second=second, labels=labels).share == pytest.approx(0.45 / 1.65, abs=0.02)


def test_a_second_arm_that_says_the_contrary_is_not_turned_round():
    first, second, labels = scores(3, 500, 1.5)
    assert fit_share(first=first, second=-second, labels=labels).share == 0.0


def test_without_hits_or_without_false_candidates_the_second_arm_is_not_asked():
    for labels in (np.zeros(4), np.ones(4), np.zeros(0)):
        found = fit_share(first=np.arange(len(labels)), second=np.arange(len(labels)), labels=labels)
        assert (found.share, found.why) == (0.0, TOO_FEW)


def tables(seed, second, folds=3, count=80):
    found = []
    for fold in range(folds):
        first, other, labels = scores(100 * seed + fold, count, second)
        found.append(pd.DataFrame({"first": first, "second": other, "kind": np.where(labels == 1, "lesion", "none")}))
    return found


def test_a_fold_is_joined_by_the_animals_of_the_other_folds_alone():
    own = tables(1, 1.0)
    before = shares_by_fold(own)
    changed = [own[0].assign(second=-own[0]["second"], kind="none"), *own[1:]]
    after = shares_by_fold(changed)
    assert after[0] == before[0]
    assert after[1].share != before[1].share


def test_what_is_unknown_has_no_say():
    own = tables(2, 1.0)
    more = [pd.concat([t, t.assign(kind="unknown", second=99.0)], ignore_index=True) for t in own]
    assert shares_by_fold(more) == shares_by_fold(own)


def gain(seed, second, *, shuffled):
    """AUROC of the joint score on other candidates over that of the first alone."""
    shares = shares_by_fold([_shuffled(t, seed) if shuffled else t for t in tables(seed, second)])
    first, other, labels = scores(7000 + seed, 400, second)
    if shuffled:
        other = stream(seed, "shuffled").permutation(other)
    joint = np.mean([s.joined(first, other) for s in shares], axis=0)
    return auroc(scores=joint, labels=labels) - auroc(scores=first, labels=labels)


def _shuffled(table, seed):
    return table.assign(second=stream(seed, "mixed").permutation(table["second"]))


def test_radiographs_of_other_animals_give_no_gain_and_those_of_the_same_do():
    strange = np.array([gain(seed, 1.0, shuffled=True) for seed in range(16)])
    own = np.array([gain(seed, 1.0, shuffled=False) for seed in range(16)])
    assert strange.mean() < 2 * strange.std(ddof=1) / np.sqrt(len(strange))
    assert strange.mean() > -0.02
    assert (own > 0).all()
    assert own.mean() > 0.04
