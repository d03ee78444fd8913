"""Scans copied into one standard file: the same again through the description beside it, whatever they came from."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from darklung.commands.archive import import_described
from darklung.commands.cli import app
from darklung.core.checks import DarklungError
from darklung.core.types import Scan
from darklung.io.archive import import_scans
from darklung.io.description import read_raw
from darklung.io.frames import LazyFrames, load_scan, load_scans
from darklung.io.hdf5 import load
from darklung.retrieve.stepping import retrieve

STEPS, VIEWS, FLATS, ROWS, COLS = 4, 3, 2, 6, 7
FIELDS = ("frames", "flats", "step_phase_rad", "directions_rad", "view_time_s", "flat_time_s", "dark_frame", "bad_pixels")


@pytest.fixture
def described(tmp_path):
    """Two directions, dark frames, bad pixels, times, a region, explicit phases, and retrieval options."""
    rng = np.random.default_rng(3)
    angle = np.arange(STEPS)[:, None, None] * np.pi / 2 + rng.uniform(0, 6, (ROWS, COLS))
    sample = rng.poisson(900 * (1 + 0.3 * np.cos(angle)), (VIEWS, 2, STEPS, ROWS, COLS)).astype(np.uint16)
    flat = rng.poisson(1200 * (1 + 0.4 * np.cos(angle)), (2, FLATS, STEPS, ROWS, COLS)).astype(np.uint16)
    np.save(tmp_path / "s.npy", sample)
    np.save(tmp_path / "f.npy", flat)
    np.save(tmp_path / "d.npy", rng.integers(3, 9, (3, ROWS, COLS)))
    np.save(tmp_path / "b.npy", rng.random((ROWS, COLS)) < 0.1)
    content = {
        "name": "mouse 7",
        "sample": {"kind": "npy", "files": "s.npy", "axes": ["view", "direction", "step", "row", "col"]},
        "flat": {"kind": "npy", "files": "f.npy", "axes": ["direction", "flat", "step", "row", "col"]},
        "dark_frame": {"kind": "npy", "files": "d.npy", "axes": ["repeat", "row", "col"]},
        "bad_pixels": {"kind": "npy", "files": "b.npy", "axes": ["row", "col"]},
        "steps": {"phases": ["0 deg", "90 deg", "3.1 rad", "270 deg"]},
        "pixel": "75 um",
        "directions": ["0 deg", "90 deg"],
        "angles": {"first": "0 deg", "step": "60 deg"},
        "view_times": {"first": "10 s", "step": "5 s"},
        "flat_times": ["0 s", "40 s"],
        "axis_col": 3.25,
        "region": {"cols": [1, 6]},
        "retrieval": {"reference": "interpolate", "method": "likelihood", "most_misfit": 9},
    }
    path = tmp_path / "scan.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("form", ["hdf5", "nxtomo"])
@pytest.mark.parametrize("eager", [0, 2**30])
def test_the_copy_reads_as_the_original(described, tmp_path, form, eager, monkeypatch):
    monkeypatch.setattr("darklung.io.frames.EAGER_BYTES", eager)
    ((_, first, _),) = load_scans(described, eager_bytes=eager)
    import_described(described, tmp_path / "copy.h5", form=form)
    ((name, second, _),) = load_scans(tmp_path / "copy.yaml", eager_bytes=eager)
    assert name == "mouse 7"
    assert isinstance(second.frames, LazyFrames) == (eager == 0)
    for field in FIELDS:
        np.testing.assert_allclose(np.asarray(getattr(second, field)), np.asarray(getattr(first, field)), err_msg=field)
    assert second.geometry.axis_col == first.geometry.axis_col
    np.testing.assert_allclose(second.geometry.angles_rad, first.geometry.angles_rad)
    assert second.geometry.pixel_m == first.geometry.pixel_m
    text = yaml.safe_load((tmp_path / "copy.yaml").read_text())
    assert text["retrieval"] == {"reference": "interpolate", "method": "likelihood", "most_misfit": 9.0}
    assert list(tmp_path.glob(".copy*")) == []


def test_the_copy_is_a_scan_for_other_parts_too(described, tmp_path):
    import_described(described, tmp_path / "copy.h5")
    whole = load(tmp_path / "copy.h5", Scan)
    assert whole.frames.shape == (2, VIEWS, STEPS, ROWS, COLS - 1)
    assert retrieve(whole).valid.any()


def test_command_and_folder(described, tmp_path):
    runner = CliRunner()
    result = runner.invoke(app, ["import", str(described), "--out", str(tmp_path / "archive")])
    assert result.exit_code == 0, result.output
    assert "2 × 3 × 4 × 6 × 6 (direction, view, step, row, col)" in result.output
    result = runner.invoke(app, ["retrieve", str(tmp_path / "archive" / "mouse_7.yaml"), "--out", str(tmp_path / "maps")])
    assert result.exit_code == 0, result.output


def test_bad_counts_leave_no_file(described, tmp_path):
    with pytest.raises(DarklungError, match="form: 'zip' is not known"):
        import_described(described, tmp_path / "copy.h5", form="zip")
    sample = np.load(tmp_path / "s.npy").astype(float)
    sample[2, 1, 0, 0, np.flatnonzero(~np.load(tmp_path / "b.npy")[0])[1]] = -3
    np.save(tmp_path / "s.npy", sample)
    with pytest.raises(DarklungError, match=r"negative counts"):
        import_described(described, tmp_path / "copy.h5")
    with pytest.raises(DarklungError, match=r"frames\[1, 2\]: negative counts, the lowest is -3"):
        import_lazily(described, tmp_path / "copy.h5")
    assert not list(tmp_path.glob("*copy*"))


def import_lazily(described, out):
    """With frames that stay on disk, as those of a large scan do."""
    (raw, _), *_ = read_raw(described)
    import_scans([(raw, lambda: load_scan(raw, described, eager_bytes=0))], out)
