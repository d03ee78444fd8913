"""Studies of labelled cases, run for real: folds that test each other, names, arms that go, and what an edit makes due."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from darklung.commands.chosen import How, _of_run
from darklung.commands.predict_rules import Rule
from darklung.commands.run import list_tasks, run_study
from darklung.commands.train import train_study
from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.core.types import Image, Insertion
from darklung.io.case import CaseFacts, LabelledCase, save_case
from darklung.steps.card.run import about_run
from darklung.steps.scoring.finished import open_run

SHAPE, VOXEL_M = (14, 14, 14), 5e-4


def save(folder, name):
    """Two bright lesions in noise."""
    rng = stream(3, name)
    grid = np.indices(SHAPE)
    instances = np.zeros(SHAPE, np.uint16)
    put = []
    for number, at in enumerate(([4, 4, 4], [10, 9, 8]), start=1):
        instances[((grid - np.reshape(at, (3, 1, 1, 1))) ** 2).sum(axis=0) < 5] = number
        center = tuple((a - (n - 1) / 2) * VOXEL_M for a, n in zip(at, SHAPE))
        put.append(Insertion(number, "lesion", "solid", center, 2e-3))
    data = rng.normal(size=(2, *SHAPE)) + 3 * (instances > 0)
    image = Image(data.astype(np.float32), ("attenuation", "dark_field"), ("1/m",) * 2, (VOXEL_M,) * 3)
    every, labels = np.ones(SHAPE, bool), (instances > 0).astype(np.uint8)
    save_case(folder / name, LabelledCase(image, labels, every, every, instances, ~every, tuple(put), CaseFacts(name, name)))


def write(folder, file="study.yaml", **learning):
    arms = {"a-fold0-test": ["attenuation"], "both": ["attenuation", "dark_field"]}
    part = {"arms": arms, "widths": [16], "patch": 8, "steps": 2, "batch": 2, **learning}
    content = {"name": "one", "sources": {"cases": {"from": "cases", "files": ["cases/*"]}}, "learning": part}
    content["evaluation"] = {"replicates": 100, "tile": "3 mm"}
    (folder / file).write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / file


def due(path, out):
    return {line.split()[-1] for line in list_tasks(path, out=out).splitlines() if line.startswith("to do")}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases-study")
    for name in ("m1", "m2", "m3"):
        save(folder / "cases", name)
    run_study(write(folder), out=folder / "run", workers=1)
    return folder


def test_without_test_animals_the_folds_test_each_other_and_the_report_comes(ran):
    comparison = json.loads((ran / "run/evaluate/all/comparison.json").read_text())
    for split in ("validation", "test"):
        for arm in comparison["arms"]:
            assert comparison["results"][split][arm]["n"]["subjects"] == 3
    assert (ran / "run/report.html").is_file()


def test_an_arm_named_like_another_part_of_a_tasks_name_is_an_arm(ran):
    comparison = json.loads((ran / "run/evaluate/all/comparison.json").read_text())
    assert comparison["arms"] == ["a-fold0-test", "both"]
    assert due(write(ran), ran / "run") == set()


def test_a_change_of_learning_leaves_the_cases(ran):
    todo = due(write(ran, steps=3), ran / "run")
    assert {name.split("/")[0] for name in todo} == {"train", "predict", "evaluate", "report"}


def test_options_of_the_loss_are_part_of_what_was_trained(ran):
    (ran / "own_loss.py").write_text(
        "def loss(logits, target, distance, region, *, weight=1.0): return weight * logits.mean()\n"
    )
    path = write(ran, loss="own_loss:loss", loss_options={"weight": 2.0})
    first = list_tasks(path, out=ran / "other")
    assert "train/both.fold0" in first
    from darklung.commands.run import opened
    from darklung.pipeline import task_keys

    keys = []
    for weight in (2.0, 3.0):
        with opened(write(ran, loss="own_loss:loss", loss_options={"weight": weight})) as (_, made):
            keys.append(task_keys(made.tasks))
    changed = {name for name in keys[0] if keys[0][name] != keys[1][name]}
    assert {name.split("/")[0] for name in changed} == {"train", "predict", "evaluate", "report"}


def test_another_study_of_the_same_name_does_not_overwrite_this_one(ran):
    before = (ran / "run/report.html").read_bytes()
    other = write(ran, "other.yaml", steps=1)
    write(ran)
    for refuse in (list_tasks, run_study):
        with pytest.raises(
            DarklungError, match=r"run: belongs to the study .*study.yaml; run .*other.yaml with another --out"
        ):
            refuse(other, out=ran / "run")
    assert (ran / "run/report.html").read_bytes() == before


def test_outputs_of_an_arm_that_was_removed_cannot_be_taken_for_current_ones(ran):
    run_study(write(ran, arms={"both": ["attenuation", "dark_field"]}), out=ran / "run", workers=1)
    assert {p.name.split(".")[0] for p in (ran / "run/train").iterdir()} == {"both"}
    assert {p.name.split(".")[0] for p in (ran / "run/predict").iterdir()} == {"both"}
    assert list((ran / "run/.superseded/train").glob("a-fold0-test.fold0.*"))


def split_study(folder, file="study.yaml", held=("h2",), held_animals=None, **learning):
    """Three animals to learn from, and others that are held out."""
    content = yaml.safe_load(write(folder, file, arms={"both": ["attenuation", "dark_field"]}, **learning).read_text())
    files = [f"held/{name}" for name in held]
    subjects = {name: {"animal": animal} for name, animal in (held_animals or {}).items()}
    content["sources"]["held"] = {"from": "cases", "files": files, "use": "test", "subjects": subjects}
    (folder / file).write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / file


@pytest.fixture(scope="module")
def trained_anew(tmp_path_factory):
    """A finished run whose models were then trained for longer, and nothing else."""
    folder = tmp_path_factory.mktemp("trained-anew")
    for name in ("cases/m1", "cases/m2", "cases/m3", "held/h2", "held/m1late"):
        save(folder / name.split("/")[0], name.split("/")[1])
    out = folder / "run"
    run_study(split_study(folder, overlap=0.5), out=out, workers=1)
    kept = _of_run(out)
    train_study(split_study(folder, steps=3), out=out, workers=1)
    return out, kept


def test_an_animal_is_not_trained_on_and_held_out(trained_anew):
    folder = trained_anew[0].parent
    path = split_study(folder, "leak.yaml", held=("h2", "m1late"), held_animals={"m1late": "m1"})
    with pytest.raises(DarklungError, match=r"animal m1 is trained on \(m1\) and held out \(m1late\)"):
        list_tasks(path, out=folder / "leak")
    assert "cases/m1late" in list_tasks(split_study(folder, "leak.yaml", held=("h2", "m1late")), out=folder / "leak")


def test_what_a_run_found_of_its_models_is_not_said_of_others(trained_anew):
    out, (before,) = trained_anew
    assert before.rule.threshold is not None
    assert before.notes == ()
    (now,) = _of_run(out)
    assert now.rule == Rule(tile_m=before.rule.tile_m) or now.rule == Rule()
    assert "made of another train/both.fold" in now.notes[0]
    for refuse in (about_run, open_run):
        with pytest.raises(DarklungError, match=r"evaluate/all: was made of another train/both.fold.* run makes it anew"):
            refuse(out)


def test_models_are_applied_as_the_run_applied_them_whatever_its_study_says_now(trained_anew):
    out, (before,) = trained_anew
    assert before.how == How(overlap=0.5)
    assert yaml.safe_load((out / "study.yaml").read_text())["learning"]["overlap"] == 0.25
    assert _of_run(out)[0].how == before.how


def test_an_insertion_that_nothing_takes_is_refused(ran):
    content = yaml.safe_load(write(ran, "nothing.yaml").read_text())
    (ran / "nothing.yaml").write_text(yaml.safe_dump({**content, "insertion": {"lesions": 2}}))
    with pytest.raises(DarklungError, match="insertion: nothing takes it; sources of frames, projections"):
        list_tasks(ran / "nothing.yaml", out=ran / "nothing")
