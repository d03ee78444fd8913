"""Calibration files of a scanner: scatter units in the channels, ξ of spheres, and what the study refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from darklung.calibrate.file import CALIBRATION, load_calibration, plain, save_calibration
from darklung.calibrate.units import ScatterUnit, in_units
from darklung.core.checks import DarklungError
from darklung.core.seams import resolve
from darklung.core.types import Image, Phantom
from darklung.flow.plan import bank_facts, plan
from darklung.io.case import load_case
from darklung.io.hdf5 import load
from darklung.io.images import load_image, save_image
from darklung.io.names import VOLUME
from darklung.pipeline import Context, task_keys
from darklung.steps.calibrate.apply import OUTPUT, apply_calibration
from darklung.steps.calibrate.fibres import calibrate_fibres
from darklung.steps.calibrate.measurements import read_table
from darklung.steps.calibrate.spheres import calibrate_spheres
from darklung.steps.insertion.scale import read_scale
from darklung.study.study import Study, read_study

EXAMPLES = Path(__file__).parents[2] / "examples" / "calibration"
UNIT = ScatterUnit(0.4, 30.4, 0.01, 0.1, "foam")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrations")
    save_calibration(folder / "unit.json", "unit", "foam", {"command": "test"}, unit=plain(UNIT))
    spheres = {"diameter": "{diameter_um} um", "thickness": "{thickness_mm} mm"}
    calibrate_spheres([read_table(EXAMPLES / "spheres_near.csv")], folder / "spheres", **spheres)
    calibrate_fibres(read_table(EXAMPLES / "fibres.csv"), folder / "fibres", angle="{angle_deg} deg")
    return folder


def study(folder, *, learning=None, **parts):
    cohort = {"animals": 3, "test_animals": 0, "mimics": [0, 0]}
    mice = {"from": "simulation", "cohort": cohort, "body": {"voxel": "450 um"}, "scan": {"supersampling": 1}, **parts}
    learning = {"arms": {"both": ["attenuation", "dark_field"]}, **(learning or {})}
    (folder / "study.yaml").write_text(yaml.safe_dump({"name": "one", "sources": {"mice": mice}, "learning": learning}))
    return folder / "study.yaml"


def task_of(path, stage):
    return next(t for t in plan(read_study(path)).tasks if t.stage == stage)


@pytest.fixture(scope="module")
def animal(tmp_path_factory):
    """A phantom, and an image such as its reconstruction would be: μ of tissue and lung, ε in the lungs of 20/m and 26/m."""
    folder = tmp_path_factory.mktemp("animal")
    task = task_of(study(folder), "phantom")
    resolve("task", task.function, {})(Context(folder, folder, {}, task.parameters, task.files, lambda *_: None))
    phantom = load(folder / "phantom.h5", Phantom)
    attenuation = 20.0 * phantom.density.sum(axis=0)
    lung = phantom.lobes > 0
    data = np.stack([attenuation, 20.0 * lung, 26.0 * lung, 0.5 + 0 * lung]).astype(np.float32)
    names = ("attenuation", "dark_field_0", "dark_field_90", "dark_field_0_noise")
    save_image(folder / VOLUME, Image(data, names, ("1/m",) * 4, (4.5e-4,) * 3))
    return folder


def case(folder, animal, **parts):
    task = task_of(study(folder, **parts), "cases")
    folder = folder / "case"
    folder.mkdir()
    inputs = {"image": (animal,), "phantom": (animal,)}
    resolve("task", task.function, {})(Context(folder, folder, inputs, task.parameters, task.files, lambda *_: None))
    return load_case(folder)


def test_channels_come_in_the_scatter_units_that_the_command_gives(files, animal, tmp_path):
    (tmp_path / "plain").mkdir()
    plain_case = case(tmp_path / "plain", animal)
    in_su = case(tmp_path, animal, calibrations={"unit": str(files / "unit.json")})
    image, before = in_su.channels, plain_case.channels
    units = dict(zip(image.names, image.units))
    assert units["attenuation"] == "1/m"
    for name in ("dark_field", "dark_field_0", "dark_field_90", "dark_field_0_noise"):
        assert units[name] == "SU"
        assert before.units[before.names.index(name)] == "1/m"
    np.testing.assert_array_equal(image.channel("attenuation"), before.channel("attenuation"))
    expected = 1000 * (before.channel("dark_field_90").astype(float) - 0.4) / 30.0
    np.testing.assert_allclose(image.channel("dark_field_90"), expected, rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(image.channel("dark_field_0_noise"), 1000 * 0.5 / 30.0, rtol=1e-6)
    apply_calibration(files / "unit.json", [animal / VOLUME], tmp_path / "out")
    told = load_image(tmp_path / "out" / OUTPUT).channel("scatter_units_90")
    own = in_units(load_image(animal / VOLUME), UNIT).channel("dark_field_90")
    np.testing.assert_allclose(own, told, rtol=1e-6)


def test_units_want_coefficients_and_no_bank(files, animal, tmp_path):
    image = in_units(load_image(animal / VOLUME), UNIT)
    with pytest.raises(DarklungError, match="dark_field_0: wanted values in 1/m, got 'SU'"):
        in_units(image, UNIT)
    with pytest.raises(DarklungError, match=r"wanted a channel dark_field\.\.\., got attenuation"):
        in_units(Image(image.data[:1], ("attenuation",), ("1/m",), image.spacing_m), UNIT)
    unit = {"calibrations": {"unit": str(files / "unit.json")}}
    with pytest.raises(DarklungError, match=r"learning\.bank: lesions are drawn in 1/m, calibrations\.unit"):
        plan(read_study(study(tmp_path, learning={"bank": {}}, **unit)))


def test_each_file_makes_due_the_step_that_uses_it_and_nothing_before(files, tmp_path):
    def keys(**parts):
        return task_keys(plan(read_study(study(tmp_path, **parts))).tasks)

    def due(before, after):
        return {name.split("/")[0] for name in after if after[name] != before[name]}

    without = keys()
    (tmp_path / "mine.json").write_text((files / "unit.json").read_text())
    given = keys(calibrations={"unit": "mine.json"})
    assert due(without, given) == {"cases", "train", "predict", "evaluate", "report"}
    (tmp_path / "mine.json").write_text((files / "unit.json").read_text().replace("30.4", "31.4"))
    assert due(given, keys(calibrations={"unit": "mine.json"})) == {"cases", "train", "predict", "evaluate", "report"}
    spheres = keys(calibrations={"spheres": str(files / "spheres" / CALIBRATION)})
    assert due(without, spheres) == {"cases", "train", "predict", "evaluate", "report"}, "a case tells its scanner's ξ"
    fibres = keys(calibrations={"fibres": str(files / "fibres" / CALIBRATION)})
    assert due(without, fibres) == {"report"}, "no step looks at directions; the report tells the study"


def test_spheres_give_the_correlation_length_to_bank_and_insertion(files, tmp_path):
    path = files / "spheres" / CALIBRATION
    xi = load_calibration(path).curves[0].correlation_length_m
    assert read_scale(str(path)).correlation_length_m == xi
    with pytest.raises(DarklungError, match=r"--scale: .*unit\.json: wanted a calibration of spheres, got one of unit"):
        read_scale(str(files / "unit.json"))
    sites = {"north": {"calibrations": {"spheres": str(path)}}, "south": {}}
    made = read_study(study(tmp_path, sites=sites))
    facts = bank_facts(made, plan(made).members)
    assert facts["beams"] == [[70.0, xi], [70.0, 3e-6], [70.0, xi]]
    volumes = {"from": "volumes", "files": ["a.nii"], "calibrations": {"spheres": str(path)}}
    source = Study.model_validate({"name": "one", "sources": {"scans": volumes}}).sources["scans"]
    assert source.scale_text() == str(path)
    assert source.model_copy(update={"scale": "mission_ct"}).scale_text() == "mission_ct"


def test_the_environment_may_name_the_folder(files, tmp_path, monkeypatch):
    monkeypatch.setenv("CALIBRATIONS", str(files))
    found = read_study(study(tmp_path, calibrations={"unit": "${CALIBRATIONS}/unit.json"})).sources["mice"].calibrations
    assert found.files() == {"unit": (files / "unit.json").resolve()}
    assert found.load("unit").unit == UNIT
    assert found.load("wedges") is None
