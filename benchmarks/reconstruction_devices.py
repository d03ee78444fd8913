"""Cone beam and torch beside the parallel numba projector, in one run: time for a voxel and view, ratio, and bandwidth.

    python benchmarks/reconstruction_devices.py [--size 128] [--slices 64] [--views 90] [--device cpu|cuda]

The cone-beam operators do more for each voxel (a magnification of its own); no peer has them on a CPU, so the parallel ones
of the same run are the yardstick. For torch the limit is memory: bytes that each footprint column must move at the least
(read a plane, add to the columns), over the rate at which the same device copies a tensor.
"""

import argparse
import time

import numpy as np
import torch

from darklung.core.geometry import ConeGeometry, ParallelGeometry
from darklung.tomo.cone import ConeProjector
from darklung.tomo.fbp import fbp
from darklung.tomo.fdk import fdk
from darklung.tomo.projector import Projector
from darklung.tomo.torch_projector import TorchProjector

PIXEL = 1e-4


def best(work, device="cpu", repeat=3):
    """Best wall time of `work` after one that is not counted."""
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def copy_rate(device):
    """Bytes a second read and written by copying 256 MiB."""
    source = torch.zeros(2**26, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / best(lambda: target.copy_(source), device)


def line(name, seconds, unit, wanted=None):
    """One row; the ratio to the parallel numba kernel where there is one."""
    ratio = f"   {seconds / wanted:5.1f}x the parallel numba kernel's time" if wanted else ""
    print(f"{name:24s} {seconds:8.2f} s {seconds / unit * 1e9:8.2f} ns a voxel and view{ratio}")


def on_cpu(size, slices, views, threads):
    """Times of the parallel and the cone-beam operators with `threads` threads; returns those of the parallel ones."""
    unit = size**2 * slices * views
    volume = np.random.default_rng(0).random((slices, size, size), dtype=np.float32)
    flat = ParallelGeometry(np.arange(views) * np.pi / views, slices, size, PIXEL)
    cone = ConeGeometry(np.arange(views) * 2 * np.pi / views, slices, size, PIXEL, source_axis_m=5 * size * PIXEL)
    seconds = {}
    for name, projector, analytic in (
        ("parallel", Projector(flat, volume.shape, PIXEL, threads=threads), lambda p: fbp(p, flat, threads=threads)),
        ("cone", ConeProjector(cone, volume.shape, PIXEL, threads=threads), lambda p: fdk(p, cone, threads=threads)),
    ):
        seen = projector.forward(volume)
        for what, work in (
            ("forward", lambda: projector.forward(volume)),  # noqa: B023
            ("back", lambda: projector.adjoint(seen)),  # noqa: B023
            ("analytic", lambda: analytic(seen)),  # noqa: B023
        ):
            taken = best(work)
            line(f"{name} {what}", taken, unit, seconds.get(what))
            seconds.setdefault(what, taken)
    return volume, flat, seconds


def with_torch(volume, geometry, seconds, device):
    """Times of the torch projector on `device`, its difference from numba's numbers and its share of the copying rate."""
    projector = TorchProjector(geometry, volume.shape, PIXEL)
    tensor = torch.from_numpy(volume).to(device)
    seen = projector.forward(tensor)
    wanted = Projector(geometry, volume.shape, PIXEL).forward(volume)
    print(f"largest difference of torch from numba: {np.abs(seen.cpu().numpy() - wanted).max() / wanted.max():.1e}")
    rate = copy_rate(device)
    for what, work in (("forward", lambda: projector.forward(tensor)), ("back", lambda: projector.adjoint(seen))):
        taken = best(work, device)
        line(f"torch {device} {what}", taken, volume.size * geometry.views, seconds[what])
        moved = 3 * 4 * 3 * volume.size * geometry.views  # three columns, each read, read and written
        reached, share = moved / taken / 1e9, moved / taken / rate
        print(f"{'':24s} {reached:.0f} GB/s of {rate / 1e9:.0f} GB/s: {share:.0%} of the copying rate")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--slices", type=int, default=64)
    parser.add_argument("--views", type=int, default=90)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with_torch(*on_cpu(options.size, options.slices, options.views, options.threads), options.device)
