"""Stores give back what went in, and other tools can read them."""

import csv
import json

import h5py
import nibabel
import numpy as np
import pytest
import zarr

from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.types import Image, Insertion, Phantom, Scan
from darklung.io.hdf5 import load, save
from darklung.io.images import export_nifti, load_image, save_image
from darklung.io.tables import load_table, save_json, save_table


def small_scan():
    geometry = ParallelGeometry(angles_rad=np.linspace(0, np.pi, 4, endpoint=False), rows=2, cols=3, pixel_m=1e-4)
    rng = np.random.default_rng(1)
    return Scan(
        frames=rng.poisson(100, (2, 4, 5, 2, 3)).astype(np.uint16),
        flats=rng.poisson(100, (2, 1, 5, 2, 3)).astype(np.uint16),
        step_phase_rad=np.tile(np.arange(5) * 2 * np.pi / 5, (2, 1)),
        directions_rad=np.array([0.0, np.pi / 2]),
        geometry=geometry,
        view_time_s=np.zeros((2, 4)),
        flat_time_s=np.zeros((2, 1)),
    )


def small_phantom():
    shape = (2, 3, 4)
    field = np.random.default_rng(2).random(shape).astype(np.float32)
    return Phantom(
        voxel_m=1e-4,
        materials=("soft_tissue", "bone"),
        density=np.stack([field, 0 * field]),
        tissue_fraction=field,
        interface_density_per_m=field,
        aspect=field + 1,
        axis=np.stack([field] * 3),
        lobes=np.ones(shape, np.uint8),
        instances=np.ones(shape, np.uint16),
        insertions=(
            Insertion(number=1, kind="lesion", tissue="solid", center_m=(0.0, 0.1, 0.2), diameter_m=1e-3),
            Insertion(number=2, kind="sham", tissue="solid", center_m=(0.0, 0.1, 0.3), diameter_m=2e-3),
        ),
    )


@pytest.mark.parametrize("make", [small_scan, small_phantom])
def test_hdf5_round_trip(tmp_path, make):
    value = make()
    save(tmp_path / "file.h5", value)
    back = load(tmp_path / "file.h5", type(value))
    for name, item in vars(value).items():
        other = getattr(back, name)
        if isinstance(item, np.ndarray):
            assert other.dtype == item.dtype
            np.testing.assert_array_equal(other, item)
        elif isinstance(item, ParallelGeometry):
            np.testing.assert_array_equal(other.angles_rad, item.angles_rad)
            assert (other.rows, other.cols, other.pixel_m, other.axis_col) == (2, 3, 1e-4, 1.0)
        else:
            assert other == item


def test_a_sham_is_no_lesion():
    assert small_phantom().lesion_mask().all()


def test_hdf5_errors_are_one_line_that_names_the_file(tmp_path):
    path = tmp_path / "scan.h5"
    with pytest.raises(DarklungError, match=r"scan\.h5: no such file"):
        load(path, Scan)
    save(path, small_scan())
    with pytest.raises(DarklungError, match="wanted Phantom, the file holds Scan"):
        load(path, Phantom)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DarklungError, match=r"scan\.h5: cannot be read as Scan"):
        load(path, Scan)
    save(path, small_scan())
    with h5py.File(path, "a") as file:
        frames = file["frames"][()]
        del file["frames"]
        file["frames"] = frames.swapaxes(1, 2)
    with pytest.raises(DarklungError, match=r"frames: wanted axes \(direction, view, step, row, col\)"):
        load(path, Scan)


@pytest.mark.parametrize("shape", [(2, 5, 70, 6), (3, 9, 70)])
def test_image_round_trip_and_metadata(tmp_path, shape):
    spatial = len(shape) - 1
    data = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    names = ("a", "b", "c")[: shape[0]]
    image = Image(data=data, names=names, units=("1/m",) * shape[0], spacing_m=(1.2e-4, 1e-4, 3e-4)[:spatial])
    path = tmp_path / "image.ome.zarr"
    save_image(path, image)
    save_image(path, image)  # replacing works
    back = load_image(path)
    np.testing.assert_array_equal(back.data, data)
    assert (back.names, back.units, back.spacing_m, back.origin_m) == (names, image.units, image.spacing_m, image.origin_m)
    np.testing.assert_array_equal(load_image(path, ("b", "a")).data, data[[1, 0]])
    ome = zarr.open_group(str(path), mode="r").attrs["ome"]
    assert ome["version"] == "0.5"
    assert [a["name"] for a in ome["multiscales"][0]["axes"]] == ["c", "z", "y", "x"][:1] + ["z", "y", "x"][3 - spatial :]
    scale = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert scale[1] == pytest.approx(0.12)
    with pytest.raises(DarklungError, match="no channel 'z'; it has a, b"):
        load_image(path, ("z",))
    with pytest.raises(DarklungError, match="cannot be read as an image of darklung"):
        load_image(tmp_path)


def test_nifti_opens_elsewhere_with_the_right_place(tmp_path):
    data = np.random.default_rng(3).normal(size=(1, 3, 4, 5)).astype(np.float32)
    image = Image(data=data, names=("a",), units=("1",), spacing_m=(1e-3, 2e-3, 4e-3))
    (path,) = export_nifti(image, tmp_path)
    other = nibabel.load(path)
    assert other.shape == (5, 4, 3)
    np.testing.assert_allclose(np.asarray(other.dataobj)[4, 1, 2], data[0, 2, 1, 4])
    np.testing.assert_allclose(other.affine @ [4, 1, 2, 1], [8.0, -1.0, 1.0, 1.0])


def test_tables_carry_a_dictionary(tmp_path):
    rows = [{"subject": "m0", "diameter_mm": 1.5, "lesion": True}, {"subject": "m1", "diameter_mm": 0.5, "lesion": False}]
    meanings = {"subject": "name", "diameter_mm": "diameter [mm]", "lesion": "whether it is one"}
    save_table(tmp_path / "t", rows, meanings)
    assert load_table(tmp_path / "t") == rows
    with (tmp_path / "t.dictionary.csv").open() as stream:
        assert [r["column"] for r in csv.DictReader(stream)] == list(rows[0])
    with pytest.raises(DarklungError, match="no meaning given for column"):
        save_table(tmp_path / "t", rows, {})
    with pytest.raises(DarklungError, match="no rows"):
        save_table(tmp_path / "t", [], {})


def test_json_refuses_nan(tmp_path):
    with pytest.raises(DarklungError):
        save_json(tmp_path / "x.json", {"a": float("nan")})
    save_json(tmp_path / "x.json", {"a": None})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None}
