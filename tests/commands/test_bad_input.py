"""Whatever is wrong with the input ends in one clear line for each mistake and a non-zero exit, never in a traceback."""

import re
import subprocess
import sys

import h5py
import numpy as np
import pytest
import yaml

from darklung.commands import cli

MICE = {"from": "simulation"}
LEARNING = {"arms": {"x": ["attenuation"]}}


def darklung(monkeypatch, capsys, *arguments):
    """(exit code, lines on stderr) of a command."""
    monkeypatch.setattr(sys, "argv", ["darklung", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    lines = capsys.readouterr().err.splitlines()
    return caught.value.code, [line for line in lines if not line.startswith("[")]  # progress lines carry a time


def study_file(tmp_path, *, learning=None, processing=None, sources=None, **mice):
    """A study of one simulated source, of which `mice` are parts."""
    path = tmp_path / "study.yaml"
    content = {"name": "small", "sources": sources or {"mice": {**MICE, **mice}}}
    more = {"learning": learning, "processing": processing}
    path.write_text(yaml.safe_dump({**content, **{k: v for k, v in more.items() if v is not None}}))
    return path


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            {"body": {"voxel": "150 kg"}},
            ["study.yaml: sources.mice.body.voxel: wanted a length such as '120 um', got '150 kg'"],
        ),
        ({"body": {"voxel": 0.15}}, ["study.yaml: sources.mice.body.voxel: wanted a length with its unit"]),
        ({"scan": {"viewz": 3}}, ["study.yaml: sources.mice.scan.viewz: unknown key; known: arc, counts"]),
        ({"scan": {"steps": 2}}, ["study.yaml: sources.mice.scan.steps: input should be greater than or equal to 3, got 2"]),
        ({"scan": {"directions": []}}, ["study.yaml: sources.mice.scan: directions: wanted at least one"]),
        ({"cohort": {"animals": 0, "test_animals": 0}}, ["study.yaml: sources.mice.cohort: animals: the cohort is empty"]),
        (
            {"cohort": {"diameter": ["3 mm", "1 mm"]}},
            ["study.yaml: sources.mice.cohort: diameter: wanted the smaller number first"],
        ),
        ({"cohort": {"tissues": ["granite"]}}, ["'granite' is not known; known: "]),
        ({"cohort": {"variant": "Z"}}, ["'Z' is not known; known: A"]),
        (
            {"sources": {"mice": {"from": "cinema"}}},
            ["'simulation', 'frames', 'projections', 'volumes', 'cases', 'lobes'"],
        ),
        ({"learning": {"arms": {"x": []}}}, ["study.yaml: learning: arms: 'x' has no channels"]),
        (
            {"learning": {"folds": 40, "arms": {"x": ["attenuation"]}}},
            ["sources.mice.cohort.animals: wanted at least learning.folds = 40"],
        ),
        (
            {"learning": {"arms": {"x": ["attenuation"]}, "bank": {"per_case": [2, 1]}}},
            ["study.yaml: learning.bank: per_case: wanted the smaller number first, 0 to 20 and not both 0, got 2, 1"],
        ),
        (
            {"learning": {"arms": {"x": ["attenuation"]}, "bank": {"every": 0}}},
            ["study.yaml: learning.bank.every: input should be greater than or equal to 1, got 0"],
        ),
        (
            {"learning": {"arms": {"x": ["anisotropy"]}, "bank": {}}},
            ["study.yaml: learning: bank: lesions change attenuation and dark_field..., not 'anisotropy' of arm 'x'"],
        ),
        (
            {
                "sources": {"lobes": {"from": "lobes", "data": "maps"}},
                "learning": {"arms": {"x": ["attenuation"]}, "bank": {}},
            },
            ["learning.bank: puts lesions into simulated volumes; sources.lobes trains on lobes"],
        ),
        (
            {"instrument": {"visibility": 1.2}, "scan": {"views": 0}},
            ["sources.mice.instrument.visibility: ", "sources.mice.scan.views: "],
        ),
    ],
)
def test_studies(tmp_path, monkeypatch, capsys, parts, expected):
    code, lines = darklung(monkeypatch, capsys, "run", study_file(tmp_path, **parts), "--out", tmp_path / "run")
    assert code == 2
    assert len(lines) == len(expected)
    assert all(line.startswith("darklung: ") and e in line for line, e in zip(lines, expected))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"cohort": {"diameter": ["30 mm", "30 mm"]}}, "diameter"),
        ({"cohort": {"diameter": ["9 mm", "9 mm"], "lesion_free": 0.0}, "body": {"voxel": "400 um"}}, "lesion"),
        ({"scan": {"exposure": "9 s"}, "body": {"voxel": "400 um"}}, "takes .* more than time_limit"),
        ({"body": {"voxel": "400 um", "width": "12 mm"}}, "field of view"),
        ({"instrument": {"visibility": 0.9}, "body": {"voxel": "400 um"}}, "flat_visibility"),
    ],
)
def test_impossible_requests_stop_the_run_in_one_line(tmp_path, monkeypatch, capsys, parts, expected):
    small = {"animals": 3, "test_animals": 1, "lesions": [1, 1]}
    parts = {**parts, "cohort": {**small, **parts.get("cohort", {})}}
    path = study_file(tmp_path, learning=LEARNING, **parts)
    code, lines = darklung(monkeypatch, capsys, "run", path, "--out", tmp_path / "run", "--workers", "1")
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("darklung: ")
    assert re.search(expected, lines[0])


@pytest.mark.parametrize("command", ["run", "retrieve"])
def test_missing_file(tmp_path, monkeypatch, capsys, command):
    code, lines = darklung(monkeypatch, capsys, command, tmp_path / "none.yaml", "--out", tmp_path / "out")
    assert code == 2
    assert lines == [f"darklung: {tmp_path / 'none.yaml'}: no such file"]


def raw_scan(tmp_path, **change):
    """A small raw scan in HDF5 with its description; `change` alters the arrays or the description."""
    steps = 2 * np.pi * np.arange(5) / 5
    flat = 1000 * (1 + 0.3 * np.cos(steps))[:, None, None] * np.ones((5, 6, 7))
    arrays = {"sample": (flat * 0.8).astype(np.float64), "flat": flat}
    arrays.update({k: v(arrays[k]) for k, v in change.items() if k in arrays})
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        for name, values in arrays.items():
            file[name] = values
    source = {"kind": "hdf5", "file": "raw.h5", "axes": change.get("axes", ["step", "row", "col"])}
    description = {
        "name": "raw",
        "sample": {**source, "dataset": "sample"},
        "flat": {**source, "dataset": change.get("dataset", "flat")},
        "steps": {"count": change.get("count", 5), "endpoint_repeated": False},
        "pixel": change.get("pixel", "100 um"),
    }
    description.update(change.get("more", {}))
    (tmp_path / "raw.yaml").write_text(yaml.safe_dump(description))
    return tmp_path / "raw.yaml"


def with_nan(values):
    values = values.copy()
    values[2, 3, 4] = np.nan
    return values


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sample": with_nan}, "not finite"),
        ({"flat": lambda v: 0 * v}, "flat"),
        ({"count": 2}, "steps.count: "),
        ({"sample": lambda v: v[:2], "flat": lambda v: v[:2], "count": 3}, "2 steps"),
        ({"axes": ["row", "col", "step"]}, "steps"),
        ({"axes": ["step", "row"]}, "axes"),
        ({"dataset": "dark"}, "dark"),
        ({"pixel": "100 s"}, "pixel: wanted a length"),
        ({"more": {"pixels": 3}}, "pixels: unknown key"),
    ],
)
def test_raw_scans(tmp_path, monkeypatch, capsys, change, expected):
    code, lines = darklung(monkeypatch, capsys, "retrieve", raw_scan(tmp_path, **change), "--out", tmp_path / "out")
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("darklung: ")
    assert expected in lines[0]


def test_truncated_hdf5(tmp_path, monkeypatch, capsys):
    path = raw_scan(tmp_path)
    whole = (tmp_path / "raw.h5").read_bytes()
    (tmp_path / "raw.h5").write_bytes(whole[: len(whole) // 2])
    code, lines = darklung(monkeypatch, capsys, "retrieve", path, "--out", tmp_path / "out")
    assert code == 2
    assert len(lines) == 1
    assert "raw.h5" in lines[0]


def test_a_good_raw_scan_is_retrieved(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["darklung", "retrieve", str(raw_scan(tmp_path)), "--out", str(tmp_path / "out")])
    cli.app(standalone_mode=False)
    assert "0.3000   0.8000" in capsys.readouterr().out
    assert (tmp_path / "out/retrieve/raw/overview.png").stat().st_size > 10_000
    assert (tmp_path / "out/scans.csv").read_text().startswith("name,")


def test_the_installed_command_exits_with_2(tmp_path):
    call = [sys.executable, "-m", "darklung.commands.cli", "run", str(tmp_path / "none.yaml")]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == f"darklung: {tmp_path / 'none.yaml'}: no such file"
    assert done.stdout == ""
