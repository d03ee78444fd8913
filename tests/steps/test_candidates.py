"""Candidates come from the detection head where the model has one, in predictions, evaluation and findings."""

import numpy as np
import pandas as pd
import pytest
import yaml

import darklung
from darklung.evaluate.froc import candidate_table
from darklung.evaluate.units import tile_numbers
from darklung.flow.costs import _padding
from darklung.flow.expected import Expected
from darklung.flow.plan import plan
from darklung.steps.arm_reading import ArmReading, image_tables, map_tables
from darklung.steps.findings import candidates_of
from darklung.steps.predict import logits_of
from darklung.study.study import read_study

DETECTS = {"widths": [16, 16], "patch": 8, "batch": 1, "network_options": {"detection": True}}
TILE_M = 2e-3


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A case, and a model that detects, hardly trained."""
    mouse = darklung.make_mouse(seed=1, voxel_m=600e-6, lesions=[("solid", 3e-3)])
    values = 20 * mouse.density.sum(axis=0, keepdims=True).astype(np.float32)
    image = darklung.Image(values, ("attenuation",), ("1/m",), (mouse.voxel_m,) * 3)
    case = darklung.make_case(image, mouse, subject="m1", region=mouse.lobes > 0)
    folder = tmp_path_factory.mktemp("model")
    return darklung.train([case], channels=["attenuation"], out=folder, steps=2, settings=DETECTS), case


def table(case, logits):
    common = {"instances": case.instances, "insertions": case.insertions, "region": case.region}
    return candidate_table(subject="m1", logits=logits, spacing_m=case.channels.spacing_m, **common)


def test_a_prediction_has_middles_and_diameters_unless_the_logits_are_asked_for(judged):
    model, case = judged
    found = darklung.predict(model, case)
    assert found.names == ("probability", "logit", "logit_spread", "centre", "diameter")
    assert found.unit("diameter") == "m"
    assert (found.channel("diameter")[case.region] > 1e-5).all()
    plain = logits_of([model], case, 0.25, heads=False)
    assert plain.names == ("logit", "logit_spread")
    np.testing.assert_array_equal(plain.channel("logit"), found.channel("logit"))


def test_evaluation_takes_candidates_from_the_head_and_all_else_from_the_logits(judged):
    model, case = judged
    found = darklung.predict(model, case)
    tables, plain = image_tables("m1", found, case, TILE_M), map_tables("m1", found.channel("logit"), case, TILE_M)
    pd.testing.assert_frame_equal(tables.candidates, table(case, found.channel("centre")))
    pd.testing.assert_frame_equal(plain.candidates, table(case, found.channel("logit")))
    assert not tables.candidates.equals(plain.candidates)
    assert (tables.detected, plain.detected) == (True, False)
    for name in ("tiles", "voxels", "lesions"):
        pd.testing.assert_frame_equal(getattr(tables, name), getattr(plain, name))
    without = found.with_data(found.data[:3], found.names[:3], found.units[:3])
    assert image_tables("m1", without, case, TILE_M).candidates.equals(plain.candidates)


def test_scores_of_a_head_are_put_on_the_scale_of_the_mean_of_heads(judged):
    model, case = judged
    one, mean = logits_of([model], case, 0.25), logits_of([model, model], case, 0.25, each=True)
    reading = ArmReading()
    for fold in (0, 1):
        reading.add("validation", fold, f"v{fold}", one, case, TILE_M)
    reading.add("test", None, "t", mean, case, TILE_M)
    assert reading.scale() == "mean"
    validation, test = reading.pooled({"v0": "v0", "v1": "v1", "t": "t"}, 0.9)
    # A model is its own mean: candidates keep their scores.
    before = reading.images["validation"][0][0].candidates["score"].to_numpy()
    for fold in (0, 1):
        after = validation.candidates.loc[validation.candidates["subject"] == f"v{fold}", "score"].to_numpy()
        np.testing.assert_allclose(after, before, atol=1e-3)
    np.testing.assert_allclose(test.candidates["score"], before, atol=1e-3)


def test_findings_tell_the_diameter_of_the_head_and_call_the_best_of_each_tile(judged):
    model, case = judged
    found = logits_of([model], case, 0.25)
    threshold = float(np.median(found.channel("logit")[case.region]))
    rows = candidates_of(case, found, threshold=threshold)
    want = table(case, found.channel("centre"))
    at = tuple(want[[f"axis{a}" for a in range(3)]].to_numpy().T)
    np.testing.assert_array_equal(rows["score"], want["score"])
    np.testing.assert_allclose(rows["diameter_mm"], 1e3 * found.channel("diameter")[at], rtol=1e-6)
    numbers, _ = tile_numbers(shape=case.region.shape, spacing_m=case.channels.spacing_m, tile_m=TILE_M)
    high = rows["tile_score"] >= threshold
    called = rows["called"].astype(bool)
    assert not (called & ~high).any()
    assert sorted(numbers[at][called]) == sorted(set(numbers[at][high]))
    assert len(set(numbers[at])) > called.sum() > 0


def test_a_middle_has_a_probability_only_by_the_curve_of_a_run(judged):
    model, case = judged
    found = logits_of([model], case, 0.25)
    assert candidates_of(case, found, threshold=None)["probability"].isna().all()
    by_curve = candidates_of(case, found, threshold=None, curve=(2.0, -1.0))
    np.testing.assert_allclose(by_curve["probability"], 1 / (1 + np.exp(1 - 2 * by_curve["tile_score"])))
    plain = found.with_data(found.data[:2], found.names[:2], found.units[:2])
    assert candidates_of(case, plain, threshold=None)["probability"].notna().all()


@pytest.mark.parametrize(("said", "wanted"), [({}, "head"), ({"candidates": "logits"}, "logits")])
def test_a_study_says_where_candidates_come_from(said, wanted, tmp_path):
    content = {
        "name": "small",
        "sources": {"mice": {"from": "simulation", "cohort": {"animals": 4, "test_animals": 2}}},
        "learning": {"arms": {"transmission": ["attenuation"]}, "folds": 2, **said},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    tasks = plan(read_study(tmp_path / "study.yaml")).tasks
    assert {t.parameters["candidates"] for t in tasks if t.stage == "predict"} == {wanted}


def test_mirror_images_are_a_matter_of_prediction_alone(tmp_path):
    content = {
        "name": "small",
        "sources": {"mice": {"from": "simulation", "cohort": {"animals": 4, "test_animals": 2}}},
        "learning": {"arms": {"transmission": ["attenuation"]}, "folds": 2},
    }
    made = []
    for mirroring in (False, True):
        content["learning"]["mirroring"] = mirroring
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
        tasks = plan(read_study(tmp_path / "study.yaml")).tasks
        assert {t.parameters["mirroring"] for t in tasks if t.stage == "predict"} == {mirroring}
        made.append([t for t in tasks if t.stage == "train"])
    assert made[0] == made[1]


def test_small_images_for_a_network_of_large_patches_are_told_with_their_padding():
    assert _padding(64, [Expected("mice", "mice", (3e-4,) * 3, None, side=40)]).endswith(
        "76% of a patch is padding at least"
    )
    assert _padding(16, [Expected("mice", "mice", (3e-4,) * 3, None, side=40)]) == ""
    assert _padding(16, [Expected("mice", "mice", (3e-4,) * 3, None)]) == ""
