"""Tissue fraction and interface density of a simulated mouse against its truth, and whether the stated errors are true.

    python benchmarks/channels.py [--mice 2] [--voxel-um 120] [--protocol mission_ct]
    python benchmarks/channels.py --planes

Each mouse is scanned by the protocol, retrieved, corrected to the reference energy and reconstructed as a study does; the
lung is that of the phantom. Judged: voxels that are lung in all of their 3 x 3 x 3 neighbours and whose tissue fraction is
that of parenchyma, so that the blur at walls and vessels is not counted as an error of the model. Bias: mean of estimate
over mean of truth, less one. Error and stated: standard deviation of estimate - truth, and mean stated error, over the mean
of the truth. Pull: standard deviation of (estimate - truth) / stated error. The last line of a mouse takes the dark field
along the axis of the turn alone, whose direction does not turn with the gantry.
"""

import argparse
import time

import numpy as np
from scipy import ndimage

import darklung
from darklung.features.channels import derived_channels
from darklung.features.layers import Place
from darklung.features.mirror import mirror_plane
from darklung.features.recipe import make_channels
from darklung.study.protocols import read_protocol

NAMES = ("tissue_fraction", "interface_density", "interface_density(dark_field_0)")
PARENCHYMA = (0.2, 0.45)


def averaged(values, step):
    """Means over blocks of `step` voxels along each axis."""
    z, y, x = (n // step for n in values.shape)
    return values[: z * step, : y * step, : x * step].reshape(z, step, y, step, x, step).mean(axis=(1, 3, 5))


def scanned(mouse, told, protocol, supersampling):
    scan = darklung.simulate(mouse, protocol=protocol, scan={"supersampling": supersampling}, seed=1)
    instrument = told.instrument.model_dump(mode="json")
    return darklung.reconstruct(darklung.correct(darklung.retrieve(scan, normalise="air"), instrument=instrument))


def judged(seed, options):
    told = read_protocol(options.protocol)
    mouse = darklung.make_mouse(seed=seed, voxel_m=1e-6 * options.voxel_um, lesions=[])
    image = scanned(mouse, told, options.protocol, options.supersampling)
    image = derived_channels(image, seed=1)
    truth = [averaged(v, options.supersampling) for v in (mouse.tissue_fraction, mouse.interface_density_per_m)]
    lung = averaged((mouse.lobes > 0).astype(float), options.supersampling) > 0.99
    like = (truth[0] > PARENCHYMA[0]) & (truth[0] < PARENCHYMA[1])
    inner = ndimage.binary_erosion(lung & like, np.ones((3, 3, 3)))
    beam = told.instrument
    place = Place(lung, lung, image.spacing_m, 1, beam.reference_energy_kev, beam.correlation_length_m)
    layers = make_channels(image, NAMES, place)
    return [row(layer, true, inner) for layer, true in zip(layers, (*truth, truth[1]))]


def row(layer, true, inner):
    used = inner & layer.known
    error, stated = (layer.values - true)[used], layer.noise[used]
    return (
        layer.values[used].mean() / true[used].mean() - 1,
        error.std() / true[used].mean(),
        stated.mean() / true[used].mean(),
        (error / stated).std(),
        used.sum() / inner.sum(),
    )


def planes():
    """Mirror planes of mice of all families, turned about the long axis, against the plane that they were drawn about."""
    print(f"{'family':<7}{'mouse':>6}{'turned':>8}{'off by':>8}{'leans':>7}{'overlap':>9}  trusted   [degrees]")
    for variant in "ABC":
        for seed in (1, 2, 3):
            mouse = darklung.make_mouse(seed=seed, voxel_m=3e-4, lesions=[], variant=variant)
            for turned in (0, 35, 90):
                lung = ndimage.rotate((mouse.lobes > 0).astype(float), turned, axes=(1, 2), reshape=False, order=1) > 0.5
                plane = mirror_plane(lung, (3e-4,) * 3)
                turn = np.degrees(np.arctan2(plane.normal[1], plane.normal[2]))
                off = (turn + turned + 90) % 180 - 90
                lean = np.degrees(np.arcsin(abs(plane.normal[0])))
                print(f"{variant:<7}{seed:6}{turned:8}{off:8.1f}{lean:7.1f}{plane.overlap:9.3f}  {plane.trusted}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mice", type=int, default=2)
    parser.add_argument("--voxel-um", type=float, default=120.0)
    parser.add_argument("--supersampling", type=int, default=1)
    parser.add_argument("--protocol", default="mission_ct")
    parser.add_argument("--planes", action="store_true", help="mirror planes instead of maps")
    options = parser.parse_args()
    if options.planes:
        planes()
        return
    print(f"{'mouse':<6} {'map':<32} {'bias %':>8} {'error %':>8} {'stated %':>9} {'pull':>6} {'known':>7} {'time s':>7}")
    for seed in range(1, options.mice + 1):
        start = time.perf_counter()
        for name, values in zip(NAMES, judged(seed, options)):
            bias, error, stated, pull, known = values
            spent = time.perf_counter() - start
            print(
                f"{seed:<6} {name:<32} {100 * bias:8.2f} {100 * error:8.1f} {100 * stated:9.1f} {pull:6.2f} {known:7.3f}"
                f" {spent:7.0f}"
            )


if __name__ == "__main__":
    main()
