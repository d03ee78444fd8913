"""Residual U-Net with additive attention gates, one code for 2-D and 3-D; and networks by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from darklung.core.checks import DarklungError, check_range, require
from darklung.learn.seams import NETWORKS, WIDTH_MULTIPLE, check_widths, find

# Voxels of a patch that a network is tried on before anything is computed; a larger one takes too long.
TRIED_VOXELS = 32**3
OUTPUT_PRIOR = -5.0  # logit of the expected lesion share; starting at 0.5 instead, small lesions were never learned


def residual_attention_unet(*, channels: int, dims: int, widths: Sequence[int] = (16, 32, 48)) -> nn.Module:
    """Residual U-Net with attention gates for voxel logits.

    Parameters
    ----------
    channels : int
        Input channels.
    dims : {2, 3}
    widths : sequence of int
        Channels of each resolution level from fine to coarse, multiples of 16; each level halves the resolution, so every
        spatial length must be divisible by ``2 ** (len(widths) - 1)``.

    Returns
    -------
    nn.Module
        (batch, channel, *spatial) float -> (batch, 1, *spatial) logits, about −5 before training.

    Raises
    ------
    DarklungError
        Other dims, or widths that are no multiples of 16.

    References
    ----------
    U-Net: Ronneberger et al. 2015, 10.1007/978-3-319-24574-4_28. Attention gates: Schlemper et al. 2019,
    10.1016/j.media.2019.01.012. Pre-activation residuals: He et al. 2016, 10.1007/978-3-319-46493-0_38. Prior on the output
    bias: Lin et al. 2017, 10.1109/ICCV.2017.324. Unlike the published gates, ours normalise each sample by itself, since a
    batch holds only 1 to 4 patches.
    """
    check_range("channels", channels, 1, 1024)
    require(dims in (2, 3), f"dims: wanted 2 or 3, got {dims!r}")
    check_widths(widths)
    return ResidualAttentionUNet(channels, dims, tuple(widths))


def make_network(
    name: str, *, channels: int, dims: int, widths: Sequence[int], options: Mapping[str, Any] | None = None
) -> nn.Module:
    """The network called `name` (a key of `NETWORKS` or ``package.module:function``); what it returns is checked.

    Raises
    ------
    DarklungError
        What `darklung.learn.seams.find` raises; something else than a torch module; and, whenever it is applied, an output
        that is not the logits of one channel (`logits_of`).
    """
    function = find("network", name, options)
    network = function(channels=channels, dims=dims, widths=tuple(widths), **(options or {}))
    require(isinstance(network, nn.Module), f"network: {name!r} returned {type(network).__name__}, wanted a torch module")
    if name not in NETWORKS:
        # A hook changes neither the module's type nor the names of its weights.
        network.register_forward_hook(lambda module, given, found: _checked(name, module, found, given[0]))
    return network


def _checked(name: str, module: nn.Module, found: Any, data: Tensor) -> Tensor:
    """Its logits; while it learns, the loss tells what is not finite."""
    logits = logits_of(name, found, data)
    bad = 0 if module.training else int((~torch.isfinite(logits)).sum())
    require(bad == 0, f"network {name}: {bad} of {logits.numel()} logits are not finite")
    return logits


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
        require("logits" in found, f"network {name}: wanted logits among its heads, got {heads}")
        found = found["logits"]
    if not isinstance(found, Tensor):
        raise DarklungError(f"network {name}: wanted a tensor of logits of shape {wanted}, got {type(found).__name__}")
    shape = tuple(found.shape)
    require(shape == wanted, f"network {name}: wanted logits of shape {wanted} for {tuple(data.shape)}, got {shape}")
    require(found.is_floating_point(), f"network {name}: wanted logits as real numbers, got {found.dtype}")
    return found


def try_network(
    name: str, *, channels: int, dims: int, widths: Sequence[int], patch: int, options: Mapping[str, Any]
) -> None:
    """Build a network and apply it to one patch of zeros, where that is fast.

    Raises
    ------
    DarklungError
        What `make_network` raises, and in one line whatever the network itself raises.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            network = make_network(name, channels=channels, dims=dims, widths=widths, options=options).eval()
            if patch**dims <= TRIED_VOXELS:
                network(torch.zeros(2, channels, *(patch,) * dims))
    except DarklungError:
        raise
    except Exception as error:  # a user's network may raise anything
        told = " ".join(str(error).split())[:200]
        raise DarklungError(f"network {name}: {type(error).__name__} on a patch of {patch}: {told}") from error


def _convolution(dims: int, inputs: int, outputs: int, size: int, *, bias: bool = True, stride: int = 1) -> Any:
    return (nn.Conv2d, nn.Conv3d)[dims - 2](inputs, outputs, size, padding=size // 2, bias=bias, stride=stride)


def _norm(width: int) -> nn.Module:
    # Instance norm, written as a group norm of single channels: that one keeps channels last and takes 10 % off a training
    # step and 30 % off prediction (measured).
    return nn.GroupNorm(width, width)


def _activation() -> nn.Module:
    return nn.LeakyReLU(0.01, inplace=True)


class ResidualBlock(nn.Module):
    """x + f(x) with normalisation before each convolution, so that absolute contrast passes along the sum."""

    def __init__(self, dims: int, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _norm(inputs),
            _activation(),
            _convolution(dims, inputs, outputs, 3, bias=False, stride=stride),
            _norm(outputs),
            _activation(),
            _convolution(dims, outputs, outputs, 3),
        )
        same = stride == 1 and inputs == outputs
        pool = (nn.AvgPool2d, nn.AvgPool3d)[dims - 2](stride) if stride > 1 else nn.Identity()
        self.skip = nn.Identity() if same else nn.Sequential(pool, _convolution(dims, inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, *spatial) -> (batch, outputs, *spatial / stride)."""
        return self.skip(x) + self.body(x)


class AttentionGate(nn.Module):
    """Additive gate: what the coarse level knows decides where the fine level's features pass (values in 0..1)."""

    def __init__(self, dims: int, fine: int, coarse: int) -> None:
        super().__init__()
        self.query = _convolution(dims, coarse, WIDTH_MULTIPLE, 1)
        self.key = _convolution(dims, fine, WIDTH_MULTIPLE, 1, bias=False)
        self.norm = _norm(WIDTH_MULTIPLE)
        self.score = _convolution(dims, WIDTH_MULTIPLE, 1, 1)
        self.shrink = (nn.AvgPool2d, nn.AvgPool3d)[dims - 2](2)
        self.grow = nn.Upsample(scale_factor=2, mode=("bilinear", "trilinear")[dims - 2], align_corners=False)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Gated copy of `fine`; the gate is computed on the coarse grid."""
        joint = self.norm(self.key(self.shrink(fine)) + self.query(coarse))
        gate = torch.sigmoid(self.score(torch.relu(joint)))
        return fine * self.grow(gate)


class ResidualAttentionUNet(nn.Module):
    """See `residual_attention_unet`."""

    def __init__(self, channels: int, dims: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = _convolution(dims, channels, widths[0], 3)
        pairs = list(pairwise(widths))
        self.first = ResidualBlock(dims, widths[0], widths[0])
        self.down = nn.ModuleList(ResidualBlock(dims, fine, coarse, stride=2) for fine, coarse in pairs)
        self.gates = nn.ModuleList(AttentionGate(dims, fine, coarse) for fine, coarse in reversed(pairs))
        self.lift = nn.ModuleList(_convolution(dims, coarse, fine, 1) for fine, coarse in reversed(pairs))
        self.up = nn.ModuleList(ResidualBlock(dims, fine, fine) for fine, _ in reversed(pairs))
        self.grow = nn.Upsample(scale_factor=2, mode=("bilinear", "trilinear")[dims - 2], align_corners=False)
        last = _convolution(dims, widths[0], 1, 1)
        self.head = nn.Sequential(_norm(widths[0]), _activation(), last)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.constant_(last.bias, OUTPUT_PRIOR)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, *spatial) -> (batch, 1, *spatial) logits."""
        levels = [self.first(self.stem(x))]
        for block in self.down:
            levels.append(block(levels[-1]))
        x = levels.pop()
        for gate, lift, block in zip(self.gates, self.lift, self.up):
            fine = levels.pop()
            x = block(self.grow(lift(x)) + gate(fine, x))
        return self.head(x)
