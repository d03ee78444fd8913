"""Masks carried into a volume: exact where the place is, unknown where nobody saw, and a band that holds what it says."""

import numpy as np
import pytest
from scipy.stats import norm

from darklung.core.checks import DarklungError
from darklung.core.types import UNKNOWN, Image
from darklung.register.carry import Drawn, carry
from darklung.register.transform import PlaneMap

SIDE, VOXEL, PIXEL = 41, 100e-6, 20e-6


def grid():
    return Image(np.zeros((0, SIDE, SIDE, SIDE)), (), (), (VOXEL,) * 3)


def half(edge_m=0.0):
    """A section of 4 mm whose right half, from a column on, is drawn; lung but for its uppermost quarter."""
    axis = (np.arange(200) - 99.5) * PIXEL
    mask = np.broadcast_to(axis > edge_m, (200, 200))
    lung = np.broadcast_to(axis[:, None] > -1e-3, (200, 200))
    return Drawn(np.array(mask & lung), np.array(lung), PIXEL, (axis[0], axis[0]))


def plane(height_m=0.0, sd_m=0.0):
    covariance = np.zeros((9, 9))
    covariance[:3, :3] = sd_m**2 * np.eye(3)
    return PlaneMap("one", "scanner", np.array([0, height_m, 0.0]), np.eye(3)[:, [0, 2]], None, covariance)


def test_only_what_the_section_saw_is_known():
    found = carry(grid(), [plane()], [half()])
    where = np.argwhere(found.seen)
    assert set(where[:, 1]) == {SIDE // 2}  # one layer of voxels
    assert where[:, 0].min() == 11  # rows above have no lung in the picture
    labels = found.labels(0.9)
    assert (labels[~found.seen] == UNKNOWN).all()
    layer = labels[20:40, SIDE // 2, 1:40]  # the picture ends there
    assert (layer[:, :17] == 0).all()
    assert (layer[:, 22:] == 1).all()
    assert (found.labels(0.0)[found.seen] != UNKNOWN).all()


def test_a_border_is_as_likely_as_the_error_says():
    found = carry(grid(), [plane(sd_m=200e-6)], [half()])
    sd = float(found.error_m[30, SIDE // 2, 20])
    # Along rows, columns and normal each 200 um, and half a voxel's reach, evenly.
    assert sd == pytest.approx(np.sqrt(2 * 200e-6**2 + (VOXEL / 2) ** 2 / 3), rel=1e-3)
    across = (np.arange(SIDE) - SIDE // 2) * VOXEL
    inner = np.abs(across) < 0.9e-3
    row = found.probability[30, SIDE // 2]
    assert row[inner] == pytest.approx(norm.cdf(across[inner] / sd), abs=0.012)


def test_the_band_holds_its_share_of_borders():
    """Sections drawn with an error of the stated size: the true border lies in the band as often as it says."""
    sd, rng, inside, all_of_them = 150e-6, np.random.default_rng(7), 0, 400
    found = carry(grid(), [plane(sd_m=sd)], [half()])
    row, across = found.probability[30, SIDE // 2], (np.arange(SIDE) - SIDE // 2) * VOXEL
    stated = float(found.error_m[30, SIDE // 2, 20])
    for off in stated * rng.standard_normal(all_of_them):
        inside += 0.05 < np.interp(off, across, row) < 0.95
    assert inside / all_of_them == pytest.approx(0.9, abs=0.04)


def test_sections_that_disagree_are_averaged_and_oblique_grids_see_the_same():
    found = carry(grid(), [plane(), plane()], [half(), half(0.5e-3)])
    layer = found.probability[30, SIDE // 2]
    assert layer[23] == pytest.approx(0.5, abs=0.02)
    assert layer[38] == pytest.approx(1)
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turned = Image(np.zeros((0, SIDE, SIDE, SIDE)), (), (), (VOXEL,) * 3, (), "scanner", tuple(map(tuple, turn)))
    area = carry(turned, [plane()], [half()]).seen.sum()
    assert area == pytest.approx(found.seen.sum() / np.cos(angle) * np.cos(angle), rel=0.06)


def test_frames_must_be_the_same():
    other = Image(np.zeros((0, 4, 4, 4)), (), (), (VOXEL,) * 3, (), "LPS")
    with pytest.raises(DarklungError, match="one: wanted the frame 'LPS', got 'scanner'"):
        carry(other, [plane()], [half()])
    with pytest.raises(DarklungError, match="wanted a map for each section, got 1 and 2"):
        carry(grid(), [plane()], [half(), half()])
