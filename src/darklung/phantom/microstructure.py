"""Tissue fraction, interface density and pore shape of the parenchyma, voxel by voxel.

A voxel that holds several media is described by three averages that mix linearly: mass (φ), scattering power
q = φ(1 − φ), and interface S_V. `Parenchyma.effective_fraction` turns q back into the φ of one medium, so that a
two-phase model of (φ, S_V) gives a mixed voxel exactly the sum of what its media scatter
(docs/decisions/040-mixed-voxels.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.phantom.families import MM, Anatomy, family
from darklung.phantom.grid import Grid, fractal_noise, smooth_noise

Field = NDArray[np.float32]

TEXTURE_M = (2.0 * MM, 1.0 * MM, 0.5 * MM, 0.28 * MM)
DEFLATION = 0.4  # S_V grows as φ^0.4 when lung deflates (between area kept, 1, and isotropic shrinking, 1/3)
RIM_M = 0.3 * MM
# Of a lung as families draw them, so that sag and rim move tissue about and add none to the animal's mean:
MIDDLE_M = -1.8 * MM  # mean height y
RIM_SHARE = 0.28  # mean of the profile of the rim


@dataclass(frozen=True)
class Parenchyma:
    """Media of the porous part of each voxel, before vessels and edges take their share; edited by `lesions`.

    Parameters
    ----------
    mass, power, surface : (z, y, x) float32
        Averages of φ, of φ(1 − φ) and of S_V [1/m].
    aspect : (z, y, x) float32
    axis : (3, z, y, x) float32
    """

    mass: Field
    power: Field
    surface: Field
    aspect: Field
    axis: Field

    def effective_fraction(self, share: Field) -> Field:
        """φ of the one medium that scatters as `share` of this one and no more."""
        power = share * self.power
        small = 2 * power / (1 + np.sqrt(np.maximum(1 - 4 * power, 0)))  # exact where (1 − √)/2 would round to 0
        return np.where(self.mass > 0.5, 1 - small, small).astype(np.float32)


@dataclass(frozen=True)
class Refresh:
    """Another realisation of the texture, taking over where `share` rises from 0 to 1; the law stays the same."""

    share: Field
    seed: int


def _noise(
    grid: Grid, seed: int, name: str, spacings_m: tuple[float, ...], roughness: float, refresh: Refresh | None
) -> Field:
    old = fractal_noise(grid, seed, name, spacings_m, roughness)
    if refresh is None:
        return old
    new = fractal_noise(grid, refresh.seed, name, spacings_m, roughness)
    mixed = np.sqrt(1 - refresh.share**2) * old + refresh.share * new  # keeps the variance
    return np.asarray(mixed, dtype=np.float32)


def surface_of(fraction: Field, a: Anatomy, wobble: Field) -> Field:
    """S_V [1/m] of healthy lung at tissue fraction φ, with its own texture `wobble` (unit variance)."""
    relative = (fraction / np.float32(a.tissue_fraction)) ** np.float32(DEFLATION)
    return np.float32(a.interface_density_per_m) * relative * np.exp(np.float32(0.6 * a.texture) * wobble)


def textured(
    smooth: Field, grid: Grid, a: Anatomy, variant: str, seed: int, refresh: Refresh | None = None
) -> tuple[Field, Field]:
    """φ, 1 at most, and S_V of lung whose smooth tissue fraction is `smooth`."""
    noise = _noise(grid, seed, "tissue", TEXTURE_M, 0.8, refresh)
    fraction = smooth * np.exp(np.float32(a.texture) * noise - np.float32(a.texture**2 / 2))  # keeps the mean
    surface = surface_of(fraction, a, _noise(grid, seed, "surface", TEXTURE_M[1:], 0.8, refresh))
    change = {"patchy": _patchy, "acinar": _acinar}.get(family(variant).texture)
    if change is not None:
        fraction, surface = change(fraction, surface, grid, a, seed, refresh)
    # Of textures without bound one voxel in a cohort would have more tissue than room for it.
    return np.minimum(fraction, np.float32(1)), surface


def _patchy(
    fraction: Field, surface: Field, grid: Grid, a: Anatomy, seed: int, refresh: Refresh | None
) -> tuple[Field, Field]:
    """Emphysematous holes (walls lost: φ and S_V fall) and fibrotic strands (walls thicker: φ up, S_V little)."""
    where = _noise(grid, seed, "emphysema", (1.6 * MM, 0.8 * MM), 0.6, refresh)
    hole = np.float32(0.50 * a.disease) / (1 + np.exp(-6 * (where - np.float32(0.6))))
    ridge = _noise(grid, seed, "fibrosis", (0.9 * MM,), 1.0, refresh)
    region = _noise(grid, seed, "fibrosis region", (2.5 * MM,), 1.0, refresh)
    strand = np.exp(-((ridge / np.float32(0.18)) ** 2)) / (1 + np.exp(-4 * (region - np.float32(0.4))))
    strand = np.float32(0.9 * a.disease) * strand
    return fraction * (1 - hole) * (1 + strand), surface * (1 - np.float32(0.85) * hole) * (1 + np.float32(0.15) * strand)


def _acinar(
    fraction: Field, surface: Field, grid: Grid, a: Anatomy, seed: int, refresh: Refresh | None
) -> tuple[Field, Field]:
    """Units of about 0.8 mm with thin denser seams: |noise| in place of noise, so the law is skewed."""
    units = np.abs(_noise(grid, seed, "acini", (0.55 * MM,), 1.0, refresh)) - np.float32(0.798)
    change = np.exp(np.float32(-1.3 * a.texture) * units)
    return fraction * change, surface * change ** np.float32(0.7)


def healthy_fraction(grid: Grid, lung_distance_m: Field, a: Anatomy) -> Field:
    """Smooth φ about the mouse's mean: more towards the spine (gravity), denser in a rim under the pleura."""
    _, y, _ = grid.mesh()
    sag = 1 + np.float32(a.gravity) * np.clip((y - np.float32(MIDDLE_M)) / np.float32(5 * MM), -1.3, 1.3)
    profile = np.exp(-((lung_distance_m / np.float32(RIM_M)) ** 2))
    rim = (1 + np.float32(a.rim) * profile) / np.float32(1 + a.rim * RIM_SHARE)
    inflated = np.float32(a.tissue_fraction * (1.03 - 0.06 * a.breath))
    return np.asarray(inflated * sag * rim, dtype=np.float32)


def pore_shape(grid: Grid, a: Anatomy, seed: int) -> tuple[Field, Field]:
    """Aspect ratio and long axis: smooth fields over about 3 mm; the vector is (z, y, x)."""
    axis = np.stack([smooth_noise(grid, seed, f"axis {c}", 2.0 * MM) for c in "zyx"])
    axis /= np.maximum(np.sqrt(np.sum(axis**2, axis=0)), np.float32(1e-6))
    share = 0.5 + 0.5 * np.tanh(smooth_noise(grid, seed, "aspect", 1.5 * MM))
    aspect = np.float32(a.aspect_low) + np.float32(a.aspect_high - a.aspect_low) * share
    return np.asarray(aspect, dtype=np.float32), axis


def make_parenchyma(grid: Grid, lung_distance_m: Field, a: Anatomy, variant: str, seed: int) -> Parenchyma:
    """Healthy (or, in a diseased family, diffusely diseased) parenchyma everywhere on `grid`."""
    smooth = healthy_fraction(grid, lung_distance_m, a)
    fraction, surface = textured(smooth, grid, a, variant, seed)
    aspect, axis = pore_shape(grid, a, seed)
    return Parenchyma(fraction, fraction * (1 - fraction), surface, aspect, axis)
