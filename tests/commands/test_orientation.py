"""The picture of the tensor method: directions within each slice, with what is known of them."""

import h5py
import numpy as np
import pytest
from matplotlib import image as pictures

from darklung.commands.reconstruct import reconstruct_files
from darklung.core.types import Image
from darklung.io.images import load_image, save_image
from darklung.report import orientation
from darklung.report.slices import AXES, open_slices
from darklung.tomo.tensor import COMPONENTS


@pytest.mark.parametrize("axis", [(0.0, 0.5, 0.8), (0.6, -0.3, 0.7), (-0.4, 0.9, 0.2)])
def test_directions_within_each_slice(tmp_path, axis):
    n = np.array(axis) / np.linalg.norm(axis)  # (z, y, x)
    full = np.eye(3) - 0.4 * np.outer(n, n)
    six = [full["zyx".index(a), "zyx".index(b)] for a, b in COMPONENTS]
    data = np.broadcast_to(np.array(six, np.float32)[:, None, None, None], (6, 3, 4, 5))
    save_image(tmp_path / "v.zarr", Image(data, tuple(f"tensor_{c}" for c in COMPONENTS), ("1/m",) * 6, (1e-3,) * 3))
    slices = open_slices(tmp_path / "v.zarr")
    for across, right, up in AXES:
        angle, anisotropy, strength = orientation._within(slices, across, right, up)
        along = n["zyx".index(up)], n["zyx".index(right)]
        assert np.sin(angle - np.arctan2(*along)) == pytest.approx(0, abs=1e-5)
        size2 = along[0] ** 2 + along[1] ** 2
        assert anisotropy == pytest.approx(0.4 * size2 / (2 - 0.4 * size2), rel=1e-4)
        assert strength == pytest.approx(1 - 0.2 * size2, rel=1e-5)


def test_the_command_draws_it(tmp_path):
    rng = np.random.default_rng(1)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        for name in ("attenuation", "dark_field"):
            file[name] = 0.3 + 0.01 * rng.random((2, 30, 6, 16))
            file[f"{name}_variance"] = np.full((2, 30, 6, 16), 1e-4)
        file["angles_rad"], file["directions_rad"] = np.arange(30) * np.pi / 15, [0.0, np.pi / 2]
        file.attrs["pixel_m"] = 1e-3
    chosen = {"method": "tensor", "options": {"iterations": 2}, "memory": "1 GiB"}
    reconstruct_files(tmp_path / "scan.h5", tmp_path, given=chosen, tell=lambda line: None)
    place = tmp_path / "reconstruct/scan"
    slices = open_slices(place / "volume.ome.zarr")
    derived = {f"tensor_{name}" for name in ("in_plane_angle", "inclination", *(f"main_axis_{letter}" for letter in "zyx"))}
    assert {"known_zz", "known_main_axis", "known_inclination", "tensor_yx", *derived} <= set(slices.units)
    image = load_image(place / "volume.ome.zarr")
    made = {name: image.channel(name) for name in image.names}
    assert np.allclose(sum(made[f"tensor_main_axis_{letter}"] ** 2 for letter in "zyx"), 1, atol=1e-5)
    assert np.allclose(np.cos(made["tensor_inclination"]), np.abs(made["tensor_main_axis_z"]), atol=1e-5)
    least = np.min([made[f"known_{name}"] for name in ("yy", "xx", "yx")], axis=0)
    assert np.array_equal(made["known_in_plane_angle"], least)
    assert (made["known_main_axis"] <= made["known_in_plane_angle"]).all()
    picture = pictures.imread(place / "orientation.png")[..., :3]
    assert (picture.max(axis=2) - picture.min(axis=2) > 0.9).sum() > 500  # the rim of the wheel is in full colour
