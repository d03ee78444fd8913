"""Directional reconstruction: algebra, what is invisible, and fibres simulated with another model than the one inverted."""

import numpy as np
import pytest
from matplotlib.colors import hsv_to_rgb
from tomo_shapes import geometry

from darklung.core.checks import DarklungError
from darklung.core.geometry import ConeGeometry, centred_axis
from darklung.physics.scattering import ellipsoidal, shape_tensor
from darklung.tomo.cone import ConeProjector
from darklung.tomo.projector import Projector, project_columns
from darklung.tomo.tensor import (
    COMPONENTS,
    Prior,
    TensorProjector,
    component,
    derived_images,
    identifiability,
    identifiable_share,
    orientation_rgb,
    reconstruct_tensor,
    tensor_weights,
)

THREE = np.array([0.0, np.pi / 4, np.pi / 2])


def operator(directions, *, views=60, size=40, rows=1, arc=2 * np.pi):
    g = geometry(views=views, arc=arc, rows=rows, cols=size + 8)
    return TensorProjector(Projector(g, (rows, size, size), 1e-3), np.asarray(directions))


def test_weights_are_the_quadratic_form():
    rng = np.random.default_rng(1)
    g = geometry(views=7, arc=2 * np.pi, start=0.3)
    full = rng.normal(size=(3, 3))
    full += full.T
    six = np.array([full[0, 0], full[1, 1], full[2, 2], full[0, 1], full[0, 2], full[1, 2]])
    for alpha, a in zip(THREE, tensor_weights(g, THREE)):
        u = g.sensitivity(alpha)
        assert np.allclose(a @ six, np.einsum("vi,ij,vj->v", u, full, u))


def test_adjoint_is_the_transpose():
    rng = np.random.default_rng(2)
    op = operator([0.2, 1.1, -0.6], size=15, rows=3)
    tensor, data = rng.normal(size=op.shape), rng.normal(size=op.projection_shape)
    left, right = np.vdot(op.forward(tensor), data), np.vdot(tensor, op.adjoint(data))
    assert left == pytest.approx(right, abs=1e-5 * np.linalg.norm(op.forward(tensor)) * np.linalg.norm(data))


def test_axial_component_in_a_cone_beam():
    """Gratings are flat, so that u is the same for all rays of a view; α = 0 sees E_zz alone."""
    g = ConeGeometry(np.arange(60) * np.pi / 30, 6, 30, 1e-3, 0.15)
    op = TensorProjector(ConeProjector(g, (4, 24, 24), 1e-3), np.array([0.0, np.pi / 2]))
    rng = np.random.default_rng(4)
    tensor, data = rng.normal(size=op.shape), rng.normal(size=op.projection_shape)
    left, right = np.vdot(op.forward(tensor), data), np.vdot(tensor, op.adjoint(data))
    assert left == pytest.approx(right, abs=1e-5 * np.linalg.norm(op.forward(tensor)) * np.linalg.norm(data))
    truth = np.zeros(op.shape)
    truth[:3, :, 6:18, 8:20] = np.array([3.0, 2.0, 2.0])[:, None, None, None]
    found = reconstruct_tensor(op, op.forward(truth), prior=Prior(smoothness=1e-3, isotropy=1e-3))
    assert component(found, "zz")[1:-1, 8:16, 10:18].mean() == pytest.approx(3, rel=0.02)


def test_a_field_that_no_view_sees():
    """R sym(∇v) Rᵀ with R a quarter turn: its line integrals are ∫ d(v·n) = 0, so one axis cannot see it."""
    op = operator([np.pi / 2])
    y, x = np.meshgrid(*(centred_axis(40, 1.0),) * 2, indexing="ij")
    bump = np.exp(-((x - 2) ** 2 + (y + 3) ** 2) / (2 * 5**2))
    by, bx = -(y + 3) / 25 * bump, -(x - 2) / 25 * bump
    vx, vy = 1.0, -0.6  # v = bump · (vx, vy)
    hidden = np.zeros(op.shape)
    hidden[1, 0], hidden[2, 0], hidden[5, 0] = bx * vx, by * vy, -(by * vx + bx * vy) / 2
    plain = np.zeros(op.shape)
    plain[1, 0] = plain[2, 0] = np.sqrt((hidden[1] ** 2 + hidden[2] ** 2 + 2 * hidden[5] ** 2)[0] / 2)
    assert np.linalg.norm(op.forward(hidden)) < 5e-3 * np.linalg.norm(op.forward(plain))
    prior = Prior(smoothness=1e-3, isotropy=1e-3)
    found = reconstruct_tensor(op, op.forward(hidden + plain), prior=prior)
    again = reconstruct_tensor(op, op.forward(plain), prior=prior)
    assert np.linalg.norm(found - again) < 0.02 * np.linalg.norm(again)


def test_theory_of_what_one_axis_knows():
    g = geometry(views=180, arc=2 * np.pi)
    assert identifiable_share(g, [0.0]) == pytest.approx(dict.fromkeys(COMPONENTS, 0.0) | {"zz": 1.0}, abs=1e-9)
    three = identifiable_share(g, THREE)
    assert three == pytest.approx({"zz": 1, "yy": 3 / 8, "xx": 3 / 8, "zy": 1 / 2, "zx": 1 / 2, "yx": 1 / 4})
    assert sum(three.values()) == pytest.approx(3)
    assert sum(identifiable_share(g, [np.pi / 2]).values()) == pytest.approx(1)


def test_the_map_says_what_the_theory_says():
    op = operator(THREE, views=48, size=24)
    share = identifiable_share(op.projector.geometry, THREE)
    found = identifiability(op, prior=Prior(smoothness=1e-3, isotropy=1e-3), iterations=40)
    inner = found[:, 0, 5:-5, 5:-5].mean(axis=(1, 2))
    assert 0.65 < inner[0] <= 1  # the finest detail of even the axial component is damped by pixel and voxel
    assert inner / inner[0] == pytest.approx([share[c] for c in COMPONENTS], abs=0.08)
    blind = identifiability(operator([0.0], size=16), prior=Prior(smoothness=1e-3), probes=2)
    assert component(blind, "zz")[0, 4:-4, 4:-4].mean() > 0.7
    assert abs(blind[3:]).max() < 1e-6  # shear is not seen along the axis


@pytest.mark.parametrize("aspect", [1.2, 1.5])
def test_fibres_simulated_with_the_ellipsoidal_model(aspect):
    g = geometry(views=90, arc=2 * np.pi, rows=1, cols=60, pixel_m=1e-4)
    projector = Projector(g, (1, 50, 50), 1e-4)
    y, x = np.meshgrid(*(centred_axis(50, 1.0),) * 2, indexing="ij")
    angles = np.radians([20, 75, 140])
    rods = [np.hypot(y - cy, x - cx) < 9 for cy, cx in ((-11, -9), (9, -11), (2, 13))]
    data = np.zeros((3, 90, 1, 60), np.float32)
    axial = []
    for rod, angle in zip(rods, angles):
        shape = shape_tensor(20e-6, aspect, np.array([0, np.sin(angle), np.cos(angle)]))
        columns = np.argwhere(rod)
        for d, alpha in enumerate(THREE):
            epsilon = ellipsoidal(shape, 0.3, 4.9e-8, 70.0, 3e-6, g.beam(), g.sensitivity(alpha))
            axial += [epsilon.mean()] if d == 0 else []
            for v in range(g.views):
                values = np.full((len(columns), 1), epsilon[v])
                data[d, v] += project_columns(values, columns, projector.shape, 1e-4, g, v)
    prior = Prior(smoothness=0.3, isotropy=1e-4, mask=np.any(rods, axis=0)[None])
    found = reconstruct_tensor(TensorProjector(projector, THREE), data, prior=prior)
    images = derived_images(found)
    turn = [np.mod(images["in_plane_angle_rad"][0][r] - a + np.pi / 2, np.pi) - np.pi / 2 for r, a in zip(rods, angles)]
    assert np.degrees(np.median(np.abs(np.concatenate(turn)))) < 5
    for rod, wanted in zip(rods, axial):
        assert images["axial"][0][rod].mean() == pytest.approx(wanted, rel=0.03)
        assert np.median(images["in_plane_anisotropy"][0][rod]) > 0.1


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.0, 0.6, -0.8), (0.5, 0.5, np.sqrt(0.5))])
def test_derived_images_of_a_fibre(axis):
    n = np.array(axis, float)
    full = 2.0 * np.eye(3) - 1.5 * np.outer(n, n)  # scatters least along the fibre
    six = np.array([full[0, 0], full[1, 1], full[2, 2], full[0, 1], full[0, 2], full[1, 2]])
    images = derived_images(six.reshape(6, 1, 1, 1))
    assert abs(images["main_axis"].ravel() @ n) == pytest.approx(1, abs=1e-6)
    assert images["inclination_rad"].item() == pytest.approx(np.arccos(abs(n[0])), abs=1e-3)
    assert images["mean"].item() == pytest.approx(1.5)
    assert images["axial"].item() == pytest.approx(full[0, 0])
    assert images["anisotropy"].item() == pytest.approx(np.sqrt(1.5 * (2 * 0.5**2 + 1)) / np.sqrt(4 + 4 + 0.25))
    if np.hypot(n[1], n[2]) > 0:
        apart = images["in_plane_angle_rad"].item() - np.arctan2(n[1], n[2])
        assert np.sin(apart) == pytest.approx(0, abs=1e-6)


def test_orientation_colours():
    rng = np.random.default_rng(3)
    angle, saturation, strength = rng.uniform(0, 3, 50), rng.random(50), rng.random(50)
    wanted = hsv_to_rgb(np.stack([angle / np.pi, saturation, strength], axis=-1))
    assert np.allclose(orientation_rgb(angle, saturation, strength), wanted, atol=1e-6)


def test_errors_name_what_is_wrong():
    op = operator([0.0], size=8)
    with pytest.raises(DarklungError, match="tensor: wanted axes"):
        op.forward(np.zeros((5, 1, 8, 8)))
    with pytest.raises(DarklungError, match="projections: wanted axes"):
        reconstruct_tensor(op, np.zeros((2, *op.projection_shape[1:])))
    with pytest.raises(DarklungError, match="weights"):
        reconstruct_tensor(op, np.zeros(op.projection_shape), weights=np.zeros(op.projection_shape))
    with pytest.raises(DarklungError, match="mask: wanted axes"):
        reconstruct_tensor(op, np.ones(op.projection_shape), prior=Prior(mask=np.ones((1, 8, 9), bool)))
    with pytest.raises(DarklungError, match="smoothness"):
        Prior(smoothness=-1.0)
    with pytest.raises(DarklungError, match="component: 'xy' is not known; known: xx, yx, yy, zx, zy, zz"):
        component(np.zeros((6, 1, 1, 1)), "xy")
