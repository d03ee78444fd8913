"""Prediction averaged over mirror images: those that training may flip to, so that no channel changes what its name says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, combinations

import numpy as np
from numpy.typing import NDArray

from darklung.learn.data import OUTSIDE_LOGIT
from darklung.learn.patches import flip_groups

Maps = dict[str, NDArray[np.float32]]
NONE: tuple[tuple[int, ...], ...] = ((),)  # the image itself alone


def mirrors_of(channels: Sequence[str], spatial: int, directions: Sequence[float] = ()) -> tuple[tuple[int, ...], ...]:
    """Spatial axes that are flipped in each mirror image, the image itself first: what `flip_groups` allows.

    Of a volume 8, of a radiograph 4; where a channel has an oblique direction half as many, since flips of z alone would
    show a direction that the arm does not have.
    """
    groups = flip_groups(channels, spatial, directions)
    chosen = chain.from_iterable(combinations(groups, n) for n in range(len(groups) + 1))
    return tuple(tuple(sorted(chain.from_iterable(some))) for some in chosen)


def told_mirrors(channels: Sequence[str], spatial: int, directions: Sequence[float] = ()) -> str:
    """How many mirror images are averaged, at which cost, and which are left out, in a line."""
    many, every = len(mirrors_of(channels, spatial, directions)), 2**spatial
    left = f"; {every - many} more would change the direction of an oblique channel and are left out" if many < every else ""
    return f"mean of {many} mirror images, {many} times the time of one{left}"


def averaged(
    apply: Callable[[NDArray[np.float32], NDArray[np.bool_]], Maps],
    *,
    data: NDArray[np.float32],
    region: NDArray[np.bool_],
    mirrors: Sequence[tuple[int, ...]],
) -> Maps:
    """Mean of what `apply` says of each mirror image of data (channel, *spatial) and region, each flipped back.

    Where any of them says nothing (`OUTSIDE_LOGIT`, outside the region) the mean does not either.
    """
    total: Maps = {}
    silent = np.zeros(region.shape, dtype=bool)
    for axes in mirrors:
        found = apply(np.flip(data, tuple(1 + a for a in axes)), np.flip(region, axes))
        for name, values in found.items():
            back = np.flip(values, axes)
            total[name] = total[name] + back if name in total else back.astype(np.float64)
            silent |= back == OUTSIDE_LOGIT
    for name, values in total.items():
        total[name] = np.where(silent, OUTSIDE_LOGIT, values / len(mirrors)).astype(np.float32)
    return total
