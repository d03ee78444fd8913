"""Time and memory of a simulated scan: ``python benchmarks/simulation.py [--size 160] [--views 360] [--scaling]``.

Prints one line a case: voxels, views, supersampling, wall and CPU seconds, CPU nanoseconds per voxel and view, peak memory.
Set NUMBA_NUM_THREADS=1 for one core.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from darklung.core.types import Phantom
from darklung.physics.instrument import make_instrument
from darklung.simulate.effects import Detector, Effects, Stability
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan


def thorax(depth: int, size: int, voxel_m: float) -> Phantom:
    """A body cylinder with a spine and two ellipsoidal lungs, scaled to the volume."""
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in (depth, size, size)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    body = y**2 + x**2 < 0.9**2
    lung = np.zeros(body.shape, dtype=bool)
    for side in (-1, 1):
        lung |= ((x - 0.4 * side) / 0.34) ** 2 + (y / 0.47) ** 2 + (z / 0.91) ** 2 < 1
    spine = np.hypot(y - 0.66, x) < 0.1
    tissue = np.where(lung, 0.3, 1.0) * 1.05 * (body & ~spine)
    phi = np.where(lung, 0.3, 0).astype(np.float32)
    axis = np.zeros((3, *body.shape), dtype=np.float32)
    axis[2] = 1
    return Phantom(
        voxel_m=voxel_m,
        materials=("soft_tissue", "bone", "adipose"),
        density=np.stack([tissue, spine * 1.5, 0 * tissue]).astype(np.float32),
        tissue_fraction=phi,
        interface_density_per_m=np.where(lung, 8e4, 0).astype(np.float32),
        aspect=np.full(body.shape, 1.1, dtype=np.float32),
        axis=axis,
        lobes=lung.astype(np.uint8),
        instances=np.zeros(body.shape, dtype=np.uint16),
    )


EVERYTHING = Effects(
    detector=Detector(
        blur_m=60e-6,
        charge_sharing=0.1,
        electronic_noise_counts=3.0,
        dark_counts=50.0,
        bad_pixels=1e-3,
        ring_gain=2e-3,
        saturation_counts=1e6,
    ),
    stability=Stability(step_error_rad=0.02, dose_jitter=0.01, phase_drift_rad=0.5, visibility_drift=-0.03, flux_drift=0.02),
    scatter_to_primary=0.03,
)


def measure(depth: int, size: int, views: int, supersampling: int, effects: Effects | None) -> None:
    """Simulate once and print the line."""
    phantom = thorax(depth, size, 120e-6)
    protocol = Protocol(views=views, supersampling=supersampling, time_limit_s=1e9)
    start, cpu = time.perf_counter(), time.process_time()
    simulate_scan(phantom, instrument=make_instrument(), protocol=protocol, seed=1, effects=effects)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    cost = 1e9 * cpu / (depth * size**2 * views)
    print(
        f"{depth}x{size}x{size} views={views} k={supersampling}: {seconds:.2f} s wall, {cpu:.2f} s CPU, "
        f"{cost:.2f} ns/(voxel view), {peak:.2f} GB"
    )


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=int, default=110)
    parser.add_argument("--size", type=int, default=176)
    parser.add_argument("--views", type=int, default=120)
    parser.add_argument("--supersampling", type=int, default=1)
    parser.add_argument("--scaling", action="store_true", help="several sizes and numbers of views")
    parser.add_argument("--effects", action="store_true", help="every effect switched on")
    options = parser.parse_args()
    effects = EVERYTHING if options.effects else None
    simulate_scan(
        thorax(2, 8, 1e-4), instrument=make_instrument(), protocol=Protocol(views=2), seed=1
    )  # compile the kernels first
    if options.scaling:
        for depth, size, views in ((32, 64, 60), (32, 64, 120), (64, 64, 120), (64, 128, 120), (128, 128, 120)):
            measure(depth, size, views, options.supersampling, effects)
    else:
        measure(options.depth, options.size, options.views, options.supersampling, effects)


if __name__ == "__main__":
    main()
