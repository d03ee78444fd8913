"""Flats in time: grouping, interpolation, and the noise of it."""

from __future__ import annotations

import numpy as np
import pytest
from retrieve_scans import curves, equidistant, make_scan

from darklung.core.random import stream
from darklung.retrieve.reference import group_flats
from darklung.retrieve.stepping import retrieve

THETA = equidistant(5)


def test_flats_without_a_view_between_are_one_group():
    views = np.array([10.0, 20.0, 30.0])
    assert group_flats(np.array([0.0, 1.0, 2.0, 40.0, 41.0]), views) == [[0, 1, 2], [3, 4]]
    assert group_flats(np.array([15.0, 1.0, 16.0]), views) == [[1], [0, 2]]
    assert group_flats(np.array([0.0, 0.0]), np.array([0.0])) == [[0, 1]]
    assert group_flats(np.array([0.0, 1.0]), np.array([0.0, 1.0])) == [[0], [1]]


def drifting(times, *, noise=None, size=(1, 1)):
    """Amplitude and visibility linear in time, the phase linear and across ±π."""
    frames = [curves(THETA, 1e4 * (1 - 0.002 * t), 0.2 + 0.001 * t, np.full(size, 2.8 + 0.01 * t)) for t in times]
    stack = np.stack(frames)
    return stack if noise is None else noise.poisson(stack)


def test_interpolation_removes_linear_drift_and_the_mean_does_not():
    views, flats = np.array([0.0, 25.0, 50.0, 75.0, 100.0]), np.array([0.0, 100.0])
    scan = make_scan(drifting(views), drifting(flats), THETA, view_time_s=views, flat_time_s=flats)
    result = retrieve(scan, reference="interpolate", dtype=np.float64)
    for name in ("attenuation", "dark_field", "phase"):
        np.testing.assert_allclose(getattr(result, name), 0.0, atol=1e-10)
    mean = retrieve(scan, reference="mean", dtype=np.float64)
    assert abs(mean.attenuation).max() > 0.05
    assert abs(mean.phase).max() > 0.4


def test_outside_the_flats_the_nearest_holds():
    views, flats = np.array([-50.0, 10.0, 200.0]), np.array([0.0, 100.0])
    scan = make_scan(drifting([0.0, 10.0, 100.0]), drifting(flats), THETA, view_time_s=views, flat_time_s=flats)
    np.testing.assert_allclose(retrieve(scan, reference="interpolate", dtype=np.float64).attenuation, 0.0, atol=1e-10)


def test_pulls_between_two_groups_of_flats():
    rng = stream(5, "drift")
    views, flats = np.array([50.0]), np.array([0.0, 1.0, 100.0, 101.0])
    size = (100, 200)
    scan = make_scan(
        drifting(views, noise=rng, size=size),
        drifting(flats, noise=rng, size=size),
        THETA,
        view_time_s=views,
        flat_time_s=flats,
    )
    result = retrieve(scan, reference="interpolate", dtype=np.float64)
    for name in ("attenuation", "dark_field", "phase"):
        pull = getattr(result, name) / np.sqrt(getattr(result, f"{name}_variance"))
        assert pull.std() == pytest.approx(1.0, abs=0.03), name
        assert abs(pull.mean()) < 0.15, name
    one = retrieve(scan, reference="mean", dtype=np.float64)
    np.testing.assert_allclose(result.attenuation_variance, one.attenuation_variance, rtol=0.05)
