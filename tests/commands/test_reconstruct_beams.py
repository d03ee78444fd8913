"""``darklung reconstruct`` in a cone beam, and with a detector that is tilted or lies off the axis."""

import json
import sys

import h5py
import numpy as np
import pytest
from scipy import ndimage

from darklung.commands import cli
from darklung.commands.reconstruct import reconstruct_files
from darklung.core.checks import DarklungError
from darklung.core.geometry import ConeGeometry, ParallelGeometry
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.io.hdf5 import save
from darklung.io.images import load_image
from darklung.io.projections import open_projections
from darklung.tomo.cone import ConeProjector
from darklung.tomo.projector import Projector

ROWS, COLS, VIEWS, PIXEL, FAR = 40, 28, 90, 1e-3, 0.15
BODY = (slice(9, 17), slice(7, 16), slice(9, 21))  # off the middle along every axis


@pytest.fixture(scope="module")
def cone():
    angles = np.arange(VIEWS) * 2 * np.pi / VIEWS
    return ConeGeometry(angles, ROWS, COLS, PIXEL, FAR, axis_col=14.2, axis_row=21.0)


@pytest.fixture(scope="module")
def line(cone):
    body = np.zeros((ROWS, COLS, COLS), np.float32)
    body[BODY] = 20.0
    return ConeProjector(cone, body.shape, PIXEL, level_m=((ROWS - 1) / 2 - 21.0) * PIXEL).forward(body)


def write(path, line, *, source=True, turns=1.0, **attributes):
    with h5py.File(path, "w") as file:
        file["attenuation"], file["dark_field"] = line, 3 * line
        for name in ("attenuation", "dark_field"):
            file[f"{name}_variance"] = np.full(line.shape, 1e-4, np.float32)
        file["angles_rad"] = np.arange(VIEWS) * 2 * np.pi * turns / VIEWS
        file.attrs.update({"pixel_m": PIXEL, "axis_col": 14.2, **attributes})
        if source:
            file.attrs.update({"source_axis_m": FAR, "axis_row": 21.0})
    return path


def run(file, out, **changes):
    reconstruct_files(file, out, given={"memory": "1 GiB", **changes}, tell=lambda line: None)
    place = out / f"reconstruct/{file.stem}"
    return load_image(place / "volume.ome.zarr"), json.loads((place / "summary.json").read_text())


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch):
    monkeypatch.setattr("darklung.report.slices.slices_png", lambda *args, **kwargs: None)


def inside(volume):
    return volume[tuple(slice(s.start + 1, s.stop - 1) for s in BODY)].mean()


def test_the_body_is_where_it_was_with_its_noise(line, tmp_path):
    image, summary = run(write(tmp_path / "scan.h5", line), tmp_path / "out")
    assert inside(image.channel("attenuation")) == pytest.approx(20, rel=0.02)
    assert inside(image.channel("dark_field_90")) == pytest.approx(60, rel=0.02)
    assert (image.channel("attenuation_noise") > 0).mean() > 0.9
    outside = image.channel("attenuation").copy()
    outside[tuple(slice(s.start - 2, s.stop + 2) for s in BODY)] = 0
    assert abs(outside[4:-4, 4:-4, 4:-4]).mean() < 0.3
    assert summary["source_axis_m"] == FAR


def test_slabs_give_what_the_whole_gives(line, tmp_path):
    file = write(tmp_path / "scan.h5", line)
    whole, _ = run(file, tmp_path / "whole")
    slabs, summary = run(file, tmp_path / "slabs", memory="3 MB")
    assert summary["slabs"] > 2
    assert np.allclose(slabs.data, whole.data, rtol=1e-4, atol=1e-3)


def test_iterations_take_the_whole_scan_or_refuse(line, tmp_path):
    file = write(tmp_path / "scan.h5", line)
    image, _ = run(file, tmp_path / "out", method="cgls", options={"iterations": 15})
    assert inside(image.channel("attenuation")) == pytest.approx(20, rel=0.05)
    with pytest.raises(DarklungError, match="the whole cone-beam scan, which this method needs at once, got 3e"):
        run(file, tmp_path / "small", method="cgls", memory="3 MB")


def test_the_axis_is_found(line, tmp_path):
    _, summary = run(write(tmp_path / "scan.h5", line), tmp_path / "out", axis="estimate")
    assert summary["axis_col"] == pytest.approx(14.2, abs=0.02)


def test_the_source_may_be_named_on_the_command_line(line, tmp_path, monkeypatch, capsys):
    file = write(tmp_path / "scan.h5", line, source=False)
    monkeypatch.setattr(sys, "argv", ["darklung", "reconstruct", str(file), "--out", str(tmp_path), "--source", "15 cm"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert "40 x 28 x 28" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*sys.argv[:-1], "15"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "reconstruct: source_axis: wanted a length with its unit" in capsys.readouterr().err


@pytest.mark.parametrize("memory", ["1 GiB", "4 MB"])
def test_a_tilted_detector_in_a_parallel_beam(tmp_path, memory):
    tilt, body = 0.06, np.zeros((ROWS, COLS, COLS), np.float32)
    body[8:32, 6:22, 8:24] = 20.0
    body = ndimage.gaussian_filter(body, 1.2)
    far = ConeGeometry(np.arange(VIEWS) * np.pi / VIEWS, ROWS, COLS, PIXEL, 1e4, axis_col=14.2, tilt_rad=tilt)
    half = {"source": False, "turns": 0.5}  # a full turn averages the worst of a tilt away
    file = write(tmp_path / "scan.h5", ConeProjector(far, body.shape, PIXEL).forward(body), **half)
    image, summary = run(file, tmp_path / "out", tilt=f"{tilt} rad", memory=memory)
    crooked, _ = run(file, tmp_path / "crooked", memory=memory)
    assert (summary["slabs"] > 1) == (memory != "1 GiB")
    assert summary["tilt_rad"] == tilt
    straight = Projector(ParallelGeometry(far.angles_rad, ROWS, COLS, PIXEL, 14.2), body.shape, PIXEL).forward(body)
    wanted, _ = run(write(tmp_path / "straight.h5", straight, **half), tmp_path / "wanted")
    apart = [np.linalg.norm(i.data[0] - wanted.data[0]) / np.linalg.norm(wanted.data[0]) for i in (image, crooked)]
    assert apart[0] < 0.25 * apart[1]


def test_a_file_of_ones_own_type_keeps_the_cone(cone, line, tmp_path):
    maps = {name: np.ones((1, *line.shape), np.float32) for name in PROJECTION_MAPS}
    maps["valid"] = np.ones((1, *line.shape), bool)
    save(tmp_path / "projections.h5", Projections(**maps, directions_rad=np.array([0.0]), geometry=cone))
    stored = open_projections(tmp_path / "projections.h5")
    assert stored.geometry.source_axis_m == FAR
    part = stored.read(slice(5, 11)).geometry
    assert (part.rows, part.axis_row, part.axis_col) == (6, 16.0, 14.2)
