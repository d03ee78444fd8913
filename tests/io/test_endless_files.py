"""Files that HDF5 or tifffile would read for ever are refused in a line, at once; those that are whole are not."""

import importlib
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from darklung.core.checks import DarklungError
from darklung.io.heaps import check_heaps
from darklung.io.tiff_pages import check_pages

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# What `benchmarks/fuzz.py` found: each kept a reader busy without end, or was refused in a line without the file's name.
FOUND = {
    "hdf5": (1505, 2700, 3277, 5015, 5236, 5413, 6653, 6823, 9446),
    "nxtomo": (2466,),
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
