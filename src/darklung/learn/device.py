"""Where and how a network is computed: device, memory layout, precision, threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from darklung.core.checks import require


def choose_device() -> torch.device:
    """The CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_precision(device: torch.device, wanted: str = "auto", *, float32_on_cpu: bool = False) -> str:
    """``"bfloat16"`` (autocast) or ``"float32"``: on a GPU what it multiplies fastest, on a CPU float32 unless asked.

    A CPU without AMX or AVX512-BF16 emulates bfloat16 and loses time, and Swin transformers gave values there that were not
    finite.

    Raises
    ------
    DarklungError
        bfloat16 is wanted where the hardware does not multiply it, or of a network that is computed in float32 on a CPU.
    """
    if wanted == "float32" or (wanted == "auto" and device.type != "cuda"):
        return "float32"
    has = _has_bfloat16(device)
    if wanted == "auto":
        return "bfloat16" if has else "float32"
    require(has, f"training.precision: this {device.type} does not multiply bfloat16 faster than float32; wanted float32")
    stays = float32_on_cpu and device.type == "cpu"
    require(not stays, "training.precision: this network is computed in float32 on a CPU; wanted float32")
    return "bfloat16"


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    probes = [getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")]
    return any(probe() for probe in probes if probe is not None)


def place(network: nn.Module, device: torch.device) -> nn.Module:
    """Move `network` to `device` with channels last in memory (0–15 % less time a training step, benchmarks/learning.py)."""
    network.to(device)
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.ndim in layouts:
            parameter.data = parameter.data.contiguous(memory_format=layouts[parameter.ndim])
    return network


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: sums then run in one order everywhere. Independent trainings are what runs in parallel."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
