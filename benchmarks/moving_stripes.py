"""A beam whose stripes move between flats and views: what each reference and each normalisation leaves, and what it states.

    python benchmarks/moving_stripes.py [--angle-deg 17] [--drift-mm 0.3 1.0]

A foam cylinder behind stripes of 10 % that move across themselves over the scan and at random from view to view; flats in
six groups of four through the scan, or five before and five after. For −ln T: standard deviation in air, what photon noise
alone would make, the stated error, and the standard deviation of the pulls in air and in the foam; mean error of −ln T and
of −ln D in the foam against the scan without stripes and noise.
"""

import argparse

import numpy as np

import darklung
from darklung.physics.instrument import make_instrument
from darklung.simulate.effects import Effects, Stability
from darklung.simulate.objects import cylinder
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan

SIZE, VOXEL_M, VIEWS = 96, 1.5e-4, 12
FLATS = {"24 through the scan": (6, 4), "5 before, 5 after": (2, 5)}
AIR = np.r_[4:14, 82:92]


def scans(flats, repeats, drift_m, angle_rad):
    """With stripes and noise, and without either."""
    foam = cylinder(diameter_m=9e-3, voxel_m=VOXEL_M, shape=(64, SIZE, SIZE), foam_diameter_m=7e-3)
    protocol = Protocol(views=VIEWS, flats=flats, flat_repeats=repeats, counts_per_pixel=VIEWS * 2 * 5 * 1000)
    scene = {"instrument": make_instrument(), "protocol": protocol, "seed": 1}
    stripes = Stability(stripes=0.1, stripe_drift_m=drift_m, stripe_angle_rad=angle_rad)
    return simulate_scan(foam, **scene, effects=Effects(stability=stripes)), simulate_scan(foam, **scene, noise=False)


def judged(found, truth, noise):
    """The columns of the table; `noise` is the stated standard error without any of what is measured here."""
    air = np.zeros(found.valid.shape, bool)
    air[..., AIR] = True
    foam = found.valid & (truth.dark_field > 0.2)
    error, stated = found.attenuation - truth.attenuation, np.sqrt(found.attenuation_variance)
    pull = error / stated
    numbers = [
        error[air].std(),
        noise[air].mean(),
        stated[air].mean(),
        pull[air].std(),
        pull[foam].std(),
        error[foam].mean(),
    ]
    return [*numbers, (found.dark_field - truth.dark_field)[foam].mean()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--angle-deg", type=float, default=17.0)
    parser.add_argument("--drift-mm", type=float, nargs="+", default=[0.3, 1.0])
    options = parser.parse_args()
    print(
        "drift  flats                reference    normalise   air SD   noise  stated  pull   pull in foam  bias T   bias D"
    )
    for drift in options.drift_mm:
        for told, (flats, repeats) in FLATS.items():
            scan, quiet = scans(flats, repeats, drift * 1e-3, np.radians(options.angle_deg))
            truth, plain = darklung.retrieve(quiet), darklung.retrieve(scan)
            for reference in ("mean", "interpolate", "eigenflats"):
                for normalise in ("none", "air", "air_rows"):
                    found = darklung.retrieve(scan, normalise=normalise, settings={"reference": reference})
                    cells = judged(found, truth, np.sqrt(plain.attenuation_variance))
                    print(
                        f"{drift:5.1f}  {told:19s}  {reference:11s}  {normalise:9s}  "
                        + "{:7.4f} {:7.4f} {:7.4f} {:6.3f} {:8.3f}     {:+.4f}  {:+.4f}".format(*cells),
                        flush=True,
                    )


if __name__ == "__main__":
    main()
