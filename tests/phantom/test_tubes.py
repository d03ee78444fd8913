"""Trees obey Murray's law and tubes keep their volume in voxels of any size."""

import numpy as np
import pytest

from darklung.phantom.grid import make_grid, smooth_noise
from darklung.phantom.shapes import make_blob, make_buds
from darklung.phantom.tubes import draw_tubes, grow_tree


@pytest.mark.parametrize("radius_voxels", [0.1, 0.3, 0.6, 1.0, 3.0])
def test_a_tube_keeps_its_volume_down_to_below_the_voxel(radius_voxels):
    grid = make_grid((4e-3, 4e-3), 1e-4)
    start, end = np.array([[-1.1e-3, -0.73e-3, 0.21e-3]]), np.array([[0.9e-3, 0.62e-3, 0.94e-3]])
    radius = radius_voxels * grid.voxel_m
    share = draw_tubes(grid, start, end, np.array([radius]))
    truth = np.pi * radius**2 * np.linalg.norm(end - start)
    assert share.sum() * grid.voxel_m**3 == pytest.approx(truth, rel=0.03)
    assert share.max() <= 1


def test_pieces_of_a_straight_line_add_up_to_the_line():
    grid = make_grid((4e-3, 4e-3), 1e-4)
    points = np.linspace([-1e-3, -1e-3, -1e-3], [1e-3, 1.2e-3, 0.8e-3], 9)
    pieces = draw_tubes(grid, points[:-1], points[1:], np.full(8, 4e-5))
    whole = draw_tubes(grid, points[:1], points[-1:], np.array([4e-5]))
    np.testing.assert_allclose(pieces, whole, atol=1e-5)


def test_radii_follow_murray_and_pieces_join():
    points = np.random.default_rng(1).uniform(-1, 1, (4000, 3))
    tree = grow_tree(points, np.array([1.5, 0, 0]))
    volume = 0.01
    radius = tree.radius_for(volume)
    assert np.pi * np.sum(radius**2 * tree.length_m()) == pytest.approx(volume)
    for k in range(len(tree.parent)):
        children = np.flatnonzero(tree.parent == k)
        if len(children):
            assert np.sum(radius[children] ** 3) == pytest.approx(radius[k] ** 3, rel=0.15)
            np.testing.assert_allclose(tree.start_m[children], np.broadcast_to(tree.end_m[k], (len(children), 3)))


def test_a_tree_fills_its_region():
    points = np.random.default_rng(2).uniform(-1, 1, (8000, 3))
    ends = grow_tree(points, np.array([1.5, 0, 0])).end_m
    nearest = [np.linalg.norm(ends - p, axis=1).min() for p in points[:200]]
    assert np.quantile(nearest, 0.95) < 0.35


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("irregular", [0.0, 0.1, 0.3])
def test_blobs_have_the_wanted_volume(seed, irregular):
    grid = make_grid((4e-3, 4e-3), 5e-5)
    blob = make_blob(np.random.default_rng(seed), 1.6e-3, irregular, 1.5)
    inside = blob.distance(grid, (0.0, 0.0, 0.0)) < 0
    assert inside.sum() * grid.voxel_m**3 == pytest.approx(np.pi / 6 * 1.6e-3**3, rel=0.03)
    reach = np.sqrt(np.sum(np.array([grid.axes[k][np.argwhere(inside)[:, k]] for k in range(3)]) ** 2, axis=0)).max()
    assert reach <= blob.reach_m() + grid.voxel_m


def test_noise_has_unit_variance_and_belongs_to_space_not_to_the_grid():
    grid = make_grid((18e-3, 18e-3), 3e-4)
    field = smooth_noise(grid, 3, "test", 6e-4)
    assert abs(field.mean()) < 0.05
    assert field.std() == pytest.approx(1, abs=0.05)
    box = (slice(10, 20), slice(5, 30), slice(40, 50))
    np.testing.assert_allclose(smooth_noise(grid.box(box), 3, "test", 6e-4), field[box], atol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_buds_have_the_wanted_volume_and_follow_a_direction(seed):
    grid = make_grid((6e-3, 6e-3), 8e-5)
    buds = make_buds(np.random.default_rng(seed), 1.6e-3, np.array([1.0, 0.0, 0.0]), 3.0)
    inside = np.argwhere(buds.distance(grid, (0.0, 0.0, 0.0)) < 0)
    assert len(inside) * grid.voxel_m**3 == pytest.approx(np.pi / 6 * 1.6e-3**3, rel=0.04)
    assert inside[:, 0].std() > 1.3 * max(inside[:, 1].std(), inside[:, 2].std())


def test_lopsided_trees_obey_their_own_law():
    points = np.random.default_rng(1).uniform(-1, 1, (4000, 3))
    tree = grow_tree(points, np.array([1.5, 0, 0]), share=0.25, exponent=2.6)
    first = np.flatnonzero(tree.parent == 0)
    assert len(first) == 2
    assert min(tree.leaves[first]) / sum(tree.leaves[first]) == pytest.approx(0.25, abs=0.02)
    radius = tree.radius_for(1.0)
    assert np.sum(radius[first] ** 2.6) == pytest.approx(radius[0] ** 2.6, rel=0.02)
