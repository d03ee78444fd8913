"""Counts in another unit, and with them the gain, must change no result, no check and no judgement of a pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from retrieve_scans import curves, equidistant, make_scan

from darklung.core.fitting import Fit
from darklung.core.random import stream
from darklung.retrieve.pixels import find_bad_pixels
from darklung.retrieve.quality import flats_numbers
from darklung.retrieve.stepping import retriever

UNITS = (20.0, 1e-3)
DARK = 50.0


@pytest.fixture(scope="module")
def scan():
    theta, rng = equidistant(7), stream(0, "units of counts")
    shape = (24, 30)
    true = theta + rng.normal(0, 0.1, 7)
    dose = np.exp(rng.normal(0, 0.03, 7))[:, None, None]
    phase = rng.uniform(-np.pi, np.pi, shape)
    frames = rng.poisson(dose * curves(true, 60.0, 0.25, phase) + DARK)
    flats = rng.poisson(curves(theta, 90.0, 0.3, phase) + DARK)
    frames[:, 5, 5] += np.array([900, 0, 0, 0, 0, 0, 0])
    return make_scan(frames[None], np.stack([flats] * 2), theta, dark_frame=np.full(shape, DARK))


def in_unit(scan, unit):
    return replace(scan, frames=unit * scan.frames, flats=unit * scan.flats, dark_frame=unit * scan.dark_frame)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    ("steps", "method", "harmonics"),
    [
        ("nominal", "least_squares", 1),
        ("nominal", "likelihood", 1),
        ("estimate", "least_squares", 1),
        ("ramp", "likelihood", 2),
    ],
)
def test_retrieval(scan, unit, steps, method, harmonics):
    def maps_and_checks(of, gain):
        fit = Fit(gain=gain, method=method, harmonics=harmonics)
        run = retriever(of, fit=fit, steps=steps, most_misfit=4.0, air_cols=range(5), dtype=np.float64)
        return run(slice(0, 1)), run.checks

    wanted, checks = maps_and_checks(scan, 1.0)
    found, others = maps_and_checks(in_unit(scan, unit), unit)
    np.testing.assert_array_equal(found.valid, wanted.valid)
    assert 0 < np.count_nonzero(~wanted.valid) < 300
    for name in ("attenuation", "dark_field", "phase", "attenuation_variance", "dark_field_variance", "phase_variance"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-4, atol=1e-5, err_msg=name)
    for name in set(checks) - {"gain", "saturation"}:
        np.testing.assert_allclose(others[name], checks[name], rtol=1e-3, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("unit", UNITS)
def test_flats_and_bad_pixels(scan, unit):
    wanted = flats_numbers(scan, {})
    found = flats_numbers(in_unit(scan, unit), {"fit": Fit(gain=unit)})
    texts = {name for name, value in wanted.items() if isinstance(value, str)}
    assert {name: found[name] for name in texts} == {name: wanted[name] for name in texts}
    numbers = [{name: value for name, value in one.items() if name not in texts} for one in (found, wanted)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-6, abs=1e-9)
    flats = np.array(scan.flats)
    flats[0, :, 0, 7, 9] += 800
    unsteady = replace(scan, flats=flats)
    np.testing.assert_array_equal(find_bad_pixels(in_unit(unsteady, unit), gain=unit), find_bad_pixels(unsteady))
    assert find_bad_pixels(unsteady)[7, 9]
