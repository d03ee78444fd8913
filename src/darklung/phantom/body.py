"""The mass of everything but the lungs' own tissue: skin, fat, muscle, bones, heart, liver, stomach, windpipe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darklung.phantom.families import MM, Anatomy
from darklung.phantom.grid import Grid, occupancy, smooth_noise
from darklung.phantom.thorax import Thorax, cavity_centre_y_m
from darklung.phantom.trees import Tubes, polyline, ribs_and_sternum, spine, trachea

Field = NDArray[np.float32]

MATERIALS = ("soft_tissue", "adipose", "bone")
SOFT, FAT, BONE, AIR = 0, 1, 2, None
MUSCLE_DENSITY, LIVER_DENSITY, FAT_DENSITY = 1.05, 1.06, 0.95  # g/cm³, ICRU Report 44 (1989)
CARTILAGE_SHARE, MARROW_SHARE, PLATE_SHARE = 0.35, 0.75, 0.6


def _paint(shares: list[Field], which: int | None, share: Field) -> None:
    """Lay `share` of one material over what is there; None is air."""
    keep = 1 - share
    for material in shares:
        material *= keep
    if which is not None:
        shares[which] += share


def _limbs(a: Anatomy) -> tuple[Tubes, Tubes, Tubes]:
    """Upper arms, their marrow, and shoulder blades, in the grid's axes."""
    width, depth = a.body_half_width_m, a.body_half_depth_m
    arms, marrow, blades = [], [], []
    for side in (-1, 1):
        shoulder = np.array([a.apex_z_m + 0.2 * MM, -0.15 * depth, side * 0.62 * width])
        elbow = np.array([a.apex_z_m - 5.0 * MM, -0.50 * depth, side * 0.70 * width])
        arms.append(polyline(np.stack([shoulder, elbow]), 0.55 * MM))
        marrow.append(polyline(np.stack([shoulder + 0.05 * (elbow - shoulder), elbow]), 0.34 * MM))
        for share in np.linspace(0, 1, 9):  # a blade is a fan of thin struts
            foot = np.array(
                [a.apex_z_m - (1.5 + 5.5 * share) * MM, (0.62 - 0.1 * share) * depth, side * (0.34 + 0.16 * share) * width]
            )
            blades.append(polyline(np.stack([shoulder + np.array([0, 0.1 * depth, 0]), foot]), 0.16 * MM))
    parts = []
    for tubes in (arms, marrow, blades):
        total = tubes[0]
        for tube in tubes[1:]:
            total = total + tube
        parts.append(total.turned(a))
    return parts[0], parts[1], parts[2]


def _lay_fat(shares: list[Field], thorax: Thorax, a: Anatomy, lumps: Field, voxel_m: float) -> None:
    """A layer under the skin, seams between muscles, a lining of the heart, pads in the belly."""
    depth = -thorax.body - np.float32(a.skin_m)
    layer = np.float32(a.fat_m) * np.maximum(1 + np.float32(0.6) * lumps, 0)
    _paint(shares, FAT, occupancy(np.maximum(-depth, depth - layer), voxel_m))
    seams = np.maximum(np.abs(lumps) - np.float32(0.10), np.float32(0)) * np.float32(1 * MM) - np.float32(0.04 * MM)
    wall = np.maximum(np.float32(0.9 * MM) - thorax.cavity, -depth)
    _paint(shares, FAT, 0.7 * occupancy(np.maximum(seams, wall), voxel_m))
    lining = np.maximum(np.abs(thorax.heart - np.float32(0.1 * MM)) - np.float32(0.08 * MM), thorax.cavity)
    _paint(shares, FAT, 0.6 * occupancy(lining, voxel_m))


def _stomach(thorax: Thorax, a: Anatomy) -> tuple[Field, Field]:
    """Distances to the stomach's gas and to its food, under the left dome."""
    frame = thorax.frame
    top = a.apex_z_m - a.lung_length_m + 0.35 * a.dome_height_m
    z = frame.z - np.float32(top - 3.2 * MM)
    y = frame.y - np.float32(cavity_centre_y_m(a) + 0.5 * MM)
    x = frame.x - np.float32(3.0 * MM)
    rho = np.sqrt((z / np.float32(2.2)) ** 2 + (y / np.float32(2.0)) ** 2 + (x / np.float32(2.6)) ** 2)
    wall = (rho - np.float32(1 * MM)) * np.float32(2.0)
    level = y + np.float32((0.4 + 0.9 * a.breath) * MM)  # gas lies on the belly side of a mouse on its back
    return np.maximum(wall, level), np.maximum(wall, -level)


def _lay_bones(shares: list[Field], grid: Grid, a: Anatomy, body: Field) -> None:
    ribs, cartilage = ribs_and_sternum(a)
    outer, marrow, canal = spine(grid, a)
    arms, arm_marrow, blades = _limbs(a)
    layers = (
        (BONE, ribs, 1.0), (BONE, cartilage, CARTILAGE_SHARE), (BONE, blades, PLATE_SHARE), (BONE, arms, 1.0),
        (SOFT, arm_marrow, 1.0), (BONE, outer, 1.0), (SOFT, marrow, MARROW_SHARE), (SOFT, canal, 1.0),
    )  # fmt: skip
    for which, tubes, strength in layers:
        _paint(shares, which, np.float32(strength) * tubes.drawn(grid) * body)


def body_densities(grid: Grid, thorax: Thorax, a: Anatomy, seed: int) -> Field:
    """(material, z, y, x) [g/cm³] of the body with the lungs left empty.

    NOT modelled: blood against muscle, guts below the stomach, hair.
    """
    voxel_m = grid.voxel_m
    body = occupancy(thorax.body, voxel_m)
    shares = [body.copy(), np.zeros_like(body), np.zeros_like(body)]
    lumps = smooth_noise(grid, seed, "fat", 1.8 * MM)
    _lay_fat(shares, thorax, a, lumps, voxel_m)
    gas, food = _stomach(thorax, a)
    inside = occupancy(thorax.abdomen + np.float32(0.6 * MM), voxel_m)
    _paint(shares, SOFT, inside * occupancy(food, voxel_m))
    _paint(shares, AIR, inside * occupancy(gas, voxel_m))
    _lay_bones(shares, grid, a, body)
    _paint(shares, AIR, trachea(grid, a).drawn(grid))
    _paint(shares, AIR, occupancy(thorax.lung, voxel_m))
    liver = np.float32(LIVER_DENSITY - MUSCLE_DENSITY) * occupancy(thorax.abdomen, voxel_m)
    soft = shares[SOFT] * (np.float32(MUSCLE_DENSITY) + liver)
    return np.stack([soft, shares[FAT] * np.float32(FAT_DENSITY), shares[BONE] * np.float32(a.bone_density)])
