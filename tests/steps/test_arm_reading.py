"""Predictions of an arm become tables on one scale; single errors and learning curves are found for the report."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from darklung.core.types import LESION, UNKNOWN, Image, Insertion
from darklung.evaluate.promises import near_scores
from darklung.features.labels import hard_negatives
from darklung.io.case import CaseFacts, LabelledCase, save_case
from darklung.io.images import save_image
from darklung.io.names import LOGITS, MEMBER
from darklung.steps.arm_reading import ArmReading, map_tables, voxels_of
from darklung.steps.evaluate import asked_of, compared
from darklung.steps.report_errors import Judged, arm_errors, maps_by_case, training_logs
from darklung.study.learning import EvaluationPart

SHAPE, SPACING, TILE = (16, 20, 16), (4e-4,) * 3, 2e-3


def labelled(name):
    rng = np.random.default_rng([5, *name.encode()])
    image = Image(rng.normal(20, 2, (1, *SHAPE)).astype(np.float32), ("attenuation",), ("1/m",), SPACING)
    centre = rng.uniform(4, 11, 3)
    grid = np.indices(SHAPE).reshape(3, -1).T
    instances = (np.linalg.norm(grid - centre, axis=1) < 1.9).reshape(SHAPE).astype(np.uint16)
    things = (Insertion(1, "lesion", "solid", image.position_m(centre), 1.2e-3),)
    region = np.zeros(SHAPE, bool)
    region[1:-1, 1:-1, 1:-1] = True
    labels = np.where(instances > 0, LESION, 0).astype(np.uint8)
    hard = hard_negatives(things, instances, image)
    facts = CaseFacts(subject=name, animal=name, source="made up")
    return LabelledCase(image, labels, region, region, instances, hard, things, facts)


def logits(case, model, scale):
    """What a model of its own noise and scale says."""
    rng = np.random.default_rng([model, *case.about.subject.encode()])
    return scale * (rng.normal(0, 1, SHAPE) + 2 * (case.instances > 0))


def on_sections(case):
    """The same, known in one plane of four voxels: no tile is known throughout."""
    unseen = np.ones(SHAPE, bool)
    unseen[:, ::4] = False
    return replace(case, labels=np.where(unseen, UNKNOWN, case.labels).astype(np.uint8))


def read_arm(members, seen=lambda case: case):
    reading, scales = ArmReading(), (1.0, 3.0)
    for fold, scale in enumerate(scales):
        for k in range(4):
            case = seen(labelled(f"v{fold}{k}"))
            image = case.channels.with_data(logits(case, fold, scale)[None].astype(np.float32), ("logit",), ("1",))
            reading.add("validation", fold, case.about.subject, image, case, TILE)
    for k in range(6):
        case = labelled(f"t{k}")
        own = [logits(case, fold, scale) for fold, scale in enumerate(scales)]
        data, names = [np.mean(own, axis=0)], ["logit"]
        if members:
            data, names = [*data, *own], [*names, f"{MEMBER}0", f"{MEMBER}1"]
        image = case.channels.with_data(np.stack(data).astype(np.float32), tuple(names), ("1",) * len(names))
        reading.add("test", None, case.about.subject, image, case, TILE)
    return reading


ANIMALS = {n: n for n in [*(f"v{f}{k}" for f in (0, 1) for k in range(4)), *(f"t{k}" for k in range(6))]}


def test_with_the_models_own_logits_validation_is_on_the_scale_of_their_mean():
    reading = read_arm(members=True)
    assert reading.scale() == "mean"
    validation, test = reading.pooled(ANIMALS, 0.9)
    assert set(validation.tiles["fold"]) == {0, 1}
    assert set(test.tiles["fold"]) == {-1}
    negative = validation.tiles[validation.tiles["label"] == 0]
    limit = np.quantile(negative["score"], 0.9)
    tested = test.tiles[test.tiles["label"] == 0]
    assert (tested["score"] < limit).mean() == pytest.approx(0.9, abs=0.06)
    plain, same = read_arm(members=False), read_arm(members=False).pooled(ANIMALS, 0.9)
    assert plain.scale() == "none"
    # Test scores are the mean's own in any case; ranks come from the models' own.
    pd.testing.assert_frame_equal(same[1].tiles.drop(columns="rank"), test.tiles.drop(columns="rank"))
    raw = same[0].tiles
    assert abs((tested["score"] < np.quantile(raw["score"][raw["label"] == 0], 0.9)).mean() - 0.9) > 0.04


@pytest.mark.parametrize("members", [True, False])
def test_labels_on_sections_alone_fix_no_threshold_and_the_test_counts_all_the_same(members):
    validation, test = read_arm(members, on_sections).pooled(ANIMALS, 0.9)
    assert validation is None
    whole = read_arm(members).pooled(ANIMALS, 0.9)[1]
    pd.testing.assert_frame_equal(test.tiles.drop(columns="rank"), whole.tiles.drop(columns="rank"))
    given = {"seed": 1, "thresholds": {}}
    result = compared({"test": {"a": test}}, EvaluationPart(replicates=100), **given)
    assert result["settings"]["threshold_from"].startswith("none")
    found = result["results"]["test"]["a"]
    assert found["threshold"] is None
    assert found["metrics"]["sensitivity"]["value"] is None
    assert found["metrics"]["auroc"]["value"] > 0.5


def test_folds_that_test_each_other_on_sections_alone_keep_the_scales_of_their_models():
    reading = ArmReading()
    for fold in (0, 1):
        for role, other in (("validation", fold), ("test", 1 - fold)):
            for k in range(4):
                case = on_sections(labelled(f"v{other}{k}"))
                image = case.channels.with_data(logits(case, fold, 1.0)[None].astype(np.float32), ("logit",), ("1",))
                reading.add(role, fold, case.about.subject, image, case, TILE)
    assert reading.scale() == "folds"
    validation, test = reading.pooled(ANIMALS, 0.9)
    assert validation is None
    assert set(test.tiles["label"]) == {1}
    result = compared({"test": {"a": test}}, EvaluationPart(replicates=100), seed=1, thresholds={}, crossed=True)
    metrics = result["results"]["test"]["a"]["metrics"]
    assert {metrics[name]["value"] for name in ("auroc", "sensitivity", "brier")} == {None}
    assert metrics["froc"]["value"] > 0
    assert metrics["dice"]["value"] > 0


def test_ranks_of_test_items_rest_on_each_models_own_scores():
    reading = read_arm(members=True)
    _, test = reading.pooled(ANIMALS, 0.9)
    (judges,) = reading.judges
    assert judges.folds == (0, 1)
    assert [c.animals for c in judges.known["candidates"]] == [4, 4]
    known = [[], []]
    for fold, scale in enumerate((1.0, 3.0)):
        for k in range(4):
            case = labelled(f"v{fold}{k}")
            tables = map_tables(case.about.subject, logits(case, fold, scale), case, TILE)
            (lesion,) = tables.tiles["score"][tables.tiles["label"] == 1]
            known[fold].append(lesion)
    case = labelled("t3")
    own = [map_tables("t3", logits(case, f, s), case, TILE).tiles["score"] for f, s in enumerate((1.0, 3.0))]
    below = sum((np.asarray(k)[None] <= np.asarray(s)[:, None]).sum(axis=1) for k, s in zip(known, own))
    found = test.tiles[test.tiles["subject"] == "t3"]
    np.testing.assert_allclose(found["rank"], (1 + below) / 9)
    assert reading.lung_ml["t3"] == pytest.approx(14 * 18 * 14 * 0.4**3 * 1e-3)
    plain = read_arm(members=False)
    assert plain.pooled(ANIMALS, 0.9)[1].candidates["rank"].isna().all()
    assert not plain.judges


def test_candidates_of_a_mean_get_the_best_that_a_model_says_nearby():
    reading = read_arm(members=True)
    reading.pooled(ANIMALS, 0.9)
    case = labelled("t0")
    maps = [logits(case, 0, 1.0), logits(case, 1, 3.0)]
    places = np.array([[8, 9, 8], [1, 1, 1]])
    found = near_scores(places=places, maps=maps, region=case.region, spacing_m=SPACING)
    grid = np.indices(SHAPE)
    for i, place in enumerate(places):
        near = (((grid - place[:, None, None, None]) * 4e-4) ** 2).sum(axis=0) <= 1e-6
        assert found[:, i].tolist() == [m[near & case.region].max() for m in maps]


def test_voxels_are_counted_once_and_within_the_region():
    reading = read_arm(members=True)
    found = reading.voxels["test"]
    cases = [labelled(f"t{k}") for k in range(6)]
    assert found.positive.sum() == sum((c.lesion & c.region).sum() for c in cases)
    assert found.positive.sum() + found.negative.sum() == sum(c.region.sum() for c in cases)
    one = voxels_of(logits(cases[0], 0, 1.0), cases[0])
    assert one.positive.sum() == (cases[0].lesion & cases[0].region).sum()


def test_questions_are_the_studys_or_the_planned_ones():
    arms = ("hybrid", "transmission", "dark_field", "noise")
    assert asked_of(EvaluationPart(), arms) == [("dark_field", "transmission"), ("hybrid", "transmission")]
    assert asked_of(EvaluationPart(questions=(("noise", "hybrid"),)), arms) == [("noise", "hybrid")]
    assert asked_of(EvaluationPart(), ("x+cnn", "x+trees", "y")) == [("x+trees", "x+cnn"), ("y", "x+cnn")]


def test_missed_lesions_and_false_positives_are_found_where_they_are(tmp_path):
    reading = read_arm(members=True)
    _, test = reading.pooled(ANIMALS, 0.9)
    folder = tmp_path / "predict" / "a.test"
    for k in range(6):
        case = labelled(f"t{k}")
        save_case(tmp_path / "cases" / f"t{k}", case)
        mean = np.mean([logits(case, f, s) for f, s in enumerate((1.0, 3.0))], axis=0)
        image = case.channels.with_data(mean[None].astype(np.float32), ("logit",), ("1",))
        save_image(folder / f"t{k}{LOGITS}", image)
    cases = {f"t{k}": tmp_path / "cases" / f"t{k}" for k in range(6)}
    limit = float(np.median(test.tiles["score"][test.tiles["label"] == 1]))
    judged = Judged(cases, maps_by_case(["a"], [folder]), test.tiles.assign(arm="a"), {"a": limit}, TILE)
    (found,) = arm_errors(judged, {"a": ("attenuation",)})
    assert found.missed_count == (test.tiles["score"][test.tiles["label"] == 1] < limit).sum() == 3
    assert found.false_count == (test.tiles["score"][test.tiles["label"] == 0] >= limit).sum()
    for sight in found.missed:
        assert sight.lesion[sight.at]
        assert "lesion solid of 1.20 mm" in sight.title
    for sight in found.false:
        assert sight.region[sight.at]
        assert "plain lung" in sight.title


def test_errors_of_animals_with_several_images_are_counted_and_found_in_their_own_image(tmp_path):
    """Of ten images of two animals and two of one each; names whose order as texts is not that of their numbers."""
    names = [*(f"two-{k}" for k in range(1, 11)), "other"]
    animals = {n: n.split("-")[0] for n in names}
    reading, saved = ArmReading(), {}
    for k, name in enumerate(("v0", "v1")):
        case = labelled(name)
        image = case.channels.with_data(logits(case, 0, 1.0)[None].astype(np.float32), ("logit",), ("1",))
        reading.add("validation", k, name, image, case, TILE)
    folder = tmp_path / "predict" / "a.test"
    for name in names:
        case = labelled(name)
        save_case(tmp_path / "cases" / name, replace(case, about=replace(case.about, animal=animals[name])))
        saved[name] = logits(case, 1, 1.0).astype(np.float32)
        save_image(folder / f"{name}{LOGITS}", case.channels.with_data(saved[name][None], ("logit",), ("1",)))
    maps, cases = maps_by_case(["a"], [folder]), {n: tmp_path / "cases" / n for n in names}
    for name in maps:
        case = labelled(name)
        image = case.channels.with_data(saved[name][None], ("logit",), ("1",))
        reading.add("test", None, name, image, case, TILE)
    units = reading.pooled({**animals, "v0": "v0", "v1": "v1"}, 0.9)[1].tiles.assign(arm="a")
    assert set(units["subject"]) == {"two", "other"}
    lesions, false = units[units["label"] == 1], units[units["label"] == 0]
    limit = float(lesions["score"].median())
    (found,) = arm_errors(Judged(cases, maps, units, {"a": limit}, TILE), {"a": ("attenuation",)})
    assert (found.missed_count, found.false_count) == ((lesions["score"] < limit).sum(), (false["score"] >= limit).sum())
    assert found.missed_count == 5
    for sight in (*found.missed, *found.false):
        name = sight.title.partition(":")[0]
        own = map_tables(name, saved[name], labelled(name), TILE).tiles
        told = float(sight.title.split("score ")[1].split(",")[0].replace("−", "-"))
        (score,) = own["score"][own["score"].sub(told).abs() < 5e-3 + 1e-9][:1]
        here = saved[name][sight.at]
        assert here >= score - 1e-6  # the place is the highest voxel of the lesion or tile whose score is told


def test_learning_curves_are_read_from_the_tasks_that_kept_one(tmp_path):
    place = tmp_path / "train" / "hybrid.fold1"
    place.mkdir(parents=True)
    rows = [{"step": 10, "loss": 2.0, "score": 0.6, "error": 0.1}, {"step": 20, "loss": 1.0, "score": 0.7, "error": 0.1}]
    steps = [{"step": step, "loss": 1.5, "learning_rate": 1e-3, "terms": {}} for step in (10, 20)]
    (place / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in (steps[0], rows[0], steps[1], rows[1])))
    (place / "model.json").write_text(json.dumps({"selected": {"by": "tile_auroc", "step": 20, "score": 0.7}}))
    (log,) = training_logs(tmp_path, ("train/hybrid.fold1", "train/gone.fold0", "cases/a"))
    assert (log["arm"], log["fold"], log["rows"], log["selected"]["step"]) == ("hybrid", "1", rows, 20)
