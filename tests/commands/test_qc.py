"""Pages that tell whether maps can be trusted: what they find, and what they do not."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from darklung.commands.cli import app
from darklung.commands.qc import check_quality
from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import Scan
from darklung.io.tables import load_table
from darklung.retrieve.stepping import retrieve
from darklung.steps.quality import quality_page
from darklung.steps.retrieve import JUDGED

THETA = 2 * np.pi * np.arange(6) / 6
SIZE = (60, 80)


def scan(*, step_error=0.0, second=0.0, seed=0, edge=0.0):
    rng = stream(seed, "quality")
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    phase = 2 * np.pi * x / 40
    lung = 0.5 * np.exp(-(((x - 40) / 20.0) ** 2) - ((y - 30) / 20.0) ** 2)

    def frames(body):
        theta = THETA[:, None, None] + step_error * rng.normal(size=(6, 1, 1)) + phase
        curve = 1 + 0.2 * np.exp(-body * lung) * np.cos(theta) + second * 0.2 * np.cos(2 * theta)
        return rng.poisson(5000 * np.exp(-body * (0.3 * lung + edge * (x % 16 < 3))) * curve)

    geometry = ParallelGeometry(np.zeros(1), *SIZE, 1e-4)
    zero = np.zeros((1, 1))
    return Scan(frames(1)[None, None], frames(0)[None, None], THETA[None], np.zeros(1), geometry, zero, zero)


def findings(made, tmp_path, **options):
    numbers = quality_page(retrieve(made, **options), tmp_path / "page.html", title="a & b", scan=made, options=options)
    return numbers


def test_a_good_scan_has_nothing_against_it(tmp_path):
    numbers = findings(scan(), tmp_path)
    assert numbers["findings"] == ""
    assert numbers["misfit"] == pytest.approx(1, abs=0.03)
    assert numbers["noise_ratio"] == pytest.approx(1, abs=0.08)
    text = (tmp_path / "page.html").read_text()
    assert "a &amp; b" in text
    assert "Nothing was found" in text
    assert len(re.findall(r'<img src="data:image/png;base64,', text)) == 4
    assert "http" not in text.replace("http-equiv", "")


@pytest.fixture
def no_page(monkeypatch):
    """The numbers alone: drawing takes most of the time."""
    monkeypatch.setattr("darklung.steps.quality.write_quality", lambda path, page: path)


@pytest.mark.usefixtures("no_page")
def test_wrong_steps_and_harmonics_are_found_in_the_residuals(tmp_path):
    assert "χ²" in findings(scan(step_error=0.15), tmp_path)["findings"]
    estimated = findings(scan(step_error=0.15), tmp_path, steps="estimate", air_cols=range(6))
    assert "χ²" not in estimated["findings"]
    assert "second harmonic is 1" in findings(scan(second=0.12), tmp_path)["findings"]


@pytest.mark.usefixtures("no_page")
def test_structure_of_the_object_is_not_called_a_streak(tmp_path):
    assert "streaked" not in findings(scan(edge=0.4), tmp_path)["findings"]


def measured(folder, name, *, streaks=0.0):
    rng = stream(1, name)
    y, x = np.mgrid[:70, :60]
    mask = ((y - 35) / 33) ** 2 + ((x - 30) / 28) ** 2 < 1
    dark = 0.5 + 0.03 * rng.normal(size=mask.shape) + streaks * rng.normal(size=60)
    maps = {
        "A": np.exp(-0.05 - 0.002 * rng.normal(size=mask.shape)),
        "B": np.exp(-dark),
        "P": 0 * dark,
        "v": 0.12 + 0 * dark,
    }
    np.savez(folder / f"{name}.npz", mask=mask, **{key: values[mask] for key, values in maps.items()})


def test_measured_maps_get_pages_and_streaked_columns_are_not_valid(tmp_path):
    measured(tmp_path, "clean")
    measured(tmp_path, "streaked", streaks=0.1)
    rows = "file,mouse,exposure,lobe,kind\n" + "".join(f"{n}.npz,m,e,l,k\n" for n in ("clean", "streaked"))
    (tmp_path / "index.csv").write_text(rows)
    result = CliRunner().invoke(app, ["qc", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    assert lines["clean"].rstrip().endswith("-")
    assert "streaked: index" in lines["streaked"]
    with h5py.File(tmp_path / "out" / "streaked.h5") as file:
        flagged, valid = file["streaked"][()], file["valid"][()]
        assert flagged.any()
        assert not (flagged & valid).any()
        assert np.isfinite(file["dark_field"][()][valid]).all()
    assert (tmp_path / "out" / "clean.html").is_file()
    assert "streak_index" in (tmp_path / "out" / "maps.csv").read_text()


def test_what_cannot_be_judged_is_told(tmp_path):
    with pytest.raises(DarklungError, match="no such file"):
        check_quality(tmp_path / "none.h5", tmp_path / "out")
    with pytest.raises(DarklungError, match=r"wanted a projections\.h5"):
        (tmp_path / "empty").mkdir()
        check_quality(tmp_path / "empty", tmp_path / "out")


def raw_scan(folder):
    """Three views, of which the second has a step of half the dose; steps of unlike phase errors."""
    rng = stream(7, "raw scan")
    theta = 2 * np.pi * np.arange(6)[:, None, None] / 6
    phase = np.linspace(0, 5, 40) + np.zeros((30, 40))
    sample = rng.poisson(5000 * (1 + 0.2 * np.cos(theta + phase)) * np.ones((3, 1, 1, 1))).astype(np.uint16)
    flat = rng.poisson(5000 * (1 + 0.25 * np.cos(theta + phase)) * np.ones((2, 1, 1, 1))).astype(np.uint16)
    sample[1, 2] //= 2
    np.save(folder / "s.npy", sample)
    np.save(folder / "f.npy", flat)
    source = {"kind": "npy", "files": "s.npy", "axes": ["view", "step", "row", "col"]}
    other = {"kind": "npy", "files": "f.npy", "axes": ["flat", "step", "row", "col"]}
    steps = {"count": 6, "endpoint_repeated": False}
    content = {"name": "mouse", "sample": source, "flat": other, "steps": steps, "pixel": "75 um"}
    (folder / "scan.yaml").write_text(yaml.safe_dump(content))
    return folder / "scan.yaml"


@pytest.mark.usefixtures("no_page")
def test_what_retrieve_found_is_told_everywhere_and_known_to_qc_later(tmp_path):
    result = CliRunner().invoke(app, ["retrieve", str(raw_scan(tmp_path)), "--out", str(tmp_path / "out"), "--workers", "1"])
    assert result.exit_code == 0, result.output
    told = [line.removeprefix("mouse: ") for line in result.output.splitlines() if line.startswith("mouse: ")]
    assert any("far above that of other views: view 1 (" in line for line in told)
    (row,) = load_table(tmp_path / "out" / "scans")
    assert row["findings"].split(" | ") == told
    assert row["misfit"] == pytest.approx(1, abs=0.1)
    with h5py.File(tmp_path / "out/retrieve/mouse/projections.h5") as file:
        misfit = file["checks/misfit"][()]
    assert misfit.shape == (1, 3)
    assert misfit[0, 1] > 100
    # The frames may be gone by then.
    (tmp_path / "s.npy").unlink()
    result = CliRunner().invoke(app, ["qc", str(tmp_path / "out"), "--out", str(tmp_path / "qc")])
    assert result.exit_code == 0, result.output
    (later,) = load_table(tmp_path / "qc" / "maps")
    assert {key: later[key] for key in JUDGED} == pytest.approx({key: row[key] for key in JUDGED}, nan_ok=True)


@pytest.mark.usefixtures("no_page")
def test_a_method_of_ones_own_is_judged_by_the_frames_too(tmp_path):
    path = raw_scan(tmp_path)
    content = yaml.safe_load(path.read_text())
    content["retrieval"] = {"method": "darklung.retrieve.stepping:retriever"}
    path.write_text(yaml.safe_dump(content))
    result = CliRunner().invoke(app, ["retrieve", str(path), "--out", str(tmp_path / "out"), "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "view 1 (" in result.output
