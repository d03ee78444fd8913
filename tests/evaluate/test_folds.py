"""Folds tested by their own models, animals with several images, and lesions that the region missed."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from darklung.core.checks import DarklungError
from darklung.evaluate.comparison import compare
from darklung.evaluate.folds import align_fold, by_animal
from darklung.evaluate.roc import auroc
from darklung.evaluate.tables import ArmTables, join_tables
from darklung.evaluate.tiles import LOWEST_SCORE, TILE_COLUMNS


def animal(name, seed, shift=0.0, scale=1.0, lost=False):
    """Units of one animal: 3 lesions and 40 tiles, scores on some fold's own scale."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(43) < 3).astype(int)
    tiles = pd.DataFrame(
        {
            "subject": name,
            "tile": np.arange(43),
            "kind": np.where(labels == 1, "lesion", "tile"),
            "label": labels,
            "score": scale * rng.normal(2.0 * labels, 1) + shift,
            "number": np.where(labels == 1, np.arange(43) + 1, 0),
            "tissue": np.where(labels == 1, "solid", ""),
            "diameter_m": np.where(labels == 1, 1e-3, np.nan),
            "reachable": True,
        }
    )[list(TILE_COLUMNS)]
    if lost:
        tiles.loc[0, ["score", "reachable", "tile"]] = [LOWEST_SCORE, False, -1]
    voxels = pd.DataFrame([(name, 10, 12, 6)], columns=["subject", "predicted", "true", "overlap"])
    return ArmTables(tiles, voxels)


def test_aligned_folds_of_different_scales_can_be_pooled_and_keep_their_order():
    scales = [(0.0, 1.0), (-40.0, 10.0)]
    tests, pooled = [], []
    for f, (shift, scale) in enumerate(scales):
        validation = join_tables(animal(f"v{f}{i}", 100 * f + i, shift, scale) for i in range(6))
        test = join_tables(animal(f"t{f}{i}", 100 * f + 50 + i, shift, scale) for i in range(6))
        aligned, moved = align_fold(validation, test, specificity=0.95)
        negative = aligned.tiles[aligned.tiles["label"] == 0]["score"]
        assert 0.95 <= (negative < 0).mean() < 0.96
        before, after = test.tiles["score"].to_numpy(), moved.tiles["score"].to_numpy()
        assert (np.argsort(before, kind="stable") == np.argsort(after, kind="stable")).all()
        tests.append(test)
        pooled.append(moved)
    raw, good = join_tables(tests).tiles, join_tables(pooled).tiles
    single = np.mean([auroc(scores=t.tiles["score"], labels=t.tiles["label"]) for t in tests])
    assert auroc(scores=good["score"], labels=good["label"]) == pytest.approx(single, abs=0.03)
    assert auroc(scores=raw["score"], labels=raw["label"]) < single - 0.1


def test_images_of_one_animal_become_one_cluster_with_distinct_units():
    images = [animal(f"image{i}", i) for i in range(3)]
    joined = by_animal(images, {"image0": "m1", "image1": "m1", "image2": "m2"})
    one = next(t for t in joined if t.voxels["subject"].iloc[0] == "m1")
    assert one.tiles["tile"].is_unique
    assert len(one.tiles) == 86
    assert one.voxels.iloc[0].tolist() == ["m1", 20, 24, 12]
    numbers = one.tiles[one.tiles["label"] == 1]["number"]
    assert numbers.is_unique


def test_lesions_that_the_region_missed_count_as_missed_and_do_not_bend_the_calibration():
    def split(name, offset, lost):
        return {"x": join_tables(animal(f"{name}{i}", offset + i, lost=lost) for i in range(6))}

    clean = compare(tables={"validation": split("v", 0, False), "test": split("t", 50, False)}, seed=0, replicates=50)
    lost = compare(tables={"validation": split("v", 0, True), "test": split("t", 50, True)}, seed=0, replicates=50)
    a, b = clean["results"]["test"]["x"], lost["results"]["test"]["x"]
    assert b["n"] == a["n"]
    assert b["confusion"]["fn"] >= 6
    assert b["metrics"]["auroc"]["value"] < a["metrics"]["auroc"]["value"] - 0.2
    # a third of the lesions at -65504 would push the slope to 0 and the Brier score to that of the base rate (0.065)
    assert b["metrics"]["brier"]["value"] < 0.065
    nothing = join_tables(animal(f"v{i}", i, lost=True) for i in range(2))
    only = dataclasses.replace(nothing, tiles=nothing.tiles[(nothing.tiles["label"] == 0) | ~nothing.tiles["reachable"]])
    with pytest.raises(DarklungError, match="wanted positives and negatives, got 0"):
        compare(tables={"validation": {"x": only}, "test": split("t", 50, False)}, seed=0)
