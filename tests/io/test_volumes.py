"""Foreign volumes land where nibabel and SimpleITK say that they lie, and come out there again."""

import sys
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from darklung.core.checks import DarklungError
from darklung.core.grey import is_calibrated, require_unit
from darklung.core.resample import reorient
from darklung.core.types import Image
from darklung.io.images import export_nifti, load_image, save_image
from darklung.io.volumes import VolumeOptions, open_volume, read_volume

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # SWIG's own types
    import SimpleITK as sitk

SHAPE = (4, 5, 6)  # z, y, x
SPACING = (0.3, 0.2, 0.1)  # mm
LPS_OF_RAS = np.diag([-1.0, -1.0, 1.0])
FLIPS = [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (-1, -1, -1), (-1, -1, 1)]
OBLIQUE = Rotation.from_euler("zyx", [20, -15, 7], degrees=True).as_matrix()
DIRECTIONS = {
    **{f"flip {f}": np.diag(f).astype(float) for f in FLIPS},
    "oblique": OBLIQUE,
    "oblique and flipped": OBLIQUE @ np.diag([1.0, -1.0, 1.0]),
    "permuted": np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
}


def values(dtype=np.int16):
    return np.random.default_rng(5).integers(0, 100, SHAPE).astype(dtype)


def itk_image(array, direction, origin=(1.5, -2.0, 30.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin(origin)
    image.SetDirection(direction.ravel())
    return image


def nifti_of(array, affine, path):
    image = nibabel.Nifti1Image(array.transpose(2, 1, 0), affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def lps_mm(image, index):
    """(left, posterior, superior) of a voxel (z, y, x) of an image in the frame LPS."""
    assert image.frame == "LPS"
    return 1e3 * np.array(image.position_m(index))[::-1]


def assert_same_as_itk(image, oracle):
    np.testing.assert_array_equal(image.data[0], sitk.GetArrayFromImage(oracle).astype(np.float32))
    for index in np.ndindex(image.shape):
        place = oracle.TransformIndexToPhysicalPoint(tuple(int(i) for i in index[::-1]))
        np.testing.assert_allclose(lps_mm(image, index), place, atol=2e-5)


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_nifti_lies_where_nibabel_and_itk_say(tmp_path, direction, ending):
    affine = np.eye(4)
    affine[:3, :3] = DIRECTIONS[direction] * SPACING[::-1]
    affine[:3, 3] = [3.0, -4.0, 11.0]
    path = tmp_path / f"a.{ending}"
    nifti_of(values(), affine, path)
    image = read_volume(path)
    assert image.data.dtype == np.float32
    assert image.units == ("a.u.",)
    assert not is_calibrated(image)
    assert image.spacing_m == pytest.approx([1e-3 * s for s in SPACING], rel=1e-6)
    oracle = nibabel.load(path)
    for index in np.ndindex(SHAPE):
        ras = (oracle.affine @ [*index[::-1], 1])[:3]
        np.testing.assert_allclose(lps_mm(image, index), LPS_OF_RAS @ ras, atol=2e-5)
    np.testing.assert_array_equal(image.data[0], np.asarray(oracle.dataobj).transpose(2, 1, 0))
    if np.linalg.det(DIRECTIONS[direction]) > 0 or direction.startswith("flip"):
        assert_same_as_itk(image, sitk.ReadImage(str(path)))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ending", ["nrrd", "nhdr", "mha", "mhd"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_nrrd_and_metaimage_lie_where_itk_says(tmp_path, direction, ending, packed):
    path = tmp_path / f"a.{ending}"
    oracle = itk_image(values(np.uint16), DIRECTIONS[direction])
    sitk.WriteImage(oracle, str(path), useCompression=packed)
    assert_same_as_itk(read_volume(path), oracle)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64])
@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_types_of_numbers(tmp_path, ending, dtype):
    path = tmp_path / f"a.{ending}"
    sitk.WriteImage(itk_image(values(dtype), np.eye(3)), str(path))
    np.testing.assert_array_equal(read_volume(path).data[0], values(dtype))


def test_nifti_scale_units_and_what_is_missing(tmp_path):
    image = nibabel.Nifti1Image(values().transpose(2, 1, 0), np.diag([100.0, 200, 300, 1]))
    image.header.set_xyzt_units("micron")
    image.header.set_slope_inter(0.5, -7)
    nibabel.save(image, tmp_path / "a.nii")
    found = read_volume(tmp_path / "a.nii", options=VolumeOptions(unit="1/cm", missing=4, channel="mu"))
    assert found.spacing_m == pytest.approx((3e-4, 2e-4, 1e-4))
    assert (found.units, found.names) == (("1/m",), ("mu",))
    stored = values()
    np.testing.assert_allclose(found.data[0], np.where(stored == 4, np.nan, (0.5 * stored - 7) * 100), rtol=1e-6)
    assert np.isnan(found.data).sum() == (stored == 4).sum() > 0
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.float32), None)
    image.header["pixdim"][1:4] = [1, 2, 3]
    image.header["sform_code"] = image.header["qform_code"] = 0
    nibabel.save(image, tmp_path / "b.nii")
    assert "orientation unknown" in " ".join(open_volume(tmp_path / "b.nii").notes)
    assert read_volume(tmp_path / "b.nii").frame == "scanner"
    named = read_volume(tmp_path / "b.nii", options=VolumeOptions(axes=("head", "belly", "right")))
    assert named.frame == "LPS"
    assert named.direction == ((1, 0, 0), (0, -1, 0), (0, 0, -1))
    assert named.position_m([2, 1.5, 1]) == pytest.approx((0, 0, 0))
    with pytest.raises(DarklungError, match="says nothing of anatomy; declare its axes"):
        read_volume(tmp_path / "b.nii", options=VolumeOptions(frame="LPS"))


def test_nifti_2_and_both_byte_orders(tmp_path):
    for kind, name in ((nibabel.Nifti2Image, "2"), (nibabel.Nifti1Image, "1")):
        for order in "<>":
            header = kind.header_class(endianness=order)
            header.set_data_dtype(np.dtype(np.int16).newbyteorder(order))
            image = kind(values().transpose(2, 1, 0), np.diag([1, 2, 3, 1.0]), header)
            nibabel.save(image, tmp_path / f"{name}.nii")
            np.testing.assert_array_equal(read_volume(tmp_path / f"{name}.nii").data[0], values())


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("ending", ["nii.gz", "nrrd"])
def test_what_was_read_is_exported_to_the_same_place(tmp_path, direction, ending):
    source = tmp_path / f"a.{ending}"
    oracle = itk_image(values(np.float32), DIRECTIONS[direction])
    sitk.WriteImage(oracle, str(source))
    image = read_volume(source)
    save_image(tmp_path / "a.ome.zarr", image)
    kept = load_image(tmp_path / "a.ome.zarr")
    assert (kept.direction, kept.frame, kept.origin_m) == (image.direction, "LPS", image.origin_m)
    (path,) = export_nifti(kept, tmp_path, "b")
    for index in np.ndindex(SHAPE):
        ras = (nibabel.load(path).affine @ [*index[::-1], 1])[:3]
        place = oracle.TransformIndexToPhysicalPoint(tuple(int(i) for i in index[::-1]))
        np.testing.assert_allclose(LPS_OF_RAS @ ras, place, atol=2e-5)
    again = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again), values(np.float32))
    np.testing.assert_allclose(again.GetDirection(), oracle.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(again.GetOrigin(), oracle.GetOrigin(), atol=1e-5)
    header = nibabel.load(path).header
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-5)
    assert not image.grid_difference(read_volume(path))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    flips=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    spacing=st.tuples(*[st.floats(1e-5, 2e-3)] * 3),
    origin=st.tuples(*[st.floats(-0.1, 0.1)] * 3),
    frame=st.sampled_from(["LPS", "scanner"]),
)
def test_any_image_survives_nifti(tmp_path, angles, flips, spacing, origin, frame):
    turn = Rotation.from_euler("zyx", angles, degrees=True).as_matrix() * flips
    direction = tuple(tuple(float(v) for v in row) for row in turn)
    image = Image(values(np.float32)[None], ("dark_field",), ("1/m",), spacing, origin, frame, direction)
    (path,) = export_nifti(image, tmp_path)
    back = read_volume(path)
    assert (back.names, back.units, back.frame) == (("dark_field",), ("1/m",), frame)
    np.testing.assert_array_equal(back.data, image.data)
    for index in [(0, 0, 0), (3, 4, 5), (3, 0, 0)]:
        # sform is float32: a millionth of the distance from zero
        np.testing.assert_allclose(back.position_m(index), image.position_m(index), atol=1e-6 * 0.2)


@pytest.mark.parametrize("flips", FLIPS)
def test_reorient_changes_the_storage_only(flips):
    direction = DIRECTIONS["permuted"] @ np.diag(flips)
    image = Image(values()[None], ("a",), ("1",), (1e-4, 2e-4, 3e-4), (1e-3, 0, 5e-3), "LPS", direction.tolist())
    turned = reorient(image)
    assert turned.direction == ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    for index in np.ndindex(SHAPE):
        there = np.round(turned.index_of(image.position_m(index)), 6)
        assert turned.data[0][tuple(there.astype(int))] == image.data[0][index]


def dicom_series(folder, array, *, direction=OBLIQUE, uid="1.2.3", slope=2.0, intercept=-1000.0, shuffle=True, **fields):
    """One file a slice, in a shuffled order of names; `direction` is LPS, columns of (x, y, z)."""
    folder.mkdir(exist_ok=True)
    names = np.random.default_rng(1).permutation(len(array)) if shuffle else np.arange(len(array))
    for k, pixels in enumerate(array):
        item = pydicom.Dataset()
        item.SOPClassUID, item.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"{uid}.{k + 1}"
        item.SeriesInstanceUID, item.StudyInstanceUID, item.Modality = uid, "1.2", "CT"
        item.SeriesNumber, item.SeriesDescription = int(uid[-1]), f"series {uid[-1]}"
        item.Rows, item.Columns = pixels.shape
        item.PixelSpacing = [SPACING[1], SPACING[2]]
        item.ImageOrientationPatient = [f"{v:.10g}" for v in [*direction[:, 0], *direction[:, 1]]]
        item.ImagePositionPatient = [f"{v:.10g}" for v in np.array([1.5, -2, 30]) + k * SPACING[0] * direction[:, 2]]
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated, item.BitsStored, item.HighBit = 16, 16, 15
        item.PixelRepresentation = int(pixels.dtype.kind == "i")
        item.RescaleSlope, item.RescaleIntercept = slope, intercept
        item.PixelData = pixels.tobytes()
        for name, value in fields.items():
            setattr(item, name, value)
        item.file_meta = pydicom.dataset.FileMetaDataset()
        item.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        item.file_meta.MediaStorageSOPClassUID = item.SOPClassUID
        item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
        item.save_as(folder / f"{uid}_{names[k]}.dcm", enforce_file_format=True)
    return folder


@pytest.mark.parametrize("direction", ["oblique", "flip (1, 1, 1)", "flip (-1, -1, 1)", "permuted"])
def test_a_dicom_series_lies_where_itk_says(tmp_path, direction):
    folder = dicom_series(tmp_path / "d", values(), direction=DIRECTIONS[direction])
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = read_volume(folder)
    assert_same_as_itk(image, reader.Execute())
    assert image.units == ("HU",)
    assert is_calibrated(image)
    with pytest.raises(DarklungError, match="network: wanted attenuation in 1/m, got HU; tell two materials"):
        require_unit(image, "attenuation", "1/m", origin="network")
    np.testing.assert_allclose(image.data[0].min(), 2 * values().min() - 1000)


def test_a_left_handed_dicom_pile_is_ordered_along_its_normal(tmp_path):
    """Slices against the normal of their planes are read from the other end, at the places where they were."""
    folder = dicom_series(tmp_path / "d", values(), direction=np.diag([1.0, 1.0, -1.0]))
    image = read_volume(folder)
    np.testing.assert_array_equal(image.data[0], 2.0 * values()[::-1] - 1000)
    np.testing.assert_allclose(lps_mm(image, (3, 0, 0)), [1.5, -2, 30], atol=1e-6)


def test_two_series_are_told_and_chosen(tmp_path):
    folder = dicom_series(tmp_path / "d", values())
    dicom_series(folder, values() + 1, uid="1.2.4")
    with pytest.raises(
        DarklungError, match=r"2 series, choose one with series: 1\.2\.3 \(number 3, series 3, 4 slices\); 1"
    ):
        read_volume(folder)
    for name in ("1.2.4", "4", "series 4"):
        np.testing.assert_array_equal(read_volume(folder, options=VolumeOptions(series=name)).data[0], 2.0 * values() - 998)
    with pytest.raises(DarklungError, match="no series '5'; it holds"):
        read_volume(folder, options=VolumeOptions(series="5"))


def test_without_pydicom_one_line_says_what_to_install(tmp_path, monkeypatch):
    folder = dicom_series(tmp_path / "d", values())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DarklungError, match=r"d: DICOM: wants pydicom: pip install 'darklung\[volumes\]'$"):
        read_volume(folder)


def test_two_materials_give_attenuation(tmp_path):
    from darklung.physics.materials import linear_attenuation

    path = tmp_path / "a.mha"
    sitk.WriteImage(itk_image(np.array([[[1000, 5000, 9000]]], np.int16), np.eye(3)), str(path))
    grey = {"materials": {"air": 1000, "water": 5000}}
    image = read_volume(path, options=VolumeOptions(grey={**grey, "energy": "35 keV"}))
    water, air = (float(linear_attenuation(m, d, 35.0)) for m, d in (("water", 1.0), ("air", 1.205e-3)))
    assert image.units == ("1/m",)
    np.testing.assert_allclose(image.data[0].ravel(), [air, water, 2 * water - air], rtol=1e-5)
    image = read_volume(path, options=VolumeOptions(grey=grey))
    assert image.units == ("HU",)
    np.testing.assert_allclose(image.data[0].ravel(), [-1000, 0, 1000], atol=1e-3)
    for wrong, told in (
        ({"materials": {"air": 1000}}, "two materials, got 1"),
        ({"materials": {"air": 1000, "jam": 2}, "energy": "35 keV"}, "jam is not known"),
        ({"materials": {"air": 5000, "water": 1000}}, "water brighter than air"),
        ({"materials": {"air": 5000, "bone": 1000}}, "Hounsfield units want air and water"),
        ({"materials": {"bone": 3000, "water": 5000}, "energy": "35 keV"}, "bone brighter than water"),
    ):
        with pytest.raises(DarklungError, match=told):
            read_volume(path, options=VolumeOptions(grey=wrong))


def test_an_own_image_needs_no_options(tmp_path):
    image = Image(values(np.float32)[None].repeat(2, 0), ("attenuation", "dark_field"), ("1/m", "1/m"), (1e-4,) * 3)
    save_image(tmp_path / "a.ome.zarr", image)
    back = read_volume(tmp_path / "a.ome.zarr")
    assert back.names == image.names
    assert back.same_grid(image)
    with pytest.raises(DarklungError, match="says everything itself"):
        read_volume(tmp_path / "a.ome.zarr", options=VolumeOptions(spacing="1 um"))


def test_what_is_no_volume(tmp_path):
    (tmp_path / "a.txt").write_text("no volume")
    with pytest.raises(DarklungError, match=r"a\.txt: wanted a volume \(NIfTI"):
        read_volume(tmp_path / "a.txt")
    with pytest.raises(DarklungError, match="no such file or folder"):
        read_volume(tmp_path / "b")
    with pytest.raises(DarklungError, match="wanted a volume"):
        read_volume(tmp_path)
    folder = dicom_series(tmp_path / "d", values())
    with pytest.raises(DarklungError, match="is one DICOM file; give the folder"):
        read_volume(next(folder.iterdir()))


def test_more_than_memory_is_refused_before_reading(tmp_path, monkeypatch):
    import psutil

    path = Path(tmp_path / "a.mha")
    sitk.WriteImage(itk_image(values(), np.eye(3)), str(path))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 100})())
    with pytest.raises(DarklungError, match=r"a\.mha: wants .* GiB of memory"):
        read_volume(path)
