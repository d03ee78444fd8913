"""Explicit microstructure has the φ and S_V that were asked for, and chords and dark field as the mean field says."""

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.phantom.realisation import Microstructure, dark_field_of, measure, realise_sheets
from darklung.physics.materials import delta
from darklung.physics.scattering import two_phase

CASES = [(0.28, 650e2), (0.18, 450e2), (0.45, 750e2), (0.8, 300e2)]


@pytest.mark.parametrize(("fraction", "surface"), CASES)
def test_sheets_have_the_wanted_fraction_interface_and_chord(fraction, surface):
    found = [
        measure(realise_sheets(tissue_fraction=fraction, interface_density_per_m=surface, voxel_m=2e-6, voxels=144, seed=k))
        for k in range(3)
    ]
    phi, area, chord = (
        np.mean([getattr(f, n) for f in found]) for n in ("tissue_fraction", "interface_density_per_m", "air_chord_m")
    )
    assert phi == pytest.approx(fraction, rel=0.04)
    assert area == pytest.approx(surface, rel=0.05)
    assert chord == pytest.approx(4 * (1 - phi) / area, rel=0.05)
    assert np.mean([f.tissue_chord_m for f in found]) == pytest.approx(4 * phi / area, rel=0.05)


def test_measures_of_a_slab_are_exact():
    tissue = np.zeros((40, 40, 40), np.float32)
    tissue[:10] = 1
    found = measure(Microstructure(tissue, 1e-6))
    assert found.tissue_fraction == 0.25
    assert found.interface_density_per_m == pytest.approx(2 / 40e-6)  # two faces in 40 um
    assert found.air_chord_m + found.tissue_chord_m == pytest.approx(3 * 40e-6)  # lines in the slab's plane meet nothing


def test_the_dark_field_of_sheets_is_near_the_two_phase_model():
    fraction, surface, energy = 0.28, 650e2, 70.0
    contrast = float(delta("soft_tissue", 1.05, energy))
    made = [
        realise_sheets(tissue_fraction=fraction, interface_density_per_m=surface, voxel_m=1.5e-6, voxels=160, seed=k)
        for k in range(3)
    ]
    expected = float(two_phase(fraction, surface, contrast, energy, 3e-6))
    found = np.mean([dark_field_of(m, shift=2, contrast=contrast, energy_kev=energy) for m in made])
    assert 0.7 < found / expected < 1.3  # the covariance of sheets is not exponential; see benchmarks/microstructure.py


def test_a_longer_correlation_length_scatters_more():
    made = realise_sheets(tissue_fraction=0.3, interface_density_per_m=600e2, voxel_m=2e-6, voxels=96, seed=1)
    values = [dark_field_of(made, shift=s, contrast=1e-7, energy_kev=70.0) for s in (1, 2, 4)]
    assert values == sorted(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"voxel_m": 20e-6}, "voxel_m: wanted at most"),
        ({"voxels": 16}, "voxels: wanted at least"),
        ({"tissue_fraction": 1.0}, "tissue_fraction: wanted 0.01 to 0.99"),
        ({"interface_density_per_m": -1.0}, "interface_density_per_m: wanted a finite number > 0"),
    ],
)
def test_impossible_requests(change, message):
    wanted = {"tissue_fraction": 0.3, "interface_density_per_m": 600e2, "voxel_m": 2e-6, "voxels": 96, "seed": 0, **change}
    with pytest.raises(DarklungError, match=message):
        realise_sheets(**wanted)
