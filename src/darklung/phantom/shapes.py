"""Irregular outlines: a sphere whose radius varies with direction by random harmonics, at a given volume."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from darklung.phantom.grid import Grid

HARMONICS = 14


def directions(count: int) -> NDArray[np.float64]:
    """Evenly spread unit vectors (count, 3), on a Fibonacci spiral."""
    k = np.arange(count) + 0.5
    z = 1 - 2 * k / count
    turn = np.pi * (1 + 5**0.5) * k
    flat = np.sqrt(1 - z**2)
    return np.stack([z, flat * np.sin(turn), flat * np.cos(turn)], axis=1)


class Outline(Protocol):
    """A solid that can be placed anywhere."""

    def distance(self, grid: Grid, centre_m: tuple[float, float, float]) -> NDArray[np.float32]:
        """Signed distance [m] of each voxel to the surface, negative inside."""
        ...

    def reach_m(self) -> float:
        """Radius of a sphere around the centre that holds the solid."""
        ...

    def scaled(self, factor: float) -> Outline:
        """The same solid, larger."""
        ...


@dataclass(frozen=True)
class Blob:
    """A star-shaped solid: radius R(n) = scale · exp(Σ aₖ cos(ωₖ·n + ψₖ)) after stretching space by `stretch`.

    Parameters
    ----------
    scale_m : float
    stretch : (3,) float64
        Relative lengths of the axes, of product 1.
    turn : (3, 3) float64
        Rows: the solid's axes as (z, y, x).
    wave, phase, amplitude : (harmonic, 3), (harmonic,), (harmonic,) float64
    """

    scale_m: float
    stretch: NDArray[np.float64]
    turn: NDArray[np.float64]
    wave: NDArray[np.float64]
    phase: NDArray[np.float64]
    amplitude: NDArray[np.float64]

    def _bumps(self, unit: NDArray) -> NDArray:
        total = np.zeros(unit.shape[1:], dtype=unit.dtype)
        for wave, phase, amplitude in zip(self.wave, self.phase, self.amplitude):
            inner = wave[0] * unit[0] + wave[1] * unit[1] + wave[2] * unit[2] + phase
            total += (amplitude * np.cos(inner)).astype(unit.dtype)
        return total

    def distance(self, grid: Grid, centre_m: tuple[float, float, float]) -> NDArray[np.float32]:
        """About the signed distance [m] of each voxel to the surface, negative inside."""
        offset = [axis - c for axis, c in zip(grid.mesh(), centre_m)]
        own = [sum(float(v) * o for v, o in zip(axis, offset)) / float(s) for axis, s in zip(self.turn, self.stretch)]
        vector = np.stack(np.broadcast_arrays(*own)).astype(np.float32)
        radius = np.sqrt(np.sum(vector**2, axis=0))
        unit = vector / np.maximum(radius, np.float32(1e-9))
        surface = np.float32(self.scale_m) * np.exp(self._bumps(unit))
        return np.asarray(radius - surface, dtype=np.float32)

    def reach_m(self) -> float:
        """Radius of a sphere around the centre that holds the solid."""
        largest = np.exp(self._bumps(directions(600).T)).max()
        return float(self.scale_m * largest * self.stretch.max())

    def scaled(self, factor: float) -> Blob:
        """The same solid, larger."""
        return replace(self, scale_m=self.scale_m * factor)


def make_blob(
    rng: np.random.Generator,
    diameter_m: float,
    irregular: float,
    stretch: float,
    along: NDArray[np.float64] | None = None,
) -> Blob:
    """A random outline whose volume is that of a sphere of `diameter_m`.

    Parameters
    ----------
    rng : Generator
    diameter_m : float
    irregular : float
        Standard deviation of ln R over directions, about; 0 = an ellipsoid.
    stretch : float
        Longest over shortest axis.
    along : (3,) float64, optional
        Direction (z, y, x) of the longest axis; random by default.
    """
    wave = rng.standard_normal((HARMONICS, 3))
    degree = rng.uniform(1.5, 6.0, HARMONICS)
    wave *= (degree / np.linalg.norm(wave, axis=1))[:, None]
    amplitude = rng.standard_normal(HARMONICS) / degree
    amplitude *= irregular / max(np.sqrt(np.sum(amplitude**2) / 2), 1e-12)
    frame = rng.standard_normal((3, 3))
    if along is not None:
        frame[:, 0] = along
    turn = np.linalg.qr(frame)[0].T[::-1]  # the last row is the longest axis
    middle = rng.uniform(0, 1)
    lengths = stretch ** np.array([0.0, middle, 1.0])
    lengths /= np.cbrt(np.prod(lengths))
    blob = Blob(1.0, lengths, turn, wave, rng.uniform(0, 2 * np.pi, HARMONICS), amplitude)
    cubed = np.mean(np.exp(3 * blob._bumps(directions(4000).T)))
    return Blob(float(diameter_m / 2 / np.cbrt(cubed)), lengths, turn, wave, blob.phase, amplitude)


@dataclass(frozen=True)
class Buds:
    """Overlapping balls, each grown on one before it: a lobulated solid.

    Parameters
    ----------
    centre_m, radius_m : (bud, 3), (bud,)
        About the solid's own centre.
    """

    centre_m: NDArray[np.float64]
    radius_m: NDArray[np.float64]

    def distance(self, grid: Grid, centre_m: tuple[float, float, float]) -> NDArray[np.float32]:
        """Signed distance [m] of each voxel to the surface (exact outside), negative inside."""
        z, y, x = grid.mesh()
        least = np.full(grid.shape, np.inf, dtype=np.float32)
        for bud, radius in zip(self.centre_m + np.asarray(centre_m), self.radius_m):
            square = (z - np.float32(bud[0])) ** 2 + (y - np.float32(bud[1])) ** 2 + (x - np.float32(bud[2])) ** 2
            np.minimum(least, np.sqrt(square) - np.float32(radius), out=least)
        return least

    def reach_m(self) -> float:
        """Radius of a sphere around the centre that holds the solid."""
        return float(np.max(np.linalg.norm(self.centre_m, axis=1) + self.radius_m))

    def scaled(self, factor: float) -> Buds:
        """The same solid, larger."""
        return Buds(self.centre_m * factor, self.radius_m * factor)


def make_buds(rng: np.random.Generator, diameter_m: float, along: NDArray[np.float64], pull: float) -> Buds:
    """A solid grown bud by bud, whose volume is that of a sphere of `diameter_m`.

    Parameters
    ----------
    rng : Generator
    diameter_m : float
    along : (3,) float64
        Direction (z, y, x) that growth prefers, such as an airway's.
    pull : float
        How strongly; 0 = all directions alike.
    """
    count = int(rng.integers(6, 14))
    centres, radii = np.zeros((count, 3)), np.ones(count)
    for k in range(1, count):
        mother = int(rng.integers(0, k))
        step = rng.standard_normal(3)
        step += pull * np.sign(rng.uniform(-1, 1)) * along
        radii[k] = rng.uniform(0.45, 0.8)
        centres[k] = centres[mother] + 0.75 * radii[mother] * step / np.linalg.norm(step)
    centres -= centres.mean(axis=0)
    reach = np.max(np.linalg.norm(centres, axis=1) + radii)
    points = np.random.default_rng(0).uniform(-reach, reach, (40_000, 3))
    inside = np.zeros(len(points), dtype=bool)
    for centre, radius in zip(centres, radii):
        inside |= np.sum((points - centre) ** 2, axis=1) < radius**2
    volume = inside.mean() * (2 * reach) ** 3
    return Buds(centres, radii).scaled(float(diameter_m / np.cbrt(volume * 6 / np.pi)))
