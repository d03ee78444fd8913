"""A calibration of wedges is used whole and alike by a study's correction and by ``darklung calibrate apply``."""

from __future__ import annotations

import json
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from darklung.calibrate.file import CALIBRATION, load_calibration
from darklung.calibrate.hardening import hardening
from darklung.commands.calibrate import app
from darklung.commands.run import list_tasks
from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.seams import resolve
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.flow.plan import plan
from darklung.io.hdf5 import load, save
from darklung.io.names import PROJECTIONS
from darklung.pipeline import Context, task_keys
from darklung.steps.calibrate.measurements import read_table
from darklung.steps.calibrate.wedges import calibrate_wedges
from darklung.steps.correct import RECORD
from darklung.study.correction import CorrectionPart
from darklung.study.study import read_study

EXAMPLES = Path(__file__).parents[2] / "examples" / "calibration"
INSTRUMENT = yaml.safe_load((EXAMPLES / "instrument.yaml").read_text())["instrument"]
VIEWS = 24


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Calibrations of one wedge: as it is, with another energy law, material, method, and no wedge of the object."""
    folder = tmp_path_factory.mktemp("wedges")
    head, *rows = (EXAMPLES / "wedge.csv").read_text().splitlines()
    (folder / "wedge.csv").write_text("\n".join([head, *rows[:13:2], *rows[13:19:3], *rows[19::2]]))
    calibrate_wedges(
        read_table(folder / "wedge.csv"), folder, instrument=EXAMPLES / "instrument.yaml", thickness="{water_mm} mm",
        second="{bone_mm} mm", foam="foam",
    )  # fmt: skip
    content = json.loads((folder / CALIBRATION).read_text())
    kinds = {
        "as it is": {},
        "exponent 2": {"exponent": 2.0},
        "look_up": {"method": "look_up"},
        "factor": {"method": "factor", "exponent": 2.0},
        "soft tissue": {"method": "look_up", "wedge": {**content["wedge"], "material": "soft_tissue"}},
        "segmentation of aluminium": {"method": "inversion_segmented", "second_material": "al"},
        "a short reach": {"max_thickness_m": 0.012},
    }
    for name, change in kinds.items():
        (folder / f"{name}.json").write_text(json.dumps({**content, **change}))
    return folder


def projections() -> Projections:
    """A cylinder of scattering material with a dense core, VIEWS views."""
    shape = (2, VIEWS, 2, 40)
    across = np.linspace(-1.1, 1.1, 40)
    attenuation = 0.45 * np.sqrt(np.clip(1 - across**2, 0, None)) + 0.3 * np.sqrt(np.clip(0.05 - across**2, 0, None))
    noise = stream(3, "noise").normal(0, 1e-3, shape)
    maps = {name: np.full(shape, 1e-4, np.float32) for name in PROJECTION_MAPS[:-1]}
    maps["attenuation"] = (attenuation + noise).astype(np.float32)
    maps["dark_field"] = (0.5 * attenuation + 2 * noise).astype(np.float32)
    geometry = ParallelGeometry(np.pi * np.arange(VIEWS) / VIEWS, 2, 40, 5e-4)
    return Projections(**maps, valid=np.ones(shape, bool), directions_rad=np.array([0.0, np.pi / 2]), geometry=geometry)


def study(folder, *, calibrations=None, correction=None, **parts):
    mice = {
        "from": "simulation", "cohort": {"animals": 3, "test_animals": 0}, "instrument": INSTRUMENT,
        "calibrations": calibrations or {}, **parts,
    }  # fmt: skip
    path = folder / "study.yaml"
    content = {"name": "one", "sources": {"mice": mice}, "processing": {"correction": correction or {}}}
    path.write_text(yaml.safe_dump(content))
    return path


def tasks_of(path):
    return {t.name: t for t in plan(read_study(path)).tasks}


def corrected_in_a_study(folder, **parts):
    """What the study's correct step makes of the projections in `folder`, and what it says it used."""
    task = tasks_of(study(folder, **parts))["correct/train-0001"]
    out = folder / "corrected"
    out.mkdir(exist_ok=True)
    inputs = {"projections": (folder,)}
    resolve("task", task.function, {})(Context(out, out, inputs, task.parameters, task.files, lambda *_: None))
    return load(out / PROJECTIONS, Projections), json.loads((out / RECORD).read_text())


def applied(folder, *words):
    done = CliRunner().invoke(app, ["apply", *words, "--out", str(folder / "applied")])
    assert done.exit_code == 0, (done.output, done.exception)
    return load(folder / "applied" / "projections.h5", Projections), done.output


KINDS = ("as it is", "exponent 2", "look_up", "factor", "soft tissue", "segmentation of aluminium", "a short reach")
SAID = {
    "nothing": {},
    "a method": {"hardening": "factor"},
    "a material": {"material": "soft_tissue"},
    "an energy law and a wall": {"exponent": 3.0, "second_material": "al", "second_path": "1 mm"},
}


@pytest.mark.parametrize(("kind", "said"), [*((k, "nothing") for k in KINDS), *(("as it is", s) for s in list(SAID)[1:])])
def test_a_study_and_the_command_correct_alike(files, tmp_path, kind, said):
    save(tmp_path / "projections.h5", projections())
    file, words = files / f"{kind}.json", SAID[said]
    of_study, record = corrected_in_a_study(tmp_path, calibrations={"wedges": str(file)}, correction=words)
    given = [w for k, v in words.items() for w in (("--method", v) if k == "hardening" else ("--set", f"{k}={v}"))]
    of_command, told = applied(tmp_path, str(file), str(tmp_path / "projections.h5"), *given)
    np.testing.assert_array_equal(of_study.valid, of_command.valid)
    for name in ("attenuation", "dark_field", "attenuation_variance", "dark_field_variance"):
        ours, theirs = (getattr(p, name)[of_command.valid] for p in (of_study, of_command))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    content = json.loads(file.read_text())
    expected = words.get("hardening", content["method"])
    assert record["method"] == expected
    assert f"{expected}: values at 45 keV" in told
    assert record["exponent"] == words.get("exponent", content["exponent"])
    assert record["material"] == words.get("material", content["wedge"]["material"])
    assert json.loads((tmp_path / "applied" / "record.json").read_text())["options"]["hardening"] == {
        k: v for k, v in record.items() if k != "told"
    }
    assert bool(record["overridden"]) == bool(words)
    assert told.count("overridden: ") == len(record["overridden"])


def test_what_a_file_says_matters(files):
    """Energy law, material, reach and method of the file each change the result."""
    start, results = projections(), {}
    for kind in ("as it is", "exponent 2", "look_up", "a short reach"):
        results[kind] = hardening(CorrectionPart(), calibration=files / f"{kind}.json")(start)
    centre = np.s_[:, :, :, 12:28]
    usual, other = (results[k].dark_field[centre] for k in ("as it is", "exponent 2"))
    assert np.median(np.abs(other / usual - 1)) > 0.1
    assert np.abs(results["look_up"].dark_field - results["as it is"].dark_field).max() > 0.01
    assert results["as it is"].valid.all()
    # What studies made of a file before: its spectra alone, with their own material, energy law and method.
    dropped = CorrectionPart(hardening="inversion", material="soft_tissue", exponent=3.55)
    off = hardening(dropped, calibration=files / "exponent 2.json")(start).dark_field[centre] / other - 1
    print(
        f"-ln D higher by {100 * off.min():.0f} to {100 * off.max():.0f} % with the file's material and energy law dropped"
    )
    assert off.min() > 0.3
    assert not results["a short reach"].valid.all()


def test_another_material_drops_the_measured_look_up_and_keeps_the_attenuation_that_is_covered(files):
    plain = hardening(CorrectionPart(), calibration=files / CALIBRATION)
    bone = hardening(CorrectionPart(material="bone"), calibration=files / CALIBRATION)
    assert plain.knowledge.wedge is not None
    assert bone.knowledge.wedge is None
    covered = [k.max_thickness_m * k.response.attenuation_of(k.material)[1] for k in (plain.knowledge, bone.knowledge)]
    assert covered[0] == pytest.approx(covered[1], rel=1e-9)
    assert any(line.startswith("material: bone (file: water)") for line in bone.overridden)
    assert any(line.startswith("wedge: not used") for line in bone.overridden)


def test_another_reference_energy_is_refused_until_it_is_said(files, tmp_path):
    save(tmp_path / "projections.h5", projections())
    wedges, other = {"wedges": str(files / CALIBRATION)}, {**INSTRUMENT, "reference_energy": "60 keV"}
    path = study(tmp_path, calibrations=wedges, instrument=other)
    with pytest.raises(DarklungError, match="refer to 45 keV, the instrument's to 60 keV; say instrument") as error:
        list_tasks(path)
    assert str(error.value).startswith(f"sources.mice: {files / CALIBRATION}: ")
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(DarklungError, match=r"correction\.energy: wanted the instrument's reference energy, 60 keV"):
        list_tasks(study(tmp_path, calibrations=wedges, instrument=other, correction={"energy": "50 keV"}))
    said = {"energy": "60 keV"}
    of_study, record = corrected_in_a_study(tmp_path, calibrations=wedges, instrument=other, correction=said)
    assert record["energy_kev"] == 60
    assert "energy: 60 keV (file: 45 keV)" in record["overridden"]
    of_command, _ = applied(tmp_path, str(files / CALIBRATION), str(tmp_path / "projections.h5"), "--set", "energy=60 keV")
    np.testing.assert_allclose(of_study.dark_field, of_command.dark_field, rtol=0, atol=1e-6)
    # Converted, not relabelled: the same object at 60 keV attenuates and scatters less.
    at_45 = hardening(CorrectionPart(), calibration=files / CALIBRATION)(projections())
    law = (60 / 45) ** -load_calibration(files / CALIBRATION).knowledge.exponent
    ratio = np.median((of_study.dark_field / at_45.dark_field)[:, :, :, 14:26])
    assert ratio == pytest.approx(law, rel=1e-3)


def test_without_spectra_nothing_is_corrected_and_a_method_is_refused():
    start = projections()
    nothing = hardening(CorrectionPart())
    assert nothing(start) is start
    assert nothing.told() == ["none: no spectra are known"]
    with pytest.raises(DarklungError, match=r"correction\.hardening: look_up needs spectra: .* got neither"):
        hardening(CorrectionPart(hardening="look_up"))


def test_each_site_has_its_own_files_and_each_is_checked_for_its_kind(files, tmp_path):
    (tmp_path / "mine.json").write_text((files / "exponent 2.json").read_text())
    sites = {"north": {"calibrations": {"wedges": "mine.json"}}, "south": {}}
    path = study(tmp_path, sites=sites)
    tasks = tasks_of(path)
    north, south = tasks["correct/train-0001"], tasks["correct/train-0002"]
    assert north.files == {"wedges": (tmp_path / "mine.json").resolve()}
    assert south.files == {}
    keys = task_keys(list(tasks.values()))
    (tmp_path / "mine.json").write_text((files / "as it is.json").read_text())
    changed = task_keys(tasks_of(path).values())
    assert changed[north.name] != keys[north.name]
    assert changed[south.name] == keys[south.name]
    sites = {"north": {"calibrations": {"spheres": "mine.json", "fibres": "none.json"}}}
    with pytest.raises(DarklungError) as error:
        read_study(study(tmp_path, sites=sites))
    place = "sources.mice.sites.north.calibrations"
    assert str(error.value).splitlines() == [
        f"{place}.spheres: {tmp_path / 'mine.json'}: wanted a calibration of spheres, got one of wedges",
        f"{place}.fibres: {tmp_path / 'none.json'}: no such file",
    ]


def test_what_is_overridden_is_told_and_stays_with_the_case(files, tmp_path):
    wedges = {"wedges": str(files / CALIBRATION)}
    told = list_tasks(study(tmp_path, calibrations=wedges, correction={"exponent": 3.0}))
    assert "correction: inversion: values at 45 keV; beyond the wedge nothing is valid" in told
    assert "correction: overridden: exponent: 3 (file: 3.55)" in told
    tasks = tasks_of(study(tmp_path, calibrations=wedges, correction={"exponent": 3.0}))
    kept = tasks["cases/train-0001"].parameters["about"]["provenance"]["correction"]
    assert (kept["exponent"], kept["overridden"]) == (3.0, ["exponent: 3 (file: 3.55)"])


PLUGIN = """
    from dataclasses import replace

    def halved(projections, knowledge):
        return replace(projections, dark_field=projections.dark_field / 2)

    def nothing(projections, knowledge):
        return None

    def holes(projections, knowledge):
        return replace(projections, dark_field=projections.dark_field * float("nan"))

    def one_view(projections, knowledge):
        from darklung.core.types import PROJECTION_MAPS, Projections
        geometry = replace(projections.geometry, angles_rad=projections.geometry.angles_rad[:1])
        maps = {name: getattr(projections, name)[:, :1] for name in PROJECTION_MAPS}
        return Projections(**maps, directions_rad=projections.directions_rad, geometry=geometry)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "my_hardening.py").write_text(textwrap.dedent(PLUGIN))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_hardening"
    sys.modules.pop("my_hardening", None)


def test_a_function_of_ones_own_counts_in_the_key_and_what_it_returns_is_checked(plugin, files, tmp_path):
    part = CorrectionPart(hardening=f"{plugin}:halved")
    start = projections()
    np.testing.assert_array_equal(hardening(part, calibration=files / CALIBRATION)(start).dark_field, start.dark_field / 2)
    assert part.plugins() == (f"{plugin}:halved",)
    assert CorrectionPart().plugins() == ()
    path = study(tmp_path, correction={"hardening": f"{plugin}:halved"})
    before = task_keys(tasks_of(path).values())
    source = tmp_path / "my_hardening.py"
    source.write_text(source.read_text().replace("/ 2", "/ 3"))
    after = task_keys(tasks_of(path).values())
    stages = {name.split("/")[0] for name in after if after[name] != before[name]}
    assert "correct" in stages
    assert not stages & {"cohort", "phantom", "scan", "retrieve"}
    for name, told in (
        ("nothing", "wanted Projections to be returned, got NoneType"),
        ("holes", "dark_field: 3840 values are not finite"),
        ("one_view", r"of shape \(2, 24, 2, 40\), got \(2, 1, 2, 40\)"),
    ):
        with pytest.raises(DarklungError, match=f"my_hardening:{name}: {told}|my_hardening:{name}: .*{told}") as error:
            hardening(replace_method(part, f"{plugin}:{name}"), calibration=files / CALIBRATION)(start)
        assert len(str(error.value).splitlines()) == 1


def replace_method(part, name):
    return part.model_copy(update={"hardening": name})


def test_a_plug_in_that_gives_negative_variances_is_told():
    from darklung.core.contracts import check_projections

    start = projections()
    wrong = replace(start, dark_field_variance=-start.dark_field_variance)
    with pytest.raises(DarklungError, match=r"mine: dark_field_variance: wanted variances >= 0, got -0\.0001"):
        check_projections("mine", wrong, start.directions_rad, start.geometry)
