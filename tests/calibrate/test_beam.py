"""Powders behind filters and in several thicknesses: V(E) S(E) is fitted, and what was not seen is predicted or refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from darklung.calibrate.beam import filter_name, parse_filter
from darklung.calibrate.beam_fits import Belief, PowderRows, fit_beam
from darklung.calibrate.sizes import region, sizes
from darklung.calibrate.sphere_fits import compare_models, fit_powders, fit_spheres
from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.correct.response import SpectralResponse
from darklung.correct.wedge import Wedge
from darklung.physics.instrument import make_instrument
from darklung.physics.materials import MATERIALS, delta, linear_attenuation
from darklung.physics.scattering import sphere
from darklung.physics.slab import slab_signal

DIAMETERS_M = 1e-6 * np.array([0.2, 0.35, 0.6, 1.0, 1.6, 2.5, 4.0, 7.0])
THICKNESS_M, FILL, CU = 0.012, 0.05, "cu 1 mm"
BELIEVED = make_instrument(
    spectrum="tube",
    low_kev=20,
    high_kev=160,
    bins=28,
    design_energy_kev=100,
    flat_visibility=0.077,
    correlation_length_m=0.7e-6,
    reference_energy_kev=100,
)
# Soft photons have four times the visibility that is believed.
SOFT = BELIEVED.energies_kev < 35
TRUE = replace(BELIEVED, visibility=np.where(SOFT, np.minimum(4 * BELIEVED.visibility + 0.1, 1.0), BELIEVED.visibility))
BELIEF = Belief(SpectralResponse.of(BELIEVED), 0.7e-6, "sio2")


def seen(diameter_m, thickness_m, filters="", fill=FILL):
    """(−ln T, −ln D) of silica powder by `slab_signal` and `sphere`, and the flat's visibility."""
    energies = TRUE.energies_kev
    left = np.exp(-sum(t * linear_attenuation(m, MATERIALS[m].density_g_cm3, energies) for m, t in parse_filter(filters)))
    weights = TRUE.weights * left / (TRUE.weights * left).sum()
    behind = replace(TRUE, weights=weights)
    # The amount of powder is that of a cell filled to 0.4, its scattering that of a few spheres in it: the scale is free.
    depth = thickness_m * linear_attenuation("sio2", 0.4 * 2.2, energies)
    law = sphere(diameter_m, fill, delta("sio2", 2.2, energies), energies, TRUE.correlation_length_m)
    attenuation, dark = slab_signal(behind, attenuation=depth, scattering=thickness_m * law)
    return float(attenuation), float(dark), behind.flat_visibility


def rows(*settings, noise=0.0, diameters=DIAMETERS_M):
    found = [(d, *seen(d, t, f), t, f) for t, f in settings for d in diameters]
    diameter, attenuation, dark, visibility, thickness = np.array([r[:5] for r in found], float).T
    dark = dark + stream(4, "rows").normal(0, noise, len(dark))
    return PowderRows(diameter, dark, thickness, tuple(r[5] for r in found), attenuation, visibility)


ONE = rows((THICKNESS_M, ""), noise=0.002)
SEVERAL = rows((THICKNESS_M, ""), (0.03, ""), (THICKNESS_M, CU), noise=0.002)


def test_filters_are_read_and_written_in_one_way():
    assert parse_filter("al 2 mm + cu 100 um") == (("al", 2e-3), ("cu", pytest.approx(1e-4)))
    assert filter_name("Cu 1000 um") == filter_name("cu 1 mm") == CU
    assert filter_name("none") == filter_name("") == ""
    with pytest.raises(DarklungError, match="filter: wanted a material and a thickness such as 'cu 1 mm', got '1 mm'"):
        parse_filter("1 mm")
    with pytest.raises(DarklungError, match="filter: 'jam' is not known"):
        parse_filter("jam 1 mm")


def test_the_believed_beam_is_the_polychromatic_sum():
    believed = Belief(SpectralResponse.of(TRUE), 0.7e-6, "sio2")
    beam, _ = believed.beam(ONE)
    exact = replace(beam, visible=believed.response.visible)
    scale = 3 * np.pi**2 * FILL * float(delta("sio2", 2.2, 100.0)) ** 2 / (1.23984e-9 / 100) ** 2
    shape = fit_spheres(diameter_m=DIAMETERS_M, signal=ONE.signal[: len(DIAMETERS_M)], thickness_m=THICKNESS_M).shape
    for thickness, filters in ((THICKNESS_M, ""), (0.045, ""), (THICKNESS_M, CU)):
        found = exact.response(shape, scale, 0.7e-6, DIAMETERS_M, thickness, filters)
        # −ln T of the rows has told how much powder there is.
        np.testing.assert_allclose(found, [seen(d, thickness, filters)[1] for d in DIAMETERS_M], rtol=0.01, atol=1e-3)


def test_soft_photons_look_like_an_offset_that_a_filter_takes_away():
    offsets = [
        fit_spheres(diameter_m=DIAMETERS_M, signal=rows(setting).signal, thickness_m=setting[0]).offset
        for setting in ((THICKNESS_M, ""), (0.03, ""), (THICKNESS_M, CU))
    ]
    assert offsets[0] > 0.1
    assert offsets[1] < 1.8 * offsets[0], "less than the 2.5 of the thickness"
    assert abs(offsets[2]) < 0.2 * offsets[0]


def test_one_thickness_predicts_others_within_what_it_says():
    fit = fit_beam(ONE, BELIEF)
    assert fit.residual < 0.01
    pulls = []
    for thickness, filters in ((0.006, ""), (0.045, ""), (THICKNESS_M, CU)):
        truth = np.array([seen(d, thickness, filters)[1] for d in DIAMETERS_M])
        error = np.hypot(fit.error_of(DIAMETERS_M, thickness, filters), fit.scatter_of(DIAMETERS_M, thickness, filters))
        pulls.append((fit.signal_of(DIAMETERS_M, thickness, filters) - truth) / error)
    assert np.abs(pulls).max() < 3
    believed = replace(fit.beam, visible=BELIEF.response.visible)
    soft = [float(b.visible[SOFT].sum()) for b in (believed, fit.beam)]
    true = float((TRUE.weights * TRUE.visibility)[SOFT].sum()) / TRUE.flat_visibility
    assert abs(soft[1] - true) < 0.4 * abs(soft[0] - true), "V(E) S(E) was fitted, not believed"


def test_several_thicknesses_and_filters_settle_the_visibility_spectrum():
    one, several = fit_beam(ONE, BELIEF), fit_beam(SEVERAL, BELIEF)
    assert several.free > one.free + 0.5
    for where in ((0.045, ""), (0.03, CU)):
        truth = np.array([seen(d, *where)[1] for d in DIAMETERS_M])
        assert np.abs(several.signal_of(DIAMETERS_M, *where) - truth).max() < 0.03
        assert several.error_of(DIAMETERS_M, *where).mean() < 0.6 * one.error_of(DIAMETERS_M, *where).mean()
    assert several.beam.gain(CU) / several.beam.gain("") == pytest.approx(
        seen(1e-6, 0.01, CU)[2] / TRUE.flat_visibility, rel=0.03
    )


def test_a_gain_of_flats_alone_corrects_the_visibility_spectrum():
    gain = seen(1e-6, 0.01, CU)[2] / TRUE.flat_visibility
    told = fit_beam(ONE, replace(BELIEF, gains=((CU, gain),)))
    assert told.beam.gain(CU) / told.beam.gain("") == pytest.approx(gain, rel=0.02)
    without = fit_beam(ONE, BELIEF)
    for where in ((THICKNESS_M, CU), (0.045, ""), (0.045, CU)):
        truth = np.array([seen(d, *where)[1] for d in DIAMETERS_M])
        errors = [np.abs(fit.signal_of(DIAMETERS_M, *where) - truth).max() for fit in (without, told)]
        assert errors[1] < 0.5 * errors[0]
        assert told.error_of(DIAMETERS_M, *where).mean() < 0.6 * without.error_of(DIAMETERS_M, *where).mean()


@pytest.mark.parametrize(("gains", "told"), [((("", 1.4),), "wanted a filter"), ((("cu 1 mm", 0.0),), "gain of visibility")])
def test_gains_that_make_no_sense_are_refused(gains, told):
    with pytest.raises(DarklungError, match=told):
        replace(BELIEF, gains=gains)


def test_wedges_are_fitted_with_the_powders():
    mu = linear_attenuation("water", 1.0, TRUE.energies_kev)
    steps = np.linspace(0, 0.04, 9)
    attenuation, dark = slab_signal(TRUE, attenuation=np.multiply.outer(steps, mu))
    few = ONE.part(np.arange(4))
    with_wedge = fit_beam(few, replace(BELIEF, wedges=(Wedge("water", steps, attenuation, dark),)))
    response = replace(BELIEF.response, visible=with_wedge.beam.visible)
    assert np.abs(response.measured(np.multiply.outer(steps, mu))[1] - dark).max() < 0.01
    assert np.abs(BELIEF.response.measured(np.multiply.outer(steps, mu))[1] - dark).max() > 0.03


def test_the_true_shape_is_the_likeliest():
    found = compare_models(ONE, fill=0.4, belief=BELIEF)
    assert found[0].fit.shape.model == "dilute"
    assert not any(row.offset for row in found)
    assert found[0].left_out < 0.02


def test_a_calibration_says_for_what_it_holds():
    fit = fit_beam(SEVERAL, BELIEF)
    assert fit.holds["thickness_m"] == [THICKNESS_M, 0.03]
    assert fit.holds["filters"] == ["", CU]
    assert fit.outside(0.02, "cu 1000 um") == ""
    assert fit.outside(0.045) == "thickness: calibrated from 12 to 30 mm, got 45 mm"
    assert fit.outside(0.02, "al 1 mm") == "filter: calibrated behind '', 'cu 1 mm', got 'al 1 mm'"
    beyond = sizes(fit, seen(0.6e-6, 0.045)[1], thickness_m=0.045)
    assert not beyond.valid
    assert beyond.holds(0.6e-6)
    with pytest.raises(DarklungError, match="rows behind different filters need the beam's spectrum"):
        fit_powders(SEVERAL)


def test_an_offset_does_not_grow_with_the_thickness_of_the_sample():
    xi, base, contrast = 0.9e-6, 0.2, float(delta("sio2", 2.2, 60.0))

    def dark(diameter, thickness):
        return thickness * sphere(diameter, FILL, contrast, 60.0, xi) + base

    two = PowderRows(
        np.tile(DIAMETERS_M, 2), np.ravel([dark(DIAMETERS_M, t) for t in (0.006, 0.02)]), np.repeat([0.006, 0.02], 8)
    )
    fit = fit_powders(two)
    assert fit.offset == pytest.approx(base, abs=1e-5)
    for thickness in (0.006, 0.013, 0.02):
        found = sizes(fit, dark(0.5e-6, thickness), 1e-8, thickness_m=thickness, prefer="small")
        assert found.size_m == pytest.approx(0.5e-6, rel=0.01)
    assert fit.covariance[2, 2] < 1e-4


def test_a_region_is_read_from_its_mean_with_all_its_pixels():
    fit = fit_spheres(diameter_m=DIAMETERS_M, signal=ONE.signal[: len(DIAMETERS_M)], thickness_m=THICKNESS_M)
    true, noise = 1.6e-6, 0.05
    values = float(fit.signal_of(true)) + stream(6, "pixels").normal(0, noise, 4000)
    mean, error, found = region(fit, values, noise**2)
    assert error == pytest.approx(noise / np.sqrt(4000), rel=0.1)
    assert mean == pytest.approx(float(fit.signal_of(true)), abs=4 * error)
    assert found.holds(true)
    assert found.branch == 3
    assert not found.valid
    survivors = sizes(fit, values, noise**2, within=1e9)
    told = survivors.size_m[survivors.valid]
    assert len(told) == 0 or abs(np.median(told) / true - 1) > 0.2, "the median of pixels with one size is no estimate"


def test_intervals_cover_and_what_is_told_is_right():
    covered, valid, told = [], [], []
    for trial in range(4):
        rng = stream(trial, "coverage")
        noisy = replace(ONE, signal=ONE.signal + rng.normal(0, 0.01, len(ONE.signal)))
        fit = fit_beam(noisy, BELIEF)
        for factor in (0.5, 1.0, 2.0, 4.0):
            diameter = np.exp(rng.uniform(*np.log(fit.range_m), 12))
            dark = [seen(d, factor * THICKNESS_M)[1] for d in diameter] + rng.normal(0, 0.01, 12)
            found = sizes(fit, dark, 1e-4, thickness_m=factor * THICKNESS_M, within=0.3)
            covered.append(found.holds(diameter).mean())
            valid.append(found.valid.mean() if factor == 1 else 0.0)
            assert factor == 1 or not found.valid.any()
            told += list(np.abs(found.size_m / diameter - 1)[found.valid])
    assert 0.8 < np.mean(covered) <= 1.0
    assert np.sum(valid) / 4 > 0.1
    assert np.quantile(told, 0.9) < 0.3


@pytest.mark.parametrize(
    ("gains", "told"),
    [
        ((("cu 1 mm", 30.0),), "best fit has x"),
        ((("al 1 mm", 0.02),), "best fit has x"),
        ((("cu 1000 mm", 1.4),), "lets nothing through"),
    ],
)
def test_gains_that_no_beam_has_are_refused(gains, told):
    with pytest.raises(DarklungError, match=told):
        fit_beam(ONE, replace(BELIEF, gains=gains))
