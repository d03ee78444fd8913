"""Training and prediction: deterministic, survives a kill, learns, and says what is wrong."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from darklung.core.checks import DarklungError
from darklung.learn import train as learning
from darklung.learn.averaging import taken, updated
from darklung.learn.checkpoint import CHECKPOINT_FILE, Earlier, State
from darklung.learn.data import Redraw
from darklung.learn.device import choose_precision
from darklung.learn.predict import OUTSIDE_LOGIT, apply_network, load_model, predict, read_description
from darklung.learn.schedule import patience, validation_steps
from darklung.learn.selection import dice
from darklung.learn.settings import BY_DEFAULT, TrainingPart
from darklung.learn.train import train

KILLED = """
import os, signal, sys
sys.path.insert(0, {folder!r})
from pathlib import Path
from conftest import blob_case
import darklung.learn.train as module
module.CHECKPOINT_SECONDS = 0.0
def progress(share, text):
    if text.startswith("step 5/"):
        module.CHECKPOINT_SECONDS = 1e9
    if text.startswith("step 7/"):
        os.kill(os.getpid(), signal.SIGKILL)
module.train(
    cases_train=[blob_case(i, {shape}) for i in range(2)], cases_validation=[blob_case(9, {shape})],
    channels=("a", "b"), seed=3, scratch=Path({scratch!r}), out=Path({out!r}),
    widths=(16, 32), patch=8, batch=2, steps=10, progress=progress,
)
"""


def options(make_case, tmp_path, name, shape=(20, 24), **changes):
    return {
        "cases_train": [make_case(i, shape) for i in range(2)],
        "cases_validation": [make_case(9, shape)],
        "channels": ("a", "b"),
        "seed": 3,
        "scratch": tmp_path / f"{name}-scratch",
        "out": tmp_path / name,
        "widths": (16, 32),
        "patch": 8,
        "batch": 2,
        "steps": 10,
    } | changes


def weights(folder):
    return load_file(folder / "model.safetensors")


def logged(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def validations(folder):
    return [line for line in logged(folder) if "score" in line]


def same(first, second):
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_networks_compute_on_one_thread_and_others_get_theirs_back(make_case, tmp_path):
    """Sums run in one order everywhere, whatever torch may use."""
    seen = []
    before = torch.get_num_threads()
    hook = register_module_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    torch.set_num_threads(2)
    try:
        train(**options(make_case, tmp_path, "one", steps=2))
        trained = len(seen)
        predict(model_dir=tmp_path / "one", case=make_case(9, (20, 24)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
        hook.remove()
    assert 0 < trained < len(seen)
    assert set(seen) == {1}


def test_a_killed_training_goes_on_to_the_same_weights(make_case, tmp_path):
    shape = (12, 10, 14)
    whole = train(**options(make_case, tmp_path, "whole", shape))
    paths = {"scratch": str(tmp_path / "killed-scratch"), "out": str(tmp_path / "killed")}
    script = KILLED.format(folder=str(Path(__file__).parent), shape=shape, **paths)
    died = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert died.returncode == -9, died.stderr
    assert (tmp_path / "killed-scratch" / CHECKPOINT_FILE).is_file()
    assert not (tmp_path / "killed").exists()
    seen = []
    again = options(make_case, tmp_path, "killed", shape, progress=lambda share, text: seen.append(text))
    train(**again)
    assert seen[0].startswith("network: 72,210 parameters")
    assert seen[1].startswith("step 6/10")  # steps 6 and 7 were lost, so two are done again
    assert same(whole, tmp_path / "killed")
    for name in ("model.json", "metrics.jsonl"):
        assert (whole / name).read_text() == (tmp_path / "killed" / name).read_text()
    assert list((tmp_path / "killed-scratch").iterdir()) == []


def test_a_killed_continuation_goes_on_to_the_same_weights(make_case, tmp_path, monkeypatch):
    first = train(**options(make_case, tmp_path, "first"))
    more = {"steps": 20, "earlier": Earlier(first, "its key")}
    whole = train(**options(make_case, tmp_path, "whole", **more))
    monkeypatch.setattr("darklung.learn.train.CHECKPOINT_SECONDS", 0.0)

    def stop(share, text):
        if text.startswith("step 14/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(**options(make_case, tmp_path, "killed", progress=stop, **more))
    seen = []
    train(**options(make_case, tmp_path, "killed", progress=lambda share, text: seen.append(text), **more))
    assert seen[1].startswith("step 15/20")
    assert same(whole, tmp_path / "killed")
    assert json.loads((whole / "model.json").read_text())["continued_from"] == {"key": "its key", "step": 10}
    assert (whole / "metrics.jsonl").read_text() == (tmp_path / "killed" / "metrics.jsonl").read_text()
    assert not same(whole, train(**options(make_case, tmp_path, "once", steps=20)))


def test_only_the_same_training_with_fewer_steps_is_gone_on_from(make_case, tmp_path):
    first = train(**options(make_case, tmp_path, "first"))

    def begun(name, **changes):
        about = train(**options(make_case, tmp_path, name, earlier=Earlier(first), **changes)) / "model.json"
        return json.loads(about.read_text())["continued_from"]

    assert begun("more", steps=11)["step"] == 10
    assert begun("fewer", steps=9) is None
    assert begun("faster", steps=11, learning_rate=1e-2) is None
    assert begun("others", steps=11, cases_train=[make_case(i, (20, 24)) for i in (0, 7)]) is None
    edited = make_case(1, (20, 24))
    edited.image.data[0, 5, 5] += 1
    assert begun("edited", steps=11, cases_train=[make_case(0, (20, 24)), edited]) is None
    judged = make_case(9, (20, 24))  # the lung that it is normalised by, and what augmentation needs to know
    for name, change in {"lung": judged.target > 0, "energy_kev": 70.0, "directions": (45.0,)}.items():
        assert begun(name, steps=11, cases_validation=[replace(judged, **{name: change})]) is None


def test_the_rate_rises_and_falls_once_more_over_added_steps(make_case, tmp_path, monkeypatch):
    rates = []
    true_rate = learning.rate
    monkeypatch.setattr(learning, "rate", lambda *given: rates.append(true_rate(*given)) or rates[-1])
    first = train(**options(make_case, tmp_path, "first"))
    train(**options(make_case, tmp_path, "more", steps=30, earlier=Earlier(first)))
    assert len(rates) == 30
    assert rates[9] < 0.1 * max(rates)
    assert max(rates[10:]) == max(rates[:10])
    assert np.argmax(rates[10:]) == 1  # two of twenty steps up
    assert rates[29] < 0.02 * max(rates)


def test_redrawn_cases_are_learned_from_and_a_killed_training_draws_the_same_again(make_case, tmp_path, monkeypatch):
    asked = []

    def cases(step):
        asked.append(step)
        return [replace(make_case(100 * step + i), subject=f"m{i}") for i in range(2)]

    changes = {"redraw": Redraw(4, cases)}
    whole = train(**options(make_case, tmp_path, "whole", **changes))
    assert asked == [0, 0, 4, 8]  # once more at first, to tell one training from another
    assert not same(whole, train(**options(make_case, tmp_path, "still")))
    monkeypatch.setattr("darklung.learn.train.CHECKPOINT_SECONDS", 0.0)

    def stop(share, text):
        if text.startswith("step 6/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(**options(make_case, tmp_path, "killed", progress=stop, **changes))
    asked.clear()
    assert same(whole, train(**options(make_case, tmp_path, "killed", **changes)))
    assert asked == [0, 4, 8]
    with pytest.raises(DarklungError, match="redraw: wanted cases of the subjects"):
        train(**options(make_case, tmp_path, "other", redraw=Redraw(4, lambda step: [make_case(7), make_case(8)])))


def test_same_seed_same_weights_other_seed_other_weights(make_case, tmp_path):
    first = train(**options(make_case, tmp_path, "first"))
    torch.manual_seed(77)  # what others draw does not matter
    second = train(**options(make_case, tmp_path, "second"))
    third = train(**options(make_case, tmp_path, "third", seed=4))
    assert same(first, second)
    assert not same(first, third)
    assert torch.initial_seed() == 77


def test_a_broken_or_foreign_checkpoint_is_not_gone_on_from(make_case, tmp_path):
    whole = train(**options(make_case, tmp_path, "whole"))
    scratch = tmp_path / "broken-scratch"
    scratch.mkdir()
    (scratch / CHECKPOINT_FILE).write_bytes(b"PK\x03\x04 not a checkpoint")
    assert same(whole, train(**options(make_case, tmp_path, "broken")))
    other = tmp_path / "other-scratch"
    other.mkdir()
    torch.save({"key": "another training"}, other / CHECKPOINT_FILE)
    assert same(whole, train(**options(make_case, tmp_path, "other")))


@pytest.mark.parametrize("shape", [(20, 24), (14, 12, 16)])
def test_one_case_can_be_learned_by_heart_and_predicted(make_case, tmp_path, shape):
    case = make_case(0, shape, contrast=6.0)
    few = {"cases_train": [case], "cases_validation": [], "steps": 60, "patch": 12, "learning_rate": 1e-2}
    out = train(**options(make_case, tmp_path, "heart", shape, **few))
    logits = predict(model_dir=out, case=case).logits
    assert logits.shape == shape
    assert logits.dtype == np.float32
    score = dice(logits=[logits], targets=[case.target], regions=[case.region], spacing_m=case.image.spacing_m)
    assert score > 0.85
    record = json.loads((out / "model.json").read_text())
    assert record["selected"] == {"by": "last step", "step": 60, "score": None}
    assert record["channels"] == ["a", "b"]


def test_best_validation_state_is_kept_and_written_down(make_case, tmp_path):
    out = train(**options(make_case, tmp_path, "kept", steps=24))
    lines = validations(out)
    chosen = json.loads((out / "model.json").read_text())["selected"]
    best = max(lines, key=lambda line: line["score"])
    good = [line for line in lines if line["score"] >= best["score"] - best["error"]]
    assert chosen == {"by": "tile_auroc", "step": good[-1]["step"], "score": good[-1]["score"]}


def test_the_latest_state_within_one_error_of_the_best_is_kept_and_patience_counts_the_rest():
    state, network = State(), nn.Linear(1, 1)
    kept = []
    for step, (score, error) in enumerate([(0.6, 0.01), (0.9, 0.1), (0.85, 0.2), (0.7, 0.5), (0.75, 0.1)]):
        state.step = step
        state.add_loss(1.0, {"dice": 1.0}, 1e-3)
        state.judge(network, score, error, 2)
        kept.append((state.best_step, state.worse, state.stopped))
    assert kept == [(0, 0, False), (1, 0, False), (2, 0, False), (2, 1, False), (2, 2, True)]


def test_ensemble_is_the_mean_of_logits(make_case, tmp_path):
    folders = [train(**options(make_case, tmp_path, f"fold{s}", seed=s)) for s in (1, 2)]
    case = make_case(5)
    single = [predict(model_dir=f, case=case).logits for f in folders]
    both = predict(model_dir=folders, case=case)
    np.testing.assert_allclose(both.logits, np.mean(single, axis=0), atol=1e-5)
    np.testing.assert_allclose(both.spread, np.std(single, axis=0), atol=1e-4)


@pytest.mark.parametrize("shape", [(5, 30), (17, 9, 13)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_sliding_windows_of_a_pointwise_network_equal_the_network(shape, overlap):
    torch.manual_seed(0)
    network = (nn.Conv2d, nn.Conv3d)[len(shape) - 2](2, 1, 1)
    data = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    got = apply_network(network=network, data=data, region=np.ones(shape, bool), window=(8,) * len(shape), overlap=overlap)
    want = network(torch.from_numpy(data)[None])[0, 0].detach().numpy()
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_windows_without_lung_are_skipped():
    region = np.zeros((32, 32), bool)
    region[:8, :8] = True
    data = np.zeros((1, 32, 32), np.float32)
    got = apply_network(network=nn.Conv2d(1, 1, 1), data=data, region=region, window=(8, 8), overlap=0.0)
    assert (got[8:] == OUTSIDE_LOGIT).all()
    assert (got[:8, :8] != OUTSIDE_LOGIT).all()


def test_what_makes_no_sense_is_refused_in_one_line(make_case, tmp_path):
    def refused(text, **changes):
        with pytest.raises(DarklungError, match=text):
            train(**options(make_case, tmp_path, "bad", **changes))

    healthy = [make_case(i, lesions=0) for i in range(2)]
    refused("no case has a lesion voxel", cases_train=healthy)
    refused("subjects are in cases_train too: m1", cases_validation=[make_case(1)])
    refused("wanted at least one case", cases_train=[])
    refused("m9: spacing", cases_validation=[make_case(9, (12, 12, 12))])
    refused("'d' is not known", channels=("a", "d"))
    refused("steps: wanted", steps=0)
    refused("widths: wanted multiples of 16", widths=(8,))
    refused("network: 'x:y' cannot be imported", network="x:y")
    refused("not both finite", learning_rate=1e30)
    with pytest.raises(DarklungError, match=r"no model of darklung in it \(no model\.json\)"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"normalisation": 3}, "normalisation: input should be"),
        ({"images": [1]}, "images: input should be"),
        ({"channels": "attenuation"}, "channels: input should be a valid tuple"),
        ({"dims": "a"}, "dims: input should be 2 or 3"),
        ({"dims": 10**6}, "dims: input should be 2 or 3"),
        ({"widths": [10**9]}, "widths.0: input should be less than"),
        ({"patch": []}, "patch: tuple should have at least 1"),
        ({"normalisation": {"mean": [0.0], "deviation": "x", "per": "cohort"}}, "normalisation.deviation: input"),
    ],
)
def test_a_description_of_other_types_ends_in_one_line(tmp_path, change, told):
    norm = {"normalisation": {"mean": [0.0], "deviation": [1.0], "per": "cohort"}}
    whole = {"network": "n", "channels": ["a"], "dims": 3, **norm, "widths": [16], "patch": [16]}
    (tmp_path / "model.json").write_text(json.dumps(whole))
    assert read_description(tmp_path) == whole
    (tmp_path / "model.json").write_text(json.dumps({**whole, **change}))
    with pytest.raises(DarklungError, match=told):
        read_description(tmp_path)


EVERYTHING = {
    "network": "swin_unet",
    "network_options": {"detection": True, "deep_supervision": True, "depth": 2},
    "widths": (16, 16, 32),
    "training": TrainingPart.model_validate(
        {
            "terms": {"boundary": {"weight": 0.5, "ramp": 6}},
            "weighting": "uncertainty",
            "averaging": 0.9,
            "augmentation": {"turns": True},
        }
    ),
}


@pytest.mark.parametrize("shape", [(20, 24), (12, 10, 14)])
def test_with_everything_switched_on_a_killed_training_goes_on_to_the_same_weights(shape, make_case, tmp_path, monkeypatch):
    whole = train(**options(make_case, tmp_path, "whole", shape, **EVERYTHING))
    monkeypatch.setattr("darklung.learn.train.CHECKPOINT_SECONDS", 0.0)
    at = int(np.random.default_rng().integers(2, 10))  # any step will do

    def stop(share, text):
        if text.startswith(f"step {at}/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(**options(make_case, tmp_path, "killed", shape, progress=stop, **EVERYTHING))
    again = train(**options(make_case, tmp_path, "killed", shape, **EVERYTHING))
    assert same(whole, again), f"killed at step {at}"
    for name in ("model.json", "metrics.jsonl"):
        assert (whole / name).read_text() == (again / name).read_text()


def test_each_term_its_learned_weight_and_dice_are_logged(make_case, tmp_path):
    out = train(**options(make_case, tmp_path, "logged", **EVERYTHING))
    lines = validations(out)
    names = ["dice", "focal", "boundary", "centre", "diameter", "presence"]
    assert [list(line["terms"]) for line in lines] == [names] * 2
    assert all(set(line["weights"]) == set(names) and 0 <= line["dice"] <= 1 for line in lines)
    assert lines[0]["weights"] != lines[-1]["weights"]
    plain = train(**options(make_case, tmp_path, "plain"))
    for line in logged(plain):
        assert line["loss"] == pytest.approx(sum(w * line["terms"][n] for n, w in zip(names, (1, 1, 0.5))), rel=1e-6)


def test_each_step_is_logged_and_a_validation_has_the_means_since_the_last(make_case, tmp_path):
    lines = logged(train(**options(make_case, tmp_path, "steps", training=TrainingPart(validations=2))))
    steps = [line for line in lines if "score" not in line]
    assert [line["step"] for line in steps] == list(range(1, 11))
    assert [line["learning_rate"] for line in steps] == [learning.rate(BY_DEFAULT, 4e-3, step, 10) for step in range(10)]
    first, second = (line for line in lines if "score" in line)
    assert lines.index(first) == first["step"]  # right after its step
    for mean, since in ((first, steps[: first["step"]]), (second, steps[first["step"] :])):
        assert mean["loss"] == pytest.approx(np.mean([line["loss"] for line in since]), rel=1e-12)
        assert mean["terms"]["focal"] == pytest.approx(np.mean([line["terms"]["focal"] for line in since]), rel=1e-12)


def test_what_a_network_is_and_costs_is_told_first_and_kept(make_case, tmp_path):
    seen = []
    out = train(**options(make_case, tmp_path, "told", progress=lambda share, text: seen.append(text)))
    cost = json.loads((out / "model.json").read_text())["cost"]
    assert cost["parameters"] == sum(v.size for v in weights(out).values())
    assert cost["patch"] == [8, 8]
    assert 0 < cost["field_of_view"] <= cost["reach"] == 8
    assert f"{cost['parameters']:,} parameters, a voxel sees {cost['field_of_view']} of 8" in seen[0]
    assert seen[1].startswith("step 1/10")


def test_averaged_weights_are_the_mean_over_steps():
    network, average, want = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), None, None
    for step in range(30):
        with torch.no_grad():
            for value in network.parameters():
                value.add_(torch.randn(value.shape))
        network(torch.randn(4, 2))
        own = network[0].weight.detach().clone()
        decay = min(0.8, (1 + step) / (10 + step))
        want = own if want is None else decay * want + (1 - decay) * own
        average = updated(average, network, decay=0.8, step=step)
    torch.testing.assert_close(average["0.weight"], want)
    assert int(average["1.num_batches_tracked"]) == 30
    with taken(network, average):
        assert torch.equal(network[0].weight, average["0.weight"])
    assert torch.equal(network[0].weight, own)


def test_a_training_that_gets_worse_stops_before_its_end(make_case, tmp_path, monkeypatch):
    scores = iter(range(100, 0, -1))
    monkeypatch.setattr("darklung.learn.train.score_with_error", lambda **given: (next(scores), 0.0))
    four = {"training": TrainingPart(validations=4)}
    out = train(**options(make_case, tmp_path, "stopped", **four))  # two of four validations were worse
    about = json.loads((out / "model.json").read_text())
    assert (about["steps_done"], about["selected"]["step"]) == (8, 4)
    said = {"training": TrainingPart(validations=10, patience=3)}
    about = json.loads((train(**options(make_case, tmp_path, "asked", **said)) / "model.json").read_text())
    assert (about["steps_done"], about["selected"]["step"]) == (7, 4)  # scored at 4, 5, 6, 7, ... of 10 steps


def test_validations_are_where_they_are_said_to_be():
    assert sorted(validation_steps(BY_DEFAULT, 0, 200)) == [80, 200]
    assert sorted(validation_steps(BY_DEFAULT, 0, 800)) == [320, 480, 640, 800]
    assert sorted(validation_steps(TrainingPart(validations=1), 50, 150)) == [150]
    assert [patience(BY_DEFAULT, n) for n in (200, 1000, 2000, 5000)] == [2, 2, 5, 10]


def test_labels_that_mean_nothing_give_chance(make_case, tmp_path):
    """Lesions marked where nothing is: on other animals the score is that of a coin."""
    scores = []
    for seed in range(4):
        cases = [
            replace(make_case(10 * seed + i, lesions=6), target=make_case(500 + 10 * seed + i).target) for i in range(7)
        ]
        hollow = {"cases_train": cases[:4], "cases_validation": cases[4:], "seed": seed, "steps": 30}
        training = {"training": TrainingPart(validations=1)}
        out = train(**options(make_case, tmp_path, f"shuffled{seed}", **hollow, **training))
        scores.append(validations(out)[0]["score"])
    # 6 lesions against about 150 tiles each: a standard error of about 0.12 of one, 0.06 of the mean of four.
    assert abs(np.mean(scores) - 0.5) < 0.2
    true = train(**options(make_case, tmp_path, "true", steps=30, learning_rate=1e-2, training=TrainingPart(validations=1)))
    assert validations(true)[0]["score"] > 0.9


def test_float32_is_what_a_cpu_computes_in_unless_asked():
    cpu = torch.device("cpu")
    assert choose_precision(cpu) == choose_precision(cpu, "float32") == "float32"
    with pytest.raises(DarklungError, match=r"training.precision: this (cpu does not|network is computed in float32)"):
        choose_precision(cpu, "bfloat16", float32_on_cpu=True)
