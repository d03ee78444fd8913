"""Axes, units and orientation that darklung writes, as nibabel, SimpleITK and the schema of OME-Zarr read them."""

import warnings

import nibabel
import numpy as np
import pytest
from ome_zarr_models.v05 import Image as Standard
from scipy.spatial.transform import Rotation

from darklung.core.types import Image
from darklung.io.images import save_image
from darklung.io.nifti import write_nifti
from darklung.io.volumes import read_volume

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # SWIG's own types
    import SimpleITK as sitk

SHAPE, SPACING, ORIGIN = (4, 5, 6), (3e-4, 2e-4, 1e-4), (1e-3, -2e-3, 5e-3)
OBLIQUE = tuple(map(tuple, Rotation.from_euler("zyx", [20, -15, 7], degrees=True).as_matrix()))
INDICES = [(0, 0, 0), (3, 0, 0), (0, 4, 0), (0, 0, 5), (2, 3, 1)]


def made(frame, direction, dtype=np.float32):
    data = np.random.default_rng(0).integers(0, 200, (1, *SHAPE)).astype(dtype)
    return Image(data, ("attenuation",), ("1/m",), SPACING, ORIGIN, frame, direction)


@pytest.mark.parametrize("direction", [(), OBLIQUE], ids=["along", "oblique"])
@pytest.mark.parametrize("frame", ["LPS", "scanner"])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_nifti_says_millimetres_and_where_each_voxel_lies(tmp_path, frame, direction, dtype):
    image = made(frame, direction, dtype)
    path = tmp_path / "a.nii.gz"
    write_nifti(path, image, "attenuation")
    file = nibabel.load(path)
    assert file.header.get_xyzt_units()[0] == "mm"
    assert (int(file.header["sform_code"]), int(file.header["qform_code"])) == (1, 1)
    assert file.header.get_zooms() == pytest.approx([0.1, 0.2, 0.3])
    np.testing.assert_allclose(file.header.get_qform(), file.header.get_sform(), atol=1e-5)
    itk = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(itk), image.data[0])
    # Right, anterior, superior are -x, -y, z of the frame LPS; of others x, y, z are written. ITK turns two of them again.
    sign = np.array([-1, -1, 1]) if frame == "LPS" else np.ones(3)
    for index in INDICES:
        place = 1e3 * np.array(image.position_m(index))[::-1]
        np.testing.assert_allclose((file.affine @ [*index[::-1], 1])[:3], sign * place, atol=1e-5)
        there = itk.TransformIndexToPhysicalPoint(tuple(int(i) for i in index[::-1]))
        np.testing.assert_allclose(there, np.array([-1, -1, 1]) * sign * place, atol=1e-5)


@pytest.mark.parametrize("name", ["dark_field_0", "interface_density(dark_field_0, attenuation, 0.6 mm)", "x" * 300])
@pytest.mark.parametrize("unit", ["1/m", ""])
def test_a_long_name_of_a_channel_takes_no_frame_with_it(tmp_path, name, unit):
    image = made("scanner", OBLIQUE)
    image = image.with_data(image.data, (name,), (unit,))
    write_nifti(tmp_path / "a.nii", image, name)
    found = read_volume(tmp_path / "a.nii")
    assert found.grid_difference(image) == ""
    assert (found.frame, found.units[0]) == ("scanner", unit or "a.u.")
    assert (found.names[0] == name) == (len(name) < 20)


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LAS"])
def test_orientation_codes_follow_the_direction(tmp_path, axes):
    """x, y, z towards left, back, head are the frame's own; a column of opposite sign turns one around."""
    signs = [1.0 if a == own else -1.0 for a, own in zip(axes, "LPS")][::-1]
    write_nifti(tmp_path / "a.nii", made("LPS", tuple(map(tuple, np.diag(signs)))), "attenuation")
    assert "".join(nibabel.aff2axcodes(nibabel.load(tmp_path / "a.nii").affine)) == axes


@pytest.mark.parametrize("direction", [(), OBLIQUE], ids=["along", "oblique"])
def test_ome_zarr_says_axes_millimetres_and_the_place_along_the_arrays_axes(tmp_path, direction):
    import zarr

    image = made("LPS", direction)
    save_image(tmp_path / "a.ome.zarr", image)
    told = Standard.from_zarr(zarr.open_group(str(tmp_path / "a.ome.zarr"), mode="r")).attributes.ome.multiscales[0]
    assert [(a.name, a.type, getattr(a, "unit", None)) for a in told.axes][1:] == [(n, "space", "millimeter") for n in "zyx"]
    scale, shift = told.datasets[0].coordinateTransformations
    matrix = np.asarray(image.direction)
    for index in INDICES:
        along = np.asarray(shift.translation[1:]) + np.asarray(scale.scale[1:]) * index
        np.testing.assert_allclose(matrix @ along, [1e3 * p for p in image.position_m(index)], atol=1e-9)
