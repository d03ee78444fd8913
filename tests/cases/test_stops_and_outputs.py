"""B9, C10, C11, C12: what is written is whole, or one line says why not; what was changed since is seen."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from case_scans import curves, npy

from darklung.commands import cli
from darklung.commands.benchmark_entries import _new
from darklung.commands.recorded import recorded
from darklung.core.checks import DarklungError
from darklung.core.files import whole
from darklung.core.types import Image
from darklung.io.images import save_image
from darklung.pipeline.verify import verify
from darklung.steps.deposit.write import check_out

DEAD = 2**22 + 1  # no process has this number


@pytest.mark.parametrize("content", ["a folder", "with the new one complete", "with the new one half"])
def test_a_folder_taken_away_by_a_killed_process_is_put_back(tmp_path, content):
    """Killed between taking the old one away and putting the new one in its place; the next attempt fails too."""
    old = tmp_path / f".deposit.old.{DEAD}.partial"
    old.mkdir()
    (old / "table.csv").write_text("of before")
    if content != "a folder":
        new = tmp_path / f".deposit.{DEAD}.partial"
        new.mkdir()
        (new / "table.csv").write_text("new")
    with pytest.raises(RuntimeError), whole(tmp_path / "deposit"):
        raise RuntimeError
    assert os.listdir(tmp_path) == ["deposit"]
    assert (tmp_path / "deposit/table.csv").read_text() == "of before"


def test_what_is_there_is_not_replaced_by_what_was_left(tmp_path):
    for name, text in (("deposit", "now"), (f".deposit.old.{DEAD}.partial", "before")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(text)
    with pytest.raises(RuntimeError), whole(tmp_path / "deposit"):
        raise RuntimeError
    assert os.listdir(tmp_path) == ["deposit"]
    assert (tmp_path / "deposit/a").read_text() == "now"


def refused(capsys, *words):
    """The error line of a command in this process."""
    before, sys.argv = sys.argv, ["darklung", *map(str, words)]
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        sys.argv = before
    lines = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("place", ["under a file", "a device", "no place for folders", "a name too long", "a ring of links"])
def test_places_that_take_no_output(tmp_path, capsys, place):
    (tmp_path / "file").touch()
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    out = {
        "under a file": tmp_path / "file/out",
        "a device": "/dev/null/out",
        "no place for folders": "/proc/out",
        "a name too long": tmp_path / ("n" * 300),
        "a ring of links": tmp_path / "ring/out",
    }[place]
    line = refused(capsys, "retrieve", npy(tmp_path, *curves()), "--out", out)
    assert "out" in line or "nnn" in line


@pytest.mark.parametrize("place", [".", "..", "../{here}", "", "~", "link"])
def test_a_folder_that_somebody_is_in_is_not_exchanged(tmp_path, monkeypatch, capsys, place):
    (tmp_path / "above/here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "above/here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "above/here")
    out = {"~": tmp_path / "home", "link": tmp_path / "link"}.get(place) or place.format(here="here")
    told = refused(capsys, "examples", "--out", out)
    assert "wanted the name of a new folder" in told or "wanted a new or an empty folder" in told
    assert os.listdir(tmp_path / "above/here") == []


def test_a_deposit_takes_no_place_of_other_files(tmp_path):
    out = tmp_path / "deposit"
    out.mkdir()
    (out / "checksums.sha256").write_text(f"{'0' * 64}  README.md\n")
    (out / "README.md").touch()
    check_out(out, tmp_path / "run")
    (out / "notes").mkdir()
    check_out(out, tmp_path / "run")
    (out / "notes/mine.txt").write_text("a year's work")
    with pytest.raises(DarklungError, match=r"holds .*mine\.txt, which is not of the deposit there"):
        check_out(out, tmp_path / "run")


@pytest.mark.parametrize("out", [".", ".."])
def test_no_deposit_and_no_entry_takes_the_place_of_where_one_works(tmp_path, monkeypatch, out):
    (tmp_path / "work/here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work/here")
    for refuse in (lambda: check_out(Path(out), tmp_path / "run"), lambda: _new(Path(out), tmp_path / "benchmark")):
        with pytest.raises(DarklungError, match=r"wanted (the name of )?a new folder"):
            refuse()


@pytest.fixture
def made(tmp_path):
    """Two files of a command, with its record."""

    @recorded
    def write(out):
        for name in ("a.csv", "b.csv"):
            (out / name).write_text(f"{name}\n1\n")

    (tmp_path / "out").mkdir()
    write(out=tmp_path / "out")
    assert not dict(verify(tmp_path / "out").wrong)
    return tmp_path / "out"


def exchanged(out):
    (out / "a.csv").rename(out / "c")
    (out / "b.csv").rename(out / "a.csv")
    (out / "c").rename(out / "b.csv")
    return {"a.csv", "b.csv"}


def zeros(out):
    (out / "a.csv").write_bytes(bytes((out / "a.csv").stat().st_size))
    return {"a.csv"}


def windows_ends(out):
    (out / "b.csv").write_bytes((out / "b.csv").read_bytes().replace(b"\n", b"\r\n"))
    return {"b.csv"}


def folder(out):
    (out / "a.csv").unlink()
    (out / "a.csv").mkdir()
    return {"a.csv"}


@pytest.mark.parametrize("change", [exchanged, zeros, windows_ends, folder], ids=lambda c: c.__name__)
def test_outputs_are_not_believed_without_a_look(made, change):
    names = change(made)
    assert {path.name for path, _ in verify(made).wrong} == names


@pytest.mark.parametrize("values", [0.0, np.nan, -np.inf, 3e38, "one voxel"])
def test_windows_of_channels_are_numbers_that_viewers_take(tmp_path, values):
    data = np.ones((1, 4, 4, 4), np.float32) if values == "one voxel" else np.full((1, 4, 4, 4), values, np.float32)
    data[0, 0, 0, 0] = 2.0 if values == "one voxel" else data[0, 0, 0, 0]
    save_image(tmp_path / "i.ome.zarr", Image(data, ("attenuation",), ("1/m",), (1e-3,) * 3))
    (channel,) = zarr.open_group(str(tmp_path / "i.ome.zarr"), mode="r").attrs["ome"]["omero"]["channels"]
    window = [channel["window"][key] for key in ("min", "max", "start", "end")]
    assert np.isfinite(window).all()
    assert window[0] < window[1]
    assert window[2] < window[3]
    assert len(channel["color"]) == 6
