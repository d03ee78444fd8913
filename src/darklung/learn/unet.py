"""Residual U-Net with additive attention gates, and the frame that it shares with the Swin U-Net."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from darklung.core.checks import check_one_of, check_range, require
from darklung.learn.blocks import AttentionGate, Detector, ResidualBlock, convolution, output_layer, upsample
from darklung.learn.seams import check_widths, halving

NORMS = ("instance", "batch")

Encoder = Callable[[int, int], nn.Module]  # channels of a level and of the next coarser one -> half the resolution


def residual_attention_unet(
    *,
    channels: int,
    dims: int,
    widths: Sequence[int] = (16, 32, 48),
    norm: str = "instance",
    deep_supervision: bool = False,
    detection: bool = False,
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

    def encoder(fine: int, coarse: int) -> nn.Module:
        return ResidualBlock(dims, fine, coarse, stride=2, norm=norm)

    return UNet(channels, dims, tuple(widths), encoder, norm=norm, deep=deep_supervision, detection=detection)


def check_common(channels: int, dims: int, widths: Sequence[int]) -> None:
    """Raise unless darklung's own networks can be built so."""
    check_range("channels", channels, 1, 1024)
    require(dims in (2, 3), f"dims: wanted 2 or 3, got {dims!r}")
    check_widths(widths)


class UNet(nn.Module):
    """Levels that halve the resolution by `encoder`, and a decoder with attention gates that goes back up.

    ``sizes`` are the lengths that fit, ``detects`` tells of the detection heads, ``float32_on_cpu`` of a network that is not
    computed in less there.
    """

    def __init__(
        self,
        channels: int,
        dims: int,
        widths: tuple[int, ...],
        encoder: Encoder,
        *,
        norm: str = "instance",
        deep: bool = False,
        detection: bool = False,
        float32_on_cpu: bool = False,
    ) -> None:
        super().__init__()
        self.sizes = halving(widths)
        self.detects, self.float32_on_cpu = detection, float32_on_cpu
        self.stem = convolution(dims, channels, widths[0], 3)
        pairs = list(pairwise(widths))
        back = list(reversed(pairs))
        self.first = ResidualBlock(dims, widths[0], widths[0], norm=norm)
        self.down = nn.ModuleList(encoder(fine, coarse) for fine, coarse in pairs)
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
        levels = [self.first(self.stem(x))]
        for block in self.down:
            levels.append(block(levels[-1]))
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
