"""Are the stated errors right? Pulls, (value − truth) / stated error, over counts and visibilities, both kinds of variance.

    python benchmarks/retrieval_pulls.py [--pixels 160000]

For each number of photons in a curve and each visibility: the share of valid pixels (N V² above the limit), and mean and
standard deviation of the pulls of −ln T, phase and −ln D over the valid ones. The flat has 30 times the counts, −ln D is
0.5. Rows where some pixels fall below the limit are marked: what is left there is a selection.
"""

import argparse

import numpy as np

from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import Scan
from darklung.retrieve.stepping import VARIANCES, retrieve

STEPS, FLAT = 5, 20
COUNTS = (50, 200, 1_000, 5_000, 30_000, 1_000_000)
VISIBILITIES = (0.05, 0.1, 0.2, 0.4)
TRUE = {"attenuation": np.log(1.5 * FLAT), "phase": 1.0, "dark_field": 0.5}
LIMIT = {"pixel": 10.0, "neighbourhood": 10.0}


def make_scan(counts, visibility, pixels):
    """One view of about `pixels` pixels of one kind; the reference phase differs from pixel to pixel."""
    rng = stream(0, "pulls", str(counts), str(visibility))
    size = int(np.sqrt(pixels))
    theta = 2 * np.pi * np.arange(STEPS) / STEPS
    background = rng.uniform(-np.pi, np.pi, (size, size))
    seen = visibility * np.exp(-TRUE["dark_field"])
    curve = counts / STEPS * (1 + seen * np.cos(theta[:, None, None] + background + TRUE["phase"]))
    flat = counts / STEPS * np.exp(TRUE["attenuation"]) * (1 + visibility * np.cos(theta[:, None, None] + background))
    geometry = ParallelGeometry(np.zeros(1), size, size, 1e-4)
    frames, flats = rng.poisson(curve)[None, None], rng.poisson(flat)[None, None]
    times = np.zeros((1, 1)), np.zeros((1, 1))
    return Scan(frames, flats, theta[None], np.zeros(1), geometry, *times)


def pulls(scan, kind, least):
    """Share of valid pixels, and (mean, standard deviation) of the pulls of each signal."""
    found = retrieve(scan, variance=kind, least_strength=least, dtype=np.float64)
    valid = found.valid
    result = []
    if not valid.any():
        return 0.0, result
    for name, true in TRUE.items():
        error = getattr(found, name) - true
        if name == "phase":
            error = np.angle(np.exp(1j * error))
        pull = (error / np.sqrt(getattr(found, f"{name}_variance")))[valid]
        result.append((pull.mean(), pull.std()))
    return valid.mean(), result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", type=int, default=160_000)
    options = parser.parse_args()
    for kind in VARIANCES:
        print(f"\nvariance from the {kind}, valid if N V² > {LIMIT[kind]:g}")
        print(f"{'V0':>5} {'N':>9} {'N V²':>9} {'valid':>6}   " + "   ".join(f"{n:>14}" for n in TRUE))
        for visibility in VISIBILITIES:
            for counts in COUNTS:
                strength = counts * (visibility * np.exp(-TRUE["dark_field"])) ** 2
                share, result = pulls(make_scan(counts, visibility, options.pixels), kind, LIMIT[kind])
                if share < 0.02:
                    continue
                cells = "   ".join(f"{mean:+.3f} ± {deviation:.3f}" for mean, deviation in result)
                mark = "" if share > 0.999 else "  *"
                print(f"{visibility:5.2f} {counts:9,d} {strength:9.1f} {share:6.2f}   {cells}{mark}")
    print("\n* some pixels are not valid: the others are a selection")


if __name__ == "__main__":
    main()
