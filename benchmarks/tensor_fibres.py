"""How well the scattering tensor finds the directions of fibre bundles, and whether its map says where it cannot.

    python benchmarks/tensor_fibres.py
    python benchmarks/tensor_fibres.py --figure docs/images/orientation.png

Bundles whose scattering is that of the exact ellipsoidal two-phase model (which is not the rank-2 model that is inverted),
three grating directions, a full turn, noise; reconstructed from a file like any user's, by what ``darklung reconstruct
--method tensor`` runs. Only the bundles attenuate, so that the method's support is theirs: direction in the plane rests on a
known support (docs/decisions/061). Medians over the inner voxels of each bundle.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np
from scipy import ndimage

from darklung.commands.reconstruct import reconstruct_files
from darklung.core.channel import tensor as component
from darklung.core.geometry import ParallelGeometry, centred_axis
from darklung.core.random import stream
from darklung.io.images import load_image
from darklung.physics.scattering import ellipsoidal, shape_tensor
from darklung.tomo.fbp import fbp
from darklung.tomo.projector import Projector, project_columns

VOXEL, SIZE, ROWS, VIEWS = 1e-4, 64, 8, 120
DIRECTIONS = np.array([0.0, np.pi / 4, np.pi / 2])
ENERGY_KEV, XI, FRACTION, DELTA, LENGTH = 70.0, 3e-6, 0.3, 4.9e-8, 20e-6
# (y, x) of the middle and radius [voxel], angle in the plane from +x towards +y and elevation out of it [degrees]
BUNDLES = (
    (-14, -13, 9, 20, 0),
    (-12, 12, 9, 75, 0),
    (12, -12, 9, 140, 0),
    (13, 13, 9, 110, 30),
    (0, 0, 4, 0, 90),
)


def axis_of(bundle):
    turn, up = np.radians(bundle[3:])
    return np.array([np.sin(up), np.cos(up) * np.sin(turn), np.cos(up) * np.cos(turn)])


def scan(aspect, noise):
    """Line integrals of both signals, their variances, and where each bundle is (y, x)."""
    g = ParallelGeometry(np.arange(VIEWS) * 2 * np.pi / VIEWS, ROWS, SIZE + 8, VOXEL)
    y, x = np.meshgrid(*(centred_axis(SIZE, 1.0),) * 2, indexing="ij")
    rods = [np.hypot(y - b[0], x - b[1]) < b[2] for b in BUNDLES]
    data = np.zeros((3, VIEWS, ROWS, g.cols), np.float32)
    axial = []
    for rod, bundle in zip(rods, BUNDLES):
        columns = np.argwhere(rod)
        for d, alpha in enumerate(DIRECTIONS):
            shape = shape_tensor(LENGTH, aspect, axis_of(bundle))
            epsilon = ellipsoidal(shape, FRACTION, DELTA, ENERGY_KEV, XI, g.beam(), g.sensitivity(alpha))
            axial += [float(epsilon.mean())] if d == 0 else []
            for v in range(VIEWS):
                values = np.full((len(columns), ROWS), epsilon[v])
                data[d, v] += project_columns(values, columns, (ROWS, SIZE, SIZE), VOXEL, g, v)
    body = np.any(rods, axis=0).astype(np.float32) * 20.0
    water = Projector(g, (ROWS, SIZE, SIZE), VOXEL).forward(np.repeat(body[None], ROWS, axis=0))
    rng, spread = stream(0, "tensor fibres"), noise * data.max()
    data += rng.normal(size=data.shape).astype(np.float32) * np.float32(spread)
    return g, np.repeat(water[None], 3, axis=0), data, spread**2, rods, axial


def store(path, g, attenuation, dark_field, variance):
    with h5py.File(path, "w") as file:
        file["attenuation"], file["dark_field"] = attenuation, dark_field
        file["attenuation_variance"] = np.full(attenuation.shape, 1e-6, np.float32)
        file["dark_field_variance"] = np.full(attenuation.shape, max(variance, 1e-8), np.float32)
        file["angles_rad"], file["directions_rad"] = g.angles_rad, DIRECTIONS
        file.attrs["pixel_m"] = g.pixel_m


def apart(found, wanted):
    """Degrees between directions without sign."""
    return np.degrees(np.arccos(np.clip(np.abs(np.sum(found * wanted[:, None], axis=0)), 0, 1)))


def main(options):
    g, attenuation, data, variance, rods, axial = scan(options.aspect, options.noise)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        store(place / "fibres.h5", g, attenuation, data, variance)
        chosen = {"smoothness": options.smoothness, "isotropy": options.isotropy, "iterations": 60, "probes": 4}
        reconstruct_files(place / "fibres.h5", place, given={"method": "tensor", "options": chosen}, tell=print)
        made = place / "reconstruct/fibres"
        image = load_image(made / "volume.ome.zarr")
        if options.figure:
            shutil.copy(made / "orientation.png", options.figure)
    report(image, fbp(data[0], g), rods, axial)


def report(image, plain, rods, axial):
    tensor = np.empty((ROWS, image.shape[1], image.shape[2], 3, 3))
    for i, a in enumerate("zyx"):
        for j, b in enumerate("zyx"):
            tensor[..., i, j] = image.channel("tensor_" + "".join(sorted(a + b, key="zyx".index)))
    main_axis = np.linalg.eigh(tensor)[1][..., 0]
    print("bundle: angle, elevation [degrees]; error of the main axis, of the angle in the plane [degrees]; axial component")
    print("over the true one (same by FBP); known of zz, in the plane (yy, xx, yx), out of it (zy, zx), relative to zz")
    for bundle, rod, true in zip(BUNDLES, rods, axial):
        inner = np.zeros(image.shape[1:], bool)
        inner[4:-4, 4:-4] = ndimage.binary_erosion(rod, iterations=2)
        error = apart(main_axis[1:-1, inner].reshape(-1, 3).T, axis_of(bundle))
        angle = image.channel("tensor_in_plane_angle")[1:-1, inner] - np.radians(bundle[3])
        plane = np.degrees(np.median(np.abs(np.mod(angle + np.pi / 2, np.pi) - np.pi / 2)))
        known = {
            n: image.channel(component(n).known().name)[1:-1, inner].mean() for n in ("zz", "yy", "xx", "yx", "zy", "zx")
        }
        print(
            f"{bundle[3]:4d} {bundle[4]:3d}: {np.median(error):6.2f} {f'{plane:6.2f}' if bundle[4] < 90 else '     -'}   "
            f"{image.channel('tensor_zz')[1:-1, inner].mean() / true:6.3f} ({plain[1:-1, inner].mean() / true:.3f})   "
            f"{known['zz']:.2f}, {(known['yy'] + known['xx'] + known['yx']) / 3 / known['zz']:.2f}, "
            f"{(known['zy'] + known['zx']) / 2 / known['zz']:.2f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aspect", type=float, default=1.2)
    parser.add_argument("--noise", type=float, default=0.002, help="of a pixel, relative to the largest line integral")
    parser.add_argument("--smoothness", type=float, default=0.03)
    parser.add_argument("--isotropy", type=float, default=0.1)
    parser.add_argument("--figure", help="where to put the picture that the command draws")
    main(parser.parse_args())
