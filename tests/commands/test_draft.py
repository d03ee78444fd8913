"""``darklung show``, ``describe`` and ``examples``: from a folder nobody knows to maps."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
import yaml
import zarr

from darklung.commands import cli
from darklung.commands.draft import draft, draft_description
from darklung.commands.examples import copy_examples
from darklung.core.checks import DarklungError
from darklung.io.folders import file_groups
from darklung.io.frames import load_scans
from darklung.io.show import describe_file
from darklung.study.protocols import examples_folder

RNG = np.random.default_rng(0)
SAMPLE = RNG.integers(900, 1100, (3, 4, 5, 6)).astype(np.uint16)
FLAT = RNG.integers(900, 1100, (2, 4, 5, 6)).astype(np.uint16)
EXAMPLE = Path(__file__).parents[2] / "examples"


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["darklung", *map(str, words)])
    try:
        cli.main()
    except SystemExit as end:
        return end.code
    return 0


def tiffs(folder):
    for name, stack in (("mouse", SAMPLE), ("flat", FLAT)):
        for number, step in np.ndindex(stack.shape[:2]):
            tifffile.imwrite(folder / f"{name}_v{number:02d}_s{step}.tif", stack[number, step], photometric="minisblack")
    np.save(folder / "dark.npy", np.zeros((5, 6), np.uint16))
    (folder / "notes.txt").write_text("40 kVp")
    (folder / "log.json").write_text('{"kVp": 40}')


def answered(text, **answers):
    """The draft with its TODOs replaced, as a user would: by what is on the line."""
    lines = []
    for line in text.splitlines():
        key = line.split(":")[0].strip()
        for answer in answers.get(key, ()) if isinstance(answers.get(key), list) else [answers.get(key)]:
            if answer is not None:
                line = line.replace("TODO", answer, 1)
        lines.append(line)
    return "\n".join(lines)


def test_a_draft_of_tiff_files_needs_only_the_answers(tmp_path, monkeypatch, capsys):
    tiffs(tmp_path)
    assert run(monkeypatch, "describe", tmp_path, "--out", tmp_path / "d/scan.yaml") == 0
    assert "places say TODO" in capsys.readouterr().out
    text = (tmp_path / "d/scan.yaml").read_text()
    content = yaml.safe_load(text)
    assert content["sample"]["files"] == "../mouse_v*_s*.tif"
    assert content["sample"]["file_counts"] == [3, 4]
    assert content["flat"]["file_counts"] == [2, 4]
    assert content["dark_frame"]["files"] == "../dark.npy"
    assert "5 × 6 uint16 each" in text
    assert "# Not looked at: log.json, notes.txt" in text
    # Nothing goes through as it is: each TODO is refused by its place.
    with pytest.raises(DarklungError, match=r"sample\.file_axes\.0.*TODO"):
        list(load_scans(tmp_path / "d/scan.yaml"))
    text = text.replace("[TODO, TODO]", "[view, step]", 1).replace("[TODO, TODO]", "[flat, step]", 1)
    text = answered(text, count="4", endpoint_repeated="false", pixel="75 um", angles="60 deg")
    (tmp_path / "d/scan.yaml").write_text(text)
    ((_, scan, _),) = load_scans(tmp_path / "d/scan.yaml")
    np.testing.assert_array_equal(scan.frames[0], SAMPLE)
    np.testing.assert_array_equal(scan.flats[0], FLAT)
    assert run(monkeypatch, "describe", tmp_path, "--out", tmp_path / "d/scan.yaml") == 2
    assert "is there already" in capsys.readouterr().err


def test_a_draft_of_hdf5_lists_its_datasets(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["entry/frames"], file["entry/flats"], file["entry/dark"], file["time"] = (
            SAMPLE,
            FLAT,
            SAMPLE[0, 0],
            np.arange(3),
        )
        file["entry/other"], file["entry/a_flat_time"] = SAMPLE, np.zeros((2, 3))
    content = yaml.safe_load(draft_description(tmp_path / "scan.h5"))
    assert content["sample"]["dataset"] == "entry/frames"
    assert content["flat"]["dataset"] == "entry/flats"
    assert content["flat"]["axes"] == ["TODO", "TODO", "row", "col"]
    assert content["dark_frame"] == {"kind": "hdf5", "file": "scan.h5", "dataset": "entry/dark", "axes": ["row", "col"]}
    assert "# or sample:" in draft_description(tmp_path)


def test_a_draft_of_nxtomo_goes_by_its_image_keys(tmp_path):
    with h5py.File(tmp_path / "scan.nx", "w") as file:
        file["entry/instrument/detector/data"] = np.concatenate([FLAT.reshape(-1, 5, 6), SAMPLE.reshape(-1, 5, 6)])
        file["entry/instrument/detector/image_key"] = np.repeat([1, 0], [8, 12])
    content = yaml.safe_load(draft_description(tmp_path))
    assert content["sample"] == {
        "kind": "nxtomo", "file": "scan.nx", "frames": "sample", "frame_axes": ["TODO"], "frame_counts": [12],
    }  # fmt: skip
    assert content["flat"]["frame_counts"] == [8]
    assert "dark_frame" not in content


@pytest.mark.parametrize("name", ["mouse [7]", "a: b", "Maus ä #3"])
def test_a_draft_is_yaml_whatever_files_are_called(tmp_path, name):
    np.save(tmp_path / f"{name}.npy", SAMPLE)
    content = yaml.safe_load(draft_description(tmp_path))
    assert content["sample"]["files"] == f"{name}.npy"
    assert content["flat"] == "TODO"


def test_nothing_to_describe_is_told(tmp_path):
    with pytest.raises(DarklungError, match="no such file or folder"):
        draft_description(tmp_path / "none")
    with pytest.raises(DarklungError, match="wanted files in it, found none"):
        draft_description(tmp_path)
    (tmp_path / "a.raw").write_bytes(b"123")
    with pytest.raises(DarklungError, match="raw binary must be described by hand"):
        draft_description(tmp_path)


def test_groups_are_in_natural_order_and_count_grids(tmp_path):
    for view in range(3):
        for step in range(11):
            (tmp_path / f"v{view}_step{step}.bin").touch()
    (tmp_path / "v9_step99.bin").touch()
    (tmp_path / "alone 1.txt").touch()
    alone, grid = file_groups(tmp_path)
    assert (alone.pattern, alone.counts) == ("alone 1.txt", ())
    assert (grid.pattern, grid.counts) == ("v*_step*.bin", (34,))
    assert [p.name for p in grid.files[:12:11]] == ["v0_step0.bin", "v1_step0.bin"]
    assert grid.files[10].name == "v0_step10.bin"
    (tmp_path / "v9_step99.bin").unlink()
    assert file_groups(tmp_path)[1].counts == (3, 11)


def test_show_tells_folders_stores_volumes_and_links(tmp_path):
    tiffs(tmp_path)
    (tmp_path / "more").mkdir()
    told = describe_file(tmp_path)
    assert re.search(r"mouse_v\*_s\*\.tif +3 × 4 files", told)
    assert "notes.txt" in told
    assert "folders: more" in told
    group = zarr.open_group(str(tmp_path / "s.zarr"), mode="w")
    group.create_array("deep/frames", data=SAMPLE)
    assert re.search(r"deep/frames +3 × 4 × 5 × 6 +uint16", describe_file(tmp_path / "s.zarr"))
    nibabel.Nifti1Image(np.zeros((6, 5, 4), np.int16), np.diag([0.1, 0.1, 0.1, 1])).to_filename(tmp_path / "v.nii.gz")
    assert "4 × 5 × 6" in describe_file(tmp_path / "v.nii.gz")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["there"], file["soft"] = SAMPLE, h5py.SoftLink("/there")
        file["gone"], file["null"] = h5py.ExternalLink("none.h5", "/d"), h5py.Empty("f4")
    told = describe_file(tmp_path / "m.h5")
    assert "link to none.h5: /d" in told
    assert "link to /there" in told
    assert "holds nothing" in told


def test_the_examples_come_with_the_package_and_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("darklung.steps.quality.write_quality", lambda path, page: path)
    assert run(monkeypatch, "examples", "--out", tmp_path / "mine") == 0
    assert "next: darklung retrieve" in capsys.readouterr().out
    assert (tmp_path / "mine/protocols/mission_ct.yaml").is_file()
    assert (tmp_path / "mine/quick.yaml").read_text() == (EXAMPLE / "quick.yaml").read_text()
    scan = tmp_path / "mine/raw_scan/scan.yaml"
    assert run(monkeypatch, "retrieve", scan, "--out", tmp_path / "maps", "--workers", 1) == 0
    line = next(text for text in capsys.readouterr().out.splitlines() if text.startswith("mouse"))
    assert line.rstrip().endswith("100.0%")
    assert run(monkeypatch, "examples", "--out", tmp_path / "mine") == 2
    assert "wanted a new or an empty folder" in capsys.readouterr().err


def test_the_raw_scan_is_small_and_what_its_command_makes(tmp_path, monkeypatch):
    folder = examples_folder() / "raw_scan"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000
    assert run(monkeypatch, "simulate", folder / "protocol.yaml", "mouse", "--out", tmp_path) == 0
    assert (tmp_path / "scan.yaml").read_text() == (folder / "scan.yaml").read_text()
    with h5py.File(tmp_path / "scan.h5") as made, h5py.File(folder / "scan.h5") as kept:
        for name in ("frames", "flats"):
            one, two = made[name][()].astype(float), kept[name][()].astype(float)
            assert one.shape == two.shape
            # Another machine may round another way: then a few photons, not another image.
            assert np.abs(one - two).mean() < 0.02 * two.mean()


def test_a_copy_of_the_examples_that_is_killed_is_not_there_and_the_same_command_makes_it(tmp_path, monkeypatch):
    copied, copy = [], shutil.copyfile

    def third_fails(source, target, **how):
        copied.append(target)
        if len(copied) == 3:
            raise KeyboardInterrupt
        return copy(source, target, **how)

    with monkeypatch.context() as killing, pytest.raises(KeyboardInterrupt):
        killing.setattr(shutil, "copyfile", third_fails)
        copy_examples(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
    copy_examples(tmp_path / "mine")
    assert (tmp_path / "mine/raw_scan/scan.yaml").is_file()


def test_a_draft_that_is_killed_is_not_there(tmp_path, monkeypatch):
    np.save(tmp_path / "frames.npy", SAMPLE)
    write = Path.write_text

    def half(path, text, **how):
        write(path, text[: len(text) // 2], **how)
        raise KeyboardInterrupt

    with monkeypatch.context() as killing, pytest.raises(KeyboardInterrupt):
        killing.setattr(Path, "write_text", half)
        draft(tmp_path / "frames.npy", tmp_path / "scan.yaml")
    assert not (tmp_path / "scan.yaml").exists()
