"""The state of a training, kept so that it survives a kill, and the files of a finished model."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from darklung.core.checks import DarklungError
from darklung.core.files import make_folder, reading, whole, write_text
from darklung.learn.data import Case, Normalisation
from darklung.learn.files import DESCRIPTION_FILE, METRICS_FILE, WEIGHTS_FILE

CHECKPOINT_FILE = "checkpoint.pt"
NOTHING: Mapping[str, Any] = MappingProxyType({})
TENSORS = ("best_weights", "average")  # of a state, which are no JSON


@dataclass(frozen=True)
class Plan:
    """Everything that decides the result of a training besides the cases."""

    network: str
    widths: tuple[int, ...]
    dims: int
    loss: str
    metric: str
    patch: int
    batch: int
    steps: int
    learning_rate: float
    seed: int
    precision: str
    normalisation: Normalisation
    subjects_train: tuple[str, ...]
    subjects_validation: tuple[str, ...]
    redraw_every: int = 0  # steps between draws of the training cases; 0: they stay
    network_options: Mapping[str, Any] = field(default_factory=dict)
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)  # `TrainingPart`, as JSON


@dataclass(frozen=True)
class Earlier:
    """A finished training that another may go on from: its folder, and the key that its record has, if any."""

    folder: Path
    key: str = ""


@dataclass
class State:
    """What changes during a training.

    Parameters
    ----------
    step : int
        Optimizer steps done.
    best_weights : dict of tensors, optional
        The weights to keep, from `best_step`, with `best_score`.
    highest, highest_error : float, optional
        The highest score so far and its standard error.
    history : list of dict
        One line of metrics.jsonl each: of a step, or of a validation, which alone has ``score``.
    losses : list of float
        Since the last validation.
    parts : dict of lists of float
        Terms of these losses, each without its weight.
    average : dict of tensors, optional
        Mean of the weights over steps, if it is asked for.
    worse : int
        Validations in a row that were not kept.
    start, end : int
        Steps between which the learning rate now rises and falls; `end` is 0 before the first.
    continued_from : dict, optional
        Key and step of the finished training that this one went on from.
    """

    step: int = 0
    best_weights: dict[str, Tensor] | None = None
    best_step: int = 0
    best_score: float | None = None
    highest: float | None = None
    highest_error: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    average: dict[str, Tensor] | None = None
    worse: int = 0
    stopped: bool = False
    start: int = 0
    end: int = 0
    continued_from: dict[str, Any] | None = None

    def until(self, end: int, key: str = "") -> None:
        """Train until step `end`; a training that was finished before it begins a new rise and fall of the rate."""
        if end > self.end > 0:
            self.start, self.worse, self.stopped = self.step, 0, False
            self.continued_from = {"key": key, "step": self.step}
        self.end = end

    def add_loss(self, value: float, parts: Mapping[str, float], learning_rate: float) -> None:
        """Note the loss of the step that is being done, its terms, and its learning rate."""
        line = {"step": self.step + 1, "loss": value, "learning_rate": learning_rate}
        self.history.append({**line, "terms": dict(parts)})
        self.losses.append(value)
        for name, part in parts.items():
            self.parts.setdefault(name, []).append(part)

    def score_text(self) -> str:
        """The best score so far, for the progress line."""
        return "" if self.best_score is None else f", validation score {self.best_score:.4f} at step {self.best_step}"

    def keep(self, network: nn.Module, score: float | None) -> None:
        """Keep a copy of the network's weights as the best."""
        self.best_weights = {k: v.detach().cpu().clone().contiguous() for k, v in network.state_dict().items()}
        self.best_step, self.best_score = self.step, score

    def judge(
        self, network: nn.Module, score: float | None, error: float, patience: int, told: Mapping[str, Any] = NOTHING
    ) -> None:
        """Take the validation's score in: keep the weights, or count towards stopping early; `told` is logged beside it.

        The latest step within one standard error of the highest score is kept: with few lesions the highest is a matter of
        luck, and later steps have learned more.
        """
        if score is not None and (self.highest is None or score > self.highest):
            self.highest, self.highest_error = score, error
        good = score is None or self.highest is None or score >= self.highest - self.highest_error
        if good:
            self.keep(network, score)
        self.worse = 0 if good else self.worse + 1
        self.stopped = self.worse >= patience
        line = {"step": self.step, "loss": float(np.mean(self.losses)), "score": score, "error": error}
        terms = {name: float(np.mean(values)) for name, values in self.parts.items()}
        self.history.append({**line, "terms": terms, **told})
        self.losses, self.parts = [], {}


def lineage(plan: Plan, cases: Sequence[Case]) -> str:
    """SHA-256 of the plan but for its number of steps, and of the cases' content.

    It is the same of trainings that may go on from each other. A checkpoint of anything else is not gone on from.
    """
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(dataclasses.replace(plan, steps=0)), sort_keys=True).encode())
    digest.update(torch.__version__.encode())
    for case in cases:
        beam = [case.energy_kev, case.correlation_length_m, case.directions]
        digest.update(json.dumps([case.image.names, case.image.spacing_m, beam]).encode())
        for array in (case.image.data, case.target, case.region, case.hard, case.lung):
            digest.update(b"none" if array is None else np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _content(key: str, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, state: State) -> dict[str, Any]:
    numbers = {f.name: getattr(state, f.name) for f in dataclasses.fields(state) if f.name not in TENSORS}
    return {
        "key": key,
        "state": json.dumps(numbers),
        **{name: getattr(state, name) or {} for name in TENSORS},
        "modules": {name: module.state_dict() for name, module in modules.items()},
        "optimizer": optimizer.state_dict(),
    }


def _restore(content: Mapping[str, Any], modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> State:
    state = State(**json.loads(content["state"]))
    for name, module in modules.items():
        module.load_state_dict(content["modules"][name])
    optimizer.load_state_dict(content["optimizer"])
    for name in TENSORS:
        setattr(state, name, content[name] or None)
    return state


def packed(key: str, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, state: State) -> bytes:
    """What a checkpoint holds, for another process."""
    file = io.BytesIO()
    torch.save(_content(key, modules, optimizer, state), file)
    return file.getvalue()


def unpacked(given: bytes, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> State:
    """Restore modules and optimizer from what `packed` made."""
    content = torch.load(io.BytesIO(given), map_location="cpu", weights_only=True)
    return _restore(content, modules, optimizer)


def save_checkpoint(
    folder: Path, key: str, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, state: State
) -> None:
    """Write the checkpoint so that at any moment either the old or the new one is whole."""
    make_folder(folder)
    with whole(folder / CHECKPOINT_FILE) as part, part.open("wb") as file:
        torch.save(_content(key, modules, optimizer, state), file)
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(
    folder: Path, key: str, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, *, steps: int
) -> State | None:
    """Restore modules and optimizer from the checkpoint in `folder`; None if there is none for this training.

    `steps` are those of the training; a checkpoint of a longer one is none for it.
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    try:
        with reading(path, "a checkpoint"):
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content.get("key") != key or State(**json.loads(content["state"])).end > steps:
                return None
    except DarklungError:
        return None  # a file that is not ours or broken: start over
    return _restore(content, modules, optimizer)


def clear_checkpoint(folder: Path) -> None:
    """Remove the checkpoint and what a kill left of one."""
    for path in (folder / CHECKPOINT_FILE, *folder.glob(f".{CHECKPOINT_FILE}*")):
        path.unlink(missing_ok=True)


def write_model(out: Path, plan: Plan, state: State, facts: Mapping[str, Any], cost: Mapping[str, Any]) -> None:
    """Write model.safetensors, metrics.jsonl and, last, model.json; each whole or not at all.

    `facts` tell what the training images were (spacing, units, energy), so that the model is not applied to others; `cost`
    is what the network is and asks for (`darklung.learn.facts`).
    """
    make_folder(out)
    description = dataclasses.asdict(plan)
    normalisation = description.pop("normalisation")
    description["channels"] = normalisation.pop("channels")
    description["normalisation"] = normalisation
    description["patch"] = [plan.patch] * plan.dims
    by = "last step" if state.best_score is None else plan.metric
    description["selected"] = {"by": by, "step": state.best_step, "score": state.best_score}
    description["steps_done"] = state.step
    description["continued_from"] = state.continued_from
    description["cost"] = dict(cost)
    description["torch"] = torch.__version__
    description["images"] = dict(facts)
    with whole(out / WEIGHTS_FILE) as part:
        save_file(state.best_weights or {}, part)
        description["weights_sha256"] = hashlib.sha256(part.read_bytes()).hexdigest()
    write_text(out / METRICS_FILE, "".join(json.dumps(line) + "\n" for line in state.history))
    write_text(out / DESCRIPTION_FILE, json.dumps(description, indent=1) + "\n")
