"""Frames in another order than declared are found in the data, and frames in the right one are not."""

import numpy as np
import pytest

from darklung.core.geometry import ParallelGeometry
from darklung.core.types import Scan
from darklung.retrieve.order import order_findings, step_order, view_order
from darklung.retrieve.quality import projections_quality
from darklung.retrieve.stepping import retrieve

pytestmark = pytest.mark.slow(45)


def curves(steps, *, fringes=True, counts=5000, visibility=0.3, jitter=0.0, dose=0.0, periods=1, seed=0, pixels=1500):
    """(step, pixel) counts, and the declared phases."""
    rng = np.random.default_rng(seed)
    phases = 2 * np.pi * periods * np.arange(steps) / steps
    own = np.linspace(0, 4 * np.pi, pixels) if fringes else rng.normal(0.4, 0.05, pixels)
    theta = phases + jitter * rng.standard_normal(steps)
    mean = counts * rng.uniform(0.5, 1.5, pixels) * (1 + dose * rng.standard_normal(steps))[:, None]
    return rng.poisson(mean * (1 + visibility * np.cos(theta[:, None] + own))), phases


def as_text(count, first=1):
    """Which frame comes at each place where files are sorted as text."""
    return np.array(sorted(range(first, first + count), key=str)) - first


@pytest.mark.parametrize("steps", [3, 4, 5, 8, 11, 19])
@pytest.mark.parametrize("flaw", [{}, {"jitter": 0.1}, {"dose": 0.03}, {"fringes": False}, {"fringes": False, "dose": 0.05},
                                  {"counts": 40, "visibility": 0.1}])  # fmt: skip
def test_the_right_order_is_left_alone(steps, flaw):
    for seed in range(3):
        assert step_order(*curves(steps, seed=seed, **flaw)) is None


@pytest.mark.parametrize("steps", [5, 7, 11, 19])
@pytest.mark.parametrize("flaw", [{}, {"jitter": 0.05}, {"dose": 0.03}, {"counts": 200}])
def test_any_other_order_is_found_where_fringes_are_in_view(steps, flaw):
    counts, phases = curves(steps, **flaw)
    shuffled = np.random.default_rng(steps).permutation(steps)
    order = step_order(counts[shuffled], phases)
    assert order is not None
    # Up to turns and mirror images the frames are where they were: neighbours are neighbours.
    gaps = np.diff(shuffled[list(order)], append=shuffled[order[0]]) % steps
    assert set(gaps.tolist()) in ({1}, {steps - 1})


@pytest.mark.parametrize("fringes", [True, False])
@pytest.mark.parametrize("first", [0, 1])
def test_numbers_sorted_as_text_are_found_without_fringes_too(fringes, first):
    counts, phases = curves(19, fringes=fringes)
    assert step_order(counts[as_text(19, first)], phases) is not None


def test_turns_and_mirror_images_fit_as_well_and_are_no_fault():
    counts, phases = curves(8)
    assert step_order(np.roll(counts, 3, axis=0), phases) is None
    assert step_order(counts[::-1], phases) is None


def scan(order=slice(None), *, steps=11, views=2):
    rng = np.random.default_rng(1)
    phases = 2 * np.pi * np.arange(steps) / steps
    angle = phases[:, None, None] + np.linspace(0, 9, 24) + np.zeros((12, 24))
    flats = rng.poisson(5000 * (1 + 0.3 * np.cos(angle)), (1, 3, steps, 12, 24))[:, :, order]
    frames = rng.poisson(3500 * (1 + 0.25 * np.cos(angle)), (1, views, steps, 12, 24))[:, :, order]
    geometry = ParallelGeometry(np.zeros(views), 12, 24, 1e-4)
    times = np.zeros((1, views)), np.zeros((1, 3))
    return Scan(frames, flats, phases[None], np.zeros(1), geometry, *times)


def test_it_is_told_among_the_findings_of_a_page():
    good, bad = scan(), scan(as_text(11))
    assert order_findings(good) == ()
    maps = retrieve(good)
    assert not any("order" in line for line in projections_quality(maps, good, {}).findings)
    found = projections_quality(maps, bad, {}).findings
    for name in ("flats", "frames"):
        told = f"the steps of the {name} (direction 1) fit much better in another order ("
        assert any(told in line for line in found)


def turn(views, *, symmetric=False, noise=0.01, seed=0):
    """−ln T of three discs, turned; profiles (view, col)."""
    rng = np.random.default_rng(seed)
    angles, s = np.arange(views) * np.pi / views, np.linspace(-1, 1, 96)
    total = np.zeros((views, 96))
    for x, y, r in ((0, 0, 0.8), (0.3, 0.2, 0.2), (-0.4, 0.1, 0.15)):
        middle = 0 if symmetric else x * np.cos(angles) + y * np.sin(angles)
        total += np.sqrt(np.maximum(r**2 - (s - np.reshape(middle, (-1, 1))) ** 2, 0))
    return total + rng.normal(0, noise, total.shape) + rng.normal(0, 0.02, (views, 1)), angles


@pytest.mark.parametrize("views", [90, 180, 361])
def test_scrambled_views_are_found(views):
    values, angles = turn(views)
    assert not view_order(values, angles)
    assert view_order(values[as_text(views)], angles)
    assert view_order(values[np.random.default_rng(0).permutation(views)], angles)
    # Views taken in another order whose angles say so are fine: golden angle, back and forth.
    shuffled = np.random.default_rng(1).permutation(views)
    assert not view_order(values[shuffled], angles[shuffled])


def test_what_tells_nothing_is_no_finding():
    values, angles = turn(180, symmetric=True)
    assert not view_order(values[as_text(180)], angles)
    moved, _ = turn(180)
    moved[90:] = np.roll(moved[90:], 5, axis=1)  # the animal moved once
    assert not view_order(moved, angles)
    assert not view_order(turn(180, noise=3.0)[0], angles)
    assert not view_order(turn(16)[0][::-1], np.zeros(16))
