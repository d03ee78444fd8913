"""Visibility lost at rims, against geometric optics: the mean of e^{iφ} over each pixel of an analytic cylinder."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from darklung.core.types import Phantom
from darklung.physics.instrument import make_instrument
from darklung.physics.materials import MATERIALS, delta, linear_attenuation
from darklung.retrieve.stepping import retrieve
from darklung.simulate.effects import Effects
from darklung.simulate.objects import cylinder
from darklung.simulate.overlap import plane_share
from darklung.simulate.protocol import Protocol
from darklung.simulate.refraction import refraction_within
from darklung.simulate.scan import simulate_scan, view_signals

LINE = make_instrument(low_kev=70.0, high_kev=70.0)
ACROSS, OBLIQUE, ALONG = np.pi / 2, np.pi / 4, 0.0
DIRECTIONS = (ACROSS, OBLIQUE, ALONG)
LUNG = 0.3 * 1.05
ONE_VIEW = Protocol(views=1, flats=1, flat_repeats=1, directions_rad=DIRECTIONS)


def geometric(diameter_m, pixel_m, *, material, contrast, direction, cols, middle_m=0.0, points=20_000):  # type: ignore[no-untyped-def]
    """−ln D of a row of pixels across a cylinder along the rows: rays one by one, weighted by their transmission."""
    edges = (np.arange(cols) - cols / 2) * pixel_m - middle_m
    x = edges[:, None] + (np.arange(points) + 0.5) / points * pixel_m
    radius = diameter_m / 2
    inside = np.abs(x) < radius
    root = np.sqrt(np.where(inside, radius**2 - x**2, 1.0))
    slope = np.where(inside, -2 * x / root, 0.0) * float(delta(material, contrast, 70.0))
    weight = np.where(inside, np.exp(-2 * root * float(linear_attenuation(material, contrast, 70.0))), 1.0)
    fringe = (weight * np.exp(1j * np.sin(direction) * LINE.phase_per_radian * slope)).mean(axis=1)
    return -np.log(np.abs(fringe) / weight.mean(axis=1))


def vessel(diameter_m: float, voxel_m: float, cols: int) -> Phantom:
    """Blood in lung that fills the volume; nothing scatters, so that only refraction lowers visibility."""
    one = cylinder(diameter_m=diameter_m, voxel_m=voxel_m, shape=(8, cols, cols), material="soft_tissue")
    share = plane_share((cols, cols), voxel_m, radius_m=diameter_m / 2)
    density = LUNG + share * (MATERIALS["soft_tissue"].density_g_cm3 - LUNG)
    return replace(one, density=np.broadcast_to(density, one.density.shape).astype(np.float32))


def seen(phantom: Phantom, supersampling: int, effects: Effects | None = None) -> np.ndarray:
    """−ln D of the middle row, (direction, col)."""
    protocol = replace(ONE_VIEW, supersampling=supersampling)
    (signal,) = view_signals(phantom, instrument=LINE, protocol=protocol, effects=effects)
    rows = -np.log(np.abs(signal.fringe) / signal.mean / LINE.flat_visibility)
    return np.asarray(rows[:, rows.shape[1] // 2])


def test_a_bone_cylinder_loses_what_was_worked_out_before() -> None:
    # Σ −ln D of a row .122 and .060 in the edge pixel, by 2e5 rays a pixel (issue 12)
    bone = cylinder(diameter_m=0.6e-3, voxel_m=120e-6, shape=(8, 48, 48), material="bone")
    row = seen(bone, 1)
    assert_allclose([row[0].sum(), row[0].max()], [0.122, 0.060], rtol=0.03)
    truth = geometric(0.6e-3, 120e-6, material="bone", contrast=1.92, direction=ACROSS, cols=48)
    assert_allclose(row[0], truth, atol=1.5e-3)
    assert_allclose(seen(bone, 1, Effects(unresolved_refraction=False))[0], 0, atol=1e-6)


@pytest.mark.parametrize("cols", [32, 33])
@pytest.mark.parametrize("supersampling", [1, 2])
@pytest.mark.parametrize("pixel_m", [120e-6, 240e-6])
@pytest.mark.parametrize("what", ["bone", "vessel"])
def test_rims_lose_what_geometric_optics_says(what: str, pixel_m: float, supersampling: int, cols: int) -> None:
    k = supersampling
    for diameter in (0.3e-3, 0.6e-3, 1e-3, 3e-3):
        if what == "bone":
            shape = (8 * k, cols * k, cols * k)
            phantom = cylinder(diameter_m=diameter, voxel_m=pixel_m / k, shape=shape, material="bone")
            material, contrast = "bone", MATERIALS["bone"].density_g_cm3
        else:
            phantom = vessel(diameter, pixel_m / k, cols * k)
            material, contrast = "soft_tissue", MATERIALS["soft_tissue"].density_g_cm3 - LUNG
        rows = seen(phantom, k)
        for row, direction in zip(rows, DIRECTIONS):
            truth = geometric(
                diameter, pixel_m, material=material, contrast=contrast, direction=direction, cols=cols, points=8000
            )
            assert_allclose(row.sum(), truth.sum(), rtol=0.15, atol=0.005 if direction == ALONG else 0)


def test_raw_frames_show_it_through_retrieval() -> None:
    bone = cylinder(diameter_m=0.6e-3, voxel_m=120e-6, shape=(8, 48, 48), material="bone")
    scan = simulate_scan(bone, instrument=LINE, protocol=ONE_VIEW, seed=1, noise=False)
    rows = retrieve(scan).dark_field[:, 0, 4]
    assert_allclose(rows.sum(axis=1), [0.122, 0.0713, 0], rtol=0.05, atol=0.005)


def test_a_turned_cylinder_loses_what_geometric_optics_says() -> None:
    # Seen askew, voxels blur a rim over its neighbours: every view within 15 %.
    for diameter in (0.6e-3, 1e-3, 3e-3):
        bone = cylinder(diameter_m=diameter, voxel_m=120e-6, shape=(2, 36, 36), material="bone")
        protocol = replace(ONE_VIEW, views=24, arc_rad=np.pi / 2, directions_rad=(ACROSS, ALONG))
        signals = view_signals(bone, instrument=LINE, protocol=protocol)
        lost = [-np.log(np.abs(s.fringe[:, 1]) / s.mean[1] / LINE.flat_visibility).sum(axis=1) for s in signals]
        across, along = np.array(lost).T
        truth = geometric(diameter, 120e-6, material="bone", contrast=1.92, direction=ACROSS, cols=36).sum()
        assert_allclose(across, truth, rtol=0.15)
        assert_allclose(np.mean(across), truth, rtol=0.08)
        assert_allclose(along, 0, atol=0.005)


def test_a_thin_body_seen_askew_keeps_both_its_rims() -> None:
    # Of 2.5 voxels three pixels tell one rim now and then: such views lost half of what the rays say.
    size, fine, diameter, pixel_m, ratios = 24, 16, 0.3e-3, 120e-6, []
    bone = {"material": "bone", "contrast": MATERIALS["bone"].density_g_cm3}
    protocol = replace(ONE_VIEW, views=12, arc_rad=np.pi / 2, directions_rad=(ACROSS,))
    at = (np.arange(size * fine) + 0.5) / fine - size / 2
    for y, x in ((0.31, -0.87), (0.58, -0.09), (-1.52, 1.23)):
        inside = np.hypot(at[:, None] - y, at - x) < diameter / 2 / pixel_m
        share = np.broadcast_to(inside.reshape(size, fine, size, fine).mean(axis=(1, 3)), (2, size, size))
        one = cylinder(diameter_m=pixel_m, voxel_m=pixel_m, shape=share.shape, material="bone")
        density = np.zeros_like(one.density)
        density[one.materials.index("bone")] = share * bone["contrast"]
        for signal in view_signals(replace(one, density=density), instrument=LINE, protocol=protocol):
            angle = protocol.angles_rad[signal.view]
            middle_m = (x * np.cos(angle) + y * np.sin(angle)) * pixel_m
            truth = geometric(diameter, pixel_m, direction=ACROSS, cols=size, middle_m=middle_m, points=2000, **bone).sum()
            ratios.append(-np.log(np.abs(signal.fringe[0, 1]) / signal.mean[1] / LINE.flat_visibility).sum() / truth)
    assert_allclose(ratios, 1, atol=0.32)
    assert_allclose(np.mean(ratios), 1, atol=0.06)


@pytest.mark.parametrize("degrees", [30, 45, 60])
def test_a_cylinder_tilted_in_the_detector_loses_what_geometric_optics_says(degrees: float) -> None:
    tilt, size, points, diameter, pixel_m = np.deg2rad(degrees), 32, 4, 0.6e-3, 120e-6
    at = (np.arange(size * points) + 0.5) / points - size / 2
    z, y, x = np.meshgrid(at, at[size * points // 4 : -size * points // 4], at, indexing="ij")
    inside = (x * np.cos(tilt) - z * np.sin(tilt)) ** 2 + y**2 < (diameter / 2 / pixel_m) ** 2
    share = inside.reshape(size, points, size // 2, points, size, points).mean(axis=(1, 3, 5))
    bone = cylinder(diameter_m=pixel_m, voxel_m=pixel_m, shape=share.shape, material="bone")
    density = np.zeros_like(bone.density)
    density[bone.materials.index("bone")] = share * 1.92
    protocol = replace(ONE_VIEW, directions_rad=(tilt + np.pi / 2, tilt))
    (signal,) = view_signals(replace(bone, density=density), instrument=LINE, protocol=protocol)
    rows = -np.log(np.abs(signal.fringe) / signal.mean / LINE.flat_visibility)[:, 12:20].sum(axis=2).mean(axis=1)
    # Rays over the square of each pixel, of eight rows
    number, truth = np.arange(4000) + 0.5, 0.0
    over, along = number / 4000, number * 0.6180339887498949 % 1
    radius, step = diameter / 2, LINE.phase_per_radian * float(delta("bone", 1.92, 70.0))
    for row in range(-4, 4):
        for col in range(-16, 16):
            s = ((col + over) * np.cos(tilt) - (row + along) * np.sin(tilt)) * pixel_m
            root = np.sqrt(np.where(np.abs(s) < radius, radius**2 - s**2, np.inf))
            chord = np.where(np.isfinite(root), 2 * root, 0.0)
            weight = np.exp(-chord * float(linear_attenuation("bone", 1.92, 70.0)))
            truth -= np.log(np.abs((weight * np.exp(-2j * step * s / root)).mean()) / weight.mean()) / 8
    assert_allclose(rows, [truth, 0], rtol=0.15, atol=0.005)


def test_lines_and_columns_are_alike_and_signs_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    x = np.arange(40) - 19.3
    rod = np.sqrt(np.maximum(5.2**2 - x**2, 0)) * 0.2
    path = np.broadcast_to(rod, (30, 40)) + 1e-3 * rng.standard_normal((30, 40)).cumsum(axis=0).cumsum(axis=1) / 40
    options = {"scales": np.array([0.8, 1.0, 1.3]), "blur": (0.0, 0.0)}
    loss, turn = refraction_within(path, directions_rad=(0.4, ACROSS), **options)
    assert loss[1, 1, 5].sum() > 0.01
    assert (loss >= 0).all()
    assert (np.diff(loss[1, :, 5].sum(axis=1)) > 0).all()  # softer photons bend more
    over, back = refraction_within(path.T, directions_rad=(ACROSS - 0.4, 0.0), **options)
    assert_allclose(over, loss.transpose(0, 1, 3, 2), atol=1e-6)
    assert_allclose(back, turn.transpose(0, 2, 1), atol=1e-6)
    hole, other = refraction_within(-path, directions_rad=(0.4, ACROSS), **options)
    assert_allclose(hole, loss, atol=1e-6)
    assert_allclose(other, -turn, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_detectors_of_few_rows_say_the_same_of_each_row(rows: int) -> None:
    path = np.sqrt(np.maximum(5.2**2 - (np.arange(30) - 14.7) ** 2, 0)) * 0.2
    options = {"directions_rad": (ACROSS, ALONG), "scales": np.array([0.8, 1.0]), "blur": (0.0, 0.0)}
    loss, turn = refraction_within(np.broadcast_to(path, (rows, 30)).copy(), **options)
    many, turns = refraction_within(np.broadcast_to(path, (9, 30)).copy(), **options)
    assert many[0].max() > 0.01
    assert_allclose(loss, np.broadcast_to(many[:, :, 4:5], (2, 2, rows, 30)), atol=1e-6)
    assert_allclose(turn, np.broadcast_to(turns[:, 4:5], (2, rows, 30)), atol=1e-6)
    thin = cylinder(diameter_m=1e-3, voxel_m=120e-6, shape=(rows, 30, 30), material="bone")
    (signal,) = view_signals(thin, instrument=LINE, protocol=ONE_VIEW)
    assert signal.mean.shape == (rows, 30)
    assert signal.fringe.shape == (3, rows, 30)


def test_faces_along_the_beam_and_straight_slopes_lose_nothing() -> None:
    x = np.arange(40.0)
    options = {"directions_rad": (ACROSS,), "scales": np.ones(1), "blur": (0.0, 0.0)}
    for profile in (0.02 * x, np.where(x < 20, 0.0, 0.8), np.where((x > 10) & (x < 30), 0.6, 0.1)):
        loss, turn = refraction_within(np.broadcast_to(profile, (9, 40)).copy(), **options)
        assert_allclose(loss, 0, atol=1e-9)
        assert_allclose(turn, 0, atol=1e-9)
