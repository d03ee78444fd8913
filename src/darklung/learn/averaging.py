"""The mean of a network's weights over its steps, which is scored and kept instead of the last ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]


@torch.no_grad()
def updated(average: Weights | None, network: nn.Module, *, decay: float, step: int) -> Weights:
    """The exponential moving average after `step` (from 0 on); it takes the place of `average`.

    The decay is at most (1 + step) / (10 + step), so that the weights that were drawn at first are soon forgotten. What is
    no real number (a counter) is taken as it is.
    """
    own = {name: value.detach() for name, value in network.state_dict().items()}
    if average is None:
        return {name: value.clone() for name, value in own.items()}
    share = 1 - min(decay, (1 + step) / (10 + step))
    for name, value in own.items():
        old = average[name].to(value.device)
        average[name] = old.lerp_(value, share) if value.is_floating_point() else value.clone()
    return average


@contextmanager
def taken(network: nn.Module, average: Mapping[str, Tensor] | None) -> Iterator[None]:
    """The network with the mean weights, for a while."""
    if average is None:
        yield
        return
    own = {name: value.detach().clone() for name, value in network.state_dict().items()}
    network.load_state_dict(dict(average))
    try:
        yield
    finally:
        network.load_state_dict(own)
