"""The open beam of real gratings: uneven flux, a Moiré carrier and uneven visibility."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.simulate.effects import FlatMaps, Gratings


def flat_maps(gratings: Gratings | FlatMaps, *, directions_rad: tuple[float, ...], rows: int, cols: int) -> FlatMaps:
    """Maps of the open beam on the detector; measured ones are checked for their shape and returned.

    Synthetic maps are smooth and set by position and direction alone, so that every scan with one instrument has the same
    gratings. Not modelled: defects of single grating tiles.
    """
    if isinstance(gratings, FlatMaps):
        wanted = (len(directions_rad), rows, cols)
        require(gratings.flux.shape == wanted, f"gratings: wanted maps of shape {wanted}, got {gratings.flux.shape}")
        return gratings
    y, x = np.meshgrid(np.linspace(-1, 1, rows) if rows > 1 else np.zeros(1), np.linspace(-1, 1, cols), indexing="ij")
    flux, visibility, phase = [], [], []
    for number, alpha in enumerate(directions_rad):
        along = np.cos(alpha) * y + np.sin(alpha) * x
        across = -np.sin(alpha) * y + np.cos(alpha) * x
        flux.append(1 + gratings.uneven_flux * (y - 0.6 * x**2))
        visibility.append(1 - gratings.uneven_visibility * (along**2 + 0.6 * across**2 - 0.4 * along))
        phase.append(np.pi * gratings.moire_fringes * (along + 0.3 * across**2) + 0.7 + number)
    return FlatMaps(flux=_unit_mean(flux), visibility=_unit_mean(visibility), phase_rad=np.stack(phase))


def _unit_mean(maps: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    stacked = np.stack(maps)
    return np.asarray(stacked / stacked.mean(axis=(1, 2), keepdims=True))
