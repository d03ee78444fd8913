"""Hardening corrections as a study's choice: by name, with the spectra of a calibration file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from darklung.calibrate.file import load_calibration
from darklung.calibrate.hardening import hardening
from darklung.commands.calibrate_told import wedges_told
from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.correct.ladder import METHODS
from darklung.correct.response import SpectralResponse
from darklung.flow.plan import plan
from darklung.pipeline import task_keys
from darklung.steps.calibrate.measurements import read_table
from darklung.steps.calibrate.wedges import calibrate_wedges
from darklung.study.correction import CorrectionPart
from darklung.study.scanner import InstrumentPart
from darklung.study.study import read_study

EXAMPLES = Path(__file__).parents[2] / "examples" / "calibration"
TUBE = {"spectrum": "tube", "low": "20 keV", "high": "100 keV", "bins": 12, "design_energy": "60 keV"}
TUBE |= {"reference_energy": "60 keV"}


def slab(instrument, views=30) -> Projections:
    """12 mm of soft tissue in every ray."""
    response = SpectralResponse.of(instrument)
    attenuation, dark_field = response.measured(0.012 * response.attenuation_of("soft_tissue")[0])
    shape = (1, views, 1, 8)
    maps = {name: np.full(shape, 1e-6) for name in PROJECTION_MAPS[:-1]}
    maps |= {"attenuation": np.full(shape, attenuation), "dark_field": np.full(shape, dark_field)}
    geometry = ParallelGeometry(np.pi * np.arange(views) / views, 1, 8, 1e-3)
    return Projections(**maps, valid=np.ones(shape, bool), directions_rad=np.zeros(1), geometry=geometry)


def study(folder, *, calibrations=None, sites=None, instrument=None, **correction):
    more = {"calibrations": calibrations, "sites": sites, "instrument": instrument}
    mice = {"from": "simulation", "cohort": {"animals": 3, "test_animals": 0}}
    mice |= {name: value for name, value in more.items() if value is not None}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({"name": "one", "sources": {"mice": mice}, "processing": {"correction": correction}}))
    return path


def without_hardening(projections, instrument, part, calibration=None):
    return hardening(part, instrument=instrument, calibration=calibration)(projections)


@pytest.fixture(scope="module")
def wedge_file(tmp_path_factory):
    out = tmp_path_factory.mktemp("wedge")
    head, *rows = (EXAMPLES / "wedge.csv").read_text().splitlines()
    (out / "wedge.csv").write_text("\n".join([head, *rows[:13:2], *rows[13:19:2], *rows[19:]]))  # fewer steps are faster
    made = calibrate_wedges(
        read_table(out / "wedge.csv"),
        out,
        instrument=EXAMPLES / "instrument.yaml",
        thickness="{water_mm} mm",
        second="{bone_mm} mm",
        foam="foam",
    )
    return wedges_told(made), out / "calibration.json"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_by_name_and_all_but_none_remove_the_false_signal(method):
    instrument = InstrumentPart.model_validate(TUBE).instrument()
    start = slab(instrument)
    result = without_hardening(start, instrument, CorrectionPart(hardening=method))
    assert result.valid.all()
    if method == "none":
        assert result is start
        assert np.abs(start.dark_field).max() > 0.005
    else:
        np.testing.assert_allclose(result.dark_field, 0.0, atol=1e-3)


def test_a_container_of_known_walls_is_taken_into_account():
    instrument = InstrumentPart.model_validate(TUBE).instrument()
    response = SpectralResponse.of(instrument)
    walls = 0.002 * 2.699
    depth = 0.012 * response.attenuation_of("soft_tissue")[0] + walls * response.attenuation_of("al")[0]
    attenuation, dark_field = response.measured(depth)
    start = slab(instrument)
    start = Projections(
        **{
            **vars(start),
            "attenuation": start.attenuation * 0 + attenuation,
            "dark_field": start.dark_field * 0 + dark_field,
        }
    )
    known = CorrectionPart.model_validate({"hardening": "two_material", "second_material": "al", "second_path": "2 mm"})
    for method in ("two_material", "inversion"):
        part = known.model_copy(update={"hardening": method})
        np.testing.assert_allclose(without_hardening(start, instrument, part).dark_field, 0.0, atol=1e-3)
    assert np.abs(without_hardening(start, instrument, CorrectionPart(hardening="look_up")).dark_field).max() > 0.01


def test_the_wedge_command_recommends_the_inversion_and_saves_what_it_needs(wedge_file):
    text, path = wedge_file
    assert "recommended: inversion, calibrated: false -ln D at most" in text
    assert all(f"\n{method}" in text for method in METHODS)
    saved = load_calibration(path)
    assert saved.method == "inversion"
    assert len(saved.provenance["inputs"]) == 2
    assert all(len(digest) == 64 for digest in saved.provenance["inputs"].values())
    assert saved.knowledge.response.reference_energy_kev == 45


def test_a_study_takes_the_spectra_of_the_file_and_its_key_follows_the_content(wedge_file, tmp_path):
    _, path = wedge_file
    (tmp_path / "calibration.json").write_text(path.read_text())
    file = study(tmp_path, calibrations={"wedges": "calibration.json"}, instrument={"reference_energy": "45 keV"})

    def key():
        tasks = plan(read_study(file)).tasks
        return task_keys(tasks)["correct/train-0001"], tasks

    before, tasks = key()
    correct = next(t for t in tasks if t.name == "correct/train-0001")
    assert correct.files["wedges"] == (tmp_path / "calibration.json").resolve()
    (tmp_path / "calibration.json").write_text(path.read_text().replace('"exponent": 3.55', '"exponent": 3.5'))
    assert key()[0] != before

    section = yaml.safe_load((EXAMPLES / "instrument.yaml").read_text())["instrument"]
    believed = InstrumentPart.model_validate(section).instrument()
    knowledge = load_calibration(path).knowledge
    wedge = knowledge.wedge
    start = slab(believed)
    start = Projections(
        **{
            **vars(start),
            "attenuation": start.attenuation * 0 + wedge.attenuation[5],
            "dark_field": start.dark_field * 0 + wedge.dark_field[5],
        }
    )
    with_file = without_hardening(start, believed, CorrectionPart(), path)
    without = without_hardening(start, believed, CorrectionPart())
    assert abs(float(with_file.dark_field[0, 0, 0, 0])) < 0.006
    assert abs(float(without.dark_field[0, 0, 0, 0])) > 0.01


def test_mistakes_are_told_in_one_line(wedge_file, tmp_path):
    _, path = wedge_file
    with pytest.raises(DarklungError, match="correction: hardening correction: 'magic' is not known; known: factor"):
        read_study(study(tmp_path, hardening="magic"))
    with pytest.raises(DarklungError, match="second_material: 'jam' is not known; known: adipose"):
        read_study(study(tmp_path, second_material="jam"))
    instrument = InstrumentPart.model_validate(TUBE).instrument()
    with pytest.raises(DarklungError, match=r"nothing\.json: no such file"):
        without_hardening(slab(instrument), instrument, CorrectionPart(), tmp_path / "nothing.json")
    with pytest.raises(DarklungError, match=r"calibrations: belong to one scanner"):
        read_study(study(tmp_path, calibrations={"wedges": str(path)}, sites={"a": {}, "b": {}}))
