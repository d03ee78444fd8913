"""Two scanners of other spectrum and visibility: in 1/m they differ several times, in units of an object they agree."""

import importlib.util
from pathlib import Path

import pytest
import yaml

from darklung.calibrate.units import attenuation_of
from darklung.commands.calibrate_told import unit_told
from darklung.commands.run import list_tasks, run_study
from darklung.core.checks import DarklungError
from darklung.flow.expected import expected_images
from darklung.io.case import load_case
from darklung.io.documents import validate
from darklung.steps.calibrate.unit import Absorber, calibrate_unit
from darklung.study.study import Study

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "units.py"
spec = importlib.util.spec_from_file_location("units_scene", BENCHMARK)
scene = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scene)
REFERENCE, ABSORBER, study = scene.REFERENCE, scene.ABSORBER, scene.study
# Boxes of the objects in the scene, for a file.
BOXES = {"zero": "0:12,4:10,40:56", "reference": "0:12,67:74,69:76", "name": "foam"}
SOLID = {"air": "0:12,4:10,40:56", "box": "0:12,69:76,19:26", "material": "water", "energy": "45 keV"}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scanners")
    return folder, *scene.compared(folder)


@pytest.fixture
def scans(compared):
    return compared[0] / "scans"


def write(folder, content):
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    return folder / "study.yaml"


def test_scanners_agree_on_foam_and_lung_by_objects_in_the_image(compared):
    _, measured, told, cases = compared
    for (name, channel), ratio in told.items():
        if (most := scene.JUDGED[name][1]) is not None:
            assert abs(measured[name, channel] - 1) > 0.25
            assert abs(ratio - 1) < most, (name, channel, ratio)
    # What no linear scale can do.
    assert told["bone", "attenuation"] > 1.3
    for case in cases.values():
        units = [case.channels.unit(name) for name in ("dark_field", "attenuation")]
        assert units == ["SU", "1/m"]
        assert float(case.channels.channel("dark_field")[scene.middle("foam")].mean()) == pytest.approx(1000, rel=0.02)
        foam, solid = (case.about.provenance[k] for k in ("scatter_unit", "attenuation_unit"))
        assert (foam["reference"], solid["material"]) == ("foam", "water")
        assert case.about.provenance["energy_kev"] == solid["energy_kev"] == 45
        for one in (foam, solid):
            assert 0 < one["reference_error_per_m"] < 0.02 * one["reference_per_m"]
            assert one["diameter_m"] == pytest.approx(4e-3, rel=0.05)
        lung = float(case.channels.channel("attenuation")[scene.middle("healthy lung")].mean())
        assert lung == pytest.approx(0.3 * attenuation_of("water", 45.0), rel=0.04)


def test_a_file_of_a_site_does_the_same(scans, tmp_path):
    sites = {}
    for name in scene.SCANNERS:
        made = calibrate_unit(scans / name / "volume.ome.zarr", tmp_path / name, **BOXES, absorber=Absorber(**SOLID))
        assert 0 < made.attenuation.reference_error_per_m < 0.02 * made.attenuation.reference_per_m
        assert f"is told as {attenuation_of('water', 45.0):.4g} /m, its value at 45 keV" in unit_told(made)
        (sites[name],) = study(scans, name, calibrations={"unit": str(tmp_path / name / "calibration.json")})[
            "sources"
        ].values()
    content = {**study(scans), "sources": sites}
    (image,) = expected_images(validate(content, Study, "study"), "low")
    assert (image.channels["dark_field"], image.energy_kev) == ("SU", 45)
    run_study(write(tmp_path, content), out=tmp_path / "run", workers=1)
    cases = {name: load_case(tmp_path / "run/cases" / name) for name in scene.SCANNERS}
    for (name, channel), ratio in scene.ratios({n: case.channels for n, case in cases.items()}).items():
        if (most := scene.JUDGED[name][1]) is not None:
            assert abs(ratio - 1) < most, (name, channel, ratio)
    assert cases["low"].about.provenance["energy_kev"] == 45


def test_the_unit_is_known_before_anything_runs(scans, tmp_path):
    found = validate(study(scans, "low", reference=REFERENCE), Study, "study")
    (image,) = expected_images(found, "low")
    assert image.channels["dark_field"] == "SU"
    assert "cases/low" in list_tasks(write(tmp_path, study(scans, "low", reference=REFERENCE)), out=tmp_path / "run")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"reference": REFERENCE | {"diameter": "1 mm"}}, "reference: cylinder of 1 mm: wanted at least 8 voxels across"),
        ({"reference": REFERENCE | {"shape": "cube"}}, "reference.shape"),
        ({"reference": REFERENCE | {"absorber": ABSORBER | {"material": "jam"}}}, "material: 'jam' is not known"),
        ({"reference": REFERENCE | {"absorber": ABSORBER | {"diameter": "1 mm"}}}, "wanted at least 8 voxels across"),
        ({"reference": REFERENCE | {"absorber": {"diameter": "4 mm", "material": "water"}}}, "absorber.energy: is missing"),
        ({"reference": {"diameter": "4 mm"}}, "reference.material: is missing"),
        ({"reference": REFERENCE, "calibrations": {"unit": "unit.json"}}, "calibrations.unit gives scatter units too"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(scans, tmp_path, source, told):
    with pytest.raises(DarklungError) as error:
        list_tasks(write(tmp_path, study(scans, "low", **source)), out=tmp_path / "run")
    assert told in str(error.value)


def test_absorbers_of_several_energies_are_refused(scans):
    content = study(scans, "low", "high", reference=REFERENCE)
    content["sources"]["high"]["reference"] = REFERENCE | {"absorber": ABSORBER | {"energy": "50 keV"}}
    with pytest.raises(DarklungError, match=r"absorber.energy: wanted one for all, got 45 keV \(low\), 50 keV \(high\)"):
        validate(content, Study, "study")


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        (REFERENCE | {"diameter": "8 mm"}, "low: reference: cylinder of 8 mm: "),
        (REFERENCE | {"absorber": ABSORBER | {"diameter": "8 mm"}}, "low: reference: cylinder of 8 mm: "),
        (
            REFERENCE | {"absorber": ABSORBER | {"material": "al"}},
            "low: absorber: wanted 120.5 /m of al (at 45 keV) within a factor of 2, got 29.8",
        ),
    ],
)
def test_an_object_that_is_not_there_is_one_line_with_the_animal(scans, tmp_path, reference, told):
    with pytest.raises(DarklungError) as error:
        run_study(write(tmp_path, study(scans, "low", reference=reference)), out=tmp_path / "run", workers=1)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_wants_the_whole_absorber():
    with pytest.raises(DarklungError, match="wanted --air, --absorber, --material and --energy, or none"):
        Absorber(**SOLID | {"energy": ""})
