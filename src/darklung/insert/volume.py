"""Where lesions, mimics and shams go in a measured volume, and what they change there.

The plan of a scan (`place_insertions`) is made once, on its reconstruction; the same insertions are then drawn on the
voxels of the volume (`volume_changes`) or on finer ones that line up with the detector (`darklung.insert.shadow`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import check_one_of, check_range, check_shape, require
from darklung.core.random import derive_seed, stream
from darklung.core.types import Image, Insertion
from darklung.insert.bank import BankLesion, Host, LungThere, Texture, draw_lesion, lesion_changes, reach_m
from darklung.insert.residual import TEXTURE_M
from darklung.phantom.families import MM, family
from darklung.phantom.grid import Grid
from darklung.phantom.lesions import DIAMETER_RANGE_M, Growth, LesionRequest, draw_growth
from darklung.physics.lung import INSERTABLE_MIMICS, LESIONS, find_class

Centre = tuple[float, float, float]
Box = tuple[slice, slice, slice]
Wanted = tuple[str, str]  # kind, class
PLACES = ("across edge", "near edge", "inside")
TRIES, CENTRES = 12, 60
FINE = 2  # points along a voxel at which insertions are drawn
GAP_M = 0.3 * MM
MOST_TEXTURE = 0.4
VESSEL_EXCESS = 0.15  # parenchyma that is denser than its mean by more holds a vessel
HIDDEN_VESSELS = 0.03  # share of vessels in lung that a reconstruction does not show as such; in all 3 to 8 % are vessels
LEAST_INSIDE, MOST_INSIDE = 0.5, 0.9  # of an insertion across the region's edge
PARENCHYMA = (0.05, 0.60)  # mean tissue fraction of what may be replaced


@dataclass(frozen=True)
class PlacedLesion:
    """An insertion with its outline, its place and the lung that it replaces.

    Parameters
    ----------
    insertion : Insertion
        ``center_m`` in the volume's coordinates.
    growth : Growth
    lung : LungThere
    texture : Image, optional
        Relative deviation of attenuation and of each dark field from `lung`, around the insertion.
    place : str
        One of `PLACES`: its core is cut by the region's surface, comes within 0.3 mm of it, or neither.
    """

    insertion: Insertion
    growth: Growth
    lung: LungThere
    place: str
    texture: Image | None = None

    def changes(self, grid: Grid, host: Host) -> tuple[BankLesion, NDArray[np.float64], NDArray[np.float64]]:
        """The lesion on `grid`, and its changes of attenuation and of scattering there (see `lesion_changes`)."""
        lesion = self.drawn(grid)
        texture = None if self.texture is None else _interpolated(self.texture, grid)
        return lesion, *lesion_changes(lesion, self.lung, host, texture)

    @property
    def sham(self) -> bool:
        """Whether it has no label."""
        return self.insertion.kind == "sham"

    def drawn(self, grid: Grid) -> BankLesion:
        """The lesion on voxels given in the volume's coordinates."""
        return draw_lesion(self.growth, grid.about(self.insertion.center_m))


def volume_grid(image: Image) -> Grid:
    """The voxels of an image; they must be cubes.

    Raises
    ------
    DarklungError
        Not a volume, or voxels that are no cubes.
    """
    require(len(image.shape) == 3, f"volume: wanted (z, y, x), got an image of shape {image.shape}")
    require(bool(np.allclose(image.spacing_m, image.spacing_m[0])), f"volume: wanted cubic voxels, got {image.spacing_m} m")
    z, y, x = image.axes_m()
    return Grid(image.spacing_m[0], z, y, x)


@dataclass
class Space:
    """What is known of the lungs while insertions are placed."""

    grid: Grid
    region: NDArray[np.bool_]
    depth_m: NDArray[np.float64]
    free: NDArray[np.bool_]
    attenuation: NDArray
    scattering: Sequence[NDArray]
    host: Host
    edge_m: float
    at_edge: bool


def place_insertions(
    attenuation: NDArray,
    scattering: Sequence[NDArray],
    region: NDArray[np.bool_],
    grid: Grid,
    *,
    wanted: Sequence[Wanted],
    diameter_m: tuple[float, float],
    host: Host,
    seed: int,
    variant: str = "A",
    edge_m: float = 0.1 * MM,
    at_edge: bool = False,
) -> tuple[PlacedLesion, ...]:
    """Find a place for each of `wanted` in the region, one after the other; depends on the data and `seed` alone.

    Diameters are uniform in the logarithm. One that finds no place is drawn again, at last the smallest.

    Parameters
    ----------
    attenuation : (z, y, x) array [1/m]
    scattering : (z, y, x) arrays [1/m]
        One a grating direction; may be empty.
    region : (z, y, x) bool
        Lung.
    grid : Grid
    wanted : sequence of (kind, class)
    diameter_m : (low, high)
    host : Host
    seed : int
    variant : str
        Family whose law of growth the outlines follow.
    edge_m : float
        Distance that all of an insertion keeps from the region's surface.
    at_edge : bool
        Lesions may instead be cut by the region's surface (half of the volume at least is inside).

    Raises
    ------
    DarklungError
        Unknown class, empty region, or something that fits nowhere.
    """
    family(variant)
    for values in (region, *scattering):
        check_shape("region, scattering", values, "z, y, x", attenuation.shape)
    require(bool(region.any()), "region: no voxel is lung")
    check_range("diameter_m", diameter_m[0], DIAMETER_RANGE_M[0], diameter_m[1])
    check_range("diameter_m", diameter_m[1], diameter_m[0], DIAMETER_RANGE_M[1])
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1, 1:-1] * grid.voxel_m
    space = Space(grid, region, depth, region.copy(), attenuation, scattering, host, edge_m, at_edge)
    placed: list[PlacedLesion] = []
    for number, (kind, tissue) in enumerate(wanted, start=1):
        check_kind(kind, tissue)
        found = _place(space, number, kind, tissue, diameter_m, variant, derive_seed(seed, "insertion", number))
        low, high = (d / MM for d in diameter_m)
        require(
            found is not None,
            f"insertion {number} of {len(wanted)} ({kind}, {tissue}): no room in the region for {low:g} to {high:g} mm; "
            f"the widest free place is {2e3 * float((space.depth_m * space.free).max()):.2f} mm across",
        )
        if found is not None:
            placed.append(found)
    return tuple(placed)


def check_kind(kind: str, tissue: str) -> None:
    """Refuse an unknown class, a mimic that is wanted as a lesion, or one that is no medium."""
    known = {"lesion": LESIONS, "mimic": INSERTABLE_MIMICS, "sham": LESIONS}
    find_class(kind, tissue, known[check_one_of("kind", kind, known)])


def _place(
    space: Space, number: int, kind: str, tissue: str, diameter_m: tuple[float, float], variant: str, seed: int
) -> PlacedLesion | None:
    rng = stream(seed, "size")
    room = ndimage.distance_transform_edt(np.pad(space.free, 1))[1:-1, 1:-1, 1:-1] * space.grid.voxel_m
    for attempt in range(TRIES):
        size = diameter_m[0] if attempt >= TRIES - 3 else float(np.exp(rng.uniform(*np.log(diameter_m))))
        growth = draw_growth(LesionRequest(tissue, size), kind, variant, derive_seed(seed, "growth", attempt))
        for centre in _candidates(space, room, size, stream(seed, "place", attempt)):
            made = _fitted(space, number, kind, growth, centre)
            if made is not None:
                return made
    return None


def _candidates(space: Space, room_m: NDArray, size_m: float, rng: np.random.Generator) -> list[Centre]:
    """Random points with room for a somewhat smaller sphere (or, at the edge, less deep than the radius)."""
    deep = room_m > 0.42 * size_m
    if space.at_edge:
        deep = space.free & (space.depth_m < 0.5 * size_m)
    index = np.flatnonzero(deep)
    if len(index) == 0:
        return []
    chosen = np.stack(np.unravel_index(rng.choice(index, min(CENTRES, len(index)), replace=False), deep.shape), axis=1)
    moved = chosen + rng.uniform(-0.5, 0.5, chosen.shape)
    origin = np.array([axis[0] for axis in space.grid.axes])
    return [(float(p[0]), float(p[1]), float(p[2])) for p in origin + moved * space.grid.voxel_m]


def _fitted(space: Space, number: int, kind: str, growth: Growth, centre: Centre) -> PlacedLesion | None:
    """The insertion if it fits at `centre`: inside the region, clear of the others, in parenchyma."""
    grid = space.grid
    reach = reach_m(growth) + grid.voxel_m
    if any(c - reach < axis[0] or c + reach > axis[-1] for c, axis in zip(centre, grid.axes)):
        return None
    box = grid.box_around(centre, reach + GAP_M)
    size = growth.request.diameter_m
    insertion = Insertion(number, kind, growth.request.tissue, centre, size)
    rough = PlacedLesion(insertion, growth, LungThere(0.0, ()), "inside")
    lesion = rough.drawn(grid.box(box))
    core, touched = lesion.share > 0, lesion.touched > 0
    inside = space.region[box]
    if space.at_edge:
        if not LEAST_INSIDE <= lesion.share[inside].sum() / lesion.share.sum() <= MOST_INSIDE:
            return None
    elif not (space.depth_m[box][touched] > max(space.edge_m, 0.5 * grid.voxel_m)).all():
        return None
    near = ndimage.distance_transform_edt(~touched) * grid.voxel_m < GAP_M
    if not space.free[box][near & inside].all():
        return None
    weight = lesion.touched * inside
    lung = lung_there(space, box, weight)
    if not PARENCHYMA[0] < lung.fraction(space.host) < PARENCHYMA[1]:
        return None
    space.free[box] &= ~touched
    place = _place_of(core, inside, space.depth_m[box])
    return PlacedLesion(insertion, growth, lung, place, texture_there(space, box, lung, weight))


def _place_of(core: NDArray[np.bool_], inside: NDArray[np.bool_], depth_m: NDArray[np.float64]) -> str:
    if (core & ~inside).any():
        return PLACES[0]
    return PLACES[1] if depth_m[core].min() < GAP_M else PLACES[2]


def lung_there(space: Space, box: Box, weight: NDArray) -> LungThere:
    """Means of what is replaced, and from them the parenchyma between the vessels.

    Vessels that show raise the mean above the median by their share; of those too fine to show a share is assumed.
    """
    total = float(weight.sum())
    values = np.nan_to_num(space.attenuation[box])
    mean = float((values * weight).sum()) / total
    own = values[weight > 0.5] if (weight > 0.5).any() else values[weight > 0]
    middle = min(float(np.median(own)), mean)
    tissue = space.host.tissue_per_m
    shown = (mean - middle) / max(tissue - middle, 1e-9)
    vessels = float(np.clip(shown + HIDDEN_VESSELS, 0, 0.3))
    dark = tuple(float(np.nansum(s[box] * weight)) / total for s in space.scattering)
    return LungThere(max((mean - vessels * tissue) / (1 - vessels), 0.0), dark, HIDDEN_VESSELS)


def texture_there(space: Space, box: Box, lung: LungThere, weight: NDArray) -> Image:
    """How smoothed lung deviates from the parenchyma; what exceeds it by more than 15 % is vessel.

    Deviations have the mean zero over the insertion, so that they move what is replaced and change nothing of how much.
    """
    mu, tissue = lung.attenuation_per_m, space.host.tissue_per_m
    smooth = _smooth(space, space.attenuation, box)
    hidden = mu * (1 - HIDDEN_VESSELS) + tissue * HIDDEN_VESSELS
    deviation = (smooth - hidden) / max(mu, 1e-9)
    parenchyma = np.clip(deviation, -MOST_TEXTURE, VESSEL_EXCESS)
    vessels = np.clip((deviation - parenchyma) * mu / max(tissue - mu, 1e-9), 0, 1 - HIDDEN_VESSELS)
    layers = [parenchyma - float((parenchyma * weight).sum() / weight.sum()), vessels]
    for values, mean in zip(space.scattering, lung.scattering_per_m):
        smooth = _smooth(space, values, box)
        level = float((smooth * weight).sum() / weight.sum())
        relative = np.clip((smooth - level) / max(mean, 1e-9), -MOST_TEXTURE, MOST_TEXTURE)
        layers.append(relative - float((relative * weight).sum() / weight.sum()))
    local = space.grid.box(box)
    origin = tuple(float(axis[0]) for axis in local.axes)
    names = ("attenuation", "vessels", *(f"scattering_{k}" for k in range(len(layers) - 2)))
    return Image(np.stack(layers), names, ("1",) * len(layers), (space.grid.voxel_m,) * 3, origin)


def _smooth(space: Space, values: NDArray, box: Box) -> NDArray[np.float64]:
    """Gaussian mean over the region's own voxels, in `box`."""
    sigma = TEXTURE_M / space.grid.voxel_m
    wide = tuple(slice(max(b.start - 3, 0), b.stop + 3) for b in box)
    inner = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, wide))
    known = space.region[wide].astype(np.float64)
    weight = np.maximum(ndimage.gaussian_filter(known, sigma), 1e-6)
    return np.asarray((ndimage.gaussian_filter(np.nan_to_num(values[wide]) * known, sigma) / weight)[inner])


def _interpolated(texture: Image, grid: Grid) -> Texture:
    """Texture at the voxels of `grid`; beyond its box that of the nearest voxel."""
    at = [(axis - o) / d for axis, o, d in zip(grid.axes, texture.origin_m, texture.spacing_m)]
    points = np.meshgrid(*at, indexing="ij")
    values = [ndimage.map_coordinates(channel, points, order=1, mode="nearest") for channel in texture.data]
    return Texture(values[0], values[1], np.stack(values[2:]) if len(values) > 2 else np.zeros((0, *grid.shape)))


@dataclass(frozen=True)
class VolumeChanges:
    """What insertions change in a volume, and the labels on its voxels.

    Parameters
    ----------
    attenuation : (z, y, x) float64 [1/m]
    scattering : (direction, z, y, x) float64 [1/m]
    share : (z, y, x) float32
        Part of each voxel that lesions or mimics fill.
    instances : (z, y, x) uint16
        Number of the lesion or mimic that fills more than half of the voxel, else 0.
    """

    attenuation: NDArray[np.float64]
    scattering: NDArray[np.float64]
    share: NDArray[np.float32]
    instances: NDArray[np.uint16]


def volume_changes(
    placed: Sequence[PlacedLesion],
    grid: Grid,
    region: NDArray[np.bool_],
    *,
    host: Host,
    blur_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
    texture: NDArray[np.float64] | None = None,
) -> VolumeChanges:
    """Draw insertions on the voxels of a volume.

    Parameters
    ----------
    placed : sequence of PlacedLesion
    grid : Grid
    region : (z, y, x) bool
        Nothing outside it is changed or labelled.
    host : Host
    blur_m : (z, y, x)
        Standard deviations of the reconstruction's blur [m], applied to the changes, not to the labels.
    texture : (z, y, x) array, optional
        Fine texture of attenuation that goes with the lung where a core replaces it [1/m] (`residual.fine_texture`).
    """
    directions = max((len(p.lung.scattering_per_m) for p in placed), default=0)
    attenuation = np.zeros(grid.shape)
    scattering = np.zeros((directions, *grid.shape))
    share, instances = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.uint16)
    for one in placed:
        box = grid.box_around(one.insertion.center_m, reach_m(one.growth) + 4 * max(blur_m) + 2 * grid.voxel_m)
        lesion, *fine = one.changes(_finer(grid.box(box)), host)
        inside = region[box]
        changes = [_coarse(values) * inside for values in fine]
        sigma = tuple(b / grid.voxel_m for b in blur_m)
        if any(sigma):
            changes = [ndimage.gaussian_filter(c, (*(0.0,) * (c.ndim - 3), *sigma)) for c in changes]
        attenuation[box] += changes[0]
        scattering[(slice(None), *box)] += changes[1]
        if not one.sham:
            own = _coarse(lesion.share) * inside
            if texture is not None:
                attenuation[box] -= own * texture[box]
            share[box] = np.maximum(share[box], own)
            instances[box][own > 0.5] = one.insertion.number
    return VolumeChanges(attenuation, scattering, share, instances)


def _finer(grid: Grid) -> Grid:
    """`FINE` points along each voxel of `grid`, spread evenly."""
    voxel = grid.voxel_m / FINE
    inner = (np.arange(FINE) - (FINE - 1) / 2) * voxel
    z, y, x = ((axis[:, None] + inner).ravel() for axis in grid.axes)
    return Grid(voxel, z, y, x)


def _coarse(values: NDArray) -> NDArray:
    """Means over the points of each voxel; the last three axes are z, y, x."""
    z, y, x = (n // FINE for n in values.shape[-3:])
    blocks = values.reshape(*values.shape[:-3], z, FINE, y, FINE, x, FINE)
    return np.asarray(blocks.mean(axis=(-5, -3, -1)))


def contrast_of(placed: PlacedLesion, host: Host) -> tuple[float, float]:
    """Attenuation and scattering (mean over directions) of the core over those of the lung that it replaces."""
    reach = placed.growth.blob.reach_m()
    axis = np.linspace(-reach, reach, 25)
    z, y, x = (axis + c for c in placed.insertion.center_m)
    lesion = placed.drawn(Grid(float(axis[1] - axis[0]), z, y, x))
    core = lesion.share > 0.99 * lesion.share.max()
    changes, lung = lesion_changes(lesion, placed.lung, host), placed.lung
    dark = [1 + float((c / lesion.share.max())[core].mean()) / s for c, s in zip(changes[1], lung.scattering_per_m) if s]
    return 1 + float(changes[0][core].mean()) / lung.attenuation_per_m, float(np.mean(dark)) if dark else float("nan")
