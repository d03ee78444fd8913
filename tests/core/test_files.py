"""Whatever a reader raises is one line; a file is whole or not there; what a killed process left is cleared away."""

import errno
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from darklung.core.checks import DarklungError
from darklung.core.files import machine_line, one_line, read_object, read_text, reading, whole, write_figure, write_text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("no group"), "a.h5: cannot be read as HDF5 (no group)"),
        (zipfile.BadZipFile("not\na zip"), "a.h5: cannot be read as HDF5 (not a zip)"),
        (RecursionError(), "a.h5: cannot be read as HDF5 (RecursionError)"),
        (MemoryError("1 TiB"), "a.h5: cannot be read as HDF5 (not enough memory)"),
        (OSError(errno.EIO, "Input/output error", "a.h5"), "a.h5: cannot be read as HDF5 (Input/output error)"),
        (yaml.YAMLError("odd"), "a.h5: cannot be read as HDF5 (odd)"),
        (DarklungError("names: wanted 1, got 2"), "a.h5: names: wanted 1, got 2"),
        (DarklungError("a.h5: no dataset"), "a.h5: no dataset"),
    ],
)
def test_whatever_a_reader_raises_is_one_line_that_names_the_file(error, told):
    with pytest.raises(DarklungError) as found, reading("a.h5", "HDF5"):
        raise error
    assert str(found.value) == told


def test_an_interrupt_is_no_fault_of_a_file():
    with pytest.raises(KeyboardInterrupt), reading("a"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\xff\xfe\x00", "cannot be read"), (b"[" * 100_000, "cannot be read as JSON"), (b"[1]", "wanted a JSON object")],
)
def test_broken_json_is_one_line(tmp_path, content, told):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DarklungError, match=r"a\.json: ") as found:
        read_object(path)
    assert told in str(found.value)
    assert "\n" not in str(found.value)


def test_a_file_is_whole_or_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old µ")
    with pytest.raises(RuntimeError), whole(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert read_text(path) == "old µ"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_figure_is_whole_or_the_old_one(tmp_path):
    class Figure:
        def savefig(self, path, **how):
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "figure.png").write_bytes(b"old")
    with pytest.raises(OSError, match="No space"):
        write_figure(tmp_path / "figure.png", Figure(), dpi=80)
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]
    assert (tmp_path / "figure.png").read_bytes() == b"old"


def test_a_folder_takes_the_place_of_a_folder(tmp_path):
    for text in ("one", "two"):
        with whole(tmp_path / "store") as partial:
            partial.mkdir()
            (partial / text).touch()
    assert os.listdir(tmp_path) == ["store"]
    assert os.listdir(tmp_path / "store") == ["two"]


def test_what_a_killed_process_left_goes_and_what_another_writes_stays(tmp_path):
    path = tmp_path / "a.txt"
    code = "import sys, os; from pathlib import Path; from darklung.core.files import whole\n"
    code += "with whole(Path(sys.argv[1])) as p: p.write_text('half'); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    assert len(os.listdir(tmp_path)) == 1
    other = tmp_path / f".a.txt.{os.getppid()}.partial"  # of a process that lives
    other.touch()
    write_text(path, "whole")
    assert sorted(os.listdir(tmp_path)) == sorted([other.name, "a.txt"])


def test_what_the_machine_refuses_is_told_with_the_file():
    full = OSError(errno.ENOSPC, "No space left on device", "/data/a.h5")
    assert machine_line(full) == "/data/a.h5: No space left on device"
    assert machine_line(MemoryError()) == "not enough memory"
    assert machine_line(FileNotFoundError(errno.ENOENT, "No such file")) == ""
    assert machine_line(ValueError("wanted 3, got 2")) == ""


def test_no_memory_and_no_threads_are_the_machines_refusal():
    assert machine_line(OSError(errno.ENOMEM, "Cannot allocate memory")) == "Cannot allocate memory"
    assert machine_line(BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")) != ""  # no process more
    assert machine_line(RuntimeError("can't start new thread")) == "can't start new thread"
    told = "DefaultCPUAllocator: can't allocate memory: tried 8 bytes. Error code 12 (Cannot allocate memory)"
    assert machine_line(RuntimeError(told)) == told


def test_what_libraries_make_of_a_full_disk_is_told_too():
    wrapped = RuntimeError("unexpected pos 68288 vs 68176")
    wrapped.__context__ = OSError(errno.ENOSPC, "No space left on device", "/data/a.pt")
    assert machine_line(wrapped) == "/data/a.pt: No space left on device"
    packed = RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert machine_line(packed) == str(packed)


def test_of_a_folder_that_cannot_be_copied_one_reason_is_told(tmp_path):
    (tmp_path / "from").mkdir()
    for name in ("a" * 120, "b" * 120):
        (tmp_path / "from" / name).touch()

    def full(source, target, **how):
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    with pytest.raises(shutil.Error) as found:
        shutil.copytree(tmp_path / "from", tmp_path / "to", copy_function=full)
    assert one_line(found.value).startswith("[Errno 28] No space left on device: ")
    assert "No space left on device" in machine_line(found.value)


def test_short_errors_have_the_name_of_their_kind():
    assert one_line(ValueError("")) == "ValueError"
