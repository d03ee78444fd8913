"""Organs of the thorax as signed distances: negative inside, about one metre per metre near the surface.

Each surface is a simple solid with individual bumps; a voxel's share of an organ follows from the distance, so that
edges are blended and the same animal appears at any voxel size. NOT modelled: limbs, oesophagus folds, contrast
between muscle, blood and gland (all are soft tissue), motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.phantom.families import MM, Anatomy
from darklung.phantom.grid import Grid, smooth_noise

Field = NDArray[np.float32]

MIDLINE = (
    0.49  # of the chest's half width: so far left lies the plane between the lungs at their base; the left one is smaller
)
LOBES = ("left", "right cranial", "right middle", "right caudal", "accessory")


@dataclass(frozen=True)
class Frame:
    """Coordinates of the animal's own axes at each voxel, its roll and lean undone."""

    z: Field
    y: Field
    x: Field


@dataclass(frozen=True)
class LungShape:
    """The lungs on a grid: what trees, microstructure and lesions need to know of an anatomy.

    Parameters
    ----------
    distance_m : (z, y, x) float32
        Signed distance to the lungs' surface, negative inside.
    lobe : (z, y, x) uint8
        Number of the lobe, 1, 2, ..., meaningful inside the lungs.
    fissure_m : (z, y, x) float32
        Distance to the nearest fissure between lobes.
    carina_m : (3,) float64
        Where the windpipe divides, (z, y, x) on the grid.
    """

    distance_m: Field
    lobe: NDArray[np.uint8]
    fissure_m: Field
    carina_m: NDArray[np.float64]


@dataclass(frozen=True)
class Thorax:
    """Signed distances [m] of the organs on a grid, and the lungs."""

    frame: Frame
    body: Field
    cavity: Field
    heart: Field
    abdomen: Field
    lungs: LungShape

    @property
    def lung(self) -> Field:
        """Signed distance to the lungs' surface."""
        return self.lungs.distance_m


def animal_frame(grid: Grid, a: Anatomy) -> Frame:
    """Turn the grid's coordinates into the animal's."""
    z, y, x = grid.mesh()
    cos, sin = np.float32(np.cos(a.roll_rad)), np.float32(np.sin(a.roll_rad))
    side = (cos * x - sin * y) - np.float32(a.lean) * z
    return Frame(z=z, y=(sin * x + cos * y) + np.float32(0 * a.lean) * z, x=side)


def to_grid(points: NDArray[np.float64], a: Anatomy) -> NDArray[np.float64]:
    """The inverse of `animal_frame` for points (point, 3)."""
    z, y, x = points.T
    side = x + a.lean * z
    cos, sin = np.cos(a.roll_rad), np.sin(a.roll_rad)
    return np.stack([z, cos * y - sin * side, sin * y + cos * side], axis=1)


def _radial(y: Field, x: Field, half_depth: Field | float, half_width: Field | float, power: float = 2.0) -> Field:
    """Distance to a superellipse cylinder along the line from its axis."""
    rho = (np.abs(x / half_width) ** power + np.abs(y / half_depth) ** power) ** np.float32(1 / power)
    rho = np.maximum(rho, np.float32(1e-3))
    return np.hypot(x, y) * (1 - 1 / rho)


def _ellipsoid(parts: tuple[Field, Field, Field], semi_m: tuple[float, float, float]) -> Field:
    """Approximate distance to an ellipsoid from coordinates along its own axes."""
    p, q, r = parts
    a, b, c = (np.float32(s) for s in semi_m)
    k0 = np.sqrt((p / a) ** 2 + (q / b) ** 2 + (r / c) ** 2)
    k1 = np.sqrt((p / a**2) ** 2 + (q / b**2) ** 2 + (r / c**2) ** 2)
    return k0 * (k0 - 1) / np.maximum(k1, np.float32(1e-3))


def cavity_centre_y_m(a: Anatomy) -> float:
    """Where the thoracic cavity's axis lies: nearer the breast than the back."""
    return a.cavity_half_depth_m - a.body_half_depth_m + 2.0 * MM


def cavity_profile(z_m: NDArray, a: Anatomy) -> NDArray:
    """Share of the cavity's full width at height z: 1 in the lower half, closing at the apex."""
    u = np.clip((z_m - (a.apex_z_m - 0.75 * a.lung_length_m)) / (0.75 * a.lung_length_m), 0, 0.9999)
    return np.sqrt(1 - u**2.4)


def _cavity(frame: Frame, a: Anatomy, bumps: Field) -> Field:
    profile = cavity_profile(frame.z, a).astype(np.float32)
    # The cross-section is rounder at the back, narrower at the breast.
    y = frame.y - np.float32(cavity_centre_y_m(a))
    width = np.float32(a.cavity_half_width_m) * profile * (1 + np.float32(0.08) * np.clip(y / np.float32(6 * MM), -1, 1))
    shell = _radial(y, frame.x, np.float32(a.cavity_half_depth_m) * profile, width, 2.15)
    column = np.hypot(frame.x / np.float32(1.15), frame.y - np.float32(spine_y_m(a))) - np.float32(2.1 * MM)
    top = frame.z - np.float32(a.apex_z_m)
    return np.maximum(np.maximum(shell + np.float32(0.15 * MM) * bumps, -column), top)


def spine_y_m(a: Anatomy) -> float:
    """Where the vertebral bodies lie."""
    return cavity_centre_y_m(a) + a.cavity_half_depth_m + 0.2 * MM


def _diaphragm(frame: Frame, a: Anatomy, bumps: Field) -> Field:
    """Height above the diaphragm's dome, about as a distance (positive in the chest)."""
    y = frame.y - np.float32(cavity_centre_y_m(a))
    rho = np.hypot(frame.x / np.float32(a.cavity_half_width_m), y / np.float32(a.cavity_half_depth_m))
    base = a.apex_z_m - a.lung_length_m - 0.4 * MM * a.breath
    cupola = 1 - np.minimum(rho, np.float32(1.06)) ** np.float32(2.4)
    right = np.float32(0.5 * MM) * np.tanh(-frame.x / np.float32(3 * MM))
    dome = np.float32(base) + np.float32(a.dome_height_m) * cupola + right - np.float32(0.10) * y
    return np.float32(0.75) * (frame.z - dome) + np.float32(0.2 * MM) * bumps


def _heart(frame: Frame, a: Anatomy, bumps: Field) -> Field:
    top = a.apex_z_m - a.lung_length_m + a.dome_height_m
    centre = np.array([top + 2.2 * MM, cavity_centre_y_m(a) - 1.4 * MM, a.heart_left_m], dtype=np.float32)
    along = np.array([-0.78, -0.40, 0.48])
    along /= np.linalg.norm(along)
    across = np.cross(along, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    third = np.cross(along, across)
    offset = (frame.z - centre[0], frame.y - centre[1], frame.x - centre[2])
    p, q, r = (sum(np.float32(v) * o for v, o in zip(axis, offset)) for axis in (along, across, third))
    narrowing = 1 - np.float32(0.18) * np.clip(p / np.float32(a.heart_long_m), -1, 1)  # the apex is the narrow end
    semi = (a.heart_long_m, a.heart_short_m, a.heart_short_m)
    return _ellipsoid((p, q / narrowing, r / narrowing), semi) + np.float32(0.12 * MM) * bumps


def carina_m(a: Anatomy) -> NDArray[np.float64]:
    """Where the trachea divides, in the animal's axes (z, y, x)."""
    return np.array([a.apex_z_m - 0.42 * a.lung_length_m, cavity_centre_y_m(a) + 1.6 * MM, 0.0])


WINDPIPE_SLOPE = -0.1  # it comes forward towards the throat, y per z


def _windpipe(frame: Frame, a: Anatomy) -> Field:
    """Distance to the trachea's axis above the carina."""
    low = carina_m(a)
    rise = frame.z - np.float32(low[0])
    flat = np.hypot(frame.y - np.float32(low[1]) - np.float32(WINDPIPE_SLOPE) * rise, frame.x)
    return np.hypot(flat, np.minimum(rise, 0))


def _great_vessels(frame: Frame, a: Anatomy, bumps: Field) -> Field:
    """Distance to descending aorta, oesophagus and caudal vena cava: cords that the lungs make room for."""
    y = frame.y - np.float32(spine_y_m(a))
    wave = np.float32(0.12 * MM) * bumps
    aorta = np.hypot(frame.x - np.float32(1.1 * MM) + wave, y + np.float32(2.0 * MM)) - np.float32(0.60 * MM)
    gullet = np.hypot((frame.x - np.float32(0.1 * MM)) / np.float32(1.3), y + np.float32(2.9 * MM) + wave) - np.float32(
        0.65 * MM
    )
    base = a.apex_z_m - a.lung_length_m + a.dome_height_m
    along = np.maximum(frame.z - np.float32(base + 2.5 * MM), 0)
    cava = np.hypot(np.hypot(frame.x + np.float32(1.3 * MM) - wave, y + np.float32(5.6 * MM)), along) - np.float32(0.65 * MM)
    return np.minimum(np.minimum(aorta, gullet), cava)


def _midline(frame: Frame, a: Anatomy) -> Field:
    """x of the plane between the lungs, central at the apex."""
    left = np.float32(MIDLINE * a.cavity_half_width_m)
    return left * np.clip((np.float32(a.apex_z_m) - frame.z) / np.float32(a.lung_length_m), 0, 1) ** 0.5


def _lobes(frame: Frame, a: Anatomy, bumps: Field, accessory: Field) -> tuple[NDArray[np.uint8], Field]:
    """Label of each lobe and the distance to the nearest fissure between right lobes."""
    mid = a.apex_z_m - 0.365 * a.lung_length_m
    y = frame.y - np.float32(cavity_centre_y_m(a))
    wave = np.float32(0.35 * MM) * bumps
    cranial = np.float32(0.93) * (frame.z - np.float32(mid) - np.float32(0.40) * y) + wave
    middle = np.float32(0.80) * (np.float32(-2.0 * MM) - y - np.float32(0.75) * (frame.z - np.float32(mid - 3 * MM))) + wave
    right = np.where(cranial > 0, 2, np.where(middle > 0, 3, 4))
    left = frame.x > _midline(frame, a)
    label = np.where(left, 1, right)
    label = np.where(accessory < 0, 5, label).astype(np.uint8)
    oblique = np.where(cranial > 0, cranial, np.minimum(-cranial, np.abs(middle)))
    oblique = np.where(left, np.float32(1.0), oblique)
    outside = np.where(accessory < 0, np.float32(1.0), oblique)
    return label, np.minimum(outside, np.abs(accessory))


def build_thorax(grid: Grid, a: Anatomy, seed: int) -> Thorax:
    """All organs of one mouse on `grid`.

    Parameters
    ----------
    grid : Grid
    a : Anatomy
    seed : int
        Of this mouse; shapes its bumps.
    """
    frame = animal_frame(grid, a)
    bumps = smooth_noise(grid, seed, "bumps", 2.5 * MM)
    taper = 1 - np.float32(a.neck_taper) * np.clip((frame.z - np.float32(2 * MM)) / np.float32(7 * MM), 0, 1.2) ** 2
    body = _radial(frame.y, frame.x, np.float32(a.body_half_depth_m) * taper, np.float32(a.body_half_width_m) * taper, 2.2)
    body = body + np.float32(0.10 * MM) * bumps
    cavity = _cavity(frame, a, bumps)
    above = _diaphragm(frame, a, -bumps)
    heart = _heart(frame, a, bumps)
    y = frame.y - np.float32(cavity_centre_y_m(a))
    # The wall between the lungs is thick around heart and great vessels, thin elsewhere.
    low = a.apex_z_m - a.lung_length_m + a.dome_height_m
    thick = 0.22 * MM + 0.9 * MM * np.exp(
        -(((frame.z - low - 5.5 * MM) / (2.6 * MM)) ** 2) - ((y + 0.3 * MM) / (3 * MM)) ** 2
    )
    side = frame.x - _midline(frame, a)
    wall = np.abs(side + np.float32(0.3 * MM) * bumps) - thick.astype(np.float32)
    around = (frame.z - np.float32(low), y - np.float32(1.3 * MM), frame.x + np.float32(0.9 * MM))
    accessory = _ellipsoid(around, (4.3 * MM, 3.2 * MM, 3.4 * MM))
    accessory = np.maximum(accessory, -(heart - np.float32(0.25 * MM)))
    wall = np.maximum(wall, -accessory)
    lung = np.maximum(np.maximum(cavity, -wall), np.maximum(np.float32(0.15 * MM) - heart, np.float32(0.1 * MM) - above))
    lung = np.maximum(lung, np.float32(a.trachea_radius_m + 0.3 * MM) - _windpipe(frame, a))
    lung = np.maximum(lung, -_great_vessels(frame, a, bumps))
    lobe, fissure = _lobes(frame, a, bumps, accessory)
    lungs = LungShape(lung, lobe, fissure, to_grid(carina_m(a)[None], a)[0])
    return Thorax(frame, body, cavity, heart, np.maximum(cavity, above), lungs)
