"""Conformal lists find what they promise, on simulated animals that are exchangeable, and no more than theory allows."""

import itertools

import numpy as np
import pandas as pd
import pytest

from darklung.core.checks import DarklungError
from darklung.evaluate.conformal import Calibration, conformal_threshold, looked_at, proven, ranks, why_not
from darklung.evaluate.promises import Judges, known_lesions, promises_of
from darklung.evaluate.tables import ArmTables

STUDIES = 2500


def draw_animals(rng, count):
    """Scores of 1 to 6 lesions of each animal, alike within it, and whose each is."""
    lesions = rng.integers(1, 7, count)
    who = np.repeat(np.arange(count), lesions)
    return rng.normal(0, 1, count)[who] + rng.normal(0, 1, len(who)), who


@pytest.mark.parametrize(("n", "level"), [(9, 0.9), (20, 0.9), (60, 0.9), (20, 0.7)])
def test_a_further_animal_misses_what_was_allowed_and_not_needlessly_less(n, level):
    rng = np.random.default_rng([n, int(100 * level)])
    missed = np.empty(STUDIES)
    for k in range(STUDIES):
        scores, who = draw_animals(rng, n + 1)
        new = who == n
        limit = conformal_threshold(Calibration.of(scores[~new], who[~new]), level)
        missed[k] = (scores[new] < limit).mean()
    error, alpha = missed.std() / np.sqrt(STUDIES), 1 - level
    assert missed.mean() <= alpha + 3 * error
    assert missed.mean() >= alpha - 2 / (n + 1) - 3 * error  # Angelopoulos et al. 2022, theorem 2
    assert missed.mean() >= alpha - 1.1 / (n + 1) - 3 * error  # what continuous scores give here


def test_several_models_keep_the_promise_and_what_is_proven_is_told():
    """Models of other scales and noise, each with its own animals; the new animal is judged by all of them."""
    rng = np.random.default_rng(8)
    many, each, missed = 3, 10, []
    for _ in range(STUDIES // 4):
        shifts, scales = rng.normal(0, 5, many), rng.uniform(0.2, 5, many)
        known = []
        for shift, scale in zip(shifts, scales):
            scores, who = draw_animals(rng, each)
            known.append(Calibration.of(shift + scale * (scores + rng.normal(0, 0.7, len(scores))), who))
        scores, _ = draw_animals(rng, 1)
        own = shifts[:, None] + scales[:, None] * (scores + rng.normal(0, 0.7, (many, len(scores))))
        missed.append(1 - looked_at(ranks(known, own), 0.9).mean())
    assert np.mean(missed) <= 0.1 + 3 * np.std(missed) / np.sqrt(len(missed))
    assert np.mean(missed) > 0.03  # their mean rank is narrower than one: somewhat more than promised is found
    assert proven(known, 0.9) == pytest.approx(1 - 2 * (0.1 * 31 + 2) / 33)
    assert proven(known[:1], 0.9) == 0.9


def test_threshold_by_hand_its_ties_and_its_order_in_the_level():
    # 9 animals, one of them with two lesions of weight 1/2: (losses + 1) / 10 <= .25 allows 1.5 animals.
    scores, who = [1.0, 2.0, 3, 4, 5, 6, 7, 8, 9, 2.5], [0, 1, 2, 3, 4, 5, 6, 7, 8, 1]
    known = Calibration.of(scores, who)
    assert conformal_threshold(known, 0.75) == 2.5  # 1 and 2 lie below: 1 + .5
    assert conformal_threshold(known, 0.7) == 3.0  # 2 animals may be lost
    assert conformal_threshold(known, 0.9) == 1.0
    tied = Calibration.of([1.0] * 5 + [2.0] * 15, range(20))
    assert conformal_threshold(tied, 0.8) == 1.0  # the five cannot be parted, and losing five is too many
    assert looked_at(ranks([tied], [[1.0, 0.99]]), 0.8).tolist() == [True, False]
    rng = np.random.default_rng(2)
    known = Calibration.of(*draw_animals(rng, 40))
    limits = [conformal_threshold(known, level) for level in np.linspace(0.5, 0.97, 30)]
    assert all(a >= b for a, b in itertools.pairwise(limits))
    assert limits[0] > limits[-1]
    for level, limit in zip(np.linspace(0.5, 0.97, 30), limits):
        at = np.linspace(-4, 4, 201)
        assert (looked_at(ranks([known], at[None]), level) == (at >= limit)).all()


def test_too_few_animals_and_lesions_without_a_score_are_told():
    assert conformal_threshold(Calibration.of(np.arange(9.0), range(9)), 0.9) == 0.0
    few = Calibration.of(np.arange(8.0), range(8))
    assert conformal_threshold(few, 0.9) is None
    assert why_not([few], 0.9) == "90 % cannot be promised of 8 animals with lesions: 9 are the fewest"
    assert why_not([few, few], 0.9) == ""
    none = Calibration.of([], [])
    assert conformal_threshold(none, 0.9) is None
    assert none.animals == 0
    lost = Calibration.of([np.nan, np.nan, *range(18)], range(20))
    assert "10.0 % of the lesions of 20 animals have no score" in why_not([lost], 0.9)
    assert conformal_threshold(lost, 0.8) == 1.0  # (L + 1) / 21 <= .2: three may be lost, two of them always are
    with pytest.raises(DarklungError, match="level"):
        conformal_threshold(few, 1.0)


def arm(names, rng, skill=2.0):
    """Tables of a search: lesions and a mimic of an animal, and false candidates; every third animal is healthy."""
    candidates, lesions, tiles = [], [], []
    for i, name in enumerate(names):
        count = 0 if i % 3 == 2 else int(rng.integers(1, 4))
        lesions += [(name, k + 1, "solid", 1e-3) for k in range(count)] or [(name, 0, "", np.nan)]
        candidates += [(name, rng.normal(skill), "lesion", k + 1) for k in range(count)]
        candidates += [(name, rng.normal(), "none", 0) for _ in range(6)] + [(name, rng.normal(1), "mimic", 90)]
        tiles += [(name, k, "lesion", 1, rng.normal(skill), k + 1, "solid", 1e-3, k < 2) for k in range(count)]
        tiles += [(name, 10 + k, "tile", 0, rng.normal(), 0, "", np.nan, True) for k in range(20)]
    voxels = pd.DataFrame({"subject": names, "predicted": 0, "true": 0, "overlap": 0})
    named = ["subject", "tile", "kind", "label", "score", "number", "tissue", "diameter_m", "reachable"]
    return ArmTables(
        pd.DataFrame(tiles, columns=named),
        voxels,
        pd.DataFrame(candidates, columns=["subject", "score", "kind", "number"]),
        pd.DataFrame(lesions, columns=["subject", "number", "tissue", "diameter_m"]),
    )


def test_what_is_reached_and_paid_is_counted_on_the_test_animals():
    rng = np.random.default_rng(4)
    judges = Judges.of({0: arm([f"v{i}" for i in range(30)], rng)})
    test = judges.ranked(arm([f"t{i}" for i in range(12)], rng))
    volumes = {f"t{i}": 0.2 + 0.1 * i for i in range(12)}
    row, low, *tiles = promises_of(test, [judges], levels=(0.9, 0.5), lung_ml=volumes, seed=1, replicates=200)
    assert (row["unit"], row["level"], row["animals"], row["models"], row["proven"]) == ("candidates", 0.9, 20, 1, 0.9)
    known, _ = (judges.known[u][0] for u in ("candidates", "tiles"))
    assert row["threshold"] == conformal_threshold(known, 0.9)
    called = test.candidates[test.candidates["score"] >= row["threshold"]]
    shares = [
        (called["kind"][called["subject"] == s] == "lesion").sum() / (test.lesions["subject"] == s).sum()
        for s in (f"t{i}" for i in range(12) if i % 3 < 2)
    ]
    assert row["coverage"].value == pytest.approx(np.mean(shares))
    assert row["coverage"].low < row["coverage"].value <= row["coverage"].high
    false = called["kind"].isin(["none", "mimic"]).sum()
    assert row["false_per_ml"].value == pytest.approx(false / sum(volumes.values()))
    assert row["false_per_animal_without_mimics"].value == pytest.approx((called["kind"] == "none").sum() / 12)
    assert low["false_per_ml"].value < row["false_per_ml"].value
    assert [t["unit"] for t in tiles] == ["tiles", "tiles"]
    assert promises_of(test, [judges], levels=(0.9,), lung_ml={}, seed=1, replicates=200)[0]["false_per_ml"] is None
    stored = known_lesions(judges)["candidates"][0]
    assert stored["animals"] == 20
    assert len(stored["scores"]) == len(known.scores)


def test_unreachable_lesions_are_missed_and_few_animals_promise_nothing():
    rng = np.random.default_rng(5)
    judges = Judges.of({0: arm([f"v{i}" for i in range(30)], rng)})
    third = judges.ranked(arm([f"t{i}" for i in range(9)], rng)).tiles
    assert (third["rank"][~third["reachable"]] == 0).all()
    assert (third["rank"][third["reachable"]] > 0).all()
    few = Judges.of({0: arm([f"v{i}" for i in range(6)], rng)})
    test = few.ranked(arm([f"t{i}" for i in range(6)], rng))
    rows = promises_of(test, [few], levels=(0.9,), lung_ml={}, seed=1, replicates=200)
    assert [r["why"][:42] for r in rows] == ["90 % cannot be promised of 4 animals with "] * 2
    assert "coverage" not in rows[0]
