"""Somebody else's files run nothing while they are only read, lead nowhere else, and put nothing into records."""

import json
import sys

import numpy as np
import pytest
import yaml

from darklung.commands import cli
from darklung.core.checks import DarklungError, printable
from darklung.core.geometry import ParallelGeometry
from darklung.core.types import Scan
from darklung.io.description import read_raw, resolve_path
from darklung.pipeline import Task
from darklung.retrieve.overview import overview_png
from darklung.retrieve.stepping import retrieve
from darklung.steps.quality import quality_page
from darklung.study.protocols import read_protocol
from darklung.study.study import read_study

CODE = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n"
METHODS = {
    "reconstruction": {"processing": {"reconstruction": {"method": "evil:f"}}},
    "hardening": {"processing": {"correction": {"hardening": "evil:f"}}},
    "retrieval": {"processing": {"retrieval": {"method": "evil:f"}}},
    "network": {"learning": {"arms": {"x": ["attenuation"]}, "network": "evil:f"}},
    "metric": {"learning": {"arms": {"x": ["attenuation"]}}, "evaluation": {"metrics": {"mine": "evil:f"}}},
}


def darklung(*words):
    """Exit code of a command in this process."""
    before, sys.argv = sys.argv, ["darklung", *map(str, words)]
    try:
        cli.main()
    except SystemExit as ended:
        return ended.code
    finally:
        sys.argv = before
    return 0


@pytest.fixture
def folder(tmp_path):
    """A folder with a module that leaves a mark where it is imported, under names that others import too."""
    for name in ("evil", "pandas", "psutil", "imagecodecs", "torch", "tifffile"):
        (tmp_path / f"{name}.py").write_text(CODE)
    return tmp_path


def study(folder, **parts):
    path = folder / "study.yaml"
    small = {"from": "simulation", "cohort": {"animals": 3, "test_animals": 1}, "body": {"voxel": "600 um"}}
    path.write_text(yaml.safe_dump({"name": "small", "sources": {"mice": small}, **parts}))
    return path


@pytest.mark.parametrize("case", METHODS)
def test_reading_a_study_imports_nothing_that_it_names(folder, case):
    path = study(folder, **METHODS[case])
    read_study(path)
    read_protocol(path)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("case", METHODS)
def test_a_dry_run_tells_which_code_it_opened(folder, case, capsys):
    path = study(folder, **METHODS[case])
    text = (folder / "evil.py").read_text()
    (folder / "evil.py").write_text(f"{text}\ndef f(*a, **k): ...\n")
    code = darklung("run", path, "--out", folder / "out", "--dry-run")
    out, err = capsys.readouterr()
    assert (folder / "ran").exists()
    if code == 0:
        assert f"names evil:f, which runs on this machine: {folder / 'evil.py'}" in out
    else:
        assert "evil:f" in err  # its signature does not fit


def test_files_beside_a_study_take_the_place_of_no_library(folder, capsys):
    assert darklung("run", study(folder), "--out", folder / "out", "--dry-run") == 0
    assert darklung("cohort", folder / "study.yaml", "--out", folder / "out", "--dry-run") == 0
    assert not (folder / "ran").exists()
    assert str(folder) not in sys.path


def test_a_model_that_names_code_is_run_only_where_that_is_said(folder, capsys):
    about = {"network": "evil:f", "channels": ["attenuation"], "dims": 3, "widths": [16], "patch": [16]}
    about |= {"normalisation": {"mean": [0.0], "deviation": [1.0], "per": "cohort"}}
    (folder / "model.json").write_text(json.dumps(about))
    np.save(folder / "volume.npy", np.zeros((4, 4, 4)))
    assert darklung("predict", folder, folder / "volume.npy", "--out", folder / "out", "--dry-run") == 2
    told = capsys.readouterr().err
    assert "names code; look at it, then give --code to run it" in told
    assert str(folder / "evil.py") in told
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("name", ["..", ".", "../up", "/etc", "a/b", "a\\b", "", "-x" * 60, "x" * 101, "a\n", "ü"])
def test_names_of_studies_are_names_of_folders(tmp_path, name):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"name": name, "sources": {"mice": {"from": "simulation"}}}))
    with pytest.raises(DarklungError, match=r"study\.yaml: name: "):
        read_study(tmp_path / "study.yaml")


@pytest.mark.parametrize("item", ["..", "../../x", "a/b", "a\\b", "", ".hidden", "a\x00", "x" * 300, "a\nb"])
def test_no_task_leads_out_of_its_run_folder(item):
    with pytest.raises(DarklungError, match="task predict: wanted the name of one folder"):
        Task("predict", item, "m:f")


@pytest.mark.parametrize("place", ["sites", "sources", "arms"])
@pytest.mark.parametrize("name", ["../x", "a/b", "a b", "x" * 101])
def test_names_inside_of_studies_are_plain(tmp_path, place, name):
    mice = {"from": "simulation", **({"sites": {name: {}}} if place == "sites" else {})}
    content = {"name": "n", "sources": {name if place == "sources" else "mice": mice}}
    if place == "arms":
        content["learning"] = {"arms": {name: ["attenuation"]}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(DarklungError):
        read_study(tmp_path / "study.yaml")


@pytest.mark.parametrize("value", ["s3cret", "../x", "relative/path", "/no/such/folder"])
def test_a_variable_of_the_environment_holds_a_path_or_is_told_without_its_value(tmp_path, monkeypatch, value):
    monkeypatch.setenv("SOME_TOKEN", value)
    with pytest.raises(DarklungError, match="SOME_TOKEN is no path of a file or folder that there is") as caught:
        resolve_path("data/${SOME_TOKEN}/x.npy", tmp_path / "scan.yaml")
    assert value not in str(caught.value)
    monkeypatch.setenv("SOME_TOKEN", str(tmp_path))
    assert resolve_path("${SOME_TOKEN}/x.npy", tmp_path / "scan.yaml") == tmp_path / "x.npy"
    monkeypatch.delenv("SOME_TOKEN")
    assert resolve_path("${SOME_TOKEN:-here}/x.npy", tmp_path / "scan.yaml") == tmp_path / "here/x.npy"


@pytest.fixture(scope="module")
def maps():
    rng, phases = np.random.default_rng(0), 2 * np.pi * np.arange(5) / 5
    mean = 1000 * (1 + 0.3 * np.cos(phases[:, None, None] + np.linspace(0, 6, 12) + np.zeros((9, 12))))
    times, geometry = np.zeros((1, 1)), ParallelGeometry(np.zeros(1), 9, 12, 1e-4)
    return retrieve(
        Scan(rng.poisson(mean[None, None]), rng.poisson(mean[None, None]), phases[None], np.zeros(1), geometry, times, times)
    )


@pytest.mark.parametrize("name", ["$\\frac{1$", "a $x^{", "<script>alert(1)</script>", "x" * 200])
def test_names_are_shown_as_they_are(tmp_path, maps, name):
    overview_png(maps, tmp_path / "overview.png", title=name)
    quality_page(maps, tmp_path / "quality.html", title=name)
    assert "<script>alert" not in (tmp_path / "quality.html").read_text()
    assert (tmp_path / "overview.png").stat().st_size > 10_000


def test_what_a_terminal_would_obey_is_not_told(tmp_path, capsys):
    assert printable("a\x1b[2J\u202eb\n\tc") == "a?[2J?b\n\tc"
    (tmp_path / "scan.yaml").write_text('name: "\\e[2J"\n')
    assert darklung("retrieve", tmp_path / "scan.yaml", "--out", tmp_path / "out") == 2
    assert darklung("show", tmp_path / "no\x1b[2J.h5") == 2
    assert "\x1b[2J" not in capsys.readouterr().err
    with pytest.raises(DarklungError, match="a control character"):
        list(read_raw(tmp_path / "scan.yaml"))
