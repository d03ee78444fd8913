"""Scans that stay on disk: retrieved view by view into the same file as those that fit into memory."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import yaml

from darklung.commands.retrieve import retrieve_described
from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.io.hdf5 import load
from darklung.retrieve import overview


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """The maps alone: drawing takes most of the time, and is tested elsewhere."""
    monkeypatch.setattr(overview, "overview_png", lambda *_, **__: None)
    monkeypatch.setattr("darklung.steps.quality.write_quality", lambda path, page: path)


def described(folder, data, **changes):
    """A description of one direction of float or integer frames (view, step, row, col) and flats."""
    np.save(folder / "s.npy", data[0])
    np.save(folder / "f.npy", data[1])
    content = {
        "name": "scan",
        "sample": {"kind": "npy", "files": "s.npy", "axes": ["view", "step", "row", "col"]},
        "flat": {"kind": "npy", "files": "f.npy", "axes": ["flat", "step", "row", "col"]},
        "steps": {"count": 5, "endpoint_repeated": False},
        "pixel": "75 um",
        **changes,
    }
    path = folder / "scan.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def retrieved(folder, path):
    retrieve_described(path, folder / "out", workers=1)
    return load(folder / "out" / "retrieve" / "scan" / "projections.h5", Projections)


def drifting(rng, *, view_dose, flat_dose, row_gain=None):
    """Frames of exact sinusoids: attenuation 0.3 in the middle columns, doses of each view and flat, gain of each row."""
    angle = 2 * np.pi * np.arange(5)[:, None, None] / 5 + rng.uniform(0, 6, (12, 20))
    curve = 1e4 * (1 + 0.3 * np.cos(angle))
    body = np.exp(-0.3 * ((np.arange(20) > 5) & (np.arange(20) < 15)))
    rows = np.ones(12) if row_gain is None else row_gain
    sample = np.asarray(view_dose)[:, None, None, None] * curve * body * rows[:, None]
    return sample, np.asarray(flat_dose)[:, None, None, None] * curve


def test_doses_of_a_monitor_are_taken_out(tmp_path):
    doses = {"view_doses": [2.0, 2.2, 1.9], "flat_doses": [2.1, 1.0]}
    data = drifting(stream(1, "raw"), view_dose=doses["view_doses"], flat_dose=doses["flat_doses"])
    times = {"view_times": ["1 s", "2 s", "3 s"], "flat_times": ["0 s", "4 s"]}
    for reference in ("mean", "interpolate"):
        options = {"normalise": "monitor", "reference": reference}
        found = retrieved(tmp_path, described(tmp_path, data, retrieval=options, **doses, **times))
        np.testing.assert_allclose(found.attenuation[0, :, :, 8:12], 0.3, atol=1e-5)
        np.testing.assert_allclose(found.attenuation[0, :, :, :4], 0.0, atol=1e-5)
    with pytest.raises(DarklungError, match="view_doses: wanted 3 values, got 2"):
        retrieved(tmp_path, described(tmp_path, data, retrieval=options, view_doses=[1, 2], flat_doses=[1, 1], **times))
    with pytest.raises(DarklungError, match="monitor needs view_doses and flat_doses"):
        retrieved(tmp_path, described(tmp_path, data, retrieval=options))


def test_rows_that_drift_apart_are_levelled_by_their_air(tmp_path):
    gain = 1 + 0.05 * np.sin(np.arange(12))
    data = drifting(stream(2, "raw"), view_dose=[1.0, 1.1], flat_dose=[1.0], row_gain=gain)
    air = {"air_cols": [[0, 4], [16, 19]]}
    by_row = retrieved(tmp_path, described(tmp_path, data, retrieval={"normalise": "air_rows", **air}))
    np.testing.assert_allclose(by_row.attenuation[0, :, :, 8:12], 0.3, atol=1e-5)
    by_view = retrieved(tmp_path, described(tmp_path, data, retrieval={"normalise": "air", **air}))
    assert np.ptp(by_view.attenuation[0, 0, :, 10]) > 0.05
    assert by_view.attenuation[0, 0, :, 10].mean() == pytest.approx(0.3, abs=0.01)


def test_bad_pixels_are_found_and_covariances_written(tmp_path):
    rng = stream(3, "raw")
    sample, flat = (rng.poisson(a).astype(np.uint16) for a in drifting(rng, view_dose=[0.2], flat_dose=[0.2] * 4))
    sample[:, :, 4, 7] = flat[:, :, 4, 7] = 60_000
    options = {"find_bad_pixels": True, "covariance": True}
    found = retrieved(tmp_path, described(tmp_path, (sample, flat), retrieval=options))
    assert not found.valid[0, 0, 4, 7]
    assert found.valid.sum() == 12 * 20 - 1
    with h5py.File(tmp_path / "out" / "retrieve" / "scan" / "covariance.h5") as file:
        assert set(file) == {"attenuation_dark_field", "attenuation_phase", "dark_field_phase"}
        assert file["dark_field_phase"].shape == (1, 1, 12, 20)
        assert np.isnan(file["dark_field_phase"][0, 0, 4, 7])


def test_large_scans_are_streamed_to_the_same_result(tmp_path, monkeypatch):
    rng = stream(0, "raw")
    angle = 2 * np.pi * np.arange(5)[:, None, None] / 5 + rng.uniform(0, 6, (10, 12))
    np.save(tmp_path / "s.npy", rng.poisson(900 * (1 + 0.3 * np.cos(angle)), (2, 21, 5, 10, 12)).astype(np.uint16))
    np.save(tmp_path / "f.npy", rng.poisson(1200 * (1 + 0.4 * np.cos(angle)), (2, 1, 5, 10, 12)).astype(np.uint16))
    content = {
        "name": "scan",
        "sample": {"kind": "npy", "files": "s.npy", "axes": ["direction", "view", "step", "row", "col"]},
        "flat": {"kind": "npy", "files": "f.npy", "axes": ["direction", "flat", "step", "row", "col"]},
        "steps": {"count": 5, "endpoint_repeated": False},
        "directions": ["0 deg", "90 deg"],
        "angles": {"first": "0 deg", "step": "8 deg"},
        "pixel": "75 um",
    }
    path = tmp_path / "scan.yaml"
    path.write_text(yaml.safe_dump(content))
    retrieve_described(path, tmp_path / "whole", workers=1)
    # What a scan above the limit does, without one.
    from darklung.io import frames

    monkeypatch.setattr(frames.load_scan, "__kwdefaults__", {"eager_bytes": 0})
    retrieve_described(path, tmp_path / "streamed", workers=1)
    one, two = (load(tmp_path / n / "retrieve" / "scan" / "projections.h5", Projections) for n in ("whole", "streamed"))
    for name in PROJECTION_MAPS:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    np.testing.assert_array_equal(one.geometry.angles_rad, two.geometry.angles_rad)
    np.testing.assert_array_equal(one.directions_rad, two.directions_rad)
    with h5py.File(tmp_path / "streamed" / "retrieve" / "scan" / "projections.h5") as file:
        assert file["attenuation"].chunks == (1, 1, 10, 12)
    summary = json.loads((tmp_path / "streamed" / "retrieve" / "scan" / "summary.json").read_text())
    assert (summary["views"], summary["directions"]) == (21, 2)


def test_the_table_of_results_takes_no_place_of_the_table_that_is_read(tmp_path):
    data = drifting(np.random.default_rng(1), view_dose=[1.0], flat_dose=[1.0])
    path = described(tmp_path, data, series={"table": "scans.csv", "name": "{who}"})
    table = tmp_path / "scans.csv"
    table.write_text("who\nmouse\n")
    with pytest.raises(DarklungError, match=r"scans\.csv: the description reads it"):
        retrieve_described(path, tmp_path, workers=1)
    assert table.read_text() == "who\nmouse\n"
