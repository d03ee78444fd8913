"""The functions of one's own on docs/learning.md: each runs at its seam and returns what the seam takes."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import darklung
from darklung.core.channel import dark_field_at
from darklung.core.seams import importable
from darklung.evaluate.own_metric import own_metric
from darklung.io.documents import validate
from darklung.learn.losses import make_loss
from darklung.learn.network import make_network
from darklung.learn.selection import make_metric
from darklung.study.learning import EvaluationPart, LearningPart

PAGE = Path(__file__).parents[2] / "docs" / "learning.md"


def blocks(language: str) -> list[str]:
    return [textwrap.dedent(b) for b in re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.S)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The examples as the file beside a study that the page says they are."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "my_lab.py").write_text("\n".join(blocks("python")))
    with importable(folder):
        import my_lab

        yield my_lab


@pytest.fixture(scope="module")
def scan():
    mouse = darklung.make_mouse(voxel_m=600e-6, lesions=[])
    return mouse, darklung.simulate(mouse, scan={"views": 40, "supersampling": 1, "counts": 5e7})


def test_the_study_on_the_page_is_one(lab):
    (text,) = blocks("yaml")
    said = yaml.safe_load(text)
    part = validate(said["learning"], LearningPart, "page")
    assert part.network_options == {"dropout": 0.1}
    assert list(validate(said["evaluation"], EvaluationPart, "page").metrics) == ["called"]


@pytest.mark.parametrize("dims", [2, 3])
def test_network(lab, dims):
    network = make_network("my_lab:small_net", channels=2, dims=dims, widths=(16, 32), options={"dropout": 0.1})
    logits = network.eval()(torch.zeros(1, 2, *(8,) * dims)).detach()
    assert logits.shape == (1, 1, *(8,) * dims)
    assert -7 < float(logits.mean()) < -3


def test_loss(lab):
    loss = make_loss("my_lab:tversky", {"alpha": 0.3})
    target = torch.zeros(1, 1, 4, 4)
    target[..., 1, 1] = 1
    values = []
    for sign in (1, -1):
        logits = (sign * 20 * (2 * target - 1)).requires_grad_()
        values.append(loss(logits, target, target, torch.ones_like(target)))
    assert float(values[0].detach()) < 1e-6 < 0.5 < float(values[1].detach())


def test_selection_metric(lab):
    target = np.zeros((6, 6), np.uint8)
    target[2, 2], target[5, 5] = 1, 255
    score = make_metric("my_lab:best_found")
    given = {"regions": [target != 255], "spacing_m": (1e-4, 1e-4)}
    assert score(logits=[np.where(target == 1, 4.0, -1.0)], targets=[target], **given) == pytest.approx(5)
    assert score(logits=[np.zeros((6, 6))], targets=[np.where(target == 255, target, 0)], **given) is None


def test_metric_of_the_comparison(lab):
    assert own_metric("called", "my_lab:share_called", options={}, title="Tiles called").title == "Tiles called"


def test_retrieval_agrees_with_least_squares(lab, scan):
    _, frames = scan
    own, ours = darklung.retrieve(frames, method="my_lab:plain_fourier"), darklung.retrieve(frames)
    both = own.valid & ours.valid
    assert both.mean() > 0.9
    np.testing.assert_allclose(own.attenuation[both], ours.attenuation[both], atol=1e-4)
    np.testing.assert_allclose(own.dark_field[both], ours.dark_field[both], atol=1e-3)
    away = np.angle(np.exp(1j * (own.phase[both].astype(float) - ours.phase[both])))
    np.testing.assert_allclose(away, 0, atol=1e-3)


def test_hardening(lab, scan):
    raw = darklung.retrieve(scan[1])
    found = darklung.correct(raw, instrument={}, settings={"hardening": "my_lab:linear_false_signal"})
    np.testing.assert_allclose(found.dark_field, raw.dark_field - 0.02 * raw.attenuation, atol=1e-6)


def test_reconstruction(lab, scan):
    mouse, frames = scan
    image = darklung.reconstruct(darklung.retrieve(frames), method="my_lab:soft_fbp", options={"cutoff": 0.9})
    assert image.names == ("attenuation", dark_field_at(0.0).name, dark_field_at(np.pi / 2).name)
    assert image.channel("attenuation")[mouse.lobes > 0].mean() < 0.6 * image.channel("attenuation").max()


def test_the_road_without_a_study(lab, tmp_path):
    cases = []
    for seed in (1, 2):
        mouse = darklung.make_mouse(seed=seed, voxel_m=600e-6, lesions=[("solid", 3e-3)])
        values = 20 * mouse.density.sum(axis=0, keepdims=True)
        image = darklung.Image(values, ("attenuation",), ("1/m",), (mouse.voxel_m,) * 3)
        cases.append(darklung.make_case(image, mouse, subject=f"m{seed}", region=mouse.lobes > 0))
    judged = lab.learn_and_look(cases[:1], cases, tmp_path)
    assert judged["n"]["positives"] == 2
