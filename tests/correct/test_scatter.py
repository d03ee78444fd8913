"""Scatter: exact where it is known, and much smaller where its ratio is known."""

from __future__ import annotations

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.correct.scatter import correct_scatter, estimate_scatter

SHAPE = (1, 2, 40, 60)


def projections(transmission, visibility_ratio, variances=(0.0, 0.0)) -> Projections:
    maps = {name: np.zeros(SHAPE) for name in PROJECTION_MAPS[:-1]}
    maps |= {"attenuation": np.broadcast_to(-np.log(transmission), SHAPE).copy()}
    maps |= {"dark_field": np.broadcast_to(-np.log(visibility_ratio), SHAPE).copy()}
    maps |= {"attenuation_variance": np.full(SHAPE, variances[0]), "dark_field_variance": np.full(SHAPE, variances[1])}
    geometry = ParallelGeometry(np.zeros(2), *SHAPE[2:], 1e-4)
    return Projections(**maps, valid=np.ones(SHAPE, bool), directions_rad=np.zeros(1), geometry=geometry)


def body():
    """A cylinder's primary transmission; no dark field."""
    chord = np.sqrt(np.maximum(1 - (np.linspace(-1.4, 1.4, SHAPE[3])) ** 2, 0))
    return np.broadcast_to(np.exp(-0.5 * chord), SHAPE[2:])


def with_scatter(primary, scatter):
    total = primary + scatter
    return projections(total, primary / total)


def test_known_scatter_is_taken_off_exactly():
    primary, scatter = body(), 0.03 * np.ones(SHAPE[2:])
    measured = with_scatter(primary, scatter)
    assert measured.dark_field.max() == pytest.approx(np.log(1 + 0.03 / primary.min()))
    result = correct_scatter(measured, scatter)
    np.testing.assert_allclose(result.dark_field, 0.0, atol=1e-12)
    np.testing.assert_allclose(result.attenuation[0, 0], -np.log(primary), atol=1e-12)


@pytest.mark.parametrize("ratio", [0.03, 0.1])
def test_estimated_scatter_removes_most_of_the_false_signal(ratio):
    primary = body()
    truth = estimate_scatter(projections(primary, 1.0), ratio=ratio)[0, 0]
    # Scatter that spreads a third wider than the estimate supposes.
    wider = estimate_scatter(projections(primary, 1.0), ratio=ratio, width=0.16)[0, 0]
    for scatter, left in ((truth, 0.1), (wider, 0.35)):
        measured = with_scatter(primary, scatter)
        result = correct_scatter(measured, estimate_scatter(measured, ratio=ratio))
        shadow = primary < 0.9
        assert np.abs(result.dark_field[0, 0][shadow]).max() < left * measured.dark_field[0, 0][shadow].max()


def test_air_has_no_scatter():
    assert not estimate_scatter(projections(1.0, 1.0), ratio=0.5).any()
    assert not estimate_scatter(projections(body(), 1.0), ratio=0.0).any()


def test_variances():
    rng, sigma = stream(0, "scatter"), (0.01, 0.05)
    exact = with_scatter(np.full(SHAPE[2:], 0.5), np.full(SHAPE[2:], 0.2))
    pulls = {"attenuation": [], "dark_field": []}
    for _ in range(10):
        noisy = projections(
            np.exp(-exact.attenuation + rng.normal(0, sigma[0], SHAPE)),
            np.exp(-exact.dark_field + rng.normal(0, sigma[1], SHAPE)),
            (sigma[0] ** 2, sigma[1] ** 2),
        )
        result = correct_scatter(noisy, np.array(0.2))
        for name, truth in (("attenuation", -np.log(0.5)), ("dark_field", 0.0)):
            pulls[name].append((getattr(result, name) - truth) / np.sqrt(getattr(result, f"{name}_variance")))
    for name, values in pulls.items():
        assert np.std(values) == pytest.approx(1.0, abs=0.02), name


def test_impossible_scatter_is_marked():
    result = correct_scatter(projections(0.1, 1.0), np.array(0.2))
    assert not result.valid.any()
    np.testing.assert_allclose(result.attenuation, -np.log(0.1))
    with pytest.raises(DarklungError, match="scatter: wanted numbers >= 0"):
        correct_scatter(projections(0.1, 1.0), np.array(-0.1))
    with pytest.raises(DarklungError, match="ratio"):
        estimate_scatter(projections(0.1, 1.0), ratio=2.0)
