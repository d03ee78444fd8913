"""Calibration objects and the scan without gratings."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from darklung.core.checks import DarklungError
from darklung.core.types import Phantom
from darklung.physics.instrument import make_instrument
from darklung.physics.materials import MATERIALS, delta, linear_attenuation
from darklung.physics.scattering import hard_spheres, sphere
from darklung.physics.slab import slab_signal
from darklung.simulate.attenuation import simulate_attenuation
from darklung.simulate.effects import Effects
from darklung.simulate.objects import cylinder, edge, fibres, star, step_wedge, suspension
from darklung.simulate.powder import Scene
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import view_signals

SHAPE = (16, 40, 40)
VOXEL_M = 1e-4
LINE = make_instrument(low_kev=70.0, high_kev=70.0)
ONE_VIEW = Protocol(views=1, flats=1, flat_repeats=1)


def radiograph(phantom: Phantom | Scene, directions: tuple[float, ...] = (0.0, np.pi / 2)) -> tuple[np.ndarray, np.ndarray]:
    """−ln T and −ln D of one view without noise."""
    protocol = replace(ONE_VIEW, directions_rad=directions)
    (signal,) = view_signals(phantom, instrument=LINE, protocol=protocol)
    return -np.log(signal.mean), -np.log(np.abs(signal.fringe) / signal.mean / LINE.flat_visibility)


def test_volumes_are_right() -> None:
    rod = cylinder(diameter_m=3e-3, voxel_m=VOXEL_M, shape=SHAPE, foam_diameter_m=1e-3)
    water = rod.density[rod.materials.index("water")]
    area = water[0].sum() * VOXEL_M**2
    assert_allclose(area, np.pi / 4 * (3e-3**2 - 1e-3**2), rtol=0.01)
    ball = fibres(diameter_m=1.2e-3, voxel_m=VOXEL_M, shape=SHAPE, angle_rad=0.0)
    tissue = ball.density[ball.materials.index("soft_tissue")].sum() * VOXEL_M**3
    assert_allclose(tissue, 0.3 * 1.05 * np.pi / 6 * 1.2e-3**3, rtol=0.02)


def test_water_cylinder_has_no_dark_field_but_foam_has() -> None:
    _, plain = radiograph(cylinder(diameter_m=3e-3, voxel_m=VOXEL_M, shape=SHAPE))
    _, foam = radiograph(cylinder(diameter_m=3e-3, voxel_m=VOXEL_M, shape=SHAPE, foam_diameter_m=1e-3))
    assert_allclose(plain[0], 0, atol=1e-6)
    assert_allclose(plain[1, :, 10:30], 0, atol=1e-3)  # its rims refract, its middle does not
    assert plain[1, 8, 5] > 0.02
    assert foam[0, 8, 20] > 0.05
    assert_allclose(foam[0, :, 5], 0, atol=1e-6)


@pytest.mark.parametrize("material", ["al", "water", "pmma"])
def test_step_wedge_attenuates_by_its_thickness(material: str) -> None:
    steps = [0.0, 1e-3, 2e-3, 4e-3]
    attenuation, dark_field = radiograph(step_wedge(thicknesses_m=steps, voxel_m=VOXEL_M, shape=SHAPE, material=material))
    mu = linear_attenuation(material, MATERIALS[material].density_g_cm3, 70.0)
    assert_allclose(attenuation[8, 5::10], mu * np.array(steps), rtol=1e-5)
    assert_allclose(dark_field, 0, atol=1e-6)


@pytest.mark.parametrize("voxel_m", [1e-4, 1.2e-4, 2.4e-4])
def test_plates_of_any_thickness_are_exact(voxel_m: float) -> None:
    shape, steps = (4, 60, 60), [0.0, 2e-4, 5e-4, 1e-3, 1.7e-3]
    solid = MATERIALS["al"].density_g_cm3
    wedge = step_wedge(thicknesses_m=steps, voxel_m=voxel_m, shape=shape, material="al").density[0]
    assert_allclose(wedge.sum(axis=1)[:, 6::12] * voxel_m / solid, np.broadcast_to(steps, (4, 5)), rtol=1e-6)
    for made in (
        edge(thickness_m=2e-4, voxel_m=voxel_m, shape=shape),
        star(thickness_m=2e-4, diameter_m=10e-3, voxel_m=voxel_m, shape=shape),
    ):
        through = made.density[0].sum(axis=1) * voxel_m / solid
        assert_allclose(through.max(), 2e-4, rtol=1e-6)
        assert (through >= 0).all()


@pytest.mark.parametrize("ordered", [False, True])
def test_suspension_is_the_closed_form(ordered: bool) -> None:
    f, diameter = 0.3, 2e-6
    cell = suspension(
        sphere_diameter_m=diameter, volume_fraction=f, diameter_m=3e-3, voxel_m=VOXEL_M, shape=SHAPE, ordered=ordered
    )
    attenuation, dark_field = radiograph(cell)
    thickness = cell.powders[0].share[8, :, 20].sum() * VOXEL_M
    contrast = delta("sio2", 2.2, 70.0) - delta("water", 1.0, 70.0)
    law = hard_spheres if ordered else sphere
    expected = law(diameter, f, contrast, 70.0, LINE.reference_correlation_length_m) * thickness
    assert expected > 0.05
    assert_allclose(dark_field[:, 8, 20], float(expected), rtol=1e-4)
    mu = f * linear_attenuation("sio2", 2.2, 70.0) + (1 - f) * linear_attenuation("water", 1.0, 70.0)
    assert_allclose(attenuation[8, 20], mu * thickness, rtol=1e-4)


def test_suspension_under_a_tube_is_the_sum_over_energies_and_depth_counts() -> None:
    tube = make_instrument(spectrum="tube", low_kev=30, high_kev=90, bins=12, design_energy_kev=50, flat_visibility=0.1)
    cell = suspension(sphere_diameter_m=4e-6, volume_fraction=0.2, diameter_m=3e-3, voxel_m=VOXEL_M, shape=SHAPE)
    (signal,) = view_signals(cell, instrument=tube, protocol=ONE_VIEW)
    thickness = cell.powders[0].share[8, :, 20].sum() * VOXEL_M
    e = tube.energies_kev
    epsilon = cell.powders[0].coefficient(e, tube.correlation_length_m)
    mu = 0.2 * linear_attenuation("sio2", 2.2, e) + 0.8 * linear_attenuation("water", 1.0, e)
    expected = slab_signal(tube, attenuation=mu * thickness, scattering=epsilon * thickness)
    seen = -np.log(np.abs(signal.fringe[0]) / signal.mean / tube.flat_visibility)
    assert_allclose(seen[8, 20], expected[1], rtol=2e-3)
    near = make_instrument(low_kev=70.0, high_kev=70.0, period_m=0.1e-6)
    deep = Effects(depth_dependent_correlation=True)
    (signal,) = view_signals(cell, instrument=near, protocol=ONE_VIEW, effects=deep)
    y = (np.arange(40) - 19.5) * VOXEL_M
    xi = near.reference_correlation_length_m * (1 - y / near.distance_m)
    each = cell.powders[0].coefficient(np.full(40, 70.0), xi) * cell.powders[0].share[8, :, 20]
    seen = -np.log(np.abs(signal.fringe[0]) / signal.mean / near.flat_visibility)
    assert_allclose(seen[8, 20], each.sum() * VOXEL_M, rtol=1e-3)


def test_suspension_in_a_divergent_beam() -> None:
    cell = suspension(sphere_diameter_m=4e-6, volume_fraction=0.2, diameter_m=3e-3, voxel_m=VOXEL_M, shape=SHAPE)
    far = replace(ONE_VIEW, source_axis_m=1e4)
    one, other = (next(view_signals(cell, instrument=LINE, protocol=p)) for p in (ONE_VIEW, far))
    assert_allclose(np.abs(other.fringe), np.abs(one.fringe), rtol=1e-3)


def test_powder_without_gratings_is_its_attenuation() -> None:
    cell = suspension(sphere_diameter_m=2e-6, voxel_m=VOXEL_M, shape=SHAPE, diameter_m=3e-3)
    plain = simulate_attenuation(cell, instrument=LINE, protocol=ONE_VIEW, seed=1, noise=False)
    assert_allclose(plain.attenuation[0, 0], radiograph(cell)[0], atol=1e-5)


def test_fibres_scatter_least_along_themselves() -> None:
    angles = np.deg2rad([0, 30, 60, 90, 120, 150])
    for angle in (0.0, np.deg2rad(30), np.deg2rad(90)):
        _, dark_field = radiograph(fibres(diameter_m=1.4e-3, voxel_m=VOXEL_M, shape=SHAPE, angle_rad=angle), tuple(angles))
        middle = dark_field[:, 8, 20]
        assert_allclose(angles[np.argmin(middle)], angle)
        assert middle.max() > 1.3 * middle.min()


def test_edge_and_star_are_what_they_are_called() -> None:
    plate, _ = radiograph(edge(thickness_m=1e-3, voxel_m=VOXEL_M, shape=SHAPE, angle_rad=0.0))
    assert_allclose(plate[:, :19], plate[0, 0], rtol=1e-5)
    assert_allclose(plate[:, 21:], 0, atol=1e-6)
    assert plate[0, 0] > 0.05
    wide = (40, 40, 40)
    siemens, _ = radiograph(star(thickness_m=1e-3, diameter_m=3.6e-3, voxel_m=VOXEL_M, shape=wide, spokes=6))
    around = np.linspace(0, 2 * np.pi, 240) + 0.1
    circle = siemens[np.rint(19.5 + 15 * np.cos(around)).astype(int), np.rint(19.5 + 15 * np.sin(around)).astype(int)]
    crossings = np.abs(np.diff((circle > 0.5 * siemens.max()).astype(int))).sum()
    assert crossings == 12


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: cylinder(diameter_m=0.0, voxel_m=VOXEL_M, shape=SHAPE), "diameter_m"),
        (lambda: cylinder(diameter_m=1e-3, foam_diameter_m=2e-3, voxel_m=VOXEL_M, shape=SHAPE), "foam_diameter_m"),
        (lambda: cylinder(diameter_m=1e-3, voxel_m=VOXEL_M, shape=SHAPE, material="jelly"), "material: 'jelly'"),
        (lambda: step_wedge(thicknesses_m=[-1e-3], voxel_m=VOXEL_M, shape=SHAPE), "thicknesses_m"),
        (lambda: step_wedge(thicknesses_m=[1.0], voxel_m=VOXEL_M, shape=SHAPE), "thicknesses_m"),
        (lambda: star(thickness_m=1e-3, diameter_m=1e-3, voxel_m=VOXEL_M, shape=SHAPE, spokes=1), "spokes"),
        (lambda: edge(thickness_m=1e-3, voxel_m=0.0, shape=SHAPE), "voxel_m"),
        (lambda: suspension(sphere_diameter_m=0.0, voxel_m=VOXEL_M, shape=SHAPE), "sphere_diameter_m"),
        (lambda: suspension(sphere_diameter_m=1e-6, volume_fraction=0.7, voxel_m=VOXEL_M, shape=SHAPE), "volume_fraction"),
        (lambda: suspension(sphere_diameter_m=1e-6, fluid="jelly", voxel_m=VOXEL_M, shape=SHAPE), "material: 'jelly'"),
        (lambda: radiograph(suspension(sphere_diameter_m=1e-9, voxel_m=VOXEL_M, shape=SHAPE)), "correlation_length_m"),
    ],
)
def test_impossible_input_names_the_field(make, field: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DarklungError, match=f"^{field}"):
        make()


def test_attenuation_scan_has_the_photons_of_equal_dose(scene: Callable[..., Phantom]) -> None:
    phantom = scene(shape=(24, 48, 48), tissue_fraction=0.3)
    protocol = Protocol(views=4, counts_per_pixel=1e6, flats=2, flat_repeats=10)
    options = {"instrument": make_instrument(), "protocol": protocol, "seed": 3}
    told = []
    noisy = simulate_attenuation(phantom, **options, progress=lambda done, total: told.append((done, total)))
    exact = simulate_attenuation(phantom, **options, noise=False)
    signals = list(view_signals(phantom, instrument=make_instrument(), protocol=protocol))
    assert_allclose(exact.attenuation[0], [-np.log(s.mean) for s in signals], atol=1e-6)
    pull = (noisy.attenuation - exact.attenuation) / np.sqrt(noisy.attenuation_variance)
    assert_allclose([pull.mean(), pull.std()], [0, 1], atol=0.06)
    # 1e6 counts over 4 views, twice as many without G2
    assert_allclose(1 / exact.attenuation_variance.max(), 1 / (np.exp(exact.attenuation.max()) / 5e5 + 1 / 1e7), rtol=0.1)
    assert np.isnan(noisy.dark_field).all()
    assert noisy.valid.all()
    assert told[-1] == (4, 4)
