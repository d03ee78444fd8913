"""Terms of the loss and their weights; what the detection heads learn; what is unknown counts in none of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from darklung.core.checks import DarklungError
from darklung.core.types import UNKNOWN, Image
from darklung.io.documents import validate
from darklung.learn.centres import ROWS as CENTRE_ROWS
from darklung.learn.centres import centre_maps
from darklung.learn.data import Case, Normalisation
from darklung.learn.losses import make_loss
from darklung.learn.objective import TERMS, coarser, make_objective
from darklung.learn.patches import ROWS, make_source
from darklung.learn.seams import LOSSES
from darklung.learn.settings import BY_DEFAULT, LOSS_TERMS, TrainingPart, weighted_terms

PLAIN = Normalisation(("a",), (0.0,), (1.0,))


def said(**given):
    return validate(given, TrainingPart, "training")


def disc_case(radius=3.0, shape=(24, 28), at=(10, 12), spacing_m=(3e-4, 3e-4), unknown=None):
    grid = np.indices(shape)
    target = (sum((g - a) ** 2 for g, a in zip(grid, at)) <= radius**2).astype(np.uint8)
    if unknown is not None:
        target[unknown] = UNKNOWN
    region = np.ones(shape, bool)
    region[0] = False
    return Case("m", Image(np.zeros((1, *shape), np.float32), ("a",), ("1",), spacing_m), target, region)


def truth_of(case):
    source = make_source(case=case, normalisation=PLAIN, patch=case.image.shape, detection=True)
    return {name: torch.from_numpy(row)[None, None] for name, row in zip((*ROWS, *CENTRE_ROWS), source.truth)}


def heads_like(truth, seed=0):
    rng = torch.Generator().manual_seed(seed)
    shape = truth["target"].shape
    heads = {name: torch.randn(shape, generator=rng) for name in ("logits", "centre", "diameter")}
    return heads | {"presence": torch.randn(len(truth["target"]), 1, generator=rng)}


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_terms_of_a_loss_add_up_to_it_to_the_bit(name):
    assert set(LOSS_TERMS) == set(LOSSES)
    truth = truth_of(disc_case())
    heads = heads_like(truth)
    value, parts = make_objective(name, {}, BY_DEFAULT, detects=False)(heads, truth, 0)
    assert torch.equal(value, make_loss(name)(heads["logits"], truth["target"], truth["distance"], truth["region"]))
    assert list(parts) == list(LOSS_TERMS[name])


def test_weights_replace_those_of_the_loss_and_rise_over_their_ramp():
    truth = truth_of(disc_case())
    heads = heads_like(truth)
    training = said(terms={"boundary": {"weight": 2.0, "ramp": 10}, "dice": 0, "presence": 0.5})
    objective = make_objective("dice_focal_boundary", {}, training, detects=True)
    for step, share in [(0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0)]:
        value, parts = objective(heads, truth, step)
        assert list(parts) == ["focal", "boundary", "centre", "diameter", "presence"]
        want = sum(w * parts[n] for n, w in [("focal", 1), ("boundary", 2 * share), ("centre", 1), ("diameter", 0.2)])
        torch.testing.assert_close(value, want + 0.5 * parts["presence"])


@pytest.mark.parametrize(
    ("loss", "terms", "detects", "line"),
    [
        ("dice_focal", {"centre": 1}, False, "training.terms: centre need a network with detection heads"),
        ("dice_focal", {"loss": 1}, False, "training.terms: loss is no term of dice_focal"),
        ("dice_focal", {"dice": 0, "focal": 0}, False, "training.terms: wanted a term with a weight above 0"),
    ],
)
def test_terms_that_do_not_fit_are_refused(loss, terms, detects, line):
    with pytest.raises(DarklungError, match=line):
        weighted_terms(loss, said(terms=terms), detects=detects)
    with pytest.raises(DarklungError, match="training: terms"):
        said(terms={"hausdorff": 1})
    with pytest.raises(DarklungError, match=r"training: terms.dice: .*0, got -1"):
        said(terms={"dice": -1})


def test_a_loss_of_the_user_is_one_term_beside_which_others_may_stand():
    found = weighted_terms("my_lab:tversky", said(terms={"boundary": 0.1}), detects=False)
    assert {n: t.weight for n, t in found.items()} == {"loss": 1.0, "boundary": 0.1}


def test_learned_weights_end_where_the_formula_has_its_least():
    """w (exp(-s) L + s) of a constant L is least at exp(-s) = 1 / L, whatever w."""
    truth = truth_of(disc_case())
    heads = heads_like(truth)
    objective = make_objective("dice_focal_boundary", {}, said(weighting="uncertainty"), detects=True)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.2)
    for _ in range(400):
        optimizer.zero_grad()
        value, parts = objective(heads, truth, 0)
        value.backward()
        optimizer.step()
    assert objective.weights() == pytest.approx({n: 1 / float(p) for n, p in parts.items()}, rel=0.05)
    assert make_objective("dice_focal", {}, BY_DEFAULT, detects=False).weights() == {}


@pytest.mark.parametrize("spacing_m", [(3e-4, 3e-4), (3e-4, 2e-4)])
def test_heat_is_a_gaussian_around_the_middle_and_the_diameter_that_of_the_disc(spacing_m):
    case = disc_case(spacing_m=spacing_m)
    heat, diameter, seen, unknown = centre_maps(case)
    area = case.lesion.sum() * np.prod(spacing_m)
    size = 2 * np.sqrt(area / np.pi)
    sigma = max(size / 4, max(spacing_m))
    away = sum(((g - a) * d) ** 2 for g, a, d in zip(np.indices(heat.shape), (10, 12), spacing_m))
    want = np.exp(-away / (2 * sigma**2))
    np.testing.assert_allclose(heat[want > 0.011], want[want > 0.011], rtol=1e-5)
    assert heat[want < 0.005].max() == 0
    assert np.argwhere(heat == 1).tolist() == [[10, 12]]
    np.testing.assert_allclose(np.exp(diameter[case.lesion]), 1e3 * size, rtol=1e-5)
    assert not diameter[~case.lesion].any()
    assert np.array_equal(seen, case.region)
    assert not unknown.any()


def test_a_sphere_has_its_diameter_and_two_lesions_have_two_middles():
    grid = np.indices((20, 20, 30))
    near = [sum((g - a) ** 2 for g, a in zip(grid, at)) <= 25 for at in [(10, 10, 8), (10, 10, 21)]]
    case = Case("m", Image(np.zeros((1, 20, 20, 30), np.float32), ("a",), ("1",), (1e-4,) * 3),
                (near[0] | near[1]).astype(np.uint8), np.ones((20, 20, 30), bool))  # fmt: skip
    heat, diameter, *_ = centre_maps(case)
    assert np.argwhere(heat == 1).tolist() == [[10, 10, 8], [10, 10, 21]]
    assert np.exp(diameter[10, 10, 8]) == pytest.approx(1.0, rel=0.03)


def test_nothing_is_seen_of_a_lesion_that_touches_the_unknown():
    hidden = np.zeros((24, 28), bool)
    hidden[:, :12] = True
    case = disc_case(unknown=hidden)
    heat, _, seen, unknown = centre_maps(case)
    assert not seen[case.lesion].any()
    assert not seen[heat > 0.01].any()
    assert not seen[hidden].any()
    assert seen[20, 26]
    assert np.array_equal(unknown > 0, hidden & case.region)
    free = disc_case(unknown=np.indices((24, 28))[1] > 22)
    assert centre_maps(free)[2][free.lesion].all()


@pytest.mark.parametrize("name", sorted(TERMS))
def test_heads_where_nothing_is_known_have_no_gradient(name):
    hidden = np.zeros((24, 28), bool)
    hidden[15:] = True
    truth = truth_of(disc_case(unknown=hidden))
    heads = {n: h.requires_grad_() for n, h in heads_like(truth).items()}
    value = TERMS[name](heads, truth)
    (own,) = {"centre", "diameter", "presence"} & {name} or {"logits"}
    (gradient,) = torch.autograd.grad(value, heads[own])
    assert gradient.any()
    if own != "presence":
        assert not gradient[0, 0][torch.from_numpy(hidden)].any()
        assert not gradient[0, 0][0].any()  # beyond the region


def test_presence_is_not_asked_where_it_is_not_known():
    seen, cut, bare = disc_case(), disc_case(), disc_case(at=(-99, -99))
    cut = replace(cut, target=np.where(cut.target == 1, UNKNOWN, 0).astype(np.uint8))
    truths = [truth_of(c) for c in (seen, cut, bare)]
    truth = {n: torch.cat([t[n] for t in truths]) for n in truths[0]}
    logit = torch.tensor([[2.0], [5.0], [-3.0]], requires_grad=True)
    value = TERMS["presence"]({"presence": logit}, truth)
    want = (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(-3.0))) / 2
    assert float(value.detach()) == pytest.approx(want, rel=1e-5)
    value.backward()
    assert (logit.grad != 0).ravel().tolist() == [True, False, True]
    alone = TERMS["presence"]({"presence": logit[1:2]}, truths[1])
    assert float(alone.detach()) == 0.0


def test_the_centre_loss_is_least_for_a_hot_middle_and_silence_elsewhere():
    truth = truth_of(disc_case())
    middle = truth["centre"] == 1
    right = torch.where(middle, 12.0, -12.0)
    shifted = torch.where(torch.roll(middle, 5, dims=2), 12.0, -12.0)
    values = [float(TERMS["centre"]({"centre": logit}, truth)) for logit in (right, shifted, -right)]
    assert values[0] < 1e-3 < 10 < values[1] < values[2]


def test_a_coarser_truth_knows_only_what_all_of_its_voxels_know():
    target = torch.tensor([[0.0, 1, 0, 0, 0, 1, 0, 0]]).reshape(1, 1, 1, 8).repeat(1, 1, 2, 1)
    region = torch.tensor([[1.0, 1, 1, 0, 1, 0, 1, 1]]).reshape(1, 1, 1, 8).repeat(1, 1, 2, 1)
    lesion, distance, known = coarser(target, 4 * target - 1, region, 2)
    assert lesion.ravel().tolist() == [1, 0, 0, 0]
    assert known.ravel().tolist() == [1, 0, 0, 1]
    assert distance.ravel().tolist() == [1, -1, 1, -1]


def test_coarser_levels_count_half_as_much_a_level():
    truth = truth_of(disc_case())
    heads = heads_like(truth)
    alone = TERMS["dice"](heads, truth)
    small = coarser(truth["target"], truth["distance"], truth["region"], 2)
    deep = nn.functional.avg_pool2d(heads["logits"], 2)
    other = TERMS["dice"]({"logits": deep}, dict(zip(ROWS, small)))
    both = TERMS["dice"]({**heads, "logits_2": deep}, truth)
    torch.testing.assert_close(both, (alone + other / 2) / 1.5)
