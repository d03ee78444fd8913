"""Densities add up, stains come apart as the oracle says, and the threshold lies half way."""

import numpy as np
import pytest
from skimage.color import separate_stains

from darklung.core.checks import DarklungError
from darklung.histology import stain


def picture(seed=0, shape=(40, 50)):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 0.8, shape), rng.uniform(0, 0.8, shape)


def test_stains_come_back_from_their_colours():
    blue, red = picture()
    found = stain.separate(stain.optical_density(stain.stained(blue, red)))
    np.testing.assert_allclose(found[..., 0], blue, atol=0.05)  # colours are whole numbers
    np.testing.assert_allclose(found[..., 1], red, atol=0.05)
    assert abs(found[..., 2]).mean() < 0.01


def test_stains_are_separated_as_scikit_image_does():
    rgb = stain.stained(*picture(1))
    density = stain.optical_density(rgb)
    inverse = np.linalg.inv(stain._vectors())
    light = 10.0 ** -density.astype(np.float64)
    theirs = separate_stains(light, inverse) * -np.log10(1e-6)  # its densities count in units of log 1e-6
    ours = stain.separate(density)
    np.testing.assert_allclose(ours, theirs, atol=2e-4) if theirs.min() < 0 else np.testing.assert_allclose(
        np.maximum(ours, 0), theirs, atol=2e-4
    )


def test_the_threshold_is_half_way_and_dark_nuclei_do_not_move_it():
    values = np.concatenate([np.full(6000, 0.02), np.full(4000, 0.22)]).astype(np.float32)
    assert stain.threshold_between(values) == pytest.approx(0.12, abs=0.01)
    nuclei = np.concatenate([values, np.full(1500, 0.9, np.float32)])
    assert stain.threshold_between(nuclei) == pytest.approx(0.12, abs=0.015)
    assert stain.plateau_of(nuclei) == pytest.approx(0.22, abs=0.01)


def test_grey_and_black_are_no_stain():
    rgb = np.array([[[60, 60, 60], [2, 2, 3], [250, 250, 250], [190, 110, 180]]], np.uint8)
    assert stain.is_stain(stain.optical_density(rgb)).tolist() == [[False, False, False, True]]


def test_one_density_has_no_threshold():
    with pytest.raises(DarklungError, match="one density"):
        stain.threshold_between(np.zeros(100, np.float32))
