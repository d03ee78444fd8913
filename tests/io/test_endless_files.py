"""Files that HDF5 or tifffile would read for ever or crash on are refused in a line; those that are whole are not."""

import importlib
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from darklung.core.checks import DarklungError
from darklung.io.heaps import check_heaps, walk
from darklung.io.tiff_pages import check_pages

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# What `benchmarks/fuzz.py` found: each kept a reader busy without end, crashed it, or was refused without the file's name.
FOUND = {
    "hdf5": (1505, 2700, 3277, 5015, 5236, 5413, 6653, 6823, 9446, 3504, 40714, 93697, 41036, 46950, 112700),
    "nxtomo": (2466, 6191, 13403),
    "tiff": (1297, 4334, 4647, 4844, 4876, 4902, 5540),
    "nifti": (31438, 61068),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_fuzzing_found_ends_in_a_line(name, tmp_path):
    sys.path.insert(0, str(BENCHMARKS))
    try:
        fuzz, readers = importlib.import_module("fuzz"), importlib.import_module("fuzz_readers").READERS
    finally:
        sys.path.remove(str(BENCHMARKS))
    reader = readers[name](tmp_path)
    for number in FOUND[name]:
        # In a child that is ended when it takes too long: a hang is a failure here, not a test that never ends.
        assert fuzz.batch(reader, number, 1) == {number: "refused"}


def texts(path, count=40):
    with h5py.File(path, "w") as file:
        for number in range(count):
            file.attrs[f"a{number}"] = "word " * (number % 7)
        file.create_group("deep/er").attrs["list"] = ["one", "three", ""]
        file["deep/names"] = np.array(["x", "long " * 900], dtype=object)
        file["deep/again"] = h5py.SoftLink("/deep")
        file["frames"] = np.frombuffer(b"GCOL" + bytes(60), np.uint8)


@pytest.mark.parametrize("version", ["earliest", "latest"])
def test_whole_files_pass_and_a_hole_in_any_heap_is_seen(tmp_path, version):
    with h5py.File(tmp_path / "empty.h5", "w", libver=version):
        pass
    check_heaps(tmp_path / "empty.h5")
    texts(tmp_path / "whole.h5")
    check_heaps(tmp_path / "whole.h5")
    content = (tmp_path / "whole.h5").read_bytes()
    heaps = [at for at in range(len(content)) if content.startswith(b"GCOL\1\0\0\0", at)]
    assert len(heaps) >= 2
    for at in heaps:
        bad = tmp_path / f"bad{at}.h5"
        bad.write_bytes(content[: at + 16] + bytes(16) + content[at + 32 :])
        with pytest.raises(DarklungError, match=rf"bad{at}.h5: cannot be read as HDF5 \(a heap at byte {at}"):
            check_heaps(bad)


def test_pixels_that_look_like_a_heap_are_pixels(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["frames"] = np.frombuffer((b"GCOL\1\0\0\0" + bytes(56)) * 100, np.uint8)
        file.attrs["name"] = "a"
    check_heaps(tmp_path / "a.h5")


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"imagej": True}])
def test_pages_in_a_circle_are_refused_and_others_not(tmp_path, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((5, 6, 7), np.uint16), **({"photometric": "minisblack"} | options))
    check_pages(path)
    with tifffile.TiffFile(path) as file:
        last, first, order = file.pages[-1], file.pages[0].offset, file.byteorder
        form = ("Q", 8, 8, 20) if file.is_bigtiff else ("I", 4, 2, 12)
        at = last.offset + form[2] + len(last.tags) * form[3]
    content = bytearray(path.read_bytes())
    content[at : at + form[1]] = first.to_bytes(form[1], "little" if order == "<" else "big")
    path.write_bytes(content)
    with pytest.raises(DarklungError, match=r"a\.tif: cannot be read as TIFF \(page . is named twice"):
        check_pages(path)
    content[at : at + form[1]] = (10**9).to_bytes(form[1], "little" if order == "<" else "big")
    path.write_bytes(content)
    with pytest.raises(DarklungError, match="goes beyond the file"):
        check_pages(path)


KINDS = {
    "attribute": lambda file: file.attrs.create("word", "text"),
    "of a dataset": lambda file: file.create_dataset("d/e", data=1).attrs.create("word", ["a", "b"]),
    "dataset": lambda file: file.create_dataset("g/words", data=np.array(["a"], object), dtype=h5py.string_dtype()),
    "lists": lambda file: file.create_dataset("lists", (2,), h5py.vlen_dtype("u1")).__setitem__(0, [1, 2]),
    "records": lambda file: file.create_dataset("records", (1,), np.dtype([("n", "i4"), ("word", h5py.string_dtype())])),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_variable_length_of_nothing_that_is_known_is_refused_before_it_is_read(kind, tmp_path):
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        KINDS[kind](file)
    check_heaps(tmp_path / "whole.h5")
    content = bytearray((tmp_path / "whole.h5").read_bytes())
    # A type's class and version, then a half byte that says text or list.
    places = [at for at in range(len(content)) if content[at] in (0x19, 0x39) and content[at + 4 : at + 8] == b"\x10\0\0\0"]
    assert places
    for at in places:
        content[at + 1] = content[at + 1] & 0xF0 | 10
    (tmp_path / "bad.h5").write_bytes(content)
    with pytest.raises(DarklungError, match=r"bad\.h5: cannot be read .*the type of .* is neither of texts nor of lists"):
        check_heaps(tmp_path / "bad.h5")


def test_a_walk_meets_each_object_once_in_the_order_of_names(tmp_path):
    texts(tmp_path / "whole.h5")
    with h5py.File(tmp_path / "whole.h5", "a") as file:
        file["deep/er/same"] = file["frames"]
        file["deep/er/up"] = file["deep"]
    with h5py.File(tmp_path / "whole.h5") as file:
        assert [name for name, _ in walk(file)] == ["", "deep", "deep/er", "deep/er/same", "deep/names"]
