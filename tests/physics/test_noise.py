"""T9–T12 and T21: the formulas against a Monte Carlo of stepping curves."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from darklung.core.checks import DarklungError
from darklung.physics import noise


def measured_visibility(visibility: float, counts: float, trials: int = 200_000) -> tuple[np.ndarray, np.ndarray]:
    """Visibility and N of simulated five-step curves."""
    rng = np.random.default_rng(7)
    theta = 2 * np.pi * np.arange(5) / 5
    curve = rng.poisson(counts / 5 * (1 + visibility * np.cos(theta + 0.4)), size=(trials, 5))
    total = curve.sum(axis=1)
    return 2 * np.abs(curve @ np.exp(-1j * theta)) / total, total


def test_t9_bias_and_spread() -> None:
    v, _ = measured_visibility(0.2, 1000)
    assert_allclose(v.mean(), 0.2054, atol=5e-4)
    assert_allclose(v.std(), 0.044, atol=5e-4)
    assert_allclose(v.mean() - 0.2, noise.visibility_bias(0.2, 1000), rtol=0.12)
    assert_allclose(v.var(), noise.visibility_variance(0.2, 1000), rtol=0.03)


def test_t10_floor() -> None:
    v, _ = measured_visibility(0.0, 1000)
    assert_allclose(v.mean(), 0.0560, atol=3e-4)
    assert_allclose(v.mean(), noise.visibility_floor(1000), rtol=0.005)


def test_t11_at_the_limit_of_validity() -> None:
    v, _ = measured_visibility(0.1, 1000)
    assert_allclose(np.log(v / 0.1).mean(), 0.016, atol=4e-3)
    assert_allclose(np.log(v).std(), 0.45, atol=0.02)
    assert not noise.is_valid(0.1, 999)
    assert noise.is_valid(0.1, 1001)


def test_t12_log_visibility() -> None:
    v, _ = measured_visibility(0.3, 1000)
    assert_allclose(np.log(v).std(), 0.148, atol=3e-3)
    assert_allclose(np.log(v).std(), np.sqrt(noise.log_visibility_variance(0.3, 1000)), rtol=0.03)


def test_transmission_and_phase_variance() -> None:
    rng = np.random.default_rng(3)
    theta = 2 * np.pi * np.arange(5) / 5
    curve = rng.poisson(2000 / 5 * (1 + 0.3 * np.cos(theta + 0.4)), size=(200_000, 5))
    assert_allclose(np.log(curve.sum(axis=1)).var(), noise.log_transmission_variance(2000), rtol=0.03)
    assert_allclose(np.angle(curve @ np.exp(-1j * theta)).var(), noise.phase_variance(0.3, 2000), rtol=0.03)


def test_t21_noise_ratio() -> None:
    assert_allclose(noise.noise_ratio(0.1), 14.1, atol=0.05)
    total = noise.dark_field_variance(0.1, 1e5, 0.1, 1e6)
    assert_allclose(total, 1.1 * noise.log_visibility_variance(0.1, 1e5))


def test_doors() -> None:
    with pytest.raises(DarklungError, match="counts"):
        noise.log_visibility_variance(0.1, 0)
    with pytest.raises(DarklungError, match="visibility"):
        noise.visibility_variance(-0.1, 10)
