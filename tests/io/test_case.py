"""Labelled cases: written and read as they were, checked when made, refused in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from darklung.core.checks import DarklungError
from darklung.core.types import UNKNOWN, Image, Insertion
from darklung.io.case import CaseFacts, LabelledCase, case_facts, load_case, save_case
from darklung.io.names import CASE, LABELS

SHAPE = (4, 5, 6)
INSERTIONS = (
    Insertion(1, "lesion", "solid", (-3e-4, -3e-4, -3e-4), 4e-4),
    Insertion(2, "mimic", "atelectasis", (3e-4, 3e-4, 3e-4), 4e-4),
    Insertion(3, "sham", "solid", (-1e-4, 1e-4, 5e-4), 4.1e-4),
    Insertion(7, "lesion", "lepidic", (1.0, 1.0, 1.0), 1e-3),  # outside the image
)
FACTS = CaseFacts("m1-week3", "m1", "week 3", "A", "scan 7", True, {"copy": 3, "options": {"lesions": [1, 2.5, None]}})


def make(shape=SHAPE, **changes):
    instances = np.zeros(shape, np.uint16)
    instances.flat[[3, 4]], instances.flat[[9]] = 1, 2
    labels = (instances == 1).astype(np.uint8)
    labels.flat[[4, 17]] = UNKNOWN
    region = np.indices(shape).sum(axis=0) % 3 > 0
    data = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    image = Image(
        data, ("attenuation", "dark_field_22.5"), ("1/m",) * 2, (2e-4,) * len(shape), (1e-3,) * len(shape), "table"
    )
    fields = {
        "channels": image, "labels": labels, "lung": ~region, "region": region, "instances": instances,
        "hard": instances == 2, "insertions": INSERTIONS, "about": FACTS,
    }  # fmt: skip
    return LabelledCase(**{**fields, **changes})


def same(one, other):
    for name in ("labels", "lung", "region", "instances", "hard"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype
    np.testing.assert_array_equal(one.channels.data, other.channels.data)
    assert replace(one.channels, data=other.channels.data) == other.channels
    assert (one.insertions, one.about) == (other.insertions, other.about)


@pytest.mark.parametrize("shape", [SHAPE, (5, 6)])
def test_round_trip(tmp_path, shape):
    case = make(shape)
    save_case(tmp_path / "m1", case)
    same(load_case(tmp_path / "m1"), case)
    assert case_facts(tmp_path / "m1") == FACTS
    part = load_case(tmp_path / "m1", ("dark_field_22.5",))
    np.testing.assert_array_equal(part.channels.data[0], case.channels.data[1])
    assert load_case(tmp_path / "m1", ()).channels.names == ()
    assert {p.name for p in (tmp_path / "m1").iterdir()} == {"channels.ome.zarr", "labels.ome.zarr", "case.json"}
    assert json.loads((tmp_path / "m1/case.json").read_text())["darklung_case"] == 1


@settings(max_examples=10, deadline=None)
@given(arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, UNKNOWN])), arrays(np.bool_, (4, *SHAPE)))
def test_whatever_is_labelled_comes_back(tmp_path_factory, labels, masks):
    known = np.where(labels == 1, 1, np.where(masks[3] & (labels == 0), 2, 0)).astype(np.uint16)
    unknown = np.where(labels == UNKNOWN, masks[3], known).astype(np.uint16)  # a lesion that nobody is sure of
    case = make(labels=labels, lung=masks[0], region=masks[1], hard=masks[2], instances=unknown)
    folder = tmp_path_factory.mktemp("case")
    save_case(folder, case)
    same(load_case(folder), case)


def test_labels_of_a_scan_that_is_still_to_be_reconstructed(tmp_path):
    case = make()
    save_case(tmp_path, replace(case, channels=replace(case.channels, data=case.channels.data[:0], names=(), units=())))
    back = load_case(tmp_path)
    assert back.channels.names == ()
    assert back.channels.origin_m == case.channels.origin_m
    same(replace(back, channels=case.channels), case)
    with pytest.raises(DarklungError, match=r"channels\.ome\.zarr: no such image"):
        load_case(tmp_path, ("attenuation",))


def test_what_is_known():
    case = make()
    assert case.lesion.sum() == 1
    assert case.unknown.sum() == 2
    assert case.insertions[3].number == 7  # kept, though no voxel has it


def changed(name, at, value):
    array = getattr(make(), name).copy()
    array.flat[at] = value
    return {name: array}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labels": np.zeros((2, 2, 2), np.uint8)}, "case m1-week3: labels: wanted axes (*spatial) with shape (4, 5, 6)"),
        ({"labels": np.zeros(SHAPE, int)}, "labels: wanted uint8, got int64"),
        ({"region": np.zeros(SHAPE, np.uint8)}, "region: wanted bool, got uint8"),
        ({"instances": np.zeros(SHAPE, np.uint8)}, "instances: wanted uint16, got uint8"),
        (changed("labels", 0, 2), "labels: wanted 0, 1 or 255 (unknown), got [2]"),
        (changed("labels", 0, 1), "labels: 1 voxels are lesion in labels or in instances, not in both"),
        (changed("instances", 0, 1), "labels: 1 voxels are lesion in labels or in instances, not in both"),
        (changed("labels", 3, 0), "labels: 1 voxels are lesion"),
        (changed("instances", 0, 9), "instances: [9] are no number of a lesion or mimic in insertions"),
        (changed("instances", 0, 3), "instances: [3] are no number of a lesion or mimic"),
        ({"insertions": (*INSERTIONS, INSERTIONS[0])}, "insertions: wanted each number once"),
    ],
)
def test_contradictions_are_refused_when_a_case_is_made(changes, told):
    with pytest.raises(DarklungError) as caught:
        make(**changes)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_case_without_subject_or_animal_is_refused():
    with pytest.raises(DarklungError, match="case: animal: wanted a name, got none"):
        CaseFacts("m1", "")


def edited(**changes):
    def edit(folder):
        content = {**json.loads((folder / CASE).read_text()), **changes}
        (folder / CASE).write_text(json.dumps({k: v for k, v in content.items() if v is not None}))

    return edit


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: (f / CASE).unlink(), "wanted a labelled case with case.json in it"),
        (lambda f: (f / CASE).write_text("{"), "cannot be read as JSON"),
        (lambda f: (f / CASE).write_bytes(b"\xff\x00"), "cannot be read as JSON"),
        (lambda f: (f / CASE).write_text("[1]"), "wanted a JSON object, got list"),
        (edited(darklung_case=2), "wanted a labelled case, darklung_case: 1, got 2"),
        (edited(darklung_case=None), "wanted a labelled case, darklung_case: 1, got None"),
        (edited(colour="red"), "colour: unknown key; known: "),
        (edited(animal=None), "animal: is missing"),
        (edited(animal=""), "case: animal: wanted a name, got none"),
        (edited(synthetic="perhaps"), "synthetic: "),
        (edited(insertions=[{"number": 1}]), "insertions"),
        (edited(insertions=[]), "instances: [1, 2] are no number of a lesion or mimic in insertions"),
        (lambda f: __import__("shutil").rmtree(f / LABELS), "labels.ome.zarr: no such image"),
    ],
)
def test_a_folder_that_is_no_case_is_refused_in_one_line(tmp_path, spoil, told):
    save_case(tmp_path, make())
    spoil(tmp_path)
    with pytest.raises(DarklungError) as caught:
        load_case(tmp_path)
    assert told in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    if "insertions" not in told or "[1, 2]" in told:
        assert "\n" not in str(caught.value)


def test_a_case_that_was_half_replaced_is_no_case(tmp_path, monkeypatch):
    save_case(tmp_path, make())

    def killed(path, image):
        raise KeyboardInterrupt

    monkeypatch.setattr("darklung.io.case.save_image", killed)
    with pytest.raises(KeyboardInterrupt):
        save_case(tmp_path, make())
    with pytest.raises(DarklungError, match=r"wanted a labelled case with case\.json"):
        load_case(tmp_path)


def test_labels_and_channels_of_two_places_are_no_case(tmp_path):
    case = make()
    save_case(tmp_path / "one", case)
    save_case(tmp_path / "two", make(channels=replace(case.channels, origin_m=(0.0, 0.0, 0.0))))
    (tmp_path / "one" / LABELS).rename(tmp_path / "away")
    (tmp_path / "two" / LABELS).rename(tmp_path / "one" / LABELS)
    with pytest.raises(DarklungError, match="are not on one grid: place"):
        load_case(tmp_path / "one")
