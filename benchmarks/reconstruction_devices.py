"""Cone beam beside RTK on the CPU, and torch beside numba, in one run: time for a voxel and view, error, and bandwidth.

    python benchmarks/reconstruction_devices.py [--size 128] [--slices 64] [--views 90] [--device cpu|cuda|none]

Processor time of one thread on a CPU (wall time on CUDA). RTK (itk-rtk) has the same operators on a CPU: Joseph's method
forward and back, voxel by voxel back, and FDK. Errors are root mean squares of FDK against exact ellipsoids in the middle
half of the slices, clean and with 1 % noise, of the best of the eight flips and turns of RTK's image. The parallel kernels
of the same run tell what the divergence of the beam costs. For torch the limit is memory: bytes that each footprint column
must move at the least (read a plane, add to the columns), over the rate at which the same device copies a tensor.
"""

import argparse
import time

import numpy as np
import torch

from darklung.core.geometry import ConeGeometry, ParallelGeometry, centred_axis
from darklung.tomo.cone import ConeProjector
from darklung.tomo.fbp import fbp
from darklung.tomo.fdk import fdk
from darklung.tomo.projector import Projector
from darklung.tomo.torch_cone import TorchConeProjector
from darklung.tomo.torch_projector import TorchProjector

PIXEL = 1e-4
# (z, y, x), semi-axes (z, y, x) as fractions of half the field's width, and the value
ELLIPSOIDS = (
    ((0.0, 0.0, 0.0), (0.9, 0.78, 0.62), 1.0),
    ((0.02, 0.15, -0.24), (0.3, 0.28, 0.19), -0.8),
    ((-0.03, 0.10, 0.26), (0.3, 0.30, 0.17), -0.8),
    ((0.05, -0.5, 0.0), (0.1, 0.09, 0.11), 0.9),
)


def best(work, device="cpu", repeat=3):
    """Best time of `work` after one that is not counted: of the processor, or by the clock on CUDA."""
    clock, times = (time.perf_counter if device == "cuda" else time.process_time), []
    for _ in range(repeat + 1):
        start = clock()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return min(times[1:])


def copy_rate(device):
    """Bytes a second read and written by copying 256 MiB."""
    source = torch.zeros(2**26, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / best(lambda: target.copy_(source), device)


def line(name, seconds, unit, wanted=None, than="the parallel numba kernel's time"):
    """One row; the ratio to another time where there is one."""
    ratio = f"   {seconds / wanted:5.1f}x {than}" if wanted else ""
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
            seconds[f"{name} {what}"] = taken
    return volume, flat, cone, seconds


def integrals(cone):
    """Exact line integrals of `ELLIPSOIDS` to the middle of each pixel."""
    half = cone.cols / 2 * PIXEL
    u = (np.arange(cone.cols) - cone.axis_col) * PIXEL
    w = (np.arange(cone.rows) - cone.axis_row) * PIXEL
    out = np.zeros((cone.views, cone.rows, cone.cols))
    for v, (_, n_y, n_x) in enumerate(ParallelGeometry(cone.angles_rad, 1, 1, PIXEL).beam()):
        source = -cone.source_axis_m * np.array([0, n_y, n_x])
        ray = np.stack(np.broadcast_arrays(w[:, None], -n_x * u[None], n_y * u[None]), axis=-1) - source
        ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
        for middle, axes, value in ELLIPSOIDS:
            scaled, start = ray / (np.array(axes) * half), (source / half - middle) / axes
            a, b, c = (scaled**2).sum(-1), scaled @ start, start @ start - 1
            out[v] += value * 2 * np.sqrt(np.maximum(b**2 - a * c, 0)) / a
    return out


def truth(cone, fine=3):
    """`ELLIPSOIDS` in voxels, and where every view sees them and the cone is harmless."""
    offsets = ((np.arange(fine) + 0.5) / fine - 0.5) * PIXEL
    half, out = cone.cols / 2 * PIXEL, 0.0
    z, y, x = (centred_axis(n, PIXEL) for n in (cone.rows, cone.cols, cone.cols))
    for dz in offsets:
        for dy in offsets:
            for dx in offsets:
                for middle, axes, value in ELLIPSOIDS:
                    parts = [((g + d) / half - m) / a for g, d, m, a in zip((z, y, x), (dz, dy, dx), middle, axes)]
                    square = (parts[0] ** 2)[:, None, None] + (parts[1] ** 2)[:, None] + parts[2] ** 2
                    out = out + value * (square <= 1) / fine**3
    seen = np.hypot(y[:, None], x) < 0.9 * half
    return out, np.broadcast_to(seen, out.shape) & (abs(z) < cone.rows / 4 * PIXEL)[:, None, None]


def rms(image, exact, seen):
    return float(np.sqrt(np.mean((image - exact)[seen] ** 2)))


def with_rtk(volume, cone, seconds, threads):
    """RTK's operators on the same grids, and the errors of both FDKs."""
    try:
        import itk
        from itk import RTK as rtk
    except ImportError as missing:
        print(f"RTK MISSING, not compared ({missing})")
        return
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(threads)
    image = itk.Image[itk.F, 3]
    turn = rtk.ThreeDCircularProjectionGeometry.New()
    for angle in cone.angles_rad:  # lengths in pixels; the detector goes through the axis
        turn.AddProjection(cone.source_axis_m / PIXEL, cone.source_axis_m / PIXEL, float(np.degrees(angle)))

    def wrap(array):
        made = itk.image_from_array(np.ascontiguousarray(array, np.float32))
        made.SetOrigin([-(n - 1) / 2 for n in made.GetLargestPossibleRegion().GetSize()])
        return made

    def run(filter_type, target, source):
        made = filter_type.New()
        made.SetInput(0, wrap(np.zeros(target, np.float32)))
        made.SetInput(1, source)
        made.SetGeometry(turn)
        made.Update()
        return itk.array_from_image(made.GetOutput())

    upright = volume.transpose(1, 0, 2)  # RTK turns about y
    seen, unit = (cone.views, cone.rows, cone.cols), volume.size * cone.views
    body, stack = wrap(upright), wrap(np.ones(seen))
    for name, filter_type, target, source, ours in (
        ("RTK forward, Joseph", rtk.JosephForwardProjectionImageFilter[image, image], seen, body, "cone forward"),
        ("RTK back, Joseph", rtk.JosephBackProjectionImageFilter[image, image], upright.shape, stack, "cone back"),
        ("RTK back, voxels", rtk.BackProjectionImageFilter[image, image], upright.shape, stack, "cone back"),
        ("RTK FDK", rtk.FDKConeBeamReconstructionFilter[image], upright.shape, stack, "cone analytic"),
    ):
        taken = best(lambda: run(filter_type, target, source))  # noqa: B023
        line(name, taken, unit, seconds[ours], f"{ours} of darklung")
    clean, (exact, where) = integrals(cone), truth(cone)
    noisy = clean + 0.01 * clean.max() * np.random.default_rng(1).normal(size=clean.shape)
    for name, data in (("clean", clean), ("noisy", noisy)):
        found = run(rtk.FDKConeBeamReconstructionFilter[image], upright.shape, wrap(data / PIXEL)).transpose(1, 0, 2)
        forms = [np.rot90(m, k, (1, 2)) for m in (found, found.transpose(0, 2, 1)) for k in range(4)]
        own, theirs = rms(fdk(data, cone), exact, where), min(rms(f, exact, where) for f in forms)
        print(f"RMSE of FDK, {name}: darklung {own:.5f}, RTK {theirs:.5f}")


def with_torch(volume, geometry, cone, seconds, device):
    """Times of the torch projectors on `device`, the difference from numba's numbers and the share of the copying rate."""
    projector = TorchProjector(geometry, volume.shape, PIXEL, compiled=False)
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
    diverging = TorchConeProjector(cone, volume.shape, PIXEL, compiled=False)
    seen = diverging.forward(tensor)
    for what, work in (("forward", lambda: diverging.forward(tensor)), ("back", lambda: diverging.adjoint(seen))):
        taken = best(work, device, repeat=1)
        line(
            f"torch {device} cone {what}",
            taken,
            volume.size * cone.views,
            seconds[f"cone {what}"],
            "the numba kernel's time",
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--slices", type=int, default=64)
    parser.add_argument("--views", type=int, default=90)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "none"), help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    volume, flat, cone, seconds = on_cpu(options.size, options.slices, options.views, options.threads)
    with_rtk(volume, cone, seconds, options.threads)
    if options.device != "none":
        with_torch(volume, flat, cone, seconds, options.device)
