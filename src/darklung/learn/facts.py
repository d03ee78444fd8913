"""What a network is and costs: parameters, how far a voxel sees, memory and time of a step. Measured, not assumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from darklung.learn.device import choose_device, one_thread, place
from darklung.learn.network import LOGITS, heads_of, make_network, sizes_of

SEEN_SHARE = 0.95  # of the squared gradient, that the field of view is told for
COPIES = 4  # of each weight: itself, its gradient and two moments
MIB = 2**20


@dataclass(frozen=True)
class NetworkFacts:
    """A network on patches of the size that it is trained on.

    Parameters
    ----------
    parameters : int
    patch : tuple of int
    field_of_view : int
        Side of the cube of input voxels that holds 95 % of the squared gradient of the middle voxel's logit, before training
        (the effective receptive field of Luo et al. 2016, arXiv:1701.04128).
    reach : int
        Side of the cube that holds all voxels whose gradient is not zero; instance norm makes it the whole patch.
    step_memory_mib : float
        What a step keeps for the way back, and four numbers a weight.
    step_gflop : float
        Floating-point operations of a step, 10⁹.
    """

    parameters: int
    patch: tuple[int, ...]
    field_of_view: int
    reach: int
    step_memory_mib: float
    step_gflop: float

    def told(self, seconds: float) -> str:
        """One line for people; `seconds` of one step."""
        sees = f"a voxel sees {self.field_of_view} of {self.patch[0]} along each axis"
        cost = f"{self.step_memory_mib:.0f} MiB, {self.step_gflop:.2f} GFLOP and {seconds:.2g} s a step"
        return f"network: {self.parameters:,} parameters, {sees}, {cost}"

    def as_json(self) -> dict[str, Any]:
        """For model.json."""
        return {**asdict(self), "patch": list(self.patch)}


def measure_network(
    network: nn.Module,
    forward: Callable[[Tensor], Mapping[str, Tensor]],
    *,
    channels: int,
    patch: Sequence[int],
    batch: int,
) -> tuple[NetworkFacts, float]:
    """Facts of a network, and the seconds of one forward and backward pass.

    Parameters
    ----------
    network : nn.Module
        Measured as it trains. Neither its weights nor its statistics change, and no random number of others is drawn; its
        gradients are gone afterwards.
    forward : callable
        From a batch to its heads, as training does it.
    channels, patch, batch : int, sequence of int, int
    """
    network.train()
    weights = list(network.parameters())
    device = weights[0].device if weights else torch.device("cpu")
    noise = np.random.default_rng(0).standard_normal((batch, channels, *patch), dtype=np.float32)
    data = torch.from_numpy(noise).to(device).requires_grad_()
    middle = (0, 0, *(n // 2 for n in patch))
    before = {name: value.clone() for name, value in network.named_buffers()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for networks that draw
        with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            forward(data)[LOGITS][middle].backward()
        seen = np.zeros_like(noise[0]) if data.grad is None else data.grad[0].float().cpu().numpy()
        begun = time.perf_counter()
        forward(data)[LOGITS][middle].backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - begun
    network.zero_grad(set_to_none=True)
    for name, value in network.named_buffers():
        value.copy_(before[name])
    effective, reach = _sides((seen.astype(np.float64) ** 2).sum(axis=0))
    numbers = sum(p.numel() for p in weights)
    memory = (sum(kept.values()) + COPIES * sum(p.numel() * p.element_size() for p in weights)) / MIB
    gflop = counter.get_total_flops() / 1e9
    return NetworkFacts(numbers, tuple(patch), effective, reach, round(memory, 2), round(gflop, 4)), seconds


def measure_named(
    name: str,
    options: Mapping[str, Any],
    *,
    channels: Sequence[str],
    dims: int,
    widths: Sequence[int],
    patch: int,
    batch: int,
) -> tuple[NetworkFacts, float]:
    """`measure_network` of a network by its name, on one thread of this machine's device and in float32.

    Raises
    ------
    DarklungError
        What `darklung.learn.network.make_network` raises.
    """
    device = choose_device()
    with torch.random.fork_rng(devices=[]), one_thread():
        network = place(make_network(name, channels=channels, dims=dims, widths=widths, options=options), device)
        sides = (sizes_of(network, widths).fit(patch),) * dims
        return measure_network(network, lambda x: heads_of(network(x)), channels=len(channels), patch=sides, batch=batch)


def _sides(squares: NDArray[np.float64]) -> tuple[int, int]:
    """Sides of the cubes around the middle that hold `SEEN_SHARE` of the sum, and all of it; at most the patch."""
    axes = [abs(np.arange(n) - n // 2) for n in squares.shape]
    away = np.max(np.stack(np.meshgrid(*axes, indexing="ij")), axis=0)
    sums = np.bincount(away.ravel(), weights=squares.ravel()).cumsum()
    if not sums[-1] > 0:
        return 0, 0
    effective = int(np.searchsorted(sums, SEEN_SHARE * sums[-1]))
    reach = int(away[squares > 0].max())
    most = min(squares.shape)
    return min(2 * effective + 1, most), min(2 * reach + 1, most)
