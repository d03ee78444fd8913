"""One encoder for what each modality measured, and what tells a network of them."""

from dataclasses import replace

import pytest
import torch

from darklung.core.channel import modality
from darklung.core.checks import DarklungError
from darklung.learn.network import heads_of, make_network
from darklung.learn.predict import predict
from darklung.learn.train import train

HYBRID = ("dark_field_0", "attenuation", "dark_field_90", "dark_field_0_noise")
LATE = {"fusion": "late"}


def built(channels, options, name="residual_attention_unet", dims=2):
    torch.manual_seed(0)
    return make_network(name, channels=channels, dims=dims, widths=(16, 32), options=options)


@pytest.mark.parametrize(
    ("name", "measured"),
    [
        ("attenuation", "attenuation"),
        ("attenuation_noise", "attenuation"),
        ("refraction_90", "refraction"),
        ("dark_field@0deg", "dark_field"),
        ("tensor_zz", "dark_field"),
        ("noise(dark_field_0)", "dark_field"),
        ("contrast(dark_field_0, 0.8 mm)", "dark_field"),
        ("mirror(contrast(attenuation, 1 mm))", "attenuation"),
        ("texture(attenuation, entropy, 5)", "attenuation"),
        ("contrast(tensor_zz, 0.8 mm)", "dark_field"),
        ("difference(dark_field_0, tensor_zz)", "dark_field"),
        ("ratio(dark_field_0, refraction_0)", "mixed"),
        ("ratio(dark_field_0, attenuation)", "mixed"),
        ("ratio", "mixed"),
        ("my_lab:map(dark_field, attenuation)", "mixed"),
        ("a scan of somebody's", "mixed"),
    ],
)
def test_what_a_channel_measured(name, measured):
    assert modality(name) == measured


@pytest.mark.parametrize("name", ["residual_attention_unet", "swin_unet"])
@pytest.mark.parametrize("dims", [2, 3])
def test_each_modality_has_its_own_way_down(name, dims):
    network = built(HYBRID, LATE, name, dims)
    assert network.encoder.groups == [[0, 2, 3], [1]]
    x = torch.randn(2, 4, *(8,) * dims)
    y = x.clone()
    y[:, 1] += 1
    dark, attenuation = network.encoder.ways
    for a, b in zip(dark(x[:, [0, 2, 3]]), dark(y[:, [0, 2, 3]])):
        assert torch.equal(a, b)
    assert not torch.equal(attenuation(x[:, [1]])[-1], attenuation(y[:, [1]])[-1])
    assert not torch.equal(network(x), network(y))
    network(x).square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_of_one_modality_late_is_early_to_the_bit():
    names = ("dark_field_0", "dark_field_90")
    x = torch.randn(2, 2, 8, 8)
    assert torch.equal(built(names, LATE)(x), built(names, {})(x))
    assert torch.equal(built(names, {})(x), built(2, {})(x))


@pytest.mark.parametrize(
    ("channels", "options", "told"),
    [
        (2, LATE, "fusion: late: wanted the modality of each of 2 channels"),
        (HYBRID, {"fusion": "middle"}, "fusion"),
        (
            HYBRID,
            {"modalities": ["a", "b", "c", "d"]},
            "option of network residual_attention_unet: 'modalities' is not known",
        ),
    ],
)
def test_what_cannot_be_told_apart_is_refused(channels, options, told):
    with pytest.raises(DarklungError, match=told):
        built(channels, options)


def test_a_late_model_is_trained_loaded_and_applied_as_an_early_one(make_case, tmp_path):
    channels = ("attenuation", "dark_field_0", "dark_field_90")
    made = [make_case(i) for i in range(3)]
    cases = [replace(c, image=replace(c.image, names=channels)) for c in made]
    out = train(
        cases_train=cases[:2], cases_validation=cases[2:], channels=channels, seed=1, scratch=tmp_path / "s",
        out=tmp_path / "o", network_options={**LATE, "detection": True}, widths=(16, 32), patch=8, steps=3,
    )  # fmt: skip
    found = predict(model_dir=out, case=cases[2])
    assert found.logits.shape == cases[2].image.shape
    assert found.centre is not None
    assert set(heads_of(built(channels, {**LATE, "detection": True})(torch.randn(1, len(channels), 8, 8)))) > {"centre"}
