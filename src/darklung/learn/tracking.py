"""The log of a finished training as TensorBoard and MLflow read it, beside the model; no server, nothing leaves the folder.

It is written at the end, from the lines of metrics.jsonl: a training that was killed leaves no curve twice, and a finished
one gets these files without being trained again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from darklung.core.files import make_folder

FOLDER = "tracking"
Point = tuple[str, int, float]  # name, step, value
Parameters = Mapping[str, str]


def write_tracking(names: Sequence[str], out: Path, history: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]) -> None:
    """Write the log for each tracker of `names` (keys of `TRACKERS`) to ``tracking/NAME`` in `out`.

    Parameters
    ----------
    names : sequence of str
    out : Path
        Folder of the model.
    history : sequence of mappings
        Lines of metrics.jsonl.
    plan : mapping
        What was trained, by names; nested ones are told as ``training.clip``.
    """
    for name in names:
        folder = out / FOLDER / name
        make_folder(folder)
        TRACKERS[name](folder, list(points(history)), dict(told(plan)))


def points(history: Sequence[Mapping[str, Any]]) -> Iterator[Point]:
    """The numbers of a log: ``step/loss`` of single steps, ``validation/score`` of validations, ``step/terms/dice``."""
    for line in history:
        kind = "validation" if "score" in line else "step"
        for name, value in _flat(line):
            if name != "step" and isinstance(value, int | float):
                yield f"{kind}/{name.replace('.', '/')}", int(line["step"]), float(value)


def told(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values of a plan, as words."""
    for name, value in _flat(plan):
        yield name, str(value)


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _tensorboard(folder: Path, numbers: Sequence[Point], parameters: Parameters) -> None:
    """An event file: ``tensorboard --logdir`` shows it."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        writer.add_text("parameters", "\n".join(f"    {name}: {value}" for name, value in parameters.items()))
        for name, step, value in numbers:
            writer.add_scalar(name, value, step)


def _mlflow(folder: Path, numbers: Sequence[Point], parameters: Parameters) -> None:
    """A database: ``mlflow ui --backend-store-uri sqlite:///.../mlflow.db`` shows it."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    most = 500  # metrics and parameters that a message takes, beside each other
    client = MlflowClient(f"sqlite:///{(folder / 'mlflow.db').resolve()}")
    number = client.create_experiment("darklung", artifact_location=".")
    run = client.create_run(number).info.run_id
    now = int(1e3 * time.time())
    metrics = [Metric(name, value, now, step) for name, step, value in numbers]
    for start in range(0, len(metrics), most):
        client.log_batch(run, metrics=metrics[start : start + most])
    given = [Param(name, value[:most]) for name, value in parameters.items()]
    for start in range(0, len(given), 100):
        client.log_batch(run, params=given[start : start + 100])
    client.set_terminated(run)


TRACKERS: dict[str, Callable[[Path, Sequence[Point], Parameters], None]] = {"tensorboard": _tensorboard, "mlflow": _mlflow}
