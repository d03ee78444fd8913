"""Cases, normalisation and patches."""

import dataclasses

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.core.types import Image
from darklung.learn.data import COMPRESSION_SD, Case, Normalisation, fit_normalisation, location_and_scale
from darklung.learn.patches import draw_batch, make_source


def test_normalisation_is_robust_looks_inside_the_region_and_weighs_cases_alike(make_case):
    case = make_case(0, (60, 70))
    data = np.array(case.image.data) * 3 + 5
    data[:, 0] = 1e6  # outside the region
    data[:, 1] = 1e4  # a streak inside
    spoilt = dataclasses.replace(case, image=dataclasses.replace(case.image, data=data))
    norm = fit_normalisation(cases=[spoilt], channels=("c", "a"))
    assert norm.channels == ("c", "a")
    np.testing.assert_allclose(norm.mean, 5, atol=0.3)
    np.testing.assert_allclose(norm.deviation, 3, rtol=0.1)
    out = norm.apply(spoilt)
    assert out.dtype == np.float32
    assert abs(out).max() <= COMPRESSION_SD
    inner = out[0, 2:]
    plain = (data[2, 2:] - norm.mean[0]) / norm.deviation[0]
    near = abs(plain) < 2
    np.testing.assert_allclose(inner[near], plain[near], rtol=0.0211, atol=1e-5)


def test_compression_keeps_the_order():
    norm = Normalisation(("a",), (0.0,), (1.0,))
    values = np.linspace(-40, 40, 81).reshape(1, 9, 9).astype(np.float32)
    case = Case("m", Image(values, ("a",), ("1",), (1.0, 1.0)), np.zeros((9, 9), np.uint8), np.ones((9, 9), bool))
    out = norm.apply(case)[0].ravel()
    assert (np.diff(out) >= 0).all()
    assert out[40] == 0


def test_cases_that_make_no_sense_are_refused(make_case):
    case = make_case(0)
    with pytest.raises(DarklungError, match="image of m0: 1 of"):
        data = np.array(case.image.data)
        data[0, 3, 3] = np.nan
        dataclasses.replace(case, image=dataclasses.replace(case.image, data=data))
    with pytest.raises(DarklungError, match="region of m0: no voxel"):
        dataclasses.replace(case, region=np.zeros_like(case.region))
    with pytest.raises(DarklungError, match=r"target of m0: wanted 0, 1 and 255 \(unknown\), got 3"):
        dataclasses.replace(case, target=case.target * 3)
    with pytest.raises(DarklungError, match="target of m0: wanted axes"):
        dataclasses.replace(case, target=case.target[1:])
    with pytest.raises(DarklungError, match="'nope' is not known; known: a, b, c"):
        fit_normalisation(cases=[case], channels=("nope",))
    flat = dataclasses.replace(case, image=dataclasses.replace(case.image, data=case.image.data * 0))
    with pytest.raises(DarklungError, match="'a': constant"):
        fit_normalisation(cases=[flat], channels=("a",))


@pytest.mark.parametrize("shape", [(20, 24), (10, 9, 14)])
def test_patches_keep_channels_and_truth_together_and_half_show_a_lesion(make_case, shape):
    cases = [make_case(i, shape) for i in range(3)]
    marked = [
        dataclasses.replace(c, image=Image(c.target[None].astype(np.float32), ("t",), ("1",), c.image.spacing_m))
        for c in cases
    ]
    norm = Normalisation(("t",), (0.0,), (1.0,))
    patch = (12,) * len(shape)
    sources = [make_source(case=c, normalisation=norm, patch=patch) for c in marked]
    for step in range(20):
        cut = draw_batch(sources=sources, patch=patch, batch=4, rng=stream(0, step))
        assert cut.data.shape == (4, 1, *patch) == cut.target.shape == cut.region.shape == cut.distance.shape
        assert cut.target[:2].any(axis=tuple(range(1, 2 + len(shape)))).all()
        for b in range(4):
            value, truth = cut.data[b, 0], cut.target[b, 0] > 0
            if truth.any() and not truth.all():
                inside = cut.region[b, 0] > 0
                assert value[truth].min() > value[~truth & inside].max()
                assert (cut.distance[b, 0][truth] < 0).all()


def test_a_volume_smaller_than_the_patch_is_padded_outside_its_region(make_case):
    case = make_case(1, (10, 9, 30))
    norm = fit_normalisation(cases=[case], channels=("a",))
    source = make_source(case=case, normalisation=norm, patch=(16, 16, 16))
    assert source.data.shape == (1, 16, 16, 30)
    assert source.truth[2].sum() == case.region.sum()
    assert source.truth[0].sum() == case.target.sum()


def test_batches_repeat_with_the_seed_and_differ_between_steps(make_case):
    case = make_case(2)
    norm = fit_normalisation(cases=[case], channels=("a", "b"))
    source = make_source(case=case, normalisation=norm, patch=(12, 12))
    first, again, other = (
        draw_batch(sources=[source], patch=(12, 12), batch=3, rng=stream(5, "patches", s)).data for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_hard_negatives_are_drawn(make_case):
    case = make_case(3, (64, 64), lesions=0)
    hard = np.zeros((64, 64), bool)
    hard[60, 60] = True
    norm = fit_normalisation(cases=[case], channels=("a",))
    flag = dataclasses.replace(case, hard=hard)
    source = make_source(case=flag, normalisation=norm, patch=(8, 8))
    marker = dataclasses.replace(source, data=hard[None].astype(np.float32) * 100)
    seen = sum((draw_batch(sources=[marker], patch=(8, 8), batch=1, rng=stream(0, s)).data > 50).any() for s in range(100))
    assert 25 < seen < 75


def test_normalised_by_the_volume_gain_and_offset_do_not_matter(make_case):
    case, others = make_case(0), [make_case(n) for n in (1, 2)]
    other_scanner = dataclasses.replace(case, image=case.image.with_data(7 * case.image.data - 40))
    norm = fit_normalisation(cases=others, channels=("a", "b"))
    assert norm.per == "volume"
    np.testing.assert_allclose(norm.apply(other_scanner), norm.apply(case), atol=1e-5)
    cohort = fit_normalisation(cases=others, channels=("a", "b"), per="cohort")
    assert abs(cohort.apply(other_scanner) - cohort.apply(case)).max() > 1
    assert cohort.mean == norm.mean  # the cohort's numbers are kept in either case


@pytest.mark.parametrize("gain", [0.85, 1.0, 1.15])
@pytest.mark.parametrize("offset", [-0.05, 0.0, 0.05])
def test_gains_and_offsets_of_single_channels_leave_less_than_a_hundred_thousandth(make_case, gain, offset):
    case = make_case(0, (20, 24, 22))
    mu = np.stack([20 + 3 * case.image.data[0], np.where(case.image.data[1] > 1.2, case.image.data[1], 0)])
    before = dataclasses.replace(case, image=Image(mu.astype(np.float32), ("a", "b"), ("1/m",) * 2, case.image.spacing_m))
    changed = np.stack([gain * mu[0] + 20 * offset, mu[1] / gain - offset]).astype(np.float32)
    after = dataclasses.replace(before, image=before.image.with_data(changed))
    norm = fit_normalisation(cases=[before], channels=("a", "b"))
    np.testing.assert_allclose(norm.apply(after), norm.apply(before), atol=1e-5)


def test_scales_of_channels_of_many_zeros():
    normal = np.random.default_rng(0).normal(4, 2, 200_000)
    assert location_and_scale(normal) == pytest.approx((4, 2), rel=0.01)
    few = np.where(np.arange(len(normal)) % 10 < 4, normal, 0)  # 40 % are not zero: the range of quantiles
    assert location_and_scale(few) == pytest.approx((0, np.ptp(np.quantile(few, (0.05, 0.95))) / 3.2897))
    fewer = np.where(np.arange(len(normal)) % 100 < 4, normal, 0)
    assert location_and_scale(fewer) == pytest.approx((0, fewer.std()))
    for value in (0.0, 0.1, -3e7):
        assert location_and_scale(np.full(1001, value, np.float32))[1] == 0


def test_a_channel_that_is_constant_in_one_lung_becomes_zeros_and_is_named(make_case):
    case, other = make_case(0), make_case(1)
    data = np.array(case.image.data)
    data[2, 1:] = 0.7  # not outside the region
    flat = dataclasses.replace(case, image=case.image.with_data(data))
    norm = fit_normalisation(cases=[flat, other], channels=("a", "c"))
    assert norm.constant(flat) == ("c",)
    assert norm.constant(other) == ()
    assert not norm.apply(flat)[1].any()
    assert norm.apply(flat)[0].any()
    cohort = dataclasses.replace(norm, per="cohort")
    assert cohort.constant(flat) == ()
    assert cohort.apply(flat)[1].any()
