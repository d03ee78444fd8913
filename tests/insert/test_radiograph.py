from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.insert.bank import BankLesion, Host, LungThere, lesion_changes
from darklung.insert.chords import lesion_chords
from darklung.insert.lobes import RadiographLobe, lobe_quality, lung_thickness, split_usable
from darklung.insert.radiograph import (
    InsertionSettings,
    drawn_ratios,
    make_case,
)
from darklung.physics.lung import CLASSES, HEALTHY
from darklung.physics.materials import delta

PIXEL = 7.5e-5
ATTENUATION, DARK = 0.04, 0.7


def lobe(shape=(48, 36), *, noise=0.0, streak=0.0, visibility=0.12, name="lobe", group="mouse", seed=0, slope=0.0):
    """A flat lobe, elliptical, with white noise and streaks of standard deviation `streak` in the dark field."""
    rng = np.random.default_rng(seed)
    row, col = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    mask = row**2 + col**2 <= 1
    attenuation = ATTENUATION * (1 + slope * row) + 0.05 * noise * rng.standard_normal(shape)
    dark = DARK + noise * rng.standard_normal(shape) + streak * rng.standard_normal(shape[1])
    maps = np.stack([np.exp(-attenuation), np.exp(-dark), np.full(shape, visibility)])
    maps[:, ~mask] = np.nan
    names = ("transmission", "visibility_ratio", "flat_visibility")
    return RadiographLobe(name, group, Image(maps, names, ("1",) * 3, (PIXEL, PIXEL), frame="detector"))


ONE = InsertionSettings(classes=("solid",), lesions=(1, 1), shams=(0, 0), diameter_m=(0.8e-3, 0.8e-3), blur_m=0.0)


def test_chords_of_a_sphere_are_its_chords():
    chords = lesion_chords(diameter_m=1.5e-3, pixel_m=PIXEL, roughness=0.0, rng=np.random.default_rng(0))
    half = chords.shape[0] // 2
    axis = np.arange(-half, half + 1) * PIXEL
    rho2 = axis[:, None] ** 2 + axis**2
    truth = 2 * np.sqrt(np.maximum(0.75e-3**2 - rho2, 0))
    inner = rho2 < (0.6e-3) ** 2
    assert np.abs(chords - truth)[inner].max() < 0.03e-3
    assert chords.max() == pytest.approx(1.5e-3, rel=0.03)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.5e-3, 1.5e-3), st.floats(0, 0.2), st.integers(0, 10**6), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_any_body_has_the_sphere_s_volume_and_stays_in_its_box(diameter, roughness, seed, row, col):
    chords = lesion_chords(
        diameter_m=diameter, pixel_m=PIXEL, roughness=roughness, rng=np.random.default_rng(seed), offset_px=(row, col)
    )
    assert chords.sum() * PIXEL**2 == pytest.approx(np.pi / 6 * diameter**3, rel=0.01 if roughness > 0.02 else 0.05)
    assert chords.shape[0] == chords.shape[1]
    assert chords.shape[0] % 2 == 1
    rim = np.concatenate([chords[0], chords[-1], chords[:, 0], chords[:, -1]])
    assert rim.max() == 0
    half = chords.shape[0] // 2
    place = np.arange(-half, half + 1)
    middle = [(chords.sum(axis=a) * place).sum() / chords.sum() for a in (1, 0)]
    np.testing.assert_allclose(middle, [row, col], atol=0.3 + 15 * roughness)


def test_bodies_are_irregular():
    shapes = [lesion_chords(diameter_m=1e-3, pixel_m=PIXEL, roughness=0.15, rng=np.random.default_rng(s)) for s in range(2)]
    assert not np.array_equal(*[s[:10, :10] for s in shapes])
    body = shapes[0] > 0
    assert not np.array_equal(body, body[::-1])


def test_a_lesion_replaces_lung_along_the_ray_in_both_channels():
    one = lobe()
    case = make_case(one, settings=ONE, seed=1, version=0)
    (put,) = case.insertions
    thickness = lung_thickness(one, greatest_thickness_m=3e-3)
    assert thickness[24, 18] == pytest.approx(3e-3, rel=1e-6)  # a flat lobe is as thick as its 95th percentile
    change = case.image.channel("attenuation") - one.attenuation
    chord = change[case.region] / (ATTENUATION / 3e-3) / (put.attenuation_ratio - 1)
    assert chord.sum() * PIXEL**2 == pytest.approx(np.pi / 6 * 0.8e-3**3, rel=0.01)
    assert chord.max() == pytest.approx(put.greatest_chord_m, rel=1e-3)
    change = case.image.channel("dark_field") - one.dark_field
    same = change[case.region] / (DARK / 3e-3) / (put.dark_field_ratio - 1)
    np.testing.assert_allclose(same, chord, atol=1e-8)
    np.testing.assert_allclose(case.path_m[case.region], chord, atol=1e-8)
    np.testing.assert_array_equal(case.target, case.path_m > 1e-4)
    assert put.attenuation_ratio > 2.8
    assert put.dark_field_ratio < 0.06


@pytest.mark.parametrize("blur_m", [4.25e-5, 1.2e-4])
def test_blur_is_a_standard_deviation(blur_m):
    """A Gaussian adds its variance to that of what it blurs, along rows and columns."""
    variances = []
    for blur in (0.0, blur_m):
        case = make_case(lobe((90, 80)), settings=replace(ONE, blur_m=blur), seed=1, version=0)
        change = case.changes[0] / case.changes[0].sum()
        places = np.meshgrid(*(PIXEL * np.arange(n) for n in change.shape), indexing="ij")
        variances.append([(change * (p - (change * p).sum()) ** 2).sum() for p in places])
    np.testing.assert_allclose(np.subtract(variances[1], variances[0]), blur_m**2, rtol=0.05)


@pytest.mark.parametrize("tissue", ["solid", "filled", "papillary", "lepidic", "atelectasis", "emphysema"])
def test_radiograph_and_volume_give_one_medium_one_contrast(tissue):
    kind, rng = CLASSES[tissue].kind, np.random.default_rng(3)
    ratios = np.array([drawn_ratios(kind, tissue, correlation_length_m=3e-6, rng=rng) for _ in range(200)])
    one = np.ones((1, 1, 1), np.float32)
    contrast = float(delta("soft_tissue", HEALTHY.tissue_density, 70.0))
    host = Host(20.0, HEALTHY.interface_density_per_m, contrast, 70.0, 3e-6)
    lung = LungThere(20.0 * HEALTHY.tissue_fraction, (90.0,))
    ends = []
    for share in (0.0, 1.0):
        made = CLASSES[tissue].medium(HEALTHY, fraction_share=share, surface_share=share)
        surface = made.interface_density_per_m / HEALTHY.interface_density_per_m
        body = BankLesion(tissue, 1e-3, 1e-4, one, one * np.float32(made.tissue_fraction), one * np.float32(surface))
        mu, epsilon = lesion_changes(body, lung, host)
        ends.append((1 + mu.item() / lung.attenuation_per_m, 1 + epsilon.item() / 90.0))
        np.testing.assert_allclose(ends[-1], made.ratios_to(HEALTHY, correlation_length_m=3e-6), rtol=1e-5)
    np.testing.assert_allclose([ratios[:, 0].min(), ratios[:, 0].max()], [ends[0][0], ends[1][0]], rtol=0.02)
    assert np.ptp(ratios[:, 1]) > 0


def test_blur_keeps_the_total_change():
    one = lobe()
    sharp = make_case(one, settings=ONE, seed=1, version=0)
    soft = make_case(one, settings=replace(ONE, blur_m=8.5e-5), seed=1, version=0)
    a, b = ((c.image.channel("dark_field") - one.dark_field)[c.region] for c in (sharp, soft))
    assert b.sum() == pytest.approx(a.sum(), rel=1e-3)
    assert abs(b).max() < abs(a).max()


def test_center_is_where_the_lesion_is():
    case = make_case(lobe(), settings=ONE, seed=2, version=0)
    row, depth, col = case.insertions[0].insertion.center_m
    where = np.argwhere(case.target).mean(axis=0) * PIXEL + case.image.origin_m
    np.testing.assert_allclose((row, col), where, atol=1.5 * PIXEL)
    assert depth == 0.0


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_insertions_stay_inside_apart_and_shorter_than_the_lung(seed):
    one = lobe((40, 44), slope=0.5)
    asked = InsertionSettings(
        lesions=(0, 3), shams=(0, 2), mimics=("atelectasis",), mimic_count=(0, 1), diameter_m=(5e-4, 9e-4)
    )
    case = make_case(one, settings=asked, seed=seed, version=0)
    thickness = lung_thickness(one, greatest_thickness_m=3e-3)
    changed = np.abs(case.image.channel("attenuation") - one.attenuation) > 1e-6
    assert not (changed & ~case.region)[1:-1, 1:-1].any()
    kinds = {i.insertion.number: i.insertion.kind for i in case.insertions}
    assert set(np.unique(case.instances)) - {0} <= {n for n, k in kinds.items() if k != "sham"}
    np.testing.assert_array_equal(case.target, np.isin(case.instances, [n for n, k in kinds.items() if k == "lesion"]))
    for put in case.insertions:
        assert put.greatest_chord_m <= thickness.max()
        assert 5e-4 <= put.insertion.diameter_m <= 9e-4
        if put.insertion.kind != "sham":
            assert (case.instances == put.insertion.number).any()
    grown = np.pad(~case.region, 1, constant_values=True)
    near = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:]
    assert not (case.instances > 0)[near].any()


def test_a_sham_changes_little_and_labels_nothing():
    asked = replace(ONE, lesions=(0, 0), shams=(1, 1))
    one = lobe()
    case = make_case(one, settings=asked, seed=3, version=0)
    assert case.insertions[0].insertion.kind == "sham"
    assert not case.target.any()
    assert not case.instances.any()
    change = (case.image.channel("dark_field") - one.dark_field)[case.region]
    assert 0 < np.abs(change).max() <= 0.05 * DARK


def test_depends_on_seed_lobe_and_version_alone():
    first, second = lobe(name="a"), lobe(name="b")
    asked = InsertionSettings(lesions=(1, 2))

    def cases(*lobes, seed=5):
        return [make_case(one, settings=asked, seed=seed, version=v) for one in lobes for v in range(2)]

    together, alone = cases(first, second), cases(second)
    for one, other in zip(together[2:], alone):
        assert one.name == other.name
        np.testing.assert_array_equal(one.image.data, other.image.data)
    assert not np.array_equal(together[0].image.data, together[1].image.data)
    assert not np.array_equal(alone[0].image.data, cases(second, seed=6)[0].image.data)


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.1])
def test_streak_index_is_one_for_white_noise_of_any_level(noise):
    found = [lobe_quality(lobe((90, 80), noise=noise, seed=s, slope=0.3)).streak_index for s in range(4)]
    assert np.mean(found) == pytest.approx(1.0, abs=0.15)


def test_quality_measures_noise_and_refuses_streaks_and_low_visibility():
    good = lobe_quality(lobe((90, 80), noise=0.03))
    assert good.usable
    assert good.dark_field_noise == pytest.approx(0.03, rel=0.1)
    assert good.attenuation_noise == pytest.approx(0.0015, rel=0.1)
    streaked = lobe_quality(lobe((90, 80), noise=0.03, streak=0.03))
    assert not streaked.usable
    assert "streak index" in streaked.reasons[0]
    dim = lobe_quality(lobe((90, 80), noise=0.03, visibility=0.08))
    assert dim.reasons == ("median flat visibility 0.080 is below 0.1",)


def test_unknown_animals_and_bad_lobes_are_refused_with_reasons():
    lobes = [
        lobe(noise=0.03, name="a"),
        lobe(noise=0.03, visibility=0.05, name="b"),
        lobe(noise=0.03, name="c", group="unknown"),
    ]
    kept, refused = split_usable(lobes)
    assert [k.name for k in kept] == ["a"]
    assert set(refused) == {"b", "c"}
    assert "animal unknown" in refused["c"]
    with pytest.raises(DarklungError, match="none is usable"):
        split_usable(lobes[1:])


def test_what_does_not_fit_is_refused_or_skipped():
    small = lobe((16, 14))
    big = replace(ONE, diameter_m=(1.4e-3, 1.5e-3))
    with pytest.raises(DarklungError, match="only 0 of at least 1 lesions"):
        make_case(small, settings=big, seed=0, version=0)
    case = make_case(small, settings=replace(big, lesions=(0, 0), shams=(1, 1)), seed=0, version=0)
    assert len(case.skipped) == 1
    assert case.insertions == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("tumour",)}, "not known"),
        ({"classes": ()}, "at least one"),
        ({"mimics": ("ghost",)}, "not known"),
        ({"mimic_count": (1, 1)}, "mimics"),
        ({"diameter_m": (2e-3, 1e-3)}, "diameter_m"),
        ({"diameter_m": (1e-3, 5e-3)}, "greatest_thickness_m"),
        ({"lesions": (2, 1)}, "lesions"),
        ({"edge_m": -1.0}, "edge_m"),
        ({"blur_m": float("nan")}, "blur_m"),
    ],
)
def test_settings_that_make_no_sense(changes, message):
    with pytest.raises(DarklungError, match=message):
        InsertionSettings(**changes)


def test_lobes_that_make_no_sense():
    good = lobe()
    zero = good.maps.data.copy()
    zero[0, 24, 18] = 0.0
    with pytest.raises(DarklungError, match="wanted > 0"):
        RadiographLobe("a", "b", Image(zero, good.maps.names, good.maps.units, (PIXEL, PIXEL)))
    with pytest.raises(DarklungError, match="channel"):
        RadiographLobe("a", "b", Image(good.maps.data[:2], ("transmission", "x"), ("1", "1"), (PIXEL, PIXEL)))


def test_at_the_edge_lesions_are_cut_by_the_mask():
    one = lobe()
    for seed in range(4):
        case = make_case(one, settings=replace(ONE, at_edge=True), seed=seed, version=0)
        volume = case.path_m.sum() * PIXEL**2
        assert 0.48 < volume / (np.pi / 6 * 0.8e-3**3) < 0.92
        assert not (case.path_m > 0)[~case.region].any()
        assert not case.target[~case.region].any()


def test_what_is_wanted_is_put_and_what_is_to_be_avoided_is():
    one, avoid = lobe(), np.zeros((48, 36), bool)
    avoid[:, 14:22] = True
    wanted = [("lesion", "solid"), ("lesion", "lepidic"), ("mimic", "emphysema"), ("sham", "solid")]
    small = replace(ONE, diameter_m=(5e-4, 5e-4))
    case = make_case(one, settings=small, seed=1, version=0, wanted=wanted, avoid=avoid)
    assert [(i.insertion.kind, i.insertion.tissue) for i in case.insertions] == wanted
    assert not (case.path_m > 0)[avoid].any()
    with pytest.raises(DarklungError, match=r"only \d of at least 9 lesions"):
        make_case(one, settings=ONE, seed=1, version=0, wanted=[("lesion", "solid")] * 9, avoid=avoid)


def test_photon_noise_changes_with_the_visibility():
    """Under a solid lesion the dark field's noise falls by 1/D; kept noise stays."""
    one = lobe((90, 90), noise=0.05)
    spreads = []
    for noise in ("kept", "photons"):
        asked = replace(ONE, diameter_m=(1.5e-3, 1.5e-3), noise=noise)
        deviations = []
        for seed in range(6):
            case = make_case(one, settings=asked, seed=seed, version=0)
            expected = DARK + case.changes[1]
            inner = case.path_m > 1.1e-3
            deviations.append(((case.image.channel("dark_field") - expected)[inner]) / np.exp(case.changes[1][inner]))
        spreads.append(float(np.concatenate(deviations).std()))
    assert spreads[1] == pytest.approx(0.05, rel=0.12)  # changed by exp(change), as divided out
    assert spreads[0] > 1.2 * spreads[1]
