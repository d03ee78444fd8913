"""``darklung simulate``: objects on a protocol's voxels, and frames that the other commands read."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from darklung.commands.retrieve import retrieve_described
from darklung.commands.simulate import OBJECTS, USUAL, make_object, simulate_files
from darklung.core.checks import DarklungError
from darklung.core.types import Projections, Scan
from darklung.io.hdf5 import load
from darklung.pipeline.bar import Bar, TimeLeft
from darklung.study.protocols import read_protocol

TINY = """
kind: protocol
title: tiny
pixel: 300 um
scan: {views: 4, counts: 2e6, supersampling: 1, flats: 2, flat_repeats: 2}
effects: {dark_counts: 50, bad_pixels: 0.01}
"""


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


@pytest.mark.parametrize("options", [{}, {"gratings": False}, {"radiograph": True}])
@pytest.mark.parametrize("what", ["cylinder", "mouse"])
def test_a_simulation_beyond_the_memory_is_refused_before_anything_is_made(tiny, tmp_path, what, options) -> None:
    with pytest.raises(DarklungError, match=r"simulate: wants .* GiB of memory, .* are free"):
        simulate_files(tiny, what, out=tmp_path / "out", field="2 m,9 m", **options)
    assert not (tmp_path / "out").exists()


def test_the_memory_of_a_simulation_is_that_of_its_frames(tiny) -> None:
    scan = read_protocol(tiny).scan
    assert scan.memory_bytes(10, 20) == 2 * 2 * (4 + 2) * scan.steps * 200 + 8 * 10 * 20 * 20
    assert scan.memory_bytes(10, 20, gratings=False) == 2 * 4 * 200 + 8 * 10 * 20 * 20


def test_every_object_has_its_usual_size() -> None:
    assert set(OBJECTS) == set(USUAL)


@pytest.mark.parametrize("what", sorted(set(OBJECTS) - {"mouse"}))
def test_objects_lie_on_the_protocols_voxels(tiny: str, what: str) -> None:
    scene = make_object(what, read_protocol(tiny), field="1.2 mm,27 mm")
    assert scene.phantom.voxel_m == pytest.approx(3e-4)
    assert scene.phantom.tissue_fraction.shape == (4, 90, 90)
    assert scene.phantom.density.max() > 0


def test_frames_are_retrieved_by_the_command(tiny: str, tmp_path: Path) -> None:
    told = simulate_files(tiny, "foam", out=tmp_path / "foam", options=["foam_diameter=8 mm"], field="1.2 mm,27 mm")
    assert "2 x 4 x 5 x 4 x 90 frames" in told
    scan = load(tmp_path / "foam/scan.h5", Scan)
    assert scan.dark_frame is not None
    retrieve_described(tmp_path / "foam/scan.yaml", tmp_path / "maps", workers=1)
    maps = load(tmp_path / "maps/retrieve/foam/projections.h5", Projections)
    assert_allclose(maps.geometry.angles_rad, scan.geometry.angles_rad)
    assert_allclose(maps.directions_rad, scan.directions_rad)
    middle, beside = maps.dark_field[:, :, :, 40:50].mean(), maps.dark_field[:, :, :, 8:20].mean()
    assert middle > beside + 0.3


def test_radiographs_and_scans_without_gratings_of_the_same_object(tiny: str, tmp_path: Path) -> None:
    options = {"options": ["thicknesses=0 mm,4 mm"], "field": "1.2 mm,27 mm"}
    simulate_files(tiny, "wedge", out=tmp_path / "one", radiograph=True, **options)
    assert load(tmp_path / "one/scan.h5", Scan).frames.shape == (2, 1, 5, 4, 90)
    told = simulate_files(tiny, "wedge", out=tmp_path / "plain", gratings=False, **options)
    assert "without gratings" in told
    plain = load(tmp_path / "plain/projections.h5", Projections)
    assert np.isnan(plain.dark_field).all()
    assert plain.attenuation[0, 0, :, 60:].mean() > 0.2


@pytest.mark.parametrize(
    ("what", "options", "words"),
    [
        ("moon", [], "object: 'moon' is not known; known: cylinder, edge"),
        ("wedge", ["thicknesses=0 mm,-1 mm"], "thicknesses_m: wanted numbers >= 0"),
        ("wedge", ["colour=3"], "--set for wedge: 'colour' is not known; known: material, thicknesses"),
        ("star", ["diameter=3"], "--set diameter: wanted a length with its unit"),
        ("star", ["diameter"], "wanted name=value"),
        ("suspension", ["volume_fraction=0.9"], "volume_fraction: wanted 0 to 0.5"),
        ("suspension", ["sphere_diameter=1 nm"], "correlation_length_m: wanted at most 50 diameters"),
    ],
)
def test_impossible_objects_end_in_one_line(tiny: str, tmp_path: Path, what: str, options: list, words: str) -> None:
    with pytest.raises(DarklungError, match=words) as told:
        simulate_files(tiny, what, out=tmp_path / "out", options=options, field="1.2 mm,27 mm")
    assert len(str(told.value).splitlines()) == 1


def test_time_left_is_told() -> None:
    now = iter([0.0, 50.0, 60.0, 250.0])
    left = TimeLeft(lambda: next(now))
    assert [left(1, 6), left(2, 6), left(3, 6)] == ["time left: ?", "about 40 s left", "about 5 min left"]
    stream = io.StringIO()
    with Bar("mouse", stream) as bar:
        bar(1, 2)
        bar(2, 2)
    assert stream.getvalue() == "mouse: 2 of 2, done in 0 s\n"
