"""Filtered back-projection against closed forms and Monte Carlo."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tomo_shapes import (
    blob_integrals,
    blob_voxels,
    cone_ellipsoid_integrals,
    ellipsoid_integrals,
    ellipsoid_voxels,
    geometry,
    relative,
)

from darklung.core.checks import DarklungError
from darklung.core.geometry import ConeGeometry, ParallelGeometry
from darklung.tomo.fbp import fbp, fbp_gradient, fbp_variance, view_weights
from darklung.tomo.fdk import fdk

BLOBS = [(0.0, 12e-3, -8e-3, 4e-3, 2.0), (1e-3, -10e-3, 9e-3, 6e-3, 1.0), (-1e-3, 0.0, 0.0, 8e-3, -0.7)]


@pytest.mark.parametrize(
    "g",
    [
        geometry(views=180, rows=4, cols=96),
        geometry(views=181, arc=2 * np.pi, rows=4, cols=96, start=0.4),
        geometry(views=180, rows=4, cols=100, axis_col=45.3, start=-2.0),
        ParallelGeometry(np.linspace(0, np.pi, 181), 4, 96, 1e-3),
        ParallelGeometry(np.linspace(0, -2 * np.pi, 361), 4, 96, 1e-3),
    ],
    ids=["180", "360", "axis off", "180 with end point", "360 with end point, other sense"],
)
def test_gaussian_blobs_within_one_percent(g):
    shape = (4, 80, 80)
    found = fbp(blob_integrals(g, BLOBS), g, shape=shape)
    assert found.dtype == np.float32
    assert relative(found, blob_voxels(shape, 1e-3, BLOBS)) < 0.01


def test_voxels_of_another_size():
    g = geometry(views=180, rows=8, cols=96)
    for voxel, shape in ((0.5e-3, (16, 160, 160)), (2e-3, (4, 40, 40))):
        found = fbp(blob_integrals(g, BLOBS), g, shape=shape, voxel_m=voxel)
        assert relative(found, blob_voxels(shape, voxel, BLOBS)) < 0.05


def test_sharp_ellipses():
    g = geometry(views=360, rows=1, cols=256)
    parts = [((0, 0, 0), (1, 95e-3, 70e-3), 1.0), ((0, 20e-3, -30e-3), (1, 20e-3, 14e-3), -1.0)]
    line = sum(w * ellipsoid_integrals(g, c, a) for c, a, w in parts)
    truth = sum(w * ellipsoid_voxels((1, 256, 256), 1e-3, c, a, 8) for c, a, w in parts)
    seen = np.hypot(*np.meshgrid(np.arange(256) - 127.5, np.arange(256) - 127.5)) < 127
    error = (fbp(line, g) - truth)[0][seen]  # every view sees the disc
    assert np.sqrt(np.mean(error**2)) <= 0.03


@pytest.mark.parametrize("sign", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1)])
@pytest.mark.parametrize("sense", [1, -1])
def test_a_point_comes_back_to_its_place(sign, sense):
    g = ParallelGeometry(sense * np.arange(60) * np.pi / 60, 7, 41, 1e-3, axis_col=18.5)
    z, y, x = np.array(sign) * (1e-3, 4e-3, 7e-3)
    found = fbp(blob_integrals(g, [(z, y, x, 0.8e-3, 1.0)]), g, shape=(7, 31, 31))
    peak = np.unravel_index(found.argmax(), found.shape)
    assert tuple(int(i) for i in peak) == (3 + sign[0], 15 + 4 * sign[1], 15 + 7 * sign[2])


@pytest.mark.parametrize("filter", ["ramp", "shepp-logan", "hann"])
@pytest.mark.parametrize("cutoff", [1.0, 0.6])
def test_filters_keep_the_mean(filter, cutoff):
    g = geometry(views=120, rows=1, cols=64)
    blob = [(0.0, 0.0, 0.0, 9e-3, 3.0)]
    found = fbp(blob_integrals(g, blob), g, filter=filter, cutoff=cutoff)
    wanted = blob_voxels((1, 64, 64), 1e-3, blob)
    inner = (slice(None), slice(10, 54), slice(10, 54))
    assert found[inner].sum() == pytest.approx(wanted[inner].sum(), rel=0.01)


@pytest.mark.parametrize("beam", ["parallel", "cone"])
def test_an_object_wider_than_the_detector(beam):
    """Zeros beyond the detector lift the inside and its rim; edges that fade keep it level."""
    center, axes, shape = (0.0, 2e-3, -3e-3), (60e-3, 45e-3, 38e-3), (4, 40, 40)
    g = geometry(views=180, arc=2 * np.pi, rows=4, cols=48)
    if beam == "cone":
        g = ConeGeometry(g.angles_rad, 4, 48, 1e-3, source_axis_m=0.4)
        data, reconstruct = cone_ellipsoid_integrals(g, center, axes, 1), fdk
    else:
        data, reconstruct = ellipsoid_integrals(g, center, axes, 2), fbp
    y, x = np.indices((40, 40)) - 19.5
    inner = np.broadcast_to(np.hypot(y, x) < 19, shape)
    zero, edge = (reconstruct(data, g, shape=shape, padding=p)[inner] for p in ("zero", "edge"))
    assert zero.std() > 0.1
    assert edge.std() < 0.25 * zero.std()
    assert abs(edge.mean() - 1) < 0.3 * abs(zero.mean() - 1)
    with pytest.raises(DarklungError, match="padding: 'wrap' is not known; known: edge, zero"):
        reconstruct(data, g, shape=shape, padding="wrap")


def test_variance_map_against_monte_carlo():
    rng = np.random.default_rng(5)
    g = geometry(views=40, rows=256, cols=32, axis_col=14.3)
    variance = np.broadcast_to(rng.uniform(0.2, 3.0, (40, 1, 32)), (40, 256, 32))
    draws = fbp(rng.normal(size=variance.shape) * np.sqrt(variance), g, shape=(256, 24, 24), filter="hann", cutoff=0.9)
    predicted = fbp_variance(variance, g, shape=(256, 24, 24), filter="hann", cutoff=0.9)
    assert np.allclose(predicted, predicted[:1], rtol=1e-5)
    ratio = draws.var(axis=0) / predicted[0]
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert np.percentile(abs(ratio - 1), 95) < 2.3 * np.sqrt(2 / 256)


@pytest.mark.parametrize("arc", [np.pi, 2 * np.pi, -2 * np.pi])
def test_gradients_give_the_object_with_its_sign(arc):
    g = geometry(views=240, arc=arc, rows=4, cols=100, axis_col=47.4, start=0.2)
    step = 1e-6
    shifted = [
        blob_integrals(replace(g, axis_col=g.axis_col + sign * step / g.pixel_m), BLOBS) for sign in (-0.5, 0.5)
    ]  # an axis further to the left puts the object at larger s
    gradient = (shifted[0] - shifted[1]) / step
    assert relative(fbp_gradient(gradient, g, shape=(4, 80, 80)), blob_voxels((4, 80, 80), 1e-3, BLOBS)) < 0.02


@settings(max_examples=15, deadline=None)
@given(a=st.floats(-3, 3), b=st.floats(-3, 3), seed=st.integers(0, 99))
def test_linear(a, b, seed):
    g = geometry(views=8, rows=2, cols=12)
    p, q = np.random.default_rng(seed).normal(size=(2, 8, 2, 12))
    assert np.allclose(fbp(a * p + b * q, g), a * fbp(p, g) + b * fbp(q, g), atol=2e-3)


@settings(max_examples=40, deadline=None)
@given(views=st.integers(3, 400), start=st.floats(-7, 7), turns=st.sampled_from([1, 2, -1]))
def test_view_weights_share_half_a_turn(views, start, turns):
    weights = view_weights(start + np.arange(views) * turns * np.pi / views)
    assert weights.sum() == pytest.approx(np.pi)
    assert (weights >= 0).all()


def test_errors_name_what_is_wrong():
    g = geometry(views=16, rows=2, cols=12)
    p = np.zeros((16, 2, 12), np.float32)
    with pytest.raises(DarklungError, match="radiograph"):
        fbp(p[:1], ParallelGeometry(np.array([0.0]), 2, 12, 1e-3))
    with pytest.raises(DarklungError, match=r"gap of 9\d"):
        fbp(p, ParallelGeometry(np.linspace(0, np.pi / 2, 16), 2, 12, 1e-3))
    with pytest.raises(DarklungError, match="filter: 'cosine' is not known; known: hann, ramp, shepp-logan"):
        fbp(p, g, filter="cosine")
    with pytest.raises(DarklungError, match="cutoff"):
        fbp(p, g, cutoff=0.0)
    with pytest.raises(DarklungError, match="projections: wanted axes"):
        fbp(p[:, :1], g)
    bad = p.copy()
    bad[3, 1, 4] = np.nan
    with pytest.raises(DarklungError, match=r"1 of 384 values are not finite, the first at index \(3, 1, 4\)"):
        fbp(bad, g)
    with pytest.raises(DarklungError, match="variance"):
        fbp_variance(p - 1, g)
