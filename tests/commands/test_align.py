"""darklung align: what was found is told, and the new file is upright."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from darklung.commands import cli
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import Projections
from darklung.io.hdf5 import load, save

ROWS, COLS, VIEWS = 30, 50, 24


@pytest.fixture
def tilted(tmp_path):
    """Two blobs on a detector that is turned by 0.04, with the axis at column 26.2, and a bad pixel."""
    angles = np.linspace(0, 2 * np.pi, VIEWS, endpoint=False)
    row, col = np.meshgrid(np.arange(ROWS) - (ROWS - 1) / 2, np.arange(COLS) - 26.2, indexing="ij")
    u, w = col * np.cos(0.04) - row * np.sin(0.04), col * np.sin(0.04) + row * np.cos(0.04)
    maps = np.zeros((1, VIEWS, ROWS, COLS), np.float32)
    for x, y, z, width in ((7, -3, -6, 4.0), (-6, 5, 5, 3.5)):
        s = (x * np.cos(angles) + y * np.sin(angles))[:, None, None]
        maps[0] += np.exp(-((u - s) ** 2 + (w - z) ** 2) / (2 * width**2))
    maps += 0.005 * stream(0, "align").normal(size=maps.shape)
    one, valid = np.ones_like(maps), np.ones(maps.shape, bool)
    valid[0, 3, 10, 10] = False
    geometry = ParallelGeometry(angles, ROWS, COLS, 1e-4)
    errors = (0.01 * one, 0.01 * one, 0.01 * one, 0.1 * one, 0.2 * one)
    save(tmp_path / "projections.h5", Projections(maps, maps, 0 * maps, *errors, valid, np.array([0.0]), geometry))
    return tmp_path / "projections.h5"


def test_axis_and_tilt_are_told_and_taken_out(tilted, tmp_path):
    out = tmp_path / "aligned.h5"
    result = CliRunner().invoke(cli.app, ["align", str(tilted), "--out", str(out), "--shifts"])
    assert result.exit_code == 0, result.output
    assert "axis: column 26.2" in result.output
    assert "tilt: 2.2" in result.output or "tilt: 2.3" in result.output
    numbers = json.loads((tmp_path / "aligned.h5.json").read_text())
    assert numbers["tilt_rad"] == pytest.approx(0.04, abs=0.003)
    assert np.abs(numbers["shifts_px"]).max() < 0.3
    aligned = load(out, Projections)
    assert aligned.geometry.axis_col == pytest.approx(26.2, abs=0.05)
    again = CliRunner().invoke(cli.app, ["align", str(out), "--out", str(tmp_path / "again.h5")])
    assert abs(json.loads((tmp_path / "again.h5.json").read_text())["tilt_rad"]) < 0.003, again.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--axis", "left"], "align: axis: wanted estimate or a column (wanted a number, got 'left')"),
        (["--tilt", "3"], "wanted an angle with its unit"),
        (["--out", "somewhere"], "somewhere: wanted a file ending in .h5"),
    ],
)
def test_mistakes_end_in_one_line(tilted, tmp_path, monkeypatch, capsys, options, words):
    monkeypatch.setattr(sys, "argv", ["darklung", "align", str(tilted), "--out", str(tmp_path / "a.h5"), *options])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line or "angle" in line
