"""Patches changed as physics changes them: noise, dose, visibility, ξ and energy; what is off draws as it did before."""

from dataclasses import replace

import numpy as np
import pytest

from darklung.core.channel import Channel
from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import Image
from darklung.learn.beams import Beam, attenuation_law, dark_field_factor, visibility_noise_factor
from darklung.learn.data import Case, fit_normalisation, in_units, location_and_scale, normalised
from darklung.learn.noise import TEXTURES, draw_noise, plane_correlation
from darklung.learn.patches import draw_batch, make_source
from darklung.learn.rescan import draw_changes, why_no_beam
from darklung.learn.settings import AugmentationPart, TrainingPart
from darklung.learn.train import train
from darklung.physics.instrument import make_instrument
from darklung.physics.lung import HEALTHY
from darklung.physics.materials import MATERIALS, delta, linear_attenuation
from darklung.simulate.lung import ScatterColumns, scattering_coefficient
from darklung.tomo.fbp import fbp

SHAPE = (32, 32, 32)
LEVELS = {"attenuation": 6.0, "dark_field_0": 80.0, "dark_field_90": 100.0}
SIGMA = {"attenuation": 0.4, "dark_field_0": 8.0, "dark_field_90": 10.0}
ARM = ("attenuation", "dark_field", "dark_field_0", "dark_field_90", "dark_field_0_noise", "noise")
BEFORE = (
    1.250697,
    -0.1756731,
    -1.253836,
    0.07155642,
    0.3993747,
    -0.6040645,
)  # drawn by the version that had no physical augmentation
STILL = {"flips": False, "gain": 0.0, "offset": 0.0}


def flat_case(shape=SHAPE, *, noise=True, **changes):
    """Even lung with some white noise of its own, the errors of it, and one lesion."""
    rng = np.random.default_rng(3)
    channels = {n: v + SIGMA[n] * rng.normal(size=shape) for n, v in LEVELS.items()}
    channels["dark_field"] = (channels["dark_field_0"] + channels["dark_field_90"]) / 2
    channels["noise"] = rng.normal(size=shape)
    if noise:
        channels |= {f"{n}_noise": s * (0.8 + 0.4 * rng.random(shape)) for n, s in SIGMA.items()}
    data, units = np.stack(list(channels.values())).astype(np.float32), ("1/m",) * len(channels)
    target = np.zeros(shape, np.uint8)
    target[tuple(slice(n // 2, n // 2 + 2) for n in shape)] = 1
    image = Image(data, tuple(channels), units, (3e-4,) * len(shape))
    case = Case("m", image, target, np.ones(shape, bool), energy_kev=70.0, correlation_length_m=3e-6)
    return replace(case, **changes)


def whole(case, *, per="cohort", channels=ARM, seed=1, **said):
    """The channels of a patch that is the whole volume before and after, normalised, and the source."""
    part = AugmentationPart.model_validate({**STILL, **said})
    n = fit_normalisation(cases=[case], channels=channels, per=per)
    shape = case.image.shape
    source = make_source(case=case, normalisation=n, patch=shape, augmentation=part)
    common = {"sources": [source], "patch": shape, "batch": 1, "rng": np.random.default_rng(0)}
    cut = draw_batch(**common, augmentation=part, streams=lambda name: stream(seed, name))
    return source.data, cut.data[0], n.scales(case)


def added(case, **said):
    """What was added to each channel, in its own unit."""
    before, after, scales = whole(case, **said)
    return {n: in_units(a, *s) - in_units(b, *s) for n, b, a, s in zip(ARM, before, after, scales)}


def test_a_fraction_of_the_dose_adds_the_variance_that_it_lacks_and_the_errors_say_so():
    case, factor = flat_case(), 4.0
    new = added(case, dose=(factor, factor))
    voxels = np.prod(SHAPE)
    for name in ("attenuation", "dark_field_0", "dark_field_90"):
        wanted = (factor - 1) * case.image.channel(f"{name}_noise").astype(float) ** 2
        assert new[name].var() == pytest.approx(wanted.mean(), rel=6 * np.sqrt(2 / voxels)), name
        assert abs(new[name].mean()) < 0.02 * np.sqrt(wanted.mean())  # the ramp has no mean to give
    sigma = case.image.channel("dark_field_0_noise")
    assert np.allclose(new["dark_field_0_noise"], (np.sqrt(factor) - 1) * sigma, rtol=1e-4)
    assert np.allclose(new["dark_field"], (new["dark_field_0"] + new["dark_field_90"]) / 2, atol=1e-3)
    assert not new["noise"].any()
    assert abs(np.corrcoef(new["attenuation"].ravel(), new["dark_field_0"].ravel())[0, 1]) < 0.03


def test_noise_drawn_again_is_another_in_each_step_and_the_same_in_the_same():
    case = flat_case()
    first, again, other = (added(case, noise=0.5, seed=seed)["attenuation"] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.03
    assert first.var() == pytest.approx(0.5 * (case.image.channel("attenuation_noise").astype(float) ** 2).mean(), rel=0.05)


def test_less_visibility_makes_dark_fields_noisier_as_counting_does_and_leaves_attenuation():
    case, v0, factor = flat_case(), 0.15, 0.5
    new = added(case, visibility=(factor, factor), flat_visibility=v0)
    assert not new["attenuation"].any()
    rng = np.random.default_rng(0)

    def log_visibility(v):  # of stepping curves that are counted
        theta = 2 * np.pi * np.arange(5) / 5
        counts = rng.poisson(4000 * (1 + v * np.cos(theta)), (60_000, 5))
        return np.log(2 * abs((counts * np.exp(1j * theta)).sum(1)) / counts.sum(1))

    counted = log_visibility(factor * v0).var() / log_visibility(v0).var()
    assert visibility_noise_factor(factor, v0) == pytest.approx(counted, rel=0.04)
    ratio = new["dark_field_0"].var() / (case.image.channel("dark_field_0_noise").astype(float) ** 2).mean()
    assert ratio == pytest.approx(visibility_noise_factor(factor, v0) - 1, rel=0.05)


def simulated(energy, xi):
    """ε of healthy lung by the simulator's own columns."""
    phi = HEALTHY.tissue_fraction
    one = np.ones((1, 1), np.float32)
    length = 4 * phi * (1 - phi) / HEALTHY.interface_density_per_m
    across = (one / length**2).astype(np.float32)
    strength, axis = (2 * phi * (1 - phi) * one).astype(np.float32), np.array([1, 0, 0], np.float32).reshape(3, 1, 1)
    columns = ScatterColumns(np.zeros((1, 2), np.int64), strength, across, 0 * one, axis)
    contrast = 2 * np.pi * energy / 1.239841984e-9 * delta("soft_tissue", HEALTHY.tissue_density, energy)
    found = scattering_coefficient(
        columns, beam=np.array([0.0, 1.0, 0.0]), sensitivity=np.array([[1.0, 0.0, 0.0]]),
        squared_contrast_per_m2=np.array([contrast**2]), correlation_length_m=np.array([xi]),
    )  # fmt: skip
    return float(found.squeeze())


def test_dark_fields_scale_as_the_simulator_says_with_xi_and_with_the_energy_of_the_same_gratings():
    beam = Beam(70.0, 3e-6)
    assert dark_field_factor(beam, beam.other(1.0, 0.6)) == pytest.approx(
        simulated(70, 1.8e-6) / simulated(70, 3e-6), rel=1e-4
    )
    gratings = make_instrument(correlation_length_m=3e-6, low_kev=84.0, high_kev=84.1, bins=1, reference_energy_kev=70.0)
    harder = float(gratings.correlation_length_m[0])
    energy = float(gratings.energies_kev[0])
    wanted = simulated(energy, harder) / simulated(70, 3e-6)
    assert dark_field_factor(beam, beam.other(energy / 70, 1.0)) == pytest.approx(wanted, rel=1e-3)


def test_another_energy_takes_tissue_and_bone_to_their_own_attenuation():
    (gain, above, tissue), to = attenuation_law(70.0, 84.0), 84.0
    change = draw_changes(AugmentationPart(energy=(1.2, 1.2)), Beam(70.0, 3e-6), np.random.default_rng(0))["attenuation"]
    density = MATERIALS["bone"].density_g_cm3
    values = np.array([0.0, 0.3 * tissue, tissue, float(linear_attenuation("bone", density, 70.0))])
    soft = float(linear_attenuation("soft_tissue", HEALTHY.tissue_density, to))
    wanted = [0.0, 0.3 * soft, soft, float(linear_attenuation("bone", density, to))]
    assert np.allclose(change.values(values), wanted, rtol=1e-3)
    assert above < gain < 1


def test_a_weaker_signal_keeps_its_noise_and_a_stronger_one_cannot_lose_it():
    case, beam = flat_case(), Beam(70.0, 3e-6)
    g = dark_field_factor(beam, beam.other(1.0, 0.6))
    sigma2 = (case.image.channel("dark_field_0_noise").astype(float) ** 2).mean()
    weak = added(case, correlation_length=(0.6, 0.6))["dark_field_0"] - (g - 1) * case.image.channel("dark_field_0")
    assert weak.var() == pytest.approx((1 - g**2) * sigma2, rel=0.05)
    strong = added(case, correlation_length=(1.3, 1.3))
    g = dark_field_factor(beam, beam.other(1.0, 1.3))
    assert np.allclose(strong["dark_field_0"], (g - 1) * case.image.channel("dark_field_0"), rtol=1e-3)
    assert np.allclose(strong["dark_field_0_noise"], (g - 1) * case.image.channel("dark_field_0_noise"), rtol=1e-3)
    assert not strong["attenuation"].any()


def test_normalised_by_its_own_lung_a_patch_is_normalised_as_that_scan_would_be():
    case = flat_case()
    said = {"dose": (3, 3), "energy": (0.9, 0.9), "correlation_length": (1.1, 1.1)}
    _, after, scales = whole(case, per="volume", **said)
    cohort = whole(case, **said)[1]
    for i, name in enumerate(ARM[:4]):
        values = in_units(cohort[i], *whole(case)[2][i])
        own = normalised(values, *location_and_scale(values))
        assert np.abs(own - after[i]).max() < 0.1, name
        assert abs(location_and_scale(after[i])[1] - 1) < 0.03, name
    assert scales


@pytest.mark.parametrize("texture", TEXTURES)
def test_drawn_noise_is_correlated_as_the_model_says_along_and_across(texture):
    noise, wanted = draw_noise(np.random.default_rng(1), (500, 16, 16), texture), plane_correlation(16, texture)
    assert noise.var() == pytest.approx(1, abs=0.02)
    for i, j in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (3, 2), (0, 5), (0, 12)):
        assert np.mean(noise[:, i:, j:] * noise[:, : 16 - i, : 16 - j]) == pytest.approx(wanted[i, j], abs=0.02), (i, j)
    assert np.mean(noise[1:] * noise[:-1]) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("filter", ["ramp", "hann"])
def test_the_model_of_the_correlation_is_what_back_projection_makes_of_white_noise(filter):
    g = ParallelGeometry(np.arange(120) * np.pi / 120, 120, 48, 1e-3)
    projections = np.random.default_rng(2).standard_normal((120, 120, 48)).astype(np.float32)
    noise = fbp(projections, g, filter=filter, threads=1)[:, 12:36, 12:36]
    wanted = plane_correlation(4, filter)
    for i, j in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (2, 1), (0, 3)):
        seen = np.mean(noise[:, i:, j:] * noise[:, : 24 - i, : 24 - j]) / noise.var()
        assert seen == pytest.approx(wanted[i, j], abs=0.03), (i, j)
    assert abs(np.mean(noise[1:] * noise[:-1]) / noise.var()) < 0.03


def test_switched_off_everything_is_drawn_as_before_and_switched_on_places_flips_and_gains_are():
    case = flat_case()
    n = fit_normalisation(cases=[case], channels=ARM)
    off, on = AugmentationPart(turns=True), AugmentationPart(turns=True, dose=(1, 4), visibility=(0.5, 0.8))
    made = [make_source(case=case, normalisation=n, patch=(8, 8, 8), augmentation=a) for a in (off, on)]
    assert (made[0].measured, made[0].moves) == (None, None)
    rngs, common = [np.random.default_rng(5) for _ in range(2)], {"patch": (8, 8, 8), "batch": 3}
    plain = draw_batch(sources=made[:1], rng=rngs[0], augmentation=off, **common)
    other = draw_batch(sources=made[1:], rng=rngs[1], augmentation=on, streams=lambda name: stream(1, name), **common)
    assert rngs[0].bit_generator.state == rngs[1].bit_generator.state
    assert all(np.array_equal(a, b) for a, b in zip(plain.truth.values(), other.truth.values()))
    control = ARM.index("noise")
    assert np.array_equal(plain.data[:, control], other.data[:, control])
    assert not np.isclose(plain.data[:, 0], other.data[:, 0]).all()
    with pytest.raises(DarklungError, match="streams: wanted those that dose, visibility draw from, got none"):
        draw_batch(sources=made[1:], rng=rngs[1], augmentation=on, **common)


def test_patches_without_physical_augmentation_are_to_the_bit_those_of_before_there_was_any():
    rng = np.random.default_rng(4)
    shape = (10, 12, 14)
    image = Image(rng.normal(size=(2, *shape)).astype(np.float32), ("a", "b"), ("1",) * 2, (3e-4,) * 3)
    case = Case("m", image, (rng.random(shape) < 0.02).astype(np.uint8), np.ones(shape, bool))
    n = fit_normalisation(cases=[case], channels=("a", "b"))
    source = make_source(case=case, normalisation=n, patch=(8, 8, 8))
    cut = draw_batch(sources=[source], patch=(8, 8, 8), batch=3, rng=stream(1, "patches", 7))
    assert cut.data[:, :, 3, 4, 5].ravel() == pytest.approx(BEFORE, abs=2e-6)


def options(tmp_path, name, **changes):
    cases = [replace(flat_case((12, 12, 12)), subject=f"m{i}") for i in range(3)]
    said = {"noise": 0.3, "dose": [1, 3], "visibility": [0.7, 1], "correlation_length": [0.8, 1.2], "energy": [0.9, 1.1]}
    training = TrainingPart.model_validate({"augmentation": {**said, "breathing": 1.0}})
    return {
        "cases_train": cases[:2], "cases_validation": cases[2:], "channels": ("attenuation", "dark_field_0"), "seed": 3,
        "scratch": tmp_path / f"{name}-scratch", "out": tmp_path / name, "widths": (16, 16), "patch": 8, "batch": 2,
        "steps": 4, "training": training,
    } | changes  # fmt: skip


def test_a_killed_training_with_all_of_it_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("darklung.learn.train.CHECKPOINT_SECONDS", 0.0)
    wanted = (train(**options(tmp_path, "whole")) / "model.safetensors").read_bytes()

    def stop(share, text):
        if text.startswith("step 2/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(**options(tmp_path, "killed", progress=stop))
    assert (train(**options(tmp_path, "killed")) / "model.safetensors").read_bytes() == wanted


@pytest.mark.parametrize(
    ("case", "channels", "said", "told"),
    [
        (flat_case(), ("attenuation", "ratio"), {"dose": (1, 2)}, "dose: changes .* 'ratio' would have to be made again"),
        (flat_case(noise=False), ("attenuation",), {"noise": 1}, r"noise: wanted the noise of attenuation .*, m has none"),
        (
            flat_case(energy_kev=None),
            ("dark_field_0",),
            {"energy": (1, 2)},
            "energy and correlation length that dark_field_0 .* not known .m.",
        ),
    ],
)
def test_what_cannot_be_changed_is_refused_in_one_line(case, channels, said, told):
    if "ratio" in channels:
        names = (*case.image.names[:-1], "ratio")
        case = replace(case, image=case.image.with_data(case.image.data, names))
    n = fit_normalisation(cases=[case], channels=channels)
    with pytest.raises(DarklungError, match=told) as caught:
        make_source(case=case, normalisation=n, patch=(8, 8, 8), augmentation=AugmentationPart.model_validate(said))
    assert len(str(caught.value).splitlines()) == 1


def test_attenuation_without_a_unit_knows_no_tissue():
    case = flat_case()
    grey = replace(case, image=case.image.with_data(case.image.data, units=("a.u.",) * len(case.image.names)))
    n = fit_normalisation(cases=[grey], channels=("attenuation",))
    with pytest.raises(DarklungError, match=r"energy: wanted attenuation in 1/m, got .*m"):
        make_source(case=grey, normalisation=n, patch=(8, 8, 8), augmentation=AugmentationPart(energy=(0.9, 1.1)))


@pytest.mark.parametrize(
    ("said", "name", "unit", "told"),
    [
        ({"correlation_length": (0.8, 1)}, "attenuation", "a.u.", ""),
        ({"correlation_length": (0.8, 1)}, "dark_field", "scatter units", "correlation_length: wanted dark_field in 1/m"),
        ({"correlation_length": (0.8, 1)}, "dark_field", "1", ""),
        ({"energy": (0.8, 1)}, "attenuation", "1", "energy: wanted attenuation in 1/m, got '1'"),
        ({"dose": (1, 2)}, "dark_field", "scatter units", ""),
    ],
)
def test_units_that_a_law_needs(said, name, unit, told):
    found = why_no_beam(AugmentationPart.model_validate(said), name, unit, known=True)
    assert told in found
    assert bool(told) == bool(found)


def test_normalised_values_come_back_in_their_unit():
    values = np.array([-40.0, 0.0, 3.0, 5.0, 60.0])
    assert np.allclose(in_units(normalised(values, 3.0, 2.0), 3.0, 2.0), values, rtol=1e-3, atol=1e-5)
    assert np.isfinite(in_units(normalised(np.array([1e9]), 3.0, 2.0), 3.0, 2.0)).all()
    assert Channel.parse("dark_field_0_noise").role == "noise"


def test_what_breathing_smooths_away_is_given_back_where_the_errors_are_known():
    case = flat_case()
    spread = {}
    for breathing in (0.0, 1.5):
        found = [whole(case, dose=(1, 1.0001), breathing=breathing, seed=seed)[1] for seed in range(4)]
        spread[breathing] = np.mean([f[:4].reshape(4, -1).var(axis=1) for f in found], axis=0)
    assert spread[1.5] == pytest.approx(spread[0.0], rel=0.06)


def test_radiographs_get_white_noise():
    case = flat_case((64, 64))
    new = added(case, dose=(2, 2))["attenuation"]
    assert abs(np.mean(new[1:] * new[:-1]) / new.var()) < 0.05
    assert new.var() == pytest.approx((case.image.channel("attenuation_noise").astype(float) ** 2).mean(), rel=0.1)
