"""Ready protocols, protocol files, sweeps and what ``darklung check`` says."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from darklung.commands.check import check_protocol, list_protocols
from darklung.commands.cli import main
from darklung.commands.sweep import parse_sweeps
from darklung.core.checks import DarklungError
from darklung.flow.plan import plan
from darklung.pipeline import task_keys
from darklung.study.protocols import changed, read_protocol, ready_protocols, sweep
from darklung.study.study import read_study

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("dey_2025_radiograph", "microspheres", "mission_ct", "mouse_lobes", "tube_ct")
SMALL = """
kind: protocol
title: A small scan
pixel: 480 um
scan: {views: 30, counts: 1e6, supersampling: 1}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_the_ready_protocols_are_there() -> None:
    assert tuple(ready_protocols()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_ready_protocol_can_be_built_and_says_what_is_assumed(name: str) -> None:
    protocol = read_protocol(name)
    assert read_protocol(ready_protocols()[name]) == protocol
    assert_allclose(protocol.instrument.instrument().flat_visibility, protocol.instrument.flat_visibility)
    assert protocol.scan.total_time_s <= 1500
    assert any(origin.assumed for origin in protocol.origin.values())
    assert any(origin.published for origin in protocol.origin.values())


def test_mission_protocol_is_directional_and_in_time() -> None:
    mission = read_protocol("mission_ct")
    scan = mission.scan
    assert_allclose([mission.pixel, mission.instrument.low_kev, mission.instrument.high_kev], [1.2e-4, 60, 80])
    assert_allclose(scan.directions_rad, [0, np.pi / 2])
    assert_allclose(scan.arc_rad, np.pi)
    assert 1200 < scan.total_time_s <= 1500


def test_the_mission_study_scans_by_the_missions_protocol() -> None:
    study, mission = read_protocol(EXAMPLES / "mission.yaml"), read_protocol("mission_ct")
    assert study.scan == mission.scan
    one, other = study.instrument.instrument(), mission.instrument.instrument()
    assert_allclose(one.weights, other.weights)
    assert_allclose([one.flat_visibility, one.distance_m], [other.flat_visibility, other.distance_m])


def test_published_distances() -> None:
    assert_allclose(read_protocol("mouse_lobes").instrument.instrument().distance_m, 0.26, rtol=1e-3)
    assert_allclose(read_protocol("microspheres").instrument.instrument().distance_m, 0.158, rtol=2e-3)


def test_sweep_over_instrument_scan_and_pixel(small: Path) -> None:
    protocol = read_protocol(small)
    by_visibility = [one.plan for one in sweep(protocol, {"visibility": [0.1, 0.2]})]
    assert_allclose([plan.flat_visibility for plan in by_visibility], [0.1, 0.2])
    assert by_visibility[1].lesions[0].ct_dark_field > 1.9 * by_visibility[0].lesions[0].ct_dark_field
    by_views = [one.plan for one in sweep(protocol, {"views": [20, 40]})]
    assert by_views[0].frame_counts == 2 * by_views[1].frame_counts
    by_pixel = [one.plan for one in sweep(protocol, {"pixel": [240e-6, 480e-6]})]
    assert by_pixel[1].dose_gy == pytest.approx(by_pixel[0].dose_gy / 4)


def test_sweep_text(small: Path) -> None:
    protocol = read_protocol(small)
    assert parse_sweeps(["views=60:300:4"], protocol) == {"views": [60.0, 140.0, 220.0, 300.0]}
    assert parse_sweeps(["visibility=0.1:0.3:3"], protocol)["visibility"] == pytest.approx([0.1, 0.2, 0.3])
    lengths = parse_sweeps(["correlation_length=1 um:5 um:3"], protocol)["correlation_length"]
    assert lengths == pytest.approx([1e-6, 3e-6, 5e-6])
    # Ends that are whole make no count of a time or an energy.
    assert parse_sweeps(["exposure=1 s:4 s:3"], protocol)["exposure"] == [1.0, 2.5, 4.0]
    assert parse_sweeps(["visibility=0:1:2"], protocol)["visibility"] == [0.0, 1.0]
    assert parse_sweeps(["counts=1:10:4"], protocol)["counts"] == [1.0, 4.0, 7.0, 10.0]
    assert parse_sweeps(["counts=1:6:3"], protocol)["counts"] == [1.0, 3.5, 6.0]
    assert parse_sweeps(["views=60:301:3"], protocol)["views"] == [60.0, 180.0, 301.0]
    for texts, told in (
        (["visibility=0.1:0.3"], "sweep: wanted key=first:last:count"),
        (["visibility=0.1:0.3:2"] * 2, "two keys that differ"),
        (["views=1:2:2", "visibility=0.1:0.3:2", "steps=5:6:2"], "wanted one key or two, got 3"),
        (["visibility=some:0.3:2"], "visibility|wanted a number"),
        (["visibility=1_0:2_0:2"], "wanted a number, got '1_0'"),
        (["visibility=nan:0.3:2"], "wanted a number, got 'nan'"),
        (["pixel=1:2:2"], "pixel"),
    ):
        with pytest.raises(DarklungError, match=told):
            parse_sweeps(texts, protocol)


def test_a_value_that_cannot_be_is_told_and_the_sweep_goes_on(small: Path, tmp_path: Path) -> None:
    text = check_protocol(str(small), sweep=["visibility=0:0.2:3"], out=tmp_path, advise=False)
    assert re.search(r"\n +0 +visibility: wanted above 0, .* got 0", text)
    table = np.loadtxt(tmp_path / "sweep.csv", delimiter=",", skiprows=1)
    assert np.isnan(table[0, 1:]).all()
    assert np.isfinite(table[1:]).all()
    assert parse_sweeps(["pixel=0 um:240 um:2"], read_protocol(small)) == {"pixel": [0.0, pytest.approx(240e-6)]}


def test_two_keys_make_a_grid_and_numbers_are_set(small: Path, tmp_path: Path) -> None:
    sweeps = ["visibility=0.1:0.2:2", "views=20:40:3"]
    text = check_protocol(str(small), sweep=sweeps, settings=["correlation_length=2 um"], out=tmp_path, advise=False)
    table = np.loadtxt(tmp_path / "sweep.csv", delimiter=",", skiprows=1)
    assert table[:, :2].tolist() == [[v, n] for v in (0.1, 0.2) for n in (20, 30, 40)]
    assert "visibility" in text
    record = json.loads((tmp_path / "plan.json").read_text())
    assert record["protocol"]["instrument"]["correlation_length"] == "2e-06 m"
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    for wrong, told in (("colour=1", "set key: 'colour' is not known"), ("visibility", "set: wanted key=value")):
        with pytest.raises(DarklungError, match=told):
            check_protocol(str(small), settings=[wrong], advise=False)


def test_ready_protocols_are_listed() -> None:
    text = list_protocols()
    assert all(name in text for name in ready_protocols())


def test_a_number_is_changed_in_its_own_part(small: Path) -> None:
    protocol = read_protocol(small)
    assert changed(protocol, "design_energy", "65 keV").instrument.design_energy_kev == 65
    assert changed(protocol, "distance", 2.0).source.distance == 2
    with pytest.raises(DarklungError, match="sweep key: 'colour' is not known"):
        changed(protocol, "colour", 1.0)
    with pytest.raises(DarklungError, match="views: wanted a whole number"):
        changed(protocol, "views", 20.5)
    with pytest.raises(DarklungError, match=r"sweep: instrument.visibility"):
        changed(protocol, "visibility", 1.5)


def test_check_tells_time_dose_flux_and_what_would_improve_it(small: Path, tmp_path: Path) -> None:
    text = check_protocol(str(small), sweep=["visibility=0.1:0.2:2"], out=tmp_path / "out")
    for words in ("of 1500 s (fits)", "mGy", "kW of a tungsten tube at 120 kV", "visibility × 1.5", "verdict"):
        assert words in text
    record = json.loads((tmp_path / "out/plan.json").read_text())
    assert record["plan"]["total_time_s"] < 1500
    assert record["improvements"][0]["dark_field"][0] == pytest.approx(1.5, rel=0.02)
    assert record["protocol"]["kind"] == "protocol"
    assert (tmp_path / "out/sweep.png").read_bytes().startswith(b"\x89PNG")
    table = np.loadtxt(tmp_path / "out/sweep.csv", delimiter=",", skiprows=1)
    assert table[1, 4] > 1.9 * table[0, 4]


def test_waiting_for_the_breath_is_counted(small: Path) -> None:
    small.write_text(SMALL.replace("{views: 30", "{views: 300") + "effects: {breathing: 0.3 mm, gate: 0.3}\n")
    text = check_protocol(str(small), advise=False)
    assert "waiting for 30 % of the breath" in text
    assert "does not fit into 25 min" in text


def test_a_wheel_carries_the_ready_protocols() -> None:
    build = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert build["force-include"] == {"examples": "darklung/examples"}


def test_a_radiograph_is_planned_without_ct() -> None:
    text = check_protocol("dey_2025_radiograph", advise=False)
    assert "published" in text
    assert "–           –" in text
    assert "60 kV" in text


def test_a_spectrum_from_a_file(small: Path) -> None:
    (small.parent / "beam.csv").write_text("energy [keV], photons\n60, 1\n65, 1\n70, 1\n75, 1\n80, 1\n")
    small.write_text(SMALL + "instrument: {spectrum: file, file: beam.csv, low: 59 keV, high: 81 keV, bins: 22}\n")
    protocol = read_protocol(small)
    assert_allclose(protocol.instrument.instrument().energies_kev, [60, 65, 70, 75, 80])
    assert "not known" in check_protocol(str(small), advise=False)


def test_the_spectrum_file_of_a_study_is_part_of_its_keys(tmp_path: Path) -> None:
    beam, path = tmp_path / "beam.csv", tmp_path / "study.yaml"
    beam.write_text("energy [keV], photons\n60, 1\n70, 1\n80, 1\n")
    part = "{spectrum: file, file: beam.csv, low: 59 keV, high: 81 keV, bins: 22}"
    path.write_text(
        "name: file\nsources:\n  mice:\n    from: simulation\n    cohort: {animals: 3, test_animals: 1}\n"
        f"    instrument: {part}\n    sites: {{a: {{}}, b: {{instrument: {part}}}}}\n"
    )

    def keys() -> dict[str, str]:
        return task_keys(plan(read_study(path)).tasks)

    study = read_study(path)
    assert study.sources["mice"].at("b").instrument.instrument().energies_kev.tolist() == [60, 70, 80]
    before = keys()
    beam.write_text("energy [keV], photons\n60, 1\n70, 2\n80, 1\n")
    after = keys()
    changed_stages = {name.split("/")[0] for name in before if before[name] != after[name]}
    assert {"scan", "correct"} <= changed_stages
    assert not {"cohort", "phantom"} & changed_stages


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("instrument: {period: 0 um}", "instrument.period: input should be greater than 0"),
        (
            "instrument: {correlation_length: 1 mm}",
            "instrument.correlation_length: input should be less than",
        ),
        ("instrument: {high: 900 keV}", "energies_kev: wanted rising within 5 to 500"),
        ("instrument: {low: 1 keV, high: 4 keV}", "energies_kev: wanted rising within 5 to 500"),
        ("instrument: {filters: {al: -1 mm}, spectrum: tube}", "filters_m: wanted a thickness >= 0 of al"),
        ("instrument: {spectrum: tube, filters: {lead: 1 mm}}", "'lead' is not known"),
        ("instrument: {spectrum: file, file: dark.csv}", "zero flux between 60 and 80 keV"),
        ("pixel: 1 mm", "pixel_m: wanted 1e-06 to 0.0006"),
        ("instrument: {threshold: 90 keV}", "threshold_kev: no photon of the spectrum"),
        ("instrument: {spectrum: file}", "file: belongs to spectrum 'file'"),
        ("instrument: {spectrum: file, file: nowhere.csv}", r"nowhere\.csv: no such file"),
        ("instrument: {visibility: 0.9}", "flat_visibility: wanted 0 to 0.6"),
        ("instrument: {perod: 4 um}", "instrument.perod: unknown key; known:"),
        ("pixel: 0 um", "pixel: input should be greater than 0"),
    ],
)
def test_impossible_protocols_end_in_one_line(small: Path, lines: str, words: str) -> None:
    (small.parent / "dark.csv").write_text("keV photons\n60 0\n70 0\n80 0\n")
    small.write_text(SMALL.replace("pixel: 480 um\n", "") + lines + "\n")
    with pytest.raises(DarklungError, match=words) as told:
        check_protocol(str(small), advise=False)
    assert len(str(told.value).splitlines()) == 1


def test_unknown_names_are_told_with_the_known_ones() -> None:
    with pytest.raises(DarklungError, match="protocol: 'moon' is not known; known: dey_2025_radiograph, microspheres"):
        read_protocol("moon")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("instrument: {period: 0 um}", "small.yaml: instrument.period: "),
        ("instrument: {correlation_length: 1 mm}", "small.yaml: instrument.correlation_length: "),
        ("instrument: {high: 900 keV}", "energies_kev"),
        ("instrument: {spectrum: file, file: dark.csv}", "zero flux"),
        ("instrument: {spectrum: tube, filters: {al: -1 mm}}", "thickness >= 0"),
    ],
)
def test_the_command_tells_impossible_input_in_one_line(
    small: Path, lines: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (small.parent / "dark.csv").write_text("keV photons\n60 0\n70 0\n80 0\n")
    small.write_text(SMALL + lines + "\n")
    monkeypatch.setattr("sys.argv", ["darklung", "check", str(small)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    told = capsys.readouterr().err.strip()
    assert len(told.splitlines()) == 1
    assert words in told
