"""Lesions outlined one by one: against brute force over all matchings and all pairs of surface voxels."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from darklung.core.types import Insertion
from darklung.evaluate.outlines import LEAST_OVERLAP, outline_results, outline_table, surface_distances

SPACING = (3e-4, 2e-4, 2.5e-4)


def insertion(number, kind="lesion"):
    return Insertion(number, kind, "solid", (0.0, 0.0, 0.0), 1e-3)


def table(logits, instances, kinds):
    return outline_table(
        subject="a",
        logits=logits,
        instances=instances,
        insertions=[insertion(n, k) for n, k in kinds.items()],
        region=np.ones(logits.shape, bool),
        spacing_m=SPACING,
    )


def random_maps(seed):
    """Up to three blobs, and logits that follow them loosely, with noise: touching, split, missed and false outlines."""
    rng = np.random.default_rng(seed)
    shape = (9, 10, 8)
    grid = np.indices(shape).reshape(3, -1).T
    instances, drift = np.zeros(shape, int), np.zeros(shape, bool)
    for number in range(1, int(rng.integers(1, 4)) + 1):
        at, radius = rng.uniform(1, 8, 3), rng.uniform(0.8, 2.5)
        instances[(np.linalg.norm(grid - at, axis=1) < radius).reshape(shape) & (instances == 0)] = number
        drift |= (np.linalg.norm(grid - at - rng.normal(0, 0.8, 3), axis=1) < radius).reshape(shape)
    return np.where(drift, 3.0, -3.0) + rng.normal(0, rng.uniform(0.1, 2), shape), instances


@given(st.integers(0, 100_000))
@settings(deadline=None, max_examples=200)
def test_matches_are_the_best_of_all_matchings(seed):
    logits, instances = random_maps(seed)
    numbers = [n for n in np.unique(instances) if n]
    rows = table(logits, instances, dict.fromkeys(numbers, "lesion"))
    found, count = label(logits > 0, np.ones((3, 3, 3)))
    lesions = rows[rows["kind"] == "lesion"].set_index("number")

    def union_share(number, outline):
        a, b = instances == number, found == outline
        value = (a & b).sum() / (a | b).sum()
        return value if value >= LEAST_OVERLAP else 0.0

    near = [j for j in range(1, count + 1) if any(union_share(n, j) for n in numbers)]
    choices = [[0, *near]] * len(numbers)
    best = max(
        (sum(union_share(n, j) for n, j in zip(numbers, chosen) if j), chosen)
        for chosen in itertools.product(*choices)
        if len([j for j in chosen if j]) == len({j for j in chosen if j})
    )
    size = lesions["true"] + lesions["predicted"] - lesions["overlap"]
    got = (lesions["overlap"] / size.where(lesions["overlap"] > 0, 1)).sum()
    assert got == pytest.approx(best[0])
    assert (rows["kind"] == "outline").sum() == count - (lesions["overlap"] > 0).sum()
    assert rows["predicted"].sum() == (logits > 0).sum()


@given(st.integers(0, 100_000))
@settings(deadline=None, max_examples=40)
def test_surface_distances_are_those_of_all_pairs(seed):
    rng = np.random.default_rng(seed)
    bodies = [rng.random((5, 6, 4)) < 0.4 for _ in range(2)]
    if not all(b.any() for b in bodies):
        return

    def surface(body):
        padded = np.pad(body, 1)
        inner = body.copy()
        for axis, step in itertools.product(range(3), (-1, 1)):
            inner &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
        return np.argwhere(body & ~inner) * SPACING

    first, second = map(surface, bodies)
    pairs = np.linalg.norm(first[:, None] - second[None], axis=2)
    want = np.concatenate([pairs.min(axis=1), pairs.min(axis=0)])
    np.testing.assert_allclose(np.sort(surface_distances(*bodies, SPACING)), np.sort(want), atol=1e-12)


def test_a_perfect_outline_a_missed_lesion_and_a_false_one():
    instances = np.zeros((10, 20, 10), int)
    instances[2:5, 2:5, 2:5], instances[2:4, 10:12, 2:4], instances[7:9, 2:4, 2:4] = 1, 2, 3
    logits = np.where(instances == 1, 2.0, -2.0)
    logits[7:9, 15:18, 6:8] = 1.0
    logits[7:9, 2:4, 2:4] = 1.0  # of a mimic
    rows = table(logits, instances, {1: "lesion", 2: "lesion", 3: "mimic"})
    found = outline_results(rows)
    assert (found["lesions"], found["matched"], found["outlines"]) == (2, 1, 2)
    assert found["dice"] == found["surface_share"] == found["segmentation"] == 1
    assert found["distance_m"] == found["volume_error"] == 0
    assert found["dice_of_all"] == 0.5
    assert found["recognition"] == found["panoptic"] == pytest.approx(2 / (2 + 1 + 2))


def test_nothing_to_outline_is_undefined():
    found = outline_results(table(np.full((4, 4, 4), -1.0), np.zeros((4, 4, 4), int), {}))
    assert found["lesions"] == found["outlines"] == 0
    assert all(found[k] is None for k in ("dice", "dice_of_all", "recognition", "panoptic", "distance_m"))
