"""The score on validation cases by which a model is chosen: lesions against lung tiles, not voxels.

A voxel AUROC is near 1 for almost any model (most voxels are easy), so it cannot tell a good checkpoint from a better one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import rankdata

from darklung.core.checks import DarklungError, require
from darklung.core.types import BACKGROUND, LESION
from darklung.learn.seams import METRICS, find

Metric = Callable[..., float | None]

TILE_M = 2e-3


def make_metric(name: str) -> Metric:
    """The selection metric called `name` (a key of `METRICS` or ``package.module:function``); its value is checked.

    Any type of one finite number is taken: of Python, of numpy, of torch, and an array or tensor without axes.

    Raises
    ------
    DarklungError
        What `darklung.learn.seams.find` raises; and, whenever it is called, a value that is no finite number and not None.
    """
    function = find("metric", name)

    def checked(**given: Any) -> float | None:
        found = function(**given)
        return None if found is None else _number(name, found)

    return checked if name not in METRICS else function


def _number(name: str, found: Any) -> float:
    came = type(found).__name__
    try:
        value = np.asarray(found.detach().cpu() if hasattr(found, "detach") else found)
    except (TypeError, ValueError, RuntimeError):
        raise DarklungError(f"metric {name}: wanted a number or None, got {came}") from None
    plain = value.ndim == 0 and value.dtype.kind in "biuf"
    require(
        plain, f"metric {name}: wanted a number or None, got {came}" + (f" of shape {value.shape}" if value.ndim else "")
    )
    require(bool(np.isfinite(value)), f"metric {name}: wanted a finite number, or None where it is not defined, got {value}")
    return float(value)


def score_with_error(
    *,
    metric: Metric,
    logits: Sequence[NDArray],
    targets: Sequence[NDArray],
    regions: Sequence[NDArray],
    spacing_m: Sequence[float],
) -> tuple[float | None, float]:
    """The metric over all cases and its standard error, by leaving out one case after the other (jackknife).

    The error is 0 where fewer than two of the scores without a case are defined.
    """
    whole = metric(logits=logits, targets=targets, regions=regions, spacing_m=spacing_m)
    others = []
    for i in range(len(logits)):
        parts = ([a for j, a in enumerate(arrays) if j != i] for arrays in (logits, targets, regions))
        others.append(metric(**dict(zip(("logits", "targets", "regions"), parts)), spacing_m=spacing_m))
    known = np.array([v for v in others if v is not None])
    if whole is None or len(known) < 2:
        return whole, 0.0
    return whole, float(np.sqrt((len(known) - 1) * known.var()))


def tile_auroc(
    *, logits: Sequence[NDArray], targets: Sequence[NDArray], regions: Sequence[NDArray], spacing_m: Sequence[float]
) -> float | None:
    """AUROC of lesions against lesion-free lung tiles of 2 mm, each with the largest logit inside it, over all cases.

    A tile with unknown voxels and no lesion is not known to be free of one, and is left out.

    Parameters
    ----------
    logits, targets, regions : sequences of (*spatial) arrays
    spacing_m : one a spatial axis [m], the same for all cases

    Returns
    -------
    float or None
        None where there is no lesion or no lesion-free tile.
    """
    positive: list[float] = []
    negative: list[float] = []
    for score, target, region in zip(logits, targets, regions):
        touching = ndimage.generate_binary_structure(target.ndim, target.ndim)
        lesions, count = ndimage.label((target == LESION) & region, touching)
        if count:
            positive.extend(ndimage.maximum(score, lesions, range(1, count + 1)))
        tiles = _tiles(region.shape, spacing_m)
        touched = np.bincount(tiles.ravel(), weights=(target != BACKGROUND).ravel()) > 0
        inside = np.bincount(tiles.ravel(), weights=region.ravel())
        free = np.flatnonzero(~touched & (inside >= inside.max() / 4))
        negative.extend(ndimage.maximum(np.where(region, score, -np.inf), tiles, free))
    return auroc(np.array(positive), np.array(negative))


def dice(
    *, logits: Sequence[NDArray], targets: Sequence[NDArray], regions: Sequence[NDArray], spacing_m: Sequence[float]
) -> float | None:
    """Dice of logit > 0, voxels of all cases pooled; None without any lesion voxel."""
    overlap = total = lesion = 0
    for score, target, region in zip(logits, targets, regions):
        found, true = (score > 0) & region, (target == LESION) & region
        overlap += int((found & true).sum())
        total += int(found.sum()) + int(true.sum())
        lesion += int(true.sum())
    return 2 * overlap / total if lesion else None


def _tiles(shape: tuple[int, ...], spacing_m: Sequence[float]) -> NDArray[np.int64]:
    """Number of the tile that each voxel lies in."""
    number = np.zeros(shape, dtype=np.int64)
    for axis, (length, spacing) in enumerate(zip(shape, spacing_m)):
        along = np.arange(length) // max(1, round(TILE_M / spacing))
        number = number * (along[-1] + 1) + along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return number


def auroc(positive: NDArray, negative: NDArray) -> float | None:
    """How often a positive score is above a negative one, ties counting half; None without either."""
    if not len(positive) or not len(negative):
        return None
    ranks = rankdata(np.concatenate([positive, negative]))
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))
