"""Parts that darklung's networks are built of, one code for 2-D and 3-D."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from darklung.learn.seams import WIDTH_MULTIPLE

OUTPUT_PRIOR = -5.0  # logit of the expected lesion share; starting at 0.5 instead, small lesions were never learned


def convolution(dims: int, inputs: int, outputs: int, size: int, *, bias: bool = True, stride: int = 1) -> Any:
    """Convolution of an odd `size` that keeps lengths at stride 1."""
    kinds = (PointConvolution2d, PointConvolution3d) if size == 1 and stride == 1 else (nn.Conv2d, nn.Conv3d)
    return kinds[dims - 2](inputs, outputs, size, padding=size // 2, bias=bias, stride=stride)


class _Point:
    """A convolution of single voxels as a matrix product: torch's own one forgets on a CPU that channels are last."""

    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, *spatial) -> (batch, outputs, *spatial)."""
        return functional.linear(x.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)


class PointConvolution2d(_Point, nn.Conv2d):
    """`_Point` in 2-D."""


class PointConvolution3d(_Point, nn.Conv3d):
    """`_Point` in 3-D."""


def norm_layer(kind: str, dims: int, width: int) -> nn.Module:
    """Normalisation of `width` channels: ``"instance"`` or ``"batch"``."""
    if kind == "batch":
        return (nn.BatchNorm2d, nn.BatchNorm3d)[dims - 2](width)
    return InstanceNorm(width, width)


class InstanceNorm(nn.GroupNorm):
    """Normalisation of each channel of each sample.

    A group norm of single channels, which keeps channels last and predicts in a third less time than torch's instance norm.
    Its gradient on a CPU does not keep them, and everything behind it then goes through memory out of order: there value and
    derivative are written out here.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, *spatial) -> the same shape."""
        own = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and torch.is_grad_enabled()
        if not own:
            return super().forward(x)
        normalised: Tensor = _Normalise.apply(x, self.weight, self.bias, self.eps)
        return normalised


class _Normalise(torch.autograd.Function):
    """(x − mean) / SD · weight + bias over the voxels of each channel of each sample, channels last in memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        flat = _channels_last(x)
        centred = flat - flat.mean(dim=1, keepdim=True)
        scale = torch.rsqrt(centred.square().mean(dim=1, keepdim=True) + eps)
        ctx.save_for_backward(centred, scale, weight)
        out, inside = _channels_last_like(x)
        torch.addcmul(bias, centred, scale * weight, out=inside)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        centred, scale, weight = ctx.saved_tensors
        given = _channels_last(gradient)
        total = given.sum(dim=1, keepdim=True)
        along = (given * centred).sum(dim=1, keepdim=True) * scale
        gain = scale * weight / given.shape[1]
        out, inside = _channels_last_like(gradient)
        torch.addcmul(-gain * total, given, scale * weight, out=inside).addcmul_(centred, -gain * scale * along)
        return out, along.sum(dim=(0, 1)), total.sum(dim=(0, 1)), None


def _channels_last(x: Tensor) -> Tensor:
    """(batch, channel, *spatial) -> (batch, voxel, channel), a view where channels are last in memory already."""
    return x.movedim(1, -1).flatten(1, -2).contiguous()


def _channels_last_like(x: Tensor) -> tuple[Tensor, Tensor]:
    """An empty tensor of the shape of `x` with channels last in memory, and a view of it as (batch, voxel, channel)."""
    empty = x.new_empty(x.shape[0], *x.shape[2:], x.shape[1])
    flat = empty.flatten(1, -2)
    return empty.movedim(-1, 1).detach(), flat


def activation() -> nn.Module:
    """What follows each normalisation."""
    return nn.LeakyReLU(0.01, inplace=True)


def upsample(dims: int) -> nn.Module:
    """Twice the length along every axis, linearly."""
    return nn.Upsample(scale_factor=2, mode=("bilinear", "trilinear")[dims - 2], align_corners=False)


def output_layer(dims: int, width: int, norm: str) -> nn.Sequential:
    """One map from features, nearly `OUTPUT_PRIOR` everywhere before training."""
    last = convolution(dims, width, 1, 1)
    layer = nn.Sequential(norm_layer(norm, dims, width), activation(), last)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.constant_(last.bias, OUTPUT_PRIOR)
    return layer


class ResidualBlock(nn.Module):
    """x + f(x) with normalisation before each convolution, so that absolute contrast passes along the sum."""

    def __init__(self, dims: int, inputs: int, outputs: int, stride: int = 1, norm: str = "instance") -> None:
        super().__init__()
        self.body = nn.Sequential(
            norm_layer(norm, dims, inputs),
            activation(),
            convolution(dims, inputs, outputs, 3, bias=False, stride=stride),
            norm_layer(norm, dims, outputs),
            activation(),
            convolution(dims, outputs, outputs, 3),
        )
        same = stride == 1 and inputs == outputs
        pool = (nn.AvgPool2d, nn.AvgPool3d)[dims - 2](stride) if stride > 1 else nn.Identity()
        self.skip = nn.Identity() if same else nn.Sequential(pool, convolution(dims, inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, *spatial) -> (batch, outputs, *spatial / stride)."""
        return self.skip(x) + self.body(x)


class AttentionGate(nn.Module):
    """Additive gate: what the coarse level knows decides where the fine level's features pass (values in 0..1)."""

    def __init__(self, dims: int, fine: int, coarse: int, norm: str = "instance") -> None:
        super().__init__()
        self.query = convolution(dims, coarse, WIDTH_MULTIPLE, 1)
        self.key = convolution(dims, fine, WIDTH_MULTIPLE, 1, bias=False)
        self.norm = norm_layer(norm, dims, WIDTH_MULTIPLE)
        self.score = convolution(dims, WIDTH_MULTIPLE, 1, 1)
        self.shrink = (nn.AvgPool2d, nn.AvgPool3d)[dims - 2](2)
        self.grow = upsample(dims)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Gated copy of `fine`; the gate is computed on the coarse grid."""
        joint = self.norm(self.key(self.shrink(fine)) + self.query(coarse))
        gate = torch.sigmoid(self.score(torch.relu(joint)))
        return fine * self.grow(gate)


class Detector(nn.Module):
    """Detection heads on the features that the voxel logits come from.

    References
    ----------
    A heat map of centres with a size beside it: Zhou, Wang, Krähenbühl 2019, arXiv:1904.07850.
    """

    def __init__(self, dims: int, width: int, norm: str) -> None:
        super().__init__()
        first = (norm_layer(norm, dims, width), activation(), convolution(dims, width, width, 3), activation())
        self.body = nn.Sequential(*first)
        self.maps = convolution(dims, width, 2, 1)
        self.presence = nn.Linear(2 * width, 1)
        nn.init.normal_(self.maps.weight, std=0.01)
        with torch.no_grad():
            self.maps.bias.copy_(torch.tensor([OUTPUT_PRIOR, 0.0]))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """(batch, width, *spatial) -> ``centre`` (logit), ``diameter`` (log of mm), both (batch, 1, *spatial), ``presence``.

        ``presence`` (batch, 1) is the logit of a lesion anywhere in the patch, from mean and maximum of each feature.
        """
        x = self.body(features)
        flat = x.flatten(2)
        pooled = torch.cat([flat.mean(dim=2), flat.amax(dim=2)], dim=1)
        centre, diameter = self.maps(x).split(1, dim=1)
        return {"centre": centre, "diameter": diameter, "presence": self.presence(pooled)}
