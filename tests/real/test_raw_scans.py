"""Real raw scans through the shipped descriptions; skipped where the data folder is absent."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from darklung.io.description import read_raw
from darklung.io.frames import load_scans
from darklung.retrieve.overview import overview_png, summarise
from darklung.retrieve.stepping import retrieve
from darklung.retrieve.steps import estimate_steps

EXAMPLES = Path(__file__).parents[2] / "examples" / "real"
DATA = Path(os.environ.get("DARKLUNG_DATA", EXAMPLES / "../../../shared/data"))
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (DATA / "microspheres").is_dir(), reason=f"measured data not found at {DATA} ($DARKLUNG_DATA)"),
]


def retrieved(name: str, dtype=np.float64):
    """(name, scan, columns, projections) of each scan of a shipped description, with its own retrieval options."""
    path = EXAMPLES / f"{name}.yaml"
    for (raw, _), (title, scan, columns) in zip(read_raw(path), load_scans(path)):
        yield title, scan, columns, retrieve(scan, **raw.retrieval.arguments(), dtype=dtype)


def first_harmonic(curves: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, visibility and phase by FFT: the definition for equidistant steps over one period."""
    spectrum = np.fft.fft(curves, axis=axis)
    zero, one = spectrum.take(0, axis=axis), spectrum.take(1, axis=axis)
    return zero.real / curves.shape[axis], 2 * np.abs(one) / zero.real, np.angle(one)


def test_grating_radiograph(tmp_path):
    ((_, scan, _, result),) = retrieved("grating_radiograph", np.float32)
    assert scan.frames.shape == (1, 1, 11, 195, 359)
    numbers = summarise(result)
    print(numbers)
    assert float(np.median(result.flat_visibility)) == pytest.approx(0.209, abs=0.005)
    assert float(result.phase.max()) <= np.pi
    assert float(result.phase.min()) > -np.pi
    assert float(np.abs(result.phase).max()) > 3.1, "the figure wraps the phase"
    # Right of the figure lies air: no signal, with the scatter that the variances tell.
    air = (0, 0, slice(20, 120), slice(300, 355))
    assert abs(float(np.median(result.dark_field[air]))) < 0.02
    for name in ("attenuation", "dark_field", "phase"):
        values = getattr(result, name)[air]
        pull = (values - values.mean()) / np.sqrt(getattr(result, f"{name}_variance")[air])
        assert 0.9 < float(pull.std()) < 1.15, name
    overview_png(result, tmp_path / "overview.png", title="grating_radiograph")
    assert (tmp_path / "overview.png").stat().st_size > 50_000


def test_all_microspheres_equal_the_first_harmonic(tmp_path):
    table = []
    for _, scan, columns, result in retrieved("microspheres"):
        mean, visibility, phase = first_harmonic(scan.frames[0], 1)
        mean_flat, visibility_flat, phase_flat = first_harmonic(scan.flats[0], 1)
        np.testing.assert_allclose(np.exp(-result.attenuation[0]), mean / mean_flat, rtol=1e-9)
        np.testing.assert_allclose(np.exp(-result.dark_field[0]), visibility / visibility_flat, rtol=1e-9)
        turn = np.angle(np.exp(1j * (result.phase[0] - (phase - phase_flat))))
        np.testing.assert_allclose(turn, 0, atol=1e-9)
        table.append(
            (float(columns["diameter_um"]), float(np.median(result.dark_field)), float(np.median(result.attenuation)))
        )
        assert result.valid.mean() > 0.999
    assert len(table) == 11
    for diameter, dark_field, attenuation in sorted(table):
        print(f"{diameter:6.3f} um: median -ln D {dark_field:.4f}, -ln T {attenuation:.4f}")
    signal = {d: s for d, s, _ in table}
    assert signal[0.166] < signal[0.507] < signal[0.89] < signal[3.62]
    assert signal[7.75] < signal[3.62], "beyond the maximum of the sphere model the signal falls"
    overview_png(result, tmp_path / "line.png")


def test_step_errors_of_measured_curves():
    """The fits are not as good as photon noise allows until every curve's own step positions and doses are found."""
    for path, options in (("grating_radiograph", (1, 8)), ("microspheres", (10, 1))):
        views, every = options
        _, scan, _ = next(iter(load_scans(EXAMPLES / f"{path}.yaml")))
        steps = scan.frames.shape[2]
        found = [
            estimate_steps(np.asarray(scan.flats[0, n]).reshape(steps, -1)[:, ::every], scan.step_phase_rad[0])
            for n in range(views)
        ]
        before, after = (np.mean([getattr(f, name) for f in found]) for name in ("residual_before", "residual_after"))
        error = np.std([f.phases_rad - scan.step_phase_rad[0] for f in found])
        told = f"chi square of the flat {before:.3f}, with estimated steps {after:.3f}"
        print(f"{path}: {told}; phases off by {error:.4f} rad")
        assert after < before
        assert 0.9 < after < 1.03


@pytest.mark.parametrize("steps", ["estimate", "ramp"])
def test_estimated_steps_invent_no_modulation(steps):
    """Behind the strongest scatterer V lies at its noise floor; wrong doses would lift it, and make it valid."""
    ((_, scan, _, plain),) = retrieved("grating_radiograph")
    found = retrieve(scan, steps=steps, air_cols=range(300, 355), dtype=np.float64)
    floor = np.sqrt(np.pi / (scan.frames[0, 0].sum(axis=0)[~plain.valid[0, 0]]))
    before, after = (float(np.median(maps.visibility[0, 0][~plain.valid[0, 0]])) for maps in (plain, found))
    print(f"V where it cannot be told: {before:.4f} as set, {after:.4f} {steps}, noise floor {np.median(floor):.4f}")
    assert after < 1.1 * before
    assert abs(found.valid.mean() - plain.valid.mean()) < 0.003


def test_single_precision_loses_nothing_that_counts():
    (_, _, _, single), (_, _, _, double) = (next(retrieved("microspheres", dtype)) for dtype in (np.float32, np.float64))
    np.testing.assert_allclose(single.dark_field, double.dark_field, atol=2e-7)
