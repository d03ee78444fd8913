"""The commands on measured data, as a user calls them; skipped where the data folder is absent."""

import json
import os
from pathlib import Path

import pytest

from darklung.calibrate.file import load_calibration
from darklung.commands.calibrate_told import spheres_told
from darklung.commands.measurements import read_settings
from darklung.commands.retrieve import retrieve_described
from darklung.flow.plan import plan
from darklung.io.tables import load_table
from darklung.steps.calibrate.spheres import calibrate_spheres
from darklung.study.study import read_study

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("DARKLUNG_DATA", ROOT / "../shared/data"))
EXAMPLES = ROOT / "examples/real"

pytestmark = [
    pytest.mark.slow(70),
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"measured data are not in {DATA} ($DARKLUNG_DATA)"),
]


@pytest.fixture(autouse=True)
def _data_folder(monkeypatch):
    monkeypatch.setenv("DARKLUNG_DATA", str(DATA.resolve()))


def test_the_grating_radiograph(tmp_path):
    text = retrieve_described(EXAMPLES / "grating_radiograph.yaml", tmp_path)
    (row,) = load_table(tmp_path / "scans")
    assert row["flat_visibility"] == pytest.approx(0.209, abs=0.005)
    assert "grating_radiograph" in text
    record = json.loads((tmp_path / "retrieve/grating_radiograph/record.json").read_text())
    assert len(record["reads"]) == 22


def test_microspheres_become_a_calibration_and_a_second_call_retrieves_nothing(tmp_path):
    options = {"diameter": "{diameter_um} um", "thickness": "{thickness_mm} mm"}

    def calibrated():
        series = read_settings([EXAMPLES / "microspheres.yaml"], tmp_path, workers=1)
        return spheres_told(calibrate_spheres(series, tmp_path, **options))

    text = calibrated()
    assert text.count(" um   ") >= 11
    saved = load_calibration(tmp_path / "calibration.json")
    (curve,) = saved.curves
    assert 0.5e-6 < curve.correlation_length_m < 3e-6
    assert curve.residual < 0.06
    assert curve.range_m == pytest.approx([0.166e-6, 7.75e-6])
    assert sum(name.endswith(".hdf5") for name in saved.provenance["inputs"]) == 11
    before = (tmp_path / "retrieve/7.75_um/projections.h5").stat().st_mtime_ns
    assert calibrated() == text
    assert (tmp_path / "retrieve/7.75_um/projections.h5").stat().st_mtime_ns == before


def test_the_lobe_study_uses_thirty_lobes_of_six_mice_and_keeps_mice_apart():
    path = EXAMPLES / "mouse_lobes.yaml"
    tasks = plan(read_study(path)).tasks
    copies = [t for t in tasks if t.stage == "insert"]
    assert len({t.parameters["source"] for t in copies}) == 30
    assert len({t.parameters["animal"] for t in copies}) == 6
    trainings = [t for t in tasks if t.stage == "train"]
    assert trainings
    for task in trainings:
        training, validation = (set(task.parameters[f"{s}_animals"]) for s in ("training", "validation"))
        assert len(training) == 4
        assert len(validation) == 1
        assert not training & validation
    sources = next(t for t in tasks if t.stage == "report").parameters["sources"]
    refused = [r["lobe"] for r in sources if r["used"] != "yes"]
    assert refused == [f"whole_{i}" for i in range(5)]
