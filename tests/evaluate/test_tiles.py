"""The detection unit: one positive tile a lesion, fair negatives, nothing that looks at a score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darklung.core.checks import DarklungError
from darklung.core.types import Insertion
from darklung.evaluate.tiles import LOWEST_SCORE, tile_table
from darklung.evaluate.units import center_index, tile_numbers

SPACING = 2.5e-4


def insertion(number, kind="lesion", center=(0.0, 0.0, 0.0), diameter=1e-3):
    return Insertion(number, kind, "solid", center, diameter)


def table(logits, instances, insertions, region=None, spacing=None, **options):
    region = np.ones(logits.shape, bool) if region is None else region
    spacing = spacing or (SPACING,) * logits.ndim
    return tile_table(
        subject="m", logits=logits, instances=instances, insertions=insertions, region=region, spacing_m=spacing, **options
    )


def test_tiles_follow_the_grid_and_scores_are_robust_maxima():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(16, 24, 8))
    rows = table(logits, np.zeros(logits.shape, int), [], spacing=(1.25e-4, 2.5e-4, 2.5e-4), tile_m=1e-3)
    assert len(rows) == 2 * 6 * 2
    assert (rows["kind"] == "tile").all()
    top = round(0.3**3 / (0.125 * 0.25 * 0.25))
    assert top > 1
    first = np.sort(logits[:8, :4, :4].ravel())[::-1][:top].mean()
    assert rows.set_index("tile").loc[0, "score"] == pytest.approx(first)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=40)
def test_each_lesion_makes_at_most_one_positive_and_all_others_it_touches_leave(seed):
    rng = np.random.default_rng(seed)
    dims = int(rng.integers(2, 4))
    shape = tuple(int(n) for n in rng.integers(12, 30, dims))
    grid = np.indices(shape).reshape(dims, -1).T
    instances = np.zeros(shape, int)
    insertions = []
    for number in range(1, 5):
        kind = "mimic" if number == 4 else "lesion"
        inside = np.linalg.norm(grid - rng.uniform(0, shape), axis=1) < rng.uniform(1, 8)
        instances[(inside.reshape(shape)) & (instances == 0)] = number
        insertions.append(insertion(number, kind, diameter=number * 1e-3))
    insertions = [i for i in insertions if (instances == i.number).any()]
    rows = table(rng.normal(size=shape), instances, insertions)
    tiles, volume = tile_numbers(shape=shape, spacing_m=(SPACING,) * dims, tile_m=2e-3)
    counts = np.bincount(tiles.ravel()) >= 0.25 * volume  # a sliver of a tile at the image's edge does not count
    lesions = np.isin(instances, [i.number for i in insertions if i.kind == "lesion"])
    positive, negative = rows[rows["label"] == 1], rows[rows["label"] == 0]
    assert positive["number"].is_unique
    assert negative["tile"].is_unique
    assert set(positive["number"]) == {i.number for i in insertions if i.kind == "lesion"}
    for row in positive.itertuples():
        held = np.bincount(tiles[instances == row.number], minlength=len(counts))
        assert held[row.tile] == (held[counts].max() or held.max())
    assert not np.isin(negative["tile"], tiles[lesions]).any()
    plain = rows[rows["kind"] == "tile"]
    assert not np.isin(plain["tile"], tiles[instances > 0]).any()


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_units_do_not_depend_on_the_scores(seed):
    rng = np.random.default_rng(seed)
    instances = np.zeros((20, 20, 20), int)
    instances[3:9, 5:9, 10:13] = 1
    columns = ["tile", "kind", "label"]
    first = table(rng.normal(size=instances.shape), instances, [insertion(1)])[columns]
    second = table(rng.normal(size=instances.shape) * 7 - 3, instances, [insertion(1)])[columns]
    assert first.equals(second)


def test_kinds_of_negatives_and_a_lesion_across_a_corner():
    instances = np.zeros((32, 32), int)
    instances[6:11, 7:11] = 1  # over the corner of four 8-voxel tiles; most of it in the last
    instances[20:23, 20:23] = 2
    x = (26 - 15.5) * SPACING
    things = [insertion(1), insertion(2, "mimic"), insertion(3, "sham", (-x, 0.0, x))]
    rows = table(np.zeros((32, 32)), instances, things).set_index("tile")
    assert rows.loc[5, "kind"] == "lesion"
    assert not {0, 1, 4} & set(rows.index)
    assert rows.loc[10, "kind"] == "mimic"
    assert rows.loc[3, "kind"] == "sham"
    assert rows["label"].sum() == 1
    assert len(rows) == 13


def test_lesion_outside_the_region_is_a_miss():
    instances = np.zeros((24, 24), int)
    instances[0:3, 0:3] = 1
    region = np.zeros((24, 24), bool)
    region[12:] = True
    rows = table(np.zeros((24, 24)), instances, [insertion(1)], region)
    lost = rows[rows["label"] == 1].iloc[0]
    assert (lost["score"], lost["reachable"], lost["tile"]) == (LOWEST_SCORE, False, -1)


def test_edge_tiles_with_little_lung_are_no_easy_negatives_but_keep_their_lesion():
    region = np.zeros((16, 16), bool)
    region[:, :9] = True
    instances = np.zeros((16, 16), int)
    assert set(table(np.zeros((16, 16)), instances, [], region)["tile"]) == {0, 2}
    instances[2:4, 8] = 1
    rows = table(np.zeros((16, 16)), instances, [insertion(1)], region)
    assert rows[rows["label"] == 1]["tile"].tolist() == [1]


def test_scores_come_from_the_region_alone():
    region = np.zeros((16, 16), bool)
    region[:, :8] = True
    logits = np.where(region, -3.0, 50.0)
    assert (table(logits, np.zeros((16, 16), int), [], region)["score"] == -3).all()


def test_center_of_a_radiograph_takes_z_and_x():
    thing = insertion(1, center=(1e-3, 9.0, -2e-3))
    assert center_index(insertion=thing, shape=(21, 41), spacing_m=(5e-4, 5e-4)) == (12, 16)
    assert center_index(insertion=thing, shape=(21, 5), spacing_m=(5e-4, 5e-4)) is None


def test_bad_input_names_what_is_wrong():
    empty = np.zeros((8, 8), int)
    with pytest.raises(DarklungError, match="instances: numbers \\[7\\]"):
        table(np.zeros((8, 8)), empty + 7, [insertion(1)])
    with pytest.raises(DarklungError, match="region: wanted bool"):
        table(np.zeros((8, 8)), empty, [], region=empty)
    with pytest.raises(DarklungError, match="logits: 64 of 64"):
        table(np.full((8, 8), np.nan), empty, [])
    with pytest.raises(DarklungError, match="each number once"):
        table(np.zeros((8, 8)), empty, [insertion(1), insertion(1)])


def test_lesions_that_share_a_tile_keep_a_row_each_with_its_score():
    instances = np.zeros((12, 12, 12), int)
    instances[1:3, 1:3, 1:3], instances[4:6, 4:6, 4:6] = 1, 2
    logits = np.random.default_rng(1).normal(size=instances.shape)
    rows = table(logits, instances, [insertion(1, "lesion", diameter=5e-4), insertion(2, "lesion", diameter=6e-4)])
    positive = rows[rows["label"] == 1]
    assert list(positive["number"]) == [1, 2]
    assert positive["tile"].nunique() == positive["score"].nunique() == 1
