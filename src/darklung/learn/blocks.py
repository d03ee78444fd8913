"""Parts that darklung's networks are built of, one code for 2-D and 3-D."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from darklung.learn.seams import WIDTH_MULTIPLE

OUTPUT_PRIOR = -5.0  # logit of the expected lesion share; starting at 0.5 instead, small lesions were never learned


def convolution(dims: int, inputs: int, outputs: int, size: int, *, bias: bool = True, stride: int = 1) -> Any:
    """Convolution of an odd `size` that keeps lengths at stride 1."""
    return (nn.Conv2d, nn.Conv3d)[dims - 2](inputs, outputs, size, padding=size // 2, bias=bias, stride=stride)


def norm_layer(kind: str, dims: int, width: int) -> nn.Module:
    """Normalisation of `width` channels: ``"instance"`` or ``"batch"``."""
    if kind == "batch":
        return (nn.BatchNorm2d, nn.BatchNorm3d)[dims - 2](width)
    # Instance norm, written as a group norm of single channels: that one keeps channels last and takes 10 % off a training
    # step and 30 % off prediction (measured).
    return nn.GroupNorm(width, width)


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
