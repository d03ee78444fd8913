"""Channels that are made of others, by name: what each is, what it needs, and how it comes of one subject's own image.

Names are calls (`darklung.core.recipe`), or the name alone where nothing has to be said: ``ratio`` is
``ratio(dark_field, attenuation)``. The signature of a map's function (`darklung.features.table`) is what may be said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import Channel, call_of, directed, errors_of
from darklung.core.checks import DarklungError, require
from darklung.core.recipe import Call
from darklung.core.seams import is_plugin
from darklung.core.types import Image
from darklung.features.arguments import bind, parameters_of
from darklung.features.layers import Layer, Place
from darklung.features.own import own_map, try_own
from darklung.features.table import MAPS, SAME, Map

MEAN = "dark_field"  # of the directions, whose errors it takes
# Maps that are stored with every image of so many directions; all others are made where an arm names them.
STORED = {"noise": 0, "anisotropy": 2}
_BEAM = {"energy_kev": "the energy", "correlation_length_m": "the correlation length"}


@dataclass(frozen=True)
class Known:
    """What is known of an image before there is one: enough to tell what can be made of it.

    Parameters
    ----------
    units : mapping
        Stored channel -> its unit.
    dims : int
        Spatial axes.
    energy_kev, correlation_length_m : float, optional
        That its values refer to.
    spacing_m : (axis,), optional
    extent_m : float, optional
        Of its longest axis.
    """

    units: Mapping[str, str]
    dims: int
    energy_kev: float | None = None
    correlation_length_m: float | None = None
    spacing_m: tuple[float, ...] = ()
    extent_m: float | None = None


@dataclass(frozen=True)
class Planned:
    """What a channel will be: its unit, and whether its standard error will be known."""

    unit: str
    noise: bool


@dataclass(frozen=True)
class _Bound:
    """A map with what it is called with."""

    function: str
    map: Map
    channels: tuple[str, ...]
    options: Mapping[str, Any]


def is_made(name: str) -> bool:
    """Whether a name may stand for a channel that is made where an arm names it, and not for one that every case stores."""
    channel = Channel.parse(name)
    if call_of(channel.signal) is not None or is_plugin(channel.signal):
        return True
    return (channel.signal in MAPS and channel.signal not in STORED) or name == Channel(MEAN, role="noise").name


def plugins_of(name: str) -> tuple[str, ...]:
    """Functions of the user's that a channel's name calls."""
    call = call_of(Channel.parse(name).signal)
    if call is None:
        return (name,) if is_plugin(name) else ()
    inner = [plugins_of(str(one)) for one in call.arguments if isinstance(one, str | Call)]
    own = (call.function,) if is_plugin(call.function) else ()
    return (*own, *(found for some in inner for found in some))


def planned(name: str, known: Known) -> Planned:
    """What the channel `name` will be for such an image.

    Raises
    ------
    DarklungError
        It cannot be made: one line that says why.
    """
    if name in known.units:
        return Planned(known.units[name], bool(errors_of(name, tuple(known.units))))
    channel = Channel.parse(name)
    if channel.role == "noise":
        value = replace(channel, role="value").name
        made = planned(value, known)
        require(made.noise, f"{name}: nothing tells the standard error of {value}")
        return Planned(made.unit, False)
    bound = _bound(name, tuple(known.units))
    units = _fitting(name, bound, known)
    if is_plugin(bound.function):
        tried = try_own(bound.function, bound.map.make, units, bound.options, known.dims)
        return Planned(tried.unit, tried.noise is not None)
    noise = bound.map.noise and all(planned(one, known).noise for one in bound.channels)
    return Planned(_unit(bound, units), noise)


def make_channels(image: Image, names: Sequence[str], place: Place) -> tuple[Layer, ...]:
    """Channels of one subject from its stored ones; NaN where a channel has no value, see `filled`.

    Parameters
    ----------
    image : Image
        The stored channels; ``valid(X)`` among them says where X has no value of its own.
    names : sequence of str
        Stored channels too.
    place : Place
        On the grid of the image.

    Raises
    ------
    DarklungError
        What `planned` raises, or what a map's function finds wrong.
    """
    units = dict(zip(image.names, image.units))
    extent = max(n * d for n, d in zip(image.shape, image.spacing_m))
    known = Known(units, len(image.shape), place.energy_kev, place.correlation_length_m, image.spacing_m, extent)
    made: dict[str, Layer] = {}
    for name in names:
        planned(name, known)
        _make(name, image, place, made)
    return tuple(made[name] for name in names)


def filled(layer: Layer, place: Place) -> NDArray[np.float32]:
    """Values for a network, (*spatial): where there is none, the median of those in the lung (0 if there are none)."""
    inside = layer.values[place.lung & layer.known]
    rest = float(np.median(inside)) if inside.size else 0.0
    return np.where(layer.known, layer.values, rest).astype(np.float32)


def _bound(name: str, stored: tuple[str, ...]) -> _Bound:
    """The map that a name stands for, its arguments checked."""
    call = call_of(name) or Call(name, ())
    own = is_plugin(call.function)
    if not own and call.function not in MAPS:
        raise DarklungError(f"{call.function!r} is no stored channel and no map; maps: {', '.join(MAPS)}")
    entry = Map(own_map(call.function)) if own else MAPS[call.function]
    absent = not set(entry.channels) <= set(stored)
    channels = entry.otherwise if absent and entry.otherwise else entry.channels
    return _Bound(call.function, entry, *bind(name, parameters_of(entry.make), call.arguments, channels))


def _fitting(name: str, bound: _Bound, known: Known) -> tuple[str, ...]:
    """The units of a map's channels, which fit it, as does the image."""
    entry = bound.map
    axes = " or ".join(map(str, entry.dims))
    require(known.dims in entry.dims, f"{name}: wanted an image of {axes} spatial axes, got {known.dims}")
    units = tuple(planned(one, known).unit for one in bound.channels)
    for one, unit in zip(bound.channels, units):
        require(not entry.wanted or unit == entry.wanted, f"{name}: wanted {one} in {entry.wanted}, it is in {unit}")
    same = not entry.alike or len(set(units)) == 1
    require(same, f"{name}: wanted channels of one unit, got {' and '.join(units)}")
    count = len(directed(tuple(known.units), MEAN))
    told = f"{name}: wanted dark fields of at least two different grating directions, got {count}"
    require(count >= entry.directions, told)
    for what in entry.beam:
        require(getattr(known, what) is not None, f"{name}: {_BEAM[what]} that the values refer to is not known")
    if not is_plugin(bound.function):
        _check_lengths(name, [v for option, v in bound.options.items() if option.endswith("_m")], known)
    return units


def _check_lengths(name: str, lengths_m: Sequence[float], known: Known) -> None:
    """Raise unless lengths rise from a voxel at least to the image's extent at most."""
    for first, second in pairwise(lengths_m):
        require(first < second, f"{name}: wanted the smaller size first, got {1e3 * first:g} mm and {1e3 * second:g} mm")
    for length in lengths_m:
        voxel, most = max(known.spacing_m, default=0.0), np.inf if known.extent_m is None else known.extent_m
        fits = length > 0 and voxel * (1 - 1e-6) <= length <= most * (1 + 1e-6)
        told = f"{1e3 * voxel:g} mm (a voxel)" if voxel else "more than 0"
        told += f" to {1e3 * most:g} mm (the image)" if np.isfinite(most) else " at least"
        require(fits, f"{name}: wanted a size of {told}, got {1e3 * length:g} mm")


def _unit(bound: _Bound, units: tuple[str, ...]) -> str:
    unit = bound.map.unit
    if isinstance(unit, str):
        return units[0] if unit == SAME else unit
    return unit(units, **bound.options)


def _make(name: str, image: Image, place: Place, made: dict[str, Layer]) -> Layer:
    """One channel, and in `made` all that it is made of."""
    if name not in made:
        channel = Channel.parse(name)
        if name in image.names:
            made[name] = _stored(name, image)
        elif channel.role == "noise":
            made[name] = _error(_make(replace(channel, role="value").name, image, place, made), name)
        else:
            made[name] = _mapped(_bound(name, image.names), image, place, lambda one: _make(one, image, place, made))
    return made[name]


def _mapped(bound: _Bound, image: Image, place: Place, make: Callable[[str], Layer]) -> Layer:
    if bound.map.directions:
        place = replace(place, stored={one: make(one) for one in directed(image.names, MEAN)})
    return bound.map.make(*(make(one) for one in bound.channels), place=place, **bound.options)


def _error(value: Layer, name: str) -> Layer:
    if value.noise is None:
        raise DarklungError(f"{name}: nothing tells the standard error")
    return Layer(np.where(value.known, value.noise, np.nan), value.unit)


def _stored(name: str, image: Image) -> Layer:
    """A stored channel, NaN where its validity says that it has no value, with its error."""
    values = np.asarray(image.channel(name), dtype=np.float64)
    if (validity := f"valid({name})") in image.names:
        values = np.where(image.channel(validity) > 0, values, np.nan)
    errors = [_stored(one, image).values for one in errors_of(name, image.names)]
    noise = np.sqrt(sum(one**2 for one in errors)) / len(errors) if errors else None
    return Layer(values, image.unit(name), noise)
