"""Airways, arteries and veins of one mouse's lungs, and the bones around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.random import stream
from darklung.phantom.families import MM, Anatomy, family
from darklung.phantom.grid import Grid
from darklung.phantom.thorax import (
    WINDPIPE_SLOPE,
    LungShape,
    carina_m,
    cavity_centre_y_m,
    cavity_profile,
    spine_y_m,
    to_grid,
)  # fmt: skip
from darklung.phantom.tubes import Tree, beside, draw_tubes, grow_tree

Field = NDArray[np.float32]
Points = NDArray[np.float64]

TERRITORY_M3 = (0.53 * MM) ** 3  # one end branch of an artery or vein feeds about this much lung
POINTS_PER_LEAF = 8
AIRWAY_SHARE = 0.45  # lumen volume of the drawn airways relative to the vessels'
AIRWAY_LEAVES = 3  # airways narrower than what feeds this many territories are alveolar ducts: parenchyma


@dataclass(frozen=True)
class Tubes:
    """Tubes ready to be drawn: (tube, 3) start and end [m], (tube,) radius [m]."""

    start_m: Points
    end_m: Points
    radius_m: Points

    def __add__(self, other: Tubes) -> Tubes:
        pairs = ((self.start_m, other.start_m), (self.end_m, other.end_m), (self.radius_m, other.radius_m))
        return Tubes(*(np.concatenate(pair) for pair in pairs))

    def turned(self, a: Anatomy) -> Tubes:
        """From the animal's axes to the grid's: roll and lean applied."""
        return Tubes(to_grid(self.start_m, a), to_grid(self.end_m, a), self.radius_m)

    def drawn(self, grid: Grid) -> Field:
        """Share of each voxel inside the tubes."""
        return draw_tubes(grid, self.start_m, self.end_m, self.radius_m)


def polyline(points: Points, radius_m: float | NDArray) -> Tubes:
    """Tubes along a chain of points."""
    return Tubes(points[:-1], points[1:], np.broadcast_to(np.asarray(radius_m, float), (len(points) - 1,)).copy())


MAIN_BRONCHI_M = ((-1.7 * MM, 0.3 * MM, 2.3 * MM), (-1.5 * MM, 0.3 * MM, -2.0 * MM))  # from the carina: left, right
MAIN_BRONCHUS = 0.72  # of the windpipe's radius


def trachea(grid: Grid, a: Anatomy) -> Tubes:
    """The windpipe from above the grid down to the carina and the two main bronchi (lumen), in the grid's axes."""
    low = carina_m(a)
    rise = grid.z_m[-1] + 2 * MM - low[0]
    top = low + rise * np.array([1.0, WINDPIPE_SLOPE, 0.0])
    pipe = polyline(np.stack([top, low]), a.trachea_radius_m)
    for end in MAIN_BRONCHI_M:
        pipe = pipe + polyline(np.stack([low, low + np.array(end)]), MAIN_BRONCHUS * a.trachea_radius_m)
    return pipe.turned(a)


def _lobe_points(grid: Grid, lungs: LungShape, seed: int, name: str) -> dict[int, Points]:
    """Points spread evenly through each lobe; about `POINTS_PER_LEAF` a territory."""
    low, high = grid.bounds().T
    count = int(np.prod(high - low) / TERRITORY_M3 * POINTS_PER_LEAF)
    points = stream(seed, "trees", name).uniform(low, high, (count, 3))
    where = grid.index_of(points)
    within = np.all((where >= 0) & (where < grid.shape), axis=1)
    points, index = points[within], tuple(where[within].T)
    inside = lungs.distance_m[index] < -0.1 * MM
    label = lungs.lobe[index]
    return {int(lobe): points[inside & (label == lobe)] for lobe in np.unique(label[inside])}


@dataclass(frozen=True)
class LungTrees:
    """Airway lumens, airways with their walls, and vessels."""

    lumen: Tubes
    airway: Tubes
    vessels: Tubes


def _hilum(points: Points, carina: Points) -> Points:
    """Where a lobe's trees enter: a little inside the lobe, on the side of the carina."""
    nearest = points[np.argsort(np.linalg.norm(points - carina, axis=1))[: max(4, len(points) // 200)]]
    return np.asarray(nearest.mean(axis=0))


def _scaled(trees: list[Tree], volume_m3: float) -> list[NDArray[np.float64]]:
    """Radii of several trees by one Murray law, so that together they have `volume_m3`."""
    unit = sum(float(np.sum(np.pi * t.calibre() ** 2 * t.length_m())) for t in trees)
    return [t.calibre() * np.sqrt(volume_m3 / unit) for t in trees]


def grow_lung_trees(grid: Grid, lungs: LungShape, a: Anatomy, variant: str, seed: int) -> LungTrees:
    """Trees of all lobes: airways with an artery beside each, and veins between them.

    Radii follow Murray's law from the hilum to below the voxel; vessels together hold `Anatomy.vessel_fraction` of the
    lungs' volume. NOT modelled: the pulmonary trunk and the great vessels outside the lungs, bronchial arteries.
    """
    law = family(variant)
    lung_m3 = float(np.count_nonzero(lungs.distance_m < 0)) * grid.voxel_m**3
    carina = lungs.carina_m
    airways, veins = [], []
    vein_points = _lobe_points(grid, lungs, seed, "vein")
    for lobe, points in _lobe_points(grid, lungs, seed, "airway").items():
        if len(points) < 4 * POINTS_PER_LEAF or lobe not in vein_points:
            continue
        root = _hilum(points, carina)
        airways.append(grow_tree(points, root, leaf_points=POINTS_PER_LEAF, share=law.share, exponent=law.exponent))
        other, entry = vein_points[lobe], root + 0.25 * (vein_points[lobe].mean(axis=0) - root)
        veins.append(grow_tree(other, entry, leaf_points=POINTS_PER_LEAF, share=law.share, exponent=law.exponent))
    require(bool(airways), "field_of_view_m: the lungs do not lie inside the field of view")
    vessel_m3 = a.vessel_fraction * lung_m3
    radii = _scaled(airways + veins, vessel_m3)
    lumens, outers, vessels = [], [], []
    rng = stream(seed, "trees", "beside")
    for tree, radius in zip(airways, radii):
        side = rng.standard_normal(3)
        side /= np.linalg.norm(side)
        artery = beside(tree, 2.0 * radius + 0.03 * MM, side)
        vessels.append(Tubes(artery.start_m, artery.end_m, radius))
        wide = tree.leaves >= AIRWAY_LEAVES
        lumen = radius[wide] * np.sqrt(2 * AIRWAY_SHARE) * 1.2
        stem = polyline(np.stack([carina, tree.start_m[0]]), lumen[0] * 1.1)
        lumens.append(Tubes(tree.start_m[wide], tree.end_m[wide], lumen) + stem)
        outers.append(Tubes(tree.start_m[wide], tree.end_m[wide], 1.15 * lumen + 0.015 * MM))
    for tree, radius in zip(veins, radii[len(airways) :]):
        vessels.append(Tubes(tree.start_m, tree.end_m, radius))
    return LungTrees(_joined(lumens), _joined(outers), _joined(vessels))


def _joined(parts: list[Tubes]) -> Tubes:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _rib(a: Anatomy, head_z_m: float, side: int, reach: float) -> Points:
    """Centre line of one rib from the spine round the cavity to `reach` of half a turn."""
    turn = np.linspace(0.10, reach, 28) * np.pi
    z = head_z_m - 3.2 * MM * np.sin(turn / 2) ** 2 + 0.6 * MM * np.sin(turn)
    profile = np.maximum(cavity_profile(z, a), 0.28)
    out = 0.55 * MM
    y = cavity_centre_y_m(a) + (a.cavity_half_depth_m * profile + out) * np.cos(turn)
    x = side * (a.cavity_half_width_m * profile + out) * np.sin(turn)
    # A superellipse of power 2.15 is a little wider than an ellipse on the diagonal.
    swell = 1 + 0.03 * np.sin(2 * turn) ** 2
    return np.stack([z, cavity_centre_y_m(a) + (y - cavity_centre_y_m(a)) * swell, x * swell], axis=1)


def ribs_and_sternum(a: Anatomy) -> tuple[Tubes, Tubes]:
    """Ribs with breastbone, and the rib cartilage, in the grid's axes."""
    bones, cartilage = [], []
    for number in range(13):
        head = a.apex_z_m + 0.6 * MM - number * a.vertebra_m
        reach = 0.80 if number < 7 else 0.80 - 0.07 * (number - 6)
        for side in (-1, 1):
            line = _rib(a, head, side, reach)
            bones.append(polyline(line, a.rib_radius_m))
            if number < 8:
                cartilage.append(polyline(_rib(a, head, side, 0.98)[22:], 0.9 * a.rib_radius_m))
    y = cavity_centre_y_m(a) - a.cavity_half_depth_m - 0.55 * MM
    for number in range(6):
        z = a.apex_z_m - 2.0 * MM - number * a.vertebra_m
        ends = np.array([[z, y, 0.0], [z - 0.8 * a.vertebra_m, y, 0.0]])
        bones.append(polyline(ends, 0.40 * MM))
    return _joined(bones).turned(a), _joined(cartilage).turned(a)


def spine(grid: Grid, a: Anatomy) -> tuple[Tubes, Tubes, Tubes]:
    """Cortical shell of the vertebrae with arches and spines, their marrow, and the spinal canal, in the grid's axes."""
    y = spine_y_m(a)
    outer, marrow, arches = [], [], []
    half = grid.z_m[-1] + a.vertebra_m
    first = a.apex_z_m + 0.6 * MM  # the first rib's vertebra
    for number in range(int(np.floor((-half - first) / a.vertebra_m)), int(np.ceil((half - first) / a.vertebra_m)) + 1):
        z = first + number * a.vertebra_m
        body = np.array([[z, y, 0.0], [z - 0.80 * a.vertebra_m, y, 0.0]])
        outer.append(polyline(body, 0.95 * MM))
        marrow.append(polyline(body - np.array([[0.15 * MM, 0, 0], [-0.15 * MM, 0, 0]]), 0.72 * MM))
        turn = np.linspace(0, 2 * np.pi, 15)
        ring = np.stack(
            [np.full(15, z - 0.5 * MM), y + 1.55 * MM + 0.85 * MM * np.cos(turn), 0.95 * MM * np.sin(turn)], axis=1
        )
        arches.append(polyline(ring, 0.22 * MM))
        arches.append(polyline(np.array([[z - 0.5 * MM, y + 2.4 * MM, 0.0], [z - 1.1 * MM, y + 3.1 * MM, 0.0]]), 0.20 * MM))
        for side in (-1, 1):
            wing = np.array([[z - 0.4 * MM, y + 1.0 * MM, side * 0.9 * MM], [z - 0.4 * MM, y + 1.1 * MM, side * 1.9 * MM]])
            arches.append(polyline(wing, 0.24 * MM))
    canal = polyline(np.array([[half, y + 1.55 * MM, 0.0], [-half, y + 1.55 * MM, 0.0]]), 0.68 * MM)
    return (_joined(outer) + _joined(arches)).turned(a), _joined(marrow).turned(a), canal.turned(a)
