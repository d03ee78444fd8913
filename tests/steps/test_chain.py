"""The whole chain at the smallest size: repeatable, whatever the number of workers and however often it is killed."""

import json
import os
import re
import signal
import time
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest
import yaml

from darklung.commands.run import list_tasks, run_study
from darklung.io.tables import load_table

TINY = {
    "name": "tiny",
    "seed": 3,
    "sources": {
        "mice": {
            "from": "simulation",
            "cohort": {
                "animals": 3,
                "test_animals": 1,
                "diameter": ["1.5 mm", "2.2 mm"],
                "lesions": [2, 2],
                "lesion_free": 0.0,
                "mimics": [0, 1],
            },
            "body": {"voxel": "400 um"},
            "scan": {"supersampling": 1, "views": 24, "flats": 2, "flat_repeats": 2},
        }
    },
    "learning": {
        "arms": {"transmission": ["attenuation"], "hybrid": ["attenuation", "dark_field_0", "dark_field_90"]},
        "widths": [16, 32],
        "patch": 12,
        "steps": 12,
        "folds": 3,
    },
    "evaluation": {"replicates": 200},
}
STAGES = (
    "cohort",
    "phantom",
    "scan",
    "retrieve",
    "correct",
    "reconstruct",
    "cases",
    "preview",
    "train",
    "predict",
    "evaluate",
    "report",
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def undisturbed(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    result = run_study(study, out=folder, workers=2)
    assert result.computed > 30
    return folder


def comparison(folder):
    return json.loads((folder / "evaluate/all/comparison.json").read_text())


def test_it_ends_in_a_report_with_every_arm(undisturbed):
    text = (undisturbed / "report.html").read_text()
    assert "transmission" in text
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)
    result = comparison(undisturbed)
    assert result["arms"] == ["transmission", "hybrid"]
    for split, animals, lesions in (("validation", 3, 6), ("test", 1, 2)):
        for arm in result["arms"]:
            n = result["results"][split][arm]["n"]
            assert (n["subjects"], n["positives"]) == (animals, lesions)


def test_a_second_run_computes_nothing(study, undisturbed):
    before = (undisturbed / "report.html").stat().st_mtime_ns
    assert run_study(study, out=undisturbed, workers=2).computed == 0
    assert (undisturbed / "report/all/report.html").stat().st_mtime_ns <= before
    assert list_tasks(study, out=undisturbed).splitlines()[-1].startswith("0 of ")


def test_the_cohort_is_a_table_with_a_dictionary(undisturbed):
    rows = load_table(undisturbed / "cohort/all/cohort")
    assert [r["split"] for r in rows] == ["train"] * 3 + ["test"]
    assert len({r["seed"] for r in rows}) == 4
    assert (undisturbed / "cohort/all/cohort.dictionary.csv").read_text().count("\n") == 1 + len(rows[0])


def test_large_intermediate_results_are_gone_and_records_stay(undisturbed):
    assert not list(undisturbed.glob("scan/*/*.h5"))
    record = json.loads((undisturbed / "scan/train-0001/record.json").read_text())
    assert record["removed"]
    assert record["parameters"]["seed"]
    assert {t["task"].split("/")[0] for t in json.loads((undisturbed / "run.json").read_text())["tasks"]} == set(STAGES)


def test_another_run_with_one_worker_gives_the_same_metrics(study, undisturbed, tmp_path):
    run_study(study, out=tmp_path / "run", workers=1)
    assert comparison(tmp_path / "run") == comparison(undisturbed)


@pytest.fixture
def one_more_arm(study):
    """The study's own file with a further arm, for as long as a test lasts: a run folder belongs to one file."""
    before = study.read_text()
    more = {**TINY, "learning": {**TINY["learning"], "arms": {**TINY["learning"]["arms"], "control": ["noise"]}}}
    study.write_text(yaml.safe_dump(more, sort_keys=False))
    yield study
    study.write_text(before)


def test_adding_an_arm_trains_only_that_arm(one_more_arm, undisturbed):
    todo = {line.split()[-1] for line in list_tasks(one_more_arm, out=undisturbed).splitlines() if line.startswith("to do")}
    # The view that the report shows has stayed, though the raw frames and projections have gone: no mouse is scanned again.
    assert todo == {
        "evaluate/all",
        "report/all",
        *(f"train/control.fold{k}" for k in range(3)),
        *(f"predict/control.fold{k}.validation" for k in range(3)),
        "predict/control.test",
    }


@pytest.fixture
def ready(monkeypatch):
    """Makes processes that have loaded what a study needs: loading it for each of ten kills was most of their time.

    They are killed, so what coverage sees of them is lost: it does not watch them.
    """
    for name in [n for n in os.environ if n.startswith("COVERAGE_PROCESS")]:
        monkeypatch.delenv(name)
    context = get_context("forkserver")
    context.set_forkserver_preload([run_study.__module__, *(f"darklung.steps.{stage}" for stage in STAGES)])
    return context


def killed_when(folder: Path, stage: str, study: Path, workers: int, context: BaseContext) -> bool:
    """Run the study, kill it (SIGKILL) as soon as `stage` is at work; False if it ended before."""
    process = context.Process(target=run_study, args=(study,), kwargs={"out": folder, "workers": workers})
    process.start()
    end = time.monotonic() + 300
    while process.is_alive() and not list((folder / ".partial").glob(f"{stage}__*")):
        assert time.monotonic() < end
        time.sleep(0.005)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.slow(120)
def test_killed_in_every_stage_it_goes_on_to_the_same_metrics(study, undisturbed, ready, tmp_path):
    folder = tmp_path / "run"
    long = [stage for stage in STAGES[1:] if stage != "preview"]  # it is over too soon to be met
    # With two workers the tasks die by themselves when the run is gone, with one they are the run; two take longer to start.
    assert all(killed_when(folder, stage, study, 2 if stage in ("phantom", "train") else 1, ready) for stage in long)
    run_study(study, out=folder, workers=2)
    assert comparison(folder) == comparison(undisturbed)
