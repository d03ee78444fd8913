"""Fine texture goes with the lung that is replaced, and the scan's noise stays."""

import numpy as np
import pytest
from scipy import ndimage

from darklung.insert.residual import fine_texture, tissue_noise

VOXEL_M, TISSUE, NOISE, TEXTURE = 2e-4, 20.0, 0.5, 0.9


@pytest.fixture(scope="module")
def volume():
    """An even body with a lung of 6 /m and texture finer than what is replaced by itself."""
    z, y, x = np.indices((40, 60, 60)) - np.array([20, 30, 30])[:, None, None, None]
    region = (z / 16) ** 2 + (y / 18) ** 2 + (x / 18) ** 2 < 1
    rng = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(rng.standard_normal(region.shape), 0.4)
    clean = np.where(region, 6 + TEXTURE * texture / texture.std(), TISSUE)
    return clean + NOISE * rng.standard_normal(region.shape), region


def test_even_tissue_tells_the_noise(volume):
    values, region = volume
    found = tissue_noise(values, region, tissue_per_m=TISSUE, voxel_m=VOXEL_M)
    assert found == pytest.approx(NOISE, rel=0.08)
    assert tissue_noise(np.where(region, values, 0.0), region, tissue_per_m=TISSUE, voxel_m=VOXEL_M) is None


def test_what_stays_has_the_noise_and_the_mean(volume):
    values, region = volume
    inner = ndimage.binary_erosion(region, iterations=4)
    gone = fine_texture(values, region, noise_per_m=NOISE, voxel_m=VOXEL_M)
    assert not gone[~region].any()
    assert (values - 6)[inner].std() > 1.8 * NOISE
    assert (values - gone - 6)[inner].std() == pytest.approx(NOISE, rel=0.25)
    assert gone[inner].mean() == pytest.approx(0, abs=0.02)


def test_nothing_goes_where_noise_is_all(volume):
    values, region = volume
    assert not fine_texture(values, region, noise_per_m=5.0, voxel_m=VOXEL_M).any()
