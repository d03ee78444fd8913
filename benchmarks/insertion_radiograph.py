"""Is a lesion put into a radiograph what the same body in the lung would have been?

    python benchmarks/insertion_radiograph.py [--lesions 24]

A slab of textured lung is simulated, one view by a monochromatic beam. A lesion is put into its noisy maps by the code of
`darklung insert`, with the thickness known. The truth is the slab with the same irregular body in it, of the attenuation and
scattering that the lesion was given, simulated without noise. Pulls are (inserted - expected) / standard deviation.
"""

from __future__ import annotations

import argparse

import numpy as np

from darklung.core.geometry import centred_axis
from darklung.core.types import Image, Phantom, Projections
from darklung.insert.chords import FINE
from darklung.insert.lobes import RadiographLobe
from darklung.insert.radiograph import InsertionSettings, RadiographInsertion, make_case
from darklung.phantom.grid import Grid, fractal_noise
from darklung.physics.instrument import make_instrument
from darklung.physics.lung import HEALTHY, LESIONS
from darklung.physics.materials import delta
from darklung.physics.scattering import two_phase
from darklung.retrieve.stepping import retrieve
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan
from insertion import Pulls, together

MONOCHROMATIC = make_instrument(low_kev=69.9, high_kev=70.1, bins=1)
DELTA, XI_M = float(delta("soft_tissue", HEALTHY.tissue_density, 70.0)), MONOCHROMATIC.reference_correlation_length_m
SLAB_PIXEL_M, SLAB_M = 75e-6, 3e-3  # a lobe of even thickness, as measured ones are assumed
SLAB_COUNTS = 2e5


def slab(pixels: int, put: RadiographInsertion | None = None, *, seed: int = 0) -> Phantom:
    """A slab of textured lung, 25 um voxels; with an inserted lesion's own body, attenuation and scattering grown in it."""
    voxel = SLAB_PIXEL_M / FINE
    shape = (pixels * FINE, round(SLAB_M / voxel), pixels * FINE)
    z, y, x = (centred_axis(n, voxel) for n in shape)
    texture = np.exp(np.float32(0.1) * fractal_noise(Grid(voxel, z, y, x), seed, "slab", (1e-3, 0.5e-3), 0.8))
    # somewhat less than healthy lung, so that what is three times denser than its densest part can exist
    fraction = np.clip(0.9 * HEALTHY.tissue_fraction * texture, 0.05, 0.9)
    surface = np.float32(HEALTHY.interface_density_per_m) * texture**0.4
    if put is not None:
        body = put.body.voxels(SLAB_PIXEL_M)
        half = len(body) // 2
        rows, cols = (slice(p * FINE + 1 - half, p * FINE + 2 + half) for p in put.place)
        depth = slice(shape[1] // 2 - half, shape[1] // 2 + half + 1)
        inside = (rows, depth, cols)
        # relative to the lung along the rays that it is crossed by, as an insertion is
        rays = body.sum(axis=1)
        lung = two_phase(fraction[rows, :, cols], surface[rows, :, cols], DELTA, 70.0, XI_M)
        phi = put.attenuation_ratio * float((fraction[rows, :, cols].mean(axis=1) * rays).sum() / rays.sum())
        wanted = put.dark_field_ratio * float((lung.mean(axis=1) * rays).sum() / rays.sum())
        table = np.geomspace(1e2, 2e5, 4000)
        values = two_phase(phi, table, DELTA, 70.0, XI_M)
        rising = slice(0, int(np.argmax(values)) + 1)
        own = float(np.interp(wanted, values[rising], table[rising]))
        fraction[inside] = np.where(body, phi, fraction[inside])
        surface[inside] = np.where(body, own, surface[inside])
    ones = np.ones(shape, np.float32)
    axis = np.zeros((3, *shape), np.float32)
    axis[0] = 1
    return Phantom(
        voxel, ("soft_tissue",), (HEALTHY.tissue_density * fraction[None]).astype(np.float32), fraction.astype(np.float32),
        surface.astype(np.float32), ones, axis, ones.astype(np.uint8), np.zeros(shape, np.uint16),
    )  # fmt: skip


def slab_maps(phantom: Phantom, seed: int, *, noise: bool = True) -> Projections:
    """One view of a slab by a monochromatic beam, retrieved."""
    protocol = Protocol(
        views=1, steps=5, directions_rad=(np.pi / 2,), counts_per_pixel=SLAB_COUNTS, supersampling=FINE, exposure_s=0.01
    )
    return retrieve(simulate_scan(phantom, instrument=MONOCHROMATIC, protocol=protocol, seed=seed, noise=noise))


def radiograph_pulls(seed: int, tissue: str, pixels: int = 52) -> dict[str, Pulls]:
    """A lesion put into noisy maps of a slab, against the noise-free maps of the slab with the same body in it."""
    healthy, exact = slab_maps(slab(pixels, seed=seed), seed), slab_maps(slab(pixels, seed=seed), seed, noise=False)
    values = [healthy.attenuation[0, 0], healthy.dark_field[0, 0]]
    maps = np.stack([np.exp(-values[0]), np.exp(-values[1]), healthy.flat_visibility[0, 0]]).astype(np.float64)
    border = np.ones((pixels, pixels), bool)
    border[10:-10, 10:-10] = False
    maps[:, border] = np.nan  # so that the box of the body lies in the slab
    names = ("transmission", "visibility_ratio", "flat_visibility")
    image = Image(maps, names, ("1",) * 3, (SLAB_PIXEL_M,) * 2, frame="detector")
    lobe = RadiographLobe(f"slab-{seed}", "slab", image, np.full((pixels, pixels), SLAB_M))
    settings = InsertionSettings(diameter_m=(0.9e-3, 1.4e-3), blur_m=0.0, noise="photons")
    case = make_case(lobe, settings=settings, seed=seed, version=0, wanted=[("lesion", tissue)])
    truth = slab_maps(slab(pixels, case.insertions[0], seed=seed), seed, noise=False)
    inside = case.path_m > 2e-4
    out = {}
    for name in ("attenuation", "dark_field"):
        new = case.image.channel(name)[inside].astype(float)
        wanted, old = (getattr(p, name)[0, 0][inside].astype(float) for p in (truth, exact))
        factor = (
            np.exp(case.changes[0][inside])
            if name == "attenuation"
            else np.exp(case.changes[0] + 2 * case.changes[1])[inside]
        )
        error = np.sqrt(getattr(healthy, f"{name}_variance")[0, 0][inside] * factor)
        out[f"radiograph: {name.replace('_', ' ')}"] = Pulls((new - wanted) / error, new - old, wanted - old, error)
    return out


def print_radiograph(lesions: int) -> None:
    """Pulls of the radiograph's route, all classes."""
    classes = tuple(LESIONS)
    parts = [radiograph_pulls(300 + k, classes[k % len(classes)]) for k in range(lesions)]
    print(f"\n{lesions} lesions in radiographs of {SLAB_M * 1e3:g} mm of lung, {SLAB_PIXEL_M * 1e6:g} um pixels")
    for name in parts[0]:
        print(together([p[name] for p in parts]).line(name))


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lesions", type=int, default=24)
    print_radiograph(parser.parse_args().lesions)


if __name__ == "__main__":
    main()
