import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.features.channels import crop_to_region, derived_channels, stack_channels
from darklung.features.directions import anisotropy

RIGHT = np.pi / 2


def image(names, arrays, spacing=1e-4, origin=()):
    arrays = np.stack(arrays)
    return Image(arrays, names, ("1/m",) * len(names), (spacing,) * (arrays.ndim - 1), origin)


def pair(shape=(4, 5, 6), seed=0):
    rng = np.random.default_rng(seed)
    mu, d0, d1 = rng.normal(5, 1, (3, *shape)).astype(np.float32)
    v0, v1 = rng.uniform(0.5, 2, (2, *shape))
    dark = [image(("dark_field", "dark_field_variance"), [d, v]) for d, v in ((d0, v0), (d1, v1))]
    return image(("attenuation",), [mu]), dark, (mu, d0, d1, v0, v1)


@pytest.mark.parametrize("shape", [(4, 5, 6), (7, 8)])
def test_names_units_and_mean(shape):
    attenuation, dark, (mu, d0, d1, _, _) = pair(shape)
    out = stack_channels(attenuation=attenuation, dark_field=dark, directions_rad=(0.0, RIGHT))
    assert out.names == ("attenuation", "dark_field", "dark_field_0", "dark_field_90")
    assert out.units == ("1/m",) * 4
    np.testing.assert_array_equal(out.channel("attenuation"), mu)
    np.testing.assert_array_equal(out.channel("dark_field_90"), d1)
    np.testing.assert_allclose(out.channel("dark_field"), (d0 + d1) / 2, rtol=1e-6)


def test_inverse_variance_is_the_best_linear_unbiased_mean():
    attenuation, dark, (_, d0, d1, v0, v1) = pair()
    out = stack_channels(attenuation=attenuation, dark_field=dark, directions_rad=(0.0, RIGHT), combine="inverse_variance")
    np.testing.assert_allclose(out.channel("dark_field"), (d0 * v1 + d1 * v0) / (v0 + v1), rtol=1e-5)


def test_control_channels():
    attenuation, dark, _ = pair((20, 20, 20))
    options = {"attenuation": attenuation, "dark_field": dark, "directions_rad": (0.0, RIGHT)}
    one = stack_channels(**options, extras=("noise", "attenuation_copy", "anisotropy"), seed=3)
    again = stack_channels(**options, extras=("noise",), seed=3)
    other = stack_channels(**options, extras=("noise",), seed=4)
    noise = one.channel("noise")
    np.testing.assert_array_equal(noise, again.channel("noise"))
    assert not np.array_equal(noise, other.channel("noise"))
    assert noise.mean() == pytest.approx(one.channel("dark_field").mean(), abs=0.05)
    assert noise.std() == pytest.approx(one.channel("dark_field").std(), rel=0.05)
    assert abs(np.corrcoef(noise.ravel(), one.channel("dark_field").ravel())[0, 1]) < 0.05
    np.testing.assert_array_equal(one.channel("attenuation_copy"), one.channel("attenuation"))


@pytest.mark.parametrize("angles", [(0.0, 90.0), (45.0, 135.0), (0.0, 45.0, 90.0, 135.0), (0.0, 60.0, 120.0)])
def test_anisotropy_recovers_the_second_harmonic(angles):
    alpha = np.radians(angles)
    truth = np.linspace(-0.3, 0.3, 11)
    signal = 100 * (1 + truth * np.cos(2 * (alpha[:, None] - alpha[0])))
    found = anisotropy(signal, directions_rad=alpha, floor_fraction=1e-4)
    np.testing.assert_allclose(found, truth, atol=1e-5)


def test_anisotropy_is_zero_without_signal_and_refuses_one_direction():
    assert np.all(anisotropy(np.zeros((2, 3)), directions_rad=(0.0, RIGHT)) == 0)
    weak = np.array([[100.0, 1e-3], [100.0, -1e-3]])
    assert abs(anisotropy(weak, directions_rad=(0.0, RIGHT))[1]) < 1e-3
    for directions in ((0.0,), (0.0, np.pi)):
        with pytest.raises(DarklungError, match="two different"):
            anisotropy(np.ones((len(directions), 3)), directions_rad=directions)


def test_attenuation_alone_is_an_image_of_channels():
    attenuation, _, _ = pair()
    made = stack_channels(attenuation=attenuation, dark_field=[], directions_rad=(), extras=("noise",))
    assert made.names == ("attenuation", "noise")
    mu, noise = made.channel("attenuation"), made.channel("noise")
    np.testing.assert_array_equal(mu, attenuation.channel("attenuation"))
    assert noise.mean() == pytest.approx(mu.mean(), abs=4 * mu.std() / np.sqrt(mu.size))


def test_refusals():
    attenuation, dark, _ = pair()
    with pytest.raises(DarklungError, match="wanted 0, got 1"):
        stack_channels(attenuation=attenuation, dark_field=[], directions_rad=(0.0,))
    with pytest.raises(DarklungError, match="at least two different grating directions"):
        stack_channels(attenuation=attenuation, dark_field=[], directions_rad=(), extras=("anisotropy",))
    with pytest.raises(DarklungError, match="wanted 2, got 1"):
        stack_channels(attenuation=attenuation, dark_field=dark, directions_rad=(0.0,))
    with pytest.raises(DarklungError, match="each once"):
        stack_channels(attenuation=attenuation, dark_field=dark, directions_rad=(0.0, 0.0))
    with pytest.raises(DarklungError, match="median"):
        stack_channels(attenuation=attenuation, dark_field=dark, directions_rad=(0.0, RIGHT), combine="median")
    with pytest.raises(DarklungError, match="extras"):
        stack_channels(attenuation=attenuation, dark_field=dark, directions_rad=(0.0, RIGHT), extras=("phase",))
    moved = image(("dark_field",), [dark[0].channel("dark_field")], origin=(0.0, 0.0, 0.0))
    with pytest.raises(DarklungError, match="grid of attenuation"):
        stack_channels(attenuation=attenuation, dark_field=[moved], directions_rad=(0.0,))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 3e-4), st.sampled_from([2, 3]))
def test_crop_keeps_every_voxel_at_its_place(seed, margin, dims):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(3, 9, dims))
    region = np.zeros(shape, bool)
    region[tuple(rng.integers(0, n) for n in shape)] = True
    region[tuple(rng.integers(0, n) for n in shape)] = True
    full = image(("attenuation",), [rng.normal(size=shape)])
    crop = crop_to_region(full, region, margin_m=margin)
    assert crop.region.sum() == region.sum()
    np.testing.assert_array_equal(crop.image.data[0], full.data[0][crop.slices])
    where_full = np.argwhere(region) * 1e-4 + full.origin_m
    where_crop = np.argwhere(crop.region) * 1e-4 + crop.image.origin_m
    np.testing.assert_allclose(where_full, where_crop, atol=1e-12)
    edge = np.ceil(margin / 1e-4 - 1e-9)
    for axis, s in enumerate(crop.slices):
        hit = np.flatnonzero(region.any(axis=tuple(a for a in range(dims) if a != axis)))
        assert s.start == max(hit[0] - edge, 0)
        assert s.stop == min(hit[-1] + 1 + edge, shape[axis])


def test_crop_refuses_an_empty_region():
    full = image(("attenuation",), [np.zeros((3, 3))])
    with pytest.raises(DarklungError, match="nothing in it"):
        crop_to_region(full, np.zeros((3, 3), bool))


def test_of_gratings_whose_direction_nobody_said_none_is_made_up():
    data = np.random.default_rng(1).normal(1.0, 0.1, (2, 4, 5, 6)).astype(np.float32)
    given_image = Image(data, ("attenuation", "dark_field"), ("1/m", "1/m"), (1e-4,) * 3)
    made = derived_channels(given_image, seed=1)
    assert made.names == ("attenuation", "dark_field", "noise")
    np.testing.assert_array_equal(made.data[:2], data)
    told = given_image.with_data(data, ("attenuation", "dark_field_0"), given_image.units)
    assert derived_channels(told, seed=1).names == ("attenuation", "dark_field", "dark_field_0", "noise")
