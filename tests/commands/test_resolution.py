"""``darklung resolution``: MTF, noise power and NEQ of files against what was put into them; what it refuses."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

from darklung.commands.cli import app
from darklung.commands.verify import verify_files
from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.io.hdf5 import save
from darklung.io.images import save_image
from darklung.retrieve.stepping import retrieve
from darklung.simulate.objects import edge
from darklung.simulate.overlap import plane_share
from darklung.simulate.scan import simulate_scan
from darklung.study.protocols import read_protocol

VOXEL = 1e-4
NOISE, STEP = 2.0, 50.0


def asked(*words):
    return CliRunner().invoke(app, ["resolution", *map(str, words)], catch_exceptions=False)


def rows(file):
    with file.open() as opened:
        return list(csv.DictReader(opened))


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """A blurred rod off the grid in attenuation, noise alone in the dark field; and a repeat."""
    folder = tmp_path_factory.mktemp("rod")
    rod = ndimage.gaussian_filter(plane_share((97, 97), VOXEL, radius_m=2.53e-3), 1.0, truncate=7)[:-1, 1:]
    rod = ndimage.shift(rod, (0.2, -0.3), order=5, mode="nearest")
    for seed, name in ((1, "one"), (2, "two")):
        noise = np.random.default_rng(seed).normal(0, NOISE, (2, 24, 96, 96))
        data = noise + np.stack([np.broadcast_to(STEP * rod, (24, 96, 96)), np.zeros((24, 96, 96))])
        image = Image(data.astype(np.float32), ("attenuation", "dark_field_0"), ("1/m", "1/m"), (VOXEL,) * 3)
        save_image(folder / f"{name}.ome.zarr", image)
    return folder


def test_a_volume_is_measured_by_channel(volume, tmp_path):
    told = asked(volume / "one.ome.zarr", "--out", tmp_path, "--noise-box", "0:24,32:64,32:64").output
    assert "none stands out" in told
    attenuation, dark = rows(tmp_path / "channels.csv")
    angle = np.linspace(0, np.pi / 2, 91)
    f = np.linspace(0, 0.5, 501)
    pixel = np.mean(np.sinc(f[:, None] * np.cos(angle)) * np.sinc(f[:, None] * np.sin(angle)), axis=1)
    half = np.interp(-0.5, -pixel * np.exp(-2 * (np.pi * f) ** 2), f) / 0.1
    assert float(attenuation["mtf50_per_mm"]) == pytest.approx(half, rel=0.03)
    assert float(attenuation["contrast"]) == pytest.approx(STEP, rel=0.01)
    assert float(attenuation["radius_mm"]) == pytest.approx(2.53, abs=0.01)
    assert dark["mtf50_per_mm"] == ""
    assert float(dark["noise_sd"]) == pytest.approx(NOISE, rel=0.02)
    curve = [row for row in rows(tmp_path / "curves.csv") if row["channel"] == "attenuation" and row["nps"]]
    power = np.array([float(row["nps"]) for row in curve])
    assert power.mean() == pytest.approx(NOISE**2 * 0.1**2, rel=0.02)
    for row in curve:
        neq = float(attenuation["signal"]) ** 2 * float(row["mtf"]) ** 2 / float(row["nps"])
        assert float(row["neq"]) == pytest.approx(neq, rel=1e-6)
    assert {"mtf.svg", "nps-attenuation.svg", "nps-dark_field.svg", "neq-attenuation.svg", "resolution.html"} <= {
        p.name for p in tmp_path.iterdir()
    }
    assert verify_files(tmp_path)[1]


def test_a_slice_of_a_volume_is_a_picture(volume, tmp_path):
    words = (volume / "one.ome.zarr", "--slice", 7, "--channel", "attenuation", "--edge", "circle")
    assert asked(*words, "--out", tmp_path).exit_code == 0
    (row,) = rows(tmp_path / "channels.csv")
    assert float(row["radius_mm"]) == pytest.approx(2.53, abs=0.02)
    with pytest.raises(DarklungError, match="slice: wanted 0 to 23, got 24"):
        asked(volume / "one.ome.zarr", "--slice", 24, "--out", tmp_path)


def test_a_ball_is_measured_in_the_plane_and_along_z(tmp_path):
    z, y, x = (np.arange(48) - 23.5 - at for at in (0.2, -0.3, 0.4))
    ball = 1.0 * (z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 < 12.3**2)
    data = STEP * ndimage.gaussian_filter(ball, (2.5, 1.2, 1.2)) + np.random.default_rng(0).normal(0, NOISE, (48,) * 3)
    save_image(tmp_path / "ball.ome.zarr", Image(data[None].astype(np.float32), ("attenuation",), ("1/m",), (VOXEL,) * 3))
    words = (tmp_path / "ball.ome.zarr", "--edge", "sphere", "--noise-box", "0:32,0:16,0:32", "--out", tmp_path / "out")
    assert asked(*words).exit_code == 0
    every = {row["along"]: row for row in rows(tmp_path / "out" / "channels.csv")}
    assert list(every) == ["all", "plane", "z"]
    half = {along: float(row["mtf50_per_mm"]) for along, row in every.items()}
    assert half["z"] < half["all"] < half["plane"]
    assert half["plane"] / half["z"] > 1.5
    curves = rows(tmp_path / "out" / "curves.csv")
    assert {row["along"] for row in curves if row["neq"]} == {"all", "plane", "z"}
    assert "along z" in (tmp_path / "out" / "mtf.svg").read_text()


def test_halves_have_half_the_noise_power(volume, tmp_path):
    words = (volume / "one.ome.zarr", "--repeat", volume / "two.ome.zarr", "--channel", "attenuation")
    for name, more in (("repeat", ()), ("halves", ("--halves",))):
        assert asked(*words, "--out", tmp_path / name, *more).exit_code == 0
    whole, half = (float(rows(tmp_path / name / "channels.csv")[0]["noise_sd"]) for name in ("repeat", "halves"))
    assert whole == pytest.approx(NOISE, rel=0.02)
    assert half == pytest.approx(whole / np.sqrt(2), rel=1e-6)


def test_projections_of_a_simulated_edge_have_the_transfer_of_their_pixel(tmp_path):
    plate = edge(thickness_m=5e-4, voxel_m=6e-5, shape=(120, 10, 120), angle_rad=np.deg2rad(4))
    mission = read_protocol("mission_ct")
    protocol = replace(mission.scan, views=1, supersampling=2, counts_per_pixel=1e6)
    scan = simulate_scan(plate, instrument=mission.instrument.instrument(), protocol=protocol, seed=1, noise=False)
    save(tmp_path / "projections.h5", retrieve(scan))
    told = asked(tmp_path, "--out", tmp_path / "out", "--channel", "attenuation")
    assert told.exit_code == 0
    for row in rows(tmp_path / "out" / "curves.csv"):
        f = float(row["frequency_per_mm"])
        if f < 0.5 / 0.12:
            assert float(row["mtf"]) == pytest.approx(np.sinc(0.12 * f), abs=0.02)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--box", "3-4"), "--box: wanted ranges of pixels such as 10:90,20:100, got '3-4'"),
        (("--box", "1_0:90,20:100"), "--box: wanted ranges of pixels such as"),
        (("--box", "٣:90,20:100"), "--box: wanted ranges of pixels such as"),
        (("--box", "9:9,20:100"), "--box: wanted ranges of pixels such as"),
        (("--box", "0:24,0:96,0:97"), "box: wanted ranges within 0:96, got 0:97"),
        (("--edge", "square"), "edge: 'square' is not known"),
        (("--edge", "none"), "nothing is left to measure"),
        (("--halves",), "--halves: wanted the other half"),
        (("--view", "3"), "view: wanted projections"),
        (("--channel", "phase"), "channel: 'phase' is not known"),
        (("--signal", "1_0"), "signal: wanted contrast, mean or a number > 0, got '1_0'"),
        (("--signal", "1,5"), "signal: wanted contrast, mean or a number > 0, got '1,5'"),
        (("--signal", "nan"), "signal: wanted contrast, mean or a number > 0, got 'nan'"),
        (("--signal", "many"), "signal: wanted contrast, mean or a number > 0, got 'many'"),
    ],
)
def test_what_makes_no_sense_is_refused(volume, tmp_path, words, told):
    with pytest.raises(DarklungError, match=told):
        asked(volume / "one.ome.zarr", "--out", tmp_path / "o", *words)
    assert not (tmp_path / "o").exists()
