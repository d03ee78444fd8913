"""What is unknown counts nowhere: not in a tile, a candidate, a Dice, a histogram."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darklung.core.checks import DarklungError
from darklung.core.types import UNKNOWN, Insertion
from darklung.evaluate.froc import froc_curve
from darklung.evaluate.histogram import logit_histogram
from darklung.evaluate.tables import subject_tables
from darklung.evaluate.truth import Truth

SHAPE, SPACING = (20, 20, 20), (2e-4,) * 3  # tiles of 2 mm: two along each axis
TABLES = ("tiles", "voxels", "candidates", "lesions")


def place(*index):
    return tuple((i - 9.5) * 2e-4 for i in index)


# A lesion in the first tile, another in the last, a mimic, a sham, and a lesion outside the image.
INSERTIONS = (
    Insertion(1, "lesion", "solid", place(4, 4, 4), 6e-4),
    Insertion(2, "lesion", "lepidic", place(15, 15, 15), 6e-4),
    Insertion(3, "mimic", "pneumonia", place(4, 4, 15), 6e-4),
    Insertion(4, "sham", "solid", place(15, 4, 4), 6e-4),
    Insertion(5, "lesion", "solid", (1.0, 1.0, 1.0), 6e-4),
)
INSTANCES = np.zeros(SHAPE, np.uint16)
INSTANCES[3:6, 3:6, 3:6], INSTANCES[14:17, 14:17, 14:17], INSTANCES[3:6, 3:6, 14:17] = 1, 2, 3


def tables(unknown=None, *, seed=0, bright=(), region=None):
    logits = np.random.default_rng(seed).normal(-3, 1, SHAPE)
    for at in bright:
        logits[at] = 9.0
    region = np.ones(SHAPE, bool) if region is None else region
    return subject_tables(
        subject="m", logits=logits, truth=Truth(INSTANCES, INSERTIONS, unknown), region=region, spacing_m=SPACING
    )


def box(*slices):
    mask = np.zeros(SHAPE, bool)
    mask[slices] = True
    return mask


def same(one, other):
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))


def test_where_all_is_known_nothing_changes():
    same(tables(), tables(np.zeros(SHAPE, bool)))


def test_a_tile_with_unknown_voxels_and_no_known_lesion_is_dropped():
    whole = tables().tiles.set_index("tile")
    # One voxel each in the first lesion's tile, in the mimic's, in the sham's and in a plain one.
    unknown = box(9, 9, 9) | box(9, 9, 10) | box(10, 0, 0) | box(0, 19, 0)
    tiles = tables(unknown).tiles.set_index("tile")
    gone = set(whole.index) - set(tiles.index)
    assert sorted(whole.loc[list(gone), "kind"]) == ["mimic", "sham", "tile"]
    assert set(tiles.loc[tiles["label"] == 1, "number"]) == {1, 2, 5}
    kept = sorted(set(tiles.index))
    pd.testing.assert_frame_equal(tiles.loc[kept, ["kind", "label", "number"]], whole.loc[kept, ["kind", "label", "number"]])


def test_unknown_voxels_beyond_the_region_drop_nothing():
    region = np.ones(SHAPE, bool)
    region[:, :, 17:] = False
    same(tables(~region, region=region), tables(region=region))


def test_a_lesion_that_is_unknown_is_neither_found_nor_missed_one_outside_is_missed():
    unknown = INSTANCES == 1
    found = tables(unknown)
    assert set(found.lesions["number"]) == {2, 5}
    assert set(found.tiles.loc[found.tiles["label"] == 1, "number"]) == {2, 5}
    assert not found.tiles.loc[found.tiles["number"] == 5, "reachable"].any()
    assert found.voxels["true"].item() == (INSTANCES == 2).sum()
    # Half of it unknown: still a lesion, of the voxels that are known.
    half = tables(unknown & box(slice(0, 4)))
    assert set(half.lesions["number"]) == {1, 2, 5}
    assert half.voxels["true"].item() == tables().voxels["true"].item() - (unknown & box(slice(0, 4))).sum()


def test_a_candidate_in_or_beside_unknown_counts_neither_way():
    unknown = box(slice(10, 20), slice(0, 8), slice(10, 20))
    beside, far, hit = (14, 8, 14), (5, 15, 5), (15, 15, 15)
    clear = tables(bright=(beside, far, hit))
    found = tables(unknown, bright=(beside, far, hit, (15, 3, 15)))

    def kind(t, at):
        c = t.candidates
        rows = c[(c[["axis0", "axis1", "axis2"]].to_numpy() == at).all(axis=1)]
        return rows["kind"].tolist()

    assert [kind(clear, at) for at in (beside, far, hit)] == [["none"], ["none"], ["lesion"]]
    assert [kind(found, at) for at in (beside, far, hit)] == [["unknown"], ["none"], ["lesion"]]
    assert kind(found, (15, 3, 15)) == []
    curve = froc_curve(candidates=found.candidates, lesions=found.lesions)
    known = found.candidates[found.candidates["kind"].isin(["none", "mimic"])]
    assert curve.fp_per_subject[-1] == len(known)
    # Beside unknown voxels a hit of a known lesion stays one.
    lesion = tables(box(slice(17, 20)), bright=((16, 15, 15),))
    assert kind(lesion, (16, 15, 15)) == ["lesion"]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_results_are_the_same_whatever_is_predicted_or_labelled_in_the_unknown(data):
    low = [data.draw(st.integers(0, 17)) for _ in SHAPE]
    unknown = box(*(slice(a, a + data.draw(st.integers(1, 12))) for a in low))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    first = rng.normal(-3, 2, SHAPE)
    second = np.where(unknown, rng.normal(0, 8, SHAPE), first)
    region = np.indices(SHAPE).sum(axis=0) > 6
    common = {"subject": "m", "region": region, "spacing_m": SPACING}
    one = subject_tables(logits=first, truth=Truth(INSTANCES, INSERTIONS, unknown), **common)
    same(one, subject_tables(logits=second, truth=Truth(INSTANCES, INSERTIONS, unknown), **common))
    # Nor does it matter how far known lesions and the mimic were drawn into it.
    touched = [n for n in (1, 2, 3) if (region & ~unknown & (n == INSTANCES)).any()]
    if touched:
        drawn = np.where(unknown & (INSTANCES == 0), np.uint16(touched[0]), INSTANCES)
        same(one, subject_tables(logits=second, truth=Truth(drawn, INSERTIONS, unknown), **common))
    labels = np.where(unknown, UNKNOWN, np.isin(INSTANCES, (1, 2)))
    counts = [logit_histogram(logits=values, labels=labels) for values in (first, second)]
    np.testing.assert_array_equal(counts[0].positive, counts[1].positive)
    np.testing.assert_array_equal(counts[0].negative, counts[1].negative)
    assert counts[0].positive.sum() + counts[0].negative.sum() == (~unknown).sum()


def test_a_subject_of_whom_nothing_is_known_is_refused_by_name():
    region = box(slice(2, 9))
    with pytest.raises(DarklungError, match=r"^m: nothing is known of its lung; it can be predicted, but not evaluated$"):
        tables(region, region=region)


def test_unknown_of_another_shape_is_refused():
    with pytest.raises(DarklungError, match="unknown: wanted axes"):
        Truth(INSTANCES, INSERTIONS, np.zeros((2, 2, 2), bool))
