"""Do ordered subsets help PWLS-TV? Excess of its objective over the minimum, pass by pass, for several numbers of subsets.

    python benchmarks/reconstruction_subsets.py

A body of ellipses, 180 views, noise like that of dark field (uneven, growing behind the body). The minimum is taken from a
long run with one subset. A pass looks at every view once; its cost in processor seconds is printed too, since every subset
ends in a step of total variation.
"""

import argparse
import time

import numpy as np

from darklung.core.geometry import ParallelGeometry, centred_axis
from darklung.tomo.fbp import fbp
from darklung.tomo.iterative import inverse_variance, pwls_tv
from darklung.tomo.projector import Projector
from darklung.tomo.total_variation import total_variation

VOXEL = 2e-4


def scan(size, rows, views, seed):
    """(projector, line integrals with noise, variances)."""
    geometry = ParallelGeometry(np.arange(views) * np.pi / views, rows, size, VOXEL)
    y, x = np.meshgrid(*(centred_axis(size, 2 / size),) * 2, indexing="ij")
    truth = np.zeros((rows, size, size), np.float32)
    for side in (-0.38, 0.38):
        truth += 90.0 * (((x - side) / 0.3) ** 2 + (y / 0.55) ** 2 < 1)
        truth[rows // 2 :] -= 60.0 * ((x - side) ** 2 + (y - 0.1) ** 2 < 0.08**2)
    projector = Projector(geometry, truth.shape, VOXEL)
    line = projector.forward(truth)
    variance = (0.05 * np.exp(line / line.max())) ** 2
    return projector, line + np.random.default_rng(seed).normal(size=line.shape) * np.sqrt(variance), variance


def main(options):
    projector, data, variance = scan(options.size, options.rows, options.views, options.seed)
    weights, plain = inverse_variance(variance), fbp(data, projector.geometry)

    def objective(volume):
        miss = projector.forward(volume) - data
        return 0.5 * float((weights * miss.astype(np.float64) ** 2).sum()) + options.strength * total_variation(volume)

    fixed = {"weights": weights, "strength": options.strength, "start": plain, "tolerance": 0.0}
    best_volume = pwls_tv(projector, data, iterations=options.reference, **fixed).volume
    best, norm = objective(best_volume), np.linalg.norm(best_volume)
    print("excess of the objective over its minimum | distance from the minimiser")
    print(f"at the start {objective(plain) / best - 1:.2e}")
    print(f"{'subsets':>8} " + " ".join(f"{f'{n} passes':>20}" for n in options.passes) + f"{'s a pass':>10}")
    for subsets in options.subsets:
        cells = []
        for passes in options.passes:
            start = time.process_time()
            found = pwls_tv(projector, data, iterations=passes, subsets=subsets, **fixed).volume
            seconds = (time.process_time() - start) / passes
            cells.append(f"{objective(found) / best - 1:.2e} | {np.linalg.norm(found - best_volume) / norm:.2e}")
        print(f"{subsets:8d} " + " ".join(f"{c:>20}" for c in cells) + f"{seconds:10.2f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--views", type=int, default=180)
    parser.add_argument("--strength", type=float, default=0.02)
    parser.add_argument("--subsets", type=int, nargs="+", default=[1, 4, 12, 36])
    parser.add_argument("--passes", type=int, nargs="+", default=[2, 5, 10, 20])
    parser.add_argument("--reference", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    main(parser.parse_args())
