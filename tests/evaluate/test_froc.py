"""Candidates and the free-response curve, against brute force."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darklung.core.checks import DarklungError
from darklung.core.types import Insertion
from darklung.evaluate.froc import FrocSums, candidate_table, froc_curve, lesion_table, sensitivity_at
from darklung.evaluate.statistics import bootstrap_weights


def random_tables(seed):
    rng = np.random.default_rng(seed)
    candidates, lesions = [], []
    for s in range(int(rng.integers(1, 6))):
        count = int(rng.integers(0, 4))
        lesions += [(f"m{s}", n, "solid", 1e-3) for n in range(1, count + 1)] or [(f"m{s}", 0, "", np.nan)]
        for _ in range(int(rng.integers(0, 9))):
            kind = str(rng.choice(["none", "mimic", *["lesion"] * (count > 0)]))
            number = {"none": 0, "mimic": 9, "lesion": int(rng.integers(1, count + 1)) if count else 0}[kind]
            candidates.append((f"m{s}", float(rng.integers(0, 6)), kind, number))
    columns = ["subject", "score", "kind", "number"]
    return pd.DataFrame(candidates, columns=columns), pd.DataFrame(
        lesions, columns=["subject", "number", "tissue", "diameter_m"]
    )


def brute_force(candidates, lesions, mimics, repeats):
    """The definition, threshold by threshold; `repeats` says how often each subject counts."""
    false = ("none", "mimic") if mimics else ("none",)
    points = [(0.0, 0.0)]
    subjects = sum(repeats[s] for s in set(lesions["subject"]))
    total = sum(repeats[r.subject] for r in lesions.itertuples() if r.number > 0)
    first = candidates[candidates["kind"].isin([*false, "lesion"])]
    for threshold in sorted(set(first["score"]), reverse=True):
        above = [r for r in candidates.itertuples() if r.score >= threshold]
        hits = {(r.subject, r.number) for r in above if r.kind == "lesion"}
        fp = sum(repeats[r.subject] for r in above if r.kind in false)
        points.append((fp / subjects, sum(repeats[s] for s, _ in hits) / total))
    return points


@given(st.integers(0, 100_000), st.booleans())
@settings(deadline=None, max_examples=60)
def test_curve_equals_brute_force_for_any_weights(seed, mimics):
    candidates, lesions = random_tables(seed)
    subjects = sorted(set(lesions["subject"]))
    rng = np.random.default_rng(seed + 1)
    repeats = {s: int(rng.integers(0, 3)) for s in subjects}
    ill = lesions[lesions["number"] > 0]
    if not sum(repeats[s] for s in ill["subject"]):
        return
    want = brute_force(candidates, lesions, mimics, repeats)
    got = froc_curve(candidates=candidates, lesions=lesions, mimics=mimics, weights=repeats)
    reached = dict.fromkeys(got.threshold[1:])
    assert len(reached) == len(got.threshold) - 1
    # A level at which only further candidates on found lesions appear adds no point to our curve.
    kept = [p for i, p in enumerate(want) if i == 0 or p != want[i - 1]]
    ours = list(zip(got.fp_per_subject, got.sensitivity))
    ours = [p for i, p in enumerate(ours) if i == 0 or p != ours[i - 1]]
    np.testing.assert_allclose(ours, kept, atol=1e-12)
    for limit in (0.25, 1.0):
        best = max(s for fp, s in want if fp <= limit + 1e-12)
        assert sensitivity_at(got, fp_per_subject=limit) == pytest.approx(best)
        sums = FrocSums.of(candidates=candidates, lesions=lesions, mimics=mimics)
        row = np.array([[repeats[s] for s in subjects]])
        assert sums.sensitivities(row, (limit,))[0, 0] == pytest.approx(best)


def test_the_lowest_score_is_kept():
    candidates = pd.DataFrame(
        [("a", 5.0, "none", 0), ("a", 1.0, "lesion", 1)], columns=["subject", "score", "kind", "number"]
    )
    lesions = lesion_table(subject="a", insertions=[Insertion(1, "lesion", "solid", (0, 0, 0), 1e-3)])
    curve = froc_curve(candidates=candidates, lesions=lesions)
    assert curve.sensitivity[-1] == 1.0
    assert sensitivity_at(curve, fp_per_subject=0.25) == 0.0
    assert sensitivity_at(curve, fp_per_subject=1.0) == 1.0


def test_bootstrap_of_many_replicates_runs_and_no_lesion_is_nan():
    candidates, lesions = random_tables(11)
    sums = FrocSums.of(candidates=candidates, lesions=lesions, mimics=True)
    weights = bootstrap_weights(clusters=len(sums.subjects), seed=0, replicates=2000)
    values = sums.sensitivities(weights, (1.0,))[:, 0]
    assert values.shape == (2000,)
    empty = np.isnan(values)
    np.testing.assert_array_equal(empty, weights @ sums.lesion_count == 0)


def maps(shape=(24, 20, 22)):
    instances = np.zeros(shape, int)
    instances[4:8, 4:8, 4:8] = 1
    instances[14:18, 10:14, 10:14] = 2
    things = [Insertion(1, "lesion", "solid", (0, 0, 0), 1e-3), Insertion(2, "mimic", "oedema", (0, 0, 0), 1e-3)]
    return instances, things


def test_candidates_hit_lesions_and_mimics_and_are_separated():
    instances, things = maps()
    logits = np.full(instances.shape, -5.0, np.float32)
    logits[5, 5, 5] = 3
    logits[5, 5, 6] = 2.9  # too near to be a candidate of its own
    logits[8, 5, 4] = 1.0  # next to the lesion, 3 voxels away from the best
    logits[15, 11, 11] = 2
    logits[20, 17, 19] = 1
    logits[1, 1, 1] = 9  # outside the region
    region = np.ones(instances.shape, bool)
    region[:3] = False
    rows = candidate_table(
        subject="m", logits=logits, instances=instances, insertions=things, region=region, spacing_m=(4e-4,) * 3
    )
    assert rows["score"].tolist()[:4] == [3, 2, 1, 1]
    assert sorted(rows["kind"].tolist()[:4]) == ["lesion", "lesion", "mimic", "none"]
    assert rows["number"].tolist()[:2] == [1, 2]
    at = rows[["axis0", "axis1", "axis2"]].to_numpy() * 4e-4
    gaps = np.linalg.norm(at[:, None] - at[None], axis=2) + np.eye(len(at))
    assert gaps.min() >= 1e-3 * (1 - 1e-6)
    assert (rows["axis0"] >= 3).all()


def test_a_flat_map_gives_one_candidate_for_its_plateau():
    instances, things = maps()
    rows = candidate_table(
        subject="m",
        logits=np.zeros(instances.shape),
        instances=instances,
        insertions=things,
        region=np.ones(instances.shape, bool),
        spacing_m=(4e-4,) * 3,
    )
    assert len(rows) == 1


def test_subjects_without_a_row_of_lesions_are_refused():
    candidates = pd.DataFrame([("x", 1.0, "none", 0)], columns=["subject", "score", "kind", "number"])
    with pytest.raises(DarklungError, match="subjects \\['x'\\]"):
        froc_curve(candidates=candidates, lesions=lesion_table(subject="a", insertions=[]))


def test_two_lesions_nearer_than_the_separation_are_both_found_and_ripples_of_one_are_not():
    shape, spacing = (14, 14, 14), (2e-4,) * 3
    instances = np.zeros(shape, int)
    instances[6:8, 4:6, 6:8], instances[6:8, 8:10, 6:8] = 1, 2  # centres 0.8 mm apart
    logits = np.where(instances > 0, 3.0, -4.0) + 0.1 * np.random.default_rng(0).normal(size=shape)
    things = [Insertion(n, "lesion", "solid", (0, 0, 0), 4e-4) for n in (1, 2)]
    common = {"subject": "a", "insertions": things, "region": np.ones(shape, bool), "spacing_m": spacing}
    rows = candidate_table(logits=logits, instances=instances, **common)
    assert set(rows["number"][rows["score"] > 0]) == {1, 2}
    one = np.where(instances == 2, 1, instances)
    one[6:8, 6:8, 6:8] = 1
    joined = np.where(one > 0, 3.0, -4.0) + 0.1 * np.random.default_rng(0).normal(size=shape)
    rows = candidate_table(logits=joined, instances=one, **{**common, "insertions": things[:1]})
    assert (rows["score"] > 0).sum() == 1
