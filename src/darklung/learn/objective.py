"""What a network is trained to make small: weighted terms on its logits and heads, each counted where something is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from darklung.learn.losses import Loss, boundary, focal, make_loss, soft_dice
from darklung.learn.network import CENTRE, DIAMETER, LOGITS, PRESENCE
from darklung.learn.settings import LOSS, TermPart, TrainingPart, weighted_terms

Heads = Mapping[str, Tensor]
Truth = Mapping[
    str, Tensor
]  # target, distance, region; with detection centre, diameter, seen and unknown, (batch, 1, *spatial)
Term = Callable[[Heads, Truth], Tensor]

FADING = 4.0  # power by which voxels near a middle count less as background


def centre_focal(heads: Heads, truth: Truth) -> Tensor:
    """Focal loss of the heat map over the number of middles: Law and Deng 2018, 10.1007/978-3-030-01264-9_45, eq. 1."""
    logit, heat, seen = heads[CENTRE], truth["centre"], truth["seen"]
    p, middle = torch.sigmoid(logit), (heat > 1 - 1e-6).to(logit.dtype)
    found = middle * (1 - p).square() * functional.logsigmoid(logit)
    silent = (1 - middle) * (1 - heat).pow(FADING) * p.square() * functional.logsigmoid(-logit)
    return -((found + silent) * seen).sum() / (middle * seen).sum().clamp(min=1)


def diameter_error(heads: Heads, truth: Truth) -> Tensor:
    """Mean absolute error of the log of the diameter over the voxels of lesions that are seen whole."""
    inside = truth["target"] * truth["seen"]
    wrong = functional.smooth_l1_loss(heads[DIAMETER], truth["diameter"], reduction="none", beta=0.1)
    return (wrong * inside).sum() / inside.sum().clamp(min=1)


def presence_entropy(heads: Heads, truth: Truth) -> Tensor:
    """Cross entropy of a lesion anywhere in the patch; a patch without a known one but with unknown voxels is left out."""
    lesion = (truth["target"] * truth["region"]).flatten(1).amax(dim=1, keepdim=True)
    doubtful = truth["unknown"].flatten(1).amax(dim=1, keepdim=True)
    known = 1 - doubtful * (1 - lesion)
    entropy = functional.binary_cross_entropy_with_logits(heads[PRESENCE], lesion, reduction="none")
    return (entropy * known).sum() / known.sum().clamp(min=1)


def on_logits(loss: Loss) -> Term:
    """A loss on the logits, and on those of coarser levels by half as much a level where the network has them."""

    def term(heads: Heads, truth: Truth) -> Tensor:
        given = (truth["target"], truth["distance"], truth["region"])
        value, total = loss(heads[LOGITS], *given), 1.0
        for times in sorted(int(n.removeprefix(f"{LOGITS}_")) for n in heads if n.startswith(f"{LOGITS}_")):
            value = value + loss(heads[f"{LOGITS}_{times}"], *coarser(*given, times)) / times
            total += 1 / times
        return value / total if total > 1 else value

    return term


def coarser(target: Tensor, distance: Tensor, region: Tensor, times: int) -> tuple[Tensor, Tensor, Tensor]:
    """Truth on a grid of `times` the voxel: lesion where a known voxel is one, else known only where every voxel is."""
    dims = target.ndim - 2
    most = (functional.max_pool2d, functional.max_pool3d)[dims - 2]
    mean = (functional.avg_pool2d, functional.avg_pool3d)[dims - 2]
    lesion = most(target * region, times)
    return lesion, mean(distance, times), torch.maximum(lesion, 1 - most(1 - region, times))


TERMS: dict[str, Term] = {
    "dice": on_logits(lambda logits, target, distance, region: soft_dice(logits, target, region)),
    "focal": on_logits(lambda logits, target, distance, region: focal(logits, target, region)),
    "boundary": on_logits(boundary),
    CENTRE: centre_focal,
    DIAMETER: diameter_error,
    PRESENCE: presence_entropy,
}


class Objective(nn.Module):
    """The sum of weighted terms, or with each weighted by what is learned of its uncertainty.

    Parameters
    ----------
    terms : mapping
        Name -> its function and its weight.
    learned : bool
        A term L of weight w then counts w (exp(−s) L + s), with s learned from 0 on.

    References
    ----------
    Uncertainty weighting: Kendall, Gal, Cipolla 2018, 10.1109/CVPR.2018.00781.
    """

    def __init__(self, terms: Mapping[str, tuple[Term, TermPart]], *, learned: bool) -> None:
        super().__init__()
        self.terms = dict(terms)
        self.doubt = nn.ParameterDict({n: nn.Parameter(torch.zeros(())) for n in terms} if learned else {})

    def forward(self, heads: Heads, truth: Truth, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The value to make small at `step`, and each term by itself without its weight."""
        values = {name: function(heads, truth) for name, (function, _) in self.terms.items()}
        parts = []
        for name, (_, part) in self.terms.items():
            weight = part.weight * (min(1.0, step / part.ramp) if part.ramp else 1.0)
            value = values[name]
            if self.doubt:
                value = torch.exp(-self.doubt[name]) * value + self.doubt[name]
            parts.append(value if weight == 1 else weight * value)
        total = parts[0]
        for part_value in parts[1:]:
            total = total + part_value
        return total, {name: value.detach() for name, value in values.items()}

    def weights(self) -> dict[str, float]:
        """exp(−s) of each term; empty where nothing is learned of them."""
        return {name: float(torch.exp(-value.detach())) for name, value in self.doubt.items()}


def make_objective(loss: str, options: Mapping[str, Any] | None, training: TrainingPart, *, detects: bool) -> Objective:
    """The objective of a loss (`LOSSES` or ``package.module:function``), the heads of a network and the study's weights.

    Raises
    ------
    DarklungError
        What `make_loss` and `weighted_terms` raise.
    """
    own = make_loss(loss, options)
    weights = weighted_terms(loss, training, detects=detects)
    functions = {**TERMS, LOSS: on_logits(own)}
    terms = {name: (functions[name], part) for name, part in weights.items()}
    return Objective(terms, learned=training.weighting == "uncertainty")
