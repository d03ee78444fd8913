"""T1, T2 and T13 of the physics list, and the doors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from darklung.core.checks import DarklungError
from darklung.physics.interferometer import correlation_length, symmetric_distance, talbot_distance, visibility_spectrum


def test_t1_talbot_distances() -> None:
    assert_allclose(symmetric_distance(5.4e-6, 45), 0.2646, atol=5e-5)
    assert_allclose(symmetric_distance(2.8e-6, 100), 0.1581, atol=5e-5)
    # D_j = (j − 1/2) p²/(4λ): the orders are 1, 3, 5 times the first
    assert_allclose([talbot_distance(5.4e-6, 45, j) / talbot_distance(5.4e-6, 45, 1) for j in (1, 2, 3)], [1, 3, 5])


def test_t2_correlation_length() -> None:
    assert_allclose(correlation_length(45, 0.26, 5.4e-6), 1.327e-6, rtol=5e-4)
    ratios = [56_459, 112_918, 169_376, 282_294]
    assert_allclose(correlation_length(70, ratios, 1.0), [1e-6, 2e-6, 3e-6, 5e-6], rtol=2e-5)


def test_t13_visibility_spectrum() -> None:
    expected = [0.036, 0.337, 0.574, 0.637, 0.601, 0.528, 0.450]
    assert_allclose(visibility_spectrum(np.arange(40, 101, 10), 70, 1), expected, atol=6e-4)
    assert_allclose(visibility_spectrum(70, 70, 1, quality=0.5), 1 / np.pi)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: talbot_distance(0.0, 45, 1), "period_m"),
        (lambda: talbot_distance(5e-6, 45, 0), "order"),
        (lambda: correlation_length(45, 0.2, 0.0), "period_m"),
        (lambda: correlation_length(45, -0.2, 5e-6), "distance_m"),
        (lambda: visibility_spectrum(0.0, 70, 1), "energy_kev"),
        (lambda: visibility_spectrum(60, 70, 1, quality=1.5), "quality"),
    ],
)
def test_impossible_input_names_the_field(call, field: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DarklungError, match=f"^{field}"):
        call()
