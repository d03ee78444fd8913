"""Measured numbers agree with what was put in, and classes show the contrast that histology gives them."""

import numpy as np
import pytest

from darklung.phantom.describe import describe_insertions, describe_mouse, scattering_map
from darklung.phantom.families import draw_anatomy
from darklung.phantom.lesions import LesionRequest
from darklung.phantom.subject import make_phantom


def test_numbers_of_a_mouse(healthy):
    row = describe_mouse(healthy)
    drawn = draw_anatomy("A", 11)
    assert 0.5 < row["lung volume ml"] < 0.9
    assert row["interface density /cm"] * 100 == pytest.approx(drawn.interface_density_per_m, rel=0.12)
    assert row["tissue fraction"] == pytest.approx(drawn.tissue_fraction, rel=0.15)
    assert sum(value for name, value in row.items() if name.startswith("lobe")) == pytest.approx(100)
    # 70 keV, ξ = 3 µm: ε 0.987/cm at S_V = 802/cm; in proportion to S_V, about.
    assert row["epsilon of lung /cm"] == pytest.approx(0.987 * row["interface density /cm"] / 802, rel=0.15)


def test_scattering_of_mixed_voxels_is_a_sum(healthy):
    """Half the lung in a voxel scatters half as much: no seam at edges."""
    epsilon = scattering_map(healthy, energy_kev=70.0, correlation_length_m=3e-6)
    surface = healthy.interface_density_per_m
    inside = surface > 0
    ratio = epsilon[inside] / surface[inside]
    pure = surface > np.median(surface[inside])
    assert ratio.min() > 0.8 * (epsilon[pure] / surface[pure]).mean()
    assert ratio.max() < 1.25 * (epsilon[pure] / surface[pure]).mean()


def test_contrast_of_each_class():
    requests = [LesionRequest(t, 2e-3) for t in ("solid", "filled", "papillary", "lepidic")]
    rows = describe_insertions(make_phantom(seed=3, voxel_m=2e-4, lesions=requests, shams=1))
    mu = [r["mu_ratio"] for r in rows[:4]]
    epsilon = [r["epsilon_ratio"] for r in rows[:4]]
    assert mu == sorted(mu, reverse=True)
    assert 2.5 < mu[0] < 4
    assert epsilon[0] < 0.12
    assert 0.1 < epsilon[1] < 0.65
    assert 0.7 < epsilon[3] < 1.25
    assert all(abs(r["measured_diameter_mm"] - 2) < 0.2 for r in rows[:4])
    assert rows[4]["kind"] == "sham"
    assert rows[4]["mu_ratio"] is None


def test_a_lesion_at_the_pleura_is_called_so():
    requests = [LesionRequest("solid", 1.6e-3, "pleura")]
    row = describe_insertions(make_phantom(seed=6, voxel_m=2e-4, lesions=requests))[0]
    assert row["place"] == "pleura"
