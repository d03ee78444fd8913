"""Predictions averaged over mirror images: exact for networks that know no side and for one that looks to one side."""

import numpy as np
import pytest
import torch

from darklung.learn.data import OUTSIDE_LOGIT
from darklung.learn.mirrors import NONE, averaged, mirrors_of, told_mirrors
from darklung.learn.predict import apply_heads

SHAPE = (12, 10, 14)


class Conv(torch.nn.Module):
    """One convolution with a kernel of our own; a side is seen where the kernel has one."""

    def __init__(self, kernel):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(np.asarray(kernel, np.float32))[None, None])

    def forward(self, data):
        return torch.nn.functional.conv3d(data, self.weight, padding=1)


def applied(kernel, mirrors, data, region):
    network = Conv(kernel)
    return averaged(
        lambda d, r: apply_heads(network=network, data=d, region=r, window=SHAPE, overlap=0.25),
        data=data, region=region, mirrors=mirrors,
    )["logits"]  # fmt: skip


@pytest.fixture
def given():
    rng = np.random.default_rng(6)
    return rng.normal(size=(1, *SHAPE)).astype(np.float32), np.ones(SHAPE, bool)


def test_a_network_that_knows_no_side_says_the_same(given):
    rng = np.random.default_rng(7)
    kernel = rng.normal(size=(3, 3, 3))
    even = sum(np.flip(kernel, axes) for axes in mirrors_of(["attenuation"], 3)) / 8
    plain, mean = (applied(even, m, *given) for m in (NONE, mirrors_of(["attenuation"], 3)))
    np.testing.assert_allclose(mean, plain, atol=1e-6)
    assert np.abs(applied(kernel, mirrors_of(["attenuation"], 3), *given) - applied(kernel, NONE, *given)).max() > 0.1


def test_a_network_that_looks_to_one_side_gives_the_mean_of_both_neighbours(given):
    data, region = given
    kernel = np.zeros((3, 3, 3))
    kernel[1, 1, 2] = 1.0  # the voxel after it along x
    found = applied(kernel, mirrors_of(["attenuation"], 3), *given)
    padded = np.pad(data[0], [(0, 0), (0, 0), (1, 1)])
    np.testing.assert_allclose(found, (padded[..., 2:] + padded[..., :-2]) / 2, atol=1e-6)
    region[:, :, 9:] = False
    both = averaged(
        lambda d, r: {"logits": np.where(r, d[0], OUTSIDE_LOGIT)}, data=data, region=region, mirrors=((), (2,))
    )["logits"]  # fmt: skip
    np.testing.assert_allclose(both, np.where(region, data[0], OUTSIDE_LOGIT), atol=1e-6)


def test_mirrors_are_what_training_flips_to_and_others_are_told():
    assert mirrors_of(["attenuation", "dark_field_90"], 2) == ((), (0,), (1,), (0, 1))
    assert len(mirrors_of(["dark_field_0", "dark_field_90"], 3)) == 8
    assert mirrors_of(["dark_field_45"], 3) == ((), (0, 1), (2,), (0, 1, 2))
    assert told_mirrors(["attenuation"], 3) == "mean of 8 mirror images, 8 times the time of one"
    assert told_mirrors(["dark_field_45", "dark_field"], 3).endswith(
        "; 4 more would change the direction of an oblique channel and are left out"
    )
