"""verify names what differs: every kind of artefact, records, settings, inputs, versions."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import tifffile
from toy_study import run, toy

from darklung.commands.export import export_image
from darklung.commands.recorded import recorded
from darklung.commands.verify import verify_files
from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.io.images import save_image
from darklung.pipeline import Owner, Task, note_files, run_tasks
from darklung.pipeline.record import write_record
from darklung.pipeline.verify import verify

ALL = ("all/one",)


def wrong(path):
    return dict(verify(path).wrong)


@pytest.fixture
def made(tmp_path):
    """A run with one task that writes every kind, of a raw file and with a study file, and its page at the top."""
    raw, study = tmp_path / "raw.tif", tmp_path / "study.yaml"
    tifffile.imwrite(raw, np.arange(64, dtype=np.uint16).reshape(8, 8))
    study.write_text("name: all\nvoxel: 100 um\n")
    tasks = [Task("all", "one", "toy_stages:everything", {}, data=(raw,))]
    run_tasks(tasks, folder=tmp_path / "run", targets=ALL, workers=1, about={"name": "all"}, owner=Owner("run", study))
    shutil.copy(tmp_path / "run/all/one/report.html", tmp_path / "run/report.html")
    note_files(tmp_path / "run", ["report.html"])
    return tmp_path


def test_what_was_not_touched_is_as_written_wherever_one_looks(made):
    folder = made / "run"
    for path in (folder, folder / "all", folder / "all/one", folder / "all/one/volume.ome.zarr"):
        assert wrong(path) == {}
    for path in (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".", "log"))):
        assert wrong(path) == {}
    moved = folder.rename(made / "moved")
    assert wrong(moved) == {}


def test_200_flipped_bits_in_all_kinds_of_artefacts_are_named_and_nothing_else_is(made):
    folder, rng, kinds = made / "run", random.Random(0), Counter()
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".", "log")))
    suffixes = {p.suffix for p in files}
    assert {
        ".json",
        ".gz",
        ".h5",
        ".safetensors",
        ".csv",
        ".parquet",
        ".html",
        ".yaml",
        ".png",
        ".jsonl",
        "",
        ".npz",
    } <= suffixes
    for number in range(200):
        file = files[number % len(files)]
        content = bytearray(file.read_bytes())
        bit, about = rng.randrange(8 * len(content)), os.stat(file)
        content[bit // 8] ^= 1 << bit % 8
        whole = file.read_bytes()
        file.write_bytes(content)
        os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))  # a disk that rots tells no time
        found = wrong(file)
        assert set(found) == {file}, (file, bit)
        # A record that cannot be read any more tells nothing of the others: then they are named too, by nobody.
        assert file in wrong(folder)
        file.write_bytes(whole)
        kinds[file.suffix] += 1
    assert min(kinds.values()) >= 6
    assert wrong(folder) == {}


def test_every_flipped_bit_of_a_record_is_named_and_breaks_nothing(made):
    record, rng = made / "run/all/one/record.json", random.Random(1)
    whole = record.read_bytes()
    for _ in range(150):
        bit, content = rng.randrange(8 * len(whole)), bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        record.write_bytes(content)
        assert record in wrong(made / "run")


def test_cut_off_deleted_and_added_files_are_named(made):
    place = made / "run/all/one"
    shard = next(p for p in (place / "volume.ome.zarr/0/c").rglob("*") if p.is_file())
    (place / "comparison.json").write_text("{}")
    (place / "units.csv").unlink()
    (place / "volume.ome.zarr/0/c/9").write_bytes(shard.read_bytes())
    shard.unlink()
    told = {p.relative_to(place).as_posix(): how for p, how in wrong(made / "run").items()}
    assert told == {
        "comparison.json": "is not what was written",
        "units.csv": "is gone",
        shard.relative_to(place).as_posix(): "is gone",
        "volume.ome.zarr/0/c/9": "was not written by darklung",
    }
    assert set(wrong(place / "volume.ome.zarr")) == {shard, place / "volume.ome.zarr/0/c/9"}
    assert set(wrong(place / "units.csv")) == {place / "units.csv"}
    shutil.rmtree(place)
    assert wrong(made / "run") == {place: "is gone"}


def test_edited_settings_and_inputs_are_named_and_missing_ones_are_noted(made):
    (made / "study.yaml").write_text("name: all\nvoxel: 200 um\n")
    tifffile.imwrite(made / "raw.tif", np.ones((8, 8), np.uint16))
    assert set(wrong(made / "run")) == {made / "study.yaml", made / "raw.tif"}
    assert not wrong(made / "run/all/one/comparison.json")  # of one file, that file is asked for
    (made / "raw.tif").unlink()
    found = verify(made / "run")
    assert {p for p, _ in found.wrong} == {made / "study.yaml"}
    assert any("raw.tif: was read, and is not there any more" in note for note in found.notes)


def test_another_version_is_told(made):
    place = made / "run/all/one/record.json"
    record = json.loads(place.read_text())
    record["environment"]["source"] = "0" * 64
    record["environment"]["versions"] |= {"numpy": "1.0.0", "darklung": "0.0.9"}
    write_record(place, record)
    found = verify(made / "run")
    assert not found.wrong
    assert any("made by another darklung: 0.0.9" in note for note in found.notes)
    assert any("made with numpy 1.0.0; here is" in note for note in found.notes)


def test_records_of_before_are_told_and_not_called_changed(tmp_path):
    (tmp_path / "record.json").write_text(json.dumps({"command": "darklung simulate", "seed": 1}))
    found = verify(tmp_path)
    assert not found.wrong
    assert "a record without contents" in found.notes[0]


def test_what_was_removed_since_nothing_reads_it_any_more_is_not_missed(tmp_path):
    run(toy(tmp_path, transient=True), tmp_path / "run")
    assert not (tmp_path / "run/count/part-0/value").exists()
    assert wrong(tmp_path / "run") == {}


def test_commands_of_their_own_leave_records_too(made):
    image, out = made / "run/all/one/volume.ome.zarr", made / "nifti"

    @recorded
    def export(image, out):
        return export_image(image, out)

    export(image=image, out=out)
    record = json.loads((out / "record.json").read_text())
    assert sorted(record["outputs"]) == ["volume_attenuation.nii.gz", "volume_dark_field.nii.gz"]
    assert str(image / "zarr.json") in record["reads"]
    assert wrong(out) == {}
    file = out / "volume_dark_field.nii.gz"
    content = bytearray(file.read_bytes())
    content[100] ^= 4
    file.write_bytes(content)
    assert set(wrong(out)) == set(wrong(file)) == {file}
    with pytest.raises(DarklungError, match="holds the output of a task"):
        export(image=image, out=made / "run/all/one")


def test_a_single_file_has_its_record_beside_it_and_a_run_folder_in_its_own(tmp_path):
    @recorded
    def copy(source, out):
        out.write_bytes(source.read_bytes())
        out.with_suffix(".yaml").write_text("a: 1\n")

    (tmp_path / "a.h5").write_bytes(b"frames")
    copy(source=tmp_path / "a.h5", out=tmp_path / "b.h5")
    (tmp_path / "else.txt").write_text("not ours")
    assert wrong(tmp_path / "b.h5") == {} == wrong(tmp_path / "b.yaml")
    (tmp_path / "b.yaml").write_text("a: 2\n")
    assert set(wrong(tmp_path)) == set(wrong(tmp_path / "b.yaml")) == {tmp_path / "b.yaml"}
    with pytest.raises(DarklungError, match="no record tells"):
        verify(tmp_path / "else.txt")


def test_images_of_a_command_tell_of_added_chunks(tmp_path):
    @recorded
    def make(out):
        save_image(out / "maps.ome.zarr", Image(np.ones((1, 4, 4), np.float32), ("phase",), ("rad",), (1e-4,) * 2))

    make(out=tmp_path)
    assert wrong(tmp_path) == {}
    (tmp_path / "maps.ome.zarr/0/c/0/0/1").write_bytes(b"x")
    assert set(wrong(tmp_path)) == {tmp_path / "maps.ome.zarr/0/c/0/0/1"}


def test_the_command_says_so_by_its_exit_code(made):
    def call(*words):
        done = subprocess.run([sys.executable, "-m", "darklung", *words], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    code, out, _ = call("verify", str(made / "run"))
    assert (code, out.strip().endswith("all as written")) == (0, True)
    (made / "run/all/one/comparison.json").write_text("{}")
    code, out, _ = call("verify", str(made / "run"))
    assert code == 1
    assert "comparison.json: is not what was written" in out
    assert "1 artefact(s) differ" in out
    code, _, err = call("verify", str(made / "nothing/at/all"))
    assert (code, err.count("\n")) == (2, 1)


def test_many_differences_are_summed_up(made):
    for number in range(120):
        (made / f"run/all/one/more-{number}").write_text("x")
    text, whole = verify_files(made / "run")
    assert not whole
    assert "... and 20 more" in text
    assert "120 artefact(s) differ" in text


def test_a_folder_of_runs_is_looked_at_to_the_last_file(made):
    (made / "more").mkdir()
    (made / "run").rename(made / "more/run")
    alike = len(verify(made / "more/run").wrong), verify(made / "more/run").files
    for above in (made / "more", made):
        found = verify(above)
        assert (len(found.wrong), found.files) == alike
    (made / "more/run/all/one/report.html").write_text("another")
    assert made / "more/run/all/one/report.html" in wrong(made)
