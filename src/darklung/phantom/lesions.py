"""Lesions, mimics and shams: what may be asked for, and how it changes the microstructure.

Everything is edited into the fields of φ, φ(1 − φ) and S_V before anything is projected, blended by partial volume.
What each class is made of stands in `darklung.physics.lung`. NOT modelled: necrosis, calcification, changed perfusion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_one_of, check_range
from darklung.core.random import derive_seed, stream
from darklung.phantom.families import MM, Anatomy, family
from darklung.phantom.grid import Grid, fractal_noise, occupancy
from darklung.phantom.microstructure import Parenchyma, Refresh, healthy_fraction, textured
from darklung.phantom.shapes import Outline, make_blob, make_buds
from darklung.phantom.tubes import draw_tubes, grow_tree
from darklung.physics.lung import CLASSES, RIM, TissueClass, find_class

Field = NDArray[np.float32]
DIAMETER_RANGE_M = (0.2 * MM, 10.0 * MM)
LOCATIONS = ("any", "pleura", "airway")
SHRINK = 0.8  # factor from one diameter tried to the next, where a smaller one will do


@dataclass(frozen=True)
class LesionRequest:
    """One thing wanted in a lung.

    Parameters
    ----------
    tissue : str
        A class of `darklung.physics.lung`: a lesion, or a mimic where one is wanted.
    diameter_m : float
        Diameter of the sphere of the same volume [m].
    location : {"any", "pleura", "airway"}
        Anywhere wholly inside a lobe; against the pleura and cut by it; beside an airway and grown along it.
    least_diameter_m : float, optional
        Where there is no room, any location and then smaller diameters down to this are tried. None: it must fit as asked.
    surface : (low, high), optional
        S_V relative to healthy lung, in place of its class's.
    """

    tissue: str
    diameter_m: float
    location: str = "any"
    least_diameter_m: float | None = None
    surface: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_one_of("location", self.location, LOCATIONS)
        find_class("tissue", self.tissue)
        check_range("diameter_m", self.diameter_m, *DIAMETER_RANGE_M)
        if self.least_diameter_m is not None:
            check_range("least_diameter_m", self.least_diameter_m, DIAMETER_RANGE_M[0], self.diameter_m)
        if self.surface is not None:
            replace(CLASSES[self.tissue], surface=self.surface)  # refuses a range that is none

    def alternatives(self) -> Iterator[LesionRequest]:
        """What to try, in this order: as asked, anywhere, then ever smaller."""
        yield self
        if self.least_diameter_m is None:
            return
        size = self.diameter_m
        while True:
            yield replace(self, location="any", diameter_m=size)
            if size <= self.least_diameter_m:
                return
            size = max(SHRINK * size, self.least_diameter_m)

    @property
    def kind(self) -> str:
        """ "lesion" or "mimic"."""
        return CLASSES[self.tissue].kind


@dataclass(frozen=True)
class Growth:
    """A lesion with its outline drawn, ready to be placed and edited in."""

    request: LesionRequest
    kind: str
    blob: Outline
    seed: int
    tissue: TissueClass = field(repr=False)


def draw_growth(
    request: LesionRequest, kind: str, variant: str, seed: int, along: NDArray[np.float64] | None = None
) -> Growth:
    """The outline of one insertion, by the growth law of the family; a sham has the outline of the class it borrows.

    Parameters
    ----------
    request : LesionRequest
    kind : {"lesion", "sham", "mimic"}
    variant : str
    seed : int
    along : (3,) float64, optional
        Direction (z, y, x) in which it is longest.
    """
    tissue = CLASSES[request.tissue]
    if request.surface is not None:
        tissue = replace(tissue, surface=request.surface)
    rng = stream(seed, "outline")
    blob: Outline
    if family(variant).growth == "budding":
        direction = np.zeros(3) if along is None else along
        blob = make_buds(rng, request.diameter_m, direction, 0.0 if along is None else 1.2)
    else:
        stretch = rng.uniform(*tissue.stretch) * (1.0 if along is None else 1.15)
        blob = make_blob(rng, request.diameter_m, rng.uniform(*tissue.irregular), stretch, along)
    return Growth(request, kind, blob, seed, tissue)


@dataclass(frozen=True)
class Site:
    """The box of the grid that an insertion touches, and the lung in it. The arrays are views that `edit` writes to."""

    grid: Grid
    anatomy: Anatomy
    variant: str
    seed: int
    lung_distance_m: Field
    parenchyma: Parenchyma
    lumen: Field
    airway: Field
    vessels: Field


def _within(rng: np.random.Generator, bounds: tuple[float, float], noise: Field) -> Field:
    """A field inside `bounds`: a level of its own and a texture, held inside by a smooth curve."""
    level = rng.normal(0, 0.9)
    share = 1 / (1 + np.exp(-(np.float32(level) + np.float32(0.7) * noise)))
    return np.asarray(np.float32(bounds[0]) + np.float32(bounds[1] - bounds[0]) * share, dtype=np.float32)


def lesion_fields(growth: Growth, grid: Grid) -> tuple[Field, Field]:
    """Tissue fraction φ, and S_V relative to healthy lung, that a lesion or mimic has at every voxel of `grid`.

    Coordinates count from its own centre: it is the same object wherever it is put.
    """
    rng = stream(growth.seed, "tissue")
    scales = (0.6 * MM, 0.3 * MM)
    fraction = _within(rng, growth.tissue.fraction, fractal_noise(grid, growth.seed, "fraction", scales, 0.7))
    return fraction, _within(rng, growth.tissue.surface, fractal_noise(grid, growth.seed, "surface", scales, 0.7))


def _target(growth: Growth, site: Site, distance_m: Field, centre_m: tuple[float, float, float]) -> tuple[Field, Field]:
    """φ and S_V that the insertion would have at every voxel of the site."""
    a = site.anatomy
    if growth.kind == "sham":
        inward = np.clip(-distance_m / np.float32(0.25 * growth.request.diameter_m), 0, 1)
        fresh = Refresh(inward * inward * (3 - 2 * inward), derive_seed(growth.seed, "sham"))
        smooth = healthy_fraction(site.grid, site.lung_distance_m, a)
        return textured(smooth, site.grid, a, site.variant, site.seed, fresh)
    fraction, relative = lesion_fields(growth, site.grid.about(centre_m))
    return fraction, relative * np.float32(a.interface_density_per_m)


def _blend(p: Parenchyma, share: Field, fraction: Field, surface: Field) -> None:
    """Replace `share` of each voxel's parenchyma by another medium, in place."""
    for old, new in ((p.mass, fraction), (p.power, fraction * (1 - fraction)), (p.surface, surface)):
        old += share * (new - old)


def _compress_rim(growth: Growth, site: Site, distance_m: Field, core: Field) -> None:
    """Squeeze the lung just outside the core: denser, its pores flattened along the surface."""
    rng = stream(growth.seed, "rim")
    width = rng.uniform(*RIM.width_m)
    fraction, ratio = rng.uniform(*RIM.fraction), rng.uniform(*RIM.surface)
    outside = np.clip(distance_m / np.float32(width), 0, 1)
    share = (1 - core) * (1 - outside) ** 2
    p = site.parenchyma
    _blend(p, share, np.full_like(share, fraction), p.surface * np.float32(ratio))
    p.aspect[...] += share * np.float32(RIM.aspect)
    normal = np.stack([np.gradient(distance_m, axis=k) for k in range(3)])
    normal /= np.maximum(np.sqrt(np.sum(normal**2, axis=0)), np.float32(1e-12))
    tangent = p.axis - np.sum(p.axis * normal, axis=0) * normal
    turned = p.axis + share * (tangent - p.axis)
    size = np.sqrt(np.sum(turned**2, axis=0))
    p.axis[...] = np.where(size > 0.05, turned / np.maximum(size, np.float32(0.05)), p.axis)


def edit(growth: Growth, site: Site, centre_m: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Put an insertion into the site's fields, in place; returns its core (more than half of the voxel).

    Lesions, mimics and shams take the same path; a sham's target is healthy lung of another realisation.
    """
    distance_m = growth.blob.distance(site.grid, centre_m)
    core = occupancy(distance_m, max(site.grid.voxel_m, growth.tissue.edge_m))
    if growth.tissue.vessel_fill is not None and growth.kind != "sham":
        _tangle(growth, site, centre_m, core, growth.tissue.vessel_fill)
        return np.asarray(core > 0.5)
    fraction, surface = _target(growth, site, distance_m, centre_m)
    if growth.tissue.rim and growth.kind != "sham":
        _compress_rim(growth, site, distance_m, core)
    _blend(site.parenchyma, core, fraction, surface)
    if growth.kind != "sham":
        site.parenchyma.aspect[...] += core * growth.tissue.airway_fill * (1 - site.parenchyma.aspect)
        keep = 1 - np.float32(growth.tissue.airway_fill) * core
        site.lumen[...] *= keep
        site.airway[...] *= keep
    return np.asarray(core > 0.5)


def _tangle(
    growth: Growth, site: Site, centre_m: tuple[float, float, float], core: Field, fill: tuple[float, float]
) -> None:
    """Fill this share of the outline with a knot of small vessels."""
    rng = stream(growth.seed, "tangle")
    radius = growth.request.diameter_m / 2
    points = rng.standard_normal((600, 3))
    points *= (radius * rng.uniform(0, 1, 600) ** (1 / 3) / np.linalg.norm(points, axis=1))[:, None]
    tree = grow_tree(points + np.asarray(centre_m), points[0] + np.asarray(centre_m), leaf_points=8)
    radii = tree.radius_for(rng.uniform(*fill) * 4 / 3 * np.pi * radius**3)
    site.vessels[...] = np.minimum(site.vessels + core * draw_tubes(site.grid, tree.start_m, tree.end_m, radii), 1)
