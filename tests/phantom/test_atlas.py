"""A label volume becomes a phantom; with the measured data folder, the Digimouse atlas does."""

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.phantom.atlas import (
    DIGIMOUSE_AXES,
    DIGIMOUSE_TABLE,
    DIGIMOUSE_VOXEL_M,
    make_atlas,
    phantom_from_atlas,
    read_labels,
)
from darklung.phantom.lesions import LesionRequest

DATA = Path(os.environ.get("DARKLUNG_DATA", Path(__file__).parents[3] / "shared" / "data"))
TABLE = {0: "air", 1: "soft_tissue", 2: "lung", 3: "bone"}


def toy_labels() -> np.ndarray:
    """A cylinder with two lungs, a rod of bone at the back, as (z, y, x); the head is at high z."""
    z, y, x = np.meshgrid(np.arange(36) - 17.5, np.arange(44) - 21.5, np.arange(48) - 23.5, indexing="ij")
    labels = (np.hypot(x, y) < 20).astype(np.uint8)
    labels[((np.abs(x) - 8) / 6) ** 2 + (y / 9) ** 2 + (z / 13) ** 2 < 1] = 2
    labels[np.hypot(x, y - 15) < 3] = 3
    return labels


def test_labels_become_tissue_in_their_places():
    labels = toy_labels()
    atlas = make_atlas(labels, voxel_m=4e-4, table=TABLE, axes=("head", "back", "left"))
    phantom = phantom_from_atlas(atlas, seed=1, voxel_m=2e-4, lesions=[LesionRequest("solid", 1e-3)], shams=1)
    lung_m3 = np.count_nonzero(labels == 2) * 4e-4**3
    assert np.count_nonzero(phantom.lobes) * 2e-4**3 == pytest.approx(lung_m3, rel=0.06)
    assert set(np.unique(phantom.lobes)) == {0, 1, 2}
    left, right = (np.argwhere(phantom.lobes == k)[:, 2].mean() for k in (1, 2))
    assert left > right
    bone = np.argwhere(phantom.density[2] > 0.7)
    assert bone[:, 1].mean() > phantom.lobes.shape[1] * 0.7  # at the back
    soft = phantom.density[0][(phantom.lobes == 0) & (phantom.density[0] > 0.9)]
    assert np.median(soft) == pytest.approx(1.05, abs=0.01)
    assert phantom.density[:, :, 0].max() == 0
    assert (phantom.lobes[phantom.instances == 1] > 0).all()


def test_axes_of_the_file_do_not_matter():
    labels = toy_labels()
    labels[20:, 30:34, 20:24] = 0  # makes every direction differ
    straight = make_atlas(labels, voxel_m=4e-4, table=TABLE, axes=("head", "back", "left"))
    turned = make_atlas(labels.transpose(2, 0, 1)[::-1, ::-1], voxel_m=4e-4, table=TABLE, axes=("right", "tail", "back"))
    np.testing.assert_array_equal(straight.labels, turned.labels)


def test_files_of_labels_are_read(tmp_path):
    labels = toy_labels()
    np.savez(tmp_path / "a.npz", labels=labels)
    np.save(tmp_path / "b.npy", labels)
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), tmp_path / "c.nii.gz")
    for name in ("a.npz", "b.npy", "c.nii.gz"):
        np.testing.assert_array_equal(read_labels(tmp_path / name), labels)


def test_bad_atlases_end_in_one_clear_line(tmp_path):
    labels = toy_labels()
    good = {"voxel_m": 4e-4, "table": TABLE, "axes": ("head", "back", "left")}
    np.savez(tmp_path / "two.npz", a=labels, b=labels)
    (tmp_path / "bad.npy").write_bytes(b"nonsense")
    cases = [
        (lambda: make_atlas(labels, **{**good, "table": {0: "air", 1: "soft_tissue", 2: "lung"}}), r"labels \[3\] occur"),
        (lambda: make_atlas(labels, **{**good, "table": {**TABLE, 2: "cheese"}}), "'cheese' is not known"),
        (lambda: make_atlas(labels, **{**good, "table": {**TABLE, 2: "bone"}}), "no voxel of the volume is lung"),
        (lambda: make_atlas(labels, **{**good, "axes": ("head", "tail", "left")}), "one of each pair"),
        (lambda: make_atlas(labels, **{**good, "axes": ("up", "tail", "left")}), "'up' is not known"),
        (lambda: make_atlas(labels.astype(float), **good), "wanted integers"),
        (lambda: read_labels(tmp_path / "none.npz"), "no file"),
        (lambda: read_labels(tmp_path / "two.npz"), "wanted one array"),
        (lambda: read_labels(tmp_path / "bad.npy"), "cannot be read"),
        (
            lambda: phantom_from_atlas(
                make_atlas(labels, **good), seed=1, voxel_m=4e-4, lesions=[LesionRequest("solid", 9e-3)]
            ),
            "no lobe has room",
        ),
    ]
    for call, message in cases:
        with pytest.raises(DarklungError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.real
def test_digimouse_has_lungs_heart_and_skeleton_in_the_right_places():
    path = DATA / "digimouse_labels" / "labels.npz"
    if not path.is_file():
        pytest.skip(f"no measured data at {path}")
    atlas = make_atlas(read_labels(path), voxel_m=DIGIMOUSE_VOXEL_M, table=DIGIMOUSE_TABLE, axes=DIGIMOUSE_AXES)
    phantom = phantom_from_atlas(atlas, seed=3, voxel_m=3e-4, lesions=[LesionRequest("solid", 1.2e-3)])
    volume_ml = np.count_nonzero(phantom.lobes) * phantom.voxel_m**3 * 1e6
    assert volume_ml == pytest.approx(0.417, rel=0.08)
    lung = np.argwhere(phantom.lobes).mean(axis=0)
    labels = atlas.labels
    heart, liver, kidneys = (np.argwhere(labels == k).mean(axis=0) for k in (9, 18, 19))
    whole = np.argwhere(labels == 21).mean(axis=0)
    assert heart[1] < whole[1] < kidneys[1]  # heart at the breast, kidneys at the back
    assert liver[0] < whole[0]  # the liver lies below the lungs
    assert np.argwhere(labels == 16).mean(axis=0)[2] > whole[2]  # the spleen on the left
    bone = phantom.density[2] > 0.7
    dorsal = bone[:, int(lung[1]) :, int(lung[2]) - 8 : int(lung[2]) + 8].any(axis=(1, 2))
    assert dorsal.mean() > 0.95  # a spine behind the lungs at every height
    assert (phantom.lobes[phantom.instances == 1] > 0).all()
