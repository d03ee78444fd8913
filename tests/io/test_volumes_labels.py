"""Labels on the grid of an image: the same voxels, however they are stored, or one line that says what differs."""

import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
import yaml
from scipy.spatial.transform import Rotation

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.io.documents import read_document
from darklung.io.images import export_nifti, save_image
from darklung.io.labels import VolumeDescription, check_unknown, read_described, read_labels, read_region
from darklung.io.nifti import write_nifti
from darklung.io.volumes import VolumeOptions, read_volume

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # SWIG's own types
    import SimpleITK as sitk

SHAPE = (6, 7, 8)
OBLIQUE = Rotation.from_euler("zyx", [20, -15, 7], degrees=True).as_matrix()
IDENTITY = np.eye(3)


def labels(dtype=np.uint8):
    return np.random.default_rng(7).integers(0, 5, SHAPE).astype(dtype)


def image(direction=IDENTITY, *, frame="LPS", spacing=(3e-4, 2e-4, 1e-4), origin=(1e-3, 2e-3, 3e-3), data=None):
    data = np.zeros(SHAPE, np.float32) if data is None else data
    return Image(data[None], ("attenuation",), ("1/m",), spacing, origin, frame, direction.tolist())


def as_itk(grid, array):
    result = sitk.GetImageFromArray(array)
    result.SetSpacing([1e3 * s for s in grid.spacing_m[::-1]])
    result.SetOrigin([1e3 * o for o in grid.origin_m[::-1]])
    result.SetDirection(np.array(grid.direction)[::-1, ::-1].ravel())
    return result


@pytest.mark.parametrize("direction", [IDENTITY, OBLIQUE, OBLIQUE @ np.diag([1.0, -1, 1])])
@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_labels_of_the_same_grid(tmp_path, direction, ending):
    path = tmp_path / f"a.{ending}"
    if ending == "nii.gz":
        write_nifti(path, image(direction, data=labels()), "attenuation")
    else:
        sitk.WriteImage(as_itk(image(direction), labels()), str(path))
    found = read_labels(path, like=image(direction))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, labels())
    np.testing.assert_array_equal(read_region(path, like=image(direction)), labels() > 0)


@pytest.mark.parametrize("frame", ["LPS", "scanner", "detector"])
def test_labels_drawn_on_an_export_come_back(tmp_path, frame):
    """A program that knows nothing of this package's description of the frame writes the affine that it was given."""
    grid = image(frame=frame)
    (path,) = export_nifti(grid, tmp_path)
    drawn = nibabel.Nifti1Image(labels().transpose(2, 1, 0), nibabel.load(path).affine)
    drawn.header.set_xyzt_units("mm")
    nibabel.save(drawn, tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.nii.gz", like=grid), labels())
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "labels.nii.gz")), str(tmp_path / "labels.nrrd"))
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.nrrd", like=grid), labels())


def test_labels_stored_in_another_order_are_the_same_voxels(tmp_path):
    grid = image(OBLIQUE)
    turned = sitk.DICOMOrient(as_itk(grid, labels()), "RIA")
    assert turned.GetSize() != as_itk(grid, labels()).GetSize()
    sitk.WriteImage(turned, str(tmp_path / "a.nrrd"))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.nrrd", like=grid), labels())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"spacing": (3e-4, 2e-4, 1.1e-4)}, r"spacing \(300, 200, 100\) and \(300, 200, 110\) um"),
        ({"origin": (1e-3, 2e-3, 3.05e-3)}, r"place: origin .* a corner off by 0\.5 voxels"),
        ({"direction": OBLIQUE}, "axes towards head, back, left and head .* off"),
        ({"data": np.zeros((6, 7, 9), np.uint8)}, r"shape \(6, 7, 8\) and \(6, 7, 9\)"),
    ],
)
def test_another_grid_is_refused_with_what_differs(tmp_path, change, told):
    write_nifti(tmp_path / "a.nii", image(**{"data": labels(), **change}), "attenuation")
    with pytest.raises(DarklungError, match=r"a\.nii: labels and volume differ in " + told):
        read_labels(tmp_path / "a.nii", like=image())
    read_labels(tmp_path / "a.nii", like=image(), resample_labels=True)


def test_resampled_labels_are_those_of_itk(tmp_path):
    blocks = np.zeros((10, 12, 14), np.uint8)
    blocks[2:8, 3:9, 4:10], blocks[4:6] = 1, 3
    source = Image(blocks[None], ("a",), ("1",), (2e-4,) * 3, (1e-3, 1e-3, 2e-3), "LPS", OBLIQUE.tolist())
    sitk.WriteImage(as_itk(source, blocks), str(tmp_path / "a.nrrd"))
    like = image(Rotation.from_euler("x", 30, degrees=True).as_matrix())
    oracle = sitk.Resample(
        as_itk(source, blocks), as_itk(like, np.zeros(SHAPE, np.uint8)), sitk.Transform(), sitk.sitkNearestNeighbor
    )
    found = read_labels(tmp_path / "a.nrrd", like=like, resample_labels=True)
    wanted = sitk.GetArrayFromImage(oracle)
    assert (wanted > 0).sum() > 100
    assert (found != wanted).mean() < 0.01  # ties and the outer half voxel


def test_labels_are_whole_numbers(tmp_path):
    write_nifti(tmp_path / "a.nii", image(data=labels(np.float32)), "attenuation")
    found = read_labels(tmp_path / "a.nii", like=image())
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, labels())
    for wrong in (0.5, np.nan, 1e12):
        array = labels(np.float32)
        array[1, 2, 3] = wrong
        write_nifti(tmp_path / "a.nii", image(data=array), "attenuation")
        with pytest.raises(DarklungError, match="wanted labels, whole numbers, got values such as"):
            read_labels(tmp_path / "a.nii", like=image())


def test_labels_as_slices_have_the_images_grid(tmp_path):
    for number, part in enumerate(labels()):
        tifffile.imwrite(tmp_path / f"l{number}.tif", part, photometric="minisblack")
    np.testing.assert_array_equal(read_labels(tmp_path, like=image(OBLIQUE)), labels())
    with pytest.raises(DarklungError, match=r"shape \(6, 7, 8\), the other volume has \(5, 7, 8\)"):
        read_labels(tmp_path, like=image(data=np.zeros((5, 7, 8))))


def test_own_images_are_labels_too(tmp_path):
    save_image(tmp_path / "a.ome.zarr", image(data=labels()))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.ome.zarr", like=image()), labels())


def test_a_description_names_volume_labels_and_region(tmp_path):
    grey = image(data=labels(np.float32))
    write_nifti(tmp_path / "scan.nii.gz", grey, "attenuation")
    write_nifti(tmp_path / "labels.nii.gz", grey.with_data(labels()[None]), "attenuation")
    path = tmp_path / "scan.yaml"
    content = {
        "volume": "scan.nii.gz",
        "labels": "labels.nii.gz",
        "region": "labels.nii.gz",
        "channel": "mu",
        "unit": "1/cm",
    }
    path.write_text(yaml.safe_dump(content))
    found, marks, region = read_described(read_document(path, VolumeDescription), path)
    assert found.names == ("mu",)
    np.testing.assert_allclose(found.data[0], 100.0 * labels())
    np.testing.assert_array_equal(marks, labels())
    np.testing.assert_array_equal(region, labels() > 0)
    path.write_text(yaml.safe_dump({**content, "axis": 1, "spacing": "7 kg"}))
    with pytest.raises(DarklungError, match=r"(?s)spacing: wanted a length.*axis: unknown key|axis.*spacing"):
        read_document(path, VolumeDescription)


def test_the_example_of_the_documentation_is_a_description(tmp_path):
    text = (Path(__file__).parents[2] / "docs/volumes.md").read_text()
    (tmp_path / "scan.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    described = read_document(tmp_path / "scan.yaml", VolumeDescription)
    assert described.spacing == pytest.approx(105e-6)
    assert described.grey.energy == 30


def test_the_grid_of_options_is_that_of_the_file(tmp_path):
    write_nifti(tmp_path / "a.nii", image(frame="LPS"), "attenuation")
    turned = read_volume(tmp_path / "a.nii", options=VolumeOptions(frame="scanner"))
    assert turned.frame == "scanner"
    assert turned.direction == ((1, 0, 0), (0, -1, 0), (0, 0, -1))
    assert turned.origin_m == pytest.approx((1e-3, -2e-3, -3e-3))


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        (range(301), "numbered up to 300; wanted lesions to leave it out"),
        (range(256), "numbered up to 255; wanted lesions"),
        ((0, 1, 255, 256), "numbered up to 256"),
        ((0, 1, 3, 255), ""),
        ([n for n in range(301) if n != 255], ""),
        ((0, 254), ""),
        ((255,), ""),
    ],
)
def test_lesion_255_is_not_lost_among_what_is_unknown(numbers, told):
    drawn = np.array(list(numbers), np.uint16)
    if not told:
        check_unknown(drawn, "a.nii")
        return
    with pytest.raises(DarklungError, match=f"a.nii: labels: 255 means unknown, and stands among lesions {told}"):
        check_unknown(drawn, "a.nii")
