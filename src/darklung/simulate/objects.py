"""Calibration objects for `simulate_scan`: cylinder, foam, fibres, suspension of spheres, step wedge, edge and star.

Solid parts carry their exact share of each voxel (a ball of fibres by 3 × 3 × 3 points a voxel). Porous parts scatter as
the two-phase medium of soft tissue, like lung; suspensions of spheres by the laws of `darklung.physics.scattering`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_positive, check_range, require
from darklung.core.types import Phantom
from darklung.physics.lung import HEALTHY
from darklung.physics.materials import MATERIALS, delta
from darklung.physics.scattering import hard_spheres, sphere
from darklung.simulate.overlap import interval_share, plane_share
from darklung.simulate.powder import Powder, Scene
from darklung.simulate.scan import SCATTERING_TISSUE

Shape = tuple[int, int, int]
Field = NDArray[np.float64]
Inside = Callable[[Field, Field, Field], NDArray[np.bool_]]

_POINTS = 3


def cylinder(
    *,
    diameter_m: float,
    voxel_m: float,
    shape: Shape,
    material: str = "water",
    foam_diameter_m: float = 0.0,
    foam_fraction: float = 0.3,
    foam_interface_per_m: float = 8e4,
) -> Phantom:
    """A cylinder along z, with a foam rod (φ, S_V of soft tissue) in the middle if `foam_diameter_m` is not 0.

    The acceptance object of hardening correction: water of 25 mm with and without foam.
    """
    check_positive("diameter_m", diameter_m)
    check_range("foam_diameter_m", foam_diameter_m, 0, diameter_m)
    foam = _rod(foam_diameter_m, shape, voxel_m)
    solid = np.maximum(_rod(diameter_m, shape, voxel_m) - foam, 0)
    return _phantom(
        voxel_m, material, solid, porous=foam, tissue_fraction=foam_fraction, interface_per_m=foam_interface_per_m
    )


def body_with_lung(*, voxel_m: float, shape: Shape) -> Phantom:
    """A body of 18 mm with one lung of 7 mm beside its axis, on whole voxels: the least mouse, for tests and benchmarks."""
    check_positive("voxel_m", voxel_m)
    y, x = voxel_m * (np.mgrid[: shape[1], : shape[2]] - (np.array(shape[1:]) - 1)[:, None, None] / 2)
    body = np.broadcast_to(np.hypot(y, x) < 9e-3, shape)
    lung = np.broadcast_to(np.hypot(y, x - 2.5e-3) < 3.5e-3, shape)
    return replace(
        _filled(voxel_m, {SCATTERING_TISSUE: np.where(lung, 0.3 * HEALTHY.tissue_density, 1.0) * body}, (0.0, 0.0, 1.0)),
        tissue_fraction=np.where(lung, 0.3, 0).astype(np.float32),
        interface_density_per_m=np.where(lung, 8e4, 0).astype(np.float32),
        lobes=lung.astype(np.uint8),
    )


def suspension(
    *,
    sphere_diameter_m: float,
    voxel_m: float,
    shape: Shape,
    volume_fraction: float = 0.1,
    diameter_m: float = 12e-3,
    material: str = "sio2",
    density_g_cm3: float | None = None,
    fluid: str = "water",
    ordered: bool = True,
) -> Scene:
    """A cylindrical cell along z filled with equal spheres in a fluid; with ``fluid="air"`` a powder.

    `ordered` spheres do not overlap (`hard_spheres`, up to a volume fraction of 0.5); otherwise their positions are
    independent (`sphere`), as in a dilute suspension. Not modelled: the cell's wall, clusters, spread of diameters.
    """
    check_positive("sphere_diameter_m", sphere_diameter_m)
    check_positive("diameter_m", diameter_m)
    check_range("volume_fraction", volume_fraction, 0, 0.5 if ordered else 1)
    for name in (material, fluid):
        require(name in MATERIALS, f"material: {name!r} is not known; known: {', '.join(sorted(MATERIALS))}")
    inside = _rod(diameter_m, shape, voxel_m)
    solid = MATERIALS[material].density_g_cm3 if density_g_cm3 is None else check_positive("density_g_cm3", density_g_cm3)
    liquid = MATERIALS[fluid].density_g_cm3

    def coefficient(energy_kev: Field, correlation_length_m: Field) -> Field:
        contrast = delta(material, solid, energy_kev) - delta(fluid, liquid, energy_kev)
        law = hard_spheres if ordered else sphere
        return law(sphere_diameter_m, volume_fraction, contrast, energy_kev, correlation_length_m)

    masses = {fluid: inside * (1 - volume_fraction) * liquid}
    masses[material] = masses.get(material, 0) + inside * volume_fraction * solid
    return Scene(_filled(voxel_m, masses), (Powder(inside.astype(np.float32), coefficient),))


def fibres(
    *,
    diameter_m: float,
    voxel_m: float,
    shape: Shape,
    angle_rad: float,
    aspect: float = 3.0,
    tissue_fraction: float = 0.3,
    interface_per_m: float = 8e4,
) -> Phantom:
    """A ball of parallel fibres in the (z, x) plane, at `angle_rad` from z towards x.

    Seen at θ = 0 the fibres lie in the detector's plane; scattering is weakest for the sensitivity α = `angle_rad`.
    """
    check_positive("diameter_m", diameter_m)
    ball = _share(lambda z, y, x: z**2 + y**2 + x**2 < (diameter_m / 2) ** 2, shape, voxel_m)
    return _phantom(
        voxel_m,
        SCATTERING_TISSUE,
        np.zeros(shape),
        porous=ball,
        tissue_fraction=tissue_fraction,
        interface_per_m=interface_per_m,
        aspect=aspect,
        axis=(float(np.cos(angle_rad)), 0.0, float(np.sin(angle_rad))),
    )


def step_wedge(*, thicknesses_m: Sequence[float], voxel_m: float, shape: Shape, material: str = "al") -> Phantom:
    """Steps side by side along x, as thick along y (the beam at θ = 0) as told; each fills z and an equal share of x."""
    steps = np.asarray(thicknesses_m, dtype=np.float64)
    require(bool(len(steps) > 0 and (steps >= 0).all()), f"thicknesses_m: wanted numbers >= 0, got {thicknesses_m!r}")
    most = shape[1] * voxel_m
    require(bool(steps.max() <= most), f"thicknesses_m: wanted at most the volume's {most:g} m, got {steps.max():g}")
    _check_grid(shape, voxel_m)
    sides = np.linspace(-0.5, 0.5, len(steps) + 1) * shape[2] * voxel_m
    area = np.zeros(shape[1:])
    for thickness, low, high in zip(steps, sides[:-1], sides[1:]):
        depth = interval_share(shape[1], voxel_m, -thickness / 2, thickness / 2)
        area += depth[:, None] * interval_share(shape[2], voxel_m, low, high)
    return _phantom(voxel_m, material, np.broadcast_to(area, shape))


def edge(
    *, thickness_m: float, voxel_m: float, shape: Shape, angle_rad: float = np.deg2rad(3.0), material: str = "al"
) -> Phantom:
    """A plate across the beam of θ = 0 that ends at an edge through the middle, `angle_rad` from z: for resolution."""
    check_positive("thickness_m", thickness_m)

    _check_grid(shape, voxel_m)
    front = plane_share((shape[0], shape[2]), voxel_m, sides=[(-np.sin(angle_rad), np.cos(angle_rad))])
    return _phantom(voxel_m, material, _plate(front, thickness_m, shape, voxel_m))


def star(
    *, thickness_m: float, diameter_m: float, voxel_m: float, shape: Shape, spokes: int = 12, material: str = "al"
) -> Phantom:
    """A Siemens star across the beam of θ = 0."""
    check_positive("thickness_m", thickness_m)
    check_positive("diameter_m", diameter_m)
    require(spokes >= 2, f"spokes: wanted at least 2, got {spokes!r}")

    _check_grid(shape, voxel_m)
    front = np.zeros((shape[0], shape[2]))
    for start in 2 * np.pi * np.arange(spokes) / spokes:
        end = start + np.pi / spokes
        sides = [(np.sin(start), -np.cos(start)), (-np.sin(end), np.cos(end))]  # normals away from the spoke, (z, x)
        front += plane_share(front.shape, voxel_m, sides=sides, radius_m=diameter_m / 2)
    return _phantom(voxel_m, material, _plate(front, thickness_m, shape, voxel_m))


def _rod(diameter_m: float, shape: Shape, voxel_m: float) -> Field:
    """Share of each voxel inside a cylinder along z about the axis."""
    _check_grid(shape, voxel_m)
    return np.broadcast_to(plane_share(shape[1:], voxel_m, radius_m=diameter_m / 2), shape)


def _plate(front: Field, thickness_m: float, shape: Shape, voxel_m: float) -> Field:
    """Share of each voxel inside a plate of `thickness_m` along y, whose front is (z, x)."""
    return np.asarray(front[:, None, :] * interval_share(shape[1], voxel_m, -thickness_m / 2, thickness_m / 2)[:, None])


def _check_grid(shape: Shape, voxel_m: float) -> None:
    check_positive("voxel_m", voxel_m)
    require(len(shape) == 3 and all(n > 0 for n in shape), f"shape: wanted (z, y, x) of numbers > 0, got {shape!r}")


def _share(inside: Inside, shape: Shape, voxel_m: float) -> Field:
    """Share of each voxel that is inside, (z, y, x)."""
    _check_grid(shape, voxel_m)
    z, y, x = ((np.arange(n) - (n - 1) / 2) * voxel_m for n in shape)
    offsets = ((np.arange(_POINTS) + 0.5) / _POINTS - 0.5) * voxel_m
    total = np.zeros(shape)
    for dz in offsets:
        for dy in offsets:
            for dx in offsets:
                total += inside((z + dz)[:, None, None], (y + dy)[None, :, None], (x + dx)[None, None, :])
    return total / _POINTS**3


def _phantom(
    voxel_m: float,
    material: str,
    solid: Field,
    *,
    porous: Field | None = None,
    tissue_fraction: float = 0.3,
    interface_per_m: float = 0.0,
    aspect: float = 1.0,
    axis: tuple[float, float, float] = (1.0, 0.0, 0.0),
) -> Phantom:
    require(material in MATERIALS, f"material: {material!r} is not known; known: {', '.join(sorted(MATERIALS))}")
    check_range("tissue_fraction", tissue_fraction, 0, 1)
    check_range("interface_per_m", interface_per_m, 0, 1e9)
    check_positive("aspect", aspect)
    shape = solid.shape
    foam = np.zeros(shape) if porous is None else porous
    masses = {material: solid * MATERIALS[material].density_g_cm3}
    if porous is not None:
        masses[SCATTERING_TISSUE] = masses.get(SCATTERING_TISSUE, 0) + foam * tissue_fraction * HEALTHY.tissue_density
    one = _filled(voxel_m, masses, axis)
    return replace(
        one,
        tissue_fraction=np.where(foam > 0, tissue_fraction, 0.0).astype(np.float32),
        interface_density_per_m=(foam * interface_per_m).astype(np.float32),
        aspect=np.full(shape, aspect, dtype=np.float32),
        lobes=(foam > 0.5).astype(np.uint8),
    )


def _filled(voxel_m: float, masses: Mapping[str, Field], axis: tuple[float, float, float] = (1.0, 0.0, 0.0)) -> Phantom:
    """Mass alone, without structure."""
    density = np.stack(list(masses.values())).astype(np.float32)
    shape = density.shape[1:]
    direction = np.empty((3, *shape), dtype=np.float32)
    direction[:] = np.reshape(axis, (3, 1, 1, 1))
    return Phantom(
        voxel_m=voxel_m,
        materials=tuple(masses),
        density=density,
        tissue_fraction=np.zeros(shape, dtype=np.float32),
        interface_density_per_m=np.zeros(shape, dtype=np.float32),
        aspect=np.ones(shape, dtype=np.float32),
        axis=direction,
        lobes=np.zeros(shape, dtype=np.uint8),
        instances=np.zeros(shape, dtype=np.uint16),
    )
