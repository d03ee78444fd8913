import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.features.lung import lung_region
from darklung.features.pleura import pleural_nodules

VOXEL = 2.0e-4
SOFT, LUNG, BONE = 20.0, 5.5, 80.0


def _ball(grid, centre, radius):
    return sum((g - c) ** 2 for g, c in zip(grid, centre)) <= radius**2


def thorax(*, noise=0.0, nodules=(), seed=0, shape=(50, 110, 110)):
    """Values [1/m] and the true lung mask of a cylinder with two ellipsoidal lungs that leave through z, spine, trachea."""
    z, y, x = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * VOXEL for n in shape], indexing="ij")
    body = (x / 10e-3) ** 2 + (y / 9e-3) ** 2 <= 1
    lungs = ((x - 4.2e-3) / 3.4e-3) ** 2 + (y / 5e-3) ** 2 <= 1
    lungs |= ((x + 4.2e-3) / 3.4e-3) ** 2 + (y / 5e-3) ** 2 <= 1
    values = np.where(lungs, LUNG, np.where(body, SOFT, 0.0))
    values[x**2 + (y - 7e-3) ** 2 <= 1e-3**2] = BONE
    values[(x**2 + (y + 6e-3) ** 2 <= 0.7e-3**2)] = 0.0  # trachea
    truth = lungs.copy()
    for centre, radius in nodules:
        values[_ball((z, y, x), centre, radius) & body] = SOFT
    values = values + noise * np.random.default_rng(seed).standard_normal(shape)
    return Image(values[None].astype(np.float32), ("attenuation",), ("1/m",), (VOXEL,) * 3), truth


def dice(a, b):
    return 2 * np.sum(a & b) / (np.sum(a) + np.sum(b))


@pytest.mark.parametrize("noise", [0.0, 3.0, 6.0])
def test_finds_both_lungs_in_noise_and_not_the_trachea(noise):
    image, truth = thorax(noise=noise)
    region = lung_region(image)
    assert dice(region, truth) > 0.93
    middle = [n // 2 for n in image.shape]
    trachea = round(-6e-3 / VOXEL + (image.shape[1] - 1) / 2)
    assert not region[middle[0], trachea, middle[2]]
    assert not region[0, 0, 0]


def test_the_ends_in_z_belong_to_the_lung():
    image, truth = thorax(noise=2.0)
    region = lung_region(image)
    assert dice(region[0], truth[0]) > 0.9
    assert dice(region[-1], truth[-1]) > 0.9


@pytest.mark.parametrize("radius", [0.5e-3, 1.0e-3, 1.5e-3])
def test_solid_nodules_inside_stay_in_the_region(radius):
    centre = (0.0, 0.5e-3, 4.2e-3)
    image, _ = thorax(noise=3.0, nodules=[(centre, radius)])
    region = lung_region(image)
    z, y, x = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * VOXEL for n in image.shape], indexing="ij")
    assert region[_ball((z, y, x), centre, radius)].all()


def test_most_of_a_nodule_on_the_pleura_stays_in_the_region():
    centre = (0.0, 0.0, 6.8e-3)
    image, truth = thorax(noise=3.0, nodules=[(centre, 0.8e-3)])
    region = lung_region(image)
    z, y, x = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * VOXEL for n in image.shape], indexing="ij")
    inside = _ball((z, y, x), centre, 0.8e-3) & truth
    assert region[inside].mean() > 0.8


def test_given_tissue_level_and_nan_outside():
    image, truth = thorax()
    values = image.data.copy()
    values[0, :, :3] = np.nan
    masked = Image(values, image.names, image.units, image.spacing_m)
    assert dice(lung_region(masked, tissue_level=SOFT), truth) > 0.93


def test_refuses_what_has_no_lung():
    empty = Image(np.zeros((1, 8, 8, 8), np.float32), ("attenuation",), ("1/m",), (VOXEL,) * 3)
    with pytest.raises(DarklungError, match="nothing attenuates"):
        lung_region(empty)
    solid, _ = thorax()
    values = np.where((solid.data > 0) & (solid.data != LUNG), solid.data, np.where(solid.data == LUNG, SOFT, 0)).astype(
        np.float32
    )
    with pytest.raises(DarklungError, match="no lung found"):
        lung_region(Image(values, solid.names, solid.units, solid.spacing_m))
    with pytest.raises(DarklungError, match="three spatial axes"):
        lung_region(Image(np.zeros((1, 8, 8)), ("attenuation",), ("1/m",), (VOXEL,) * 2))
    with pytest.raises(DarklungError, match="not known"):
        lung_region(solid, channel="mu")


def test_a_dent_of_a_single_coarse_voxel_is_no_nodule():
    lung = np.ones((7, 7, 7), bool)
    lung[0] = False
    lung[1, 3, 3] = False
    common = {"radius_m": 1e-3, "longest_m": 4e-3, "embedded": 0.4}
    assert not pleural_nodules(lung, spacing_m=(0.8e-3,) * 3, **common).any()
