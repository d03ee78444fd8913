"""The dose pattern that all flats share: found by its ripples, and not invented where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from retrieve_scans import curves, equidistant, make_scan
from scipy.ndimage import gaussian_filter
from test_simulated_scan import AIR, mouse

from darklung.core.random import stream
from darklung.physics.instrument import make_instrument
from darklung.retrieve.stepping import retrieve
from darklung.simulate.effects import Effects, Stability
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan

STEPS, SIZE = 5, (60, 150)


def flats_alone(*, jitter, fringes, seed, flats=3):
    """Flats whose visibility has structure of its own, 4 % over 8 pixels; the view is one more flat with exact doses."""
    rng = stream(seed, "gauge", str(jitter), str(fringes))
    y, x = np.meshgrid(np.linspace(-1, 1, SIZE[0]), np.linspace(-1, 1, SIZE[1]), indexing="ij")
    structure = gaussian_filter(rng.normal(size=SIZE), 8)
    visibility = 0.15 * (1 + 0.05 * x - 0.05 * y**2 + 0.04 * structure / structure.std())
    phase = 2 * np.pi * fringes * (0.5 * x + 0.1 * y)

    def frames(count, amount):
        dose = 1 + amount * rng.normal(size=(count, STEPS, 1, 1))
        return rng.poisson(dose * np.stack([curves(equidistant(STEPS), 2e4, visibility, phase)] * count))

    return make_scan(frames(1, 0.0), frames(flats, jitter), equidistant(STEPS))


def ripple(scan, steps):
    """Standard deviation of the view's smooth dark field, which ought to be 0."""
    found = retrieve(scan, steps=steps, air_cols=range(SIZE[1]), dtype=np.float64)
    dark_field = found.dark_field[0, 0]
    return float(gaussian_filter(dark_field - dark_field.mean(), 6).std())


def test_ripples_of_shared_doses_are_taken_out():
    for seed in range(3):
        scan = flats_alone(jitter=0.05, fringes=3, seed=seed)
        before, after = ripple(scan, "nominal"), ripple(scan, "estimate")
        print(f"smooth dark field of nothing: {before:.4f} as set, {after:.4f} estimated")
        assert after < 0.3 * before
        assert after < 0.01


def test_without_jitter_hardly_anything_is_changed():
    assert ripple(flats_alone(jitter=0.0, fringes=3, seed=5), "estimate") < 0.004


def test_fringes_that_cover_too_little_invent_nothing():
    """Half a fringe cannot be told from the gratings' own visibility: no worse than the error it leaves."""
    for seed in range(3):
        scan = flats_alone(jitter=0.05, fringes=0.4, seed=seed)
        assert ripple(scan, "estimate") < 1.2 * ripple(scan, "nominal") + 0.01


@pytest.mark.parametrize("reference", ["mean", "interpolate"])
def test_jitter_and_drift_together_leave_the_lung_where_it_is(reference):
    scene = {
        "instrument": make_instrument(),
        "protocol": Protocol(
            views=12, steps=5, directions_rad=(np.pi / 2,), flats=2, flat_repeats=2, counts_per_pixel=12 * 5 * 3000
        ),
        "seed": 3,
    }
    truth = retrieve(simulate_scan(mouse(), **scene, noise=False), dtype=np.float64)
    flawed = simulate_scan(mouse(), **scene, effects=Effects(stability=Stability(dose_jitter=0.05, phase_drift_rad=0.5)))
    found = retrieve(flawed, reference=reference, steps="estimate", air_cols=AIR, dtype=np.float64)
    lung = truth.dark_field > 0.3 * truth.dark_field.max()
    bias = (found.dark_field - truth.dark_field)[lung].mean() / truth.dark_field[lung].mean()
    print(f"{reference}: lung −ln D off by {100 * bias:.2f} %")
    assert abs(bias) < 0.015
