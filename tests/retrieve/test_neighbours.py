"""Variances from the neighbourhood: honest pulls where the pixel's own variance cannot give them."""

import dataclasses

import numpy as np
import pytest
from retrieve_scans import curves, equidistant, make_scan
from scipy.ndimage import uniform_filter

from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.retrieve.neighbours import _mean_around, expected_square, noise_growth, views_are_near
from darklung.retrieve.stepping import retrieve, retrieve_blocks

SIZE = 200
THETA = equidistant(5)


def scan_of(counts, visibility, seed=0, dark_field=0.5):
    """One view of counts photons a curve; the flat, of the given visibility, is 30 times brighter."""
    rng = stream(seed, "neighbours", str(counts))
    flat_phase = rng.uniform(-np.pi, np.pi, (SIZE, SIZE))
    sample = rng.poisson(curves(THETA, counts / 5, visibility * np.exp(-dark_field), flat_phase + 1.0))
    flat = rng.poisson(curves(THETA, 30 * counts / 5, visibility, flat_phase))
    return make_scan(sample[None], flat[None], THETA)


@pytest.mark.parametrize(
    ("counts", "visibility"), [(30_000, 0.05), (5_000, 0.1), (1_000, 0.2), (5_000, 0.2), (1_000, 0.4), (1_000_000, 0.1)]
)
def test_pulls_have_mean_zero_and_deviation_one_by_default(counts, visibility):
    found = retrieve(scan_of(counts, visibility), dtype=np.float64)
    valid = found.valid
    assert valid.mean() > 0.95
    truth = {"attenuation": np.log(30), "phase": 1.0, "dark_field": 0.5}
    for name, true in truth.items():
        error = getattr(found, name) - true
        error = np.angle(np.exp(1j * error)) if name == "phase" else error
        pull = (error / np.sqrt(getattr(found, f"{name}_variance")))[valid]
        assert abs(pull.mean()) < 0.03, name
        assert 0.95 < pull.std() < 1.05, name


def test_the_values_are_those_of_the_pixels():
    scan = scan_of(5_000, 0.2)
    one, two = (retrieve(scan, variance=kind, dtype=np.float64) for kind in ("pixel", "neighbourhood"))
    for name in ("attenuation", "dark_field", "phase", "attenuation_variance", "visibility"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    assert two.dark_field_variance.std() < 0.3 * one.dark_field_variance.std()


def test_a_straight_edge_stays_where_it_is():
    """Lung beside no lung: the column next to the edge gets its own side's error, not that of a mixture."""
    dark_field = np.where(np.arange(SIZE) % 40 < 20, 0.0, 1.0)
    found = retrieve(scan_of(10_000, 0.2, dark_field=dark_field), dtype=np.float64)
    pull = ((found.dark_field - dark_field) / np.sqrt(found.dark_field_variance))[0, 0]
    columns = {beside: float(pull[:, beside::40].std()) for beside in (18, 19, 20, 21, 38, 39, 0, 1)}
    print("width of the pulls beside the edges:", {column: round(width, 2) for column, width in columns.items()})
    assert all(0.85 < width < 1.35 for width in columns.values())
    assert 0.95 < pull[:, 23:37].std() < 1.05


@pytest.mark.parametrize("strength", [10.0, 20.0, 100.0])
def test_growth_of_the_variances_equals_monte_carlo(strength):
    rng = stream(0, "growth")
    z = 1 + np.sqrt(2 / strength) * (rng.normal(size=400_000) + 1j * rng.normal(size=400_000))
    of_logarithm, of_phase = (float(v) for v in noise_growth(np.array(strength)))
    assert np.log(np.abs(z)).var() * strength / 2 == pytest.approx(of_logarithm, rel=0.015)
    assert np.angle(z).var() * strength / 2 == pytest.approx(of_phase, rel=0.015)


def test_the_median_is_that_of_the_other_pixels():
    square = stream(0, "median").uniform(0.5, 1, (20, 300))
    found = expected_square(np.sqrt(square), np.full(square.shape, 1e12))
    around = np.lib.stride_tricks.sliding_window_view(square, (5, 5)).reshape(16, 296, 25)
    wanted = np.median(np.delete(around, 12, axis=2), axis=2)
    np.testing.assert_allclose(found[2:-2, 2:-2], wanted, rtol=1e-5)
    line = expected_square(np.sqrt(square[:1]), np.full((1, 300), 1e12))
    around = np.lib.stride_tricks.sliding_window_view(square[0], 9)
    np.testing.assert_allclose(line[0, 4:-4], np.median(np.delete(around, 4, axis=1), axis=1), rtol=1e-5)


@pytest.mark.parametrize("shape", [(20, 300), (5, 5), (3, 40), (1, 2)])
def test_the_mean_around_a_pixel_is_that_of_scipy(shape):
    photons = stream(0, "mean around").uniform(10, 1000, shape)
    np.testing.assert_allclose(_mean_around(photons), uniform_filter(photons, 5, mode="nearest"), rtol=1e-6)


def test_pixels_without_modulation_take_no_part():
    visibility = np.full((9, 12), 0.2)
    visibility[4, 3:5] = 0.0
    np.testing.assert_allclose(expected_square(visibility, np.full((9, 12), 1e9)), 0.04, rtol=1e-5)
    assert expected_square(np.full((1, 3), 0.2), np.full((1, 3), 1e9)) == pytest.approx(0.04, rel=1e-5)


def test_bad_pixels_and_zingers_are_still_not_valid():
    scan = scan_of(30_000, 0.2)
    frames = np.array(scan.frames)
    frames[0, 0, 2, 7, 9] *= 3
    bad = np.zeros((SIZE, SIZE), bool)
    bad[20, 30] = True
    damaged = dataclasses.replace(scan, frames=frames, bad_pixels=bad)
    found = retrieve(damaged, most_misfit=15.0)
    assert not found.valid[0, 0, 7, 9]
    assert not found.valid[0, 0, 20, 30]
    assert found.valid.mean() > 0.99


def test_unknown_kind_is_told():
    with pytest.raises(DarklungError, match="variance: "):
        retrieve(scan_of(1_000, 0.4), variance="median")


def sinogram_of_one_row(views=90, cols=96, counts=20_000, seed=0):
    """Two lungs of a line detector, −ln D up to 1.3 and steep at their sides; the truth and a scan of it."""
    angles = np.arange(views) * np.pi / views
    s = np.arange(cols) - (cols - 1) / 2
    away = s[None] - np.outer(np.cos(angles), [-15.0, 17.0])[:, :, None].transpose(1, 0, 2)
    truth = 0.06 * np.sqrt(np.maximum(11.0**2 - away**2, 0)).sum(axis=0)
    rng = stream(seed, "one row")
    background = rng.uniform(-np.pi, np.pi, cols)
    sample = curves(THETA, counts / 5, 0.2 * np.exp(-truth), background)
    flat = rng.poisson(curves(THETA, 100 * counts / 5, 0.2, background))
    frames = rng.poisson(np.moveaxis(sample, 0, 1))[:, :, None]
    scan = make_scan(frames, flat[None, :, None], THETA)
    geometry = dataclasses.replace(scan.geometry, angles_rad=angles)
    return truth, dataclasses.replace(scan, geometry=geometry)


def test_views_are_the_neighbours_of_a_line_detector():
    """Columns alone reach from lung to heart: the errors of its flanks were too small by a seventh."""
    pulls, ratios = [], []
    for seed in range(4):
        truth, scan = sinogram_of_one_row(seed=seed)
        found = retrieve(scan, dtype=np.float64)
        lung = (truth > 0.2)[None, :, None]
        true = (2 / (0.2 * np.exp(-truth)) ** 2 - 1)[None, :, None] * found.attenuation_variance
        pulls.append(((found.dark_field - truth[None, :, None]) / np.sqrt(found.dark_field_variance))[lung])
        ratios.append(found.dark_field_variance[lung].mean() / true[lung].mean())
    assert 0.97 < np.std(pulls) < 1.03
    assert 0.97 < np.mean(ratios) < 1.05


def test_a_line_detectors_views_do_not_depend_on_the_block():
    _, scan = sinogram_of_one_row(views=20)
    whole = retrieve(scan)
    for part, block in retrieve_blocks(scan, views=3):
        np.testing.assert_array_equal(block.dark_field_variance, whole.dark_field_variance[:, part])
        np.testing.assert_array_equal(block.dark_field, whole.dark_field[:, part])


@pytest.mark.parametrize(
    ("angles", "rows", "near"),
    [
        (np.arange(120) * np.pi / 120, 1, True),
        (np.arange(120) * np.pi / 120, 5, False),
        (np.arange(20) * np.pi / 20, 1, False),
        (np.zeros(10), 4, True),
        (np.zeros(1), 1, False),
        (np.arange(400) * 2.39996, 1, False),
    ],
)
def test_views_count_as_neighbours_where_the_object_hardly_moves(angles, rows, near):
    assert views_are_near(angles, rows, 80) is near
