"""Channels that arms name: made once for a case, from that case alone, the same in a study, in Python and in predict."""

import json
import textwrap
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from scipy import ndimage

import darklung
from darklung.commands.predict import Given, predict_files
from darklung.commands.run import list_tasks, run_study
from darklung.commands.train import train_study
from darklung.core.random import stream
from darklung.core.types import Image, Insertion
from darklung.flow.chain import own_beam
from darklung.io.case import CaseFacts, LabelledCase, load_case, save_case
from darklung.io.images import export_nifti, load_image
from darklung.io.volumes import read_volume
from darklung.learn.patches import flip_groups
from darklung.steps.derive import MADE, names, tasks, with_channels
from darklung.steps.network_case import network_case
from darklung.steps.seen import item_of, load_seen

NAMES = (
    "attenuation",
    "dark_field",
    "dark_field_0",
    "dark_field_90",
    "attenuation_noise",
    "dark_field_0_noise",
    "dark_field_90_noise",
)
ARM = ["dark_field_0", "ratio", "contrast(dark_field, 1.2 mm)", "noise(ratio)", "noise(dark_field)"]
SMALL = {"widths": [16], "patch": 8, "batch": 1, "steps": 2, "folds": 3}
OWN = """
    import numpy as np
    def grey(attenuation, *, place): return np.tanh(attenuation.values / 10) + 0 * place.lung
"""


def made_case(number, shape=(10, 12, 14), gain=1.0):
    rng = stream(number, "case")
    at = np.array([n / 2 for n in shape]).reshape(-1, *(1,) * len(shape))
    ball = ((np.indices(shape) - at) ** 2).sum(axis=0) < 6
    noise = ndimage.gaussian_filter(rng.normal(size=(3, *shape)), (0, *(0.5,) * len(shape)))
    first, second = 60 + 20 * noise[1] - 20 * ball, 70 + 20 * noise[2] - 20 * ball
    errors = np.broadcast_to(np.array([0.5, 5, 6]).reshape(3, *(1,) * len(shape)), (3, *shape)) * (1 + 0.1 * ball)
    data = np.concatenate([np.stack([8 + noise[0] + 4 * ball, (first + second) / 2, first, second]), errors]) * gain
    lung = ((np.indices(shape) - at) ** 2 / (at - 1) ** 2).sum(axis=0) < 1
    facts = CaseFacts(f"m{number}", f"m{number}", provenance={"energy_kev": 70.0, "correlation_length_m": 3e-6})
    placed = (Insertion(1, "lesion", "solid", (0.0,) * 3, 1e-3),)
    labels, hard = ball.astype(np.uint8), np.zeros(shape, bool)
    image = Image(data.astype(np.float32), NAMES, ("1/m",) * len(NAMES), (3e-4,) * len(shape))
    return LabelledCase(image, labels, lung, lung, ball.astype(np.uint16), hard, placed, facts)


@pytest.fixture
def study(tmp_path):
    for number in range(4):
        save_case(tmp_path / "cases" / f"m{number}", made_case(number))
    (tmp_path / "own_grey.py").write_text(textwrap.dedent(OWN))

    def write(arms, **more):
        sources = {"mice": {"from": "cases", "files": [str(tmp_path / "cases" / "m*")]}}
        content = {"name": "s", "sources": sources, "learning": {**SMALL, "arms": arms, **more}}
        content["evaluation"] = {"tile": "0.6 mm", "replicates": 100}
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return tmp_path / "study.yaml"

    return write


def changes(told):
    return sorted(line.split()[-1] for line in told.splitlines() if line.startswith("to do"))


def test_each_channel_is_made_once_for_a_case_and_what_is_not_named_is_not(study, tmp_path):
    path, out = study({"hybrid": ARM, "raw": ["attenuation"]}), tmp_path / "run"
    train_study(path, out=out, workers=1)
    found = {p.name for p in (out / "channels").iterdir()}
    wanted = ("ratio", "contrast(dark_field, 1.2 mm)", "dark_field_noise")
    assert found == {item_of(f"m{n}", channel) for n in range(4) for channel in wanted}
    case = load_case(out / "cases" / "m1")
    seen = load_seen(out / "cases" / "m1", with_names(ARM), sorted((out / "channels").iterdir()))
    assert seen.channels.names == with_names(ARM)
    ratio = case.channels.channel("dark_field") / case.channels.channel("attenuation")
    np.testing.assert_allclose(seen.channels.channel("ratio")[case.lung], ratio[case.lung], rtol=1e-5)
    model = json.loads((out / "train" / "hybrid.fold0" / "model.json").read_text())
    assert tuple(model["channels"]) == with_names(ARM)
    facts = json.loads((out / "channels" / item_of("m1", "ratio") / "channel.json").read_text())
    assert facts == {"channel": "ratio", "unit": "1", "noise": True, "known_share": 1.0}
    # Another arm makes its own channel, and leaves what is there.
    more = study({"hybrid": ARM, "raw": ["attenuation"], "own": ["own_grey:grey(attenuation)", "ratio"]})
    told = list_tasks(more, out=out)
    assert "code: learning.arms.own names own_grey:grey, which runs on this machine" in told
    again = [t for t in changes(told) if t.startswith(("train", "channels"))]
    new = [f"channels/{item_of(f'm{n}', 'own_grey:grey(attenuation)')}" for n in range(4)]
    assert again == sorted([*new, *(f"train/own.fold{n}" for n in range(3))])


def with_names(arm):
    from darklung.core.channel import asked_for

    return tuple(asked_for(name) for name in arm)


def test_other_subjects_change_no_bit(study, tmp_path):
    path, out = (
        study({"hybrid": [*ARM, "interface_density", "blobness(attenuation, 1 mm)"]}),
        tmp_path / "run",
    )
    train_study(path, out=out, workers=1)
    before = {p.name: load_image(p / MADE).data for p in (out / "channels").iterdir()}
    save_case(tmp_path / "cases" / "m2", made_case(2, gain=1.7))
    train_study(path, out=tmp_path / "other", workers=1)
    for name, data in before.items():
        same = np.array_equal(load_image(tmp_path / "other" / "channels" / name / MADE).data, data)
        assert same == (not name.startswith("m2.")), name


def test_a_study_to_its_report_and_a_prediction_of_a_foreign_volume(study, tmp_path):
    path, out = study({"hybrid": [*ARM, "own_grey:grey(attenuation)"]}), tmp_path / "run"
    result = run_study(path, out=out, workers=1)
    assert "ratio" in result.report.read_text()
    (out / "own_grey.py").write_text(textwrap.dedent(OWN))
    save_case(tmp_path / "new", made_case(9))
    with pytest.raises(darklung.DarklungError, match="channel own_grey:grey names own_grey:grey"):
        predict_files(out, tmp_path / "new", out=tmp_path / "found", workers=1)
    predict_files(out, tmp_path / "new", out=tmp_path / "found", given=Given(code=True), workers=1)
    maps = load_image(tmp_path / "found" / "findings" / "m9" / "probability.ome.zarr")
    assert np.isfinite(maps.channel("probability")).any()
    bare = made_case(10)
    save_case(
        tmp_path / "bare", replace(bare, channels=bare.channels.with_data(bare.channels.data[:4], NAMES[:4], ("1/m",) * 4))
    )
    with pytest.raises(darklung.DarklungError, match="nothing tells the standard error of ratio"):
        predict_files(out, tmp_path / "bare", out=tmp_path / "no", given=Given(code=True), dry_run=True)


def test_the_same_from_python(tmp_path):
    cases = [made_case(n) for n in range(2)]
    model = darklung.train(cases, channels=ARM, out=tmp_path, steps=2, settings={"widths": [16], "patch": 8, "batch": 1})
    found = darklung.predict(model, made_case(5))
    assert np.isfinite(found.channel("logit")).all()


@pytest.mark.parametrize("shape", [(12, 14), (8, 10, 12)])
def test_radiographs_and_volumes_alike(shape):
    case = made_case(3, shape)
    seen = with_channels(case, [*with_names(ARM), "vesselness(attenuation, 0.8 mm)", "mirror(attenuation)", "valid(ratio)"])
    assert np.isfinite(seen.channels.data).all()
    assert len(set(seen.channels.names)) == len(seen.channels.names)
    assert seen.channels.unit("contrast(dark_field, 1.2 mm)") == "1/m"
    assert with_channels(case, ("attenuation",)) is case


def test_an_arm_whose_channels_are_all_made_has_them_in_its_order(tmp_path):
    save_case(tmp_path / "m1", made_case(1))
    assert names(["attenuation"], ["cases/m1"]) == ()
    assert [t.name for t in tasks(["ratio", "ratio_noise"], ["cases/m1", "cases/m1"])] == ["channels/m1.ratio"]
    assert tasks(["ratio"], ["cases/m1"])[0].inputs == {"case": ("cases/m1",)}


def test_flips_know_the_directions_within_calls():
    straight, oblique = (f"difference(dark_field_{a}, dark_field_{b})" for a, b in ((0, 90), (45, -45)))
    assert flip_groups(["attenuation", straight], 3) == ((0,), (1,), (2,))
    assert flip_groups(["attenuation", oblique], 3) == flip_groups(["dark_field_45"], 3)


def test_a_network_is_told_the_directions_that_its_arm_does_not_see(tmp_path):
    case = made_case(1)
    image = replace(case.channels, names=tuple(n.replace("dark_field_90", "dark_field_45") for n in NAMES))
    save_case(tmp_path / "m1", replace(case, channels=image))
    seen = load_seen(tmp_path / "m1", ("attenuation", "dark_field"), ())
    assert seen.channels.names == ("attenuation", "dark_field")
    for given in (seen, replace(case, channels=image)):
        known = network_case(given).directions
        assert known == (0.0, 45.0)
        assert flip_groups(seen.channels.names, 3, known) == ((0, 1), (2,))


def test_a_list_as_yaml_reads_it(study, tmp_path):
    path = study({"a": ["attenuation"]})
    text = path.read_text().replace("- attenuation", "[attenuation, contrast(dark_field, 800 um), ratio]")
    path.write_text(text.replace("a:\n    [", "a: ["))
    assert "contrast-dark_field-0.8mm" in list_tasks(path, out=tmp_path / "run")


def test_files_have_names_that_any_folder_takes(tmp_path):
    given = ("contrast(dark_field, 0.8 mm)", "mu(1/m)", "dark_field_0")
    image = Image(np.ones((3, 4, 4, 4), np.float32), given, ("1/m",) * 3, (3e-4,) * 3)
    paths = export_nifti(image, tmp_path, "m1")
    assert all(path.parent == tmp_path and path.is_file() for path in paths)
    assert paths[2].name == "m1_dark_field_0.nii.gz"
    assert [read_volume(path).names for path in paths] == [(name,) for name in given]


def test_the_beam_of_a_measured_volume_is_what_its_source_says():
    def source(energy, xi):
        return SimpleNamespace(energy=energy, calibrations=SimpleNamespace(correlation_length_m=lambda: xi))

    assert own_beam(source(70.0, 2e-6)) == {"energy_kev": 70.0, "correlation_length_m": 2e-6}
    assert own_beam(source(70.0, None)) == {"energy_kev": 70.0}
    assert own_beam(source(None, 2e-6)) == {}
    assert own_beam(SimpleNamespace(energy=None)) == {}
