"""Features of voxels: known values on blobs and ramps, nothing from beyond the region, no axis preferred."""

import numpy as np
import pytest

from darklung.learn.filters import depth_mm, features_of, voxel_features

SPACING, SCALE = 3e-4, 6e-4
SHAPE = (15, 16, 17)


def column(features, name, channels=("a",), scales=(SCALE,)):
    names = [f.name for f in features_of(channels, scales)]
    return features[:, names.index(name)]


def found(data, region=None, lung=None, scales=(SCALE,), spacing=(SPACING,) * 3):
    region = np.ones(data.shape[1:], bool) if region is None else region
    lung = region if lung is None else lung
    return voxel_features(data=data, region=region, lung=lung, spacing_m=spacing, scales_m=scales)


def test_a_ramp_has_its_slope_and_no_curvature():
    ramp = (0.5 * np.indices((41, 41, 41))[1])[None].astype(np.float32)
    out = found(ramp)
    middle = np.ravel_multi_index((20, 20, 20), (41,) * 3)
    assert column(out, "a: value")[middle] == 10
    assert column(out, "a: smooth, 0.6 mm")[middle] == pytest.approx(10, abs=1e-4)
    assert column(out, "a: gradient, 0.6 mm")[middle] == pytest.approx(0.5 * SCALE / SPACING, rel=1e-4)
    assert column(out, "a: laplacian, 0.6 mm")[middle] == pytest.approx(0, abs=1e-4)


def test_a_bright_ball_is_where_the_laplacian_is_least():
    grid = np.indices((31, 31, 31))
    ball = (((grid - 15) ** 2).sum(axis=0) < 12)[None].astype(np.float32)
    laplacian = column(found(ball), "a: laplacian, 0.6 mm")
    assert np.unravel_index(laplacian.argmin(), (31,) * 3) == (15, 15, 15)


@pytest.mark.parametrize("turn", [lambda a: np.flip(a, -1), lambda a: np.flip(a, -3), lambda a: np.rot90(a, 1, (-3, -1))])
def test_mirrored_and_turned_images_have_the_same_features(turn):
    rng = np.random.default_rng(1)
    data = rng.normal(size=(2, *SHAPE)).astype(np.float32)
    region = rng.random(SHAPE) < 0.7
    lung = region & (np.indices(SHAPE)[0] > 3)
    numbers = np.zeros(SHAPE, int)
    numbers[region] = np.arange(region.sum())
    turned = [np.ascontiguousarray(turn(a)) for a in (data, region, lung)]
    out = found(turned[0], turned[1], turned[2])
    wanted = found(data, region, lung)[turn(numbers)[turned[1]]]
    np.testing.assert_allclose(out, wanted, atol=2e-5)


def test_what_lies_beyond_the_region_does_not_enter():
    rng = np.random.default_rng(2)
    data = rng.normal(size=(1, *SHAPE)).astype(np.float32)
    region = np.indices(SHAPE)[2] < 9
    other = np.where(region, data, 1e3).astype(np.float32)
    np.testing.assert_array_equal(found(data, region), found(other, region))


def test_a_constant_is_its_own_mean_at_the_regions_border():
    region = np.indices(SHAPE)[1] < 6
    out = found(np.full((1, *SHAPE), 3, np.float32), region, scales=(1e-6, SCALE))
    for scale in ("0.001", "0.6"):
        np.testing.assert_allclose(column(out, f"a: smooth, {scale} mm", scales=(1e-6, SCALE)), 3, rtol=1e-5)
        np.testing.assert_allclose(column(out, f"a: gradient, {scale} mm", scales=(1e-6, SCALE)), 0, atol=1e-4)


def test_depth_is_the_distance_to_the_lungs_surface():
    lung = np.indices((9, 20))[1] >= 10
    depth = depth_mm(lung, (1e-3, 5e-4))
    np.testing.assert_allclose(depth[4], 0.5 * np.concatenate([-np.arange(10, 0, -1), np.arange(1, 11)]))
    assert not depth_mm(np.ones((3, 3), bool), (1e-3, 1e-3)).any()


def test_every_column_has_its_feature():
    data = np.zeros((3, *SHAPE), np.float32)
    assert found(data, scales=(2e-4, SCALE)).shape == (np.prod(SHAPE), len(features_of("abc", (2e-4, SCALE)))) == (4080, 22)
