"""What frames hold and should not: placeholders, saturation, V above 1, darks of another exposure, odd views and steps."""

import dataclasses

import numpy as np
import pytest
from retrieve_scans import curves, equidistant, make_scan

from darklung.core.checks import DarklungError
from darklung.core.fitting import Fit
from darklung.core.random import stream
from darklung.retrieve.darks import dark_scale
from darklung.retrieve.findings import findings_of
from darklung.retrieve.quality import frame_numbers, projections_quality, seen_in
from darklung.retrieve.stepping import retrieve
from darklung.retrieve.watch import BY_VIEW, curve_numbers, designs_of, saturation_of, spread_pixels

THETA = equidistant(8)
ROWS, COLS = 20, 30


def counted(*, counts=4000.0, visibility=0.3, views=3, flats=3, transmission=0.7, theta=THETA, seed=0, **other):
    """Whole scan with Poisson counts, fringes over the columns."""
    rng = stream(seed, "watch")
    phase = np.linspace(0, 5, COLS) + np.zeros((ROWS, COLS))
    sample = rng.poisson(curves(theta, np.full((views, ROWS, COLS), transmission * counts), visibility * 0.8, phase))
    flat = rng.poisson(curves(theta, np.full((flats, ROWS, COLS), counts), visibility, phase))
    moved = [np.moveaxis(a, 1, 0).astype(np.uint16) for a in (sample, flat)]
    return make_scan(*moved, theta, **other)


def changed(scan, field, where, value):
    array = np.array(getattr(scan, field))
    array[where] = value(array[where]) if callable(value) else value
    return dataclasses.replace(scan, **{field: array})


# A frame, part of one, frames of a closed shutter (the dark signal alone), and a hole in one step of 3.
@pytest.mark.parametrize(
    ("where", "lost"),
    [
        ((0, 1, 3), (1, slice(None), slice(None))),
        ((0, 1, 3, slice(4, 9)), (1, slice(4, 9), slice(None))),
        ((0, 2, slice(0, 8, 2), slice(None), slice(5, 7)), (2, slice(None), slice(5, 7))),
        ((0, 0, 7, 3, 3), (0, 3, 3)),
    ],
    ids=["frame", "rows of a frame", "columns of half the steps", "a pixel"],
)
def test_zeros_that_stand_for_no_count_are_not_valid(where, lost):
    found = retrieve(changed(counted(), "frames", where, 0))
    mask = np.zeros(found.valid.shape[1:], bool)
    mask[lost] = True
    assert not found.valid[0][mask].any()
    assert found.valid[0][~mask].mean() > 0.99
    # What is valid is right: −ln T within 5 standard errors of the mean.
    left = found.attenuation[0][~mask & found.valid[0]]
    assert abs(left.mean() + np.log(0.7)) < 5 * left.std() / np.sqrt(left.size)


def test_a_closed_shutter_is_seen_above_a_dark_signal():
    dark = np.full((ROWS, COLS), 100.0)
    scan = counted(dark_frame=dark)
    rng = stream(1, "shutter")
    bright = dataclasses.replace(scan, frames=scan.frames + np.uint16(100), flats=scan.flats + np.uint16(100))
    closed = changed(bright, "frames", (0, 2, 5), rng.poisson(dark).astype(np.uint16))
    found = retrieve(closed)
    assert not found.valid[0, 2].any()
    assert found.valid[0, :2].mean() > 0.99


@pytest.mark.parametrize("theta", [equidistant(3), THETA], ids=["3 steps", "8 steps"])
@pytest.mark.parametrize("steps", [[1], [0, 2], slice(None)], ids=["one step", "two steps", "all"])
def test_a_flat_without_counts_is_refused_by_its_number(theta, steps):
    scan = changed(counted(theta=theta), "flats", (0, 2, steps), 0)
    with pytest.raises(DarklungError, match=r"flats\[0, 2\]: no pixel has counts in (step|every step)"):
        retrieve(scan)


def test_a_hole_in_one_flat_costs_its_pixels_alone():
    found = retrieve(changed(counted(), "flats", (0, 1, 2, slice(0, 6)), 0))
    assert not found.valid[0, :, :6].any()
    assert found.valid[0, :, 6:].mean() > 0.99


@pytest.mark.parametrize("counts", [2.0, 8.0])
def test_true_zeros_of_few_photons_stay_valid(counts):
    """Of few photons zeros are counts: validity is that of the rule N V² > 10 alone."""
    scan = counted(counts=counts, visibility=0.9)
    assert (scan.frames == 0).any()
    found = retrieve(scan, variance="pixel", least_strength=1.0)
    assert found.valid.mean() > 0.9


def test_full_visibility_needs_no_counts_in_its_trough():
    """V = 1: the darkest step of a pixel has none, however bright the others are."""
    scan = counted(visibility=1.0, transmission=1.0)
    assert (scan.flats == 0).any()
    assert retrieve(scan).valid.mean() > 0.95


@pytest.mark.parametrize("end", [4095, 3000], ids=["12 bit", "odd"])
def test_saturated_pixels_are_not_valid_and_told(end):
    whole = counted(counts=3000.0, visibility=0.5, transmission=1.0)
    clipped = dataclasses.replace(whole, **{f: np.minimum(getattr(whole, f), end) for f in ("frames", "flats")})
    quality = projections_quality(retrieve(clipped), clipped, {})
    assert quality.numbers["saturation"] == end
    assert quality.numbers["saturated_share"] > 0.3
    assert any("saturated" in line and f"{end} counts" in line for line in quality.findings)
    assert not retrieve(clipped).valid[0][(np.array(clipped.frames[0]) == end).any(axis=1)].any()


@pytest.mark.parametrize(
    "made",
    [
        lambda rng: rng.poisson(900, (8, 40, 40)).astype(np.uint16),
        lambda rng: rng.poisson(0.5, (8, 40, 40)).astype(np.uint8),
        lambda rng: np.rint(curves(THETA, 1000, 0.3, np.linspace(0, 6, 40) * np.ones((40, 1)))).astype(np.int32),
        lambda rng: np.full((8, 40, 40), 7.0),
    ],
    ids=["bright", "dim", "without noise", "not whole"],
)
def test_counts_that_end_nowhere_are_not_called_saturated(made):
    assert saturation_of(made(stream(0, "saturation"))) == np.inf


def test_the_end_of_the_type_needs_no_pile():
    curve = np.full((8, 4, 4), 100, np.uint8)
    curve[3, 1, 1] = 255
    assert saturation_of(curve) == 255


def test_visibility_above_one_is_not_valid_and_told():
    """A dark signal taken off twice: the troughs go below zero."""
    scan = counted(counts=3000.0, visibility=0.6, transmission=1.0)
    twice = dataclasses.replace(scan, dark_frame=np.full((ROWS, COLS), 2000.0))
    quality = projections_quality(retrieve(twice), twice, {})
    assert quality.numbers["above_one_share"] > 0.9
    assert any("visibility above 1" in line for line in quality.findings)
    assert not retrieve(twice).valid.any()
    assert not any("above 1" in line for line in projections_quality(retrieve(scan), scan, {}).findings)


@pytest.mark.parametrize("times", [0.5, 1.0, 2.0, 10.0])
def test_a_dark_frame_of_another_exposure_is_told(times):
    rng = stream(3, "dark", str(times))
    rate = np.where(rng.random((ROWS, COLS)) < 0.04, 800.0, 10.0)
    whole = counted(counts=2000.0)
    counts = {f: getattr(whole, f) for f in ("frames", "flats")}
    with_dark = {f: a + rng.poisson(rate, a.shape).astype(np.uint16) for f, a in counts.items()}
    scan = dataclasses.replace(whole, **with_dark, dark_frame=times * rate)
    scale, error = dark_scale(scan)
    assert scale == pytest.approx(1 / times, abs=5 * error)
    told = [line for line in projections_quality(retrieve(scan), scan, {}).findings if "dark frame looks" in line]
    assert bool(told) == (times != 1.0)
    if told:
        assert f"{times:.2g} times the exposure" in told[0]


def test_an_even_dark_frame_tells_nothing_of_exposures():
    assert dark_scale(counted(dark_frame=np.full((ROWS, COLS), 50.0))) is None
    assert dark_scale(counted()) is None


def test_a_bright_pixel_without_modulation_is_not_vouched_for():
    """A stuck pixel counts a lot and noisily; its neighbours' visibility is not its own."""
    rng = stream(4, "stuck")
    scan = counted(counts=1000.0, visibility=0.2)
    for field in ("frames", "flats"):
        number = getattr(scan, field).shape[1]
        scan = changed(scan, field, (0, slice(None), slice(None), 10, 12), rng.poisson(30000, (number, 8)).astype(np.uint16))
    stuck = changed(scan, "flats", (0, slice(None), slice(None), 10, 12), counted(counts=1000.0).flats[0, :, :, 10, 12])
    found = retrieve(stuck)
    assert not found.valid[0, :, 10, 12].any()
    assert found.valid[0].mean() > 0.97


def test_dark_pixels_are_not_vouched_for_by_bright_ones_without_modulation():
    """Behind lead (2 photons a step) beside the open beam, no modulation anywhere in the sample."""
    rng = stream(5, "lead")
    flat = counted(counts=100000.0 / 2)
    amplitude = np.where(np.arange(COLS) % 6 < 3, 40000.0, 2.0) * np.ones((ROWS, 1))
    sample = rng.poisson(np.broadcast_to(amplitude, (1, 3, 8, ROWS, COLS))).astype(np.uint16)
    found = retrieve(dataclasses.replace(flat, frames=sample))
    dim = amplitude < 10
    assert found.valid[0][:, dim].mean() < 0.02


@pytest.mark.parametrize("damage", ["half a step", "moved", "zingers"])
def test_a_view_that_is_not_like_the_others_is_named(damage):
    scan = counted(views=6)
    if damage == "half a step":
        scan = changed(scan, "frames", (0, 4, 3), lambda a: a // 2)
    elif damage == "moved":
        scan = changed(scan, "frames", (0, 4, slice(4, 8)), lambda a: np.roll(a, 4, axis=-1))
    else:
        scan = changed(scan, "frames", (0, 4, 2, slice(0, ROWS, 3)), lambda a: a + 3000)
    findings = projections_quality(retrieve(scan), scan, {}).findings
    assert any("view 4 (" in line and "view 0" not in line for line in findings), findings


def test_the_second_direction_is_judged_too():
    one = counted(views=4)
    bad = changed(one, "frames", (0, slice(None), 2), lambda a: (a * 0.8).astype(np.uint16))
    both = {f: np.concatenate([getattr(one, f), getattr(bad, f)]) for f in ("frames", "flats")}
    both |= {f: np.repeat(getattr(one, f), 2, axis=0) for f in ("step_phase_rad", "view_time_s", "flat_time_s")}
    scan = dataclasses.replace(one, **both, directions_rad=np.array([0.0, np.pi / 2]))
    quality = projections_quality(retrieve(scan), scan, {})
    assert quality.numbers["misfit"] > 2
    assert any("χ²" in line for line in quality.findings)


def test_what_is_seen_does_not_hang_on_blocks_and_is_right():
    checks = seen_in(counted(counts=500.0, visibility=0.4), {})
    assert {name: np.shape(checks[name]) for name in BY_VIEW} == dict.fromkeys(BY_VIEW, (1, 3))
    np.testing.assert_allclose(checks["misfit"], 1, atol=0.1)
    np.testing.assert_allclose(checks["second_power"], 0, atol=0.01)
    assert checks["lost_steps"].sum() == checks["saturated"].sum() == checks["above_one"].sum() == 0


def test_the_sample_of_pixels_follows_no_columns():
    chosen = spread_pixels(np.ones((512 * 512,), bool))
    columns = np.bincount(chosen % 512, minlength=512)
    assert len(chosen) > 2000
    assert columns.max() < 12


def test_numbers_of_curves_equal_their_definition():
    rng = stream(0, "numbers")
    phase = rng.uniform(-3, 3, 4000)
    expected = 1000 * (1 + 0.3 * np.cos(THETA[:, None] + phase) + 0.06 * np.cos(2 * (THETA[:, None] + phase)))
    from darklung.retrieve.harmonic import nominal_steps

    found = curve_numbers(rng.poisson(expected), np.zeros(4000), designs_of(nominal_steps(THETA), 1), 1.0)
    assert np.sqrt(found["second_power"]) == pytest.approx(0.2, abs=0.01)
    # What the second harmonic leaves: 8 · ½ (0.06 · 1000)² over 5 · 1000, beside 1 of noise.
    assert found["misfit"] == pytest.approx(1 + 8 * 0.5 * 60**2 / (5 * 1000), rel=0.08)


def told(**numbers):
    """Findings of an otherwise good scan."""
    good = {"valid_share": 1.0, "flat_visibility": 0.3, "misfit": 1.0}
    return " | ".join(findings_of({**good, **numbers}))


def test_advice_fits_the_finding_and_repeats_nothing_done():
    assert told() == ""
    assert "gain) may be 0.5 " in told(misfit=0.5, gain=1.0)
    assert "steps: estimate" not in told(misfit=0.5)
    assert "steps: estimate" in told(misfit=2.0, uneven_steps=2.0, steps_estimated=0.0)
    assert "steps: estimate" not in told(misfit=2.0, uneven_steps=2.0, steps_estimated=1.0)
    assert "gain) may be 2" in told(misfit=2.0, uneven_steps=1.01)
    assert "harmonics: 2" in told(misfit=2.0, uneven_steps=1.01, second_harmonic=0.1, harmonic_leak=0.0)
    assert "harmonics: 2" not in told(misfit=2.0, uneven_steps=1.01, second_harmonic=0.1, fitted_harmonics=2.0)
    assert "keep it out" in told(second_harmonic=0.1, harmonic_leak=0.0)
    assert "disturbs it" in told(second_harmonic=0.1, harmonic_leak=0.5)
    assert "air_rows" in told(row_streak_index=5.0)
    assert "air_rows" not in told(row_streak_index=5.0, normalise="air_rows")
    assert "true errors larger" in told(noise_ratio=1.4)
    assert "−ln T in air is 1.40" in told(air_noise_ratio=1.4)


@pytest.mark.parametrize("gain", [0.5, 3.0])
def test_counts_that_are_no_photons_are_told_with_their_gain(gain):
    scan = counted(counts=3000.0)
    counts = {f: (gain * getattr(scan, f)).astype(np.float32) for f in ("frames", "flats")}
    made = dataclasses.replace(scan, **counts)
    line = next(line for line in projections_quality(retrieve(made), made, {}).findings if "χ²" in line)
    assert f"(gain) may be {gain:g}" in line
    right = Fit(gain=gain)
    quality = projections_quality(retrieve(made, fit=right), made, {"fit": right})
    assert not any("χ²" in line for line in quality.findings)


@pytest.mark.parametrize(
    ("shape", "word"),
    [((1, 1, 1, 1, COLS), "streaked in −ln T"), ((1, 1, 1, ROWS, 1), "streaked in −ln T")],
    ids=["columns", "rows"],
)
def test_lines_of_the_detector_that_drifted_since_the_flat_are_seen_in_air(shape, word):
    scan = counted(counts=20000.0, transmission=1.0, views=1)
    drift = 1 + 0.02 * stream(8, "drift").normal(size=shape)
    drifted = dataclasses.replace(scan, frames=np.rint(scan.frames * drift).astype(np.uint16))
    assert any(word in line for line in projections_quality(retrieve(drifted), drifted, {}).findings)
    assert not any(word in line for line in projections_quality(retrieve(scan), scan, {}).findings)


def test_streaks_of_the_dark_field_along_rows_are_seen():
    rng = stream(9, "rows")
    phase = np.linspace(0, 5, COLS) + np.zeros((ROWS, COLS))
    visibility = 0.3 * np.exp(-0.05 * np.abs(rng.normal(size=(ROWS, 1)))) * np.ones((1, COLS))
    sample = rng.poisson(curves(THETA, np.full((ROWS, COLS), 5e4), visibility, phase))
    flat = rng.poisson(curves(THETA, np.full((ROWS, COLS), 5e4), 0.3, phase))
    scan = make_scan(sample[None], flat[None], THETA)
    findings = projections_quality(retrieve(scan), scan, {}).findings
    assert any(line.startswith("streaked along rows") for line in findings), findings


def test_a_scan_of_lost_views_alone_has_numbers_all_the_same():
    checks = {name: np.full((1, 2), np.nan) for name in BY_VIEW} | {"saturation": np.array([np.inf])}
    numbers = frame_numbers({**checks, "lost_steps": np.array([[8, 8]])})
    assert numbers["misfit"] is None
    assert numbers["lost_views"] == "view 0, view 1"
