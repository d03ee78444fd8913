"""Reused lesions lie in free lung and change every channel of it by the same tissue."""

import numpy as np
import pytest
from scipy import ndimage

from darklung.core.checks import DarklungError
from darklung.core.geometry import centred_axis
from darklung.insert.bank import Host, draw_bank
from darklung.insert.reuse import reuse_lesions
from darklung.phantom.grid import Grid
from darklung.physics.materials import delta, linear_attenuation
from darklung.physics.scattering import two_phase

VOXEL_M, SHAPE = 2.5e-4, (36, 44, 40)
CONTRAST = float(delta("soft_tissue", 1.05, 70.0))
HOST = Host(float(linear_attenuation("soft_tissue", 1.05, 70.0)), 6.5e4, CONTRAST, 70.0, 3e-6)
PHI, EPSILON = 0.3, float(two_phase(0.3, 6.5e4, CONTRAST, 70.0, 3e-6))


@pytest.fixture(scope="module")
def lung():
    axes = [centred_axis(n, VOXEL_M) for n in SHAPE]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    region = (z / 4e-3) ** 2 + (y / 5e-3) ** 2 + (x / 4.6e-3) ** 2 < 1
    attenuation = np.where(region, PHI, 1.0) * HOST.tissue_per_m
    scattering = [np.where(region, EPSILON * k, 0) for k in (1.0, 0.8)]
    return attenuation, scattering, region, Grid(VOXEL_M, *axes)


@pytest.fixture(scope="module")
def bank():
    return draw_bank(count=5, seed=4, voxel_m=VOXEL_M, classes=("solid",), diameters_m=(1e-3, 2e-3))


def reused(lung, bank, **changes):
    options = {"bank": bank, "count": 2, "taken": np.zeros(SHAPE, bool), "host": HOST, "seed": 1, **changes}
    return reuse_lesions(*lung, **options)


def test_lesions_and_shams_lie_in_free_lung_and_nothing_else_changes(lung, bank):
    region = lung[2]
    taken = np.zeros(SHAPE, bool)
    taken[16:20, 20:24, 18:22] = True
    for seed in range(4):
        made = reused(lung, bank, taken=taken, seed=seed)
        assert set(np.unique(made.lesions)) == set(np.unique(made.shams)) == {0, 1, 2}
        labelled = (made.lesions > 0) | (made.shams > 0)
        assert region[labelled].all()
        assert not (made.lesions > 0)[made.shams > 0].any()
        assert ndimage.distance_transform_edt(~taken)[labelled].min() * VOXEL_M > 0.6e-3
        for change in (made.attenuation, *made.scattering):
            assert not change[~region].any()
            assert not change[taken].any()
        assert ndimage.label((made.lesions > 0) | (made.shams > 0), np.ones((3, 3, 3)))[1] == 4


def test_solid_attenuates_more_and_scatters_less_in_every_direction_alike(lung, bank):
    made = reused(lung, bank, blur_m=(0.0, VOXEL_M / 2, VOXEL_M / 2))
    core, sham = made.lesions > 0, made.shams > 0
    assert (made.attenuation[core] > 0.5 * PHI * HOST.tissue_per_m).all()
    assert (made.scattering[:, core] < 0).all()
    np.testing.assert_allclose(made.scattering[1], 0.8 * made.scattering[0], rtol=1e-6, atol=1e-9)
    largest = 0.06 * np.array([PHI * HOST.tissue_per_m, EPSILON])
    assert 0 < np.abs(made.attenuation[sham]).max() < largest[0]
    assert 0 < np.abs(made.scattering[0][sham]).max() < largest[1]


def test_same_seed_same_places_and_a_crowded_lung_takes_fewer(lung, bank):
    one, again, other = (reused(lung, bank, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.attenuation, again.attenuation)
    assert (one.lesions != other.lesions).any()
    crowded = reused(lung, bank, count=60)
    assert 2 < len(np.unique(crowded.lesions)) - 1 < 60
    np.testing.assert_array_equal(np.unique(crowded.lesions), np.unique(crowded.shams))
    assert not reused(lung, bank, taken=lung[2]).attenuation.any()


def test_a_bank_on_other_voxels_is_refused(lung):
    with pytest.raises(DarklungError, match=r"bank: wanted lesions on voxels of 0\.00025 m"):
        reused(lung, draw_bank(count=1, seed=1, voxel_m=2e-4))
