"""Readers look before they take: what files claim is checked against what they hold, links and odd types are told."""

import json
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest
import yaml

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.io.frames import load_scans
from darklung.io.images import load_image, save_image
from darklung.io.labels import read_lung
from darklung.io.lobes import read_lobe
from darklung.io.npy import npz_members, read_npy, read_npz
from darklung.io.show import describe_file

STEPS = 4
HUGE = (10**6, 10**6, 100)


def frames(seed=0):
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(STEPS)[:, None, None] / STEPS + np.zeros((3, 5))
    return rng.poisson(900 * (1 + 0.3 * np.cos(angle)), (2, STEPS, 3, 5)).astype(np.uint16)


def scan(folder, sample, flat):
    axes = ["step", "row", "col"]
    content = {"name": "scan", "pixel": "75 um", "steps": {"count": STEPS, "endpoint_repeated": False}}
    content |= {"sample": {**sample, "axes": ["view", *axes]}, "flat": {**flat, "axes": ["flat", *axes]}}
    (folder / "scan.yaml").write_text(yaml.safe_dump(content))
    return folder / "scan.yaml"


def hdf5_scan(folder, fill):
    with h5py.File(folder / "scan.h5", "w") as file:
        file["f"] = frames()
        fill(file)
    source = {"kind": "hdf5", "file": "scan.h5"}
    return scan(folder, {**source, "dataset": "s"}, {**source, "dataset": "f"})


def huge(file):
    file.create_dataset("s", (2, STEPS, 10**6, 10**7), np.uint16, chunks=(1, 1, 64, 64))


@pytest.mark.parametrize(
    ("fill", "told"),
    [
        (lambda h: h.__setitem__("s", h5py.Empty("f4")), "is empty, a dataset without values"),
        (lambda h: h.__setitem__("s", h5py.ExternalLink("gone.h5", "/d")), r"leads to .*gone\.h5, which is not there"),
        (lambda h: h.__setitem__("s", h5py.SoftLink("/nowhere")), "no such dataset|cannot be read as HDF5"),
        (lambda h: h.create_group("s"), "is a group, not a dataset"),
        (lambda h: h.__setitem__("s", np.zeros((2, STEPS, 3, 5), [("a", "f4")])), "wanted numbers"),
        (lambda h: h.__setitem__("s", np.full((2, STEPS, 3, 5), "text", h5py.string_dtype())), "wanted numbers"),
        (huge, "cannot hold: truncated"),
    ],
    ids=["null", "external", "soft", "group", "compound", "text", "huge"],
)
def test_hdf5_that_cannot_be_frames_is_one_line(tmp_path, fill, told):
    path = hdf5_scan(tmp_path, fill)
    with pytest.raises(DarklungError, match=told) as found:
        list(load_scans(path, eager_bytes=0))
    assert "scan.h5" in str(found.value)
    assert "\n" not in str(found.value)


def test_half_precision_is_read_in_single(tmp_path):
    path = hdf5_scan(tmp_path, lambda h: h.__setitem__("s", frames(1).astype(np.float16)))
    ((_, found, _),) = load_scans(path)
    assert found.frames.dtype == np.float32
    assert np.array_equal(found.frames[0], frames(1).astype(np.float16).astype(np.float32))


def header(path, text, *, data=b"\0" * 100):
    """A .npy file whose header says `text`."""
    body = text.encode().ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body + data)
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{{'descr': '<u2', 'fortran_order': False, 'shape': {HUGE}}}", "cannot hold"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (14,)}", "cannot hold"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", "wanted numbers, got object"),
        ("{'descr': '<U9', 'fortran_order': False, 'shape': (3,)}", "wanted numbers"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", "wanted a shape"),
        ("{'descr': '<f8', 'fortran_order': False}", "cannot be read as npy"),
        ("__import__('os').system('true')", "cannot be read as npy"),
    ],
)
def test_what_a_npy_claims_is_looked_at_first(tmp_path, text, told):
    path = header(tmp_path / "a.npy", text)
    for read in (read_npy, describe_file, lambda p: read_lung(p, (2, 2))):
        tracemalloc.start()
        with pytest.raises(DarklungError, match=rf"a\.npy: .*{told}"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
        tracemalloc.stop()


def test_an_archive_where_an_array_belongs_is_one_line(tmp_path):
    np.savez(tmp_path / "s.npz", a=frames())
    np.save(tmp_path / "f.npy", frames())
    path = scan(tmp_path, {"kind": "npy", "files": "s.npz"}, {"kind": "npy", "files": "f.npy"})
    with pytest.raises(DarklungError, match=r"s\.npz: sample: cannot be read as npy"):
        list(load_scans(path))


def bomb(path):
    """1 GB of zeros in 1 MB, of which 8 GB are told."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        head = header(path.with_name("head"), f"{{'descr': '<f8', 'fortran_order': False, 'shape': {HUGE}}}").read_bytes()
        archive.writestr("mask.npy", head + bytes(2**24))


def test_archives_are_told_without_unpacking_them_and_bombs_are_refused(tmp_path):
    bomb(tmp_path / "a.npz")
    tracemalloc.start()
    assert "1000000 × 1000000 × 100" in describe_file(tmp_path / "a.npz")
    for read in (read_npz, read_lobe):
        with pytest.raises(DarklungError, match=r"a\.npz: the header tells"):
            read(tmp_path / "a.npz")
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-30])
    with pytest.raises(DarklungError, match=r"b\.npz: cannot be read as npz"):
        npz_members(tmp_path / "b.npz")


def test_show_tells_links_and_reads_no_large_array(tmp_path):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["d"] = np.zeros((2, 3))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["link"] = h5py.ExternalLink("d.h5", "/d")
        file["gone"] = h5py.ExternalLink("gone.h5", "/d")
        file["soft"] = h5py.SoftLink("/group/value")
        file["note"] = h5py.Empty("f4")
        file["group/value"] = 3.0
        file["group/itself"] = file["group"]
        huge(file)
    tracemalloc.start()
    told = describe_file(tmp_path / "m.h5")
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    for name, text in (
        ("link ", "link to d.h5: /d"),
        ("gone ", "link to gone.h5: /d, which is not there"),
        ("soft ", "link to /group/value"),
        ("note ", "holds nothing"),
        ("group/value", "= 3.0"),
        ("s ", "1000000 × 10000000"),
    ):
        line = next(line for line in told.splitlines() if line.strip().startswith(name))
        assert text in line
    assert len(told.splitlines()) == 7


def test_an_image_that_claims_more_than_memory_is_refused(tmp_path):
    path = tmp_path / "a.ome.zarr"
    save_image(path, Image(np.zeros((1, 4, 4, 4), np.float32), ("mu",), ("1/m",), (1e-4,) * 3))
    about = json.loads((path / "0/zarr.json").read_text())
    about["shape"] = [1, 10**5, 10**5, 10**5]
    (path / "0/zarr.json").write_text(json.dumps(about))
    with pytest.raises(DarklungError, match=r"a\.ome\.zarr: \d+ of its \d+ files of chunks are missing"):
        load_image(path)
    assert "100000 × 100000 × 100000" in describe_file(path)
