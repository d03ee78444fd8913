"""``darklung reconstruct``: from files of projections to volumes, in slabs, killed and resumed, refused in one line."""

import json
import sys

import h5py
import numpy as np
import pytest

from darklung.commands import cli
from darklung.commands.reconstruct import reconstruct_files
from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.io.hdf5 import save
from darklung.io.images import load_image
from darklung.steps import reconstruct as command
from darklung.tomo.fbp import fbp
from darklung.tomo.projector import Projector

ROWS, COLS, VIEWS, PIXEL = 24, 20, 36, 1e-3


@pytest.fixture(scope="module")
def projections():
    rng = np.random.default_rng(3)
    g = ParallelGeometry(np.arange(VIEWS) * np.pi / VIEWS, ROWS, COLS, PIXEL, axis_col=10.2)
    body = np.zeros((ROWS, COLS, COLS), np.float32)
    body[:, 5:15, 4:14] = 20.0
    body[8:16, 7:11, 6:10] = 5.0
    line = Projector(g, body.shape, PIXEL).forward(body)
    maps = {name: np.ones((2, *line.shape), np.float32) * 1e-4 for name in PROJECTION_MAPS}
    maps["attenuation"] = (line + 0.01 * rng.normal(size=(2, *line.shape))).astype(np.float32)
    maps["dark_field"] = (3 * line + 0.01 * rng.normal(size=(2, *line.shape))).astype(np.float32)
    maps["valid"] = rng.random((2, *line.shape)) > 0.01
    maps["attenuation"][~maps["valid"]] = 7.0
    return Projections(**maps, directions_rad=np.array([0.0, np.pi / 2]), geometry=g)


def run(file, out, **changes):
    tell = changes.pop("tell", lambda line: None)
    return reconstruct_files(file, out, given={"memory": "1 GiB", **changes}, tell=tell)


@pytest.fixture
def no_picture(monkeypatch):
    monkeypatch.setattr("darklung.report.slices.slices_png", lambda *args, **kwargs: None)


@pytest.fixture(scope="module")
def file(projections, tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "retrieve/first/projections.h5"
    path.parent.mkdir(parents=True)
    save(path, projections)
    return path


def volume(out, name="first"):
    return load_image(out / f"reconstruct/{name}/volume.ome.zarr")


def test_a_retrieved_folder_becomes_volumes_with_noise_maps(file, projections, tmp_path):
    lines = []
    told = run(file.parents[2], tmp_path, tell=lines.append)
    image = volume(tmp_path)
    names = ("attenuation", "dark_field_0", "dark_field_90")
    assert image.names == (*names, *(f"{n}_noise" for n in names))
    assert lines[0].startswith("first: 1 slabs of 24 slices: about 0.0")
    assert "24 x 20 x 20" in told
    filled = command._filled(projections)
    wanted = fbp(filled.dark_field[1], projections.geometry)
    assert np.allclose(image.channel("dark_field_90"), wanted, atol=1e-3)
    assert (image.channel("attenuation_noise") > 0).all()
    assert {p.name for p in (tmp_path / "reconstruct/first").iterdir()} == {
        "volume.ome.zarr",
        "slices.png",
        "summary.json",
        "record.json",
    }


@pytest.mark.parametrize(("method", "error"), [("fbp", 1e-6), ("pwls_tv", 0.05)])
def test_slabs_give_what_the_whole_gives(file, tmp_path, no_picture, method, error):
    options = {"iterations": 8, "subsets": 3} if method == "pwls_tv" else {}
    run(file, tmp_path / "whole", method=method, options=options)
    memory = {"fbp": "1.1 MB", "pwls_tv": "2.3 MB"}[method]
    run(file, tmp_path / "slabs", method=method, options=options, memory=memory)
    assert json.loads((tmp_path / "slabs/reconstruct/first/summary.json").read_text())["slabs"] > 1
    whole, slabs = (volume(tmp_path / part).channel("dark_field_0") for part in ("whole", "slabs"))
    assert np.linalg.norm(slabs - whole) < error * np.linalg.norm(whole)


def test_a_crash_loses_one_slab_at_most(file, tmp_path, monkeypatch, no_picture):
    done, real = [], command._slab

    def counted(*args):
        done.append(args[1])
        if len(done) == 3:
            raise KeyboardInterrupt
        return real(*args)

    run(file, tmp_path / "calm", memory="1.1 MB")
    monkeypatch.setattr(command, "_slab", counted)
    with pytest.raises(KeyboardInterrupt):
        run(file, tmp_path / "killed", memory="1.1 MB")
    run(file, tmp_path / "killed", memory="1.1 MB")
    assert done == [slice(0, 8), slice(8, 16), slice(16, 24), slice(16, 24)]
    assert np.array_equal(volume(tmp_path / "killed").data, volume(tmp_path / "calm").data)
    run(file, tmp_path / "killed", memory="1.1 MB")
    assert len(done) == 4


def test_a_plain_file_of_another_program_with_an_unknown_axis(projections, tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as stored:
        stored["attenuation"] = np.where(projections.valid, projections.attenuation, np.nan)[0]
        stored["valid"] = projections.valid[0]
        stored["angles_rad"] = np.arange(2 * VIEWS) * np.pi / VIEWS
        for name in ("attenuation", "valid"):  # a full turn: the second half is the first one mirrored about the axis
            half = stored[name][()]
            mirrored = np.roll(half[:, :, ::-1], 1, axis=2)
            del stored[name]
            stored[name] = np.concatenate([half, mirrored])
        stored.attrs["pixel_m"] = PIXEL
    run(path, tmp_path / "out", axis="estimate", rings=9)
    summary = json.loads((tmp_path / "out/reconstruct/other/summary.json").read_text())
    assert summary["axis_col"] == pytest.approx(10.0, abs=0.01)
    assert volume(tmp_path / "out", "other").names == ("attenuation",)  # nothing is made up for a dark field


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--method", "magic"], "reconstruction method: 'magic' is not known; known: cgls, fbp, pwls_tv, tensor"),
        (["--set", "cutoff"], "--set: wanted name=value"),
        (["--set", "cutoff=low"], "option cutoff of fbp: wanted a value such as 1.0, got 'low'"),
        (["--axis", "left"], "reconstruct: axis: wanted file, estimate or a column (wanted a number, got 'left')"),
        (["--axis", "99"], "axis: wanted a column of the detector, 0 to 19, got 99.00"),
        (["--memory", "much"], "reconstruct: memory: wanted a size such as '4 GiB', got 'much'"),
        (["--memory", "1 kB"], "reconstruct: memory: wanted 1 MiB to 1 PiB, got '1 kB'"),
        (["--memory", "1.1 MB", "--method", "pwls_tv"], "memory_bytes: wanted at least"),
        (["--rings", "4"], "wanted 0 or an odd number of columns from 5"),
    ],
)
def test_mistakes_end_in_one_line(file, tmp_path, monkeypatch, capsys, arguments, expected):
    monkeypatch.setattr(sys, "argv", ["darklung", "reconstruct", str(file), "--out", str(tmp_path / "out"), *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("[")]
    assert len(lines) == 1
    assert expected in lines[0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"attenuation": None}, "wanted a dataset attenuation or dark_field, the file has angles_rad"),
        ({"angles_rad": None}, "wanted a dataset angles_rad"),
        ({"angles_rad": np.zeros(3)}, "angles_rad: wanted 4"),
        ({"valid": np.ones((4, 2, 9), bool)}, "valid: wanted the shape of attenuation"),
        ({"directions_rad": np.zeros(2)}, "directions_rad: wanted 1"),
        ({"attenuation": np.full((4, 2, 8), np.nan)}, "attenuation: 64 values are not finite but not marked"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, change, expected):
    content = {"attenuation": np.zeros((4, 2, 8)), "angles_rad": np.arange(4) * np.pi / 4, **change}
    with h5py.File(tmp_path / "scan.h5", "w") as stored:
        for name, values in content.items():
            if values is not None:
                stored[name] = values
        stored.attrs["pixel_m"] = PIXEL
    with pytest.raises(DarklungError, match=expected):
        run(tmp_path / "scan.h5", tmp_path / "out")
