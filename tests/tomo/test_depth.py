"""Dark field of a divergent beam: the correlation length, and with it ε, changes along the beam."""

from dataclasses import replace

import numpy as np
import pytest
from tomo_shapes import ellipsoid_voxels, geometry

from darklung.core.checks import DarklungError
from darklung.core.geometry import ConeGeometry, ParallelGeometry, centred_axis
from darklung.tomo.cone import ConeProjector
from darklung.tomo.depth import DepthProjector, depth_slope
from darklung.tomo.fbp import fbp
from darklung.tomo.iterative import cgls, pwls_tv
from darklung.tomo.projector import Projector

DISTANCE, EXPONENT, SIZE, VOXEL = 0.15, 1.8, 48, 5e-4


def lungs():
    shape = (1, SIZE, SIZE)
    return 90 * sum(ellipsoid_voxels(shape, VOXEL, (0, 0, x), (1, 6e-3, 4e-3)) for x in (-5e-3, 5e-3))


def scan(volume, g):
    """View by view with the full power of ξ(r), not its first order: a voxel further along the beam scatters less."""
    y, x = np.meshgrid(*(centred_axis(SIZE, VOXEL),) * 2, indexing="ij")
    views = []
    for n, angle in zip(g.beam(), g.angles_rad):
        seen = volume * (1 - (n[1] * y + n[2] * x) / DISTANCE) ** EXPONENT
        views.append(
            Projector(ParallelGeometry(np.array([angle]), g.rows, g.cols, g.pixel_m), volume.shape, VOXEL).forward(seen)
        )
    return np.concatenate(views)


def error(found, truth):
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


def test_transpose():
    rng = np.random.default_rng(2)
    g = geometry(views=9, arc=2 * np.pi, rows=2, cols=20, pixel_m=VOXEL)
    operator = DepthProjector(Projector(g, (2, 16, 18), VOXEL), -9.0)
    x, p = rng.normal(size=operator.shape), rng.normal(size=operator.projection_shape)
    assert np.vdot(operator.forward(x), p) == pytest.approx(np.vdot(x, operator.adjoint(p)), rel=1e-5)


def short_scan():
    return ConeGeometry(np.arange(70) * np.radians(215) / 70, 3, 56, VOXEL, 0.12)


def test_transpose_in_a_cone_beam():
    rng = np.random.default_rng(3)
    operator = DepthProjector(ConeProjector(short_scan(), (3, 16, 18), VOXEL), -9.0)
    x, p = rng.normal(size=operator.shape), rng.normal(size=operator.projection_shape)
    assert np.vdot(operator.forward(x), p) == pytest.approx(np.vdot(x, operator.adjoint(p)), rel=1e-5)


def test_short_scan_of_a_cone_beam_with_and_without_the_correction():
    """Gratings are flat, so that ξ depends on the depth along the central ray for every ray."""
    truth, g, slope = np.repeat(lungs(), 3, axis=0), short_scan(), depth_slope(exponent=EXPONENT, distance_m=DISTANCE)
    plain = ConeProjector(g, truth.shape, VOXEL)
    y, x = np.meshgrid(*(centred_axis(SIZE, VOXEL),) * 2, indexing="ij")
    views = [
        replace(plain, geometry=replace(g, angles_rad=np.array([a]))).forward(
            truth * (1 - (y * np.cos(a) - x * np.sin(a)) / DISTANCE) ** EXPONENT
        )
        for a in g.angles_rad
    ]
    data = np.concatenate(views)
    ideal = cgls(plain, plain.forward(truth), iterations=40).volume
    found = [cgls(p, data, iterations=40).volume for p in (plain, DepthProjector(plain, slope))]
    off, corrected = (error(f, ideal) for f in found)
    assert off > 0.02, "nothing to correct"
    assert corrected < 0.25 * off


def test_half_turn_with_and_without_the_correction():
    truth = lungs()
    g = geometry(views=60, rows=1, cols=SIZE, pixel_m=VOXEL)
    data = scan(truth, g)
    slope = depth_slope(exponent=EXPONENT, distance_m=DISTANCE)
    plain = cgls(Projector(g, truth.shape, VOXEL), data, iterations=60)
    corrected = cgls(DepthProjector(Projector(g, truth.shape, VOXEL), slope), data, iterations=60)
    ideal = cgls(Projector(g, truth.shape, VOXEL), Projector(g, truth.shape, VOXEL).forward(truth), iterations=60)
    assert error(plain.volume, ideal.volume) > 0.03, "nothing to correct"
    assert error(corrected.volume, ideal.volume) < 0.2 * error(plain.volume, ideal.volume)


def test_a_full_turn_averages_it_out():
    truth = lungs()
    half, full = (geometry(views=v, arc=a, rows=1, cols=SIZE, pixel_m=VOXEL) for v, a in ((60, np.pi), (120, 2 * np.pi)))
    ideal = fbp(Projector(full, truth.shape, VOXEL).forward(truth), full)
    assert error(fbp(scan(truth, full), full), ideal) < 0.2 * error(fbp(scan(truth, half), half), ideal)


def test_total_variation_takes_it_too():
    truth = lungs()
    g = geometry(views=40, rows=1, cols=SIZE, pixel_m=VOXEL)
    slopes = [depth_slope(exponent=e, distance_m=DISTANCE) for e in (0, EXPONENT)]
    plain, tilted = (DepthProjector(Projector(g, truth.shape, VOXEL), slope) for slope in slopes)
    weights = np.full(plain.projection_shape, 1e4, np.float32)

    def solve(operator, data):
        start = fbp(data, g)
        return pwls_tv(operator, data, weights=weights, strength=0.1, subsets=4, iterations=20, start=start).volume

    ideal = solve(plain, plain.forward(truth))
    assert error(solve(tilted, scan(truth, g)), ideal) < 0.5 * error(solve(plain, scan(truth, g)), ideal)


def test_a_slope_too_steep_for_first_order_is_refused():
    with pytest.raises(DarklungError, match="slope_per_m: first order holds"):
        DepthProjector(Projector(geometry(), (1, 64, 64), 1e-3), -20.0)
    with pytest.raises(DarklungError, match="distance_m"):
        depth_slope(exponent=2, distance_m=0)
