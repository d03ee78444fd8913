"""The cone-beam projector and reconstruction against closed forms, their transpose and the parallel limit."""

from dataclasses import replace

import numpy as np
import pytest
from tomo_shapes import cone_ellipsoid_integrals, ellipsoid_voxels, geometry, relative

from darklung.core.checks import DarklungError
from darklung.core.geometry import ConeGeometry
from darklung.tomo.cone import ConeProjector
from darklung.tomo.fdk import fdk, fdk_variance, redundancy_weights
from darklung.tomo.iterative import cgls
from darklung.tomo.projector import Projector
from darklung.tomo.tilt import untilt

pytestmark = pytest.mark.slow(30)

PIXEL = 1e-3
CENTER = (3.1e-3, -5.3e-3, 7.7e-3)


def cone(*, views=9, arc=2 * np.pi, rows=12, cols=40, source_m=0.2, start=0.1, **kwargs):
    angles = start + np.arange(views) * arc / views
    return ConeGeometry(angles, rows, cols, PIXEL, source_m, **kwargs)


CASES = {
    "full turn": (cone(), (12, 32, 32), PIXEL),
    "detector moved": (cone(axis_col=11.3, axis_row=2.6), (12, 27, 31), PIXEL),
    "tilted": (cone(tilt_rad=0.1), (12, 20, 24), PIXEL),
    "fine voxels": (cone(rows=5, cols=20), (20, 40, 36), 0.4 * PIXEL),
    "coarse voxels": (cone(rows=30, cols=70), (5, 14, 16), 2.7 * PIXEL),
    "near source": (cone(source_m=0.03), (30, 30, 30), PIXEL),
}


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("level", [0.0, 3.3e-3])
@pytest.mark.parametrize("case", CASES)
def test_adjoint_is_the_transpose(case, level, dtype, limit):
    g, shape, voxel = CASES[case]
    rng = np.random.default_rng(1)
    projector = ConeProjector(g, shape, voxel, level_m=level)
    volume = rng.normal(size=shape).astype(dtype)
    projections = rng.normal(size=projector.projection_shape).astype(dtype)
    there, back = projector.forward(volume), projector.adjoint(projections)
    assert there.dtype == back.dtype == dtype
    left = np.vdot(there.astype(np.float64), projections.astype(np.float64))
    right = np.vdot(volume.astype(np.float64), back.astype(np.float64))
    size = np.linalg.norm(there.astype(np.float64)) * np.linalg.norm(projections.astype(np.float64))
    assert abs(left - right) / size <= limit


@pytest.mark.parametrize("options", [{}, {"tilt_rad": 0.03}, {"axis_col": 100.3, "axis_row": 20.2}])
def test_ellipsoid_line_integrals(options):
    g = cone(views=3, arc=0.9, rows=48, cols=256, source_m=0.6, **options)
    axes = (100e-3, 80e-3, 65e-3)
    volume = ellipsoid_voxels((70, 200, 200), PIXEL, CENTER, axes)
    found = ConeProjector(g, volume.shape, PIXEL).forward(volume)
    assert relative(found, cone_ellipsoid_integrals(g, CENTER, axes)) < 3e-3


def test_a_far_source_gives_the_parallel_beam():
    volume = np.random.default_rng(2).random((8, 24, 24))
    flat = geometry(views=7, rows=8, cols=36)
    far = ConeGeometry(flat.angles_rad, 8, 36, PIXEL, source_axis_m=1e5)
    wanted = Projector(flat, volume.shape, PIXEL).forward(volume)
    assert relative(ConeProjector(far, volume.shape, PIXEL).forward(volume), wanted) < 1e-5


@pytest.mark.parametrize("theta", [0.7, -2.5])
@pytest.mark.parametrize("tilt", [0.0, 0.05])
@pytest.mark.parametrize("level", [0, -3])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1)])
def test_a_point_lands_where_the_geometry_says(signs, level, theta, tilt):
    g = ConeGeometry(np.array([theta]), 33, 65, PIXEL, 0.04, axis_col=30.25, axis_row=15.5, tilt_rad=tilt)
    z, y, x = np.array(signs) * (4, 5, 7)
    volume = np.zeros((17, 25, 25))
    volume[8 + z, 12 + y, 12 + x] = 1
    image = ConeProjector(g, volume.shape, PIXEL, level_m=level * PIXEL).forward(volume)[0]
    z += level
    row = (image.sum(1) * np.arange(33)).sum() / image.sum()
    col = (image.sum(0) * np.arange(65)).sum() / image.sum()
    s, t = x * np.cos(theta) + y * np.sin(theta), y * np.cos(theta) - x * np.sin(theta)
    u, w = np.array([s, z]) * 40 / (40 + t)
    assert row == pytest.approx(15.5 + w * np.cos(tilt) - u * np.sin(tilt), abs=0.1)  # a box between pixels
    assert col == pytest.approx(30.25 + u * np.cos(tilt) + w * np.sin(tilt), abs=0.1)  # a box between pixels


def test_threads_do_not_change_a_bit():
    g, shape, voxel = CASES["full turn"]
    volume = np.random.default_rng(3).random(shape).astype(np.float32)
    one, three = ConeProjector(g, shape, voxel, threads=1), ConeProjector(g, shape, voxel, threads=3)
    projections = one.forward(volume)
    assert np.array_equal(projections, three.forward(volume))
    assert np.array_equal(one.adjoint(projections), three.adjoint(projections))


SCANS = {
    "full turn": cone(views=300, rows=32, cols=128, source_m=0.4),
    "short scan": cone(views=300, arc=1.35 * np.pi, rows=32, cols=128, source_m=0.4),
    "short scan, turning back": cone(views=300, arc=-1.35 * np.pi, rows=32, cols=128, source_m=0.4),
    "detector moved": cone(views=300, rows=32, cols=128, source_m=0.4, axis_col=40.0),
    "tilted": cone(views=300, rows=32, cols=128, source_m=0.4, tilt_rad=0.02),
}


@pytest.mark.parametrize("name", SCANS)
def test_fdk_gives_the_value_and_the_place(name):
    g, shape, axes = SCANS[name], (6, 100, 100), (15e-3, 30e-3, 40e-3)
    found = fdk(cone_ellipsoid_integrals(g, CENTER, axes, 2), g, shape=shape)
    inner = ellipsoid_voxels(shape, PIXEL, CENTER, tuple(0.85 * a for a in axes)) == 1
    near = ellipsoid_voxels(shape, PIXEL, CENTER, tuple(1.15 * a for a in axes)) > 0
    y, x = np.indices((100, 100)) - 49.5
    outside = ~near & (np.hypot(y, x) < 49)
    assert found[inner].mean() == pytest.approx(1, abs=2e-3)
    assert abs(found[inner] - 1).max() < 0.01
    assert abs(found[outside].mean()) < 2e-3
    assert found[outside].std() < 0.01


@pytest.mark.parametrize("arc", [1.35 * np.pi, -1.35 * np.pi, 1.9 * np.pi])
def test_weights_of_the_same_ray_sum_to_one(arc):
    g = cone(views=4001, arc=arc, cols=101, source_m=0.2)
    _, weights = redundancy_weights(g)
    turned = (g.angles_rad - g.angles_rad[0]) * np.sign(arc)
    fan = np.arctan((np.arange(101) - 50) * PIXEL / 0.2) * np.sign(arc)
    for col in (0, 20, 50, 93):
        for view in (10, 700, 2000):
            again = turned[view] + np.pi - 2 * fan[col]
            for other in (again, again - 2 * np.pi):
                if turned[0] <= other <= turned[-1]:
                    there = np.interp(other, turned, weights[:, 100 - col])
                    assert weights[view, col] + there == pytest.approx(1, abs=2e-3)


NOISY = {
    "full turn": cone(views=40, rows=12, cols=30),
    "short scan": cone(views=40, arc=1.35 * np.pi, rows=12, cols=30),
    "detector moved": cone(views=40, rows=12, cols=30, axis_col=8.0, axis_row=4.3),
}


@pytest.mark.parametrize("name", NOISY)
def test_variance_map_against_monte_carlo(name):
    rng, g, shape = np.random.default_rng(5), NOISY[name], (8, 20, 20)
    variance = rng.uniform(0.2, 3.0, (g.views, g.rows, g.cols))
    noise = [fdk(rng.normal(size=variance.shape) * np.sqrt(variance), g, shape=shape, filter="hann") for _ in range(300)]
    predicted = fdk_variance(variance, g, shape=shape, filter="hann")
    y, x = np.indices(shape[1:]) - 9.5
    seen = np.broadcast_to(np.hypot(y, x) < 10, shape)
    ratio = (np.var(noise, axis=0) / predicted)[seen]
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert np.percentile(abs(ratio - 1), 95) < 2.3 * np.sqrt(2 / 300)


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_variances_of_few_rows_are_true_in_each_row(rows):
    """Where nearly every voxel lies between an outermost row and nothing."""
    g, rng = cone(views=40, rows=rows, cols=24, source_m=0.3), np.random.default_rng(rows)
    noise = np.array([fdk(rng.standard_normal((g.views, rows, g.cols)), g) for _ in range(150)])
    inner = (..., slice(6, -6), slice(6, -6))
    ratio = noise[inner].var(axis=(0, 2, 3)) / fdk_variance(np.ones((g.views, rows, g.cols)), g)[inner].mean(axis=(1, 2))
    np.testing.assert_allclose(ratio, 1, atol=0.05)


def test_a_tilted_detector_turned_upright():
    tilted = cone(views=4, rows=48, cols=120, source_m=0.4, tilt_rad=0.05, axis_col=57.0, axis_row=22.0)
    found = untilt(cone_ellipsoid_integrals(tilted, CENTER, (16e-3, 30e-3, 40e-3)), tilt_rad=0.05, middle=(22.0, 57.0))
    wanted = cone_ellipsoid_integrals(replace(tilted, tilt_rad=0.0), CENTER, (16e-3, 30e-3, 40e-3))
    assert relative(found[:, 4:-4, 4:-4], wanted[:, 4:-4, 4:-4]) < 0.01  # sharp edges, interpolated


def test_iterations_work_with_a_cone_beam():
    g = cone(views=80, rows=8, cols=56, source_m=0.2)
    truth = ellipsoid_voxels((6, 32, 32), PIXEL, (0, 1e-3, 2e-3), (30e-3, 9e-3, 12e-3))
    projector = ConeProjector(g, truth.shape, PIXEL)
    found = cgls(projector, projector.forward(truth.astype(np.float32)), iterations=80, tolerance=1e-5).volume
    assert relative(found[2:4], truth[2:4]) < 0.05


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: cone(source_m=0.0), "source_axis_m"),
        (lambda: cone(tilt_rad=0.5), "tilt_rad"),
        (lambda: ConeProjector(cone(source_m=0.01), (4, 32, 32), PIXEL), "source_axis_m: wanted more than"),
        (lambda: fdk(np.zeros((9, 12, 40)), cone(arc=2.0)), "angles_rad: wanted a full turn"),
        (lambda: fdk(np.full((9, 12, 40), np.nan), cone()), "projections"),
        (lambda: redundancy_weights(cone(arc=1.5 * np.pi, views=60, axis_col=5.0)), "axis_col: a short scan"),
    ],
)
def test_impossible_geometry_is_told_in_one_line(make, words):
    with pytest.raises(DarklungError, match=words) as told:
        make()
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("views", [30, 31, 29])
def test_the_end_of_a_turn_may_be_there_twice_or_not_at_all(views):
    whole, g = cone(views=30, rows=4, cols=32), cone(views=views, arc=views * 2 * np.pi / 30, rows=4, cols=32)
    _, weights = redundancy_weights(g)
    assert weights.sum(axis=0) == pytest.approx(redundancy_weights(whole)[1].sum(axis=0))
    y, x = np.indices((32, 32)) - 15.5
    disc = np.broadcast_to((np.hypot(y, x) < 10).astype(np.float32), (4, 32, 32))
    found = fdk(ConeProjector(g, disc.shape, PIXEL).forward(disc), g)
    assert found[1:3, np.hypot(y, x) < 7].mean() == pytest.approx(1, abs=1e-3)
