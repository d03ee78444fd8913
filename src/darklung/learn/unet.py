"""Residual U-Net with additive attention gates, and the frame that it shares with the Swin U-Net."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from darklung.core.checks import check_one_of, check_range, require
from darklung.learn.blocks import AttentionGate, Detector, ResidualBlock, convolution, output_layer, upsample
from darklung.learn.seams import check_widths, halving

NORMS = ("instance", "batch")
EARLY, LATE = "early", "late"

Halving = Callable[[int, int], nn.Module]  # channels of a level and of the next coarser one -> half the resolution
Groups = Sequence[Sequence[int]]  # of channels that share an encoder


def residual_attention_unet(
    *,
    channels: int,
    dims: int,
    widths: Sequence[int] = (16, 32, 48),
    norm: str = "instance",
    deep_supervision: bool = False,
    detection: bool = False,
    fusion: str = EARLY,
    modalities: Sequence[str] = (),
) -> nn.Module:
    """Residual U-Net with attention gates for voxel logits.

    Parameters
    ----------
    channels : int
        Input channels.
    dims : {2, 3}
    widths : sequence of int
        Channels of each resolution level from fine to coarse, multiples of 16; each level halves the resolution, so every
        spatial length must be divisible by ``2 ** (len(widths) - 1)``.
    norm : {"instance", "batch"}
        What is normalised together: each channel of each sample, or each channel of the batch.
    deep_supervision : bool
        Logits of the coarser levels too while it learns (``logits_2``, ``logits_4``, ...), which the loss sees as well.
    detection : bool
        Heads beside the logits: ``centre``, ``diameter``, ``presence`` (`darklung.learn.blocks.Detector`).
    fusion : {"early", "late"}
        One encoder that sees all channels, or one for what each modality measured; late ones are joined at each level.
        Channels of one modality make both the same.
    modalities : sequence of str
        What each channel measured (`darklung.core.channel.modality`); late fusion needs it.

    Returns
    -------
    nn.Module
        (batch, channel, *spatial) float -> (batch, 1, *spatial) logits, about −5 before training; with further heads a
        mapping that has them under ``logits``.

    Raises
    ------
    DarklungError
        Other dims, another norm, or widths that are no multiples of 16.

    References
    ----------
    U-Net: Ronneberger et al. 2015, 10.1007/978-3-319-24574-4_28. Attention gates: Schlemper et al. 2019,
    10.1016/j.media.2019.01.012. Pre-activation residuals: He et al. 2016, 10.1007/978-3-319-46493-0_38. Prior on the output
    bias: Lin et al. 2017, 10.1109/ICCV.2017.324. Deep supervision: Lee et al. 2015, arXiv:1409.5185. Unlike the published
    gates, ours normalise each sample by itself, since a batch holds only 1 to 4 patches.
    """
    check_common(channels, dims, widths)
    check_one_of("norm", norm, NORMS)

    def halve(fine: int, coarse: int) -> nn.Module:
        return ResidualBlock(dims, fine, coarse, stride=2, norm=norm)

    groups = groups_of(fusion, channels, modalities)
    return UNet(groups, dims, tuple(widths), halve, norm=norm, deep=deep_supervision, detection=detection)


def check_common(channels: int, dims: int, widths: Sequence[int]) -> None:
    """Raise unless darklung's own networks can be built so."""
    check_range("channels", channels, 1, 1024)
    require(dims in (2, 3), f"dims: wanted 2 or 3, got {dims!r}")
    check_widths(widths)


def groups_of(fusion: str, channels: int, modalities: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Which channels each encoder sees.

    Raises
    ------
    DarklungError
        Another fusion, or late fusion of channels of which nothing is known.
    """
    check_one_of("fusion", fusion, (EARLY, LATE))
    if fusion == EARLY:
        return (tuple(range(channels)),)
    told = len(modalities) == channels
    require(told, f"fusion: late: wanted the modality of each of {channels} channels, got {tuple(modalities)}")
    return tuple(tuple(i for i, m in enumerate(modalities) if m == one) for one in dict.fromkeys(modalities))


class Descent(nn.Module):
    """One way down: features of each level, from fine to coarse, of some channels."""

    def __init__(self, channels: int, dims: int, widths: Sequence[int], halve: Halving, norm: str) -> None:
        super().__init__()
        self.stem = convolution(dims, channels, widths[0], 3)
        self.first = ResidualBlock(dims, widths[0], widths[0], norm=norm)
        self.down = nn.ModuleList(halve(fine, coarse) for fine, coarse in pairwise(widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(batch, channel, *spatial) -> a tensor for each of the widths."""
        levels = [self.first(self.stem(x))]
        for block in self.down:
            levels.append(block(levels[-1]))
        return levels


class Descents(nn.Module):
    """A way down for each group of channels; each level of them is joined by a convolution of single voxels."""

    def __init__(self, groups: Groups, dims: int, widths: Sequence[int], halve: Halving, norm: str) -> None:
        super().__init__()
        self.groups = [list(group) for group in groups]
        self.ways = nn.ModuleList(Descent(len(group), dims, widths, halve, norm) for group in groups)
        self.joins = nn.ModuleList(convolution(dims, len(groups) * width, width, 1) for width in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(batch, channel, *spatial) -> a tensor for each of the widths."""
        ways = [way(x[:, group]) for way, group in zip(self.ways, self.groups)]
        return [join(torch.cat(level, dim=1)) for join, level in zip(self.joins, zip(*ways))]


class UNet(nn.Module):
    """Levels that halve the resolution by `halve`, and a decoder with attention gates that goes back up.

    Each of `groups` of channels has its own way down. ``sizes`` are the lengths that fit, ``detects`` tells of the detection
    heads, ``float32_on_cpu`` of a network that is not computed in less there.
    """

    def __init__(
        self,
        groups: Groups,
        dims: int,
        widths: tuple[int, ...],
        halve: Halving,
        *,
        norm: str = "instance",
        deep: bool = False,
        detection: bool = False,
        float32_on_cpu: bool = False,
    ) -> None:
        super().__init__()
        self.sizes = halving(widths)
        self.detects, self.float32_on_cpu = detection, float32_on_cpu
        back = list(reversed(list(pairwise(widths))))
        one = len(groups) == 1
        way = (dims, widths, halve, norm)
        self.encoder = Descent(len(groups[0]), *way) if one else Descents(groups, *way)
        self.gates = nn.ModuleList(AttentionGate(dims, fine, coarse, norm) for fine, coarse in back)
        self.lift = nn.ModuleList(convolution(dims, coarse, fine, 1) for fine, coarse in back)
        self.up = nn.ModuleList(ResidualBlock(dims, fine, fine, norm=norm) for fine, _ in back)
        self.grow = upsample(dims)
        self.head = output_layer(dims, widths[0], norm)
        coarser = [fine for fine, _ in back[:-1]] if deep else []
        self.deep = nn.ModuleList(output_layer(dims, width, norm) for width in coarser)
        self.detector = Detector(dims, widths[0], norm) if detection else None

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(batch, channel, *spatial) -> (batch, 1, *spatial) logits, or a mapping with them under ``logits``."""
        levels = self.encoder(x)
        x = levels.pop()
        passed = []
        for gate, lift, block in zip(self.gates, self.lift, self.up):
            fine = levels.pop()
            x = block(self.grow(lift(x)) + gate(fine, x))
            passed.append(x)
        heads = {"logits": self.head(x)}
        if self.training and len(self.deep):
            heads |= {f"logits_{2 ** (len(self.deep) - i)}": head(passed[i]) for i, head in enumerate(self.deep)}
        if self.detector is not None:
            heads |= self.detector(x)
        return heads if len(heads) > 1 else heads["logits"]
