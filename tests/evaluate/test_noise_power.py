"""Noise power and NEQ against noise of a known spectrum and an ideal counting detector."""

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.evaluate.noise_power import noise_equivalent_quanta, noise_power, repeat_noise

PIXEL = 1e-4


def white(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(("shape", "axes"), [((10, 192, 192), 2), ((1, 96, 96, 96), 3)])
def test_white_noise_is_flat_and_its_integral_is_the_variance(shape, axes):
    found = noise_power(3 * white(*shape), (PIXEL,) * axes)
    truth = 9 * PIXEL**axes
    assert found.value.mean() == pytest.approx(truth, rel=0.01)
    assert ((found.low < truth) & (truth < found.high)).mean() > 0.85
    assert found.deviation == pytest.approx(3, rel=0.005)
    # rings hold all frequencies but the corners: flat, the rest is known
    assert found.value[-1] / PIXEL**axes == pytest.approx(found.deviation**2, rel=0.05)


def test_filtered_noise_has_the_power_that_was_given():
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64), indexing="ij"))
    waves = np.fft.fft2(white(240, 64, 64)) / np.sqrt(1 + (f / 0.2) ** 2)
    found = noise_power(np.fft.ifft2(waves).real, (PIXEL, PIXEL))
    truth = PIXEL**2 / (1 + (found.frequency_per_m * PIXEL / 0.2) ** 2)
    np.testing.assert_allclose(found.value[2:], truth[2:], rtol=0.03)  # the lowest went with the trend
    assert found.deviation**2 == pytest.approx(float((1 / (1 + (f / 0.2) ** 2)).mean()), rel=0.01)


def test_slow_trends_are_taken_away_and_repeats_take_everything_that_stands():
    y, x = np.mgrid[:192, :192] / 192
    flat, shaded = white(6, 192, 192), white(6, 192, 192) + 5 * y - 8 * x * y + 3
    plain, bent = (noise_power(one, (PIXEL, PIXEL)).value for one in (flat, shaded))
    np.testing.assert_allclose(bent, plain, rtol=1e-6)
    texture = 4 * white(1, 192, 192, seed=9)
    one, other = texture + white(6, 192, 192, seed=1), texture + white(6, 192, 192, seed=2)
    noise = noise_power(repeat_noise(one, other, halves=False), (PIXEL, PIXEL), trend=False)
    assert noise.deviation == pytest.approx(1, rel=0.01)
    half = noise_power(repeat_noise(one, other, halves=True), (PIXEL, PIXEL), trend=False)
    assert half.deviation**2 == pytest.approx(noise.deviation**2 / 2, rel=1e-9)


@pytest.mark.parametrize("logarithm", [False, True])
def test_an_ideal_counting_detector_has_the_quanta_that_fall_on_it(logarithm):
    counts = np.random.default_rng(4).poisson(400.0, (40, 128, 128)).astype(float)
    image, signal = (-np.log(counts / 400), 1.0) if logarithm else (counts, float(counts.mean()))
    noise = noise_power(image, (PIXEL, PIXEL))
    one = np.ones_like(noise.value)
    value, low, high = noise_equivalent_quanta((one, one, one), noise, signal)
    assert value.mean() * PIXEL**2 == pytest.approx(400, rel=0.03)
    assert ((low < value) & (value < high)).all()
    halved, *_ = noise_equivalent_quanta((one / 2, one / 2, one / 2), noise, signal)
    np.testing.assert_allclose(halved, value / 4)


def test_too_small_a_region_or_one_with_gaps_is_refused():
    for shape in ((1, 20, 20), (1, 1, 1), (9, 2, 2), (1, 1, 400)):  # fewer pixels than a trend has terms, too
        with pytest.raises(DarklungError, match="wanted room for 4 tiles of 16 pixels"):
            noise_power(white(*shape), (PIXEL, PIXEL))
    gap = white(4, 64, 64)
    gap[0, 3, 3] = np.nan
    with pytest.raises(DarklungError, match="some are missing"):
        noise_power(gap, (PIXEL, PIXEL))
    with pytest.raises(DarklungError, match="as the first"):
        repeat_noise(gap, gap[:1], halves=False)


@pytest.mark.parametrize("thick", [1, 2])
def test_noise_that_is_smooth_along_z_alone_has_another_power_along_it(thick):
    f = np.meshgrid(*(np.fft.fftfreq(32),) * 3, indexing="ij")
    power = 1 / (1 + (f[0] / 0.1) ** 2)
    drawn = np.fft.fftn(white(12, 32, 32, 32), axes=(1, 2, 3)) * np.sqrt(power)
    spacing = (thick * PIXEL, PIXEL, PIXEL)
    region = np.fft.ifftn(drawn, axes=(1, 2, 3)).real
    g = [one / d for one, d in zip(f, spacing)]
    radius = np.sqrt(g[0] ** 2 + g[1] ** 2 + g[2] ** 2)
    slant = np.degrees(np.arcsin(np.abs(g[0]) / np.where(radius > 0, radius, 1)))
    for direction, seen in (("z", slant >= 70), ("plane", (slant <= 20))):
        found = noise_power(region, spacing, trend=False, direction=direction)
        ring = np.round(radius * 32 * max(spacing))
        for k in (3, 7, 12):
            at = np.argmin(np.abs(found.frequency_per_m * 32 * max(spacing) - k))
            truth = power[seen & (ring == k)].mean() * np.prod(spacing)
            assert found.value[at] == pytest.approx(truth, rel=0.12)
    along, across = (noise_power(region, spacing, trend=False, direction=d) for d in ("z", "plane"))
    assert across.value[-1] > 4 * along.value[-1]
    assert (along.frequency_per_m > 0).all()


def test_thin_slices_have_no_ring_without_a_frequency():
    found = noise_power(white(1, 64, 32, 32), (PIXEL / 2, PIXEL, PIXEL), direction="z")
    assert (np.diff(found.frequency_per_m) > 0).all()
    np.testing.assert_allclose(found.value, 0.5 * PIXEL**3, rtol=0.5)
