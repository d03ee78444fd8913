"""Lungs in the making: trees, microstructure, insertions, and how they become the fields of a `Phantom`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darklung.core.random import derive_seed
from darklung.core.types import Insertion, Phantom
from darklung.phantom.body import MATERIALS
from darklung.phantom.families import MM, Anatomy
from darklung.phantom.grid import Grid, occupancy
from darklung.phantom.lesions import LesionRequest, Site, edit
from darklung.phantom.microstructure import Parenchyma, make_parenchyma
from darklung.phantom.placing import Room, find_place
from darklung.phantom.thorax import LungShape
from darklung.phantom.trees import Tubes, grow_lung_trees
from darklung.phantom.tubes import draw_tubes
from darklung.physics.lung import HEALTHY

Field = NDArray[np.float32]

PLEURA_M = 0.02 * MM  # one layer; a fissure has two
WALL_ASPECT = 0.1  # added where a voxel is full of wall


class LungBuilder:
    """The lungs' fields while a mouse is being made; they are edited in place and then packed into a `Phantom`."""

    def __init__(self, grid: Grid, lungs: LungShape, anatomy: Anatomy, variant: str, seed: int) -> None:
        self.grid, self.anatomy, self.variant, self.seed = grid, anatomy, variant, seed
        self.distance_m = lungs.distance_m
        self.share = occupancy(lungs.distance_m, grid.voxel_m)
        self.lobes = np.where(self.share > 0.5, lungs.lobe, 0).astype(np.uint8)
        trees = grow_lung_trees(grid, lungs, anatomy, variant, seed)
        self.lumen = trees.lumen.drawn(grid)
        self.airway = np.maximum(trees.airway.drawn(grid), self.lumen)
        self.vessels = trees.vessels.drawn(grid)
        self.pleura = _sheet(lungs.fissure_m, 2 * PLEURA_M, grid.voxel_m)
        self.parenchyma = make_parenchyma(grid, lungs.distance_m, anatomy, variant, seed)
        _follow_tubes(self.parenchyma, grid, trees.airway + trees.vessels)
        self.instances = np.zeros(grid.shape, dtype=np.uint16)
        tubes = np.minimum(self.airway + self.vessels, np.float32(1))
        self.room = Room(grid, variant, self.lobes, lungs.distance_m, tubes, trees.airway, np.zeros(grid.shape, dtype=bool))

    def _site(self, box: tuple[slice, slice, slice]) -> Site:
        p = self.parenchyma
        local = Parenchyma(p.mass[box], p.power[box], p.surface[box], p.aspect[box], p.axis[(slice(None), *box)])
        return Site(
            self.grid.box(box), self.anatomy, self.variant, self.seed, self.distance_m[box], local,
            self.lumen[box], self.airway[box], self.vessels[box],
        )  # fmt: skip

    def insert(self, number: int, kind: str, request: LesionRequest) -> Insertion:
        """Draw, place and edit in one insertion."""
        growth, centre = find_place(self.room, request, kind, derive_seed(self.seed, "insertion", number))
        box = self.grid.box_around(centre, growth.blob.reach_m() + 0.5 * MM + 2 * self.grid.voxel_m)
        core = edit(growth, self._site(box), centre) & (self.share[box] > 0.5)
        self.room.taken[box] |= core
        if kind != "sham":
            self.instances[box][core] = number
        return Insertion(number, kind, request.tissue, centre, growth.request.diameter_m)

    def finish(self, density: Field, insertions: tuple[Insertion, ...]) -> Phantom:
        """Add the lungs' mass to the body's and pack everything."""
        p = self.parenchyma
        wall = np.minimum(np.maximum(self.airway - self.lumen, 0) + self.vessels + self.pleura, 1 - self.lumen)
        porous = self.share * np.maximum(1 - wall - self.lumen, 0)  # rounding may leave −1e-8
        density[0] += np.float32(HEALTHY.tissue_density) * (self.share * wall + porous * p.mass)
        inside = porous > 0
        fraction = np.where(inside, p.effective_fraction(porous), 0)
        surface = porous * p.surface
        aspect = np.where(inside, p.aspect, 1)
        return Phantom(
            voxel_m=self.grid.voxel_m, materials=MATERIALS, density=density,
            tissue_fraction=fraction.astype(np.float32), interface_density_per_m=surface.astype(np.float32),
            aspect=aspect.astype(np.float32), axis=p.axis, lobes=self.lobes, instances=self.instances, insertions=insertions,
        )  # fmt: skip


def _follow_tubes(parenchyma: Parenchyma, grid: Grid, tubes: Tubes) -> None:
    """Stretch the pores beside vessels and airways along them, in place: walls are oriented scatterers."""
    lean = np.zeros((3, *grid.shape), dtype=np.float32)
    draw_tubes(grid, tubes.start_m, tubes.end_m, tubes.radius_m, lean)
    near = np.flatnonzero(np.any(lean != 0, axis=0))
    along = lean.reshape(3, -1)[:, near]
    axis = parenchyma.axis.reshape(3, -1)
    share = np.minimum(np.sqrt(np.sum(along**2, axis=0)), 1)
    same = np.where(np.sum(along * axis[:, near], axis=0) < 0, -1, 1)  # an axis has no sign
    turned = axis[:, near] * same * (1 - share) + along
    axis[:, near] = turned / np.maximum(np.sqrt(np.sum(turned**2, axis=0)), np.float32(1e-6))
    parenchyma.aspect.reshape(-1)[near] += np.float32(WALL_ASPECT) * share


def _sheet(distance_m: Field, thickness_m: float, voxel_m: float) -> Field:
    """Share of each voxel in a sheet about the surface of zero distance; thinner than a voxel it is fainter."""
    width = max(thickness_m, voxel_m)
    share = np.float32(thickness_m / width) * np.clip(1 - np.abs(distance_m) / np.float32(width), 0, 1)
    return np.asarray(share, dtype=np.float32)
