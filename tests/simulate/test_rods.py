"""Thin rods told by the voxels of their cross-sections, and what they lose, against geometric optics."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter

from darklung.core.geometry import ParallelGeometry
from darklung.physics.instrument import make_instrument
from darklung.physics.materials import MATERIALS, delta
from darklung.simulate.objects import cylinder
from darklung.simulate.protocol import Protocol
from darklung.simulate.rods import find_rods, on_lines
from darklung.simulate.scan import view_signals

LINE = make_instrument(low_kev=70.0, high_kev=70.0)
BLOOD_IN_LUNG = MATERIALS["soft_tissue"].density_g_cm3 - 0.3 * 1.05
VOXEL_M, SIZE, FINE = 240e-6, 24, 12


def rod(diameter: float, tilt: float, y: float, x: float) -> np.ndarray:
    """Share of each voxel in a rod [voxels] that leaves z towards x by `tilt`."""
    at = (np.arange(SIZE * FINE) + 0.5) / FINE - SIZE / 2
    across = (at - x) * np.cos(tilt) - at[:, None] * np.sin(tilt)
    out = np.zeros((SIZE,) * 3, dtype=np.float32)
    for i in np.flatnonzero(np.abs(at - y) < diameter / 2):
        inside = across**2 + (at[i] - y) ** 2 < diameter**2 / 4
        out[:, i // FINE] += inside.reshape(SIZE, FINE, SIZE, FINE).mean(axis=(1, 3)) / FINE
    return out


def lost(share: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Σ −ln D of a row, mean of the middle eight, (view, direction)."""
    one = cylinder(diameter_m=VOXEL_M, voxel_m=VOXEL_M, shape=share.shape, material="soft_tissue")
    density = np.zeros_like(one.density)
    density[one.materials.index("soft_tissue")] = share * BLOOD_IN_LUNG
    found = view_signals(replace(one, density=density), instrument=LINE, protocol=protocol)
    rows = slice(SIZE // 2 - 4, SIZE // 2 + 4)
    lines = [-np.log(np.abs(s.fringe) / s.mean / LINE.flat_visibility)[:, rows].sum(axis=2).mean(axis=1) for s in found]
    return np.array(lines)


def by_rays(diameter: float, tilt: float, middle: float) -> float:
    """Σ −ln D of a row across a rod, mean of the middle eight, by rays over each pixel; blood hardly attenuates."""
    number, total = np.arange(4000) + 0.5, 0.0
    over, along = number / 4000, number * 0.6180339887498949 % 1
    step = LINE.phase_per_radian * float(delta("soft_tissue", BLOOD_IN_LUNG, 70.0))
    for row in range(-4, 4) if tilt else range(1):
        for col in range(-SIZE // 2, SIZE // 2):
            s = (col + over - middle) * np.cos(tilt) - (row + along) * np.sin(tilt)
            root = np.sqrt(np.where(np.abs(s) < diameter / 2, diameter**2 / 4 - s**2, np.inf))
            total -= np.log(np.abs(np.exp(-2j * step * s / root).mean())) / (8 if tilt else 1)
    return total


@pytest.mark.parametrize("diameter", [1.25, 2.5])
def test_thin_rods_turned_about_their_axis_lose_what_geometric_optics_says(diameter: float) -> None:
    # By the shadow alone blood of 1.25 voxels lost 0.15 to 1.01 of what the rays say.
    protocol = Protocol(views=6, flats=1, flat_repeats=1, arc_rad=1.3, directions_rad=(np.pi / 2, 0.0))
    for y, x in ((0.31, -0.87), (-1.52, 1.23), (2.48, 0.07)):
        across, along = lost(rod(diameter, 0.0, y, x), protocol).T
        middles = x * np.cos(protocol.angles_rad) + y * np.sin(protocol.angles_rad)
        assert_allclose(across, [by_rays(diameter, 0.0, middle) for middle in middles], rtol=0.1)
        assert_allclose(along, 0, atol=0.001)


@pytest.mark.parametrize(("diameter", "degrees"), [(1.25, 20), (1.25, 45), (1.25, 70), (2.5, 45)])
def test_thin_rods_tilted_in_the_detector_lose_what_geometric_optics_says(diameter: float, degrees: float) -> None:
    # By the shadow alone three quarters at 45°.
    tilt = np.deg2rad(degrees)
    protocol = Protocol(views=1, flats=1, flat_repeats=1, directions_rad=(tilt + np.pi / 2, tilt))
    ((across, along),) = lost(rod(diameter, tilt, 0.2, 0.3), protocol)
    assert_allclose(across, by_rays(diameter, tilt, 0.3), rtol=0.1)
    assert_allclose(along, 0, atol=0.001)


@pytest.mark.parametrize("diameter", [1.25, 1.5, 2.5])
def test_place_direction_radius_and_contrast_are_the_rods(diameter: float) -> None:
    for sign in (1, -1):
        for y, x in ((0.31, -0.87), (-1.02, 0.23)):
            found = find_rods(sign * 0.3 * rod(diameter, 0.4, y, x))
            inner = np.abs(found.point[:, 0]) < 7
            assert len(np.unique(found.point[inner, 0])) == 14  # each slice has its piece
            z, py, px = found.point[inner].T
            assert_allclose(py, y, atol=0.05)
            assert_allclose((px - x) * np.cos(0.4) - z * np.sin(0.4), 0, atol=0.05)
            assert_allclose(found.step[inner, 2], np.tan(0.4), atol=0.06)
            assert_allclose(np.median(found.radius[inner]), diameter / 2, rtol=0.05)
            assert_allclose(found.radius**2 * found.contrast, sign * 0.3 * diameter**2 / 4, rtol=0.03)  # its mass


def test_what_is_no_rod_has_none() -> None:
    rng = np.random.default_rng(3)
    z, y, x = np.meshgrid(*3 * [np.arange(36) - 17.3], indexing="ij")
    rough = rng.standard_normal((36, 36, 36))
    for soft in (0.0, 0.7, 1.5, 3.0):  # texture of any grain
        texture = gaussian_filter(rough, soft)
        assert len(find_rods((texture / texture.std() * 0.1).astype(np.float32)).radius) == 0
    sphere = np.clip(3 - np.sqrt(x**2 + y**2 + z**2), 0, 1)
    for body in (
        np.exp(-(x**2 + y**2 + z**2) / 30),
        np.exp(-(x**2 + y**2) / 4),
        sphere,
        np.maximum(x, 0) * 0.1,
        np.abs(x) < 1,
    ):
        assert len(find_rods(body.astype(np.float32)).radius) == 0
    assert len(find_rods((np.hypot(x, y) < 6).astype(np.float32)).radius) == 0  # too thick: its shadow tells its rims


def test_a_piece_is_on_each_line_that_it_crosses() -> None:
    found = find_rods(rod(1.25, 0.4, 0.0, 0.3))
    seen = found.seen(ParallelGeometry(np.zeros(1), SIZE, SIZE, 1.0))
    starts, rods = on_lines(seen, SIZE)
    assert (np.diff(starts)[5:19] >= 1).all()
    middle = (SIZE - 1) / 2
    for line in range(5, 19):
        nearest = min(rods[starts[line] : starts[line + 1]], key=lambda r: r[4])
        assert_allclose(nearest[0], middle + 0.3 + (line - middle) * np.tan(0.4), atol=0.05)
        assert_allclose(nearest[1], 0.625 / np.cos(0.4), rtol=0.05)
