"""Variances from the neighbourhood: honest pulls where the pixel's own variance cannot give them."""

import dataclasses

import numpy as np
import pytest
from retrieve_scans import curves, equidistant, make_scan

from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.retrieve.neighbours import neighbours_variance
from darklung.retrieve.stepping import retrieve

SIZE = 200
THETA = equidistant(5)


def scan_of(counts, visibility, seed=0):
    """One view of counts photons a curve; the flat, of the given visibility, is 30 times brighter; −ln D = 0.5."""
    rng = stream(seed, "neighbours", str(counts))
    flat_phase = rng.uniform(-np.pi, np.pi, (SIZE, SIZE))
    sample = rng.poisson(curves(THETA, counts / 5, visibility * np.exp(-0.5), flat_phase + 1.0))
    flat = rng.poisson(curves(THETA, 30 * counts / 5, visibility, flat_phase))
    return make_scan(sample[None], flat[None], THETA)


@pytest.mark.parametrize(("counts", "visibility"), [(30_000, 0.05), (5_000, 0.2), (1_000, 0.4), (1_000_000, 0.1)])
def test_pulls_have_mean_zero_and_deviation_one(counts, visibility):
    found = retrieve(scan_of(counts, visibility), variance="neighbourhood", least_strength=20, dtype=np.float64)
    valid = found.valid
    assert valid.mean() > 0.98
    truth = {"attenuation": np.log(30), "phase": 1.0, "dark_field": 0.5}
    for name, true in truth.items():
        error = getattr(found, name) - true
        error = np.angle(np.exp(1j * error)) if name == "phase" else error
        pull = (error / np.sqrt(getattr(found, f"{name}_variance")))[valid]
        assert abs(pull.mean()) < 0.03, name
        assert 0.95 < pull.std() < 1.05, name


def test_the_values_are_those_of_the_pixels():
    scan = scan_of(5_000, 0.2)
    one, two = (retrieve(scan, variance=kind, dtype=np.float64) for kind in ("pixel", "neighbourhood"))
    for name in ("attenuation", "dark_field", "phase", "attenuation_variance", "phase_variance", "visibility"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    assert two.dark_field_variance.std() < 0.3 * one.dark_field_variance.std()


def test_exact_visibility_keeps_its_variance_and_bad_pixels_stay_out():
    photons = 4e6
    visibility = np.full((9, 9), 0.2)
    visibility[4, 4] = 0.0
    variance, strength = neighbours_variance(visibility, np.full((9, 9), (2 / 0.04 - 1) / photons))
    assert variance[4, 5] == pytest.approx((2 / 0.04 - 1) / photons, rel=1e-4)
    assert strength[4, 4] == 0
    assert strength[0, 0] == pytest.approx(photons * 0.04, rel=1e-4)


def test_bad_pixels_and_zingers_are_still_not_valid():
    scan = scan_of(30_000, 0.2)
    frames = np.array(scan.frames)
    frames[0, 0, 2, 7, 9] *= 3
    bad = np.zeros((SIZE, SIZE), bool)
    bad[20, 30] = True
    damaged = dataclasses.replace(scan, frames=frames, bad_pixels=bad)
    found = retrieve(damaged, variance="neighbourhood", most_misfit=15.0)
    assert not found.valid[0, 0, 7, 9]
    assert not found.valid[0, 0, 20, 30]
    assert found.valid.mean() > 0.99


def test_unknown_kind_is_told():
    with pytest.raises(DarklungError, match="variance: "):
        retrieve(scan_of(1_000, 0.4), variance="median")
