"""Where and how a network is computed: device, memory layout, precision, threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def choose_device() -> torch.device:
    """The CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_precision(device: torch.device) -> str:
    """``"bfloat16"`` (autocast) where the hardware multiplies it faster than float32, else ``"float32"``.

    A CPU without AMX or AVX512-BF16 emulates bfloat16 and loses time.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    probes = [getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")]
    return "bfloat16" if any(probe() for probe in probes if probe is not None) else "float32"


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
