"""Every network in 2-D and 3-D with its options: shapes, prior, gradients, sizes, what is attended to, what is learned."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from darklung.core.checks import DarklungError
from darklung.learn.blocks import OUTPUT_PRIOR, ResidualBlock
from darklung.learn.facts import measure_network
from darklung.learn.network import detects, heads_of, make_network, sizes_of
from darklung.learn.predict import load_model, predict
from darklung.learn.seams import NETWORKS, Sizes, halving, known_sizes
from darklung.learn.selection import dice
from darklung.learn.swin import SwinBlock
from darklung.learn.train import train

U, SWIN = "residual_attention_unet", "swin_unet"
KINDS = [
    (U, {}),
    (U, {"norm": "batch", "deep_supervision": True, "detection": True}),
    (SWIN, {}),
    (SWIN, {"deep_supervision": True, "detection": True, "window": 2, "depth": 1}),
]
WIDTHS = (16, 16, 32)


def built(name, options, *, channels=2, dims=2, widths=WIDTHS, seed=0):
    torch.manual_seed(seed)
    return make_network(name, channels=channels, dims=dims, widths=widths, options=options)


@pytest.mark.parametrize(("name", "options"), KINDS)
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("channels", [1, 10])
def test_shapes_prior_and_a_gradient_for_every_weight(name, options, dims, channels):
    network = built(name, options, dims=dims, channels=channels)
    assert sizes_of(network, WIDTHS) == known_sizes(name, WIDTHS) == Sizes(4, 8)
    shape = (8, 12, 20)[:dims]
    heads = heads_of(network(torch.randn(2, channels, *shape)))
    wanted = {"logits"} | ({"centre", "diameter", "presence"} if options.get("detection") else set())
    wanted |= {"logits_2"} if options.get("deep_supervision") else set()
    assert set(heads) == wanted
    assert detects(network) == ("centre" in wanted)
    assert heads["logits"].shape == (2, 1, *shape)
    for head in wanted & {"logits", "logits_2", "centre"}:
        assert abs(float(heads[head].detach().mean()) - OUTPUT_PRIOR) < 0.5
    sum(value.square().mean() for value in heads.values()).backward()
    reached = {n: p.grad is not None and bool(torch.isfinite(p.grad).all()) for n, p in network.named_parameters()}
    assert [n for n, fine in reached.items() if not fine] == []
    # A bias before a batch norm of its own channel has none by construction.
    still = [n for n, p in network.named_parameters() if not p.grad.any() and options.get("norm") != "batch"]
    assert still == []
    assert set(heads_of(network.eval()(torch.randn(2, channels, *shape)))) == wanted - {"logits_2"}


def test_the_least_size_is_the_smallest_that_trains():
    """Of a single voxel at the coarsest level, normalised by itself, nothing is left."""
    deepest = built(U, {}).encoder.down[-1].body[3]
    assert not deepest(torch.randn(2, 32, 1, 1)).abs().gt(1e-3).any()
    assert halving((16,)) == Sizes(1, 1)
    assert [halving(WIDTHS).fit(n) for n in (1, 8, 9, 12)] == [8, 8, 12, 12]


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("shape", [(8, 8), (7, 10), (3, 9), (5, 4, 6)])
def test_a_voxel_attends_to_its_window_alone_also_shifted_and_padded(shape, shifted):
    torch.manual_seed(0)
    block = SwinBlock(len(shape), 16, 4, shifted=shifted).double()
    x = torch.randn(1, *shape, 16, dtype=torch.float64)
    at = tuple(n // 2 for n in shape)
    changed = x.clone()
    changed[(0, *at)] += torch.randn(16, dtype=torch.float64)
    moved = (block(changed) - block(x)).abs().amax(dim=(0, -1)) > 1e-9

    def window(n, index):
        side, shift = min(4, n), (2 if shifted and n > 4 else 0)
        return (index - shift) // side

    places = np.indices(shape).reshape(len(shape), -1).T
    alike = [all(window(n, i) == window(n, j) for n, i, j in zip(shape, place, at)) for place in places]
    assert np.array_equal(moved.numpy().ravel(), np.array(alike))


def test_window_attention_is_attention_with_a_bias_for_each_offset():
    """One window against the formula, softmax(q k / sqrt(d) + b) v, voxel by voxel."""
    torch.manual_seed(1)
    block = SwinBlock(2, 16, 3, shifted=False).double()
    x = torch.randn(1, 3, 3, 16, dtype=torch.float64)
    query, key, value = block.query_key_value(x[0].reshape(9, 16)).chunk(3, dim=1)
    table = block.bias.reshape(5, 5)
    found = []
    for i in range(9):
        bias = torch.stack([table[(i % 3 - j % 3) + 2, (i // 3 - j // 3) + 2] for j in range(9)])
        found.append(torch.softmax(query[i] @ key.T / 4 + bias, dim=0) @ value)
    want = block.joined(torch.stack(found)).reshape(1, 3, 3, 16)
    torch.testing.assert_close(block._attended(x), want)


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_a_patch_is_learned_by_heart_saved_and_read_again_to_the_bit(name, options, make_case, tmp_path):
    case = make_case(0, (19, 23), contrast=6.0)
    out = train(
        cases_train=[case],
        cases_validation=[],
        channels=("a", "b"),
        seed=3,
        scratch=tmp_path / "scratch",
        out=tmp_path / "out",
        network=name,
        network_options=options,
        widths=(16, 16, 16),
        patch=16,
        batch=2,
        steps=80,
        learning_rate=1e-2,
    )
    one, two = (predict(model_dir=out, case=case) for _ in range(2))
    assert np.array_equal(one.logits, two.logits)
    assert one.logits.shape == (19, 23)
    score = dice(logits=[one.logits], targets=[case.target], regions=[case.region], spacing_m=case.image.spacing_m)
    assert score > 0.85
    again = load_model(out).network
    text = {n: p for n, p in again.state_dict().items() if p.is_floating_point()}
    assert all(torch.isfinite(p).all() for p in text.values())
    if options.get("detection"):
        inside = np.where(case.region, one.centre, -np.inf)
        assert case.target[np.unravel_index(inside.argmax(), inside.shape)] == 1
        at = case.lesion & case.region
        known = 2 * np.sqrt(at.sum() / 2 / np.pi) * 3e-4  # two lesions of nearly one size
        assert np.median(one.diameter_m[at]) == pytest.approx(known, rel=0.15)
    else:
        assert one.centre is one.diameter_m is None


def test_how_far_a_voxel_sees_is_that_of_its_convolutions():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 5, padding=2))
    found, seconds = measure_network(plain, lambda x: {"logits": plain(x)}, channels=1, patch=(16, 16), batch=2)
    assert found.reach == 7
    assert 3 <= found.field_of_view <= 7
    assert found.parameters == 4 * 9 + 4 + 4 * 25 + 1
    forward = 2 * 2 * 256 * (4 * 9 + 4 * 25)  # multiply and add, batch, voxels
    assert 2 * forward < 1e9 * found.step_gflop <= 3.01 * forward + 1e5
    assert seconds > 0
    assert all(p.grad is None for p in plain.parameters())
    normed = nn.Sequential(ResidualBlock(2, 16, 16), nn.Conv2d(16, 1, 1))
    wide, _ = measure_network(normed, lambda x: {"logits": normed(x)}, channels=16, patch=(16, 16), batch=2)
    assert wide.reach == 16  # the norm looks at the whole patch
    assert "4 MiB" not in wide.told(0.1)
    assert wide.told(0.1).startswith(f"network: {wide.parameters:,} parameters, a voxel sees {wide.field_of_view} of 16")


def test_facts_leave_the_statistics_of_a_batch_norm_alone():
    network = built(U, {"norm": "batch"})
    before = {n: v.clone() for n, v in network.state_dict().items()}
    measure_network(network, lambda x: heads_of(network(x)), channels=2, patch=(16, 16), batch=2)
    assert all(torch.equal(v, before[n]) for n, v in network.state_dict().items())
    assert network.training


def test_options_out_of_range_are_refused_in_one_line():
    for name, options, line in [
        (U, {"norm": "layer"}, "norm: 'layer' is not known"),
        (SWIN, {"window": 1}, "window: wanted"),
        (SWIN, {"depth": 0}, "depth: wanted"),
    ]:
        with pytest.raises(DarklungError, match=line):
            built(name, options)


def test_monai_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr("darklung.learn.monai_network.NETS", "no_such_module_of_monai")
    with pytest.raises(DarklungError, match=r"network monai: MONAI cannot be imported .*pip install 'darklung\[monai\]'"):
        built("monai", {"name": "UNet"})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "more", "sizes"),
    [
        ("AttentionUnet", {}, Sizes(4, 4)),
        ("UNet", {"num_res_units": 1}, Sizes(4, 8)),
        ("SwinUNETR", {"feature_size": 12, "window_size": 4, "depths": (1, 1, 1, 1)}, Sizes(32, 64)),
    ],
)
def test_networks_of_monai_say_their_sizes_and_start_at_the_prior(name, more, sizes):
    pytest.importorskip("monai", reason="MONAI is not installed")
    network = built("monai", {"name": name, "detection": True, **more})
    assert network.sizes == sizes
    heads = network(torch.randn(2, 2, *(sizes.least,) * 2))
    assert abs(float(heads["logits"].detach().mean()) - OUTPUT_PRIOR) < 0.5
    sum(value.square().mean() for value in heads.values()).backward()
    assert all(p.grad is not None for p in network.parameters())
    with pytest.raises(DarklungError, match=f"option of network monai {name}: 'layers' is not known"):
        built("monai", {"name": name, "layers": 3})
    with pytest.raises(DarklungError, match=r"wanted a class of monai.networks.nets, got 'Unet3'"):
        built("monai", {"name": "Unet3"})


@pytest.mark.filterwarnings("ignore")
def test_a_network_of_monai_is_trained_on_what_is_smaller_than_its_least_patch_and_read_again(make_case, tmp_path):
    pytest.importorskip("monai", reason="MONAI is not installed")
    small = {"name": "SwinUNETR", "feature_size": 12, "window_size": 4, "depths": (1, 1, 1, 1), "detection": True}
    case = make_case(0)
    out = train(
        cases_train=[case],
        cases_validation=[],
        channels=("a", "b"),
        seed=3,
        scratch=tmp_path / "scratch",
        out=tmp_path / "out",
        network="monai",
        network_options=small,
        batch=2,
        steps=2,
    )
    assert json.loads((out / "model.json").read_text())["patch"] == [64, 64]
    found = predict(model_dir=out, case=case)
    assert found.logits.shape == found.centre.shape == case.image.shape


def test_every_network_is_tried_here():
    assert set(NETWORKS) == {U, SWIN, "monai"}
