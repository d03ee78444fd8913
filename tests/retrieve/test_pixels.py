"""Bad pixels from flats, and curves that are no sinusoids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from retrieve_scans import curves, equidistant, make_scan

from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.retrieve.pixels import find_bad_pixels
from darklung.retrieve.stepping import retrieve

SHAPE, THETA = (60, 70), equidistant(6)


def frames(count, *, seed=0, theta=THETA):
    rng = stream(seed, "pixels", count)
    profile = 2000 * (1 - 0.4 * (np.linspace(-1, 1, SHAPE[1]) ** 2))[None, :] * np.ones(SHAPE)
    return rng.poisson(np.stack([curves(theta, profile, 0.2, np.full(SHAPE, 0.3))] * count)).astype(float)


def test_good_pixels_stay_good():
    found = [find_bad_pixels(make_scan(frames(1), frames(4, seed=seed), THETA)).sum() for seed in range(10)]
    assert sum(found) <= 1


def test_dead_hot_and_unsteady_pixels_are_found():
    flats = frames(4)
    flats[:, :, 10, 10] = 0
    flats[:, :, 10, 11] *= 0.3
    flats[:, :, 20, 30] *= 3.0
    flats[:, :, 40, 50] *= stream(1, "unsteady").uniform(0.8, 1.2, flats.shape[:2])
    flats[2, 3, 50, 60] += 800  # one cosmic ray
    known = np.zeros(SHAPE, bool)
    known[0, 0] = True
    flats[:, :, 0, 0] = np.nan
    found = find_bad_pixels(make_scan(frames(1), flats, THETA, bad_pixels=known))
    wanted = {(10, 10), (10, 11), (20, 30), (40, 50), (50, 60), (0, 0)}
    assert {tuple(int(i) for i in where) for where in np.argwhere(found)} == wanted


def test_wrong_steps_do_not_make_every_pixel_bad():
    wrong = THETA + np.array([0.0, 0.1, -0.1, 0.1, 0.0, -0.1])
    found = find_bad_pixels(make_scan(frames(1), frames(4, theta=wrong), THETA))
    assert found.mean() < 0.01


def test_a_zinger_is_marked_and_nothing_else_changes():
    sample, flats = frames(2), frames(4)
    sample[1, 2, 30, 40] += 1500
    scan = make_scan(sample, flats, THETA)
    plain, checked = retrieve(scan), retrieve(scan, most_misfit=12.0)
    assert plain.valid.all()
    assert np.argwhere(~checked.valid).tolist() == [[0, 1, 30, 40]]
    np.testing.assert_array_equal(plain.dark_field, checked.dark_field)


def test_misfit_counts_the_dark_signal():
    sample, flats = frames(1) + 500, frames(4) + 500
    rng = stream(3, "dark")
    sample, flats = sample + rng.poisson(500, sample.shape) - 500, flats + rng.poisson(500, flats.shape) - 500
    scan = make_scan(sample, flats, THETA, dark_frame=np.full(SHAPE, 500.0))
    assert retrieve(scan, most_misfit=12.0).valid.mean() > 0.999


def test_options():
    scan = make_scan(frames(1), frames(1), THETA)
    for options, words in (
        ({"response": (2.0, 1.0)}, "response: wanted low < high"),
        ({"window": 4}, "window: wanted an odd number"),
        ({"false_alarms": 0.0}, "false_alarms"),
    ):
        with pytest.raises(DarklungError, match=words):
            find_bad_pixels(scan, **options)
    three = make_scan(frames(1)[:, :3], frames(1)[:, :3], THETA[:3])
    with pytest.raises(DarklungError, match="most_misfit: wanted > 0 and 4 steps or more"):
        retrieve(three, most_misfit=3.0)
    assert not find_bad_pixels(three).any()
    bad = find_bad_pixels(scan)
    assert replace(scan, bad_pixels=bad).bad_pixels is bad
