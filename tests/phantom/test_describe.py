"""Measured numbers agree with what was put in, and classes show the contrast that histology gives them."""

from dataclasses import replace

import numpy as np
import pytest

from darklung.core.views import view_image
from darklung.phantom.describe import describe_insertions, describe_mouse, radiograph_truth, scattering_map
from darklung.phantom.families import draw_anatomy
from darklung.phantom.lesions import LesionRequest
from darklung.phantom.subject import make_phantom
from darklung.physics.instrument import make_instrument
from darklung.retrieve.stepping import retrieve
from darklung.simulate.objects import body_with_lung
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import fine_geometry, simulate_scan


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


@pytest.mark.parametrize("supersampling", [1, 2])
@pytest.mark.parametrize("source_axis_m", [np.inf, 0.06])
def test_the_truth_of_a_radiograph_lies_where_its_beam_throws_it(source_axis_m, supersampling):
    # Off the axis a cone beam moves a shadow by pixels: the path must be that of the attenuation, in its own pixels.
    animal = body_with_lung(voxel_m=2e-4, shape=(20, 40, 52))
    z, y, x = np.indices(animal.lobes.shape)
    ball = (z - 14) ** 2 + (y - 6) ** 2 + (x - 44) ** 2 < 5**2
    density = np.zeros_like(animal.density)
    density[0, ball] = 0.05
    labels, none = ball.astype(animal.lobes.dtype), np.zeros_like(animal.interface_density_per_m)
    animal = replace(animal, density=density, lobes=labels, instances=3 * labels, interface_density_per_m=none)
    protocol = Protocol(
        views=1, directions_rad=(0.0,), counts_per_pixel=1e7, source_axis_m=source_axis_m, supersampling=supersampling
    )
    instrument = make_instrument(low_kev=70, high_kev=70)
    seen = view_image(retrieve(simulate_scan(animal, instrument=instrument, protocol=protocol, seed=1, noise=False)))
    truth = radiograph_truth(animal, seen, fine_geometry(animal, protocol))
    attenuation, path = seen.channel("attenuation"), truth.channel("lung_path")
    np.testing.assert_allclose(path / path.max(), attenuation / attenuation.max(), atol=2e-3)
    assert path.max() == pytest.approx(10 * 2e-4, rel=0.15)
    np.testing.assert_array_equal(truth.channel("instance") == 3, path > 2e-7)
