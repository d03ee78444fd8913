"""Networks, losses, the distance map and the selection score."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from darklung.core.checks import DarklungError
from darklung.learn.blocks import OUTPUT_PRIOR, InstanceNorm, PointConvolution2d, PointConvolution3d
from darklung.learn.losses import boundary, dice_focal_boundary, focal, make_loss, signed_distance, soft_dice
from darklung.learn.network import make_network
from darklung.learn.seams import halving
from darklung.learn.selection import dice, score_with_error, tile_auroc
from darklung.learn.unet import residual_attention_unet


@pytest.mark.parametrize(("dims", "widths"), [(2, (16,)), (2, (16, 32, 48)), (3, (16, 32)), (3, (16, 16, 32))])
def test_shapes_prior_and_gradients(dims, widths):
    torch.manual_seed(0)
    network = residual_attention_unet(channels=2, dims=dims, widths=widths)
    size = halving(widths).fit(2)
    x = torch.randn(2, 2, *([size] * (dims - 1)), 2 * size)
    y = network(x)
    assert y.shape == (2, 1, *x.shape[2:])
    assert abs(float(y.detach().mean()) - OUTPUT_PRIOR) < 0.5
    y.square().mean().backward()
    untouched = [n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert untouched == []


@pytest.mark.parametrize("shape", [(2, 16, 3, 4, 5), (3, 16, 4, 6), (1, 16, 2, 2)])
@pytest.mark.parametrize("layout", ["channels first", "channels last"])
def test_instance_norm_equals_torchs_and_keeps_channels_last_in_its_gradient(shape, layout):
    torch.manual_seed(0)
    norm = InstanceNorm(16, 16).double()
    x, given = (torch.randn(shape, dtype=torch.float64) * 3 + 100 for _ in range(2))
    if layout == "channels last":
        x, given = (a.movedim(1, -1).contiguous().movedim(-1, 1) for a in (x, given))
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    learned = (x.requires_grad_(), norm.weight, norm.bias)
    found, true = norm(x), torch.nn.functional.instance_norm(x, weight=norm.weight, bias=norm.bias)
    torch.testing.assert_close(found, true)
    back = torch.autograd.grad(found, learned, given)
    for own, other in zip(back, torch.autograd.grad(true, learned, given.contiguous())):
        torch.testing.assert_close(own, other)
    assert back[0].movedim(1, -1).is_contiguous()
    with torch.no_grad():
        torch.testing.assert_close(norm(x), true)


@pytest.mark.parametrize(("kind", "shape"), [(PointConvolution2d, (2, 3, 4, 5)), (PointConvolution3d, (2, 3, 4, 5, 6))])
def test_a_convolution_of_points_equals_torchs(kind, shape):
    torch.manual_seed(0)
    layer, x = kind(3, 7, 1), torch.randn(shape, requires_grad=True)
    true = super(kind.__mro__[1], layer).forward(x)
    torch.testing.assert_close(layer(x), true)
    own, other = (torch.autograd.grad(y.square().sum(), (x, layer.weight, layer.bias)) for y in (layer(x), true))
    for a, b in zip(own, other):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_absolute_contrast_reaches_the_output_although_samples_are_normalised():
    torch.manual_seed(0)
    network = residual_attention_unet(channels=1, dims=2, widths=(16, 32))
    x = torch.randn(1, 1, 16, 16)
    assert not torch.allclose(network(x), network(3 * x + 1), atol=1e-4)


def test_samples_of_a_batch_do_not_influence_each_other():
    torch.manual_seed(0)
    network = residual_attention_unet(channels=1, dims=2, widths=(16, 32))
    x = torch.randn(3, 1, 16, 16)
    torch.testing.assert_close(network(x)[:2], network(x[:2]), atol=1e-5, rtol=1e-5)


def test_bad_networks_are_refused():
    for bad, text in [({"widths": (16, 20)}, "multiples of 16"), ({"dims": 4}, "dims: wanted 2 or 3")]:
        with pytest.raises(DarklungError, match=text):
            residual_attention_unet(**({"channels": 1, "dims": 2} | bad))
    with pytest.raises(
        DarklungError, match="network: 'unet' is not known; known: monai, residual_attention_unet, swin_unet"
    ):
        make_network("unet", channels=1, dims=2, widths=(16,))
    with pytest.raises(DarklungError, match="returned dict"):
        make_network("builtins:dict", channels=1, dims=2, widths=(16,))
    with pytest.raises(DarklungError, match="loss: 'mse' is not known"):
        make_loss("mse")


def maps(seed=0, shape=(2, 1, 9, 10)):
    rng = np.random.default_rng(seed)
    target = rng.random(shape) < 0.2
    distance = np.stack([signed_distance(target=t[0], spacing_m=(1e-4, 1e-4))[None] for t in target])
    return torch.tensor(target, dtype=torch.float32), torch.tensor(distance), torch.ones(shape)


def test_losses_vanish_for_a_perfect_answer_and_not_for_a_wrong_one():
    target, distance, region = maps()
    perfect, wrong = 40 * (2 * target - 1), 40 * (1 - 2 * target)
    for value in (
        soft_dice(perfect, target, region),
        focal(perfect, target, region),
        boundary(perfect, target, distance, region),
    ):
        assert abs(float(value)) < 1e-6
    assert float(soft_dice(wrong, target, region)) > 0.9
    assert float(focal(wrong, target, region)) > 10
    assert float(boundary(wrong, target, distance, region)) > 0.05


def test_losses_of_a_batch_without_lesion_reward_silence():
    empty, far, region = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    silent = dice_focal_boundary(torch.full_like(empty, -30), empty, far, region)
    loud = dice_focal_boundary(torch.full_like(empty, 3.0), empty, far, region)
    assert float(silent) < 1e-5
    assert float(loud) > 1


def test_losses_do_not_look_outside_the_region():
    target, distance, region = maps()
    region[..., :4] = 0
    logits = torch.randn(target.shape)
    other = torch.where(region > 0, logits, 17.0)
    assert float(dice_focal_boundary(logits, target, distance, region)) == pytest.approx(
        float(dice_focal_boundary(other, target, distance, region))
    )


def test_soft_dice_equals_one_minus_dice_of_hard_masks():
    target, _, region = maps(1)
    found = maps(2)[0]
    want = 1 - (2 * float((found * target).sum()) + 1) / (float(found.sum() + target.sum()) + 1)
    assert float(soft_dice(60 * (2 * found - 1), target, region)) == pytest.approx(want, abs=1e-6)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_signed_distance_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(2, 7, int(rng.integers(2, 4))))
    spacing = tuple(rng.uniform(1e-4, 3e-4, len(shape)))
    mask = rng.random(shape) < 0.3
    if not mask.any() or mask.all():
        assert abs(signed_distance(target=mask, spacing_m=spacing)).min() == 1
        return
    points = np.indices(shape).reshape(len(shape), -1).T * np.array(spacing)
    flat, half = mask.ravel(), min(spacing) / 2
    gaps = cdist(points, points)
    outer, inner = gaps[:, flat].min(axis=1) - half, gaps[:, ~flat].min(axis=1) - half
    want = np.clip(np.where(flat, -inner, outer) / 4e-4, -1, 1).reshape(shape)
    got = signed_distance(target=mask, spacing_m=spacing, limit_m=4e-4)
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_signed_distance_of_a_half_space_is_linear():
    mask = np.zeros((20, 5), bool)
    mask[:8] = True
    got = signed_distance(target=mask, spacing_m=(1e-4, 1e-4), limit_m=1e-3)[:, 2]
    np.testing.assert_allclose(got, np.clip((np.arange(20) - 7.5) / 10, -1, 1), atol=1e-6)


def test_selection_score_is_the_auroc_of_lesions_against_tiles():
    rng = np.random.default_rng(0)
    logits = [rng.normal(size=(40, 40)) for _ in range(3)]
    targets = [np.zeros((40, 40), np.uint8) for _ in range(3)]
    targets[0][5:8, 5:8] = 1
    targets[1][21:24, 31:36] = 1
    logits[0][6, 6] += 3
    regions = [np.ones((40, 40), bool) for _ in range(3)]
    got = tile_auroc(logits=logits, targets=targets, regions=regions, spacing_m=(2e-4, 2e-4))
    scores, labels = [], []
    for value, target in zip(logits, targets):
        if target.any():
            scores.append(value[target > 0].max())
            labels.append(1)
        for i in range(0, 40, 10):
            for j in range(0, 40, 10):
                if not target[i : i + 10, j : j + 10].any():
                    scores.append(value[i : i + 10, j : j + 10].max())
                    labels.append(0)
    assert got == pytest.approx(roc_auc_score(labels, scores))
    nothing = [np.zeros((40, 40), np.uint8)] * 3
    assert tile_auroc(logits=logits, targets=nothing, regions=regions, spacing_m=(2e-4, 2e-4)) is None


def test_selection_dice():
    target = np.zeros((4, 4), np.uint8)
    target[0, :2] = 1
    logits = np.full((4, 4), -1.0)
    logits[0, 1:3] = 1
    region = np.ones((4, 4), bool)
    assert dice(logits=[logits], targets=[target], regions=[region], spacing_m=(1.0, 1.0)) == 0.5
    assert dice(logits=[logits], targets=[target * 0], regions=[region], spacing_m=(1.0, 1.0)) is None


def test_standard_error_by_jackknife_equals_that_of_a_mean():
    def mean(*, logits, targets, regions, spacing_m):
        return float(np.mean(logits)) if logits else None

    values = [1.0, 4.0, 2.0, 7.0]
    score, error = score_with_error(metric=mean, logits=values, targets=values, regions=values, spacing_m=(1.0,))
    assert score == pytest.approx(3.5)
    assert error == pytest.approx(np.std(values, ddof=1) / 2)
    assert score_with_error(metric=mean, logits=[1.0], targets=[0], regions=[0], spacing_m=(1.0,)) == (1.0, 0.0)
