"""Logs as TensorBoard and MLflow read them: the numbers of metrics.jsonl, read back by those programs."""

import json

import pytest

from darklung.learn.checkpoint import CHECKPOINT_FILE, Earlier
from darklung.learn.settings import TrainingPart
from darklung.learn.tracking import points, told, write_tracking
from darklung.learn.train import train

HISTORY = [
    {"step": 1, "loss": 2.0, "learning_rate": 1e-3, "terms": {"dice": 0.5}},
    {"step": 2, "loss": 1.5, "learning_rate": 5e-4, "terms": {"dice": 0.25}},
    {"step": 2, "loss": 1.75, "score": 0.75, "error": 0.125, "terms": {"dice": 0.375}, "dice": None},
]
PLAN = {"network": "unet", "training": {"clip": 5.0}, "widths": (16, 32)}


def test_points_tell_steps_from_validations_and_leave_out_what_is_not_known():
    found = list(points(HISTORY))
    assert ("step/loss", 2, 1.5) in found
    assert ("validation/loss", 2, 1.75) in found
    assert ("validation/terms/dice", 2, 0.375) in found
    assert "validation/dice" not in [name for name, _, _ in found]
    assert len(found) == 3 + 3 + 4
    assert dict(told(PLAN)) == {"network": "unet", "training.clip": "5.0", "widths": "(16, 32)"}


def test_tensorboard_reads_what_was_logged(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_tracking(["tensorboard"], tmp_path, HISTORY, PLAN)
    seen = EventAccumulator(str(tmp_path / "tracking" / "tensorboard"))
    seen.Reload()
    assert [(e.step, e.value) for e in seen.Scalars("step/loss")] == [(1, 2.0), (2, 1.5)]
    assert [(e.step, e.value) for e in seen.Scalars("validation/score")] == [(2, 0.75)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of MLflow's own calls of SQLAlchemy
def test_mlflow_reads_what_was_logged(tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    write_tracking(["mlflow"], tmp_path, HISTORY, PLAN)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'tracking' / 'mlflow' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("darklung").experiment_id])
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "step/loss")] == [(1, 2.0), (2, 1.5)]
    assert run.data.params["training.clip"] == "5.0"
    assert run.info.status == "FINISHED"


def test_a_finished_training_gets_its_logs_without_a_step_more(make_case, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    given = {"cases_train": [make_case(1)], "cases_validation": [], "channels": ("a",), "seed": 1}
    given |= {"widths": (16,), "patch": 8, "batch": 1, "steps": 2}
    first = train(**given, scratch=tmp_path / "scratch", out=tmp_path / "first")
    assert not (first / "tracking").exists()
    monkeypatch.setattr("darklung.learn.train._step", None)
    training = TrainingPart(tracking=("tensorboard",))
    second = train(**given, scratch=tmp_path / "s", out=tmp_path / "second", earlier=Earlier(first), training=training)
    assert len(list((second / "tracking" / "tensorboard").iterdir())) == 1
    about = [json.loads((folder / "model.json").read_text()) for folder in (first, second)]
    assert about[0] == about[1]
    assert (second / CHECKPOINT_FILE).is_file()
