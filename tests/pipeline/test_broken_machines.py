"""Kills, interrupts and full disks: the same command goes on, nothing is lost, and nothing hidden stays."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from toy_study import run, toy

from darklung.core.geometry import ParallelGeometry
from darklung.core.types import Projections
from darklung.io.hdf5 import save
from darklung.pipeline.folder import OLD, PARTIAL, SCRATCH, scratch_name
from darklung.pipeline.record import write_record

HERE = Path(__file__).parent
HIDDEN = {".lock", ".workers.lock", ".owner"}


def heeds_interrupts():
    """A shell starts what it runs in the background with interrupts ignored, and so would be what these tests start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def hidden(folder):
    return {p.name for p in folder.rglob(".*")} - HIDDEN


def test_transient_outputs_left_by_a_kill_go_with_the_next_run(tmp_path):
    folder = tmp_path / "run"
    run(toy(tmp_path, transient=True), folder)
    place = folder / "count/part-0"
    before = json.loads((place / "record.json").read_text())
    # As after a kill between the end of its last reader and the sweep; and as after one in the midst of the sweep.
    (place / "value").write_text("2")
    write_record(place / "record.json", {k: v for k, v in before.items() if k != "removed"})
    (folder / "count/part-1/value").write_text("2")
    assert run(toy(tmp_path, transient=True), folder) == 0
    for part in ("part-0", "part-1"):
        assert os.listdir(folder / "count" / part) == ["record.json"]
    assert json.loads((place / "record.json").read_text())["removed"]


def test_a_transient_output_that_is_still_to_be_read_stays(tmp_path):
    folder = tmp_path / "run"
    run(toy(tmp_path, transient=True), folder, targets=("count/part-0",))
    assert (folder / "count/part-0/value").exists()
    run(toy(tmp_path, transient=True), folder, targets=("count/part-0",))
    assert (folder / "count/part-0/value").exists()
    assert run(toy(tmp_path, transient=True), folder) == 3
    assert not (folder / "count/part-0/value").exists()


def test_scratch_of_a_task_that_was_done_goes(tmp_path):
    folder = tmp_path / "run"
    run(toy(tmp_path), folder)
    key = json.loads((folder / "count/part-0/record.json").read_text())["key"]
    left = folder / SCRATCH / scratch_name("count/part-0", key)
    left.mkdir(parents=True)
    (left / "state").touch()
    assert run(toy(tmp_path), folder) == 0
    assert hidden(folder) == set()


def test_an_output_that_made_room_for_one_that_never_came_is_put_back(tmp_path):
    folder = tmp_path / "run"
    run(toy(tmp_path), folder)
    (folder / PARTIAL / OLD / "count").mkdir(parents=True)
    os.replace(folder / "count/part-0", folder / PARTIAL / OLD / "count/part-0")
    assert run(toy(tmp_path), folder) == 0
    assert (folder / "count/part-0/value").read_text() == "2"
    assert hidden(folder) == set()


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_is_one_line_and_the_same_command_goes_on(tmp_path, workers):
    code = (
        "if __name__ == '__main__':\n"
        "    import sys; sys.path.insert(0, sys.argv[1]); import darklung.commands.cli as cli, typer\n"
        "    from toy_study import run, toy; from pathlib import Path; tmp = Path(sys.argv[2])\n"
        "    cli.app = typer.Typer(pretty_exceptions_enable=False)\n"
        "    @cli.app.command()\n"
        f"    def go(): run(toy(tmp, until=20, pause=0.1), tmp / 'run', workers={workers})\n"
        "    sys.argv = ['darklung']; cli.main()\n"
    )
    (tmp_path / "go.py").write_text(code)
    call = [sys.executable, tmp_path / "go.py", HERE, tmp_path]
    process = subprocess.Popen(call, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heeds_interrupts)
    marks = tmp_path / "marks"
    end = time.monotonic() + 60
    while time.monotonic() < end and not (marks.exists() and len(marks.read_text().splitlines()) > 3 * workers):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told, told
    assert told.rstrip().endswith("darklung: stopped; the same command goes on from here")
    done = len(marks.read_text().splitlines())
    run(toy(tmp_path, until=20, pause=0.1), tmp_path / "run", workers=2)
    assert len(marks.read_text().splitlines()) <= 60 + workers
    assert done > 3
    assert hidden(tmp_path / "run") == set()


def command(*words, cwd, limit=None, **environment):
    def limited():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    # Coverage would write its own file into the full disk, and tell so.
    own = {name: text for name, text in os.environ.items() if limit is None or not name.startswith("COVERAGE_")}
    call = [sys.executable, "-m", "darklung", *map(str, words)]
    return subprocess.run(call, cwd=cwd, capture_output=True, text=True, preexec_fn=limited, env={**own, **environment})


def frames(folder):
    rng = np.random.default_rng(0)
    angle = 2 * np.pi * np.arange(5)[:, None, None] / 5 + np.zeros((6, 16))
    np.save(folder / "s.npy", rng.poisson(900 * (1 + 0.3 * np.cos(angle)), (20, 5, 6, 16)).astype(np.uint16))
    np.save(folder / "f.npy", rng.poisson(900 * (1 + 0.4 * np.cos(angle)), (2, 5, 6, 16)).astype(np.uint16))
    axes = ["step", "row", "col"]
    content = {"name": "mu", "description": "75 µm", "pixel": "75 µm", "steps": {"count": 5, "endpoint_repeated": False}}
    content["sample"] = {"kind": "npy", "files": "s.npy", "axes": ["view", *axes]}
    content["flat"] = {"kind": "npy", "files": "f.npy", "axes": ["flat", *axes]}
    (folder / "scan.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")


@pytest.mark.parametrize("limit", [1000, 10_000])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, limit):
    frames(tmp_path)
    found = command("import", "scan.yaml", "--out", "out", cwd=tmp_path, limit=limit)
    assert found.returncode == 2, found.stderr
    assert found.stderr.count("\n") == 1
    assert "File too large" in found.stderr
    assert os.listdir(tmp_path / "out") == []
    assert command("import", "scan.yaml", "--out", "out", cwd=tmp_path).returncode == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["mu.h5", "mu.yaml", "record.json"]


def test_a_latin_machine_reads_and_writes_the_same(tmp_path):
    frames(tmp_path)
    for name, options in (("a", {}), ("b", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})):
        found = command("import", "scan.yaml", "--out", name, cwd=tmp_path, **options)
        assert found.returncode == 0, found.stderr
    assert (tmp_path / "a/mu.yaml").read_bytes() == (tmp_path / "b/mu.yaml").read_bytes()


def test_a_place_that_cannot_be_written_to_is_one_line(tmp_path):
    frames(tmp_path)
    (tmp_path / "file").touch()
    for out in ("file/out", "/proc/out", "/dev/null/out"):
        found = command("import", "scan.yaml", "--out", out, cwd=tmp_path)
        assert found.returncode == 2
        assert found.stderr.startswith("darklung: ")
        assert found.stderr.count("\n") == 1


@pytest.mark.parametrize("killed_again", [False, True], ids=["once", "again before its first slab was written"])
def test_a_reconstruction_whose_volume_was_moved_before_the_kill_is_made_again(tmp_path, monkeypatch, killed_again):
    from darklung.commands.reconstruct import reconstruct_files
    from darklung.steps import reconstruct as step

    angles = np.linspace(0, np.pi, 20, endpoint=False)
    maps = np.ones((1, 20, 4, 12), np.float32)
    geometry = ParallelGeometry(angles, 4, 12, 1e-4)
    save(tmp_path / "scan.h5", Projections(*(maps,) * 8, np.ones(maps.shape, bool), np.zeros(1), geometry))

    def reconstruct():
        options = {"method": "fbp", "axis": "file", "rings": 0, "memory": "1 GiB", "options": {}}
        reconstruct_files(tmp_path / "scan.h5", tmp_path / "out", given=options, tell=lambda text: None)

    reconstruct()
    volume = tmp_path / "out/reconstruct/scan/volume.ome.zarr"
    content = {p.relative_to(volume): p.read_bytes() for p in volume.rglob("*") if p.is_file()}
    key = json.loads((volume.parent / "record.json").read_text())["key"]
    scratch = tmp_path / "out" / SCRATCH / scratch_name("reconstruct/scan", key)
    scratch.mkdir(parents=True)
    # The ledger of slabs that are gone with the killed process's folder.
    (scratch / "slabs.json").write_text('[{"cautions": []}]')
    shutil.rmtree(volume.parent)
    if killed_again:

        def killed(place):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(step, "open_array", killed)
            reconstruct()
    reconstruct()
    assert {p.relative_to(volume): p.read_bytes() for p in volume.rglob("*") if p.is_file()} == content
    assert hidden(tmp_path / "out") == set()
