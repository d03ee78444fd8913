"""``darklung train``: networks alone, arm by arm, and trainings that go on with more steps."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file

import darklung
from darklung.commands.run import list_tasks, run_study
from darklung.commands.train import train_study
from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.core.types import Image, Insertion
from darklung.io.case import CaseFacts, LabelledCase, load_case, save_case
from darklung.io.images import load_image

SHAPE = (10, 14, 16)
LEARNING = {
    "arms": {"ct": ["attenuation"], "control": ["noise"]},
    "widths": [16],
    "patch": 8,
    "batch": 1,
    "steps": 6,
    "folds": 3,
}


def save_blob(folder, number):
    """A case with one bright ball."""
    rng = stream(number, "blob")
    at = np.array([rng.uniform(3, n - 3) for n in SHAPE]).reshape(3, 1, 1, 1)
    ball = ((np.indices(SHAPE) - at) ** 2).sum(axis=0) < 5
    data = rng.normal(size=(2, *SHAPE)) + np.stack([4 * ball, 0 * ball])
    everywhere = np.ones(SHAPE, bool)
    save_case(
        folder,
        LabelledCase(
            channels=Image(data.astype(np.float32), ("attenuation", "noise"), ("1/m", "1/m"), (3e-4,) * 3),
            labels=ball.astype(np.uint8),
            lung=everywhere,
            region=everywhere,
            instances=ball.astype(np.uint16),
            hard=np.zeros(SHAPE, bool),
            insertions=(Insertion(1, "lesion", "solid", (0.0, 0.0, 0.0), 1e-3),),
            about=CaseFacts(f"m{number}", f"m{number}"),
        ),
    )


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("animals")
    for number in range(4):
        save_blob(folder / f"m{number}", number)
    return folder


@pytest.fixture
def write(animals, tmp_path):
    def study(**learning):
        sources = {"mice": {"from": "cases", "files": [str(animals / "m*")]}}
        content = {"name": "s", "seed": 2, "sources": sources, "learning": {**LEARNING, **learning}}
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return tmp_path / "study.yaml"

    return study


def model(folder, name="ct.fold0"):
    return json.loads((folder / "train" / name / "model.json").read_text())


def weights(folder, name="ct.fold0"):
    return load_file(folder / "train" / name / "model.safetensors")


def history(folder, name="ct.fold0"):
    return [json.loads(line) for line in (folder / "train" / name / "metrics.jsonl").read_text().splitlines()]


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[k], second[k]) for k in first)


def test_one_arm_is_trained_and_nothing_of_the_others_is_lost(write, tmp_path):
    path, folder = write(), tmp_path / "run"
    train_study(path, out=folder, arms=["control"], workers=1)
    told = train_study(path, out=folder, arms=["ct"], workers=1)
    assert [line.split()[:3] for line in told.splitlines()[1:4]] == [["ct", str(k), "6"] for k in range(3)]
    assert {f.name for f in (folder / "train").iterdir()} == {f"{a}.fold{k}" for a in ("ct", "control") for k in range(3)}
    assert not (folder / ".superseded").exists()
    assert not (folder / "predict").exists()
    todo = [line.split()[-1] for line in list_tasks(path, out=folder).splitlines() if line.startswith("to do")]
    assert todo
    assert not [name for name in todo if name.startswith(("train", "cases"))]
    listed = train_study(path, out=folder, arms=["ct"], dry_run=True).splitlines()
    assert [line for line in listed if "control" in line or "predict" in line] == []
    assert re.match(
        r"ct: network: [\d,]+ parameters, a voxel sees \d+ of \d+ along each axis, \d+ MiB, .* s a step$", listed[0]
    )
    assert listed[-1].startswith("0 of 7 tasks to do")
    with pytest.raises(DarklungError, match="arm: 'mri' is not known; known: control, ct"):
        train_study(path, out=folder, arms=["mri"])


@pytest.mark.parametrize("said", ["by the command", "in the file"])
def test_more_steps_go_on_from_what_was_trained(write, tmp_path, said):
    path, folder = write(), tmp_path / "run"
    train_study(path, out=folder, arms=["ct"], workers=1)
    key = json.loads((folder / "train/ct.fold0/record.json").read_text())["key"]
    short, before = weights(folder), history(folder)
    assert model(folder)["continued_from"] is None
    shutil.copytree(folder, tmp_path / "again")
    for place in (folder, tmp_path / "again"):
        changes = {"steps": 15} if said == "by the command" else {}
        told = train_study(path if changes else write(steps=15), out=place, arms=["ct"], changes=changes, workers=1)
        assert told.splitlines()[1].split()[2:4] == ["15", "6"]
        assert ("write there under learning: steps: 15" in told) == bool(changes)
    assert model(folder)["continued_from"] == {"key": key, "step": 6}
    assert model(folder)["steps_done"] == 15
    assert same(weights(folder), weights(tmp_path / "again"))
    assert not same(weights(folder), short)
    assert history(folder)[: len(before)] == before
    assert history(folder)[len(before)]["step"] > 6
    train_study(write(), out=tmp_path / "once", arms=["ct"], changes={"steps": 15}, workers=1)
    assert model(tmp_path / "once")["continued_from"] is None
    assert not same(weights(folder), weights(tmp_path / "once"))


def test_a_run_goes_on_from_it_too(write, tmp_path):
    train_study(write(), out=tmp_path / "run", workers=1)
    run_study(write(steps=9), out=tmp_path / "run", workers=1)
    begun = {model(tmp_path / "run", f"{a}.fold{k}")["continued_from"]["step"] for a in ("ct", "control") for k in range(3)}
    assert begun <= {5, 6}  # one that got worse twice stopped a step early


def test_set_aside_with_its_arm_it_is_still_gone_on_from(write, tmp_path):
    path, folder = write(), tmp_path / "run"
    train_study(path, out=folder, arms=["ct"], workers=1)
    train_study(write(arms={"control": ["noise"]}), out=folder, workers=1)
    assert not (folder / "train/ct.fold0").exists()
    train_study(write(steps=9), out=folder, arms=["ct"], workers=1)
    assert model(folder)["continued_from"]["step"] == 6


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"steps": 9}, {}),
        ({"keep_state": False}, {"steps": 9}),
        ({}, {"steps": 9, "learning_rate": 1e-3}),
        ({}, {"steps": 9, "patch": 10}),
    ],
)
def test_other_trainings_begin_anew(write, tmp_path, first, then):
    train_study(write(), out=tmp_path / "run", arms=["ct"], changes=first, workers=1)
    state = tmp_path / "run/train/ct.fold0/checkpoint.pt"
    assert state.is_file() == first.get("keep_state", True)
    train_study(write(), out=tmp_path / "run", arms=["ct"], changes=then, workers=1)
    assert model(tmp_path / "run")["continued_from"] is None
    train_study(write(), out=tmp_path / "new", arms=["ct"], changes=then, workers=1)
    assert same(weights(tmp_path / "run"), weights(tmp_path / "new"))


def test_an_edited_network_begins_anew(write, tmp_path):
    plugin = tmp_path / "my_small_network.py"
    text = "from darklung.learn.unet import residual_attention_unet\n\n\ndef net(*, channels, dims, widths):\n"
    plugin.write_text(text + "    return residual_attention_unet(channels=channels, dims=dims, widths=widths)\n")
    change = {"network": "my_small_network:net"}
    train_study(write(), out=tmp_path / "run", arms=["ct"], changes=change, workers=1)
    plugin.write_text(plugin.read_text() + "# another thought\n")
    train_study(write(), out=tmp_path / "run", arms=["ct"], changes={**change, "steps": 9}, workers=1)
    assert model(tmp_path / "run")["continued_from"] is None


def test_a_state_that_is_no_longer_kept_costs_no_training(write, tmp_path):
    train_study(write(), out=tmp_path / "run", arms=["ct"], workers=1)
    before = weights(tmp_path / "run")
    train_study(write(), out=tmp_path / "run", arms=["ct"], changes={"keep_state": False}, workers=1)
    assert not (tmp_path / "run/train/ct.fold0/checkpoint.pt").exists()
    assert same(before, weights(tmp_path / "run"))
    assert model(tmp_path / "run")["continued_from"] is None


def test_a_kept_state_runs_nothing_when_it_is_read(write, tmp_path):
    """A pickle in its place is not opened, and the training begins anew."""
    train_study(write(), out=tmp_path / "run", arms=["ct"], workers=1)

    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    torch.save({"key": Evil()}, tmp_path / "run/train/ct.fold0/checkpoint.pt")
    train_study(write(), out=tmp_path / "run", arms=["ct"], changes={"steps": 9}, workers=1)
    assert not (tmp_path / "touched").exists()
    assert model(tmp_path / "run")["continued_from"] is None
    assert model(tmp_path / "run", "ct.fold1")["continued_from"]["step"] == 6


def test_a_change_is_checked_as_in_the_file(write, tmp_path):
    with pytest.raises(DarklungError, match=re.escape("learning.stepps")):
        train_study(write(), out=tmp_path / "run", changes={"stepps": 4})
    with pytest.raises(DarklungError, match=r"learning\.folds"):
        train_study(write(), out=tmp_path / "run", changes={"folds": 9})
    path = write()
    path.write_text(yaml.safe_dump({k: v for k, v in yaml.safe_load(path.read_text()).items() if k != "learning"}))
    with pytest.raises(DarklungError, match="learning: wanted what is to be trained, got none"):
        train_study(path, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_python_goes_on_in_the_same_way(animals, tmp_path):
    cases = [load_case(animals / f"m{n}") for n in range(4)]
    said = {"channels": ["attenuation"], "validation": cases[3:], "settings": {"widths": [16], "patch": 8, "batch": 1}}
    for place, all_steps in (("one", (6, 9)), ("two", (6, 9)), ("once", (9,))):
        for steps in all_steps:
            darklung.train(cases[:3], out=tmp_path / place, steps=steps, **said)
    about = {p: json.loads((tmp_path / p / "model.json").read_text()) for p in ("one", "once")}
    assert about["one"]["continued_from"]["step"] == 6
    assert about["once"]["continued_from"] is None
    one, two, once = (load_file(tmp_path / p / "model.safetensors") for p in ("one", "two", "once"))
    assert same(one, two)
    assert not same(one, once)


def test_where_candidates_come_from_costs_predictions_and_no_training(write, tmp_path, monkeypatch):
    heads = {"arms": {"ct": ["attenuation"]}, "network_options": {"detection": True}}
    folder = tmp_path / "run"
    run_study(write(**heads), out=folder, workers=1)
    kept, seen = weights(folder), load_images(folder)
    assert all(image.names == ("logit", "logit_spread", "centre", "diameter") for image in seen.values())
    monkeypatch.setattr("darklung.learn.train._step", None)  # not a step more is trained
    run_study(write(**heads, candidates="logits"), out=folder, workers=1)
    assert all(np.array_equal(a, kept[n]) for n, a in weights(folder).items())
    again = load_images(folder)
    assert all(image.names == ("logit", "logit_spread") for image in again.values())
    for name, image in again.items():
        np.testing.assert_array_equal(image.channel("logit"), seen[name].channel("logit"))
    with pytest.raises(DarklungError, match=r"learning: training.terms: centre need a network with detection heads"):
        list_tasks(write(training={"terms": {"centre": 2}}), out=folder)
    with pytest.raises(DarklungError, match=r"learning.training.terms.hausdorff.*input should be"):
        list_tasks(write(training={"terms": {"hausdorff": 1}}), out=folder)


def load_images(folder):
    return {str(p.relative_to(folder)): load_image(p) for p in sorted(folder.glob("predict/*/*.logits.ome.zarr"))}


def test_a_finished_training_is_tracked_without_a_step_more(write, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    path, folder = write(), tmp_path / "run"
    train_study(path, out=folder, arms=["ct"], workers=1)
    before = weights(folder)
    monkeypatch.setattr("darklung.learn.train._step", None)
    told = train_study(path, out=folder, arms=["ct"], changes={"training.tracking": ["tensorboard"]}, workers=1)
    assert told.splitlines()[1].split()[2:4] == ["6", "0"]
    assert told.endswith("write there under learning: training.tracking: ['tensorboard']")
    assert same(before, weights(folder))
    assert len(list((folder / "train/ct.fold0/tracking/tensorboard").iterdir())) == 1
