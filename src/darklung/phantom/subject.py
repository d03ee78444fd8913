"""One simulated mouse, from a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_range, require
from darklung.core.random import derive_seed, stream
from darklung.core.types import Insertion, Phantom
from darklung.phantom.body import MATERIALS, body_densities
from darklung.phantom.families import MM, Anatomy, draw_anatomy
from darklung.phantom.grid import Grid, make_grid, occupancy
from darklung.phantom.lesions import LESIONS, MIMICS, LesionRequest, Site, edit
from darklung.phantom.microstructure import Parenchyma, make_parenchyma
from darklung.phantom.placing import Room, find_place
from darklung.phantom.thorax import Thorax, build_thorax
from darklung.phantom.trees import Tubes, grow_lung_trees
from darklung.phantom.tubes import draw_tubes

Field = NDArray[np.float32]

TISSUE_DENSITY = 1.05  # g/cm³ of lung tissue, vessels and lesions
PLEURA_M = 0.02 * MM  # one layer; a fissure has two
WALL_ASPECT = 0.1  # added where a voxel is full of wall
FIELD_OF_VIEW_M = (18 * MM, 24 * MM)


def make_phantom(
    *,
    seed: int,
    voxel_m: float,
    variant: str = "A",
    lesions: Sequence[LesionRequest] = (),
    shams: int | Sequence[LesionRequest] = 0,
    mimics: int | Sequence[LesionRequest] = 0,
    field_of_view_m: tuple[float, float] = FIELD_OF_VIEW_M,
) -> Phantom:
    """A mouse thorax with its microstructure and whatever was put into its lungs.

    Parameters
    ----------
    seed : int
        Of this mouse. The same seed gives the same animal at any voxel size and field of view, up to discretisation.
    voxel_m : float
    variant : str
        Family of mice, a key of `families.FAMILIES`.
    lesions : sequence of LesionRequest
    shams : int or sequence of LesionRequest
        Places edited as for a lesion of that outline, but with healthy parameters. A number draws that many.
    mimics : int or sequence of LesionRequest
        Things that look like a lesion and are none. A number draws that many.
    field_of_view_m : (depth, width)
        Along z, and along y and x.

    Returns
    -------
    Phantom
        ``tissue_fraction`` and ``interface_density_per_m`` of a voxel shared by several media are those of the one
        medium that scatters as much (docs/decisions/040-mixed-voxels.md); mass is in ``density``.

    Raises
    ------
    DarklungError
        Unknown variant or tissue, a field of view that cuts the body in the plane, an insertion without room.

    Examples
    --------
    >>> mouse = make_phantom(seed=1, voxel_m=3e-4, lesions=[LesionRequest("solid", 1e-3)])
    >>> int(mouse.lesion_mask().sum()) > 10
    True
    """
    wanted = _wanted(seed, lesions, shams, mimics)
    grid = make_grid(field_of_view_m, voxel_m)
    anatomy = draw_anatomy(variant, seed)
    thorax = build_thorax(grid, anatomy, seed)
    _check_inside(thorax, field_of_view_m[1])
    lungs = _Lungs(grid, thorax, anatomy, variant, seed)
    insertions = tuple(lungs.insert(number, kind, request) for number, (kind, request) in enumerate(wanted, start=1))
    density = body_densities(grid, thorax, anatomy, seed)
    return lungs.finish(density, insertions)


def _drawn(seed: int, name: str, count: int, tissues: Sequence[str]) -> list[LesionRequest]:
    rng = stream(seed, "drawn", name)
    return [LesionRequest(str(rng.choice(tissues)), float(rng.uniform(0.7 * MM, 2.0 * MM))) for _ in range(count)]


def _wanted(
    seed: int,
    lesions: Sequence[LesionRequest],
    shams: int | Sequence[LesionRequest],
    mimics: int | Sequence[LesionRequest],
) -> list[tuple[str, LesionRequest]]:
    """All insertions in the order they are placed, with their kind."""
    if isinstance(shams, int):
        check_range("shams", shams, 0, 100)
        shams = _drawn(seed, "sham", shams, list(LESIONS))
    if isinstance(mimics, int):
        check_range("mimics", mimics, 0, 100)
        mimics = _drawn(seed, "mimic", mimics, list(MIMICS))
    for kind, name, requests in (("lesion", "lesions", lesions), ("mimic", "mimics", mimics)):
        for request in requests:
            require(request.kind == kind, f"{name}: {request.tissue!r} is a {request.kind}, not a {kind}")
    return [("lesion", r) for r in lesions] + [("mimic", r) for r in mimics] + [("sham", r) for r in shams]


def _check_inside(thorax: Thorax, width_m: float) -> None:
    body = thorax.body
    edge = min(float(side.min()) for side in (body[:, 0], body[:, -1], body[:, :, 0], body[:, :, -1]))
    require(
        edge > 0, f"field_of_view_m: the body is {-2 * edge * 1e3:.1f} mm wider than the {width_m * 1e3:g} mm field of view"
    )


class _Lungs:
    """The lungs' fields while a mouse is being made; they are edited in place and then packed into a `Phantom`."""

    def __init__(self, grid: Grid, thorax: Thorax, anatomy: Anatomy, variant: str, seed: int) -> None:
        self.grid, self.anatomy, self.variant, self.seed = grid, anatomy, variant, seed
        self.distance_m = thorax.lung
        self.share = occupancy(thorax.lung, grid.voxel_m)
        self.lobes = np.where(self.share > 0.5, thorax.lobe, 0).astype(np.uint8)
        trees = grow_lung_trees(grid, thorax, anatomy, variant, seed)
        self.lumen = trees.lumen.drawn(grid)
        self.airway = np.maximum(trees.airway.drawn(grid), self.lumen)
        self.vessels = trees.vessels.drawn(grid)
        self.pleura = _sheet(thorax.fissure, 2 * PLEURA_M, grid.voxel_m)
        self.parenchyma = make_parenchyma(grid, thorax.lung, anatomy, variant, seed)
        _follow_tubes(self.parenchyma, grid, trees.airway + trees.vessels)
        self.instances = np.zeros(grid.shape, dtype=np.uint16)
        tubes = np.minimum(self.airway + self.vessels, np.float32(1))
        self.room = Room(grid, variant, self.lobes, thorax.lung, tubes, trees.airway, np.zeros(grid.shape, dtype=bool))

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
        return Insertion(number, kind, request.tissue, centre, request.diameter_m)

    def finish(self, density: Field, insertions: tuple[Insertion, ...]) -> Phantom:
        """Add the lungs' mass to the body's and pack everything."""
        p = self.parenchyma
        wall = np.minimum(np.maximum(self.airway - self.lumen, 0) + self.vessels + self.pleura, 1 - self.lumen)
        porous = self.share * np.maximum(1 - wall - self.lumen, 0)  # rounding may leave −1e-8
        density[0] += np.float32(TISSUE_DENSITY) * (self.share * wall + porous * p.mass)
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
