"""Errors of sizes from a reconstructed volume are those of its noise maps: from noisy projections to diameters."""

from pathlib import Path

import numpy as np
import pytest

from darklung.calibrate.file import CALIBRATION, load_calibration
from darklung.commands.reconstruct import reconstruct_files
from darklung.core.channel import dark_field, values_of
from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import PROJECTION_MAPS, Image, Projections
from darklung.io.hdf5 import save
from darklung.io.images import load_image, save_image
from darklung.steps.calibrate.apply import OUTPUT, Sizing, apply_calibration, read_scattering
from darklung.steps.calibrate.measurements import read_table
from darklung.steps.calibrate.spheres import calibrate_spheres
from darklung.tomo.projector import Projector

EXAMPLES = Path(__file__).parents[2] / "examples" / "calibration"
# Of a powder whose intervals end within the calibrated diameters: beyond them no size is told.
TRUE_M, ROWS, COLS, VIEWS, PIXEL_M = 3e-6, 12, 24, 60, 1e-3
INSIDE = (slice(2, 10), slice(8, 16), slice(8, 16))
DIRECTIONS_DEG = (22.5, 90.0)


def powder_projections(epsilon, sigma) -> Projections:
    """A cylinder of one powder, with noise of `sigma` in −ln D, more of it in the second direction."""
    g = ParallelGeometry(np.arange(VIEWS) * np.pi / VIEWS, ROWS, COLS, PIXEL_M)
    _, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in (ROWS, COLS, COLS)), indexing="ij")
    line = Projector(g, (ROWS, COLS, COLS), PIXEL_M).forward(np.where(np.hypot(y, x) < 9, epsilon, 0).astype(np.float32))
    spread = sigma * np.array([1.0, 2.0])[:, None, None, None]
    shape = (2, *line.shape)
    maps = {name: np.full(shape, 1e-6, np.float32) for name in PROJECTION_MAPS}
    maps["dark_field"] = (line + spread * stream(1, "powder").standard_normal(shape)).astype(np.float32)
    maps["dark_field_variance"] = np.broadcast_to(spread**2, shape).astype(np.float32)
    maps["valid"] = np.ones(shape, bool)
    return Projections(**maps, directions_rad=np.radians(DIRECTIONS_DEG), geometry=g)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("sizes")
    quantities = {"diameter": "{diameter_um} um", "thickness": "{thickness_mm} mm"}
    calibrate_spheres([read_table(EXAMPLES / "spheres_near.csv")], out / "spheres", **quantities)
    (curve,) = load_calibration(out / "spheres" / CALIBRATION).curves
    save(out / "powder.h5", powder_projections(float(curve.structure(np.array([TRUE_M]))[0]), 0.01))
    reconstruct_files(out / "powder.h5", out, given={"method": "fbp"}, tell=str)
    return out


def test_size_errors_of_a_volume_are_those_of_its_noise(folder, tmp_path):
    volume = folder / "reconstruct/powder/volume.ome.zarr"
    sizing = Sizing(prefer="large", within=1e9)
    apply_calibration(folder / "spheres" / CALIBRATION, [volume], tmp_path, sizing=sizing)
    found = load_image(tmp_path / OUTPUT)
    names = values_of(load_image(volume).names, "dark_field")
    assert names == ("dark_field_22.5", "dark_field_90")
    (curve,) = load_calibration(folder / "spheres" / CALIBRATION).curves
    errors = []
    for name in names:
        end = name.removeprefix("dark_field_")
        size, stated = (found.channel(f"{kind}_{end}")[INSIDE] for kind in ("size", "size_error"))
        valid = np.isfinite(size)
        assert valid.mean() > 0.99
        errors.append(float(np.median(stated[valid])))
        # What the curve and the powders add is known from a signal without noise.
        noiseless = tmp_path / f"{end}.ome.zarr"
        exact = curve.structure(np.full((1, 2, 2, 2), TRUE_M)).astype(np.float32)
        save_image(noiseless, Image(exact, ("dark_field",), ("1/m",), (PIXEL_M,) * 3))
        apply_calibration(folder / "spheres" / CALIBRATION, [noiseless], tmp_path / end, sizing=sizing)
        common = float(np.median(load_image(tmp_path / end / OUTPUT).channel("size_error")))
        # Voxels of one powder scatter by the noise alone.
        scatter = 1.4826 * float(np.median(np.abs(size[valid] - np.median(size[valid]))))
        assert scatter > 2 * common
        assert errors[-1] == pytest.approx(np.hypot(scatter, common), rel=0.2)
    assert errors[1] > 1.6 * errors[0]  # each direction has its own noise


def test_noise_is_read_for_its_own_direction(folder):
    read = read_scattering(folder / "reconstruct/powder/volume.ome.zarr")
    image = load_image(folder / "reconstruct/powder/volume.ome.zarr")
    for name, degrees, variance in zip(read.names, DIRECTIONS_DEG, read.variance):
        assert name == dark_field(degrees).name
        np.testing.assert_allclose(variance, image.channel(dark_field(degrees).noise().name).astype(float) ** 2)
        assert (variance > 0).all()


def test_noise_of_a_numbered_direction_is_refused(tmp_path):
    names = ("dark_field_0", "dark_field_0_noise")
    save_image(tmp_path / "old.ome.zarr", Image(np.ones((2, 2, 3, 4), np.float32), names, ("1/m",) * 2, (PIXEL_M,) * 3))
    about = tmp_path / "old.ome.zarr/zarr.json"
    about.write_text(about.read_text().replace("dark_field_0_noise", "dark_field_noise_0"))
    with pytest.raises(DarklungError, match="'dark_field_noise_0': noise of which direction"):
        read_scattering(tmp_path / "old.ome.zarr")
