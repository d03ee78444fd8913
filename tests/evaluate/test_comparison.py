"""The comparison file: its schema, its honesty about thresholds, and what it refuses."""

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.types import Insertion
from darklung.evaluate.comparison import compare
from darklung.evaluate.metrics import METRICS
from darklung.evaluate.roc import auroc
from darklung.evaluate.tables import ArmTables, join_tables, subject_tables
from darklung.evaluate.truth import Truth
from darklung.report.metric_tables import size_range

SHAPE = (20, 24, 20)
SPACING = (3e-4,) * 3


def subject(name, seed, skill, lesions=2):
    """Maps of a subject with lesions, a mimic and a sham; lesions are brighter by `skill`."""
    rng = np.random.default_rng(seed)
    grid = np.indices(SHAPE).reshape(3, -1).T
    instances = np.zeros(SHAPE, np.uint16)
    things = []
    for number in range(1, lesions + 2):
        at = rng.uniform(4, 16, 3)
        ball = (np.linalg.norm(grid - at, axis=1) < 1.5 + number / 2).reshape(SHAPE) & (instances == 0)
        instances[ball] = number
        kind = "mimic" if number == lesions + 1 else "lesion"
        if ball.any():
            things.append(Insertion(number, kind, ("solid", "lepidic")[number % 2], (0.0, 0.0, 0.0), 8e-4 * number))
    things.append(Insertion(9, "sham", "solid", (0.0, 0.0, 0.0), 1e-3))
    lesion = np.isin(instances, [i.number for i in things if i.kind == "lesion"])
    logits = np.random.default_rng(seed + 1).normal(-3, 1, SHAPE) + skill * lesion
    return subject_tables(
        subject=name,
        logits=logits,
        truth=Truth(instances, things),
        region=np.ones(SHAPE, bool),
        spacing_m=SPACING,
    )


def arm(split, skill, offset, animals=4):
    return join_tables(subject(f"{split}{i}", offset + i, skill, lesions=0 if i == 0 else 2) for i in range(animals))


@pytest.fixture(scope="module")
def tables():
    skills = {"transmission": 1.0, "hybrid": 4.0}
    return {
        "validation": {a: arm("v", s, 0) for a, s in skills.items()},
        "test": {a: arm("t", s, 100, animals=5) for a, s in skills.items()},
    }


@pytest.fixture(scope="module")
def result(tables):
    return compare(tables=tables, seed=1, replicates=300)


def test_schema_is_complete_and_json_has_no_nan(result):
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    wanted = {"arms", "splits", "metrics", "results", "questions", "differences", "least_p", "settings"}
    assert set(result) == wanted
    assert result["splits"] == ["validation", "test"]
    entry = result["results"]["test"]["hybrid"]
    keys = {"n", "metrics", "threshold", "roc", "pr", "reliability", "confusion", "froc", "by_class", "by_size"}
    keys |= {"by_kind", "by_animal", "by_fold", "probability", "dice_by_subject", "outlines"}
    assert keys == set(entry)
    assert set(entry["metrics"]) == set(METRICS)
    assert set(entry["froc"]["points"]) == {"0.125", "0.25", "0.5", "1", "2", "4", "8"}
    assert {"tile", "mimic"} <= set(entry["by_kind"])
    assert result["questions"] == [["hybrid", "transmission"]]
    rows = result["differences"]["test"]
    assert [r["metric"] for r in rows] == list(METRICS)
    assert all(r["p"] is None for r in rows[1:])
    row = rows[0]
    assert set(row) == {"a", "b", "metric", "value", "low", "high", "p", "p_holm"}
    assert max(len(entry["roc"]["fpr"]), len(entry["pr"]["recall"]), len(entry["froc"]["sensitivity"])) <= 200


def test_a_lesion_of_any_size_has_its_row(tables):
    """A tumour that fills a lobe, or a drawn one, may be larger than what is simulated."""
    grown = {split: {arm: replace(t, tiles=t.tiles.assign(diameter_m=8 * t.tiles["diameter_m"])) for arm, t in own.items()}
             for split, own in tables.items()}  # fmt: skip
    entry = compare(tables=grown, seed=1, replicates=100)["results"]["test"]["hybrid"]
    assert sum(row["n"] for row in entry["by_size"]) == entry["n"]["positives"]
    assert entry["by_size"][-1]["low_mm"] == 10
    assert entry["by_size"][-1]["high_mm"] is None
    assert size_range(entry["by_size"][-1]) == "10 mm and more"
    assert size_range(entry["by_size"][0]).endswith("to 10 mm")


def test_numbers_agree_with_their_definitions(tables, result):
    tiles = tables["test"]["hybrid"].tiles
    entry = result["results"]["test"]["hybrid"]
    assert entry["metrics"]["auroc"]["value"] == pytest.approx(auroc(scores=tiles["score"], labels=tiles["label"]))
    called = tiles["score"] >= entry["threshold"]
    sensitivity = called[tiles["label"] == 1].mean()
    assert entry["metrics"]["sensitivity"]["value"] == pytest.approx(sensitivity)
    c = entry["confusion"]
    assert c["tp"] / (c["tp"] + c["fn"]) == pytest.approx(sensitivity)
    assert c["tp"] + c["fn"] == entry["n"]["positives"] == sum(v["n"] for v in entry["by_class"].values())
    assert sum(row["n"] for row in entry["by_size"]) == entry["n"]["positives"]
    for metric in entry["metrics"].values():
        assert metric["low"] <= metric["value"] + 1e-9
        assert metric["value"] <= metric["high"] + 1e-9


def test_threshold_comes_from_validation_alone(tables, result):
    shifted = dict(tables["test"])
    moved = shifted["hybrid"].tiles.assign(score=shifted["hybrid"].tiles["score"] + 2)
    shifted["hybrid"] = dataclasses.replace(shifted["hybrid"], tiles=moved)
    again = compare(tables={**tables, "test": shifted}, seed=1, replicates=50)
    for split in ("validation", "test"):
        assert again["results"][split]["hybrid"]["threshold"] == result["results"]["validation"]["hybrid"]["threshold"]
    before = result["results"]["test"]["hybrid"]["metrics"]
    after = again["results"]["test"]["hybrid"]["metrics"]
    assert after["auroc"]["value"] == pytest.approx(before["auroc"]["value"])
    assert after["specificity"]["value"] < before["specificity"]["value"] - 0.2
    assert result["results"]["validation"]["hybrid"]["metrics"]["specificity"]["value"] >= 0.95


def test_same_seed_same_file_and_row_order_does_not_matter(tables, result):
    assert compare(tables=tables, seed=1, replicates=300) == result
    mixed = {
        s: {
            a: ArmTables(t.tiles.sample(frac=1, random_state=3), t.voxels[::-1], t.candidates, t.lesions)
            for a, t in arms.items()
        }
        for s, arms in tables.items()
    }
    again = compare(tables=mixed, seed=1, replicates=300)
    for one, other in zip(again["differences"]["test"], result["differences"]["test"]):
        assert one == pytest.approx(other, abs=1e-9)  # sums in another order
    assert again["results"]["test"]["hybrid"]["confusion"] == result["results"]["test"]["hybrid"]["confusion"]


def test_undefined_values_are_null(tables):
    healthy = {a: arm("t", 1.0, 100, animals=1) for a in ("transmission", "hybrid")}
    got = compare(tables={**tables, "test": healthy}, seed=1, replicates=50)
    entry = got["results"]["test"]["hybrid"]
    assert entry["metrics"]["auroc"] == {"value": None, "low": None, "high": None}
    assert entry["froc"] is None
    assert entry["by_class"] == {}
    assert got["differences"]["test"][0]["p"] is None
    json.dumps(got, allow_nan=False)


def test_arms_with_other_units_missing_splits_and_shared_subjects_are_refused(tables):
    with pytest.raises(DarklungError, match="wanted the splits"):
        compare(tables={"test": tables["test"]}, seed=1)
    short = dict(tables["test"])
    short["hybrid"] = dataclasses.replace(short["hybrid"], tiles=short["hybrid"].tiles.iloc[1:])
    with pytest.raises(DarklungError, match="units of hybrid differ"):
        compare(tables={**tables, "test": short}, seed=1)
    with pytest.raises(DarklungError, match="in validation and in test: v0, v1"):
        compare(tables={"validation": tables["validation"], "test": tables["validation"]}, seed=1)
    with pytest.raises(DarklungError, match="a subject comes twice"):
        join_tables([tables["test"]["hybrid"], tables["test"]["hybrid"]])
    with pytest.raises(DarklungError, match="columns \\['label'\\]"):
        ArmTables(tables["test"]["hybrid"].tiles.drop(columns="label"), tables["test"]["hybrid"].voxels)
