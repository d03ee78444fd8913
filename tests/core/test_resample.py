"""Other grids: analytic fields, extents, what is missing, and fine texture that must not alias."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from darklung.core.checks import DarklungError
from darklung.core.resample import resample
from darklung.core.types import Image

TURN = Rotation.from_euler("zyx", [25, -10, 5], degrees=True).as_matrix().tolist()


def positions(image):
    index = np.indices(image.shape).reshape(len(image.shape), -1).T
    return np.asarray(image.origin_m) + (index * image.spacing_m) @ np.asarray(image.direction).T


def linear_field(image):
    return (3 + positions(image) @ [100.0, -200.0, 300.0]).reshape(1, *image.shape)


def grid(shape=(20, 22, 24), spacing=(1e-4,) * 3, **how):
    return Image(np.zeros((1, *shape), np.float32), ("a",), ("1/m",), spacing, **how)


@pytest.mark.parametrize("direction", [(), TURN])
@pytest.mark.parametrize("spacing", [(5e-5, 1e-4, 2e-4), (1e-4,) * 3, (2.5e-4, 3e-4, 1.7e-4)])
def test_a_linear_field_stays_itself(direction, spacing):
    image = grid(direction=direction)
    image = image.with_data(linear_field(image))
    new = resample(image, spacing_m=spacing)
    inner = tuple(slice(2, -2) for _ in new.shape)
    np.testing.assert_allclose(new.data[0][inner], linear_field(new)[0][inner], rtol=1e-4)
    assert (new.names, new.units, new.frame, new.direction) == (image.names, image.units, image.frame, image.direction)
    for n, s, old, d in zip(new.shape, new.spacing_m, image.shape, image.spacing_m):
        assert abs(n * s - old * d) <= s / 2  # the same extent to half a voxel
    middle = [image.position_m([(n - 1) / 2 for n in image.shape]), new.position_m([(n - 1) / 2 for n in new.shape])]
    np.testing.assert_allclose(*middle, atol=1e-12)


def test_onto_a_turned_grid():
    image = grid()
    image = image.with_data(linear_field(image))
    like = grid((11, 12, 13), (1.3e-4, 0.9e-4, 1.1e-4), direction=TURN, origin_m=(-5e-4, -4e-4, -6e-4))
    new = resample(image, like=like)
    assert new.same_grid(like)
    inside = np.all([(np.abs(p) < 8e-4) for p in positions(like).T], axis=0).reshape(like.shape)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(new.data[0][inside], linear_field(like)[0][inside], rtol=1e-4)


def test_the_own_grid_changes_nothing():
    image = grid().with_data(np.random.default_rng(1).normal(size=(1, 20, 22, 24)).astype(np.float32))
    np.testing.assert_allclose(resample(image, like=image).data, image.data, atol=1e-6)
    two = Image(image.data[:, 0], ("a",), ("1",), (1e-4, 1e-4))
    np.testing.assert_allclose(resample(two, spacing_m=(1e-4, 1e-4)).data, two.data, atol=1e-6)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_what_is_too_fine_is_averaged_and_not_aliased(factor):
    x = np.arange(240)
    fine, coarse = np.cos(2 * np.pi * x / 2.1), np.cos(2 * np.pi * x / 60)
    image = Image(np.broadcast_to((fine + coarse).astype(np.float32), (1, 8, 240)), ("a",), ("1",), (1e-4 * factor, 1e-4))
    new = resample(image, spacing_m=(1e-4 * factor, 1e-4 * factor))
    row = new.data[0, 4, 4:-4]
    place = (np.asarray([new.position_m([0, k])[1] for k in range(new.shape[1])]) - image.origin_m[1])[4:-4] / 1e-4
    wanted = np.cos(2 * np.pi * place / 60)
    sigma = np.sqrt((factor**2 - 1) / 12)
    left = np.exp(-2 * (np.pi * sigma / 2.1) ** 2)  # of the fine wave, analytically
    assert np.abs(row - wanted).max() < left + 0.05
    assert np.abs(image.data[0, 4, ::factor][4:-4] - np.cos(2 * np.pi * x / 60)[::factor][4:-4]).max() > 0.9


def test_the_sum_is_kept_by_coarser_voxels():
    data = np.zeros((1, 24, 24, 24), np.float32)
    data[0, 10:14, 9:15, 11:13] = 5
    image = grid((24,) * 3).with_data(data)
    new = resample(image, spacing_m=(2e-4,) * 3)
    assert new.data.sum() * 8 == pytest.approx(data.sum(), rel=0.01)


def test_missing_voxels_count_nowhere():
    data = np.full((1, 12, 12, 12), 7.0, np.float32)
    data[0, :4] = np.nan
    image = grid((12,) * 3).with_data(data)
    new = resample(image, spacing_m=(2e-4,) * 3)
    assert np.isnan(new.data[0, :2]).all()
    np.testing.assert_allclose(new.data[0, 2:], 7, rtol=1e-5)
    larger = resample(image, like=grid((16,) * 3))
    assert np.isnan(larger.data[0, -2:]).all()
    np.testing.assert_allclose(larger.data[0, 7:14, 2:14, 2:14], 7, rtol=1e-5)


def test_labels_keep_their_type_and_values():
    data = np.zeros((1, 12, 12, 12), np.uint16)
    data[0, 4:8, 4:8, 4:8] = 300
    image = grid((12,) * 3).with_data(data)
    finer = resample(image, spacing_m=(5e-5,) * 3, method="nearest")
    assert finer.data.dtype == np.uint16
    np.testing.assert_array_equal(finer.data[0], data[0].repeat(2, 0).repeat(2, 1).repeat(2, 2))
    assert (resample(image, like=grid((16,) * 3), method="nearest").data[0, :2] == 0).all()
    with pytest.raises(DarklungError, match="is for labels, whole numbers, got float32"):
        resample(grid(), spacing_m=(1e-4,) * 3, method="nearest")


def test_what_cannot_be_resampled():
    for wrong, told in (
        ({}, "wanted either"),
        ({"spacing_m": (1e-4,)}, "wanted 3 numbers"),
        ({"spacing_m": (1e-4, 0.0, 1e-4)}, "wanted a finite number > 0"),
        ({"like": grid(frame="LPS")}, "wanted the frame 'scanner', got 'LPS'"),
        ({"like": Image(np.zeros((1, 3, 3)), ("a",), ("1",), (1.0, 1.0))}, "wanted 3 spatial axes"),
        ({"spacing_m": (1e-4,) * 3, "method": "cubic"}, "'cubic' is not known"),
    ):
        with pytest.raises(DarklungError, match=told):
            resample(grid(), **wrong)


def test_what_is_told_of_a_tensor_is_averaged_as_an_axis():
    # An angle of 0.02 and one of π − 0.02 are 0.04 apart, and an axis is its own opposite.
    shape = (4, 6, 8)
    checks = np.indices(shape).sum(axis=0) % 2 == 0
    theta = np.where(checks, 0.02, np.pi - 0.02)
    tilted = np.stack([np.full(shape, 0.1), np.where(checks, 0.705, -0.68), np.where(checks, -0.69, 0.705)])
    tilted[0] *= np.where(checks, 1, -1)  # the same line but for 0.02, with the sign that makes the largest part positive
    tilted /= np.linalg.norm(tilted, axis=0)
    names = ("tensor_main_axis_x", "tensor_in_plane_angle", "tensor_main_axis_z", "tensor_mean", "tensor_main_axis_y")
    data = np.stack([tilted[2], theta, tilted[0], np.ones(shape), tilted[1]]).astype(np.float32)
    data[:, 0, 0, 0] = np.nan
    image = Image(data, names, ("1", "rad", "1", "1/m", "1"), (1e-4,) * 3)
    coarse = resample(image, spacing_m=(2e-4,) * 3)
    found = dict(zip(names, coarse.data))
    angle = found["tensor_in_plane_angle"]
    assert np.abs(np.sin(angle)).max() < 0.021
    assert angle.min() >= 0
    assert angle.max() < np.pi
    axis = np.stack([found[f"tensor_main_axis_{letter}"] for letter in "zyx"])
    np.testing.assert_allclose(np.linalg.norm(axis, axis=0), 1, atol=1e-5)
    line = np.array([0.1, 0.6925, -0.6975])
    np.testing.assert_allclose(np.abs(np.tensordot(line, axis, axes=1)) / np.linalg.norm(line), 1, atol=1e-3)
    assert (np.take_along_axis(axis, np.abs(axis).argmax(axis=0)[None], axis=0) > 0).all()
    np.testing.assert_allclose(found["tensor_mean"], 1)
    outside = resample(image, like=replace(coarse, origin_m=(1.0, 0, 0)))
    assert np.isnan(outside.data).all()
    with pytest.raises(DarklungError, match="all of its three parts"):
        resample(Image(data[:1], names[:1], ("1",), (1e-4,) * 3), spacing_m=(2e-4,) * 3)
