"""What files lack, and what they hold beyond what is described: told by name, or read right; never zeros for counts."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import tifffile
import yaml

from darklung.core.checks import DarklungError
from darklung.io.edf import read_edf
from darklung.io.fabio_frames import read_fabio
from darklung.io.frames import load_scans
from darklung.io.holes import holes_of
from darklung.io.tiff_frames import read_tiff

VIEWS, FLATS, STEPS, ROWS, COLS = 4, 2, 4, 5, 6
RNG = np.random.default_rng(0)
SAMPLE = RNG.integers(100, 60_000, (VIEWS, STEPS, ROWS, COLS), dtype=np.uint16)
FLAT = RNG.integers(100, 60_000, (FLATS, STEPS, ROWS, COLS), dtype=np.uint16)
AXES = ["view", "step", "row", "col"]


def described(folder, sample, **more):
    np.save(folder / "flat.npy", FLAT)
    flat = {"kind": "npy", "files": "flat.npy", "axes": ["flat", "step", "row", "col"]}
    content = {"name": "scan", "sample": sample, "flat": flat, "pixel": "75 um", **more}
    content.setdefault("steps", {"count": STEPS, "endpoint_repeated": False})
    (folder / "scan.yaml").write_text(yaml.safe_dump(content))
    return folder / "scan.yaml"


def frames(path, **options):
    ((_, scan, _),) = load_scans(path, **options)
    return np.asarray(scan.frames)[0]


def hdf5(folder, **more):
    return described(folder, {"kind": "hdf5", "file": "scan.h5", "dataset": "s", "axes": AXES}, **more)


def virtual(folder, *, nested=False):
    """A virtual dataset of one file a view."""
    for view in range(VIEWS):
        with h5py.File(folder / f"p{view}.h5", "w") as file:
            file["deep/d"] = SAMPLE[view]
    layout = h5py.VirtualLayout(SAMPLE.shape, SAMPLE.dtype)
    for view in range(VIEWS):
        layout[view] = h5py.VirtualSource(f"p{view}.h5", "deep/d", shape=SAMPLE[view].shape)
    with h5py.File(folder / ("inner.h5" if nested else "scan.h5"), "w") as file:
        file.create_virtual_dataset("s", layout)
    if nested:
        outer = h5py.VirtualLayout(SAMPLE.shape, SAMPLE.dtype)
        outer[:] = h5py.VirtualSource("inner.h5", "s", shape=SAMPLE.shape)
        with h5py.File(folder / "scan.h5", "w") as file:
            file.create_virtual_dataset("s", outer)


def chunked(folder, without=()):
    with h5py.File(folder / "scan.h5", "w") as file:
        data = file.create_dataset("s", SAMPLE.shape, SAMPLE.dtype, chunks=(1, 2, ROWS, 3))
        for view in set(range(VIEWS)) - set(without):
            data[view] = SAMPLE[view]
        if 2 in without:
            data[2, :2] = SAMPLE[2, :2]


def external(folder, size):
    (folder / "raw.bin").write_bytes(SAMPLE.tobytes()[:size])
    with h5py.File(folder / "scan.h5", "w") as file:
        place = [(str(folder / "raw.bin"), 0, SAMPLE.nbytes)]
        file.create_dataset("s", SAMPLE.shape, SAMPLE.dtype, external=place)


def damaged(folder, kind):
    if kind.startswith("virtual"):
        virtual(folder, nested="nested" in kind)
        if "no dataset" in kind:
            h5py.File(folder / "p1.h5", "w").close()
        elif "no HDF5" in kind:
            (folder / "p1.h5").write_bytes(b"hello")
        else:
            (folder / "p1.h5").unlink()
    elif kind == "unmapped":
        layout = h5py.VirtualLayout(SAMPLE.shape, SAMPLE.dtype)
        virtual(folder)
        layout[:2] = h5py.VirtualSource("whole.h5", "s", shape=SAMPLE[:2].shape)
        with h5py.File(folder / "whole.h5", "w") as file:
            file["s"] = SAMPLE[:2]
        with h5py.File(folder / "scan.h5", "w") as file:
            file.create_virtual_dataset("s", layout)
    elif kind == "chunk":
        chunked(folder, without=(2,))
    elif kind == "never":
        with h5py.File(folder / "scan.h5", "w") as file:
            file.create_dataset("s", SAMPLE.shape, SAMPLE.dtype)
    else:
        external(folder, SAMPLE.nbytes - (0 if kind == "external missing" else 8))
        if kind == "external missing":
            (folder / "raw.bin").unlink()


DAMAGES = {
    "virtual": r"p1\.h5 is missing, at \[1, 0–3",
    "virtual nested": r"inner\.h5 \(s\): .*p1\.h5 is missing",
    "virtual no dataset": r"p1\.h5 has no dataset deep/d",
    "virtual no HDF5": r"p1\.h5 cannot be read",
    "unmapped": "240 of 480 values mapped to no file",
    "chunk": r"a chunk was never written, at \[2, 2–3, 0–4, 0–2\]",
    "never": "was never written",
    "external missing": r"raw\.bin is missing",
    "external short": r"raw\.bin has 952 bytes, wanted 960",
}


@pytest.mark.parametrize("limit", [0, 2**30], ids=["on disk", "in memory"])
@pytest.mark.parametrize("kind", DAMAGES)
def test_what_is_missing_is_told_before_anything_is_read(tmp_path, kind, limit):
    damaged(tmp_path, kind)
    with pytest.raises(DarklungError, match=DAMAGES[kind]) as caught:
        list(load_scans(hdf5(tmp_path), eager_bytes=limit))
    assert "\n" not in str(caught.value)


def test_whole_datasets_have_no_holes(tmp_path):
    for make in (virtual, chunked, lambda folder: external(folder, None)):
        make(tmp_path)
        with h5py.File(tmp_path / "scan.h5") as file:
            assert holes_of(file["s"]) == ()
        np.testing.assert_array_equal(frames(hdf5(tmp_path)), SAMPLE)
    virtual(tmp_path, nested=True)
    np.testing.assert_array_equal(frames(hdf5(tmp_path)), SAMPLE)


@pytest.mark.parametrize("kind", ["virtual", "chunk"])
@pytest.mark.parametrize("limit", [0, 2**30], ids=["on disk", "in memory"])
def test_what_is_left_out_may_be_missing(tmp_path, kind, limit):
    damaged(tmp_path, kind)
    lost = 1 if kind == "virtual" else 2
    path = hdf5(tmp_path, leave_out={"views": [lost]}, angles={"first": "0 deg", "step": "10 deg"})
    np.testing.assert_array_equal(frames(path, eager_bytes=limit), np.delete(SAMPLE, lost, axis=0))
    ((_, scan, _),) = load_scans(path)
    np.testing.assert_allclose(np.degrees(scan.geometry.angles_rad), np.delete([0, 10, 20, 30], lost))


def test_a_region_away_from_the_hole_is_whole(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        data = file.create_dataset("s", SAMPLE.shape, SAMPLE.dtype, chunks=(1, STEPS, ROWS, 3))
        data[..., 3:] = SAMPLE[..., 3:]
    np.testing.assert_array_equal(frames(hdf5(tmp_path, region={"cols": [3, 5]}), eager_bytes=0), SAMPLE[..., 3:])
    with pytest.raises(DarklungError, match="never written"):
        list(load_scans(hdf5(tmp_path)))


def test_one_empty_frame_of_several_repeats_is_told(tmp_path):
    repeated = np.stack([SAMPLE, SAMPLE], axis=1)
    repeated[1, 1, 2] = 0
    np.save(tmp_path / "s.npy", repeated)
    source = {"kind": "npy", "files": "s.npy", "axes": ["view", "repeat", "step", "row", "col"]}
    flat = {"kind": "npy", "files": "s.npy", "axes": ["flat", "repeat", "step", "row", "col"]}
    for how in ("sum", "mean"):
        with pytest.raises(DarklungError, match="no pixel has counts in repeat 1"):
            list(load_scans(described(tmp_path, source, repeat=how, flat=flat)))


def edf(array, **changes):
    keys = {"ByteOrder": "LowByteFirst", "DataType": "UnsignedShort", "Dim_1": array.shape[1], "Dim_2": array.shape[0]}
    text = "{\n" + "".join(f"{k} = {v} ;\n" for k, v in {**keys, **changes}.items() if v is not None)
    return (text.ljust(510) + "}\n").encode() + array.astype("<u2").tobytes()


ONE = SAMPLE[0, 0]


@pytest.mark.parametrize(
    "header",
    [
        {"json": '{"a": 1}\n'},
        {"json": '{"a": {"b": 2}\n}\n'},
        {"title": "}"},
        {"title": "a } b = c"},
        {"motor": "} \n"},
    ],
)
def test_braces_in_an_edf_value_are_text(tmp_path, header):
    (tmp_path / "a.edf").write_bytes(edf(ONE, **header))
    np.testing.assert_array_equal(read_edf(tmp_path / "a.edf"), ONE)


@pytest.mark.parametrize("padding", [b"", b"\0" * 452], ids=["close", "padded"])
def test_edf_of_several_images_is_stacked_or_refused(tmp_path, padding):
    (tmp_path / "a.edf").write_bytes(b"".join(edf(frame) + padding for frame in SAMPLE[0]))
    np.testing.assert_array_equal(read_edf(tmp_path / "a.edf", several=True), SAMPLE[0])
    with pytest.raises(ValueError, match="holds 4 images, wanted one"):
        read_edf(tmp_path / "a.edf")
    for view in range(VIEWS):
        (tmp_path / f"v{view}.edf").write_bytes(b"".join(edf(frame) + padding for frame in SAMPLE[view]))
    source = {"kind": "edf", "files": "v*.edf", "file_axes": ["view"], "axes": ["step", "row", "col"]}
    np.testing.assert_array_equal(frames(described(tmp_path, source)), SAMPLE)
    with pytest.raises(DarklungError, match="wanted 3 axes"):
        list(load_scans(described(tmp_path, {**source, "axes": ["row", "col"]})))


@pytest.mark.parametrize(
    ("tail", "words"),
    [(b"more data" * 9, "no further header"), (edf(ONE[:3]), "not alike"), (edf(ONE)[:-9], "bytes, but the header tells")],
)
def test_what_follows_an_edf_image_is_not_overlooked(tmp_path, tail, words):
    (tmp_path / "a.edf").write_bytes(edf(ONE) + tail)
    with pytest.raises(ValueError, match=words):
        read_edf(tmp_path / "a.edf", several=True)


def test_tiff_pages_that_are_no_series_are_stacked_or_told(tmp_path):
    for view in range(VIEWS):
        for frame in SAMPLE[view]:
            tifffile.imwrite(tmp_path / f"v{view}.tif", frame, append=True)
    np.testing.assert_array_equal(read_tiff(tmp_path / "v1.tif"), SAMPLE[1])
    source = {"kind": "tiff", "files": "v*.tif", "file_axes": ["view"]}
    np.testing.assert_array_equal(frames(described(tmp_path, {**source, "axes": ["step", "row", "col"]})), SAMPLE)
    with pytest.raises(DarklungError, match=r"wanted 3 axes \(view, row, col\)"):
        list(load_scans(described(tmp_path, {**source, "axes": ["row", "col"]})))
    tifffile.imwrite(tmp_path / "v3.tif", ONE[:3], append=True)
    with pytest.raises(
        DarklungError, match=r"v3\.tif: sample: cannot be read as TIFF \(holds 5 series of images that are not alike"
    ):
        frames(described(tmp_path, {**source, "axes": ["step", "row", "col"]}))


def imagej(path, array, **calibration):
    tifffile.imwrite(path, array, imagej=True, metadata=calibration)


def test_imagejs_signed_counts_are_read_right(tmp_path):
    signed = {"cf": "0", "c0": "-32768.0", "c1": "1.0", "vunit": "gray value"}
    imagej(tmp_path / "a.tif", ONE // 4 + np.uint16(32768), **signed)
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif"), ONE // 4)
    imagej(tmp_path / "stack.tif", SAMPLE[0] // 4 + np.uint16(32768), **signed)
    np.testing.assert_array_equal(read_tiff(tmp_path / "stack.tif"), SAMPLE[0] // 4)
    imagej(tmp_path / "plain.tif", ONE)
    np.testing.assert_array_equal(read_tiff(tmp_path / "plain.tif"), ONE)


@pytest.mark.parametrize("calibration", [("0", "1.5", "1"), ("0", "0", "0.01"), ("2", "1", "1")])
def test_other_calibrations_of_imagej_are_refused(tmp_path, calibration):
    imagej(tmp_path / "a.tif", ONE, **dict(zip(("cf", "c0", "c1"), calibration)))
    with pytest.raises(ValueError, match="calibrated in ImageJ"):
        read_tiff(tmp_path / "a.tif")


def test_cbf_is_read_by_fabio(tmp_path):
    fabio = pytest.importorskip("fabio", reason="fabio is not installed")
    for view, step in np.ndindex(VIEWS, STEPS):
        fabio.cbfimage.CbfImage(data=SAMPLE[view, step].astype(np.int32)).write(str(tmp_path / f"v{view}_{step}.cbf"))
    source = {"kind": "fabio", "files": "v*.cbf", "file_axes": ["view", "step"], "file_counts": [VIEWS, STEPS]}
    path = described(tmp_path, {**source, "axes": ["row", "col"]})
    np.testing.assert_array_equal(frames(path), SAMPLE)
    whole = (tmp_path / "v2_1.cbf").read_bytes()
    at = whole.index(b"\x0c\x1a\x04\xd5") + 9
    (tmp_path / "v2_1.cbf").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(DarklungError, match=r"v2_1\.cbf: sample: cannot be read \(fabio: Checksum"):
        frames(path)


@pytest.mark.parametrize(
    "damage", [lambda e: e[:-20], lambda e: e.replace(b"LowByteFirst", b"Middle      "), lambda e: b"\0" * 600]
)
def test_what_fabio_only_doubts_is_refused(tmp_path, damage, capfd):
    """It pads a cut image with zeros and makes up a byte order."""
    pytest.importorskip("fabio", reason="fabio is not installed")
    (tmp_path / "a.edf").write_bytes(damage(edf(ONE)))
    with pytest.raises(ValueError, match="fabio"):
        read_fabio(tmp_path / "a.edf")
    assert capfd.readouterr() == ("", "")


def test_without_fabio_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fabio", None)
    (tmp_path / "v.cbf").write_bytes(b"###CBF")
    source = {"kind": "fabio", "files": "v.cbf", "axes": ["row", "col"]}
    with pytest.raises(DarklungError, match=r"pip install 'darklung\[readers\]'"):
        list(load_scans(described(tmp_path, source)))
    (tmp_path / "c.edf").write_bytes(edf(ONE, Compression="GzipCompression"))
    with pytest.raises(ValueError, match=r"compressed EDF \(GzipCompression\): needs fabio"):
        read_edf(tmp_path / "c.edf")


def eiger(folder, options):
    """A master that links to files of frames, the last of them shorter."""
    flat = SAMPLE.reshape(-1, ROWS, COLS)
    with h5py.File(folder / "scan_master.h5", "w") as master:
        for n, start in enumerate(range(0, len(flat), 6), start=1):
            with h5py.File(folder / f"scan_data_{n:06d}.h5", "w") as file:
                file.create_dataset("entry/data/data", data=flat[start : start + 6], chunks=(1, ROWS, COLS), **options)
            master[f"entry/data/data_{n:06d}"] = h5py.ExternalLink(f"scan_data_{n:06d}.h5", "/entry/data/data")
    source = {"kind": "hdf5", "file": "scan_master.h5", "dataset": "entry/data/data_*", "axes": ["row", "col"]}
    return {**source, "frame_axes": ["view", "step"], "frame_counts": [VIEWS, STEPS]}


@pytest.mark.parametrize("compression", ["Bitshuffle", "LZ4", "Blosc"])
@pytest.mark.parametrize("limit", [0, 2**30], ids=["on disk", "in memory"])
def test_an_eiger_master_is_read_whole(tmp_path, compression, limit):
    hdf5plugin = pytest.importorskip("hdf5plugin", reason="hdf5plugin is not installed")
    source = eiger(tmp_path, getattr(hdf5plugin, compression)())
    path = described(tmp_path, source)
    np.testing.assert_array_equal(frames(path, eager_bytes=limit), SAMPLE)
    ((_, scan, _),) = load_scans(path, eager_bytes=0)
    np.testing.assert_array_equal(scan.frames[0, 1:3, 1:4, 2, 3:], SAMPLE[1:3, 1:4, 2, 3:])
    (tmp_path / "scan_data_000002.h5").unlink()
    with pytest.raises(DarklungError, match=r"leads to .*scan_data_000002\.h5, which is not there"):
        list(load_scans(path))


def test_a_filter_that_is_not_there_is_named_with_the_extra(tmp_path, monkeypatch):
    hdf5plugin = pytest.importorskip("hdf5plugin", reason="hdf5plugin is not installed")
    source = eiger(tmp_path, hdf5plugin.Bitshuffle())
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(DarklungError, match=r"compressed with filter 32008 .* which hdf5plugin does not know either"):
        list(load_scans(described(tmp_path, source)))
    monkeypatch.setitem(__import__("sys").modules, "hdf5plugin", None)
    with pytest.raises(DarklungError, match=r"filter 32008 .*pip install 'darklung\[readers\]'"):
        list(load_scans(described(tmp_path, source)))


@pytest.mark.parametrize("gap", [-1, -2, 4294967295])
def test_gaps_of_a_detector_are_bad_pixels(tmp_path, gap):
    dtype = np.int32 if gap < 0 else np.uint32
    sample, flat = SAMPLE.astype(dtype), FLAT.astype(dtype)
    sample[..., 2], flat[..., 2] = gap, gap
    np.save(tmp_path / "s.npy", sample)
    np.save(tmp_path / "f.npy", flat)
    source = {"kind": "npy", "files": "s.npy", "axes": AXES}
    flat_source = {"kind": "npy", "files": "f.npy", "axes": ["flat", "step", "row", "col"]}
    if gap < 0:
        with pytest.raises(DarklungError, match=r"gaps of the detector\? say gaps: \[-1, -2\]"):
            list(load_scans(described(tmp_path, source, flat=flat_source)))
    ((_, scan, _),) = load_scans(described(tmp_path, source, flat=flat_source, gaps=[gap]))
    np.testing.assert_array_equal(scan.bad_pixels, np.arange(COLS)[None] == 2 + np.zeros((ROWS, 1)))
