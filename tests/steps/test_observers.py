"""Boosted trees beside the networks: rows of one study, comparison, report and predictions; each due by its own alone."""

import json
import shutil

import numpy as np
import pytest
import yaml

import darklung
from darklung.commands.compare import compare_folders
from darklung.commands.predict import predict_files
from darklung.commands.run import run_study
from darklung.commands.train import train_study
from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.core.types import Image, Insertion
from darklung.flow.plan import plan
from darklung.io.case import CaseFacts, LabelledCase, load_case, save_case
from darklung.io.images import load_image
from darklung.pipeline import task_keys
from darklung.study.learning import LearningPart
from darklung.study.observers import Row
from darklung.study.study import read_study

SHAPE = (12, 18, 20)
LEARNING = {
    "arms": {"ct": ["attenuation"], "control": ["noise"]},
    "observers": ["network", "boosting"],
    "boosting": {"trees": 10, "voxels": 300, "scales": ["0.4 mm", "0.8 mm"]},
    "widths": [16], "patch": 8, "batch": 1, "steps": 2, "folds": 3,
}  # fmt: skip


def save_blobs(folder, number):
    """A case with two bright balls, its `noise` constant in the lung of the last animal."""
    rng = stream(number, "blobs")
    balls = np.zeros(SHAPE, np.uint16)
    for i, side in enumerate((0, 10)):
        at = np.array([rng.uniform(3, 8), rng.uniform(3, 14), side + rng.uniform(3, 6)]).reshape(3, 1, 1, 1)
        balls[((np.indices(SHAPE) - at) ** 2).sum(axis=0) < 5] = i + 1
    data = rng.normal(size=(2, *SHAPE)) + np.stack([4.0 * (balls > 0), np.zeros(SHAPE)])
    data[1] *= number != 6
    everywhere = np.ones(SHAPE, bool)
    inserted = [Insertion(i, "lesion", "solid", (0.0, 0.0, 0.0), 1e-3) for i in (1, 2)]
    image = Image(data.astype(np.float32), ("attenuation", "noise"), ("1/m", "1/m"), (3e-4,) * 3)
    about = CaseFacts(f"m{number}", f"m{number}")
    labels = (balls > 0).astype(np.uint8)
    save_case(folder, LabelledCase(image, labels, everywhere, everywhere, balls, ~everywhere, tuple(inserted), about))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("observers")
    for number in range(7):
        save_blobs(folder / "mice" / f"m{number}", number)
    return folder


def written(folder, name="study", **learning):
    cases = {"from": "cases", "files": [str(folder / "mice" / f"m{n}") for n in range(6)]}
    content = {"name": "s", "seed": 2, "sources": {"mice": cases}, "learning": {**LEARNING, **learning}}
    content["evaluation"] = {"replicates": 100}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / f"{name}.yaml"


@pytest.fixture(scope="module")
def run(folder):
    run_study(written(folder), out=folder / "run", workers=1)
    return folder / "run"


ROWS = ["ct", "control", "ct.boosting", "control.boosting"]


def test_every_arm_with_every_observer_is_a_row_of_everything(run):
    comparison = json.loads((run / "evaluate/all/comparison.json").read_text())
    assert comparison["arms"] == ROWS
    found = {name: comparison["results"]["test"][name]["metrics"]["auroc"] for name in ROWS}
    assert found["ct.boosting"]["value"] > max(0.9, found["control.boosting"]["value"] + 0.1)
    assert found["ct.boosting"]["low"] <= found["ct.boosting"]["value"]
    pairs = {frozenset((d["a"], d["b"])) for d in comparison["differences"]["test"]}
    assert frozenset(("ct", "ct.boosting")) in pairs
    page = (run / "report/all/report.html").read_text()
    assert "What the trees go by" in page
    assert "ct.boosting" in page


def test_predictions_are_those_of_the_fold_that_neither_trained_nor_validated(run):
    for fold in range(3):
        about = json.loads((run / f"train/ct.boosting.fold{fold}/model.json").read_text())
        network = json.loads((run / f"train/ct.fold{fold}/model.json").read_text())
        for side in ("subjects_train", "subjects_validation"):
            assert about[side] == network[side]
        maps = sorted((run / f"predict/ct.boosting.fold{fold}.test").glob("*.logits.ome.zarr"))
        assert [m.name for m in maps] == [m.name for m in sorted((run / f"predict/ct.fold{fold}.test").glob("*.zarr"))]
        tested = {m.name.split(".")[0] for m in maps}
        assert not tested & {*about["subjects_train"], *about["subjects_validation"]}
        assert load_image(maps[0]).names == ("logit", "logit_spread")


def test_such_models_are_applied_to_what_is_new(run, folder, tmp_path):
    case = folder / "mice" / "m6"
    with pytest.raises(DarklungError, match=r"--arm: wanted one of .*ct\.boosting"):
        predict_files(run, case, out=tmp_path / "out", dry_run=True)
    predict_files(run, case, out=tmp_path / "out", arm="ct.boosting", workers=1)
    maps = load_image(tmp_path / "out/findings/m6/probability.ome.zarr")
    models = [run / f"train/ct.boosting.fold{n}" for n in range(3)]
    own = darklung.predict(models, load_case(case))
    np.testing.assert_allclose(maps.channel("probability"), own.channel("probability"), rtol=1e-5)
    labels = load_case(case).labels
    assert own.channel("logit")[labels == 1].mean() > own.channel("logit")[labels == 0].mean() + 2
    predict_files(run, case, out=tmp_path / "flat", arm="control.boosting", workers=1)
    assert "noise: constant inside the lung of this image" in (tmp_path / "flat/m6.html").read_text()


def test_trees_are_trained_alone_and_told(run, folder, tmp_path):
    told = train_study(written(folder), out=run, arms=["ct.boosting"], workers=1)
    assert "0 task(s) computed" in told
    assert [line.split()[0] for line in told.splitlines()[1:4]] == ["ct.boosting"] * 3
    with pytest.raises(
        DarklungError, match=r"arm: 'ct.trees' is not known; known: control, control\.boosting, ct, ct\.boosting"
    ):
        train_study(written(folder), out=run, arms=["ct.trees"])
    copied = shutil.copytree(run, tmp_path / "other")
    assert "  ct.boosting (6 animals in both)" in compare_folders(run, copied)


def keys(path):
    return task_keys(plan(read_study(path)).tasks)


def test_a_setting_makes_its_own_observer_due_alone(folder):
    before = keys(written(folder, "a"))

    def changed(**learning):
        after = keys(written(folder, "a", **learning))
        return {n for n in before if n.startswith("train/") and after.get(n) != before[n]}

    trees = {n for n in before if n.startswith("train/") and ".boosting." in n}
    networks = {n for n in before if n.startswith("train/")} - trees
    assert len(trees) == len(networks) == 6
    assert changed(observers=["network"]) == trees  # they are gone, and nothing else is another
    assert changed(boosting={"trees": 11, "voxels": 300, "scales": ["0.4 mm", "0.8 mm"]}) == trees
    assert changed(steps=3) == changed(learning_rate=1e-3) == changed(widths=[32]) == networks
    assert changed(overlap=0.5) == changed(candidates="logits") == set()  # of predictions alone
    assert changed(normalisation="cohort") == changed(metric="dice") == trees | networks


def test_names_of_rows():
    part = LearningPart(arms={"a": ("attenuation",), "b-1": ("noise",)}, observers=("boosting", "network"))
    assert [row.name for row in part.rows] == ["a.boosting", "b-1.boosting", "a", "b-1"]
    assert part.rows[1] == Row("b-1", "boosting")
    for wrong in (("network", "network"), (), ("oracle",)):
        with pytest.raises(ValueError, match="observers"):
            LearningPart(arms={"a": ("attenuation",)}, observers=wrong)


def test_from_python(folder, tmp_path):
    cases = [load_case(folder / "mice" / f"m{n}") for n in range(3)]
    settings = {"observers": ["boosting"], "boosting": LEARNING["boosting"]}
    model = darklung.train(cases[:2], channels=["attenuation"], out=tmp_path, validation=cases[2:], settings=settings)
    found = darklung.predict(model, cases[2])
    assert darklung.evaluate([found], [cases[2]])["metrics"]["auroc"]["value"] > 0.9
    with pytest.raises(DarklungError, match="observers: wanted one, got network, boosting"):
        darklung.train(cases[:2], channels=["noise"], out=tmp_path, settings={"observers": ["network", "boosting"]})
