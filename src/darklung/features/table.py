"""The maps that a channel's name may stand for: to add one write its function and its line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from darklung.features.contrast import contrast
from darklung.features.directions import anisotropy_of
from darklung.features.layers import Layer
from darklung.features.mirror import mirror
from darklung.features.ratios import control, copy, difference, ratio, valid
from darklung.features.shapes import blobness, vesselness
from darklung.features.texture_layer import texture, texture_unit
from darklung.features.tissue import interface_density, tissue_fraction

SAME = "same"


@dataclass(frozen=True)
class Map:
    """One map of the table.

    Parameters
    ----------
    make : callable
        Layers, then options by name, and ``place`` by name: a `Layer`.
    unit : str or callable
        Of the result: `SAME` as the first channel's, a unit, or a function of the channels' units and of the options by
        name, which may refuse them.
    channels, otherwise : tuple of str
        What its channels are where the call names none, and where those are not stored.
    noise : bool
        Whether it tells a standard error where all its channels have one.
    dims : tuple of int
        Spatial axes that it is defined on.
    wanted : str
        Unit that its channels must have; empty for any.
    alike : bool
        Whether its channels must be of one unit.
    directions : int
        Dark fields of so many directions must be stored; the map gets all of them in ``place.stored``.
    beam : tuple of str
        ``energy_kev``, ``correlation_length_m``: what must be known of the scan.
    """

    make: Callable[..., Layer]
    unit: str | Callable[..., str] = SAME
    channels: tuple[str, ...] = ()
    otherwise: tuple[str, ...] = ()
    noise: bool = False
    dims: tuple[int, ...] = (2, 3)
    wanted: str = ""
    alike: bool = False
    directions: int = 0
    beam: tuple[str, ...] = ()


def _quotient(units: tuple[str, ...]) -> str:
    return "1" if units[0] == units[1] else f"{units[0]}/({units[1]})"


BOTH = ("dark_field", "attenuation")
ENERGY, XI = "energy_kev", "correlation_length_m"
# To add a channel, write its function and its line here: studies, --dry-run and predictions then have it.
MAPS: dict[str, Map] = {
    "ratio": Map(ratio, _quotient, BOTH, noise=True),
    "difference": Map(difference, noise=True, alike=True),
    "contrast": Map(contrast, noise=True),
    "mirror": Map(mirror, noise=True),
    "blobness": Map(blobness),
    "vesselness": Map(vesselness),
    "texture": Map(texture, texture_unit),
    "valid": Map(valid, "1"),
    "anisotropy": Map(anisotropy_of, "1", directions=2),
    "tissue_fraction": Map(tissue_fraction, "1", BOTH[1:], noise=True, dims=(3,), wanted="1/m", beam=(ENERGY,)),
    "interface_density": Map(interface_density, "1/m", BOTH, noise=True, dims=(3,), wanted="1/m", beam=(ENERGY, XI)),
    "noise": Map(control, channels=BOTH[:1], otherwise=BOTH[1:]),
    "attenuation_copy": Map(copy, channels=BOTH[1:], noise=True),
}
