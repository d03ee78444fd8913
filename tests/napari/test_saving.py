"""Labels that were drawn: what was known stays, what is new is counted, and nothing is written over."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from darklung.commands.verify import verify_files
from darklung.core.checks import DarklungError
from darklung.core.types import LESION, UNKNOWN, Image, Insertion
from darklung.features.redrawn import redrawn
from darklung.io.case import CaseFacts, LabelledCase, case_lesions, load_case, save_case
from darklung.napari.saving import DRAWN, Choices, save_labels

SHAPE = (6, 7, 8)
SPACING = (3e-4, 2e-4, 1e-4)
INSERTIONS = (
    Insertion(1, "lesion", "solid", (0.0, 0.0, 0.0), 3e-4),
    Insertion(2, "mimic", "atelectasis", (0.0, 0.0, 0.0), 3e-4),
    Insertion(4, "lesion", "lepidic", (0.0, 0.0, 0.0), 4e-4),
    Insertion(5, "sham", "solid", (0.0, 0.0, 0.0), 4e-4),
    Insertion(9, "lesion", "solid", (1.0, 1.0, 1.0), 1e-3),  # outside the image
)


def case(known=True, shape=SHAPE):
    instances = np.zeros(SHAPE, np.uint16)
    instances[1, 1, 1:3], instances[4, 5, 5:7], instances[4, 1, 1] = 1, 4, 2
    labels = np.isin(instances, [1, 4]).astype(np.uint8)
    labels[0, 0, 0] = UNKNOWN
    insertions = INSERTIONS
    if not known:
        instances, labels, insertions = np.zeros_like(instances), np.full(SHAPE, UNKNOWN, np.uint8), ()
    data = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)
    image = Image(data, ("attenuation", "dark_field"), ("1/m",) * 2, SPACING, frame="LPS")
    region = np.ones(SHAPE, bool)
    region[0] = False
    about = CaseFacts("m 1", "m1", provenance={"copy": 3})
    return LabelledCase(image, labels, region, region, instances, instances == 2, insertions, about)


def test_labels_as_they_were_change_nothing():
    before = case()
    after = redrawn(before, before.labels)
    assert after.insertions == before.insertions
    for name in ("labels", "instances", "hard"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_a_lesion_that_grows_keeps_number_and_class_and_is_measured_anew():
    before = case()
    drawn = before.labels.copy()
    drawn[1, 1, 3] = LESION
    after = redrawn(before, drawn)
    assert np.argwhere(after.instances == 1).tolist() == [[1, 1, 1], [1, 1, 2], [1, 1, 3]]
    one = after.insertions[0]
    assert (one.number, one.tissue) == (1, "solid")
    assert one.center_m == pytest.approx(before.channels.position_m((1, 1, 2)))
    assert one.diameter_m == pytest.approx(np.cbrt(6 * 3 * np.prod(SPACING) / np.pi))
    assert after.insertions[1:] == before.insertions[1:]


def test_erased_lesions_go_new_ones_come_and_those_beyond_the_image_stay():
    before = case()
    drawn = before.labels.copy()
    drawn[1, 1, 1:3] = 0
    drawn[2, 4, 4] = 7  # any other number is lesion
    after = redrawn(before, drawn)
    assert [(i.number, i.kind, i.tissue) for i in after.insertions] == [
        (2, "mimic", "atelectasis"), (4, "lesion", "lepidic"), (5, "sham", "solid"), (9, "lesion", "solid"),
        (10, "lesion", "unknown"),
    ]  # fmt: skip
    assert after.instances[2, 4, 4] == 10
    assert after.labels[2, 4, 4] == LESION


def test_a_bridge_between_two_lesions_is_shared_by_the_nearer_one():
    before = case()
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[1, 1, 1:3] = drawn[4, 5, 5:7] = 1
    drawn[2, 2, 3], drawn[3, 3, 4], drawn[4, 4, 5] = 1, 1, 1
    after = redrawn(before, drawn)
    assert after.instances[2, 2, 3] == 1
    assert after.instances[4, 4, 5] == 4
    assert set(np.unique(after.instances[drawn > 0])) == {1, 4}


def test_a_mimic_drawn_as_lesion_is_one_and_no_hard_negative_any_more():
    before = case()
    drawn = before.labels.copy()
    drawn[4, 1, 1] = LESION
    after = redrawn(before, drawn)
    assert "mimic" not in [i.kind for i in after.insertions]
    assert after.insertions[-1].number == 10
    assert not after.hard[4, 1, 1]


def test_a_lesion_made_unknown_keeps_its_place():
    before = case()
    drawn = before.labels.copy()
    drawn[1, 1, 1:3] = UNKNOWN
    after = redrawn(before, drawn)
    assert (after.instances[1, 1, 1:3] == 1).all()
    assert after.insertions == before.insertions


@pytest.mark.parametrize(
    ("drawn", "told"),
    [
        (np.zeros((2, 2, 2), np.uint8), "case m 1: labels: wanted axes"),
        (np.zeros(SHAPE), "wanted whole numbers, got float64"),
    ],
)
def test_labels_that_do_not_fit_are_refused(drawn, told):
    with pytest.raises(DarklungError, match=told):
        redrawn(case(), drawn)


def test_saved_labels_are_a_case_with_provenance_record_and_nifti(tmp_path):
    before = case()
    save_case(tmp_path / "a", before)
    drawn = before.labels.copy()
    drawn[3, 3, 3:5] = LESION
    told = save_labels(tmp_path / "a", drawn, out=tmp_path / "b", choices=Choices(seen="run/findings/a"))
    assert "2 voxels changed, 3 -> 4 lesions" in told
    after = load_case(tmp_path / "b")
    np.testing.assert_array_equal(after.labels, drawn)
    np.testing.assert_array_equal(after.channels.data, before.channels.data)
    assert case_lesions(tmp_path / "b") == 4
    assert after.about.provenance["copy"] == 3
    (how,) = after.about.provenance[DRAWN]
    assert (how["case"], how["prediction"], how["changed_voxels"]) == (str(tmp_path / "a"), "run/findings/a", 2)
    reads = json.loads((tmp_path / "b" / "record.json").read_text())["reads"]
    assert any(str(name).endswith("a/case.json") for name in reads)
    text, whole = verify_files(tmp_path / "b")
    assert whole, text
    other = nibabel.load(tmp_path / "b" / "m_1_labels.nii.gz")
    np.testing.assert_array_equal(np.asarray(other.dataobj), drawn.transpose(2, 1, 0))
    assert other.header.get_xyzt_units()[0] == "mm"
    assert other.header.get_zooms() == pytest.approx([1e3 * s for s in SPACING[::-1]])
    assert "".join(nibabel.aff2axcodes(other.affine)) == "LPS"  # x towards the left, y towards the back, z towards the head


def test_drawing_again_adds_to_the_provenance(tmp_path):
    save_case(tmp_path / "a", case())
    save_labels(tmp_path / "a", case().labels, out=tmp_path / "b", choices=Choices(nifti=False))
    save_labels(tmp_path / "b", np.zeros(SHAPE, np.uint8), out=tmp_path / "c", choices=Choices(nifti=False))
    assert [h["changed_voxels"] for h in load_case(tmp_path / "c").about.provenance[DRAWN]] == [0, 5]
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == [
        "case.json",
        "channels.ome.zarr",
        "labels.ome.zarr",
        "record.json",
    ]


def test_nothing_is_written_over_unless_told_and_a_runs_output_never(tmp_path):
    save_case(tmp_path / "a", case())
    drawn = np.zeros(SHAPE, np.uint8)
    with pytest.raises(DarklungError, match="a: holds a labelled case"):
        save_labels(tmp_path / "a", drawn, out=tmp_path / "a")
    np.testing.assert_array_equal(load_case(tmp_path / "a").labels, case().labels)
    save_labels(tmp_path / "a", drawn, out=tmp_path / "a", choices=Choices(replace=True))
    assert not load_case(tmp_path / "a").labels.any()
    save_case(tmp_path / "run", case())
    (tmp_path / "run" / "record.json").write_text(json.dumps({"key": "1"}))
    with pytest.raises(DarklungError, match="holds the output of a task"):
        save_labels(tmp_path / "a", drawn, out=tmp_path / "run", choices=Choices(replace=True))
    np.testing.assert_array_equal(load_case(tmp_path / "run").labels, case().labels)


def test_what_is_unknown_is_healthy_only_where_it_was_searched_and_only_if_told(tmp_path):
    save_case(tmp_path / "a", case(known=False))
    drawn = load_case(tmp_path / "a").labels.copy()
    drawn[3, 3, 3] = LESION
    save_labels(tmp_path / "a", drawn, out=tmp_path / "b")
    np.testing.assert_array_equal(load_case(tmp_path / "b").labels, drawn)
    save_labels(tmp_path / "a", drawn, out=tmp_path / "c", choices=Choices(healthy=True))
    found = load_case(tmp_path / "c")
    assert (found.labels[0] == UNKNOWN).all()
    assert (found.labels[1:] == (drawn[1:] == LESION)).all()


def test_a_lesion_of_a_2d_case(tmp_path):
    flat = case()
    image = Image(flat.channels.data[:, 1], flat.channels.names, flat.channels.units, SPACING[1:])
    parts = {n: getattr(flat, n)[1] for n in ("labels", "lung", "region", "instances", "hard")}
    one = replace(flat, channels=image, insertions=INSERTIONS[:1], **parts)
    drawn = one.labels.copy()
    drawn[5, 5] = LESION
    after = redrawn(one, drawn)
    assert [i.number for i in after.insertions] == [1, 2]
    assert after.insertions[-1].diameter_m == pytest.approx(np.sqrt(4 * np.prod(SPACING[1:]) / np.pi))
