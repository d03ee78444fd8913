"""Retrieval of scans from the forward model, with everything that drifts and jitters switched on."""

from __future__ import annotations

import numpy as np
import pytest

from darklung.core.types import Phantom
from darklung.physics.instrument import make_instrument
from darklung.retrieve.stepping import retrieve
from darklung.simulate.effects import Effects, Stability
from darklung.simulate.objects import body_with_lung
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan

DEPTH, SIZE, VOXEL_M = 16, 96, 2.5e-4
AIR = np.r_[0:9, 87:96]


def mouse() -> Phantom:
    return body_with_lung(voxel_m=VOXEL_M, shape=(DEPTH, SIZE, SIZE))


def noise_of(result, truth, name):
    """Scatter about the noise-free maps where valid, each view's air value taken off."""
    error = getattr(result, name) - getattr(truth, name)
    error = np.angle(np.exp(1j * error)) if name == "phase" else error
    error = error - error[..., AIR].mean(axis=(2, 3), keepdims=True)
    return float(error[result.valid].std())


def test_step_errors_dose_jitter_and_drift_of_a_simulated_scan_are_corrected():
    scene = {
        "instrument": make_instrument(),
        "protocol": Protocol(
            views=6, steps=5, directions_rad=(np.pi / 2,), flats=2, flat_repeats=12, counts_per_pixel=6 * 5 * 2000
        ),
        "seed": 1,
    }
    drift = Stability(step_error_rad=0.03, dose_jitter=0.05, phase_drift_rad=0.5, visibility_drift=-0.1, flux_drift=-0.05)
    truth = retrieve(simulate_scan(mouse(), **scene, noise=False), dtype=np.float64)
    ideal = retrieve(simulate_scan(mouse(), **scene), dtype=np.float64)
    flawed = simulate_scan(mouse(), **scene, effects=Effects(stability=drift))
    plain = retrieve(flawed, dtype=np.float64)
    corrected = retrieve(flawed, reference="interpolate", steps="estimate", air_cols=AIR, dtype=np.float64)
    for name in ("attenuation", "dark_field", "phase"):
        noise = [noise_of(result, truth, name) for result in (ideal, plain, corrected)]
        print(f"{name}: ideal {noise[0]:.4f}, uncorrected {noise[1]:.4f}, corrected {noise[2]:.4f}")
        assert noise[2] < 1.3 * noise[0], name
    assert noise_of(plain, truth, "dark_field") > 2 * noise_of(ideal, truth, "dark_field")


def test_pulls_of_a_simulated_scan():
    scene = {"instrument": make_instrument(), "seed": 2}
    protocol = Protocol(
        views=4, steps=5, directions_rad=(np.pi / 2,), flats=1, flat_repeats=4, counts_per_pixel=4 * 5 * 4000
    )
    truth = retrieve(simulate_scan(mouse(), protocol=protocol, **scene, noise=False), dtype=np.float64)
    result = retrieve(simulate_scan(mouse(), protocol=protocol, **scene), dtype=np.float64)
    assert result.valid.mean() > 0.99
    for name in ("attenuation", "dark_field", "phase"):
        error = getattr(result, name) - getattr(truth, name)
        error = np.angle(np.exp(1j * error)) if name == "phase" else error
        pull = (error / np.sqrt(getattr(result, f"{name}_variance")))[result.valid]
        assert pull.std() == pytest.approx(1.0, abs=0.05), name
