"""Projection and filtered back-projection beside ASTRA (CPU), scikit-image and algotom, in one run on one core.

    python benchmarks/reconstruction.py                      # 128 slices of 256², 360 views
    python benchmarks/reconstruction.py --slices 16 --peer-slices 2
    python benchmarks/reconstruction.py --scaling            # cost against slices, views and pixels
    python benchmarks/reconstruction.py --cubes              # 128³, 256³, 512² × 256 voxels, 360 views
    python benchmarks/reconstruction.py --cores              # two threads beside one, wall time, on an idle machine

Times are processor seconds of one thread (wall time is printed beside them), so that other work on the machine hardly
counts. The peers work slice by slice: they are timed on `--peer-slices` slices and the time is multiplied up. Errors are
root mean squares against the exact object inside the circle that every view sees; for peers the best of the eight flips and
turns of their image is taken, so that a difference of conventions does not count against them. scikit-image turns about
column N//2 instead of (N − 1)/2 and gets data and truth made for that.
"""

import argparse
import time

import numpy as np
from threadpoolctl import threadpool_limits

from darklung.core.geometry import ParallelGeometry
from darklung.tomo.fbp import fbp, fbp_variance
from darklung.tomo.projector import Projector

PIXEL = 1e-4
# (y, x, semi-axis y, semi-axis x) as fractions of half the field, and the value
ELLIPSES = (
    ((0.0, 0.0, 0.78, 0.62), 1.0),
    ((0.15, -0.24, 0.28, 0.19), -0.8),
    ((0.10, 0.26, 0.30, 0.17), -0.8),
    ((-0.05, 0.22, 0.06, 0.05), 0.7),
    ((-0.50, 0.0, 0.09, 0.11), 0.9),
)


def integrals(angles, cols, axis_col, fine=8):
    s = ((np.arange(cols) - axis_col)[:, None] + (np.arange(fine) + 0.5) / fine - 0.5) * PIXEL
    out = np.zeros((len(angles), cols))
    half = cols / 2 * PIXEL
    for (y, x, b, a), value in ELLIPSES:
        cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
        width2 = (a * cos) ** 2 + (b * sin) ** 2
        inside = width2 - (s / half - x * cos - y * sin) ** 2
        out += (value * half * 2 * a * b * np.sqrt(np.maximum(inside, 0)) / width2).mean(axis=2)
    return out


def section(size, middle, fine=8):
    axis = (((np.arange(size) - middle)[:, None] + (np.arange(fine) + 0.5) / fine - 0.5) / (size / 2)).ravel()
    out = np.zeros((size * fine, size * fine))
    for (y, x, b, a), value in ELLIPSES:
        out += value * (((axis[:, None] - y) / b) ** 2 + ((axis - x) / a) ** 2 <= 1)
    return out.reshape(size, fine, size, fine).mean(axis=(1, 3))


def error(image, truth, middle, flips=True):
    if middle == len(truth) // 2:  # an even image about N//2 is symmetric without its first row and column
        image, truth, middle = image[1:, 1:], truth[1:, 1:], middle - 1
    axis = np.arange(len(truth)) - middle
    seen = np.hypot(axis[:, None], axis) < len(truth) / 2 - 2
    forms = [np.rot90(m, k) for m in (image, image.T) for k in range(4)] if flips else [image]
    return min(float(np.sqrt(np.mean((f - truth)[seen] ** 2))) for f in forms)


def timed(function, repeat=2):
    best = (np.inf, np.inf, None)
    for _ in range(repeat):
        wall, cpu = time.perf_counter(), time.process_time()
        value = function()
        took = (time.process_time() - cpu, time.perf_counter() - wall)
        if took[0] < best[0]:
            best = (*took, value)
    return best


def ours(data, size, angles, slices, threads=1, repeat=2):
    geometry = ParallelGeometry(angles, slices, size, PIXEL)
    projector = Projector(geometry, (slices, size, size), PIXEL, threads=threads)
    volume = np.repeat(section(size, (size - 1) / 2, 2)[None], slices, axis=0).astype(np.float32)
    stack = np.repeat(data[0][:, None], slices, axis=1).astype(np.float32)
    projector.forward(volume[:])  # compiles
    fbp(stack[:, :1], ParallelGeometry(angles, 1, size, PIXEL), threads=threads)
    result = {
        "forward": timed(lambda: projector.forward(volume), repeat),
        "back": timed(lambda: projector.adjoint(stack), repeat),
        "fbp": timed(lambda: fbp(stack, geometry, threads=threads), repeat),
    }
    one = ParallelGeometry(angles, 1, size, PIXEL)
    images = [fbp(d[:, None].astype(np.float32), one)[0] for d in data]
    return result, images


def about_half(data, angles):
    """Our image of data about column N//2, on the grid that scikit-image uses."""
    size = data.shape[1]
    geometry = ParallelGeometry(angles, 1, size, PIXEL, axis_col=size // 2)
    return fbp(data[:, None].astype(np.float32), geometry, shape=(1, size + 1, size + 1))[0, :size, :size]


def astra_cpu(data, size, angles, slices):
    import astra

    volume_geometry = astra.create_vol_geom(size, size)
    projection_geometry = astra.create_proj_geom("parallel", 1.0, size, angles)
    projector = astra.create_projector("linear", projection_geometry, volume_geometry)
    image = section(size, (size - 1) / 2, 2).astype(np.float32)
    stack = [d.astype(np.float32) for d in data]

    def forward():
        for _ in range(slices):
            number, sinogram = astra.create_sino(image, projector)
            astra.data2d.delete(number)
        return sinogram

    def run(method, sinogram):
        source = astra.data2d.create("-sino", projection_geometry, sinogram)
        target = astra.data2d.create("-vol", volume_geometry, 0.0)
        config = astra.astra_dict(method)
        config |= {"ProjectorId": projector, "ProjectionDataId": source, "ReconstructionDataId": target}
        algorithm = astra.algorithm.create(config)
        astra.algorithm.run(algorithm)
        found = astra.data2d.get(target)
        astra.algorithm.delete(algorithm)
        astra.data2d.delete([source, target])
        return found

    result = {
        "forward": timed(forward),
        "back": timed(lambda: [run("BP", stack[0]) for _ in range(slices)]),
        "fbp": timed(lambda: [run("FBP", stack[0]) for _ in range(slices)]),
    }
    return result, [run("FBP", s) / PIXEL for s in stack]


def scikit_image(data, size, angles, slices):
    from skimage.transform import iradon, radon

    degrees = np.degrees(angles)
    image = section(size, size // 2, 2).astype(np.float32)
    stack = [d.T.astype(np.float32) for d in data]

    def back(sinogram, filter_name):
        return iradon(sinogram, theta=degrees, filter_name=filter_name, circle=True)

    result = {
        "forward": timed(lambda: [radon(image, theta=degrees, circle=True) for _ in range(slices)]),
        "back": timed(lambda: [back(stack[0], None) for _ in range(slices)]),
        "fbp": timed(lambda: [back(stack[0], "ramp") for _ in range(slices)]),
    }
    return result, [back(s, "ramp") / PIXEL for s in stack]


def algotom(data, size, angles, slices):
    from algotom.rec.reconstruction import fbp_reconstruction

    def run(sinogram):
        return fbp_reconstruction(
            sinogram, (size - 1) / 2, angles=angles, ratio=None, filter_name=None, apply_log=False, gpu=False, ncore=1
        )

    stack = [d.astype(np.float32) for d in data]
    run(stack[0])  # compiles
    return {"fbp": timed(lambda: [run(stack[0]) for _ in range(slices)])}, [run(s) / PIXEL for s in stack]


PEERS = {"ASTRA CPU (linear)": astra_cpu, "scikit-image": scikit_image, "algotom CPU": algotom}


def compare(size, views, slices, peer_slices, noise):
    angles = np.arange(views) * np.pi / views
    rng = np.random.default_rng(1)

    def make(axis_col):
        clean = integrals(angles, size, axis_col)
        return [clean, clean + clean.max() * noise * draw]

    draw = rng.normal(size=(views, size))
    data, truth = make((size - 1) / 2), section(size, (size - 1) / 2)
    mine, images = ours(data, size, angles, slices)
    clean, noisy = (error(i, truth, (size - 1) / 2, flips=False) for i in images)
    print(f"{slices} slices of {size}², {views} views, one thread; noise {noise:.1%} of the largest line integral")
    print(f"{'':22s}{'forward s':>11s}{'back s':>10s}{'FBP s':>10s}   RMSE clean    noisy")
    cells = "".join(f"{mine[k][0]:10.2f}" for k in mine)
    walls = ", ".join(f"{mine[k][1]:.2f}" for k in mine)
    print(f"{'darklung':22s} {cells}      {clean:.5f}  {noisy:.5f}   (wall {walls})")
    for name, peer in PEERS.items():
        middle = size // 2 if peer is scikit_image else (size - 1) / 2
        try:
            theirs, images = peer(make(middle), size, angles, peer_slices)
        except ImportError as missing:
            print(f"{name:22s} MISSING, not compared ({missing})")
            continue
        factor = slices / peer_slices
        cells = "".join(f"{theirs[k][0] * factor:10.2f}" if k in theirs else f"{'-':>10s}" for k in mine)
        clean, noisy = (error(i, section(size, middle), middle) for i in images)
        if peer is scikit_image:
            same = [error(about_half(d, angles), section(size, middle), middle) for d in make(middle)]
            print(f"{'  darklung, same data':54s}{same[0]:11.5f}  {same[1]:.5f}")
        ratios = ", ".join(f"{k} {theirs[k][0] * factor / mine[k][0]:.1f}x" for k in theirs)
        print(f"{name:22s} {cells}      {clean:.5f}  {noisy:.5f}   darklung is faster by: {ratios}")


def measured(cases):
    """One row a case (size, views, slices): its numbers and the seconds of the three operations, also printed."""
    rows = []
    for size, views, slices in cases:
        angles = np.arange(views) * np.pi / views
        data = [integrals(angles, size, (size - 1) / 2)]
        times, _ = ours(data, size, angles, slices, repeat=1)
        work = size**2 * views * slices
        rows.append((size, views, slices, *(times[k][0] for k in times)))
        per = ", ".join(f"{k} {times[k][0]:.2f} s ({times[k][0] / work * 1e9:.3f} ns)" for k in times)
        print(f"{slices} slices of {size}², {views} views: {per} per voxel and view")
    return rows


def scaling(figure):
    cases = [(256, 360, s) for s in (32, 64, 128, 256)] + [(256, v, 64) for v in (90, 180, 720)]
    rows = measured([*cases, *((n, 360, 64) for n in (128, 384, 512))])
    size, views, slices = 256, 360, 128
    geometry = ParallelGeometry(np.arange(views) * np.pi / views, slices, size, PIXEL)
    variance = np.ones((views, slices, size), np.float32)
    print(f"variance map of {slices} slices: {timed(lambda: fbp_variance(variance, geometry, threads=1))[0]:.2f} s")
    if figure:
        plot(rows, figure)


def cores(size, views, slices, repeat=7):
    """Wall time with one and with two threads by turns: the best of each, since others on the machine only ever add."""
    geometry = ParallelGeometry(np.arange(views) * np.pi / views, slices, size, PIXEL)
    volume = np.random.default_rng(0).random((slices, size, size), dtype=np.float32)
    projectors = {t: Projector(geometry, volume.shape, PIXEL, threads=t) for t in (1, 2)}
    seen = projectors[2].forward(volume)
    work = {
        "forward": lambda t: projectors[t].forward(volume),
        "back": lambda t: projectors[t].adjoint(seen),
        "FBP": lambda t: fbp(seen, geometry, threads=t),
    }
    for name, function in work.items():
        walls = {1: [], 2: []}
        for _ in range(repeat):
            for threads, taken in walls.items():
                taken.append(timed(lambda: function(threads))[1])  # noqa: B023
        best, middle = (min(walls[1]) / min(walls[2]), np.median(walls[1]) / np.median(walls[2]))
        print(f"{name:8s} one thread {min(walls[1]):.2f} s, two {min(walls[2]):.2f} s: {best:.2f}x (medians: {middle:.2f}x)")


def plot(rows, figure):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    keep = (lambda r: r[:2] == (256, 360), lambda r: r[0] == 256 and r[2] == 64, lambda r: r[1:3] == (360, 64))
    for axis, column, label, chosen in zip(axes, (2, 1, 0), ("slices", "views", "pixels (side²)"), keep):
        part = sorted((r for r in rows if chosen(r)), key=lambda r: r[column])
        at = np.array([r[column] for r in part], float) ** (2 if column == 0 else 1)
        for k, name in enumerate(("forward", "back", "FBP")):
            axis.plot(at, [r[3 + k] for r in part], "o-", label=name)
        axis.set(xlabel=label, ylabel="s on one core", xlim=(0, None), ylim=(0, None))
    axes[0].legend()
    fig.savefig(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--views", type=int, default=360)
    parser.add_argument("--slices", type=int, default=128)
    parser.add_argument("--peer-slices", type=int, default=8)
    parser.add_argument("--noise", type=float, default=0.01)
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--cubes", action="store_true")
    parser.add_argument("--cores", action="store_true")
    parser.add_argument("--figure", help="where --scaling plots its table")
    options = parser.parse_args()
    threadpool_limits(1)
    if options.scaling:
        scaling(options.figure)
    elif options.cubes:
        measured([(128, 360, 128), (256, 360, 256), (512, 360, 256)])
    elif options.cores:
        cores(options.size, options.views, options.slices)
    else:
        compare(options.size, options.views, options.slices, options.peer_slices, options.noise)
