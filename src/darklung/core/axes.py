"""Angles mod π and axes, which have no sign: averaged through what one and its opposite share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import Channel
from darklung.core.checks import require

_ANGLE = "in_plane_angle"
_AXIS = tuple(f"main_axis_{letter}" for letter in "zyx")
Move = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def largest_positive(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors (..., 3) with the sign that makes the largest part of each positive."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=-1)[..., None], axis=-1)
    return np.asarray(vectors * np.sign(largest))


def moved_axes(data: NDArray[np.float32], names: Sequence[str], move: Move) -> dict[int, NDArray[np.float32]]:
    """Those channels that are a tensor's angle or axis, `move` being a linear interpolation; by their places in `names`.

    An angle θ through cos 2θ and sin 2θ, an axis through the products of its three parts, whose largest eigenvector is the
    new axis: of two neighbours that are 0.04 rad apart on both sides of 0 the plain mean would lie across both.

    Raises
    ------
    DarklungError
        An axis of which not all three parts are there.
    """
    parts = [c.part if c.signal == "tensor" and c.role == "value" else "" for c in map(Channel.parse, names)]
    found = {n: _angle(data[n], move) for n, part in enumerate(parts) if part == _ANGLE}
    if any(part in _AXIS for part in parts):
        missing = [part for part in _AXIS if part not in parts]
        require(not missing, f"tensor_{'/'.join(missing)}: an axis can only be interpolated with all of its three parts")
        places = [parts.index(part) for part in _AXIS]
        found |= dict(zip(places, _axis([data[n] for n in places], move)))
    return found


def _angle(angle: NDArray[np.float32], move: Move) -> NDArray[np.float32]:
    turned = np.arctan2(move(np.sin(2 * angle)), move(np.cos(2 * angle)))
    # Rounding to single precision may end at π itself.
    half_turn = np.float32(np.pi)
    found = np.asarray(np.mod(0.5 * turned, half_turn), np.float32)
    found[found >= half_turn] = 0
    return found


def _axis(axis: Sequence[NDArray[np.float32]], move: Move) -> NDArray[np.float32]:
    """(3, ...) of unit length."""
    products = {(i, j): move(axis[i] * axis[j]) for i, j in combinations_with_replacement(range(3), 2)}
    found = np.full((3, *products[0, 0].shape), np.nan, np.float32)
    for place in range(len(products[0, 0])):  # eigenvectors of all take much memory
        known = np.isfinite(products[0, 0][place])
        matrix = np.empty((np.count_nonzero(known), 3, 3))
        for (i, j), product in products.items():
            matrix[:, i, j] = matrix[:, j, i] = product[place][known]
        found[:, place, known] = largest_positive(np.linalg.eigh(matrix)[1][..., 2]).T
    return found
