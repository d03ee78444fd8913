"""Planes in the animal's frame, and that handling moves points as it says."""

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.histology.plane import PLANES, Handling, Line, draw_handling, make_pose


@pytest.mark.parametrize("plane", PLANES)
def test_planes_run_along_the_frames_axes(plane):
    pose = make_pose(plane, at_m=2e-3)
    rows, cols, normal = PLANES[plane]
    place = pose.position_m(np.array([3e-3, 5e-3]))
    wanted = np.zeros(3)
    wanted[[rows, cols, normal]] = 3e-3, 5e-3, 2e-3
    np.testing.assert_allclose(place, wanted, atol=1e-15)


def test_tilt_leans_the_normal_by_its_angle():
    pose = make_pose("axial", tilt_rad=(0.2, 0.0), turn_rad=0.7)
    a, b = np.array(pose.rows_along), np.array(pose.cols_along)
    assert abs(a @ b) < 1e-12
    assert np.linalg.norm(a) == pytest.approx(1)
    normal = np.cross(a, b)
    assert abs(normal[0]) == pytest.approx(np.cos(0.2))


def test_shrinkage_and_compression_scale():
    handling = Handling(shrinkage=0.2, compression=0.1)
    source, torn = handling.source(np.array([[0.72e-3, 0.8e-3]]))
    np.testing.assert_allclose(source, [[1e-3, 1e-3]])
    assert not torn.any()


def test_a_tear_opens_and_the_rest_stays():
    tear = Line((0.0, 0.0), 0.0, 2e-3, 100e-6)  # along columns: opens across rows
    handling = Handling(tears=(tear,))
    rows = np.array([-5e-3, -51e-6, -49e-6, 0.0, 49e-6, 51e-6, 5e-3])
    source, torn = handling.source(np.stack([rows, np.zeros(7)], axis=-1))
    assert torn.tolist() == [False, False, True, True, True, False, False]
    assert abs(source[1, 0]) < 2e-6  # the edges were together
    np.testing.assert_allclose(source[[0, -1], 0], [-5e-3, 5e-3], atol=1e-8)
    inside = source[~torn, 0]
    assert (np.diff(inside) > 0).all()


def test_a_fold_hides_twice_its_width_and_lies_in_three_layers():
    fold = Line((0.0, 0.0), 0.0, 10e-3, 80e-6)
    handling = Handling(folds=(fold,))
    points = np.array([[-1e-3, 0.0], [40e-6, 0.0], [1e-3, 0.0]])
    source, _ = handling.source(points)
    np.testing.assert_allclose(source[:, 0], [-1e-3, 200e-6, 1e-3 + 160e-6], atol=1e-9)
    layers = handling.layers(points)
    assert [under.tolist() for under, _ in layers] == [[False, True, False]] * 2
    np.testing.assert_allclose([place[1, 0] for _, place in layers], [40e-6, 120e-6], atol=1e-9)


def test_drawing_is_the_same_for_a_seed_and_refuses_nonsense():
    wanted = {"extent_m": (8e-3, 6e-3), "tears": 2, "folds": 1}
    assert draw_handling(seed=3, **wanted) == draw_handling(seed=3, **wanted)
    assert draw_handling(seed=3, **wanted) != draw_handling(seed=4, **wanted)
    with pytest.raises(DarklungError, match="tears: wanted 0 to 50, got -1"):
        draw_handling(seed=3, extent_m=(8e-3, 6e-3), tears=-1)
    with pytest.raises(DarklungError, match=r"shrinkage: wanted 0 to 0\.5"):
        Handling(shrinkage=0.9)
    with pytest.raises(DarklungError, match="plane: 'oblique' is not known"):
        make_pose("oblique")
