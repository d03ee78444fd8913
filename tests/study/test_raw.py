"""Scans that stay on disk: retrieved view by view into the same file as those that fit into memory."""

from __future__ import annotations

import h5py
import numpy as np
import yaml

from darklung.core.random import stream
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.io.hdf5 import load
from darklung.study.raw import retrieve_described


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
    for name in ("overview.png", "quality.html", "summary.json"):
        assert (tmp_path / "streamed" / "retrieve" / "scan" / name).is_file()
