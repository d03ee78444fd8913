"""Two runs compared: what differs is told, and nothing paired is said of animals that are not the same."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from darklung.commands.compare import compare_folders
from darklung.core.checks import DarklungError
from darklung.evaluate.paired import paired_differences
from darklung.evaluate.tables import ArmTables
from darklung.pipeline.record import read_json, write_record
from darklung.study.learning import EvaluationPart


def found(first, second, out):
    told = compare_folders(first, second, out=out)
    return json.loads((out / "compare.json").read_text()), told


@pytest.fixture(scope="module")
def worse(run_maker, tmp_path_factory):
    """The same animals, a worse hybrid arm after fewer steps, another arm more."""
    skills = {"transmission": 2.5, "hybrid": 2.0, "control": 1.0}
    folder = tmp_path_factory.mktemp("run") / "worse"
    return run_maker(folder, skills=skills, study={"name": "worse", "learning": {"steps": 50, "batch": 4}})


def test_same_animals_have_paired_differences_of_the_runs_own_values(run, worse, tmp_path):
    result, told = found(run, worse, tmp_path / "out")
    own = [json.loads((f / "evaluate/all/comparison.json").read_text())["results"]["test"] for f in (run, worse)]
    hybrid = result["results"]["test"]["hybrid"]
    assert hybrid["animals"] == {"first": 5, "second": 5, "both": 5}
    for name in ("auroc", "sensitivity", "specificity", "equal_sensitivity", "froc", "dice"):
        values = [o["hybrid"]["metrics"][name]["value"] for o in own]
        row = hybrid["paired"][name]
        assert [row["first"], row["second"]] == values
        assert row["value"] == pytest.approx(values[0] - values[1], abs=1e-12)
    assert hybrid["paired"]["dice"]["low"] > 0
    same = result["results"]["test"]["transmission"]["paired"]
    assert same["auroc"] == {**same["auroc"], "value": 0.0, "p": 1.0, "p_holm": 1.0}
    assert same["auroc"]["low"] <= 0 <= same["auroc"]["high"]
    assert 0 < hybrid["paired"]["auroc"]["p"] <= hybrid["paired"]["auroc"]["p_holm"] <= 1
    assert any("arm control is in" in note for note in result["notes"])
    assert "hybrid (5 animals in both)" in told


@pytest.mark.parametrize("name", ["comparison.json", "units.parquet", "overlap.parquet"])
def test_results_that_are_not_what_was_written_are_not_compared(run, worse, tmp_path, name):
    edited = tmp_path / "edited"
    shutil.copytree(worse, edited)
    compare_folders(run, edited)
    place = edited / "evaluate/all" / name
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    place.write_bytes(content)
    with pytest.raises(DarklungError, match=f"{name}: is not what was written"):
        compare_folders(run, edited)
    with pytest.raises(DarklungError, match=f"{name}: is not what was written"):
        compare_folders(edited, run)


def test_settings_keys_and_versions_that_differ_are_told(run, worse, tmp_path):
    second = tmp_path / "second"
    shutil.copytree(worse, second)
    about = read_json(second / "run.json")
    about["environment"]["versions"]["numpy"] = "0.1"
    about["tasks"] = [t | {"key": "other"} if t["task"] == "cases/test-0002" else t for t in about["tasks"]]
    about["tasks"].append({"task": "train/control.fold0", "key": "new"})
    write_record(second / "run.json", about)
    result, told = found(run, second, tmp_path / "out")
    assert result["settings"] == [
        {"name": "learning.steps", "first": 100, "second": 50},
        {"name": "learning.batch", "first": "(not set)", "second": 4},
    ]
    assert [r["name"] for r in result["environment"]] == ["versions.numpy"]
    assert result["tasks"]["cases"] == {"same": 8, "other_key": ["cases/test-0002"], "first_only": [], "second_only": []}
    assert result["tasks"]["train"]["second_only"] == ["train/control.fold0"]
    for line in ("  learning.steps: 100 | 50", "settings: 2 differ", "environment: 1 differ"):
        assert line in told
    page = (tmp_path / "out/compare.html").read_text()
    assert "learning.steps" in page
    assert "cases/test-0002" in page


def test_animals_of_one_name_that_are_others_have_nothing_paired(run, run_maker, tmp_path):
    other = run_maker(tmp_path / "other", seed=2)
    result, told = found(run, other, tmp_path / "out")
    for split in ("validation", "test"):
        for entry in result["results"][split].values():
            assert entry["paired"] is None
            assert entry["animals"]["both"] == 0
            assert entry["values"]["auroc"]["first"]["value"] is not None
    assert "no animal is known to be the same in both runs: nothing paired can be said" in told


def test_some_animals_in_common_are_paired_and_counted(run, worse, tmp_path):
    second = tmp_path / "second"
    shutil.copytree(worse, second)
    for name in ("test-0001", "test-0002"):
        path = second / "cases" / name / "case.json"
        content = json.loads(path.read_text())
        content["insertions"][0]["center_m"][0] += 1e-4
        path.write_text(json.dumps(content))
    result, _ = found(run, second, tmp_path / "out")
    assert result["results"]["test"]["hybrid"]["animals"]["both"] == 3
    assert any("differences are of the 3 animals that both have" in note for note in result["notes"])


def test_other_tiles_of_the_same_animals_have_intervals_but_no_p(run, run_maker, tmp_path):
    other = run_maker(tmp_path / "tiles", part=EvaluationPart(replicates=200, tile="1.6 mm"))
    result, _ = found(run, other, tmp_path / "out")
    row = result["results"]["test"]["hybrid"]["paired"]["auroc"]
    assert row["low"] is not None
    assert row["p"] is row["p_holm"] is None
    assert any("other tiles" in note for note in result["notes"])


def test_what_is_no_finished_run_is_refused_in_one_line(run, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    started, old = tmp_path / "started", tmp_path / "old"
    for folder, about in ((started, {"format": 2}), (old, {"format": 1, "study": {}})):
        folder.mkdir()
        write_record(folder / "run.json", about)
    lines = {empty: "no finished run", started: "no finished run; wanted evaluate/all", old: "format 1"}
    for folder, line in lines.items():
        with pytest.raises(DarklungError, match=line) as error:
            compare_folders(run, folder)
        assert "\n" not in str(error.value)
    with pytest.raises(DarklungError, match="the same run twice"):
        compare_folders(run, run)


def test_paired_intervals_are_narrower_than_unpaired_ones_and_swap_with_the_sides():
    """Animals differ a lot, the two evaluations of an animal little: an independent bootstrap would hide the gap."""
    rng = np.random.default_rng(3)
    hard = rng.normal(0, 2, 30)

    def tables(shift, seed):
        noise = np.random.default_rng(seed)
        rows = []
        for i, ease in enumerate(hard):
            for tile, label in enumerate([1, 1, 0, 0, 0, 0]):
                score = noise.normal(0, 0.3) + label * (1 + ease + shift)
                rows.append((f"m{i}", tile, "lesion" if label else "tile", label, score, label, "", np.nan, True))
        columns = ["subject", "tile", "kind", "label", "score", "number", "tissue", "diameter_m", "reachable"]
        voxels = pd.DataFrame({"subject": [f"m{i}" for i in range(30)], "predicted": 10, "true": 8, "overlap": 6})
        return ArmTables(pd.DataFrame(rows, columns=columns), voxels)

    better, plain = tables(0.5, 1), tables(0.0, 1)
    row = paired_differences(better, plain, thresholds=(1.0, 1.0), seed=1)["auroc"]
    assert 0 < row["low"] < row["value"] < row["high"]
    assert row["p"] < 0.01
    back = paired_differences(plain, better, thresholds=(1.0, 1.0), seed=1)["auroc"]
    assert back["value"] == pytest.approx(-row["value"])
    assert [back["low"], back["high"]] == pytest.approx([-row["high"], -row["low"]])
    assert paired_differences(better, plain, thresholds=(1.0, 1.0), seed=1)["dice"]["value"] == 0
    none = paired_differences(better, plain, thresholds=(None, 1.0), seed=1)["sensitivity"]
    assert none["value"] is none["low"] is None


def test_a_copy_of_a_run_differs_by_nothing_from_nothing_to_nothing(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    result, told = found(run, copy, tmp_path / "out")
    entry = result["results"]["test"]["hybrid"]
    known = {name: row for name, row in entry["paired"].items() if row["value"] is not None}
    assert {"auroc", "sensitivity", "specificity", "froc", "dice"} <= set(known)
    assert {(row["value"], row["low"], row["high"]) for row in known.values()} == {(0.0, 0.0, 0.0)}
    assert "test: arm hybrid: both runs have the same results in every row" in told
