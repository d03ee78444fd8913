"""Channels that a function of the user's makes, ``package.module:function``: found, tried on a patch, and called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np

from darklung.core.checks import DarklungError, require
from darklung.core.grey import ARBITRARY
from darklung.core.random import stream
from darklung.core.seams import resolve
from darklung.features.arguments import PLACE
from darklung.features.layers import Layer, Place

SIDE = 8  # voxels along each axis of the patch that it is tried on


def own_map(name: str) -> Callable[..., Layer]:
    """The function as the maps of the table are: it gets layers and returns one.

    It is called with a `Layer` a channel, its further arguments by name, and ``place`` if it takes that. It may return a
    `Layer`, or values alone (*spatial), whose unit nobody knows then.

    Raises
    ------
    DarklungError
        No such function.
    """
    function = resolve("channel", name, {})
    takes_place = PLACE in inspect.signature(function).parameters

    @wraps(function)
    def called(*layers: Layer, place: Place, **options: Any) -> Layer:
        more = {PLACE: place} if takes_place else {}
        try:
            made = function(*layers, **options, **more)
        except Exception as error:  # a user's function may raise anything
            told = " ".join(str(error).split()) or "no message"
            raise DarklungError(f"channel {name}: {type(error).__name__}: {told}") from error
        return _checked(name, made, place.lung.shape)

    return called


def try_own(name: str, function: Callable[..., Layer], units: Sequence[str], options: Mapping[str, Any], dims: int) -> Layer:
    """What it makes of a small patch of noise: a wrong shape, or an error, is told before anything runs."""
    shape = (SIDE,) * dims
    rng = stream(1, "patch", name)
    layers = [Layer(rng.uniform(1.0, 2.0, shape), unit, np.full(shape, 0.1)) for unit in units]
    inside = np.ones(shape, dtype=bool)
    place = Place(inside, inside, (2e-4,) * dims, 1, 70.0, 3e-6)
    return function(*layers, place=place, **options)


def _checked(name: str, made: Any, shape: tuple[int, ...]) -> Layer:
    layer = made if isinstance(made, Layer) else Layer(np.asarray(made), ARBITRARY)
    for what, array in (("values", layer.values), ("noise", layer.noise)):
        if array is not None:
            real = np.issubdtype(np.asarray(array).dtype, np.number) or np.asarray(array).dtype == bool
            fits = real and np.shape(array) == shape
            require(fits, f"channel {name}: wanted {what} of shape {shape}, got {type(array).__name__} of {np.shape(array)}")
    noise = None if layer.noise is None else np.asarray(layer.noise, dtype=np.float64)
    return Layer(np.asarray(layer.values, dtype=np.float64), layer.unit, noise)
