"""The volume viewer's layers: in the right place, with the right values, harmless to the page, absent where NiiVue is."""

from __future__ import annotations

import gzip
import json
import re

import nibabel
import numpy as np
import pytest

from darklung.core.types import Image
from darklung.report import html, viewer
from darklung.report.blocks import Section, render
from darklung.report.html import page
from darklung.report.pictures import Example


@pytest.fixture
def fetched(monkeypatch):
    """NiiVue, or a word in its place: what the layers hold does not depend on it."""
    monkeypatch.setattr(viewer, "viewer_version", lambda: "some")


def example(shape=(20, 24, 28), frame="scanner", name="mouse <1>"):
    values = np.random.default_rng(1).normal(2, 0.3, shape).astype(np.float32)
    image = Image(values[None], ("dark_field",), ("1/m",), (3e-4, 2e-4, 1e-4), frame=frame)
    target = np.zeros(shape, bool)
    target[12, 10:13, 5:8] = True
    region = np.zeros(shape, bool)
    region[4:-4, 4:-4, 3:-3] = True
    return Example(name, image, target, {"hybrid": np.where(target, 0.9, 0.1)}, region)


def opened(layer):
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(layer.nifti))


@pytest.mark.parametrize("frame", ["scanner", "LPS"])
def test_layers_lie_where_the_image_lies_and_hold_its_values(fetched, frame):
    shown = example(frame=frame)
    made = viewer.viewer_of(shown)
    channel, truth, probability = made.layers
    file = opened(channel)
    at = np.linalg.solve(file.affine, [*made.at_mm, 1])[:3].round().astype(int)
    assert np.asarray(opened(truth).dataobj)[tuple(at)] == pytest.approx(1)  # the cross is in the lesion
    sign = -1 if frame == "LPS" else 1
    z, y, x = (1e3 * v for v in shown.image.position_m((12, 11, 6)))
    np.testing.assert_allclose(made.at_mm, (sign * x, sign * y, z), atol=1e-6)
    low, high = channel.window
    given, box = np.asarray(file.dataobj).transpose(2, 1, 0), viewer._box(shown)
    np.testing.assert_allclose(
        given, np.clip(shown.image.data[0][box], low - (high - low) / 2, high + (high - low) / 2), atol=(high - low) / 254
    )
    assert np.asarray(opened(probability).dataobj).max() == pytest.approx(0.9, abs=2e-3)


def test_large_volumes_are_means_of_blocks_on_a_grid_that_fits(fetched, monkeypatch):
    monkeypatch.setattr(viewer, "MOST_VOXELS", 20 * 24 * 28 // 9)
    shown = example()
    made = viewer.viewer_of(shown)
    assert "mean of 3 × 3 × 3" in made.caption or "mean of 2 × 2 × 2" in made.caption
    step = int(made.caption.split("mean of ")[1][0])
    thin = viewer._thinned(shown.image.cropped(viewer._box(shown)), step)
    first = viewer._box(shown)[0].start, viewer._box(shown)[1].start, viewer._box(shown)[2].start
    np.testing.assert_allclose(thin.origin_m, shown.image.position_m([f + (step - 1) / 2 for f in first]))
    block = shown.image.data[0][tuple(slice(f, f + step) for f in first)]
    assert thin.data[0, 0, 0, 0] == pytest.approx(block.mean(), rel=1e-6)


def test_names_cannot_leave_the_data_that_a_browser_does_not_run(fetched):
    shown = example()
    hostile = Example(
        "</script><script>alert(1)</script>", shown.image, shown.target, {"</script>": shown.probability["hybrid"]}
    )
    text = render(viewer.viewer_of(hostile))
    assert text.count("<script") == 1
    assert text.count("</script") == 1
    layers = json.loads(re.search(r'<script type="application/json">(.*)</script>', text, re.S)[1])
    assert [layer["title"] for layer in layers] == ["dark field", "true lesions", "</script>: probability"]


def test_pages_without_a_viewer_hold_no_line_of_it_and_those_with_one_its_licence(fetched, monkeypatch):
    real = html._asset
    monkeypatch.setattr(html, "_asset", lambda name: "var niivue = {};" if name == html.ASSET else real(name))
    plain = page(title="t", summary={}, sections=[Section("a")])
    full = page(title="t", summary={}, sections=[Section("a", (viewer.viewer_of(example()),))])
    assert "niivue" not in plain
    assert plain.count("'sha256-") == 1
    assert full.count("'sha256-") == 3
    assert "BSD 2-Clause License" in full


def test_radiographs_and_checkouts_without_niivue_have_slices_alone(monkeypatch):
    monkeypatch.setattr(viewer, "viewer_version", lambda: None)
    assert viewer.viewer_of(example()) is None
    monkeypatch.setattr(viewer, "viewer_version", lambda: "some")
    flat = Image(np.zeros((1, 8, 9), np.float32), ("attenuation",), ("1",), (1e-4, 1e-4))
    assert viewer.viewer_of(Example("lobe", flat, np.zeros((8, 9), bool), {})) is None
