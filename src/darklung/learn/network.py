"""Networks by their names: built, held to what a network returns, and asked for the sizes that fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from darklung.core.channel import modality
from darklung.core.checks import DarklungError, require
from darklung.core.seams import named_parameters
from darklung.learn.seams import MODALITIES, NETWORKS, Sizes, find

# Voxels of a patch that a network is tried on before anything is computed; a larger one takes too long.
TRIED_VOXELS = 32**3
LOGITS, CENTRE, DIAMETER, PRESENCE = "logits", "centre", "diameter", "presence"  # names of heads


def make_network(
    name: str, *, channels: int | Sequence[str], dims: int, widths: Sequence[int], options: Mapping[str, Any] | None = None
) -> nn.Module:
    """The network called `name` (a key of `NETWORKS` or ``package.module:function``); what it returns is checked.

    `channels` are names, or how many there are; of names, a network that takes ``modalities`` is told what each measured.

    Raises
    ------
    DarklungError
        What `darklung.learn.seams.find` raises; something else than a torch module; and, whenever it is applied, an output
        that is not the logits of one channel (`logits_of`).
    """
    function = find("network", name, options)
    count = channels if isinstance(channels, int) else len(channels)
    told = {} if isinstance(channels, int) else _told_modalities(function, channels)
    network = function(channels=count, dims=dims, widths=tuple(widths), **(options or {}), **told)
    require(isinstance(network, nn.Module), f"network: {name!r} returned {type(network).__name__}, wanted a torch module")
    if name not in NETWORKS:
        # A hook changes neither the module's type nor the names of its weights.
        network.register_forward_hook(lambda module, given, found: _checked(name, module, found, given[0]))
    return network


def _told_modalities(function: Callable[..., Any], channels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    takes = named_parameters(function)
    return {MODALITIES: tuple(modality(c) for c in channels)} if MODALITIES in takes else {}


def _checked(name: str, module: nn.Module, found: Any, data: Tensor) -> Tensor | dict[str, Tensor]:
    """Its logits, and its heads if it detects; while it learns, the loss tells what is not finite."""
    logits = logits_of(name, found, data)
    bad = 0 if module.training else int((~torch.isfinite(logits)).sum())
    require(bad == 0, f"network {name}: {bad} of {logits.numel()} logits are not finite")
    if not detects(module):
        return logits
    wanted = {CENTRE: logits.shape, DIAMETER: logits.shape, PRESENCE: (len(logits), 1)}
    return {LOGITS: logits, **{head: _head(name, head, found, tuple(shape)) for head, shape in wanted.items()}}


def _head(name: str, head: str, found: Any, wanted: tuple[int, ...]) -> Tensor:
    value = found.get(head) if isinstance(found, Mapping) else None
    fits = isinstance(value, Tensor) and tuple(value.shape) == wanted and value.is_floating_point()
    if not fits or not isinstance(value, Tensor):
        raise DarklungError(f"network {name}: it detects; wanted its head {head} as real numbers of shape {wanted}")
    return value


def detects(network: nn.Module) -> bool:
    """Whether a network has the detection heads ``centre``, ``diameter`` and ``presence``."""
    return bool(getattr(network, "detects", False))


def heads_of(found: Any) -> dict[str, Tensor]:
    """What a checked network returned, as a mapping in any case."""
    return dict(found) if isinstance(found, Mapping) else {LOGITS: found}


def sizes_of(network: nn.Module, widths: Sequence[int]) -> Sizes:
    """The lengths that a network says it takes; one that does not say halves at each level but the first.

    Raises
    ------
    DarklungError
        ``sizes`` that are no `Sizes` of positive numbers.
    """
    found = getattr(network, "sizes", None)
    if found is None:
        multiple = 2 ** (len(widths) - 1)
        return Sizes(multiple, multiple)
    fits = isinstance(found, Sizes) and min(found.multiple, found.least) >= 1
    require(fits, f"network: sizes: wanted darklung.learn.seams.Sizes of positive numbers, got {found!r}")
    return Sizes(found.multiple, found.least)


def logits_of(name: str, found: Any, data: Tensor) -> Tensor:
    """The logits in what the network `name` made of `data` (batch, channel, *spatial).

    Raises
    ------
    DarklungError
        No tensor (or mapping with one under ``logits``) of real numbers and of the shape (batch, 1, *spatial).
    """
    wanted = (data.shape[0], 1, *data.shape[2:])
    if isinstance(found, Mapping):
        heads = ", ".join(str(key) for key in found) or "none"
        require(LOGITS in found, f"network {name}: wanted logits among its heads, got {heads}")
        found = found[LOGITS]
    if not isinstance(found, Tensor):
        raise DarklungError(f"network {name}: wanted a tensor of logits of shape {wanted}, got {type(found).__name__}")
    shape = tuple(found.shape)
    require(shape == wanted, f"network {name}: wanted logits of shape {wanted} for {tuple(data.shape)}, got {shape}")
    require(found.is_floating_point(), f"network {name}: wanted logits as real numbers, got {found.dtype}")
    return found


def try_network(
    name: str, *, channels: Sequence[str], dims: int, widths: Sequence[int], patch: int, options: Mapping[str, Any]
) -> bool:
    """Build a network and apply it to one patch of zeros, where that is fast; whether it detects.

    The patch is raised to the next length that the network takes.

    Raises
    ------
    DarklungError
        What `make_network` raises, and in one line whatever the network itself raises.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            network = make_network(name, channels=channels, dims=dims, widths=widths, options=options).eval()
            side = sizes_of(network, widths).fit(patch)
            if side**dims <= TRIED_VOXELS:
                network(torch.zeros(2, len(channels), *(side,) * dims))
            return detects(network)
    except DarklungError:
        raise
    except Exception as error:  # a user's network may raise anything
        told = " ".join(str(error).split())[:200]
        raise DarklungError(f"network {name}: {type(error).__name__} on a patch of {patch}: {told}") from error


def sizes_when_built(
    name: str, *, channels: Sequence[str], dims: int, widths: Sequence[int], options: Mapping[str, Any]
) -> Sizes:
    """The lengths that a network says it takes once it is built.

    Raises
    ------
    DarklungError
        What `try_network` raises.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            return sizes_of(make_network(name, channels=channels, dims=dims, widths=widths, options=options), widths)
    except DarklungError:
        raise
    except Exception as error:  # a user's network may raise anything
        raise DarklungError(f"network {name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
