"""Hardening corrections through the whole chain: broad-spectrum scan, retrieval, correction, reconstruction."""

from __future__ import annotations

import pytest
from scipy.ndimage import binary_erosion

from darklung.core.types import Phantom
from darklung.correct.hardening import correct_hardening, water_table
from darklung.correct.monochromatic import inversion_table, invert_hardening
from darklung.correct.response import SpectralResponse
from darklung.physics.instrument import make_instrument
from darklung.physics.materials import delta, linear_attenuation
from darklung.physics.scattering import two_phase
from darklung.retrieve.stepping import retrieve
from darklung.simulate.objects import body_with_lung
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan
from darklung.tomo.fbp import fbp

DEPTH, SIZE, VOXEL_M = 8, 80, 3e-4


def mouse() -> Phantom:
    return body_with_lung(voxel_m=VOXEL_M, shape=(DEPTH, SIZE, SIZE))


def test_lung_and_body_after_a_scan_with_a_broad_spectrum():
    instrument = make_instrument(
        spectrum="tube", low_kev=20, high_kev=100, bins=12, design_energy_kev=60, reference_energy_kev=60
    )
    protocol = Protocol(views=90, steps=5, directions_rad=(0.0,), flats=1, flat_repeats=1, counts_per_pixel=1e7)
    phantom = mouse()
    raw = retrieve(simulate_scan(phantom, instrument=instrument, protocol=protocol, seed=1, noise=False))
    response = SpectralResponse.of(instrument)
    corrected = {
        "none": raw,
        "look-up": correct_hardening(raw, water_table(instrument, material="soft_tissue")),
        "inversion": invert_hardening(raw, inversion_table(response, material="soft_tissue")),
    }
    energy, xi = instrument.reference_energy_kev, instrument.reference_correlation_length_m
    epsilon = float(two_phase(0.3, 8e4, delta("soft_tissue", 1.05, energy), energy, xi))
    mu = float(linear_attenuation("soft_tissue", 1.0, energy))
    lung = binary_erosion(phantom.lobes > 0, iterations=2, border_value=1)
    body = binary_erosion(phantom.density[0] > 0.9, iterations=3, border_value=1)
    found = {}
    for name, maps in corrected.items():
        scatter, attenuation = (fbp(values[0], maps.geometry) for values in (maps.dark_field, maps.attenuation))
        found[name] = scatter[lung].mean() / epsilon, scatter[body].mean() / epsilon, attenuation[body].mean() / mu
        told = "lung eps {:.3f}, body eps {:+.4f} of the lung's true one; body mu {:.3f} of the true one"
        print(f"{name:10s}", told.format(*found[name]))
    assert found["inversion"][0] == pytest.approx(1.0, abs=0.03)
    assert found["inversion"][1] == pytest.approx(0.0, abs=0.005)
    assert found["inversion"][2] == pytest.approx(1.0, abs=0.01)
    assert found["look-up"][1] == pytest.approx(0.0, abs=0.005)
    assert abs(found["look-up"][0] - 1) > 0.05, "a look-up cannot mend the true signal"
    assert abs(found["none"][1]) > 0.02
