"""Truth on the grid of the image; cases come back as they were."""

import numpy as np

from darklung.core.types import Image, Insertion, Phantom
from darklung.io.case import StoredCase, hard_negatives, instances_on_grid, load_case, save_case


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
    part = Image(whole.data[:, 1:, 1:, 1:], ("a",), ("1",), whole.spacing_m, tuple(o + 2e-4 for o in whole.origin_m))
    np.testing.assert_array_equal(
        instances_on_grid(phantom_with(fine), part), instances_on_grid(phantom_with(fine), whole)[1:, 1:, 1:]
    )


def test_round_trip_and_hard_negatives(tmp_path):
    shape = (6, 6, 6)
    instances = np.zeros(shape, np.uint16)
    instances[1, 1, 1], instances[4, 4, 4] = 1, 2
    insertions = (
        Insertion(1, "lesion", "solid", (-3e-4, -3e-4, -3e-4), 4e-4),
        Insertion(2, "mimic", "atelectasis", (3e-4, 3e-4, 3e-4), 4e-4),
        Insertion(3, "sham", "solid", (-1e-4, 1e-4, 5e-4), 4.1e-4),
    )
    image = grid(shape)
    hard = hard_negatives(insertions, instances, image)
    assert hard[4, 4, 4]
    assert hard[2, 3, 5]
    assert hard[2, 3, 4]
    assert not hard[1, 1, 1]
    assert not hard[0, 0, 0]
    case = StoredCase(image, instances == 1, instances < 9, instances, hard, insertions)
    save_case(tmp_path, case)
    back = load_case(tmp_path)
    for name in ("target", "region", "instances", "hard"):
        np.testing.assert_array_equal(getattr(back, name), getattr(case, name))
    assert back.insertions == insertions
    assert back.channels.origin_m == image.origin_m
