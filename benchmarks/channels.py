"""Tissue fraction and interface density of a simulated mouse against its truth, and whether the stated errors are true.

    python benchmarks/channels.py [--mice 2] [--voxel-um 120] [--protocol mission_ct]

Each mouse is scanned by the protocol (its detector pixel is two voxels of the phantom unless the protocol says otherwise),
retrieved, corrected to the reference energy, reconstructed, and made a case as a study does. Lung: voxels that are lung in
all of their 3 x 3 x 3 neighbours and whose tissue fraction is that of parenchyma, so that the reconstruction's blur at walls
and vessels is not counted as an error of the model. Bias: mean of estimate over mean of truth, less one. Pull: standard
deviation of (estimate - truth) / stated error.
"""

import argparse
import time

import numpy as np
from scipy import ndimage

import darklung
from darklung.features.layers import Place
from darklung.features.recipe import make_channels
from darklung.study.protocols import read_protocol

NAMES = ("tissue_fraction", "interface_density")
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
    data = np.concatenate([image.data, image.channel("dark_field_0")[None], image.channel("dark_field_0_noise")[None]])
    dark = [n for n in image.names if n.startswith("dark_field_") and not n.endswith("_noise")]
    data[-2] = np.mean([image.channel(n) for n in dark], axis=0)
    data[-1] = np.sqrt(sum(image.channel(f"{n}_noise") ** 2 for n in dark)) / len(dark)
    image = image.with_data(data, (*image.names, "dark_field", "dark_field_noise"), (*image.units, "1/m", "1/m"))
    truth = [averaged(v, options.supersampling) for v in (mouse.tissue_fraction, mouse.interface_density_per_m)]
    lung = averaged((mouse.lobes > 0).astype(float), options.supersampling) > 0.99
    like = (truth[0] > PARENCHYMA[0]) & (truth[0] < PARENCHYMA[1])
    inner = ndimage.binary_erosion(lung & like, np.ones((3, 3, 3)))
    beam = told.instrument
    place = Place(lung, lung, image.spacing_m, 1, beam.reference_energy_kev, beam.correlation_length_m)
    layers = make_channels(image, NAMES, place)
    return [row(layer, true, inner) for layer, true in zip(layers, truth)]


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mice", type=int, default=2)
    parser.add_argument("--voxel-um", type=float, default=120.0)
    parser.add_argument("--supersampling", type=int, default=2)
    parser.add_argument("--protocol", default="mission_ct")
    options = parser.parse_args()
    print(f"{'mouse':<6} {'map':<20} {'bias %':>8} {'error %':>8} {'stated %':>9} {'pull':>6} {'known':>7} {'time s':>7}")
    for seed in range(1, options.mice + 1):
        start = time.perf_counter()
        for name, values in zip(NAMES, judged(seed, options)):
            bias, error, stated, pull, known = values
            spent = time.perf_counter() - start
            print(
                f"{seed:<6} {name:<20} {100 * bias:8.2f} {100 * error:8.1f} {100 * stated:9.1f} {pull:6.2f} {known:7.3f}"
                f" {spent:7.0f}"
            )


if __name__ == "__main__":
    main()
