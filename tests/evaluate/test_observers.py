"""Model observers against analytic d′ in white and correlated noise, and against independent implementations."""

import numpy as np
import pytest
from scipy import stats

from darklung.core.checks import DarklungError
from darklung.evaluate.observers import (
    Detectability,
    cross_spectrum,
    hotelling,
    ideal_in_lines,
    ideal_linear,
    laguerre_gauss,
    non_prewhitening,
    outputs,
)

SIZE, PIXEL = 24, 1e-4
SPACING = (PIXEL, PIXEL)
COORDINATE = (np.arange(SIZE) - SIZE // 2) * PIXEL
RADIUS = np.hypot(*np.meshgrid(COORDINATE, COORDINATE, indexing="ij"))
WIDTH = 8e-4
# exp(−πr²/a²) is the first Laguerre–Gauss channel itself: in white noise no observer sees more than these channels.
SIGNAL = 0.5 * np.exp(-np.pi * RADIUS**2 / WIDTH**2)[None]


def white(count, seed=0, channels=1):
    return np.random.default_rng(seed).standard_normal((count, channels, SIZE, SIZE))


def coloured(count, seed=0):
    """Stationary noise of a known power, and its spectrum."""
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE), indexing="ij"))
    power = 0.2 + np.exp(-((f / 0.15) ** 2))
    drawn = np.fft.ifftn(np.fft.fftn(white(count, seed), axes=(2, 3)) * np.sqrt(power), axes=(2, 3)).real
    return drawn, power[None, None] * PIXEL**2


def test_channelised_hotelling_is_analytic_in_white_noise():
    channels = laguerre_gauss((SIZE, SIZE), SPACING, width_m=WIDTH, count=4)
    found = hotelling(outputs(SIGNAL[None], channels)[0], outputs(white(12_000), channels))
    truth = np.sqrt((SIGNAL**2).sum())
    assert found.value == pytest.approx(truth, rel=0.02)
    assert found.low < truth < found.high


def test_channelised_hotelling_is_analytic_in_correlated_noise():
    noise, power = coloured(12_000)
    channels = laguerre_gauss((SIZE, SIZE), SPACING, width_m=WIDTH, count=4)
    # K of the channels by the spectrum itself, without a draw
    waves = np.fft.fftn(channels, axes=(1, 2))
    covariance = np.einsum("ihw,jhw,hw->ij", waves, waves.conj(), power[0, 0] / PIXEL**2).real / SIZE**2
    delta = outputs(SIGNAL[None], channels)[0]
    truth = np.sqrt(delta @ np.linalg.solve(covariance, delta))
    assert hotelling(delta, outputs(noise, channels)).value == pytest.approx(truth, rel=0.02)
    assert truth <= ideal_linear(SIGNAL, power, SPACING) * (1 + 1e-9)


def test_ideal_observer_is_the_dense_matrix():
    _, power = coloured(2)
    kernel = np.fft.ifftn(power[0, 0] / PIXEL**2).real
    index = np.arange(SIZE)
    lag = (index[:, None] - index[None, :]) % SIZE
    dense = kernel[lag[:, None, :, None], lag[None, :, None, :]].reshape(SIZE**2, SIZE**2)
    flat = SIGNAL.ravel()
    assert ideal_linear(SIGNAL, power, SPACING) == pytest.approx(np.sqrt(flat @ np.linalg.solve(dense, flat)), rel=1e-9)
    matched = flat @ flat / np.sqrt(flat @ dense @ flat)
    assert non_prewhitening(SIGNAL, power, SPACING) == pytest.approx(matched, rel=1e-9)
    assert non_prewhitening(SIGNAL, power, SPACING, 2e3) < ideal_linear(SIGNAL, power, SPACING)


def test_spectrum_of_white_noise_and_its_integral():
    noise = 3 * white(400, channels=2)
    spectrum = cross_spectrum(noise, SPACING)
    assert spectrum[0, 0].real.mean() == pytest.approx(9 * PIXEL**2, rel=0.02)
    integral = spectrum[1, 1].real.sum() / (SIZE * PIXEL) ** 2
    assert integral == pytest.approx(noise[:, 1].var(axis=0, ddof=1).mean(), rel=1e-9)
    assert np.abs(spectrum[0, 1].mean()) < 0.02 * 9 * PIXEL**2


def test_two_channels_whose_noise_is_shared_are_better_jointly():
    rng, delta = np.random.default_rng(1), np.array([1.0, 0.5])
    covariance = np.array([[1.0, 0.8], [0.8, 1.0]])
    noise = rng.multivariate_normal([0, 0], covariance, 20_000)
    assert hotelling(delta, noise).value == pytest.approx(np.sqrt(delta @ np.linalg.solve(covariance, delta)), rel=0.02)


def test_finite_samples_have_no_bias_and_intervals_cover():
    delta, rng = np.full(6, 0.6), np.random.default_rng(2)
    truth = np.sqrt(delta @ delta)
    found = [hotelling(delta, rng.standard_normal((40, 6))) for _ in range(2000)]
    assert np.mean([f.value**2 for f in found]) == pytest.approx(truth**2, rel=0.02)
    assert 0.935 < np.mean([f.low < truth < f.high for f in found]) < 0.965


def test_channels_have_unit_norm_and_are_orthogonal():
    rings = laguerre_gauss((64, 64), SPACING, width_m=1.2e-3, count=5)
    products = rings.reshape(5, -1) @ rings.reshape(5, -1).T
    np.testing.assert_allclose(np.diag(products), 1)
    np.testing.assert_allclose(products, np.eye(5), atol=1e-3)


def test_the_area_under_the_curve_of_normal_outputs_is_that_of_d():
    rng, d = np.random.default_rng(3), 0.8
    absent, present = rng.standard_normal(20_000), rng.standard_normal(20_000) + d
    area = stats.mannwhitneyu(present, absent).statistic / 20_000**2
    assert Detectability(d, d, d).auc[0] == pytest.approx(area, abs=0.005)


def test_too_few_realisations_are_refused():
    with pytest.raises(DarklungError, match="more than 8 realisations for 6 outputs, got 8"):
        hotelling(np.ones(6), np.ones((8, 6)))


def test_ideal_observer_of_lines_that_share_noise_is_the_dense_matrix():
    rng = np.random.default_rng(4)
    change, variance, shared = rng.normal(size=(7, 3, 2)), rng.uniform(0.5, 2, (7, 3, 2)), 0.4
    square = 0.0
    for pixel in np.ndindex(3, 2):
        own = (slice(None), *pixel)
        square += change[own] @ np.linalg.solve(np.diag(variance[own]) + shared, change[own])
    assert ideal_in_lines(change, variance, shared) == pytest.approx(np.sqrt(square), rel=1e-9)
    one = ideal_in_lines(change[:1], variance[:1], shared)
    assert one == pytest.approx(np.sqrt((change[0] ** 2 / (variance[0] + shared)).sum()), rel=1e-9)
