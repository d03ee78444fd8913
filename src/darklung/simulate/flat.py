"""The open beam of real gratings: uneven flux, a Moiré carrier and uneven visibility."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FlatMaps:
    """Relative flux and visibility (mean 1) and fringe phase [rad] of the open beam, one (row, col) map each direction.

    All arrays (direction, row, col).
    """

    flux: NDArray[np.float64]
    visibility: NDArray[np.float64]
    phase_rad: NDArray[np.float64]


def flat_maps(*, directions_rad: tuple[float, ...], rows: int, cols: int) -> FlatMaps:
    """Smooth, fixed maps of a realistic size: flux ± 5 % (heel), visibility ± 10 % (duty cycle), 2–3 Moiré fringes.

    They are set by position and direction alone, so that every scan with one instrument has the same gratings.
    """
    y, x = np.meshgrid(np.linspace(-1, 1, rows) if rows > 1 else np.zeros(1), np.linspace(-1, 1, cols), indexing="ij")
    flux, visibility, phase = [], [], []
    for number, alpha in enumerate(directions_rad):
        along = np.cos(alpha) * y + np.sin(alpha) * x
        across = -np.sin(alpha) * y + np.cos(alpha) * x
        flux.append(1 + 0.05 * y - 0.03 * x**2)
        visibility.append(1 - 0.08 * along**2 - 0.05 * across**2 + 0.03 * along)
        phase.append(2 * np.pi * (1.1 * along + 0.3 * across**2) + 0.7 + number)
    return FlatMaps(flux=_unit_mean(flux), visibility=_unit_mean(visibility), phase_rad=np.stack(phase))


def _unit_mean(maps: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    stacked = np.stack(maps)
    return np.asarray(stacked / stacked.mean(axis=(1, 2), keepdims=True))
