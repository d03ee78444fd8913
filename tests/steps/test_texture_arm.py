"""Texture as a channel that an arm of a study names."""

import json

import numpy as np
import pytest
import yaml

from darklung.commands.run import list_tasks
from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.core.recipe import file_name
from darklung.core.types import Image, Insertion
from darklung.features.recipe import Known, planned
from darklung.features.texture import texture_map
from darklung.io.case import CaseFacts, LabelledCase, save_case
from darklung.io.images import load_image
from darklung.pipeline import Context
from darklung.steps.derive import FACTS, derive
from darklung.steps.seen import MADE

ENTROPY, MEDIAN = "texture(dark_field, entropy, 5)", "texture(dark_field, median, 3)"


def save(folder, name, shape=(12, 11, 10)):
    """Noise in a lung that fills the middle of the grid, with one lesion."""
    data = stream(1, name).normal(size=(2, *shape)).astype(np.float32)
    image = Image(data, ("attenuation", "dark_field"), ("1/m",) * 2, (5e-4,) * len(shape))
    lung = np.zeros(shape, bool)
    lung[tuple(slice(2, -2) for _ in shape)] = True
    instances = np.zeros(shape, np.uint16)
    instances[tuple(slice(4, 7) for _ in shape)] = 1
    center = (0.0, *((5 - (n - 1) / 2) * 5e-4 for n in shape))[-3:]
    put, labels = Insertion(1, "lesion", "solid", center, 1.5e-3), (instances > 0).astype(np.uint8)
    case = LabelledCase(image, labels, lung, lung, instances, lung & ~lung, (put,), CaseFacts(name, name))
    save_case(folder / name, case)
    return image, lung


def write(folder, *channels):
    part = {"arms": {"one": ["dark_field", *channels]}, "widths": [16], "patch": 8, "steps": 2}
    content = {"name": "one", "sources": {"cases": {"from": "cases", "files": ["cases/*"]}}, "learning": part}
    (folder / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / "study.yaml"


def made(folder, case, channel):
    out = folder / "out" / file_name(channel)
    out.mkdir(parents=True)
    derive(Context(out, folder, {"case": (folder / "cases" / case,)}, {"channel": channel}, {}, lambda share, text: None))
    return load_image(out / MADE), json.loads((out / FACTS).read_text())


def test_an_arm_plans_and_makes_texture_inside_the_lung(tmp_path):
    cases = {name: save(tmp_path / "cases", name) for name in ("m1", "m2", "m3")}
    tasks = list_tasks(write(tmp_path, ENTROPY, MEDIAN), out=tmp_path / "run")
    for name in cases:
        assert f"channels/{name}.{file_name(ENTROPY)}" in tasks
    image, lung = cases["m2"]
    for channel, feature, window, unit in ((ENTROPY, "entropy", 5, "1"), (MEDIAN, "median", 3, "1/m")):
        found, facts = made(tmp_path, "m2", channel)
        wanted = texture_map(image.channel("dark_field"), lung, feature=feature, window=window)
        np.testing.assert_allclose(found.channel(channel)[lung], wanted[lung], rtol=1e-6)
        assert found.unit(channel) == facts["unit"] == unit
        assert not facts["noise"]
        assert facts["known_share"] == 1


def test_a_radiograph_has_texture_too(tmp_path):
    image, lung = save(tmp_path / "cases", "m1", shape=(14, 13))
    found, _ = made(tmp_path, "m1", "texture(attenuation, joint_entropy, 5, 8)")
    wanted = texture_map(image.channel("attenuation"), lung, feature="joint_entropy", window=5, levels=8)
    np.testing.assert_allclose(found.data[0][lung], wanted[lung], rtol=1e-6)


@pytest.mark.parametrize(
    ("channel", "told"),
    [
        ("texture(dark_field, entropie, 5)", "feature: 'entropie' is not known; known: angular_second_moment"),
        ("texture(dark_field, entropy, 4)", "window: wanted an odd number of voxels from 3 to 31, got 4"),
        ("texture(dark_field, entropy, 5, 300)", "levels: wanted 2 to 255, got 300"),
        ("texture(dark_field, entropy)", "window is missing, wanted a whole number such as 5"),
    ],
)
def test_what_a_study_may_not_ask_is_refused_before_anything_runs(tmp_path, channel, told):
    for name in ("m1", "m2", "m3"):
        save(tmp_path / "cases", name)
    with pytest.raises(DarklungError) as error:
        list_tasks(write(tmp_path, channel), out=tmp_path / "run")
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("feature", "unit"), [("mean", "1/m"), ("variance", "(1/m)²"), ("contrast", "1"), ("skewness", "1")]
)
def test_units(feature, unit):
    known = Known({"dark_field": "1/m", "x": "1"}, dims=3)
    assert planned(f"texture(dark_field, {feature}, 3)", known).unit == unit
    assert planned(f"texture(x, {feature}, 3)", known).unit == "1"
