"""Dose jitter and phase drift together: what is left of a lung's dark field, for few and many flats.

    python benchmarks/retrieval_gauge.py [--seeds 8]

A body with a lung, 20 views, 5 steps of 2,000 counts, doses off by 5 %, the phase drifting by 0.5 rad over the scan; steps
and doses are estimated, with air at both sides. Printed: lung −ln D over the truth minus 1, mean and standard deviation over
the scans, and the standard deviation from view to view. "as set" takes nominal steps and equal doses.
"""

import argparse

import numpy as np

from darklung.core.types import Phantom
from darklung.physics.instrument import make_instrument
from darklung.retrieve.stepping import retrieve
from darklung.simulate.effects import Effects, Stability
from darklung.simulate.objects import body_with_lung
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan

DEPTH, SIZE, VOXEL_M, VIEWS, STEPS, COUNTS = 16, 96, 2.5e-4, 20, 5, 2_000
AIR = np.r_[0:9, 87:96]
FLAWS = Effects(stability=Stability(dose_jitter=0.05, phase_drift_rad=0.5))


def mouse() -> Phantom:
    return body_with_lung(voxel_m=VOXEL_M, shape=(DEPTH, SIZE, SIZE))


def errors(groups, repeats, options, seed):
    """Relative error of the lung's mean dark field in each view."""
    protocol = Protocol(
        views=VIEWS,
        steps=STEPS,
        directions_rad=(np.pi / 2,),
        flats=groups,
        flat_repeats=repeats,
        counts_per_pixel=VIEWS * STEPS * COUNTS,
    )
    scene = {"instrument": make_instrument(), "protocol": protocol, "seed": seed}
    truth = retrieve(simulate_scan(mouse(), **scene, noise=False), dtype=np.float64).dark_field[0]
    found = retrieve(simulate_scan(mouse(), **scene, effects=FLAWS), dtype=np.float64, **options).dark_field[0]
    lung = truth > 0.3 * truth.max()
    return np.array([(f - t)[m].mean() / t[m].mean() for f, t, m in zip(found, truth, lung)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    seeds = range(1, parser.parse_args().seeds + 1)
    print(f"{'flats':>7} {'reference':>12} {'steps':>9}   {'scans':>16}   view to view")
    for groups, repeats in ((2, 1), (2, 2), (6, 4)):
        for reference in ("mean", "interpolate"):
            for steps in ("nominal", "estimate"):
                options = {"reference": reference, "steps": steps, "air_cols": AIR}
                found = np.array([errors(groups, repeats, options, seed) for seed in seeds])
                scans = found.mean(axis=1)
                told = f"{100 * scans.mean():+6.2f} ± {100 * scans.std():4.2f} %"
                name = "as set" if steps == "nominal" else steps
                within = 100 * found.std(axis=1).mean()
                print(f"{groups} × {repeats:<3} {reference:>12} {name:>9}   {told:>16}   {within:5.2f} %", flush=True)


if __name__ == "__main__":
    main()
