"""Refraction at rims beside geometric optics, and what it costs: ``python benchmarks/refraction.py``.

Prints (1) Σ −ln D of a detector row across a cylinder of bone and across a vessel in lung, by geometric optics (rays one by
one) and simulated at supersampling 1 and 2; (2) the same of bone cylinders turned about their axis and tilted in the
detector's plane; (3) CPU seconds of a scan of a mouse with and without refraction within pixels, alternating (``--views``).
``--parts`` chooses among 1, 2 and 3.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.types import Phantom
from darklung.phantom.subject import make_phantom
from darklung.physics.instrument import make_instrument
from darklung.physics.materials import MATERIALS, delta, linear_attenuation
from darklung.simulate.effects import Effects
from darklung.simulate.objects import cylinder
from darklung.simulate.overlap import plane_share
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan, view_signals
from darklung.study.protocols import read_protocol

LINE = make_instrument(low_kev=70.0, high_kev=70.0)
ONE_VIEW = Protocol(views=1, flats=1, flat_repeats=1, directions_rad=(np.pi / 2,))
DIAMETERS_M = (0.3e-3, 0.6e-3, 1e-3, 3e-3)
TISSUE, LUNG, COLS = MATERIALS["soft_tissue"].density_g_cm3, 0.3 * 1.05, 40
SOLIDS = {"bone": ("bone", MATERIALS["bone"].density_g_cm3), "vessel": ("soft_tissue", TISSUE - LUNG)}


def by_rays(diameter_m: float, pixel_m: float, solid: str, shift_m: float = 0.0, points: int = 200_000) -> float:
    """Σ −ln D of a row of pixels: the mean over each of e^{iφ}, weighted by transmission."""
    material, contrast = SOLIDS[solid]
    step = LINE.phase_per_radian * float(delta(material, contrast, 70.0))
    mu, radius, total = float(linear_attenuation(material, contrast, 70.0)), diameter_m / 2, 0.0
    for pixel in range(COLS):
        x = (pixel - COLS / 2 + (np.arange(points) + 0.5) / points) * pixel_m - shift_m
        inside = np.abs(x) < radius
        root = np.sqrt(np.where(inside, radius**2 - x**2, 1.0))
        weight = np.where(inside, np.exp(-2 * mu * root), 1.0)
        fringe = weight * np.exp(1j * step * np.where(inside, -2 * x / root, 0.0))
        total -= float(np.log(np.abs(fringe.mean()) / weight.mean()))
    return total


def body(diameter_m: float, voxel_m: float, solid: str, cols: int, depth: int) -> Phantom:
    """A cylinder of bone in air, or of blood in lung whose scattering is left out."""
    one = cylinder(diameter_m=diameter_m, voxel_m=voxel_m, shape=(depth, cols, cols), material=SOLIDS[solid][0])
    if solid == "bone":
        return one
    share = plane_share((cols, cols), voxel_m, radius_m=diameter_m / 2)
    return replace(one, density=np.broadcast_to(LUNG + share * (TISSUE - LUNG), one.density.shape).astype(np.float32))


def sums(phantom: Phantom, protocol: Protocol) -> list[float]:
    """Σ −ln D of the middle row in each view."""
    found = []
    for signal in view_signals(phantom, instrument=LINE, protocol=protocol):
        row = -np.log(np.abs(signal.fringe[0]) / signal.mean / LINE.flat_visibility)
        found.append(float(row[len(row) // 2].sum()))
    return found


def straight() -> None:
    """The table of docs/simulation.md."""
    for solid in SOLIDS:
        for pixel_m in (120e-6, 240e-6):
            for diameter_m in DIAMETERS_M:
                told = [by_rays(diameter_m, pixel_m, solid)]
                for k in (1, 2):
                    phantom = body(diameter_m, pixel_m / k, solid, COLS * k, 8 * k)
                    told += sums(phantom, replace(ONE_VIEW, supersampling=k))
                print(f"{solid:7} {1e3 * diameter_m:.1f} mm, {1e6 * pixel_m:.0f} µm: rays {told[0]:.4f}", end="")
                print("".join(f"   {k} voxel(s) a pixel {v:.4f} ({v / told[0]:.2f})" for k, v in zip((1, 2), told[1:])))


def tilted(diameter_m: float, voxel_m: float, tilt_rad: float, count: int = 40, points: int = 4) -> NDArray[np.float32]:
    """Share of each voxel inside a rod in the (z, x) plane, `tilt_rad` from z."""
    at = (np.arange(count * points) + 0.5) / points - count / 2
    z, x = np.meshgrid(at, at, indexing="ij")
    across, radius = x * np.cos(tilt_rad) - z * np.sin(tilt_rad), diameter_m / 2 / voxel_m
    out = np.zeros((count,) * 3, dtype=np.float32)
    for i, y in enumerate(at):
        inside = (across**2 + y**2 < radius**2).reshape(count, points, count, points)
        out[:, i // points] += inside.mean(axis=(1, 3)) / points
    return out


def askew() -> None:
    """Cylinders turned about their axis, and tilted in the detector's plane."""
    pixel_m = 120e-6
    for diameter_m in DIAMETERS_M:
        turning = replace(ONE_VIEW, views=45, arc_rad=np.pi / 2, time_limit_s=1e9)
        ratios = np.array(sums(body(diameter_m, pixel_m, "bone", COLS, 2), turning)) / by_rays(diameter_m, pixel_m, "bone")
        print(
            f"bone {1e3 * diameter_m:.1f} mm turned by 0 to 88°: {ratios.mean():.2f} of the rays' ({ratios.min():.2f} to",
            end="",
        )
        print(f" {ratios.max():.2f}, SD {ratios.std():.2f})")
    for diameter_m in DIAMETERS_M[:3]:
        shifts = np.arange(16) / 16 * pixel_m
        truth = np.mean([by_rays(diameter_m, pixel_m, "bone", shift, 4000) for shift in shifts])
        for tilt in np.deg2rad([5, 20, 35, 45, 60]):
            one = body(diameter_m, pixel_m, "bone", 40, 40)
            density = np.zeros_like(one.density)
            density[one.materials.index("bone")] = tilted(diameter_m, pixel_m, tilt) * SOLIDS["bone"][1]
            one = replace(one, density=density)
            (signal,) = view_signals(one, instrument=LINE, protocol=replace(ONE_VIEW, directions_rad=(tilt + np.pi / 2,)))
            lost = -np.log(np.abs(signal.fringe[0]) / signal.mean / LINE.flat_visibility)
            steep = tilt > np.pi / 4 + 1e-6
            rows = lost[:, 10:30].sum(axis=0) if steep else lost[10:30].sum(axis=1)
            found = rows.mean() * (np.sin(tilt) if steep else np.cos(tilt))
            print(f"bone {1e3 * diameter_m:.1f} mm tilted by {np.rad2deg(tilt):.0f}°: {found / truth:.2f} of the rays'")


def cost(views: int) -> None:
    """Paired CPU seconds of whole scans, frames and noise included."""
    protocol = read_protocol("mission_ct")
    scan = replace(protocol.scan, views=views, flats=2, flat_repeats=1)
    instrument = protocol.instrument.instrument()
    mouse = make_phantom(seed=1, voxel_m=120e-6)
    ratios = []
    for repeat in range(8):
        seconds = []
        for on in (True, False):
            start = time.process_time()
            simulate_scan(mouse, instrument=instrument, protocol=scan, seed=1, effects=Effects(unresolved_refraction=on))
            seconds.append(time.process_time() - start)
        if repeat:  # the first compiles
            ratios.append(seconds[0] / seconds[1])
    print(f"cost of refraction within pixels, {views} views of a mouse at 120 µm: {np.median(ratios):.2f} ×", end=" ")
    print(f"({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} pairs)")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="123")
    parser.add_argument("--views", type=int, default=12)
    asked = parser.parse_args()
    for name, part in (("1", straight), ("2", askew), ("3", lambda: cost(asked.views))):
        if name in asked.parts:
            part()


if __name__ == "__main__":
    main()
