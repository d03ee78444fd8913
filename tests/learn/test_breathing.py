"""Patches that breathe: nothing is moved too far or folded, labels keep their volume, and the diaphragm moves most."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from darklung.core.random import stream
from darklung.core.types import Image
from darklung.learn.breathing import (
    APEX,
    ASIDE,
    STRAIN,
    displacement,
    moved,
    moved_truth,
    places,
    towards_diaphragm,
    variance_lost,
)
from darklung.learn.data import Case, fit_normalisation
from darklung.learn.noise import draw_noise
from darklung.learn.patches import draw_batch, make_source
from darklung.learn.settings import AugmentationPart


@pytest.mark.parametrize("shape", [(24, 20, 16), (40, 40)])
@pytest.mark.parametrize("amplitude", [0.5, 1.0, 3.0])
def test_displacements_are_bounded_smooth_and_along_the_body(shape, amplitude):
    found = np.stack([displacement(np.random.default_rng(seed), shape, amplitude) for seed in range(30)])
    largest = np.abs(found).max(axis=(0, *range(2, found.ndim)))
    assert largest[0] <= amplitude
    assert (largest[1:] <= ASIDE * amplitude + 1e-6).all()
    assert largest[0] > 0.6 * amplitude
    for axis in range(len(shape)):  # neighbours stay neighbours
        assert np.abs(np.diff(found, axis=2 + axis)).max() <= STRAIN + 1e-6


def test_labels_keep_their_volume_and_lesions_stay_lesions():
    rng = np.random.default_rng(0)
    grid = np.indices((24,) * 3)
    changes = []
    for seed in range(60):
        at, radius = rng.uniform(9, 15, (3, 1, 1, 1)), rng.uniform(2, 6)
        ball = (((grid - at) ** 2).sum(axis=0) < radius**2)[None].astype(np.float32)
        where = places(np.random.default_rng(seed), (0, 0, 0), ball.shape[1:], np.ones(24, np.float32), 1.0)
        new = moved_truth(ball, where)
        assert set(np.unique(new)) <= {0.0, 1.0}
        changes.append(new.sum() / ball.sum() - 1)
    assert abs(np.mean(changes)) < 0.02
    assert np.std(changes) < 0.06


def test_channels_and_truth_move_together():
    values = np.zeros((1, 20, 20, 20), np.float32)
    values[0, 8:13, 8:13, 8:13] = 1
    values = ndimage.gaussian_filter(values, (0, 1, 1, 1))
    where = places(np.random.default_rng(8), (0, 0, 0), (20,) * 3, np.ones(20, np.float32), 2.0)
    image, truth = moved(values, where)[0], moved_truth(values, where)[0]
    # Half a voxel at most lies between a place and its nearest voxel.
    steepest = max(np.abs(np.diff(values[0], axis=a)).max() for a in range(3))
    assert 0 < np.abs(image - truth).max() <= 0.5 * 3 * steepest
    exact = ndimage.map_coordinates(values[0], where, order=3)
    assert np.abs(image - exact).max() < 0.5 * np.abs(values[0] - exact).max()
    shifted = np.indices((20,) * 3).astype(np.float32) + 1
    assert np.array_equal(moved(values, shifted)[0, :19, :19, :19], values[0, 1:, 1:, 1:])


@pytest.mark.parametrize("texture", ["ramp", "hann", "white"])
def test_the_variance_that_interpolation_takes_away_is_known(texture):
    noise = draw_noise(np.random.default_rng(4), (200, 24, 24), texture)[None]
    grid = np.indices((198, 22, 22)).astype(np.float32)
    for shift in ((0.5, 0, 0), (0, 0.5, 0), (0.3, 0.1, 0.2), (0, 0, 0)):
        at = grid + np.reshape(np.array(shift, np.float32), (3, 1, 1, 1))
        lost = variance_lost(at, texture)
        assert np.allclose(lost, lost[0, 0, 0], atol=1e-4)
        assert moved(noise, at).var() / noise.var() == pytest.approx(1 - lost.mean(), abs=0.03), shift
    assert variance_lost(np.array([[0.5], [0.5]], np.float32), texture) == pytest.approx([0.75])


def image_towards(head, frame="LPS"):
    direction = ((head, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    return Image(np.zeros((1, 10, 4, 4), np.float32), ("a",), ("1",), (1e-3,) * 3, frame=frame, direction=direction)


def test_the_diaphragm_moves_most_where_the_frame_tells_where_it_is():
    lung = np.zeros((10, 4, 4), bool)
    lung[2:8] = True
    up, down = towards_diaphragm(image_towards(1.0), lung), towards_diaphragm(image_towards(-1.0), lung)
    assert up[2] == 1
    assert up[7] == pytest.approx(APEX)
    assert (np.diff(up) <= 0).all()
    assert np.allclose(down[2:8], up[2:8][::-1])
    assert (towards_diaphragm(image_towards(1.0, "scanner"), lung) == 1).all()


def test_a_batch_breathes_in_all_rows_and_errors_are_not_asked_for():
    rng = np.random.default_rng(1)
    image = Image(rng.normal(size=(1, 20, 20, 20)).astype(np.float32), ("attenuation",), ("a.u.",), (3e-4,) * 3)
    target = np.zeros((20,) * 3, np.uint8)
    target[8:12, 8:12, 8:12] = 1
    case = Case("m", image, target, np.ones((20,) * 3, bool))
    n = fit_normalisation(cases=[case], channels=("attenuation",))
    part = AugmentationPart(flips=False, gain=0, offset=0, breathing=1.5)
    source = make_source(case=case, normalisation=n, patch=(12,) * 3, augmentation=part, detection=True)
    common = {"sources": [source], "patch": (12,) * 3, "batch": 2}

    def drawn(seed, part):
        rng = np.random.default_rng(0)
        return draw_batch(**common, rng=rng, augmentation=part, streams=lambda name: stream(seed, name))

    still, one, two = drawn(1, part.model_copy(update={"breathing": 0.0})), drawn(1, part), drawn(2, part)
    assert not np.array_equal(one.data, two.data)
    assert np.array_equal(one.data, drawn(1, part).data)
    assert list(one.truth) == list(still.truth)
    assert one.target.sum() == pytest.approx(still.target.sum(), rel=0.35)
    assert replace(source, moves=None).measured is None
    # Linear interpolation leaves white noise less of its variance: told, not hidden.
    assert 0.2 < one.data.var() / still.data.var() < 0.95
