"""Backgrounds of a lesion task: slices of a mouse against its own scan, and places that hold a lesion."""

from dataclasses import replace

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.simulate.clutter import DEPTH, background_patches, lung_slices
from darklung.simulate.lesion_task import patch_half
from darklung.simulate.objects import body_with_lung
from darklung.study.protocols import read_protocol

VOXEL = 4e-4


@pytest.fixture(scope="module")
def made():
    mission = read_protocol("mission_ct")
    mouse = body_with_lung(voxel_m=VOXEL, shape=(12, 54, 54))
    words = {"instrument": mission.instrument.instrument(), "protocol": replace(mission.scan, views=120), "gratings": None}
    return mouse, words, lung_slices(mouse, count=3, **words)


def test_slices_show_lung_and_tissue_where_the_mouse_has_them(made):
    mouse, words, found = made
    assert found.names == ("attenuation", "dark_field_0", "dark_field_90", DEPTH)
    assert found.shape == (3, 54, 54)
    assert found.spacing_m == pytest.approx((4 * VOXEL, VOXEL, VOXEL))
    deep = found.channel(DEPTH)[0] > 3 * VOXEL
    assert mouse.lobes[0][deep].all()
    assert found.channel(DEPTH).max() == pytest.approx(3.5e-3, abs=1.5 * VOXEL)
    y, x = VOXEL * (np.mgrid[:54, :54] - 26.5)
    tissue = (np.hypot(y, x) < 8e-3) & (np.hypot(y, x - 2.5e-3) > 4.5e-3)
    attenuation, dark = found.channel("attenuation")[1], found.channel("dark_field_0")[1]
    assert attenuation[deep].mean() == pytest.approx(0.3 * attenuation[tissue].mean(), rel=0.05)
    assert dark[deep].mean() > 20 * abs(dark[tissue].mean())
    with pytest.raises(DarklungError, match="slices: wanted 13 through the lungs, the phantom has 12"):
        lung_slices(mouse, count=13, **words)


def test_places_hold_the_lesion_and_lie_apart():
    size, half = 60, patch_half(VOXEL)
    depth = np.zeros((2, size, size))
    depth[:, 20:40, 20:40] = 1.2e-3
    depth[1, 25:30, 25:30] = 0.4e-3
    index = np.arange(2 * size * size, dtype=float).reshape(2, size, size)
    image = Image(np.stack([index, depth]), ("attenuation", DEPTH), ("1/m", "m"), (1e-3, VOXEL, VOXEL))
    found = background_patches(image, diameter_m=2e-3, wanted=1000, generator=np.random.default_rng(0))
    assert 10 < len(found) < 40
    middle = np.array([np.unravel_index(int(p[0, half, half]), (2, size, size)) for p in found])
    assert (depth[tuple(middle.T)] >= 1e-3).all()
    apart = [np.hypot(*(a - b)[1:]) * VOXEL for k, a in enumerate(middle) for b in middle[:k] if a[0] == b[0]]
    assert min(apart) >= 2e-3
    assert background_patches(image, diameter_m=3e-3, wanted=9, generator=np.random.default_rng(0)).shape[0] == 0
