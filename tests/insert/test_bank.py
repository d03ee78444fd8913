"""Banked lesions have their class and size, and change both channels of a volume consistently."""

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.insert.bank import BankLesion, Host, draw_bank, reinsert
from darklung.physics.lung import LESIONS
from darklung.physics.materials import delta, linear_attenuation
from darklung.physics.scattering import two_phase

VOXEL_M = 1.2e-4
HOST = Host(
    tissue_per_m=float(linear_attenuation("soft_tissue", 1.05, 70.0)), interface_density_per_m=7e4,
    contrast=float(delta("soft_tissue", 1.05, 70.0)), energy_kev=70.0, correlation_length_m=3e-6,
)  # fmt: skip


@pytest.fixture(scope="module")
def bank() -> tuple[BankLesion, ...]:
    return draw_bank(count=12, seed=4, voxel_m=VOXEL_M)


def healthy(shape=(40, 40, 40), noise=0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    phi = 0.3
    epsilon = float(two_phase(phi, HOST.interface_density_per_m, HOST.contrast, 70.0, 3e-6))
    return tuple(np.full(shape, v) + noise * v * rng.standard_normal(shape) for v in (phi * HOST.tissue_per_m, epsilon))


def test_sizes_and_classes(bank):
    for lesion in bank:
        assert lesion.share.sum() * VOXEL_M**3 == pytest.approx(np.pi / 6 * lesion.diameter_m**3, rel=0.06)
        assert lesion.share[0].max() == lesion.share[:, :, -1].max() == 0
        tissue = LESIONS[lesion.tissue]
        assert tissue.fraction[0] <= lesion.fraction.min() <= lesion.fraction.max() <= tissue.fraction[1]
        assert tissue.surface[0] <= lesion.surface_ratio.min() <= lesion.surface_ratio.max() <= tissue.surface[1]


def test_a_longer_bank_begins_with_the_same_lesions(bank):
    again = draw_bank(count=3, seed=4, voxel_m=VOXEL_M)
    for one, other in zip(again, bank):
        np.testing.assert_array_equal(one.share, other.share)
        np.testing.assert_array_equal(one.fraction, other.fraction)


def test_both_channels_follow_from_the_same_tissue(bank):
    mu, epsilon = healthy()
    for lesion in bank:
        new_mu, new_epsilon, mask = reinsert(mu, epsilon, lesion, corner=(5, 6, 7), host=HOST)
        box = tuple(slice(c, c + n) for c, n in zip((5, 6, 7), lesion.share.shape))
        full = lesion.share == 1
        np.testing.assert_allclose(new_mu[box][full], HOST.tissue_per_m * lesion.fraction[full], rtol=1e-5)
        truth = two_phase(lesion.fraction, lesion.surface_ratio * HOST.interface_density_per_m, HOST.contrast, 70.0, 3e-6)
        np.testing.assert_allclose(new_epsilon[box][full], truth[full], rtol=1e-4)
        untouched = np.ones(mu.shape, dtype=bool)
        untouched[box] = lesion.touched == 0
        np.testing.assert_array_equal(new_mu[untouched], mu[untouched])
        np.testing.assert_array_equal(mask[box], lesion.share > 0.5)
        assert mu.std() == 0  # the input is unchanged


def test_noise_stays(bank):
    mu, epsilon = healthy(noise=0.1)
    new_mu, _, _ = reinsert(mu, epsilon, bank[0], corner=(5, 5, 5), host=HOST)
    smooth, _, _ = reinsert(*healthy(), bank[0], corner=(5, 5, 5), host=HOST)
    assert (new_mu - smooth).std() == pytest.approx((mu - mu.mean()).std(), rel=0.02)


def test_bad_requests_end_in_one_clear_line(bank):
    mu, epsilon = healthy()
    with pytest.raises(DarklungError, match="leaves the volume"):
        reinsert(mu, epsilon, bank[0], corner=(35, 0, 0), host=HOST)
    with pytest.raises(DarklungError, match=r"wanted lung there, got a mean tissue fraction of 0\.00"):
        reinsert(0 * mu, epsilon, bank[0], corner=(0, 0, 0), host=HOST)
    with pytest.raises(DarklungError, match="scattering: wanted axes"):
        reinsert(mu, epsilon[1:], bank[0], corner=(0, 0, 0), host=HOST)
    with pytest.raises(DarklungError, match="count: wanted 1"):
        draw_bank(count=0, seed=1, voxel_m=VOXEL_M)
    with pytest.raises(DarklungError, match="classes: 'emphysema' is a mimic"):
        draw_bank(count=1, seed=1, voxel_m=VOXEL_M, classes=("emphysema",))
