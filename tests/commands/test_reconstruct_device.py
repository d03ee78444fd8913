"""``device`` of a reconstruction from the command line and a study: refused before any work, told in the record."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from darklung.commands import cli
from darklung.commands.reconstruct import reconstruct_files
from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.flow import chain
from darklung.io.images import load_image
from darklung.io.names import SUMMARY, VOLUME
from darklung.study.study import Study
from darklung.tomo import torch_operator
from darklung.tomo.projector import Projector

STUDY = {"name": "one", "sources": {"mice": {"from": "simulation", "cohort": {"animals": 1, "test_animals": 0}}}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A block's projections as another program would write them."""
    g = ParallelGeometry(np.arange(30) * np.pi / 30, 4, 20, 1e-3)
    body = np.zeros((4, 20, 20), np.float32)
    body[:, 5:15, 4:14] = 20.0
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as stored:
        stored["attenuation"] = Projector(g, body.shape, g.pixel_m).forward(body)
        stored["angles_rad"] = g.angles_rad
        stored.attrs["pixel_m"] = g.pixel_m
    return path


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_operator, "cuda_name", lambda: "")


@pytest.mark.usefixtures("no_gpu")
def test_a_missing_gpu_ends_the_command_in_one_line_before_any_work(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr("sys.argv", ["darklung", "reconstruct", str(file), "--out", str(out), "--set", "device=cuda"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    told = capsys.readouterr().err.strip()
    assert (stopped.value.code, len(told.splitlines())) == (2, 1)
    assert "device: torch finds no CUDA device on this machine; wanted cpu or auto, got 'cuda'" in told
    assert not out.exists()


@pytest.mark.usefixtures("no_gpu")
def test_auto_is_the_cpu_and_the_record_says_so(file: Path, tmp_path: Path) -> None:
    found = {}
    for device in ("cpu", "auto", "torch-cpu"):
        given = {"method": "fbp", "options": {"device": device}}
        reconstruct_files(file, tmp_path / device, given=given, tell=lambda line: None)
        folder = tmp_path / device / "reconstruct" / "scan"
        notes = json.loads((folder / SUMMARY).read_text())["slab_notes"]
        found[device] = (notes[0].get("device"), load_image(folder / VOLUME).channel("attenuation"))
    assert [told for told, _ in found.values()] == [None, "cpu: torch finds no CUDA device", "torch on the cpu"]
    np.testing.assert_array_equal(found["cpu"][1], found["auto"][1])
    np.testing.assert_allclose(found["cpu"][1], found["torch-cpu"][1], atol=2e-5 * 20)


@pytest.mark.usefixtures("no_gpu")
def test_a_study_that_wants_a_missing_gpu_is_refused_when_it_is_planned() -> None:
    def planned(device: str, **scan: str) -> list:
        study = json.loads(json.dumps(STUDY))
        study["sources"]["mice"]["scan"] = scan
        study["processing"] = {"reconstruction": {"options": {"device": device}}}
        return chain.build(Study.model_validate(study)).tasks

    assert planned("auto")
    with pytest.raises(DarklungError, match="device: torch finds no CUDA device"):
        planned("cuda")
    with pytest.raises(DarklungError, match="in a cone beam is computed on the cpu, got 'torch-cpu'"):
        planned("torch-cpu", source_axis="1 m")
