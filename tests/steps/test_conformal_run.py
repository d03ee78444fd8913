"""Conformal lists through a whole run: evaluated on held-out animals, and used by ``predict`` with the same ranks."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import darklung
from darklung.commands.cli import app
from darklung.commands.pack import pack_models
from darklung.commands.packed import find_models, models_folder
from darklung.commands.predict import Given, predict_files
from darklung.commands.run import run_study
from darklung.core.checks import DarklungError
from darklung.core.types import Image, Insertion
from darklung.evaluate.conformal import looked_at
from darklung.io.case import CaseFacts, LabelledCase, load_case, save_case
from darklung.io.images import load_image
from darklung.io.tables import load_table
from darklung.study.study import read_study

SHAPE, VOXEL_M = (14, 14, 14), 5e-4
runner = CliRunner()
TRAINING = [f"m{i}" for i in range(9)]


def save(folder, name):
    rng = np.random.default_rng([3, *name.encode()])
    place = tuple(int(i) for i in rng.integers(3, 11, 3))
    instances = np.zeros(SHAPE, np.uint16)
    instances[tuple(slice(i - 1, i + 2) for i in place)] = 1
    data = (rng.normal(size=(1, *SHAPE)) + 3 * (instances > 0)).astype(np.float32)
    image = Image(data, ("attenuation",), ("1/m",), (VOXEL_M,) * 3)
    put = (Insertion(1, "lesion", "solid", image.position_m(place), 1.5e-3),)
    every, labels = np.ones(SHAPE, bool), (instances > 0).astype(np.uint8)
    save_case(folder / name, LabelledCase(image, labels, every, every, instances, ~every, put, CaseFacts(name, name)))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conformal")
    for name in TRAINING:
        save(folder / "known", name)
    for name in ("t1", "t2", "t3"):
        save(folder / "held", name)
    sources = {
        "known": {"from": "cases", "files": ["known/*"]},
        "held": {"from": "cases", "files": ["held/*"], "use": "test"},
    }
    learning = {"arms": {"one": ["attenuation"]}, "widths": [16], "patch": 8, "steps": 4, "batch": 2, "folds": 3}
    evaluation = {"replicates": 100, "tile": "3 mm", "levels": [0.9, 0.8, 0.95]}
    content = {"name": "lists", "sources": sources, "learning": learning, "evaluation": evaluation}
    (folder / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    run_study(folder / "study.yaml", out=folder / "run", workers=1)
    return folder


def test_a_run_tells_what_each_list_promises_reaches_and_costs(ran):
    promises = json.loads((ran / "run/evaluate/all/comparison.json").read_text())["promises"]["one"]
    rows = {(r["unit"], r["level"]): r for r in promises["lists"]}
    assert set(rows) == {(u, level) for u in ("candidates", "tiles") for level in (0.9, 0.8, 0.95)}
    row = rows["candidates", 0.9]
    assert (row["animals"], row["models"], row["lesions"], row["threshold"]) == (9, 3, 3, None)
    assert row["proven"] == pytest.approx(1 - 2 * (0.1 * 10 + 2) / 12)
    found = pd.read_parquet(ran / "run/evaluate/all/candidates.parquet")
    tested = found[found["split"] == "test"]
    assert found["rank"][found["split"] == "validation"].isna().all()
    listed = tested[looked_at(tested["rank"], 0.9)]
    false = (listed["kind"] == "none").sum()
    assert row["found"] == listed[listed["kind"] == "lesion"]["subject"].nunique()
    assert row["false_per_ml"]["value"] == pytest.approx(false / (3 * 14**3 * 1e6 * VOXEL_M**3))
    assert rows["candidates", 0.95]["why"] == "95 % cannot be promised of 9 animals with lesions: 19 are the fewest"
    page = (ran / "run/report/all/report.html").read_text()
    assert "Lists that promise a share of the lesions" in page
    assert "19 are the fewest" in page
    known = promises["lesions"]["candidates"]
    assert sorted(k["fold"] for k in known) == [0, 1, 2]
    assert sum(k["animals"] for k in known) == 9


def test_what_is_predicted_later_is_on_the_lists_that_the_run_judged(ran):
    told = predict_files(ran / "run", ran / "held" / "t2", out=ran / "out", workers=1)
    rows = load_table(ran / "out/findings/t2/candidates")
    judged = pd.read_parquet(ran / "run/evaluate/all/candidates.parquet")
    own = judged[(judged["split"] == "test") & (judged["subject"] == "t2")]
    np.testing.assert_allclose([r["rank"] for r in rows], own["rank"], rtol=1e-6)
    for row in rows:
        on = [f"{100 * level:g} %" for level in (0.9, 0.8) if looked_at(row["rank"], level)]
        assert row["promised"] == ", ".join(on)
    assert told.splitlines()[0].split()[-6:] == ["promise", "90", "%", "promise", "80", "%"]
    assert told.splitlines()[1].split()[-2:] == [str(int(looked_at(own["rank"], level).sum())) for level in (0.9, 0.8)]
    page = (ran / "out/t2.html").read_text()
    assert "The list that promises 90 % of the lesions rests on 9 validation animals" in page
    assert "95 % cannot be promised of 9 animals" in page


def test_a_single_model_of_a_run_promises_nothing_and_averages_mirror_images_on_request(ran):
    model, case = ran / "run/train/one.fold0", ran / "held" / "t1"
    told = predict_files(model, case, out=ran / "single", given=Given(mirror=True), workers=1)
    assert "promise" not in told
    assert "Each prediction is the mean of 8 mirror images, 8 times the time of one." in told
    assert "mean of 8 mirror images" in (ran / "single/t1.html").read_text()
    plain, mean = (darklung.predict(model, load_case(case), mirroring=m).channel("probability") for m in (False, True))
    found = load_image(ran / "single/findings/t1/probability.ome.zarr").channel("probability")
    np.testing.assert_allclose(found, mean, rtol=1e-5)
    assert not np.allclose(mean, plain, rtol=1e-3)
    rows = load_table(ran / "single/findings/t1/candidates")
    assert all(r["rank"] is None or np.isnan(r["rank"]) for r in rows)


def test_mirror_images_that_the_run_did_not_see_take_its_rules_away(ran):
    told = predict_files(ran / "run", ran / "held" / "t1", out=ran / "mirrored", given=Given(mirror=True), workers=1)
    assert "The run did not mirror: its threshold, probabilities and lists hold for other scores" in told
    assert "promise" not in told
    rows = load_table(ran / "mirrored/findings/t1/candidates")
    assert {r["called"] for r in rows} == {None}


def test_a_pack_predicts_what_its_run_predicts_and_is_refused_when_it_is_not_whole(ran, tmp_path):
    pack, case = tmp_path / "pack", ran / "held" / "t3"
    runner.invoke(app, ["pack", str(ran / "run"), "--out", str(pack)], catch_exceptions=False)
    assert not list(pack.rglob("*.zarr"))
    for models, out in ((ran / "run", "first"), (pack, "second")):
        predict_files(models, case, out=tmp_path / out, workers=1)
    first, second = (tmp_path / out / "findings/t3/candidates.csv" for out in ("first", "second"))
    assert first.read_text() == second.read_text()
    assert "Limits" in (pack / "cards/one.md").read_text()
    assert str(tmp_path) not in "".join(f.read_text() for f in pack.rglob("*") if f.suffix in (".md", ".json"))

    with pytest.MonkeyPatch.context() as patch:  # killed on the way: the pack that was there stays
        patch.setattr("darklung.commands.pack._copied", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pack_models(ran / "run", pack)
        with pytest.raises(ZeroDivisionError):
            pack_models(ran / "run", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    predict_files(pack, case, out=tmp_path / "third", dry_run=True)

    content = json.loads((pack / "models.json").read_text())
    content["arms"]["one"]["threshold"] = -9.0
    broken = shutil.copytree(pack, tmp_path / "broken")
    (broken / "models.json").write_text(json.dumps(content))
    with pytest.raises(DarklungError, match=r"models\.json: .*its record has another SHA-256"):
        predict_files(broken, case, out=tmp_path / "third", dry_run=True)
    shutil.rmtree(pack / "train/one.fold1")
    told = r"wanted the models one\.fold0, .* that were packed, got one\.fold0, one\.fold2$"
    with pytest.raises(DarklungError, match=told):
        predict_files(pack, case, out=tmp_path / "third", dry_run=True)


def test_what_cannot_be_packed_is_refused(ran, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    for run, out, arms, told in (
        (ran / "held", "pack", (), "wanted a finished run folder"),
        (ran / "run", "other", (), "holds something else"),
        (ran / "run", "pack", ("two",), "--arm: 'two' is not known; known: one"),
    ):
        with pytest.raises(DarklungError, match=told):
            pack_models(run, tmp_path / out, arms=arms)
    assert (tmp_path / "other" / "mine.txt").read_text() == "mine"


def test_models_that_come_along_are_found_by_name(tmp_path):
    for folder in models_folder().glob("*/models.json"):
        assert find_models(Path(folder.parent.name)) == folder.parent
        study = read_study(folder.parent.with_suffix(".yaml"))
        content = json.loads(folder.read_text())
        assert content["study"] == study.name == folder.parent.name
        assert set(content["arms"]) == set(study.learning.arms)
        for place in folder.parent.glob("train/*"):
            made = json.loads((place / "model.json").read_text())
            assert tuple(made["channels"]) == study.learning.arms[place.name.rpartition(".")[0]]
            assert (made["steps"], made["normalisation"]["per"]) == (study.learning.steps, study.learning.normalisation)
            assert len(made["subjects_train"]) + len(made["subjects_validation"]) == study.sources["mice"].cohort.animals
    with pytest.raises(DarklungError, match="nowhere: no such folder; models that come with darklung: "):
        find_models(Path("nowhere"))
    assert find_models(tmp_path) == tmp_path
