"""Swin-transformer U-Net in 2-D and 3-D: attention in shifted windows on the way down, convolutions on the way up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from darklung.core.checks import check_range
from darklung.learn.seams import WIDTH_MULTIPLE
from darklung.learn.unet import EARLY, UNet, check_common, groups_of

HEAD_WIDTH = WIDTH_MULTIPLE  # channels of an attention head
WIDENING = 2  # of the two layers after an attention


def swin_unet(
    *,
    channels: int,
    dims: int,
    widths: Sequence[int] = (16, 32, 48),
    window: int = 4,
    depth: int = 2,
    deep_supervision: bool = False,
    detection: bool = False,
    fusion: str = EARLY,
    modalities: Sequence[str] = (),
) -> nn.Module:
    """U-Net whose encoder is a Swin transformer.

    The finest level is a residual block; each coarser one merges 2 voxels along every axis and has `depth` transformer
    blocks, every other with its windows shifted by half. Decoder, gates and heads are those of `residual_attention_unet`,
    and so are the lengths that fit: as many stages as there are widths less one, instead of the four of SwinUNETR, which
    ask for 64 voxels a side. A grid smaller than a window is one window; one that is no multiple is padded, and nothing
    else attends to what was padded.

    Parameters
    ----------
    channels, dims, widths, deep_supervision, detection, fusion, modalities
        As of `darklung.learn.unet.residual_attention_unet`.
    window : int
        Voxels of a level along each side of a window, 2 to 16; memory goes with its length to the power of 2 · dims.
    depth : int
        Transformer blocks of a level.

    Returns
    -------
    nn.Module
        As of `darklung.learn.unet.residual_attention_unet`. On a CPU it is computed in float32 whatever `precision` says is
        possible: in bfloat16 its values were not finite there.

    Raises
    ------
    DarklungError
        Dims, widths, window or depth out of their ranges.

    References
    ----------
    Liu et al. 2021, 10.1109/ICCV48922.2021.00986; Hatamizadeh et al. 2022 (SwinUNETR), 10.1007/978-3-031-08999-2_22.
    """
    check_common(channels, dims, widths)
    check_range("window", window, 2, 16)
    check_range("depth", depth, 1, 24)

    def halve(fine: int, coarse: int) -> nn.Module:
        return SwinStage(dims, fine, coarse, window, depth)

    heads = {"deep": deep_supervision, "detection": detection}
    groups = groups_of(fusion, channels, modalities)
    return UNet(groups, dims, tuple(widths), halve, norm="instance", float32_on_cpu=True, **heads)


class SwinStage(nn.Module):
    """Half the resolution, then transformer blocks."""

    def __init__(self, dims: int, inputs: int, outputs: int, window: int, depth: int) -> None:
        super().__init__()
        self.merge = (nn.Conv2d, nn.Conv3d)[dims - 2](inputs, outputs, 2, stride=2)
        self.norm = nn.LayerNorm(outputs)
        self.blocks = nn.ModuleList(SwinBlock(dims, outputs, window, shifted=i % 2 == 1) for i in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, *spatial) -> (batch, outputs, *spatial / 2)."""
        x = self.norm(self.merge(x).movedim(1, -1))
        for block in self.blocks:
            x = block(x)
        return x.movedim(-1, 1)


class SwinBlock(nn.Module):
    """Attention within windows, then two layers voxel by voxel, each added to what came in; (batch, *spatial, channel)."""

    def __init__(self, dims: int, width: int, window: int, *, shifted: bool) -> None:
        super().__init__()
        self.window, self.shifted, self.heads = window, shifted, width // HEAD_WIDTH
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros((2 * window - 1) ** dims, self.heads))
        self.layers = nn.Sequential(nn.Linear(width, WIDENING * width), nn.GELU(), nn.Linear(WIDENING * width, width))
        nn.init.trunc_normal_(self.bias, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *spatial, channel) -> the same shape."""
        x = x + self._attended(self.before(x))
        return x + self.layers(self.after(x))

    def _attended(self, x: Tensor) -> Tensor:
        lengths = tuple(x.shape[1:-1])
        window = tuple(min(self.window, n) for n in lengths)
        shift = tuple(w // 2 if self.shifted and n > w else 0 for n, w in zip(lengths, window))
        axes = tuple(range(1, x.ndim - 1))
        missing = [-n % w for n, w in zip(lengths, window)]
        x = functional.pad(x, [0, 0, *(v for m in reversed(missing) for v in (0, m))])
        padded = tuple(x.shape[1:-1])
        parts = _cut(torch.roll(x, [-s for s in shift], axes), window)
        bias = self.bias[torch.from_numpy(_offsets(window, self.window)).to(x.device)].permute(2, 0, 1)[None]
        apart = _apart(lengths, window, shift)
        if apart is not None:
            hidden = torch.from_numpy(apart).to(x.device)[:, None].repeat(len(x), 1, 1, 1)
            bias = bias.masked_fill(hidden, -1e4)
        joined = _joined(self._attention(parts, bias), padded, window)
        whole = torch.roll(joined, shift, axes)
        return whole[(slice(None), *(slice(n) for n in lengths))]

    def _attention(self, x: Tensor, bias: Tensor) -> Tensor:
        """(window, voxel, channel) -> the same shape."""
        count, voxels, width = x.shape
        qkv = self.query_key_value(x).reshape(count, voxels, 3, self.heads, HEAD_WIDTH)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        return self.joined(found.transpose(1, 2).reshape(count, voxels, width))


def _cut(x: Tensor, window: Sequence[int]) -> Tensor:
    """(batch, *spatial, channel) -> (batch · window, voxel, channel)."""
    dims = len(window)
    blocks = [v for n, w in zip(x.shape[1:-1], window) for v in (n // w, w)]
    x = x.reshape(len(x), *blocks, x.shape[-1])
    order = (0, *range(1, 2 * dims, 2), *range(2, 2 * dims + 1, 2), 2 * dims + 1)
    return x.permute(order).reshape(-1, int(np.prod(window)), x.shape[-1])


def _joined(parts: Tensor, spatial: Sequence[int], window: Sequence[int]) -> Tensor:
    """What `_cut` took apart."""
    dims = len(window)
    counts = [n // w for n, w in zip(spatial, window)]
    x = parts.reshape(-1, *counts, *window, parts.shape[-1])
    order = (0, *(v for i in range(dims) for v in (1 + i, 1 + dims + i)), 2 * dims + 1)
    return x.permute(order).reshape(len(x), *spatial, parts.shape[-1])


@lru_cache(maxsize=64)
def _offsets(window: tuple[int, ...], full: int) -> NDArray[np.int64]:
    """Row of the table of biases for each pair of voxels of a window, (voxel, voxel)."""
    voxels = np.array(list(product(*(range(w) for w in window))))
    difference = voxels[:, None] - voxels[None] + full - 1
    return np.asarray(difference @ (2 * full - 1) ** np.arange(len(window)), dtype=np.int64)


@lru_cache(maxsize=64)
def _apart(lengths: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Pairs of voxels that share a window without being neighbours, (window, voxel, voxel); None where there are none.

    Rolling brings opposite faces together, and padding is no neighbour of anything.
    """
    part = np.zeros((), dtype=np.int64)
    for n, w, s in zip(lengths, window, shift):
        place = np.roll(np.arange(n + -n % w), -s)
        wrapped = np.arange(len(place)) >= len(place) - s if s else np.zeros(len(place), bool)
        part = np.add.outer(4 * part, np.where(place >= n, 3, wrapped.astype(np.int64)))
    tokens = _cut(torch.from_numpy(part)[None, ..., None], window)[..., 0].numpy()
    apart = tokens[:, :, None] != tokens[:, None]
    return apart if apart.any() else None
