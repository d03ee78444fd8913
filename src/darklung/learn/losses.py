"""Losses on voxel logits inside the lung region, and the signed distance map that the boundary loss needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional

from darklung.core.checks import DarklungError, check_positive, check_shape, require
from darklung.core.types import BACKGROUND, LESION
from darklung.learn.seams import LOSSES, find

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

DISTANCE_LIMIT_M = 2e-3
FOCUS = 2.0  # focal exponent
BOUNDARY_WEIGHT = 0.5


def make_loss(name: str, options: Mapping[str, Any] | None = None) -> Loss:
    """The loss called `name` (a key of `LOSSES` or ``package.module:function``) with its options; its value is checked.

    Raises
    ------
    DarklungError
        What `darklung.learn.seams.find` raises; and, whenever it is called, a value that is no tensor of one real number
        that depends on the logits.
    """
    function = partial(find("loss", name, options), **(options or {}))
    if name in LOSSES:
        return function

    def checked(logits: Tensor, target: Tensor, distance: Tensor, region: Tensor) -> Tensor:
        return _value(name, function(logits, target, distance, region))

    return checked


def _value(name: str, found: Any) -> Tensor:
    if not isinstance(found, Tensor):
        raise DarklungError(f"loss {name}: wanted a tensor of one number, got {type(found).__name__}")
    shape = tuple(found.shape)
    require(found.numel() == 1, f"loss {name}: wanted a tensor of one number, got shape {shape}")
    require(found.is_floating_point(), f"loss {name}: wanted a real number, got {found.dtype}")
    require(found.requires_grad, f"loss {name}: its value does not depend on the logits; nothing can be learned from it")
    return found.reshape(())


def signed_distance(
    *, target: NDArray, spacing_m: Sequence[float], limit_m: float = DISTANCE_LIMIT_M
) -> NDArray[np.float32]:
    """Distance to the lesions' surface, negative inside, as a share of `limit_m`, in [−1, 1].

    Computed once a volume and cropped with the patch: a patch without lesion then still knows how far the next lesion is.
    A volume without any lesion is +1 everywhere. The surface lies halfway between neighbouring voxels of either kind
    (half of the smallest spacing is taken off the distance to the nearest voxel of the other kind).

    What is unknown is neither kind: it has the distance to the nearest known lesion, and no surface is where it begins.

    Parameters
    ----------
    target : (*spatial) array of background, lesion and unknown
    spacing_m : one a spatial axis [m]
    limit_m : float
        Distance beyond which the map stays at ±1 [m].
    """
    check_positive("limit_m", limit_m)
    require(len(spacing_m) == target.ndim, f"spacing_m: wanted {target.ndim} numbers, got {tuple(spacing_m)}")
    inside, outside = target == LESION, target == BACKGROUND
    if not inside.any():
        return np.ones(target.shape, dtype=np.float32)
    if not outside.any():
        return np.where(inside, -1, 1).astype(np.float32)
    half = min(spacing_m) / 2
    outer = distance_transform_edt(~inside, sampling=spacing_m) - half
    inner = distance_transform_edt(~outside, sampling=spacing_m) - half
    return np.clip(np.where(inside, -inner, outer) / limit_m, -1, 1).astype(np.float32)


def soft_dice(logits: Tensor, target: Tensor, region: Tensor, *, smooth: float = 1.0) -> Tensor:
    """1 − (2 Σpt + s) / (Σp + Σt + s) over the region of the whole batch; 0 for a perfect answer, also without any lesion.

    Pooled over the batch, because a patch without lesion by itself has no overlap to learn from.
    Milletari et al. 2016, 10.1109/3DV.2016.79.
    """
    p = torch.sigmoid(logits) * region
    t = target * region
    return 1 - (2 * (p * t).sum() + smooth) / (p.sum() + t.sum() + smooth)


def focal(logits: Tensor, target: Tensor, region: Tensor) -> Tensor:
    """Mean over the region's voxels of (1 − p_t)² times the cross entropy, over the mean's share of lesion voxels.

    Divided by the number of lesion voxels (at least 0.5 % of the region), as in Lin et al. 2017, 10.1109/ICCV.2017.324,
    so that its size does not fade with the lesions' share.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = torch.sigmoid(logits)
    missed = p + target - 2 * p * target
    inside = region.sum()
    positives = torch.maximum((target * region).sum(), 0.005 * inside)
    return (missed.pow(FOCUS) * entropy * region).sum() / positives.clamp(min=1)


def boundary(logits: Tensor, target: Tensor, distance: Tensor, region: Tensor) -> Tensor:
    """Probability that lies on the wrong side of the lesion's surface, weighted by its distance: Σ d (p − t) over Σ t.

    Equals Kervadec et al. 2021, 10.1016/j.media.2020.101851, less the value of a perfect answer, so its least value is 0.
    """
    wrong = (torch.sigmoid(logits) - target) * distance * region
    positives = torch.maximum((target * region).sum(), 0.005 * region.sum())
    return wrong.sum() / positives.clamp(min=1)


def dice_focal(logits: Tensor, target: Tensor, distance: Tensor, region: Tensor) -> Tensor:
    """Soft Dice plus focal loss (the distance is not used)."""
    return soft_dice(logits, target, region) + focal(logits, target, region)


def dice_focal_boundary(logits: Tensor, target: Tensor, distance: Tensor, region: Tensor) -> Tensor:
    """Soft Dice plus focal plus 0.5 × boundary loss."""
    check_shape("distance", np.empty(distance.shape), "batch, 1, *spatial", tuple(logits.shape))
    return dice_focal(logits, target, distance, region) + BOUNDARY_WEIGHT * boundary(logits, target, distance, region)
