"""Refraction at rims beside geometric optics, and what it costs: ``python benchmarks/refraction.py``.

Σ −ln D of a detector row across cylinders of bone and of blood in lung, by geometric optics (the mean over a pixel's rays of
e^{iφ}, written apart from the simulator) and simulated at supersampling 1 and 2. Parts (``--parts``):

1. square to the voxels; gratings sensitive across the cylinder, at 60, 45 and 30° to it, and along it;
2. turned about the cylinder's axis, off the axis of rotation: eight views, mean and range, across and at 45° to it;
3. tilted by 30, 45 and 60° in the detector's plane; gratings sensitive across the cylinder and along it;
4. CPU seconds of a scan of a mouse with and without refraction within pixels, alternating (``--views``).

The last line of parts 1 to 3 tells how many of the ratios lie within 15 %, and the largest |Σ| along the cylinder.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.types import Phantom
from darklung.phantom.subject import make_phantom
from darklung.physics.instrument import make_instrument
from darklung.physics.materials import MATERIALS, delta, linear_attenuation
from darklung.simulate.effects import Effects
from darklung.simulate.objects import cylinder
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan, view_signals
from darklung.study.protocols import read_protocol

LINE = make_instrument(low_kev=70.0, high_kev=70.0)
ONE_VIEW = Protocol(views=1, flats=1, flat_repeats=1, directions_rad=(np.pi / 2,))
DIAMETERS_M = (0.3e-3, 0.6e-3, 1e-3, 3e-3)
PIXELS_M = (120e-6, 240e-6)
TILTS = np.deg2rad([30, 45, 60])
TISSUE, LUNG, COLS = MATERIALS["soft_tissue"].density_g_cm3, 0.3 * 1.05, 40
SOLIDS = {"bone": ("bone", MATERIALS["bone"].density_g_cm3), "vessel": ("soft_tissue", TISSUE - LUNG)}
RAYS = 20_000


def phase_of(across_m: NDArray[np.float64], diameter_m: float, solid: str) -> tuple[NDArray, NDArray]:
    """(transmission, fringe phase across the cylinder) of rays at distances from its axis."""
    material, contrast = SOLIDS[solid]
    step = LINE.phase_per_radian * float(delta(material, contrast, 70.0))
    mu, radius = float(linear_attenuation(material, contrast, 70.0)), diameter_m / 2
    inside = np.abs(across_m) < radius
    root = np.sqrt(np.where(inside, radius**2 - across_m**2, 1.0))
    return np.where(inside, np.exp(-2 * mu * root), 1.0), np.where(inside, -2 * step * across_m / root, 0.0)


def by_rays(
    diameter_m: float,
    pixel_m: float,
    solid: str,
    *,
    shares: Sequence[float] = (1.0,),
    tilt: float = 0.0,
    shift_m: float = 0.0,
    rows: int = 1,
) -> NDArray[np.float64]:
    """Σ −ln D of a row of pixels, mean of the middle rows, where each of `shares` of the slope is seen: rays one by one.

    `shift_m` is the cylinder's distance from the middle of the row, `tilt` its angle from the rows' normal.
    """
    number, total = np.arange(RAYS) + 0.5, np.zeros(len(shares))
    over, along = number / RAYS, (number * (np.sqrt(5) - 1) / 2) % 1  # a lattice in the square
    for row in range(rows):
        z = (row - rows / 2 + along) * pixel_m
        for pixel in range(COLS):
            across = ((pixel - COLS / 2 + over) * pixel_m - shift_m) * np.cos(tilt) - z * np.sin(tilt)
            if np.abs(across).min() < diameter_m / 2:
                weight, phase = phase_of(across, diameter_m, solid)
                fringes = np.array([(weight * np.exp(1j * share * phase)).mean() for share in shares])
                total -= np.log(np.abs(fringes) / weight.mean()) / rows
    return total


def disc(
    diameter_m: float, voxel_m: float, cols: int, place_m: tuple[float, float], points: int = 16
) -> NDArray[np.float64]:
    """Share of each voxel inside a disc at a place (y, x) from the middle."""
    at = ((np.arange(cols * points) + 0.5) / points - cols / 2) * voxel_m
    inside = np.hypot(*np.meshgrid(at - place_m[0], at - place_m[1], indexing="ij")) < diameter_m / 2
    return np.asarray(inside.reshape(cols, points, cols, points).mean(axis=(1, 3)))


def body(share: NDArray, voxel_m: float, solid: str, around: float = 0.0) -> Phantom:
    """What the cylinder adds, by each voxel's share of it, to a volume that scatters nothing of density `around`."""
    material, contrast = SOLIDS[solid]
    one = cylinder(diameter_m=voxel_m, voxel_m=voxel_m, shape=share.shape, material=material)
    density = np.zeros_like(one.density)
    density[one.materials.index(material)] = share * contrast + around
    return replace(one, density=density)


def sums(phantom: Phantom, protocol: Protocol, rows: int = 1) -> NDArray[np.float64]:
    """Σ −ln D of the middle row (the mean of the middle `rows`), (view, direction)."""
    found = []
    for signal in view_signals(phantom, instrument=LINE, protocol=protocol):
        lost = -np.log(np.abs(signal.fringe) / signal.mean / LINE.flat_visibility)
        first = (lost.shape[1] - rows) // 2
        found.append(lost[:, first : first + rows].sum(axis=2).mean(axis=1))
    return np.array(found)


class Verdict:
    """How many ratios lie within 15 %, and the most along a cylinder."""

    def __init__(self) -> None:
        self.ratios: list[float] = []
        self.along: list[float] = []

    def told(self) -> str:
        """One line."""
        off = np.abs(np.array(self.ratios) - 1)
        return (
            f"{int((off <= 0.15).sum())} of {len(off)} within 15 % (worst {off.max():.3f} off); "
            f"along the cylinder at most {max(self.along):.4f}\n"
        )


def cases() -> Iterator[tuple[str, float, float, str]]:
    """Every solid, pixel and diameter, and how a line of the tables begins."""
    for solid in SOLIDS:
        for pixel_m in PIXELS_M:
            for diameter_m in DIAMETERS_M:
                yield solid, pixel_m, diameter_m, f"{solid:7} {1e6 * pixel_m:.0f} µm {1e3 * diameter_m:.1f} mm:"


def straight() -> None:
    """Square to the voxels; the first columns are the table of docs/simulation.md."""
    verdict, angles = Verdict(), np.deg2rad([90, 60, 45, 30, 0])
    print("1. square to the voxels: rays across, then simulated/rays at 90, 60, 45 and 30° to the cylinder, and Σ along it")
    for solid, pixel_m, diameter_m, line in cases():
        truth = by_rays(diameter_m, pixel_m, solid, shares=np.sin(angles[:4]))
        line += f" rays {truth[0]:.4f}"
        for k in (1, 2):
            share = disc(diameter_m, pixel_m / k, COLS * k, (0.0, 0.0), points=40)
            one = body(np.broadcast_to(share, (4 * k, *share.shape)), pixel_m / k, solid, LUNG if solid == "vessel" else 0.0)
            (found,) = sums(one, replace(ONE_VIEW, supersampling=k, directions_rad=tuple(angles)))
            verdict.ratios += list(found[:4] / truth)
            verdict.along.append(abs(found[4]))
            ratios = " ".join(f"{r:.2f}" for r in found[:4] / truth)
            line += f" | {k} voxel(s) a pixel {found[0]:.4f} ({ratios}; {found[4]:.4f})"
        print(line, flush=True)
    print(verdict.told())


def turned() -> None:
    """Views at eight angles of a cylinder parallel to the axis and somewhere off it, beside rays at its place in each."""
    single, means, rng = Verdict(), Verdict(), np.random.default_rng(1)
    views = replace(ONE_VIEW, views=8, arc_rad=np.pi / 2, directions_rad=(np.pi / 2, np.pi / 4, 0.0), time_limit_s=1e9)
    print("2. turned about its axis, eight views: simulated/rays, mean (least to most) across, oblique, most along it")
    for solid, pixel_m, diameter_m, line in cases():
        y, x = rng.uniform(-4, 4, 2) * pixel_m
        shifts = x * np.cos(views.angles_rad) + y * np.sin(views.angles_rad)
        truth = np.array([by_rays(diameter_m, pixel_m, solid, shares=(1, 0.5**0.5), shift_m=shift) for shift in shifts])
        for k in (1, 2):
            share = disc(diameter_m, pixel_m / k, COLS * k, (y, x))
            one = body(np.broadcast_to(share, (2 * k, *share.shape)), pixel_m / k, solid)
            found = sums(one, replace(views, supersampling=k))
            ratios, mean = found[:, :2] / truth, found[:, :2].mean(axis=0) / truth.mean(axis=0)
            single.ratios += list(ratios.ravel())
            means.ratios += list(mean)
            single.along.append(np.abs(found[:, 2]).max())
            told = [f"{m:.2f} ({r.min():.2f} to {r.max():.2f})" for m, r in zip(mean, ratios.T)]
            line += f" | {k} a pixel {' '.join(told)} {single.along[-1]:.4f}"
        print(line, flush=True)
    means.along = single.along
    print(f"single views: {single.told()}means of eight: {means.told()}")


def tilted(diameter_m: float, voxel_m: float, tilt_rad: float, points: int = 16) -> NDArray[np.float32]:
    """Share of each voxel inside a rod in the (z, x) plane, `tilt_rad` from z."""
    at = (np.arange(COLS * points) + 0.5) / points - COLS / 2
    z, x = np.meshgrid(at, at, indexing="ij")
    across, radius = x * np.cos(tilt_rad) - z * np.sin(tilt_rad), diameter_m / 2 / voxel_m
    out = np.zeros((COLS,) * 3, dtype=np.float32)
    for i in np.flatnonzero(np.abs(at) < radius):
        inside = (across**2 + at[i] ** 2 < radius**2).reshape(COLS, points, COLS, points)
        out[:, i // points] += inside.mean(axis=(1, 3)) / points
    return out


def askew() -> None:
    """Tilted in the detector's plane; 3 mm of 120 µm does not fit."""
    verdict = Verdict()
    print("3. tilted in the detector's plane by 30, 45 and 60°: simulated/rays across, and Σ along")
    for solid, pixel_m, diameter_m, line in cases():
        for tilt in TILTS if diameter_m / pixel_m < 15 else ():
            one = body(tilted(diameter_m, pixel_m, tilt), pixel_m, solid)
            rows = 6 if tilt > 1 else 10
            (found,) = sums(one, replace(ONE_VIEW, directions_rad=(tilt + np.pi / 2, tilt)), rows)
            (truth,) = by_rays(diameter_m, pixel_m, solid, tilt=tilt, rows=rows)
            verdict.ratios.append(found[0] / truth)
            verdict.along.append(abs(found[1]))
            line += f" | {found[0] / truth:.2f} ({found[1]:.4f})"
        print(line, flush=True)
    print(verdict.told())


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
    parser.add_argument("--parts", default="1234")
    parser.add_argument("--views", type=int, default=12)
    asked = parser.parse_args()
    for name, part in (("1", straight), ("2", turned), ("3", askew), ("4", lambda: cost(asked.views))):
        if name in asked.parts:
            part()


if __name__ == "__main__":
    main()
