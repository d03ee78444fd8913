"""What real scans do to a reconstruction: dead views, a detector aside, angles in degrees; and what is told of them."""

import h5py
import numpy as np
import pytest

from darklung.commands.reconstruct import reconstruct_files
from darklung.core.checks import DarklungError
from darklung.io.images import load_image
from darklung.pipeline.record import read_json

PIXEL, MU = 1e-3, 100.0


def disc(angles, cols=48, axis=23.5, directions=1):
    s = np.arange(cols) - axis - (4 * np.cos(angles) - 3 * np.sin(angles))[:, None]
    line = 2 * PIXEL * MU * np.sqrt(np.maximum(14.0**2 - s**2, 0))
    return np.broadcast_to(line[None, :, None], (directions, len(angles), 2, cols)).astype(np.float32)


def written(path, values, angles, valid=None, **attributes):
    with h5py.File(path, "w") as file:
        file["attenuation"], file["dark_field"], file["angles_rad"] = values, 0.5 * values, angles
        for name in ("attenuation_variance", "dark_field_variance"):
            file[name] = np.full(values.shape, 1e-4, np.float32)
        if valid is not None:
            file["valid"] = valid
        file["directions_rad"] = np.linspace(0, np.pi / 2, len(values))
        file.attrs.update({"pixel_m": PIXEL, **attributes})
    return path


def reconstructed(file, out, **given):
    text = reconstruct_files(file, out, given=given, tell=lambda line: None)
    place = out / "reconstruct" / file.stem
    return text, load_image(place / "volume.ome.zarr").data, read_json(place / "summary.json")


def inside(volume, radius=11):
    n = volume.shape[-1]
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    return volume[..., (x - 4) ** 2 + (y + 3) ** 2 < radius**2]


@pytest.mark.parametrize(
    ("dead", "directions", "given"),
    [
        ([(0, 60)], 1, {}),
        ([(0, 0)], 1, {}),
        ([(0, 179), (0, 60), (0, 61)], 1, {}),
        ([(1, 20)], 2, {}),
        ([(0, 60)], 1, {"method": "cgls", "options": {"iterations": 30, "tolerance": 1e-6}}),
    ],
    ids=["one", "the first", "three", "of one direction", "iterative"],
)
def test_a_dead_view_costs_that_view_and_is_told(tmp_path, dead, directions, given):
    angles = np.arange(180) * np.pi / 180
    whole = disc(angles, directions=directions)
    values, valid = whole.copy(), np.ones(whole.shape, bool)
    for direction, view in dead:
        values[direction, view], valid[direction, view] = 5.0, False
    text, found, summary = reconstructed(written(tmp_path / "scan.h5", values, angles, valid), tmp_path / "o", **given)
    _, wanted, _ = reconstructed(written(tmp_path / "whole.h5", whole, angles), tmp_path / "w", **given)
    assert inside(found[0]).mean() == pytest.approx(MU, rel=0.02)
    assert np.abs(inside(found[:2] - wanted[:2])).max() < 0.02 * MU
    (line,) = summary["cautions"]
    assert line.startswith(f"{len(dead)} view(s) without a valid pixel")
    assert line in text


def test_a_scan_without_any_view_is_refused(tmp_path):
    angles = np.arange(90) * np.pi / 90
    values = disc(angles)
    with pytest.raises(DarklungError, match="no valid pixel in direction 0, view 0, nor in any view"):
        reconstructed(written(tmp_path / "scan.h5", values, angles, np.zeros(values.shape, bool)), tmp_path / "o")


@pytest.mark.parametrize(("cols", "axis"), [(34, 8.0), (34, 25.0), (30, 0.0)])
def test_a_full_turn_with_the_axis_at_the_edge_is_whole(tmp_path, cols, axis):
    angles = np.arange(360) * np.pi / 180
    file = written(tmp_path / "scan.h5", disc(angles, cols, axis), angles, axis_col=axis)
    text, found, summary = reconstructed(file, tmp_path / "o")
    width = int(np.ceil(2 * max(axis, cols - 1 - axis))) + 1
    assert summary["shape"] == [2, width, width]
    assert summary["cautions"] == []
    for channel, level in ((0, MU), (1, 0.5 * MU)):
        values = inside(found[channel])
        assert values.mean() == pytest.approx(level, rel=0.01)
        assert values.std() < 0.05 * level
    assert "scan: " not in text


def test_few_views_and_a_cut_object_are_told(tmp_path):
    angles = np.arange(30) * np.pi / 30
    text, _, summary = reconstructed(written(tmp_path / "scan.h5", disc(angles, 24, 11.5), angles), tmp_path / "o")
    assert any(line.startswith("the object reaches beyond the detector") for line in summary["cautions"])
    assert "scan: the object reaches beyond the detector" in text
    angles = np.arange(20) * np.pi / 20
    text, _, _ = reconstructed(written(tmp_path / "few.h5", disc(angles), angles), tmp_path / "o")
    assert "few: 20 views for 48 columns: fbp wants about 75" in text


def test_degrees_are_refused_before_anything_is_made(tmp_path):
    angles = np.arange(180) * 1.0
    with pytest.raises(DarklungError, match="are these degrees"):
        reconstructed(written(tmp_path / "scan.h5", disc(np.radians(angles)), angles), tmp_path / "o")
    assert not (tmp_path / "o").exists()
