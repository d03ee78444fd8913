"""Metrics of a user: their options, what they may give, their intervals, and what editing one makes due."""

import json
from fractions import Fraction

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.seams import importable
from darklung.evaluate.metrics import METRICS
from darklung.evaluate.own_metric import own_metric
from darklung.io.documents import validate
from darklung.pipeline import Task, task_keys
from darklung.steps import evaluate
from darklung.study.learning import EvaluationPart

SOURCE = """
import numpy as np

def given(tables, *, value=None):
    return value

def youden(tables, *, threshold, weight=1.0):
    called, label = tables.tiles["score"] >= threshold, tables.tiles["label"]
    tables.tiles["score"] = 0.0  # its own copy
    return weight * called[label == 1].mean() + (1 - called[label == 0].mean()) - 1

def per_animal(tables):
    return tables.tiles.groupby("subject")["score"].max().mean()

def crowd(tables):
    return tables.tiles["subject"].nunique()

def broken(tables):
    raise KeyError("column\\nmissing")

def needs(tables, *, must):
    return must

constant = 3
"""


@pytest.fixture
def plugins(tmp_path):
    (tmp_path / "user_metrics.py").write_text(SOURCE)
    with importable(tmp_path):
        yield tmp_path


def in_run(run_maker, folder, **metrics):
    part = validate({"replicates": 200, "metrics": metrics}, EvaluationPart, "evaluation")
    return json.loads((run_maker(folder, part=part) / "evaluate/all/comparison.json").read_text())


def test_a_metric_of_the_user_stands_beside_the_others_with_its_interval(run, run_maker, plugins, tmp_path):
    youden = {"function": "user_metrics:youden", "options": {"weight": 1}, "title": "Youden's J", "replicates": 100}
    crowd = {"function": "user_metrics:crowd", "replicates": 30}
    result = in_run(run_maker, tmp_path / "run", youden=youden, crowd=crowd)
    entry = result["results"]["test"]["transmission"]["metrics"]
    assert entry["youden"]["value"] == pytest.approx(entry["sensitivity"]["value"] + entry["specificity"]["value"] - 1)
    assert entry["youden"]["low"] < entry["youden"]["value"] < entry["youden"]["high"]
    assert entry["crowd"] == {"value": 5.0, "low": 5.0, "high": 5.0}  # an animal drawn twice is two
    assert result["metrics"]["youden"] == "Youden's J"
    plain = json.loads((run / "evaluate/all/comparison.json").read_text())
    for name in METRICS:
        assert entry[name] == plain["results"]["test"]["transmission"]["metrics"][name]


def test_its_interval_is_that_of_the_same_bootstrap(run_maker, plugins, tmp_path):
    """Of a mean over animals, resampled tables must give what the weights of the animals give."""
    part = {"function": "user_metrics:per_animal", "replicates": 200}
    result = in_run(run_maker, tmp_path / "run", peak=part)
    from darklung.evaluate.statistics import bootstrap_weights, interval
    from darklung.io.tables import load_table

    rows = [r for r in load_table(tmp_path / "run/evaluate/all/units") if (r["split"], r["arm"]) == ("test", "hybrid")]
    peaks = np.array([max(r["score"] for r in rows if r["subject"] == s) for s in sorted({r["subject"] for r in rows})])
    weights = bootstrap_weights(clusters=5, seed=11, replicates=200)
    expected = interval(value=peaks.mean(), replicates=weights @ peaks / 5, clusters=5)
    found = result["results"]["test"]["hybrid"]["metrics"]["peak"]
    assert [found["value"], found["low"], found["high"]] == pytest.approx([expected.value, expected.low, expected.high])


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, None), (2, 2.0), (np.int64(3), 3.0), (np.float32(0.5), 0.5), (np.array(0.25), 0.25), (Fraction(1, 8), 0.125),
     (float("nan"), None)],
)  # fmt: skip
def test_any_kind_of_number_is_taken(run_maker, plugins, tmp_path, monkeypatch, value, expected):
    import user_metrics

    monkeypatch.setattr(user_metrics, "given", lambda tables: value)
    result = in_run(run_maker, tmp_path / "run", mine={"function": "user_metrics:given", "replicates": 0})
    assert result["results"]["test"]["hybrid"]["metrics"]["mine"] == {"value": expected, "low": None, "high": None}


@pytest.mark.parametrize(
    ("value", "line"),
    [("high", "metric mine: wanted a number or None, got str 'high'"),
     ([1.0], "metric mine: wanted a number or None, got list [1.0]"),
     (np.ones(3), "metric mine: wanted a number or None, got an array of shape (3,)"),
     (1 + 2j, "metric mine: wanted a number or None, got complex (1+2j)"),
     (True, "metric mine: wanted a number or None, got bool True"),
     ({"value": 1}, "metric mine: wanted a number or None, got dict {'value': 1}"),
     (np.inf, "metric mine: wanted a finite number or None, got inf")],
)  # fmt: skip
def test_anything_else_ends_in_one_line_that_names_it(run_maker, plugins, tmp_path, monkeypatch, value, line):
    import user_metrics

    monkeypatch.setattr(user_metrics, "given", lambda tables: value)
    with pytest.raises(DarklungError) as error:
        in_run(run_maker, tmp_path / "run", mine="user_metrics:given")
    assert str(error.value) == line


@pytest.mark.parametrize(
    ("metric", "line"),
    [("user_metrics:broken", "metric mine: failed with KeyError: 'column\\nmissing'"),
     ("user_metrics:gone", "metric mine: 'user_metrics:gone' cannot be imported"),
     ("no_such_package:metric", "metric mine: 'no_such_package:metric' cannot be imported"),
     ("user_metrics:constant", "metric mine: 'user_metrics:constant' is no function"),
     ("auroc", "evaluation.metrics.mine: "),
     ({"function": "user_metrics:youden", "options": {"wieght": 2}}, "metric mine: 'wieght' is not known; known: weight"),
     ({"function": "user_metrics:youden", "options": {"weight": "2"}}, "weight of metric mine: wanted a value such as 1.0"),
     ({"function": "user_metrics:youden", "options": {"threshold": 2}}, "'threshold' is fixed on validation"),
     ({"function": "user_metrics:needs"}, "option of metric mine: must missing")],
)  # fmt: skip
def test_a_metric_that_cannot_be_used_ends_in_one_line(run_maker, plugins, tmp_path, metric, line):
    with pytest.raises(DarklungError) as error:
        in_run(run_maker, tmp_path / "run", mine=metric)
    assert line in str(error.value).replace("evaluation: metrics", "evaluation.metrics")
    assert "\n" not in str(error.value)


def test_the_name_of_another_metric_is_refused(plugins):
    with pytest.raises(DarklungError, match="metric dice: is the name of darklung's own"):
        own_metric("dice", "user_metrics:crowd", options={})


def planned(**metrics) -> Task:
    part = validate({"metrics": metrics}, EvaluationPart, "evaluation")
    parameters = evaluate.Parameters(evaluation=part, arms=("a",), predictions=(), animals={}, sites={}, seed=1)
    return evaluate.task(parameters, (), ())


def test_a_mistake_is_refused_when_the_study_is_planned_and_an_edit_makes_the_evaluation_due(plugins):
    with pytest.raises(DarklungError, match="'wieght' is not known"):
        planned(mine={"function": "user_metrics:youden", "options": {"wieght": 2}})
    task = planned(mine="user_metrics:crowd")
    assert task.plugins == ("user_metrics:crowd",)
    other = Task("cases", "one", "darklung.steps.cases:make_case")
    before = task_keys([other, task])
    (plugins / "user_metrics.py").write_text(SOURCE + "\n# another thought\n")
    after = task_keys([other, task])
    assert after["evaluate/all"] != before["evaluate/all"]
    assert after["cases/one"] == before["cases/one"]
