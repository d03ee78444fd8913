"""What a volume tells of its soft tissue, where no instrument is known."""

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.insert.scale import own_tissue_per_m

VOXEL_M = 2e-4


def chest(tissue: float, lung: float) -> tuple[np.ndarray, np.ndarray]:
    """A cylinder of tissue with a lung in it and ribs of four times the tissue's attenuation close to the lung."""
    rng = np.random.default_rng(1)
    z, y, x = np.indices((30, 100, 100)) - np.array([15, 50, 50]).reshape(3, 1, 1, 1)
    region = (y**2 + x**2) < 25**2
    body = (y**2 + x**2) < 45**2
    ribs = body & ~region & (np.abs(np.hypot(y, x) - 29) < 2) & (z % 10 < 4)
    values = np.where(region, lung, np.where(ribs, 4 * tissue, np.where(body, tissue, 0.0)))
    return values + rng.normal(0, 0.03 * tissue, values.shape), region


@pytest.mark.parametrize("ratio", [3.2, 1.9])
def test_own_tissue_is_the_wall_and_not_the_ribs(ratio):
    values, region = chest(20.0, 20.0 / ratio)
    assert own_tissue_per_m(values, region, VOXEL_M) == pytest.approx(20.0, rel=0.02)


def test_an_excised_lung_tells_none():
    values, region = chest(20.0, 6.0)
    with pytest.raises(DarklungError, match="no soft tissue around the lungs"):
        own_tissue_per_m(np.where(region, values, 0.0), region, VOXEL_M)
