"""The projector against closed forms, and against its own transpose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tomo_shapes import ellipsoid_integrals, ellipsoid_voxels, geometry, relative

from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.tomo.projector import Projector, project_columns, row_shares

CASES = {
    "half turn": (geometry(views=13, rows=5, cols=32), (5, 32, 32), 1e-3),
    "full turn, axis off": (geometry(views=14, arc=2 * np.pi, rows=3, cols=30, axis_col=11.3), (3, 27, 31), 1e-3),
    "fine voxels": (geometry(views=9, rows=3, cols=20), (11, 40, 36), 0.4e-3),
    "coarse voxels": (geometry(views=9, rows=8, cols=40, start=0.3), (3, 14, 16), 2.7e-3),
    "tall": (geometry(views=4, rows=130, cols=10), (130, 10, 10), 1e-3),
    "single view": (geometry(views=1, rows=4, cols=16, start=-2.0), (4, 16, 16), 1e-3),
}


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("case", CASES)
def test_adjoint_is_the_transpose(case, dtype, limit):
    g, shape, voxel = CASES[case]
    rng = np.random.default_rng(1)
    projector = Projector(g, shape, voxel)
    volume = rng.normal(size=shape).astype(dtype)
    projections = rng.normal(size=projector.projection_shape).astype(dtype)
    there = projector.forward(volume)
    back = projector.adjoint(projections)
    assert there.dtype == back.dtype == dtype
    left = np.vdot(there.astype(np.float64), projections.astype(np.float64))
    right = np.vdot(volume.astype(np.float64), back.astype(np.float64))
    size = np.linalg.norm(there.astype(np.float64)) * np.linalg.norm(projections.astype(np.float64))
    assert abs(left - right) / size <= limit


@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_ellipsoid_line_integrals(ratio):
    pixel = 1e-3
    g = geometry(views=6, rows=8, cols=256, pixel_m=pixel, axis_col=120.2, start=0.1)
    shape = (8, 256, 256) if ratio == 1 else (16, 500, 500)
    center, axes = (3.1e-3, -5.3e-3, 7.7e-3), (60e-3, 100e-3, 75e-3)
    volume = ellipsoid_voxels(shape, ratio * pixel, center, axes)
    found = Projector(g, shape, ratio * pixel).forward(volume)
    assert relative(found, ellipsoid_integrals(g, center, axes)) < 3e-3


def test_mass_is_kept_in_every_view():
    g = geometry(views=31, arc=2 * np.pi, rows=6, cols=64)
    volume = np.zeros((6, 32, 32))
    volume[1:5, 8:20, 10:30] = np.random.default_rng(2).random((4, 12, 20))
    mass = Projector(g, volume.shape, 1.2e-3).forward(volume).sum(axis=(1, 2)) * 1e-6
    assert np.allclose(mass, volume.sum() * 1.2e-3**3, rtol=1e-12)


@pytest.mark.parametrize("axis_col", [-1.0, 13.25])
@pytest.mark.parametrize("theta", [0.7, -0.7, 2.5, -2.5])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1)])
def test_a_point_lands_where_the_conventions_say(signs, theta, axis_col):
    g = ParallelGeometry(np.array([theta]), rows=9, cols=33, pixel_m=1e-3, axis_col=axis_col)
    z, y, x = np.array(signs) * (2, 3, 5)
    volume = np.zeros((9, 21, 21))
    volume[4 + z, 10 + y, 10 + x] = 1
    image = Projector(g, volume.shape, 1e-3).forward(volume)[0]
    row = (image.sum(1) * np.arange(9)).sum() / image.sum()
    col = (image.sum(0) * np.arange(33)).sum() / image.sum()
    assert row == pytest.approx(4 + z)
    assert col == pytest.approx(g.axis_col + x * np.cos(theta) + y * np.sin(theta), abs=0.05)


def test_threads_do_not_change_a_bit():
    g, shape, voxel = geometry(views=21, rows=70, cols=24), (70, 24, 24), 1e-3
    volume = np.random.default_rng(3).random(shape).astype(np.float32)
    one, three = Projector(g, shape, voxel, threads=1), Projector(g, shape, voxel, threads=3)
    projections = one.forward(volume)
    assert np.array_equal(projections, three.forward(volume))
    assert np.array_equal(one.adjoint(projections), three.adjoint(projections))


@settings(max_examples=25, deadline=None)
@given(a=st.floats(-3, 3), b=st.floats(-3, 3), seed=st.integers(0, 99))
def test_linear(a, b, seed):
    rng = np.random.default_rng(seed)
    g = geometry(views=5, rows=2, cols=12)
    projector = Projector(g, (2, 10, 12), 1e-3, threads=1)
    f, h = rng.normal(size=(2, 2, 10, 12))
    both = projector.forward(a * f + b * h)
    assert np.allclose(both, a * projector.forward(f) + b * projector.forward(h), atol=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_columns_equal_the_volume_that_holds_them(case):
    g, shape, voxel = CASES[case]
    rng = np.random.default_rng(4)
    columns = np.stack(np.unravel_index(rng.choice(shape[1] * shape[2], 40, replace=False), shape[1:]), axis=1)
    values = rng.random((40, shape[0]))
    volume = np.zeros(shape)
    volume[:, columns[:, 0], columns[:, 1]] = values.T
    wanted = Projector(g, shape, voxel).forward(volume)
    for view in (0, g.views - 1):
        found = project_columns(values, columns, shape, voxel, g, view)
        assert found.dtype == np.float32
        assert np.allclose(found, wanted[view], rtol=1e-5, atol=1e-9)


def test_no_columns_project_nothing():
    g = geometry(views=2, rows=3, cols=8)
    image = project_columns(np.zeros((0, 3)), np.zeros((0, 2), int), (3, 8, 8), 1e-3, g, 1)
    assert image.shape == (3, 8)
    assert not image.any()


def test_errors_name_what_is_wrong():
    g = geometry(views=2, rows=3, cols=8)
    with pytest.raises(DarklungError, match="volume: wanted axes"):
        Projector(g, (3, 8, 8), 1e-3).forward(np.zeros((3, 8, 9)))
    with pytest.raises(DarklungError, match="projections: wanted axes"):
        Projector(g, (3, 8, 8), 1e-3).adjoint(np.zeros((3, 3, 8)))
    with pytest.raises(DarklungError, match="voxel_m"):
        Projector(g, (3, 8, 8), 0.0)
    with pytest.raises(DarklungError, match="shape"):
        Projector(g, (3, 0, 8), 1e-3)
    with pytest.raises(DarklungError, match="columns_yx"):
        project_columns(np.zeros((1, 3)), np.array([[8, 0]]), (3, 8, 8), 1e-3, g, 0)
    with pytest.raises(DarklungError, match="view"):
        project_columns(np.zeros((1, 3)), np.array([[7, 0]]), (3, 8, 8), 1e-3, g, 2)


def test_thousands_of_rows_need_no_table_of_shares():
    g = geometry(views=1, rows=20000, cols=6)
    assert row_shares(g, 20000, 1e-3) is None  # a table would hold 3 GiB
    image = project_columns(np.ones((1, 20000), np.float32), np.array([[2, 2]]), (20000, 5, 5), 1e-3, g, 0)
    assert image.sum() == pytest.approx(20000 * 1e-3, rel=1e-5)
