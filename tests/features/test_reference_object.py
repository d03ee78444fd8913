"""A foam rod or ball beside a mouse-like body: found where it is, with true errors; refused in one line where it is not."""

import numpy as np
import pytest
from scipy import ndimage

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.features.reference_object import find_object

SHAPE, VOXEL_M = (32, 96, 96), 2.5e-4
FOAM, LUNG = 60.0, 90.0


def scene(*, shape="cylinder", at=(70.0, 78.0), diameter_m=4e-3, noise=0.0, seed=0, z=(0, 32), foam=FOAM, offset=0.0):
    """A body with lungs that scatter more than the foam beside it: attenuation and dark field [1/m]."""
    z_, y, x = np.indices(SHAPE)
    body = ((y - 40) / 26) ** 2 + ((x - 38) / 30) ** 2 < 1
    lung = (((y - 38) / 14) ** 2 + ((np.abs(x - 38) - 13) / 9) ** 2 < 1) & body
    r = diameter_m / 2 / VOXEL_M
    away = np.sqrt((y - at[0]) ** 2 + (x - at[1]) ** 2 + ((z_ - 16) ** 2 if shape == "sphere" else 0))
    rod = np.clip(r + 0.5 - away, 0, 1) * ((z_ >= z[0]) & (z_ < z[1]))
    mu, eps = 20.0 * body - 14.0 * lung + 0.8 * rod, LUNG * lung + foam * rod + offset
    rng = np.random.default_rng(seed)
    blur = [ndimage.gaussian_filter(a, 0.7) for a in (mu, eps)]
    data = np.stack([blur[0] + noise / 10 * rng.normal(size=SHAPE), blur[1] + noise * rng.normal(size=SHAPE)])
    return Image(data.astype(np.float32), ("attenuation", "dark_field"), ("1/m",) * 2, (VOXEL_M,) * 3)


def changed(image, change):
    data = image.data.copy()
    change(data)
    return image.with_data(data, image.names, image.units)


@pytest.mark.parametrize("shape", ["cylinder", "sphere"])
@pytest.mark.parametrize("noise", [0.0, 15.0])
def test_it_is_found_where_it_is(shape, noise):
    found = find_object(scene(shape=shape, noise=noise, offset=1.5), shape=shape, diameter_m=4e-3)
    middle = np.argwhere(found.core).mean(axis=0)
    np.testing.assert_allclose(middle[1:], (70, 78), atol=0.3)
    assert found.value == pytest.approx(FOAM + 1.5, rel=0.01)
    assert found.zero == pytest.approx(1.5, abs=0.5)
    assert found.diameter_m == pytest.approx(4e-3, rel=0.05)
    assert not (found.core & found.air).any()


def test_errors_are_true():
    pulls = []
    for seed in range(16):
        found = find_object(scene(noise=20.0, seed=seed), shape="cylinder", diameter_m=4e-3)
        pulls.append([(found.value - FOAM) / found.value_error, found.zero / found.zero_error])
    spread = np.std(pulls, axis=0)
    assert ((spread > 0.55) & (spread < 1.7)).all(), spread


def test_a_rod_that_ends_in_the_image_is_read_where_it_is():
    found = find_object(scene(z=(0, 22)), shape="cylinder", diameter_m=4e-3)
    assert found.value == pytest.approx(FOAM, rel=0.01)
    assert not found.core[20:].any()
    assert found.core[:18].any(axis=(1, 2)).all()


def test_partly_out_of_view_with_gaps_and_hot_voxels():
    rng = np.random.default_rng(2)
    gone, hot = rng.random(SHAPE) < 0.05, rng.random(SHAPE) < 0.01

    def spoil(data):
        data[1][hot] = 1e4
        data[:, gone] = np.nan
        data[:, :, :, 83:] = np.nan

    found = find_object(changed(scene(noise=3.0), spoil), shape="cylinder", diameter_m=4e-3)
    assert found.value == pytest.approx(FOAM, rel=0.02)
    assert found.zero == pytest.approx(0, abs=1)


@pytest.mark.parametrize("shape", ["cylinder", "sphere"])
def test_a_third_of_it_may_be_out_of_view(shape):
    def cut(data):
        data[:, :, :, 80:] = np.nan

    found = find_object(changed(scene(shape=shape, noise=5.0), cut), shape=shape, diameter_m=4e-3)
    assert found.value == pytest.approx(FOAM, rel=0.03)


def test_directions_are_averaged():
    image = scene()
    both = np.stack([image.data[0], 0.5 * image.data[1], 1.5 * image.data[1]])
    two = image.with_data(both, ("attenuation", "dark_field_0", "dark_field_90"), ("1/m",) * 3)
    assert find_object(two, shape="cylinder", diameter_m=4e-3).value == pytest.approx(FOAM, rel=0.01)


def solid(**said):
    """The same scene with a rod that attenuates and does not scatter."""
    image = scene(**said)
    return changed(image, lambda data: np.copyto(data, np.stack([data[0] + 0.3 * data[1], data[1]])))


@pytest.mark.parametrize("noise", [0.0, 15.0])
def test_a_solid_is_found_by_its_attenuation(noise):
    found = find_object(solid(noise=noise), shape="cylinder", diameter_m=4e-3, channel="attenuation")
    assert found.value == pytest.approx(0.8 + 0.3 * FOAM, rel=0.005 + noise / 1000)  # its error is 0.5 % at a noise of 15
    assert found.zero == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize("channel", ["dark_field", "attenuation"])
def test_an_object_that_was_cut_off_is_refused(channel):
    image = changed(solid(noise=10.0), lambda data: np.minimum(data, [[[[18.0]]], [[[FOAM]]]], out=data))
    with pytest.raises(DarklungError, match=r"reference: cylinder of 4 mm: \d+ % of it read .*: it was cut off"):
        find_object(image, shape="cylinder", diameter_m=4e-3, channel=channel)


@pytest.mark.parametrize(
    ("image", "diameter_m", "told"),
    [
        (scene(foam=0.0, noise=2.0), 4e-3, "reference: cylinder of 4 mm: none found beside the animal"),
        (scene(diameter_m=5e-3), 4e-3, "reference: cylinder of 4 mm: what scatters most beside the animal looks 4.9"),
        (scene(diameter_m=8e-3), 4e-3, "reference: cylinder of 4 mm: none found beside the animal"),
        (scene(), 8e-3, "reference: cylinder of 8 mm: "),
        (scene(), 1e-3, "reference: cylinder of 1 mm: wanted at least 8 voxels across, got 4"),
        (scene(at=(95.0, 95.0)), 4e-3, "reference: cylinder of 4 mm: none found beside the animal"),
    ],
    ids=["none", "a larger one", "a much larger one", "a smaller one", "too small", "mostly out of view"],
)
def test_what_is_not_there_is_one_clear_line(image, diameter_m, told):
    with pytest.raises(DarklungError) as error:
        find_object(image, shape="cylinder", diameter_m=diameter_m)
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)
