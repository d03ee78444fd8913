"""What a volume tells of its soft tissue, where no instrument is known."""

import numpy as np
import pytest

from darklung.calibrate.file import curve_document, save_calibration
from darklung.calibrate.spheres import SphereCalibration
from darklung.core.checks import DarklungError
from darklung.insert.scale import own_tissue_per_m
from darklung.steps.insertion import rows
from darklung.steps.insertion.parameters import Parameters, Paths
from darklung.steps.insertion.rows import beam_told
from darklung.steps.insertion.scale import read_scale
from darklung.study.insertion import InsertOptions

VOXEL_M = 2e-4


def chest(tissue: float, lung: float) -> tuple[np.ndarray, np.ndarray]:
    """A cylinder of tissue with a lung in it and ribs of four times the tissue's attenuation close to the lung."""
    rng = np.random.default_rng(1)
    z, y, x = np.indices((30, 100, 100)) - np.array([15, 50, 50]).reshape(3, 1, 1, 1)
    region = (y**2 + x**2) < 25**2
    body = (y**2 + x**2) < 45**2
    ribs = body & ~region & (np.abs(np.hypot(y, x) - 29) < 2) & (z % 10 < 4)
    values = np.where(region, lung, np.where(ribs, 4 * tissue, np.where(body, tissue, 0.0)))
    return values + rng.normal(0, 0.03 * tissue, values.shape), region


@pytest.mark.parametrize("ratio", [3.2, 1.9])
def test_own_tissue_is_the_wall_and_not_the_ribs(ratio):
    values, region = chest(20.0, 20.0 / ratio)
    assert own_tissue_per_m(values, region, VOXEL_M) == pytest.approx(20.0, rel=0.02)


def test_an_excised_lung_tells_none():
    values, region = chest(20.0, 6.0)
    with pytest.raises(DarklungError, match="no soft tissue around the lungs"):
        own_tissue_per_m(np.where(region, values, 0.0), region, VOXEL_M)


def calibration(path, lengths_um):
    """A calibration with one response to spheres for each ξ."""
    measured = np.array([1e-6, 3e-6, 9e-6]), np.array([0.2, 0.5, 0.4]), np.full(3, 1e-3)
    fits = [SphereCalibration(*measured, 1e8, xi * 1e-6, 0.0, np.eye(3), 0.01, setting=f"{xi} um") for xi in lengths_um]
    told = {"correlation_length_m": fits[0].correlation_length_m, "curves": [curve_document(fit) for fit in fits]}
    save_calibration(path, "spheres", "powders", {}, **told, models=[])
    return str(path)


@pytest.mark.parametrize("lengths", [(1.0, 2.0), (2.0, 1.0), (1.0, 1.0, 1.5)])
def test_a_calibration_of_several_settings_is_no_scale(tmp_path, lengths):
    path = calibration(tmp_path / "c.json", lengths)
    with pytest.raises(DarklungError, match=r"--scale: .*c\.json: is of 2 settings \(ξ 1 um, .* um\)"):
        read_scale(path)


@pytest.mark.parametrize("settings", [1, 2])
def test_settings_of_one_correlation_length_are_one_scale(tmp_path, settings):
    assert read_scale(calibration(tmp_path / "c.json", [1.25] * settings)).correlation_length_m == pytest.approx(1.25e-6)


def copy(scale, **paths):
    return Parameters(
        source="m", animal="m", copy_number=0, wanted=(), options=InsertOptions(), scale=scale, paths=Paths(**paths)
    )


def test_copies_tell_the_beam_that_source_or_instrument_say(tmp_path, monkeypatch):
    assert beam_told(copy("own")) == {}
    instrument = read_scale("mission_ct")
    told = {"energy_kev": instrument.energy_kev, "correlation_length_m": instrument.correlation_length_m}
    assert beam_told(copy("mission_ct")) == told
    assert beam_told(copy(calibration(tmp_path / "c.json", [1.25]))) == {"correlation_length_m": pytest.approx(1.25e-6)}
    monkeypatch.setattr(rows, "recorded_energy_kev", lambda path: {"v.ome.zarr": 62.0}.get(path.name))
    assert beam_told(copy("own", volume="v.ome.zarr")) == {"energy_kev": 62.0}
    assert beam_told(copy("own", source="v.ome.zarr", volume="w.ome.zarr")) == {}
    assert beam_told(copy("mission_ct", source="v.ome.zarr"))["energy_kev"] == 62.0
