"""``darklung card`` of a model alone, of a run's row and of trees; and what it refuses, in one line."""

import hashlib
import json
import math
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

import darklung
from darklung.commands.cli import app
from darklung.core.checks import DarklungError
from darklung.learn.layers import activations_in, layers_of
from darklung.pipeline.artefacts import note
from darklung.pipeline.record import write_json, write_record
from darklung.publish.card import Card
from darklung.publish.head import read_head
from darklung.publish.markdown import markdown
from darklung.steps.card.make import check_out, make_card, refusals, write_card
from darklung.steps.card.model import OPTIMIZER

SMALL = {"widths": [16, 16], "patch": 8, "batch": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    mouse = darklung.make_mouse(seed=1, voxel_m=600e-6, lesions=[("solid", 3e-3)])
    values = 20 * mouse.density.sum(axis=0, keepdims=True).astype(np.float32)
    image = darklung.Image(values, ("attenuation",), ("1/m",), (mouse.voxel_m,) * 3)
    case = darklung.make_case(image, mouse, subject="m1", region=mouse.lobes > 0)
    return darklung.train([case], channels=["attenuation"], out=tmp_path_factory.mktemp("model"), steps=2, settings=SMALL)


def recorded(folder, **more):
    """A folder as a task leaves it."""
    files = {p.name: p for p in folder.iterdir() if p.name != "record.json"}
    write_record(folder / "record.json", {"key": f"key of {folder.name}", "outputs": note(files), **more})


def case(folder, name, source, *, animal="", synthetic=True, site=""):
    about = {"darklung_case": 1, "subject": name, "animal": animal or name, "time_point": "", "site": site, "source": source}
    folder.mkdir(parents=True)
    write_json(folder / "case.json", {**about, "synthetic": synthetic, "provenance": {}, "insertions": []})


def result(value, animals):
    interval = {"value": value, "low": value - 0.1, "high": value + 0.05}
    rows = [{"animal": name} for name in animals]
    fold = {"fold": 0, "animals": 1, "sensitivity": interval, "specificity": interval}
    counts = {"subjects": len(animals), "positives": 3, "negatives": 50}
    return {"n": counts, "metrics": {"auroc": interval}, "by_animal": rows, "by_fold": [fold], "threshold": -0.25}


@pytest.fixture
def run(model, tmp_path):
    """Two folds of one arm, its trees, three animals: one learned from, two tested."""
    folder = tmp_path / "run"
    for fold, seconds in ((0, 3.0), (1, 4.5)):
        place = folder / "train" / f"a|b.fold{fold}"
        shutil.copytree(model, place)
        rewrite(place / "model.json", lambda d, side=3 + 4 * fold: d["cost"].update(field_of_view=side))
        recorded(place, processor_s=seconds, wall_s=9.0, environment={"versions": {"torch": "2"}})
    trees(folder / "train" / "a|b.boosting.fold0")
    for name, source in (("m1", "mice"), ("t1", "mice"), ("t2", "lobes"), ("unused", "mice")):
        case(folder / "cases" / name, name, source, animal="T1" if name == "t1" else "")
    rows = {"a|b": result(0.75, ["T1", "t2"]), "a|b.boosting": result(0.5, ["T1", "t2"])}
    site = {"split": "test", "site": "north", "seen": False, "results": {"a|b": result(0.625, ["t2"])}}
    settings = {"specificity": 0.95, "seed": 3}
    place = folder / "evaluate" / "all"
    place.mkdir(parents=True)
    told = {"arms": list(rows), "metrics": {"auroc": "AUROC"}, "results": {"validation": rows, "test": rows}}
    write_json(place / "comparison.json", {**told, "by_site": [site], "settings": settings})
    recorded(place)
    origins = {
        "mice": {"from": "simulation", "body": {"atlas": {"file": "/data/atlas.h5"}}},
        "lobes": {"from": "simulation"},
    }
    about_run(folder, origins)
    return folder


def about_run(folder, sources):
    tasks = [{"task": f"train/a|b.fold{i}", "key": "k"} for i in (0, 1)]
    told = {"format": 2, "name": "study", "seed": 5, "study": {"sources": sources}, "tasks": tasks, "total_task_s": 18.0}
    write_record(folder / "run.json", told)


def trees(folder):
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"trees")
    about = {
        "observer": "boosting", "channels": ["attenuation"], "dims": 3, "scales_m": [2e-4, 4e-4], "trees": 40, "leaves": 7,
        "normalisation": {"mean": [1.0], "deviation": [2.0], "per": "cohort"}, "learning_rate": 0.1, "seed": 11,
        "selected": {"step": 24, "score": 0.9}, "subjects_train": ["m1"], "images": {"beams": [[70.0, 3e-6]]},
        "weights_sha256": hashlib.sha256(b"trees").hexdigest(),
    }  # fmt: skip
    write_json(folder / "model.json", about)


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_layers_and_parameters_are_those_of_the_weights(model):
    weights = load_file(model / "model.safetensors")
    found = make_card(model).architecture
    assert found.parameters == sum(w.size for w in weights.values())
    convolutions = found.layers["Conv3d"] + found.layers["PointConvolution3d"]
    assert convolutions == sum(w.ndim == 5 for w in weights.values())
    assert found.activations == ("LeakyReLU",)
    own = json.loads((model / "model.json").read_text())
    assert layers_of({**own, "network": "their.module:function"}) is None
    assert layers_of({**own, "network_options": {"norm": "none"}}) is None
    assert activations_in({"Conv3d": 2, "GELU": 1, "MultiheadAttention": 1}) == ("GELU",)


def test_a_model_without_a_run_says_what_is_not_known(model):
    card = make_card(model)
    assert card.run is None
    assert card.evaluation is None
    assert card.data.sources is None
    assert card.members[0].training == ("m1",)
    assert card.members[0].environment["versions"]["torch"]
    text = markdown(card)
    for told in (
        "Nothing is known of how well it does",
        "whether any was measured is not known",
        "No evaluation of it is known",
    ):
        assert told in text
    assert read_head(text).model_index is None
    assert card.training.optimizer == OPTIMIZER
    assert card.training.terms == {"dice": 1.0, "focal": 1.0, "boundary": 0.5}


def test_the_card_of_a_row_has_the_figures_of_its_run(run, tmp_path):
    card = make_card(run, arm="a|b", license="mit")
    assert [m.name for m in card.members] == ["a|b.fold0", "a|b.fold1"]
    assert [m.processor_s for m in card.members] == [3.0, 4.5]
    assert card.architecture.field_of_view == (3, 7)
    mice, lobes = sorted(card.data.sources, key=lambda s: s.name != "mice")
    assert (mice.learned, mice.tested, mice.names) == (1, 1, ("T1", "m1"))
    assert (lobes.learned, lobes.tested) == (0, 1)
    assert card.ethics.simulated == 3
    assert "atlas.h5" in card.ethics.statement[-1]
    assert card.run.processor_s == 7.5
    paths = write_card(card, tmp_path / "new" / "card.md")
    text = paths[0].read_text()
    for told in (
        "# study: a\\|b",
        "0.750 (0.650 to 0.800)",
        "test, north, held out",
        "0.625 (0.525 to 0.675)",
        "7.5 s",
        "mit",
    ):
        assert told in text
    assert Card.model_validate_json(paths[1].read_text()) == card
    assert [m.value for m in read_head(text).model_index[0].results[1].metrics] == [0.75]
    assert markdown(make_card(run, arm="a|b", license="mit")) == text


def test_a_fold_alone_and_trees_have_cards_too(run):
    alone = make_card(run / "train" / "a|b.fold1")
    assert alone.name == "study: a|b.fold1"
    assert "this one alone was not judged" in alone.evaluation.scope
    boosted = make_card(run, arm="a|b.boosting")
    assert boosted.architecture.features > 2
    assert boosted.architecture.scales_um == (200.0, 400.0)
    assert boosted.training.trees == 40
    assert boosted.members[0].kept_step == 24
    assert boosted.evaluation.splits[0].whole.measures[0].value == 0.5
    assert any("in another unit" in text for text in boosted.limits)
    assert not any("in another unit" in text for text in alone.limits)


def test_what_predict_refuses_is_told_by_the_same_bounds():
    from darklung.learn.fits import why_not

    own = {"dims": 3, "channels": ["a"], "normalisation": {"per": "cohort"}}
    own["images"] = {"spacing_m": [1e-4] * 3, "units": {"a": "1/m"}, "beams": [[70.0, None]]}
    good = {"spacing_m": [1e-4] * 3, "units": {"a": "1/m"}, "beam": (70.0, None)}
    bad = [{"spacing_m": [1e-4] * 2}, {"units": {}}, {"spacing_m": [1.03e-4] * 3}, {"beam": (72.0, None)},
           {"beam": (None, None)}, {"units": {"a": "1/cm"}}]  # fmt: skip
    assert why_not(own, **good) == ""
    assert all(why_not(own, **{**good, **change}) for change in bad)
    assert len(refusals(own)) == len(bad)
    assert len(refusals({**own, "images": {}, "normalisation": {"per": "volume"}})) == 2


def test_measured_animals_ask_for_an_approval(run, tmp_path):
    about_run(run, {"mice": {"from": "simulation"}, "lobes": {"from": "lobes"}})
    call = ["card", str(run), "--arm", "a|b", "--out", str(tmp_path / "c.md")]
    told = CliRunner().invoke(app, call)
    assert told.exit_code == 0
    assert "since 1 animal(s) were measured: approval, justification" in told.output
    given = tmp_path / "ethics.yaml"
    given.write_text("justification: because\n")
    with pytest.raises(DarklungError, match=r"ethics.yaml: approval: wanted .*1 measured animal\(s\).*\(lobes\), got ''"):
        make_card(run, arm="a|b", ethics=given)
    given.write_text("approval: ROB-55.2-1\nwelfarre: x\n")
    with pytest.raises(DarklungError, match="welfarre: unknown key"):
        make_card(run, arm="a|b", ethics=given)
    given.write_text("approval: ROB-55.2-1\narrive: {blinding: readers did not know}\n")
    text = markdown(make_card(run, arm="a|b", ethics=given))
    assert "ROB-55.2-1" in text
    assert "readers did not know" in text
    assert (tmp_path / "c.md.record.json").is_file()


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        ("train/a|b.fold1/model.safetensors", "is not what was trained"),
        ("train/a|b.fold0/model.json", "is not what was written"),
        ("train/a|b.fold0/metrics.jsonl", "is not what was written"),
        ("train/a|b.fold0/record.json", "is not what was written"),
        ("evaluate/all/comparison.json", "is not what was written"),
        ("run.json", "is not what was written"),
    ],
)
def test_files_that_were_changed_make_no_card(run, place, wanted):
    content = (run / place).read_bytes()
    (run / place).write_bytes(content.replace(b"1", b"2") if b"1" in content else content + b" ")
    with pytest.raises(DarklungError, match=wanted) as caught:
        make_card(run, arm="a|b")
    assert "\n" not in str(caught.value)


def test_folds_of_different_trainings_and_arms_that_are_not_there_are_refused(run):
    place = run / "train" / "a|b.fold1"
    rewrite(place / "model.json", lambda d: d.update(learning_rate=0.5))
    recorded(place)
    with pytest.raises(DarklungError, match="hyper-parameters are not those of"):
        make_card(run, arm="a|b")
    for arm in ("", "c"):
        with pytest.raises(DarklungError, match=r"--arm: wanted one of a\|b\.boosting, a\|b, got "):
            make_card(run, arm=arm)
    with pytest.raises(DarklungError, match=r"wanted a folder with model\.json, or a run"):
        make_card(run / "cases")
    with pytest.raises(DarklungError, match="is a model of a"):
        make_card(place, arm="c")


def test_a_card_is_written_over_nothing_but_a_card(run, tmp_path):
    before = (run / "train" / "a|b.fold0" / "model.json").read_bytes()
    call = ["card", str(run), "--arm", "a|b", "--out", str(run / "train" / "a|b.fold0" / "model.md")]
    assert isinstance(CliRunner().invoke(app, call).exception, DarklungError)
    assert (run / "train" / "a|b.fold0" / "model.json").read_bytes() == before
    with pytest.raises(DarklungError, match=r"ends in \.md"):
        check_out(tmp_path / "card.txt")
    write_card(make_card(run, arm="a|b"), tmp_path / "card.md")
    check_out(tmp_path / "card.md")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(seed="seven"),
        lambda d: d.update(training={"terms": 3}),
        lambda d: d.update(selected=[1]),
        lambda d: d.update(images={"beams": [["x"]]}),
        lambda d: d["normalisation"].update(mean=[1, 2]),
        lambda d: d.update(subjects_train=3),
        lambda d: d.update(cost=[1]),
    ],
)
def test_a_description_that_makes_no_sense_is_one_line(model, tmp_path, change):
    shutil.copytree(model, tmp_path / "m")
    rewrite(tmp_path / "m" / "model.json", change)
    with pytest.raises(DarklungError, match=r"model\.json|/m: "):
        make_card(tmp_path / "m")


def test_hostile_names_and_numbers_do_no_harm(model, tmp_path):
    shutil.copytree(model, tmp_path / "m")
    name = "x | <script>`\n# y\ud800"
    rewrite(tmp_path / "m" / "model.json", lambda d: d.update(subjects_train=[name], learning_rate=math.nan))
    out = write_card(make_card(tmp_path / "m"), tmp_path / "card.md")
    text = out[0].read_text()
    assert "<script>" not in text
    assert "x \\| &lt;script&gt;\\` \\# y?" in text
    assert "| highest learning rate | not known |" in text


def test_half_a_character_in_the_name_of_an_animal_is_written_as_a_question(run, tmp_path):
    rewrite(run / "cases" / "m1" / "case.json", lambda d: d.update(animal="m\ud8001", site="a|\ud800"))
    text = write_card(make_card(run, arm="a|b"), tmp_path / "card.md")[0].read_text()
    assert "a\\|?" in text


def test_lesions_in_a_measured_scan_leave_its_animal_a_measured_one(run):
    case(run / "cases" / "scan7-000", "scan7-000", "scan7", animal="T1")
    (run / "cohort" / "all").mkdir(parents=True)
    rows = [{"subject": "scan7-000", "source": "scans"}]
    about_run(run, {"mice": {"from": "simulation"}, "lobes": {"from": "simulation"}, "scans": {"from": "frames"}})
    before = {s.name: s.animals for s in make_card(run, arm="a|b").data.sources}
    recorded(run / "cohort" / "all", parameters={"rows": rows})
    found = {s.name: (s.animals, s.synthetic) for s in make_card(run, arm="a|b").data.sources}
    assert before["scan7"] == "not known"
    assert found["scans"] == ("measured", True)


def test_a_card_in_the_folder_of_its_run_is_noted_there(run):
    call = ["card", str(run), "--arm", "a|b", "--out", str(run / "card.md")]
    for _ in range(2):
        assert CliRunner().invoke(app, call).exit_code == 0
    assert {"card.md", "card.json"} <= set(json.loads((run / "run.json").read_text())["files"])
    assert make_card(run, arm="a|b").name == "study: a|b"
