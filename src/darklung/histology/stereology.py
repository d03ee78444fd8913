"""Lines and points over a section: tissue fraction, interface density, intercept and septal thickness, with their errors.

Of a tile every so many pixels there is a test line, along rows, columns and both diagonals, and points on them. With P
points in the reference space, P_t of them in tissue, lines of length L in it and I crossings of the interface

    φ = P_t/P,    S_V = 2 I/L,    mean linear intercept = 2 L_air/I = 4 (1 − φ)/S_V,    septal thickness = 2 φ/S_V

(Tomkeieff 1945, Nature 155:24; Knudsen et al. 2010, 10.1152/japplphysiol.01100.2009; Hsia et al. 2010,
10.1164/rccm.200809-1522ST). S_V holds for an isotropic interface, or sections of random direction; of one section of an
anisotropic lung it is the mean over directions in the plane. NOT corrected: the section's thickness t, which adds up to
S_V t/4 to φ (Holmes), and compression under the knife.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_range, check_shape, require

# A line along a diagonal goes √2 pixels from one to the next.
DIRECTIONS: tuple[tuple[int, int], ...] = ((0, 1), (1, 0), (1, 1), (1, -1))
COUNTS = ("points", "tissue_points", "length_m", "crossings")


@dataclass(frozen=True)
class Counts:
    """What lines and points met.

    Parameters
    ----------
    points, tissue_points : float
    length_m : float
        Of the lines in the reference space.
    crossings : float
        Of the interface.
    """

    points: float
    tissue_points: float
    length_m: float
    crossings: float

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, n) + getattr(other, n) for n in COUNTS))


@dataclass(frozen=True)
class Measured:
    """Numbers of a tile, a piece or a section, each with its standard error; NaN where nothing was met.

    Parameters
    ----------
    tissue_fraction, interface_density_per_m, intercept_m, septum_m : float
    """

    tissue_fraction: float
    interface_density_per_m: float
    intercept_m: float
    septum_m: float

    def before_shrinkage(self, shrinkage: float) -> Measured:
        """As it was before all lengths became 1 − `shrinkage` of what they were; the fraction stays."""
        check_range("shrinkage", shrinkage, 0.0, 0.6)
        kept = 1 - shrinkage
        return Measured(
            self.tissue_fraction, self.interface_density_per_m * kept, self.intercept_m / kept, self.septum_m / kept
        )


def count(tissue: NDArray[np.bool_], reference: NDArray[np.bool_], *, pixel_m: float, every: int) -> Counts:
    """Lay the lines over a tile.

    Parameters
    ----------
    tissue, reference : (row, col) bool
        Tissue, and where counting is allowed (parenchyma, without airways, vessels and infiltrates).
    pixel_m : float
    every : int
        Pixels between lines.

    Raises
    ------
    DarklungError
        Shapes that differ, or a distance below 1.
    """
    check_shape("reference", reference, "row, col", tissue.shape)
    require(every >= 1, f"every: wanted at least 1, got {every}")
    length, crossings = 0.0, 0.0
    for direction in DIRECTIONS:
        here, there = _shifted(tissue.shape, direction, every)
        both = reference[here] & reference[there]
        # A step along a diagonal is √2 pixels; its weight of 1/√2 makes the lines of each direction equally long.
        length += float(both.sum()) * pixel_m
        crossings += float((both & (tissue[here] != tissue[there])).sum()) / float(np.hypot(*direction))
    grid = (slice(every // 2, None, every),) * 2
    points = reference[grid]
    return Counts(float(points.sum()), float((tissue[grid] & points).sum()), length, crossings)


def _shifted(shape: tuple[int, ...], step: tuple[int, int], every: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Pixels on the lines of one direction and their successors: rows or columns `every` apart.

    Along a diagonal the start of each step is taken on every `every`-th row; as rows are `every` apart and a diagonal meets
    each row once, this samples diagonals evenly.
    """
    rows, cols = shape
    start = every // 2
    down, right = step
    if down == 0:
        return (slice(start, None, every), slice(0, cols - 1)), (slice(start, None, every), slice(1, cols))
    if right == 0:
        return (slice(0, rows - 1), slice(start, None, every)), (slice(1, rows), slice(start, None, every))
    here, there = slice(start, rows - 1, every), slice(start + 1, rows, every)
    left, moved = slice(0, cols - 1), slice(1, cols)
    return ((here, left), (there, moved)) if right > 0 else ((here, moved), (there, left))


def measured(counts: Counts) -> Measured:
    """The numbers of the counts."""
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = np.float64(counts.tissue_points) / counts.points
        surface = 2 * np.float64(counts.crossings) / counts.length_m
        intercept, septum = 4 * (1 - fraction) / surface, 2 * fraction / surface
    found = [float(v) if np.isfinite(v) else float("nan") for v in (fraction, surface, intercept, septum)]
    return Measured(*found)


def standard_errors(tiles: Sequence[Counts]) -> Measured:
    """Standard errors of `measured` of the sum, from how tiles differ: leaving out one after the other (jackknife).

    Tiles are taken as independent; their true differences are part of the error, so that it is that of the lung which these
    tiles stand for. NaN of fewer than two.
    """
    kept = [t for t in tiles if t.points > 0 and t.length_m > 0]
    if len(kept) < 2:
        return Measured(*(float("nan"),) * 4)
    table = np.array([[getattr(t, n) for n in COUNTS] for t in kept])
    without = table.sum(axis=0) - table
    values = np.array([_numbers(measured(Counts(*row))) for row in without])
    n = len(kept)
    return Measured(*(float(v) for v in np.sqrt((n - 1) / n * ((values - values.mean(axis=0)) ** 2).sum(axis=0))))


def strips(tissue: NDArray[np.bool_], reference: NDArray[np.bool_], *, pixel_m: float, every: int) -> list[Counts]:
    """Counts of a 4 × 4 split of a tile, for the error within one tile."""
    parts = []
    for rows in np.array_split(np.arange(tissue.shape[0]), 4):
        for cols in np.array_split(np.arange(tissue.shape[1]), 4):
            box = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
            parts.append(count(tissue[box], reference[box], pixel_m=pixel_m, every=every))
    return parts


def combined(sampling: Measured, fine: Measured, coarse: Measured) -> Measured:
    """Standard errors with what is still missing of the resolution added.

    A bias that grows with the square of the pixel is a third of what doubling it changes (Richardson's extrapolation).
    """
    missing = [abs(a - b) / 3 for a, b in zip(_numbers(fine), _numbers(coarse))]
    return Measured(*(float(np.hypot(s, m)) for s, m in zip(_numbers(sampling), missing)))


def _numbers(found: Measured) -> tuple[float, float, float, float]:
    return found.tissue_fraction, found.interface_density_per_m, found.intercept_m, found.septum_m
