"""What stays the same during one training, made of its plan, and the patches of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from darklung.core.random import derive_seed, stream
from darklung.learn.checkpoint import Plan
from darklung.learn.data import Case
from darklung.learn.device import place
from darklung.learn.network import detects, heads_of, make_network
from darklung.learn.objective import Objective, make_objective
from darklung.learn.patches import Source, draw_batch, make_source
from darklung.learn.ranks import Ranks
from darklung.learn.seams import Sizes
from darklung.learn.settings import TrainingPart


@dataclass(frozen=True)
class Run:
    """What stays the same during one training."""

    plan: Plan
    training: TrainingPart
    validation: list[tuple[NDArray[np.float32], Case]]
    network: nn.Module
    sizes: Sizes
    optimizer: torch.optim.Optimizer
    objective: Objective
    device: torch.device
    ranks: Ranks

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What is learned."""
        return {"network": self.network, "objective": self.objective}

    def heads(self, data: Tensor) -> dict[str, Tensor]:
        """What the network says of a batch, in float32."""
        half = self.plan.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            found = heads_of(self.network(data))
        return {name: value.float() for name, value in found.items() if isinstance(value, Tensor)}


def draw_network(
    name: str,
    device: torch.device,
    *,
    channels: Sequence[str],
    dims: int,
    widths: Sequence[int],
    options: Mapping[str, Any] | None,
    seed: int,
) -> nn.Module:
    """The network, its weights drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        network = make_network(name, channels=channels, dims=dims, widths=widths, options=options)
    return place(network, device)


def make_run(
    plan: Plan,
    training: TrainingPart,
    network: nn.Module,
    sizes: Sizes,
    cases: Sequence[Case],
    device: torch.device,
    ranks: Ranks,
) -> Run:
    """Network, objective and optimizer on their device, and the validation cases normalised."""
    objective = make_objective(plan.loss, plan.loss_options, training, detects=detects(network)).to(device)
    groups: list[dict[str, Any]] = [{"params": list(network.parameters())}]
    if own := list(objective.parameters()):
        groups.append({"params": own, "weight_decay": 0.0})
    # One kernel for all weights: 2 % of a step on a CPU.
    optimizer = torch.optim.AdamW(groups, lr=plan.learning_rate, weight_decay=training.weight_decay, fused=True)
    validation = [(plan.normalisation.apply(c), c) for c in cases]
    return Run(plan, training, validation, network, sizes, optimizer, objective, device, ranks)


def make_sources(run: Run, cases: Sequence[Case]) -> list[Source]:
    plan = run.plan
    common: dict[str, Any] = {"patch": (plan.patch,) * plan.dims, "detection": detects(run.network)}
    common["augmentation"] = run.training.augmentation
    return [make_source(case=c, normalisation=plan.normalisation, **common) for c in cases]


def batch_of(run: Run, sources: Sequence[Source], step: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The patches of a step, and what is true of them."""
    plan = run.plan
    rng = stream(plan.seed, "patches", step)
    patch, augmentation = (plan.patch,) * plan.dims, run.training.augmentation
    common: dict[str, Any] = {"batch": plan.batch, "rng": rng, "augmentation": augmentation}
    cut = draw_batch(sources=sources, patch=patch, streams=lambda name: stream(plan.seed, name, step), **common)

    def placed(values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(run.device)

    return placed(cut.data), {name: placed(values) for name, values in cut.truth.items()}
