"""Truth on the grid of the image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darklung.core.checks import DarklungError
from darklung.core.types import Image, Insertion, Phantom
from darklung.features.labels import hard_negatives, instances_on_grid, lesion_labels, truth_of_labels


def phantom_with(instances, voxel_m=1e-4):
    zero = np.zeros(instances.shape, np.float32)
    return Phantom(
        voxel_m=voxel_m,
        materials=("soft_tissue",),
        density=zero[None],
        tissue_fraction=zero,
        interface_density_per_m=zero,
        aspect=zero + 1,
        axis=np.stack([zero] * 3),
        lobes=instances.astype(np.uint8),
        instances=instances.astype(np.uint16),
    )


def grid(shape, spacing=2e-4, origin=()):
    return Image(np.zeros((1, *shape), np.float32), ("a",), ("1",), (spacing,) * 3, origin)


def crop(whole, box):
    origin = tuple(o + s.start * d for o, s, d in zip(whole.origin_m, box, whole.spacing_m))
    return Image(whole.data[(slice(None), *box)], ("a",), ("1",), whole.spacing_m, origin)


def test_a_coarse_voxel_belongs_to_what_fills_half_of_it():
    fine = np.zeros((4, 8, 8), int)
    fine[0:2, 2:4, 4:6] = 3  # fills coarse (0, 1, 2)
    fine[2:4, 6:8, 0:1] = 5  # fills half of coarse (1, 3, 0)
    fine[2, 0, 2] = 7  # an eighth of coarse (1, 0, 1), kept all the same
    out = instances_on_grid(phantom_with(fine), grid((2, 4, 4)))
    assert {tuple(i): out[tuple(i)] for i in np.argwhere(out)} == {(0, 1, 2): 3, (1, 3, 0): 5, (1, 0, 1): 7}


def test_a_cropped_grid_keeps_places():
    fine = np.zeros((4, 8, 8), int)
    fine[2:4, 4:6, 6:8] = 9
    whole = grid((2, 4, 4))
    part = crop(whole, (slice(1, None),) * 3)
    np.testing.assert_array_equal(
        instances_on_grid(phantom_with(fine), part), instances_on_grid(phantom_with(fine), whole)[1:, 1:, 1:]
    )


def test_what_lies_outside_the_crop_has_no_label_there():
    fine = np.zeros((4, 8, 8), int)
    fine[0:2, 0:2, 0:2] = 1  # in the first coarse voxel, which is cut away
    fine[2, 2, 1] = 2  # a sliver, too: the coarse voxel (1, 1, 0)
    fine[2, 4:6, 4] = 3
    part = crop(grid((2, 4, 4)), (slice(0, 2), slice(0, 4), slice(1, 4)))
    out = instances_on_grid(phantom_with(fine), part)
    assert {tuple(i): out[tuple(i)] for i in np.argwhere(out)} == {(1, 2, 1): 3}


@settings(max_examples=40)
@given(st.data())
def test_labels_of_a_crop_are_those_of_the_whole_and_lie_where_the_instances_lie(data):
    shape = tuple(data.draw(st.integers(2, 4), label=f"length {a}") for a in range(3))
    fine = np.zeros(tuple(2 * n for n in shape), int)
    for number in range(1, data.draw(st.integers(1, 4), label="instances") + 1):
        start = [data.draw(st.integers(0, 2 * n - 1)) for n in shape]
        box = tuple(slice(a, a + data.draw(st.integers(1, 3))) for a in start)
        fine[box] = np.where(fine[box] == 0, number, fine[box])
    whole = instances_on_grid(phantom_with(fine), grid(shape))
    # An instance has labels, all of them in coarse voxels that it meets.
    for number in np.unique(fine[fine > 0]):
        meets = np.zeros(shape, bool)
        meets[tuple((np.argwhere(fine == number) // 2).T)] = True
        assert not (whole == number)[~meets].any()
    halves = [slice(*sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(1, n))))) for n in shape]
    box = tuple(slice(s.start, max(s.stop, s.start + 1)) for s in halves)
    np.testing.assert_array_equal(instances_on_grid(phantom_with(fine), crop(grid(shape), box)), whole[box])


def test_no_lesion_loses_its_label_to_a_larger_one():
    fine = np.zeros((4, 4, 8), int)
    fine[0:4, 0:4, 0:3] = 1
    fine[0:2, 0:2, 3] = 2  # half of the coarse voxel (0, 0, 1), of which lesion 1 has the other half
    out = instances_on_grid(phantom_with(fine), grid((2, 2, 4)))
    assert (out == 2).sum() == 1
    assert out[0, 0, 1] == 2


def test_lesions_and_hard_negatives():
    shape = (6, 6, 6)
    instances = np.zeros(shape, np.uint16)
    instances[1, 1, 1], instances[4, 4, 4] = 1, 2
    insertions = (
        Insertion(1, "lesion", "solid", (-3e-4, -3e-4, -3e-4), 4e-4),
        Insertion(2, "mimic", "atelectasis", (3e-4, 3e-4, 3e-4), 4e-4),
        Insertion(3, "sham", "solid", (-1e-4, 1e-4, 5e-4), 4.1e-4),
    )
    hard = hard_negatives(insertions, instances, grid(shape))
    assert hard[4, 4, 4]
    assert hard[2, 3, 5]
    assert hard[2, 3, 4]
    assert not hard[1, 1, 1]
    assert not hard[0, 0, 0]
    labels = lesion_labels(instances, insertions)
    assert labels.dtype == np.uint8
    assert [tuple(i) for i in np.argwhere(labels)] == [(1, 1, 1)]


def test_more_parts_than_have_numbers_are_refused():
    """Numbers of instances have 16 bits: beyond them lesions would share numbers, and one would be background."""
    dots = np.zeros((84, 84, 84), bool)
    dots[::2, ::2, ::2] = True
    grid = Image(np.zeros((0, *dots.shape), np.float32), (), (), (1e-4,) * 3)
    with pytest.raises(DarklungError, match="wanted at most 65535 lesions, got 74088 parts that do not touch"):
        truth_of_labels(dots, grid)
