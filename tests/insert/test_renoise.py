"""Behind an insertion counts are Poisson again, of the mean that they should have; maps have the noise that they should."""

from dataclasses import replace

import numpy as np
import pytest

from darklung.insert.renoise import around, changed_curves, changed_maps, local_beam

STEPS = 2 * np.pi * np.arange(5) / 5
SHAPE = (240, 240)
CHANGES = [(0.05, -0.25, 0.0), (0.03, 0.3, 0.4), (-0.04, 0.1, -0.2), (0.2, -0.4, 0.0)]


def expected(level, visibility, phase):
    return level * (1 + visibility * np.cos(STEPS[:, None, None] + phase))


@pytest.fixture(scope="module")
def scene():
    rows, cols = np.meshgrid(np.linspace(-1, 1, SHAPE[0]), np.linspace(-1, 1, SHAPE[1]), indexing="ij")
    flat = {"flat_amplitude": 400 * (1 + 0.1 * cols), "flat_visibility": 0.2 - 0.03 * rows**2, "flat_phase": 6 * cols}
    behind = 0.7 * flat["flat_amplitude"], 0.6 * flat["flat_visibility"], flat["flat_phase"] + 0.8 * np.sin(3 * rows)
    return flat, behind


def chi_square(counts, mean):
    return float(((counts - mean) ** 2 / mean).mean())


@pytest.mark.parametrize(("attenuation", "dark_field", "phase"), CHANGES)
def test_counts_are_poisson_of_the_right_mean(scene, attenuation, dark_field, phase):
    flat, (level, visibility, angle) = scene
    rng = np.random.default_rng(3)
    curves = rng.poisson(expected(level, visibility, angle))
    beam = local_beam(curves, STEPS, usable=np.ones(SHAPE, bool), **flat)
    full = [np.full(SHAPE, v) for v in (attenuation, dark_field, phase)]
    changes = dict(zip(("attenuation", "dark_field", "phase"), full))
    new = changed_curves(curves, beam, STEPS, rng=rng, **changes)
    wanted = expected(level * np.exp(-attenuation), visibility * np.exp(-dark_field), angle + phase)
    count = new.size
    assert (new == np.rint(new)).all()
    assert (new - wanted).sum() / np.sqrt(wanted.sum()) == pytest.approx(0, abs=4)
    assert chi_square(new, wanted) == pytest.approx(1, abs=5 * np.sqrt(2 / count))
    # A Poisson number's third central moment equals its mean.
    assert float(((new - wanted) ** 3 / wanted).mean()) == pytest.approx(1, abs=0.35)
    for step in new - wanted:
        assert step.mean() == pytest.approx(0, abs=5 * np.sqrt(wanted.mean() / step.size))


def test_taking_the_visibility_from_the_pixel_itself_would_scale_its_noise(scene):
    """The reason for asking the neighbours: the noise of V depends on the photons and not on V."""
    flat, (level, visibility, angle) = scene
    rng = np.random.default_rng(4)
    curves = rng.poisson(expected(level, visibility, angle))
    change = {"attenuation": np.zeros(SHAPE), "dark_field": np.full(SHAPE, -0.4), "phase": np.zeros(SHAPE)}
    asked = local_beam(curves, STEPS, usable=np.ones(SHAPE, bool), **flat)
    own = np.tensordot(np.exp(-1j * STEPS), curves, axes=1) * 2 / curves.sum(axis=0)
    spreads = []
    for beam in (asked, replace(asked, fringe=own)):
        new = changed_curves(curves, beam, STEPS, rng=rng, **change)
        fringe = np.tensordot(np.exp(-1j * STEPS), new, axes=1) * 2 / 5 / level
        spreads.append(float((fringe * np.exp(-1j * angle) - visibility * np.exp(0.4)).real.std()))
    ideal = float(np.sqrt((2 - visibility**2) / (5 * level)).mean())
    assert spreads[0] == pytest.approx(ideal, rel=0.02)
    assert spreads[1] > 1.3 * ideal


def test_what_is_not_touched_stays(scene):
    flat, behind = scene
    curves = np.random.default_rng(5).poisson(expected(*behind))
    beam = local_beam(curves, STEPS, usable=np.ones(SHAPE, bool), **flat)
    change = np.zeros(SHAPE)
    change[100:110, 100:110] = 0.1
    new = changed_curves(
        curves, beam, STEPS, attenuation=change, dark_field=change, phase=0 * change, rng=np.random.default_rng(0)
    )
    np.testing.assert_array_equal(new[:, change == 0], curves[:, change == 0])
    assert (new[:, change > 0] != curves[:, change > 0]).mean() > 0.8


def test_gain_keeps_mean_and_variance(scene):
    flat, behind = scene
    rng, gain = np.random.default_rng(6), 3.5
    curves = gain * rng.poisson(expected(*behind) / gain)
    beam = local_beam(curves, STEPS, usable=np.ones(SHAPE, bool), **flat)
    change = {"attenuation": np.full(SHAPE, 0.1), "dark_field": np.full(SHAPE, -0.2), "phase": np.zeros(SHAPE)}
    new = changed_curves(curves, beam, STEPS, rng=rng, gain=gain, **change)
    wanted = expected(behind[0] * np.exp(-0.1), behind[1] * np.exp(0.2), behind[2])
    assert chi_square(new, wanted) == pytest.approx(gain, rel=0.02)
    assert (new - wanted).mean() == pytest.approx(0, abs=0.2)


def test_leave_one_out_mean_does_not_see_the_pixel_itself():
    values = np.zeros((21, 21))
    values[10, 10] = 1e3
    mean = around(values, np.ones_like(values))
    assert mean[10, 10] == pytest.approx(0, abs=1e-9)
    assert mean[10, 11] > 10
    np.testing.assert_allclose(around(np.full((9, 9), 3 + 2j), np.ones((9, 9))), 3 + 2j)


@pytest.mark.parametrize(("attenuation", "dark_field"), [(0.05, -0.3), (0.1, 0.2), (0.0, -0.5)])
def test_maps_get_the_noise_of_fewer_photons_and_of_another_visibility(attenuation, dark_field):
    rng = np.random.default_rng(7)
    counts, visibility, d0 = 4e4, 0.15, 0.4
    sigma_a, sigma_rho = 1 / np.sqrt(counts), np.sqrt(2 / counts) / visibility
    ratio = np.exp(-d0) + sigma_rho * (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE))
    flat = np.ones(SHAPE)
    made = changed_maps(
        attenuation=1 + sigma_a * rng.standard_normal(SHAPE), dark_field=-np.log(abs(ratio)), phase=np.angle(ratio),
        attenuation_change=attenuation * flat, dark_field_change=dark_field * flat, phase_change=0.2 * flat,
        attenuation_variance=sigma_a**2 * flat, dark_field_variance=(sigma_rho / np.exp(-d0)) ** 2 * flat,
        valid=np.ones(SHAPE, bool), rng=rng,
    )  # fmt: skip
    grown = np.exp(attenuation / 2)
    assert made.attenuation.std() == pytest.approx(sigma_a * grown, rel=0.02)
    assert made.attenuation.mean() == pytest.approx(1 + attenuation, abs=5 * sigma_a / SHAPE[0])
    wanted = sigma_rho * grown / np.exp(-d0 - dark_field)
    assert made.dark_field.std() == pytest.approx(wanted, rel=0.03)
    assert made.dark_field.mean() == pytest.approx(d0 + dark_field, abs=0.003)  # the logarithm's own bias is 0.002
    assert made.phase.mean() == pytest.approx(0.2, abs=0.003)
    assert made.dark_field_factor.mean() == pytest.approx((wanted / (sigma_rho / np.exp(-d0))) ** 2, rel=1e-6)
