"""What darklung's own networks are made of, told by themselves; nothing is computed, and no code of others runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from darklung.core.checks import DarklungError
from darklung.core.files import reading
from darklung.learn.network import make_network
from darklung.learn.seams import NETWORKS

_ACTIVATIONS = frozenset(
    name for name, kind in vars(nn.modules.activation).items() if isinstance(kind, type) and issubclass(kind, nn.Module)
) - {"Module", "MultiheadAttention"}
_NOTHING = ("Identity", "ModuleList", "Sequential")  # of no effect, or empty


def layers_of(description: Mapping[str, Any]) -> tuple[dict[str, int], int] | None:
    """Layers of a network with how many of each, and its number of parameters.

    Parameters
    ----------
    description : mapping
        Of `darklung.learn.predict.read_description`, of a network.

    Returns
    -------
    layers and parameters, or None
        None for a function of its maker's, which would have to run, and for one that cannot be built here, such as of a
        package that is not installed.
    """
    if description["network"] not in NETWORKS:
        return None
    try:
        with reading("model", "a network"), torch.random.fork_rng(devices=[]), torch.device("meta"):
            network = make_network(
                description["network"],
                channels=description["channels"],
                dims=description["dims"],
                widths=description["widths"],
                options=description.get("network_options") or {},
            )
    except DarklungError:
        return None
    leaves = (type(m).__name__ for m in network.modules() if next(m.children(), None) is None)
    return dict(Counter(n for n in leaves if n not in _NOTHING)), sum(p.numel() for p in network.parameters())


def activations_in(layers: Mapping[str, int]) -> tuple[str, ...]:
    """Which of the layers are activations."""
    return tuple(name for name in layers if name in _ACTIVATIONS)
