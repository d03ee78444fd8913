"""What networks, losses and metrics of the user return: held to their contract in one line, taken where it does no harm."""

import json
import re
import sys
import textwrap
from fractions import Fraction

import numpy as np
import pytest
import torch

from darklung.core.checks import DarklungError
from darklung.learn.losses import make_loss
from darklung.learn.network import logits_of, make_network
from darklung.learn.predict import load_model, predict
from darklung.learn.selection import make_metric
from darklung.learn.train import train

OWN = """
    import numpy as np
    import torch
    from torch import nn

    class Body(nn.Module):
        def __init__(self, channels, dims, width, heads):
            super().__init__()
            layer = (nn.Conv2d, nn.Conv3d)[dims - 2]
            self.a, self.b, self.heads = layer(channels, width, 3, padding=1), layer(width, 1, 1), heads

        def forward(self, x):
            y = self.b(torch.relu(self.a(x)))
            return {"logits": y, "size": y.mean(), "names": ["x"]} if self.heads else y

    def network(*, channels, dims, widths, width=4, heads=False): return Body(channels, dims, width, heads)

    def loss(logits, target, distance, region, *, weight=1.0):
        return weight * ((torch.sigmoid(logits) - target) ** 2 * region).sum(dim=(0, 1, 2, 3), keepdim=True)

    def metric(*, logits, targets, regions, spacing_m): return np.float32(0.5)
"""
WANTED = (2, 1, 8, 8)
GIVEN = torch.zeros(2, 3, 8, 8)


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_learning.py").write_text(textwrap.dedent(OWN))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_learning"
    sys.modules.pop("own_learning", None)


def options(make_case, folder, name, **changes):
    return {
        "cases_train": [make_case(i) for i in range(2)],
        "cases_validation": [make_case(9)],
        "channels": ("a", "b"),
        "seed": 3,
        "scratch": folder / f"{name}-scratch",
        "out": folder / name,
        "widths": (16, 32),
        "patch": 8,
        "batch": 2,
        "steps": 5,
    } | changes


def plugin(monkeypatch, function):
    """A function under a name that a study could give."""
    monkeypatch.setattr(json, "own", function, raising=False)
    return "json:own"


def test_a_network_of_the_user_with_options_and_heads_is_trained_saved_and_read_again(own, make_case, tmp_path):
    asked = {"network": f"{own}:network", "network_options": {"width": 6, "heads": True}}
    asked |= {"loss": f"{own}:loss", "loss_options": {"weight": 2.0}, "metric": f"{own}:metric"}
    folder = train(**options(make_case, tmp_path, "own", **asked))
    about = json.loads((folder / "model.json").read_text())
    assert (about["network_options"], about["loss_options"]) == (asked["network_options"], asked["loss_options"])
    assert about["selected"]["score"] == 0.5
    model = load_model(folder)
    assert model.network.a.out_channels == 6
    assert np.isfinite(predict(model_dir=folder, case=make_case(5)).logits).all()
    other = train(**options(make_case, tmp_path, "heavier", **asked | {"loss_options": {"weight": 3.0}}))
    assert (other / "model.safetensors").read_bytes() != (folder / "model.safetensors").read_bytes()


def test_models_of_before_have_no_options_and_are_read(make_case, tmp_path):
    folder = train(**options(make_case, tmp_path, "old"))
    about = json.loads((folder / "model.json").read_text())
    del about["network_options"], about["loss_options"]
    (folder / "model.json").write_text(json.dumps(about))
    assert load_model(folder).window == (12, 12)


def test_options_that_are_not_known_are_refused(make_case, tmp_path):
    with pytest.raises(
        DarklungError, match="option of network residual_attention_unet: 'depth' is not known; known: deep_sup"
    ):
        train(**options(make_case, tmp_path, "a", network_options={"depth": 3}))
    with pytest.raises(DarklungError, match="option of loss dice_focal: 'gamma' is not known; known: none"):
        train(**options(make_case, tmp_path, "b", loss="dice_focal", loss_options={"gamma": 3}))


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (None, "got NoneType"),
        (np.zeros(WANTED), "got ndarray"),
        ((torch.zeros(WANTED), torch.zeros(1)), "got tuple"),
        (torch.zeros(2, 2, 8, 8), r"wanted logits of shape (2, 1, 8, 8) for (2, 3, 8, 8), got (2, 2, 8, 8)"),
        (torch.zeros(2, 8, 8), "got (2, 8, 8)"),
        (torch.zeros(2, 1, 4, 8), "got (2, 1, 4, 8)"),
        (torch.zeros(WANTED, dtype=torch.int64), "wanted logits as real numbers, got torch.int64"),
        ({"mask": torch.zeros(WANTED)}, "wanted logits among its heads, got mask"),
        ({"logits": None}, "got NoneType"),
    ],
)
def test_what_a_network_may_not_return(found, line):
    with pytest.raises(DarklungError, match=f"^network mine: .*{re.escape(line)}$"):
        logits_of("mine", found, GIVEN)


@pytest.mark.parametrize("found", [torch.ones(WANTED), {"logits": torch.ones(WANTED), "more": "anything"}])
def test_what_a_network_may_return(found):
    assert logits_of("mine", found, GIVEN).sum() == 128


def test_the_contract_is_kept_whenever_a_network_is_applied(monkeypatch):
    network = make_network(plugin(monkeypatch, lambda **_: torch.nn.Identity()), channels=1, dims=2, widths=(1,))
    assert network(torch.ones(1, 1, 4, 4)).shape == (1, 1, 4, 4)
    with pytest.raises(DarklungError, match=r"network json:own: wanted logits of shape \(1, 1, 4, 4\)"):
        network(torch.ones(1, 2, 4, 4))
    assert not network.state_dict()
    network.eval()
    with pytest.raises(DarklungError, match=r"^network json:own: 16 of 16 logits are not finite$"):
        network(torch.full((1, 1, 4, 4), torch.nan))


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (lambda _: None, "wanted a tensor of one number, got NoneType"),
        (lambda _: 0.3, "wanted a tensor of one number, got float"),
        (lambda x: x.detach().numpy(), "wanted a tensor of one number, got ndarray"),
        (lambda x: (x.mean(), x.mean()), "wanted a tensor of one number, got tuple"),
        (lambda x: x, "wanted a tensor of one number, got shape (2, 1, 8, 8)"),
        (lambda x: (x > 0).sum(), "wanted a real number, got torch.int64"),
        (lambda x: x.detach().mean(), "its value does not depend on the logits; nothing can be learned from it"),
    ],
)
def test_what_a_loss_may_not_return(monkeypatch, made, line):
    loss = make_loss(plugin(monkeypatch, lambda logits, target, distance, region: made(logits)))
    with pytest.raises(DarklungError, match=f"^loss json:own: {re.escape(line)}$"):
        loss(torch.zeros(WANTED, requires_grad=True), *[torch.zeros(WANTED)] * 3)


def test_a_loss_may_return_its_number_in_any_shape(monkeypatch):
    loss = make_loss(plugin(monkeypatch, lambda logits, target, distance, region: logits.mean()[None, None]))
    assert loss(torch.ones(WANTED, requires_grad=True), *[torch.zeros(WANTED)] * 3).shape == ()


def test_a_loss_that_is_not_finite_is_named(monkeypatch, make_case, tmp_path):
    name = plugin(monkeypatch, lambda logits, target, distance, region: logits.mean() * float("nan"))
    with pytest.raises(DarklungError, match=r"^training: loss json:own of nan .* at step 1 are not both finite"):
        train(**options(make_case, tmp_path, "nan", loss=name))


def told_metric(monkeypatch, value):
    given = dict.fromkeys(("logits", "targets", "regions", "spacing_m"), ())
    return make_metric(plugin(monkeypatch, lambda *, logits, targets, regions, spacing_m: value))(**given)


@pytest.mark.parametrize(
    "value",
    [1, True, 1.0, np.float32(1), np.int64(1), np.array(1.0), torch.tensor(1), torch.tensor(1.0, requires_grad=True)],
)
def test_a_metric_may_return_any_type_of_number(monkeypatch, value):
    found = told_metric(monkeypatch, value)
    assert (type(found), found) == (float, 1.0)


def test_a_metric_may_be_undefined(monkeypatch):
    assert told_metric(monkeypatch, None) is None


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (float("nan"), "wanted a finite number, or None where it is not defined, got nan"),
        (np.float64("inf"), "wanted a finite number, or None where it is not defined, got inf"),
        ("0.5", "wanted a number or None, got str"),
        ((0.5, 0.6), r"wanted a number or None, got tuple of shape \(2,\)"),
        (np.ones(3), r"wanted a number or None, got ndarray of shape \(3,\)"),
        ({"auc": 0.5}, "wanted a number or None, got dict"),
        (1 + 2j, "wanted a number or None, got complex"),
        (Fraction(1, 2), "wanted a number or None, got Fraction"),
    ],
)
def test_what_a_metric_may_not_return(monkeypatch, value, line):
    with pytest.raises(DarklungError, match=f"^metric json:own: {line}$"):
        told_metric(monkeypatch, value)


def test_a_flipped_bit_in_the_weights_is_an_error(make_case, tmp_path):
    folder = train(**options(make_case, tmp_path, "flipped", steps=1))
    weights, rng = folder / "model.safetensors", np.random.default_rng(0)
    content = bytearray(weights.read_bytes())
    for bit in rng.integers(8 * len(content), size=60):
        content[bit // 8] ^= 1 << bit % 8
        weights.write_bytes(content)
        with pytest.raises(DarklungError, match=r"model\.safetensors: is not what was trained"):
            load_model(folder)
        content[bit // 8] ^= 1 << bit % 8
    weights.write_bytes(content)
    load_model(folder)
