"""A volume of a run of ours knows the energy of its values, by the records that lead to its correction."""

import numpy as np
import pytest

from darklung.core.types import Image
from darklung.flow import chain
from darklung.flow.expected import expected_images
from darklung.io.documents import validate
from darklung.io.images import save_image
from darklung.pipeline.record import read_json, write_json, write_record
from darklung.steps import correct
from darklung.steps.recorded_energy import recorded_energy_kev
from darklung.study.calibrations import CalibrationsPart
from darklung.study.correction import CorrectionPart
from darklung.study.scanner import InstrumentPart
from darklung.study.study import Study


def write(place, inputs, parameters):
    place.mkdir(parents=True)
    write_record(place / "record.json", {"key": "k", "parameters": parameters, "inputs": inputs})


@pytest.fixture
def volume(tmp_path):
    """A run folder with a corrected and a resampled volume."""
    instrument = validate({"reference_energy": "62 keV"}, InstrumentPart, "instrument")
    known = correct.known_of(CorrectionPart(), instrument, CalibrationsPart())
    write(tmp_path / "correct/m", {"projections": ["retrieve/m"]}, known.model_dump(mode="json"))
    write(tmp_path / "reconstruct/m", {"projections": ["correct/m"]}, {})
    write(tmp_path / "resample/m", {"image": ["reconstruct/m"]}, {})
    image = Image(np.ones((1, 4, 4, 4), np.float32), ("attenuation",), ("1/m",), (1e-4,) * 3)
    for stage in ("reconstruct", "resample"):
        save_image(tmp_path / stage / "m/volume.ome.zarr", image)
    return tmp_path / "reconstruct/m/volume.ome.zarr"


def study_of(path, **more):
    part = {"from": "volumes", "files": [str(path)], "use": "predict", **more}
    return validate({"name": "p", "sources": {"input": part}}, Study, "study")


def test_the_energy_is_that_of_the_correction_unless_the_user_says_it(volume):
    resampled = volume.parents[2] / "resample/m/volume.ome.zarr"
    assert recorded_energy_kev(volume) == recorded_energy_kev(resampled) == 62.0
    for more, wanted in (({}, 62.0), ({"energy": "70 keV"}, 70.0)):
        study = study_of(volume, **more)
        (image,) = expected_images(study, "input")
        assert image.energy_kev == wanted
        (case,) = (t for t in chain.build(study).tasks if t.stage == "cases")
        assert case.parameters["about"]["provenance"]["energy_kev"] == wanted


@pytest.mark.parametrize("edit", [{"inputs": {"projections": ["../../elsewhere"]}}, {"inputs": {}}, {"inputs": None}])
def test_records_that_lead_nowhere_tell_nothing(volume, edit):
    place = volume.parent / "record.json"
    write_record(place, read_json(place) | edit)
    assert recorded_energy_kev(volume) is None


def test_an_edited_record_and_one_with_files_of_its_own_tell_nothing(volume):
    place = volume.parents[2] / "correct/m/record.json"
    record = read_json(place)
    calibrated = record["parameters"] | {"calibrations": {"wedges": "/somewhere/calibration.json"}}
    write_record(place, record | {"parameters": calibrated})
    assert recorded_energy_kev(volume) is None
    write_record(place, record | {"parameters": {"other": 1}})
    assert recorded_energy_kev(volume) is None
    write_record(place, record)
    assert recorded_energy_kev(volume) == 62.0
    record["parameters"]["instrument"]["reference_energy"] = "80 keV"
    write_json(place, record)
    assert recorded_energy_kev(volume) is None
