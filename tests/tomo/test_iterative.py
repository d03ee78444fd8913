"""Iterative reconstruction against dense algebra, optimality conditions and noise."""

import numpy as np
import pytest
from scipy.optimize import minimize
from tomo_shapes import ellipsoid_voxels, geometry

from darklung.core.checks import DarklungError
from darklung.tomo.fbp import fbp
from darklung.tomo.iterative import cgls, inverse_variance, largest_singular_value, pwls_tv
from darklung.tomo.projector import Projector
from darklung.tomo.total_variation import denoise, total_variation


def small(views=12, rows=2, size=7, seed=0):
    g = geometry(views=views, rows=rows, cols=size + 2, pixel_m=1.0)
    projector = Projector(g, (rows, size, size), 1.0)
    columns = [projector.forward(e.reshape(projector.shape)).ravel() for e in np.eye(rows * size * size)]
    return projector, np.stack(columns, axis=1), np.random.default_rng(seed)


def test_cgls_equals_dense_least_squares():
    projector, matrix, rng = small()
    data = rng.normal(size=projector.projection_shape)
    weights = rng.uniform(0.5, 2, size=data.shape).astype(np.float32)
    root = np.sqrt(weights.ravel())
    wanted = np.linalg.lstsq(root[:, None] * matrix, root * data.ravel(), rcond=None)[0]
    heavy = cgls(projector, data, weights=weights * 1e3, iterations=400, tolerance=1e-7)  # too heavy to stop at the noise
    found = root * (matrix @ heavy.volume.ravel() - data.ravel())
    best = root * (matrix @ wanted - data.ravel())
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(best), rel=1e-4)
    assert cgls(projector, data, weights=weights * 1e-3).stopped == "noise"


def test_cgls_recovers_what_made_the_data_and_reports():
    g = geometry(views=60, rows=2, cols=40)
    truth = ellipsoid_voxels((2, 32, 32), 1e-3, (0, 2e-3, -3e-3), (9e-3, 11e-3, 8e-3))
    projector = Projector(g, truth.shape, 1e-3)
    seen = []
    found = cgls(projector, projector.forward(truth), iterations=400, tolerance=3e-6, progress=lambda i, chi: seen.append(i))
    assert found.stopped == "converged"
    assert seen == list(range(len(found.chi_square)))
    assert np.linalg.norm(found.volume - truth) < 0.02 * np.linalg.norm(truth)


@pytest.mark.parametrize("method", ["cgls", "tv"])
def test_invalid_pixels_are_not_looked_at(method):
    projector, _, rng = small()
    data = rng.random(projector.projection_shape)
    valid = rng.random(data.shape) > 0.2
    variance = np.where(valid, 0.3, np.nan)
    spoiled = np.where(valid, data, np.inf)
    weights = inverse_variance(variance, valid)
    if method == "cgls":
        one, two = (cgls(projector, p, weights=weights, iterations=5) for p in (data, spoiled))
    else:
        one, two = (pwls_tv(projector, p, weights=weights, strength=0.1, iterations=3) for p in (data, spoiled))
    assert np.array_equal(one.volume, two.volume)


def test_norm():
    projector, matrix, _ = small()
    assert largest_singular_value(projector) == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-3)


def test_denoising_closes_the_duality_gap():
    rng = np.random.default_rng(6)
    noisy = rng.normal(size=(3, 8, 9)).astype(np.float32)
    metric = rng.uniform(0.5, 20, noisy.shape).astype(np.float32)
    x, q = denoise(noisy, metric, 0.7, iterations=800)
    pull = metric * (x - noisy)  # −∇ᵀq
    primal = 0.5 * np.sum(metric * (x - noisy) ** 2) + 0.7 * total_variation(x)
    dual = -0.5 * np.sum(pull**2 / metric) - np.sum(pull * noisy)
    assert np.sqrt((q**2).sum(0)).max() <= 0.7 * (1 + 1e-5)
    assert primal - dual == pytest.approx(0, abs=2e-4 * float(primal))
    assert x.sum() != pytest.approx(noisy.sum(), rel=1e-6)  # the metric, not the plain sum, is kept
    assert (metric * x).sum() == pytest.approx((metric * noisy).sum(), abs=1e-2)


@pytest.mark.parametrize("subsets", [1, 3, 12])
def test_pwls_tv_finds_the_minimum(subsets):
    projector, matrix, rng = small(rows=1, size=6)
    data = matrix @ rng.random(36)
    weights = rng.uniform(0.5, 2, data.size)
    strength, smooth = 2.0, 1e-6

    def cost(x):
        image = x.reshape(6, 6)
        dy, dx = (np.diff(image, axis=a, append=np.take(image, [-1], axis=a)) for a in (0, 1))
        size = np.sqrt(dy**2 + dx**2 + smooth)
        gradient = np.zeros((6, 6))
        for axis, d in ((0, dy / size), (1, dx / size)):
            gradient -= d
            gradient += np.roll(d, 1, axis)  # the last difference is zero, so nothing wraps round
        miss = matrix @ x - data
        value = 0.5 * np.sum(weights * miss**2) + strength * (size - np.sqrt(smooth)).sum()
        return value, matrix.T @ (weights * miss) + strength * gradient.ravel()

    best = minimize(cost, np.zeros(36), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-14}).fun
    shape = projector.projection_shape
    found = pwls_tv(
        projector,
        data.reshape(shape),
        weights=weights.reshape(shape).astype(np.float32),
        strength=strength,
        iterations=300,
        subsets=subsets,
        tolerance=1e-7,
    )
    excess = cost(found.volume.ravel().astype(float))[0] / best - 1
    assert excess < 1e-3  # twelve subsets of one view each would diverge if they were not merged in time


def test_subsets_are_faster_and_safe():
    rng = np.random.default_rng(8)
    g = geometry(views=60, rows=1, cols=40)
    truth = ellipsoid_voxels((1, 32, 32), 1e-3, (0, 2e-3, 0), (1, 12e-3, 9e-3)) * 20
    projector = Projector(g, truth.shape, 1e-3)
    data = projector.forward(truth) + 0.02 * rng.normal(size=projector.projection_shape)
    weights = np.full(data.shape, 0.02**-2, np.float32)

    def objective(subsets, passes):
        found = pwls_tv(
            projector, data, weights=weights, strength=0.5, subsets=subsets, iterations=passes, tolerance=0
        ).volume
        return 0.5 * np.sum(weights * (projector.forward(found) - data) ** 2.0) + 0.5 * total_variation(found)

    best = objective(1, 300)
    one, six, sixty = (objective(subsets, 8) / best - 1 for subsets in (1, 6, 60))
    assert six < 0.2 * one
    assert sixty < one
    assert objective(60, 100) / best - 1 < 5e-3


def test_pwls_tv_beats_filtered_back_projection_on_noisy_pieces():
    rng = np.random.default_rng(7)
    g = geometry(views=60, rows=3, cols=48)
    truth = ellipsoid_voxels((3, 40, 40), 1e-3, (0, 0, 0), (1, 16e-3, 13e-3)) * 20
    truth -= ellipsoid_voxels((3, 40, 40), 1e-3, (0, 3e-3, 4e-3), (1, 5e-3, 5e-3)) * 10
    projector = Projector(g, truth.shape, 1e-3)
    variance = rng.uniform(0.5, 2, size=projector.projection_shape) * 0.03**2
    data = projector.forward(truth) + rng.normal(size=variance.shape) * np.sqrt(variance)
    plain = fbp(data, g, shape=truth.shape)
    found = pwls_tv(projector, data, weights=inverse_variance(variance), strength=0.5, start=plain, subsets=5, iterations=15)
    error = [np.sqrt(np.mean((v - truth) ** 2)) for v in (plain, found.volume)]
    assert error[1] < 0.5 * error[0]
    assert 0.5 < found.chi_square[-1] < 1.3
    inverse = pwls_tv(projector, -data, weights=inverse_variance(variance), strength=0.5, iterations=2)
    assert np.median(inverse.volume[truth > 15]) < -10  # nothing is clipped unless asked for
    physical = pwls_tv(projector, data, weights=inverse_variance(variance), strength=0.5, nonnegative=True, iterations=3)
    assert (physical.volume >= 0).all()


def test_errors_name_what_is_wrong():
    projector, _, _ = small()
    data = np.zeros(projector.projection_shape, np.float32)
    with pytest.raises(DarklungError, match="projections: wanted axes"):
        cgls(projector, data[:3])
    with pytest.raises(DarklungError, match="variance: wanted numbers > 0 where valid, got 216 others"):
        inverse_variance(data)
    with pytest.raises(DarklungError, match="weights: wanted numbers >= 0"):
        cgls(projector, data, weights=data - 1)
    with pytest.raises(DarklungError, match="weights: pixels that count"):
        cgls(projector, data, weights=data)
    with pytest.raises(DarklungError, match="subsets: wanted 1 to 12"):
        pwls_tv(projector, data, weights=data + 1, strength=1.0, subsets=13)
    with pytest.raises(DarklungError, match="strength"):
        pwls_tv(projector, data, weights=data + 1, strength=-1.0)
    with pytest.raises(DarklungError, match="start: wanted axes"):
        cgls(projector, data, start=np.zeros((2, 7, 8)))
