"""What is unknown counts nowhere: not in a loss, a patch, a distance map, a score."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from darklung.core.checks import DarklungError
from darklung.core.types import UNKNOWN
from darklung.learn.data import Normalisation, fit_normalisation
from darklung.learn.losses import boundary, focal, make_loss, signed_distance, soft_dice
from darklung.learn.patches import draw_batch, make_source
from darklung.learn.predict import predict
from darklung.learn.seams import LOSSES
from darklung.learn.selection import dice, score_with_error, tile_auroc
from darklung.learn.train import train

PLAIN = Normalisation(("a", "b", "c"), (0.0,) * 3, (1.0,) * 3)
SPACING = (3e-4, 3e-4)


def with_unknown(case, share=0.3, seed=0):
    """The case with a patch of unknown voxels, some of its lesions among them."""
    target = case.target.copy()
    target[: int(share * target.shape[0])] = UNKNOWN
    return replace(case, target=target)


def losses():
    """Each loss and each part of it as a function of (logits, target, distance, region)."""
    parts = {
        "dice": lambda p, t, d, r: soft_dice(p, t, r),
        "focal": lambda p, t, d, r: focal(p, t, r),
        "boundary": boundary,
    }
    return parts | {name: make_loss(name) for name in LOSSES}


@pytest.mark.parametrize("name", list(losses()))
def test_logits_in_the_unknown_have_no_gradient_and_change_no_loss(make_case, name):
    case = with_unknown(make_case(1))
    source = make_source(case=case, normalisation=PLAIN, patch=case.image.shape)
    target, distance, region = (torch.from_numpy(a)[None, None] for a in source.truth)
    unknown = torch.from_numpy(case.target == UNKNOWN)[None, None]
    assert unknown.any()
    assert (~unknown & (region > 0)).any()
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(target.shape, generator=rng)
    loss = losses()[name]
    logits.requires_grad_()
    value = loss(logits, target, distance, region)
    (gradient,) = torch.autograd.grad(value, logits)
    assert (gradient[unknown] == 0).all()
    assert (gradient[~unknown & (region > 0)] != 0).all()
    other = torch.where(unknown, 100 * torch.randn(target.shape, generator=rng), logits.detach())
    assert torch.equal(loss(other, target, distance, region), value.detach())


def test_patches_are_drawn_on_what_is_known(make_case):
    case = with_unknown(make_case(3, shape=(32, 32), lesions=6), share=0.5)
    hidden = (case.target == UNKNOWN) & (make_case(3, shape=(32, 32), lesions=6).target > 0)
    assert hidden.any()
    assert case.lesion.any()
    source = make_source(case=replace(case, hard=hidden | case.region), normalisation=PLAIN, patch=(8, 8))
    known = set(np.flatnonzero(case.counted))
    assert set(source.anywhere) == known
    assert set(source.hard) == known - set(np.flatnonzero(case.lesion))
    assert set(np.concatenate(source.lesions)) == set(np.flatnonzero(case.lesion & case.region))
    for seed in range(20):
        cut = draw_batch(sources=[source], patch=(8, 8), batch=4, rng=np.random.default_rng(seed))
        assert (cut.region.sum(axis=(1, 2, 3)) > 0).all()  # no patch without a known voxel
        assert set(np.unique(cut.target)) <= {0.0, 1.0}


def test_only_unknown_lesions_are_no_lesion_to_draw(make_case):
    case = make_case(1)
    target = np.where(case.target == 1, UNKNOWN, 0).astype(np.uint8)
    source = make_source(case=replace(case, target=target), normalisation=PLAIN, patch=(8, 8))
    assert source.lesions == []
    assert not source.truth[0].any()


def test_the_surface_of_a_lesion_is_not_where_the_unknown_begins():
    target = np.zeros((1, 12), np.uint8)
    target[0, 4:8] = 1
    plain = signed_distance(target=target, spacing_m=SPACING)
    target[0, 6:] = UNKNOWN
    cut = signed_distance(target=target, spacing_m=SPACING)
    # Of the known voxels background has the distance to the known lesion, lesion that to known background.
    np.testing.assert_allclose(cut[0, :4], plain[0, :4], rtol=1e-6)
    np.testing.assert_allclose(cut[0, 4:6], -(np.array([1, 2]) - 0.5) * 3e-4 / 2e-3, rtol=1e-6)
    everywhere = signed_distance(target=np.where(target == 0, UNKNOWN, target), spacing_m=SPACING)
    assert everywhere[0, 4:6].tolist() == [-1, -1]
    assert (signed_distance(target=np.full((3, 3), UNKNOWN, np.uint8), spacing_m=SPACING) == 1).all()


def test_normalisation_does_not_ask_what_is_known(make_case):
    cases = [make_case(i) for i in range(2)]
    known = fit_normalisation(cases=cases, channels=("a", "b"))
    assert fit_normalisation(cases=[with_unknown(c) for c in cases], channels=("a", "b")) == known


@pytest.mark.parametrize("metric", [tile_auroc, dice])
def test_scores_are_the_same_whatever_is_predicted_in_the_unknown(make_case, metric):
    cases = [with_unknown(make_case(i, shape=(40, 40), lesions=4)) for i in range(3)]
    rng = np.random.default_rng(0)
    logits = [rng.normal(size=c.image.shape) + 2 * (c.target == 1) for c in cases]
    others = [np.where(c.target == UNKNOWN, rng.normal(0, 50, c.image.shape), v) for c, v in zip(cases, logits)]
    common = {"targets": [c.target for c in cases], "regions": [c.counted for c in cases], "spacing_m": SPACING}
    one = score_with_error(metric=metric, logits=logits, **common)
    assert one[0] is not None
    assert score_with_error(metric=metric, logits=others, **common) == one


def test_a_tile_that_may_hold_a_lesion_is_no_negative():
    logits, target = np.zeros((14, 14)), np.zeros((14, 14), np.uint8)
    target[0, 0], target[13, 13] = 1, UNKNOWN  # four tiles of 7 x 7 voxels
    logits[8, 8] = 5.0  # known, in the tile that is not
    common = {"logits": [logits], "spacing_m": SPACING}
    assert tile_auroc(targets=[target], regions=[target != UNKNOWN], **common) == 0.5
    assert tile_auroc(targets=[target * (target == 1)], regions=[np.ones((14, 14), bool)], **common) == pytest.approx(1 / 3)


def test_a_case_of_which_nothing_is_known_is_refused_for_training_by_name_and_can_be_predicted(make_case, tmp_path):
    cases = [make_case(i) for i in range(3)]
    blank = replace(cases[2], target=np.full(cases[2].image.shape, UNKNOWN, np.uint8))
    common = {"channels": ("a", "b"), "seed": 1, "scratch": tmp_path / "scratch", "widths": (16, 32), "patch": 8, "steps": 2}
    for kind in ({"cases_train": [*cases[:2], blank], "cases_validation": []}, {"cases_train": cases[:2]}):
        with pytest.raises(DarklungError, match=r"^m2: nothing is known of its lung; it can be predicted, but"):
            train(**{"cases_validation": [blank], **kind}, out=tmp_path / "no", **common)
    train(cases_train=cases[:2], cases_validation=[], out=tmp_path / "model", **common)
    found, wanted = (predict(model_dir=tmp_path / "model", case=case).logits for case in (blank, cases[2]))
    np.testing.assert_array_equal(found, wanted)


def test_a_training_with_unknown_voxels_learns_from_the_known_ones(make_case, tmp_path):
    """Labels hidden under the unknown decide nothing: not the weights, not the score."""
    common = {"channels": ("a", "b"), "seed": 1, "scratch": tmp_path / "s", "widths": (16, 32), "patch": 8, "steps": 4}
    cases = [with_unknown(make_case(i, lesions=4)) for i in range(3)]
    hard = [np.random.default_rng(i).random(c.image.shape) < 0.2 for i, c in enumerate(cases)]
    weights = []
    for number in range(2):
        # Hard negatives under the unknown differ.
        own = [replace(c, hard=h | ((c.target == UNKNOWN) & bool(number))) for c, h in zip(cases, hard)]
        train(cases_train=own[:2], cases_validation=own[2:], out=tmp_path / f"{number}", **common)
        weights.append((tmp_path / f"{number}/model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_other_label_values_are_refused(make_case):
    case = make_case(0)
    target = case.target.copy()
    target[3, 3] = 2
    with pytest.raises(DarklungError, match=r"target of m0: wanted 0, 1 and 255 \(unknown\), got 2"):
        replace(case, target=target)
