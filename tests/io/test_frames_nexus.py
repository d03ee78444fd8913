"""NXtomo and EDF sources, and the listing of files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import yaml

from darklung.core.checks import DarklungError
from darklung.io.edf import read_edf
from darklung.io.frames import load_scans
from darklung.io.show import describe_file

VIEWS, FLATS, STEPS, ROWS, COLS = 3, 2, 4, 5, 6
DARKS = 2


@pytest.fixture
def truth():
    rng = np.random.default_rng(0)
    shapes = ((VIEWS, STEPS), (FLATS, STEPS), (DARKS,))
    return [rng.integers(1, 60_000, (*s, ROWS, COLS), dtype=np.uint16) for s in shapes]


def write_nxtomo(path: Path, truth, *, units="degree", keys=None, jitter=0.0) -> None:
    """Dark frames first, then a flat, the sample, and the other flat, as scanners do."""
    sample, flat, dark = truth
    order = [(dark, 2), (flat[0], 1), (sample.reshape(-1, ROWS, COLS), 0), (flat[1], 1)]
    key = np.concatenate([np.full(len(part), k) for part, k in order])
    angles = np.zeros(len(key))
    angles[key == 0] = np.repeat([0.0, 60.0, 120.0], STEPS)
    angles[np.flatnonzero(key == 0)[-1]] += jitter
    with h5py.File(path, "w") as file:
        entry = file.create_group("scan0001")
        entry["instrument/detector/data"] = np.concatenate([part for part, _ in order])
        entry["instrument/detector/image_key"] = key if keys is None else keys
        entry["sample/rotation_angle"] = angles
        if units:
            entry["sample/rotation_angle"].attrs["units"] = units


def describe(folder: Path, **changes) -> Path:
    source = {"kind": "nxtomo", "file": "scan.nx"}
    content = {
        "name": "test",
        "sample": {**source, "frames": "sample", "frame_axes": ["view", "step"], "frame_counts": [VIEWS, STEPS]},
        "flat": {**source, "frames": "flat", "frame_axes": ["flat", "step"], "frame_counts": [FLATS, STEPS]},
        "dark_frame": {**source, "frames": "dark", "frame_axes": ["repeat"], "frame_counts": [DARKS]},
        "steps": {"count": STEPS, "endpoint_repeated": False},
        "pixel": "75 um",
        "angles": "file",
        **changes,
    }
    path = folder / "scan.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("limit", [0, 2**20])
def test_nxtomo_round_trip(tmp_path, truth, limit):
    write_nxtomo(tmp_path / "scan.nx", truth)
    ((_, scan, _),) = load_scans(describe(tmp_path), eager_bytes=limit)
    np.testing.assert_array_equal(np.asarray(scan.frames)[0], truth[0])
    np.testing.assert_array_equal(np.asarray(scan.flats)[0], truth[1])
    np.testing.assert_allclose(scan.dark_frame, truth[2].mean(axis=0))
    np.testing.assert_allclose(scan.geometry.angles_rad, np.radians([0, 60, 120]))
    np.testing.assert_array_equal(scan.frames[0, 1, 2:4], truth[0][1, 2:4])


@pytest.mark.parametrize(
    ("write", "change", "words"),
    [
        ({"units": ""}, {}, "rotation_angle has the unit ''; wanted degree or rad"),
        ({"jitter": 0.5}, {}, "frames of one view differ by up to 0.5°"),
        ({"keys": np.zeros(5, int)}, {}, r"22 frames, but image_key has shape \(5,\)"),
        ({"keys": np.zeros(22, int)}, {}, r"22 frames, frame_axes \(view, step\) tell 3 × 4"),
        ({"keys": np.full(22, 2)}, {}, r"no frame has image_key 0 \(sample\)"),
        ({}, {"sample": {"entry": "other"}}, "no entry 'other'; the file holds scan0001"),
        ({}, {"flat": {"frame_counts": [3, 4]}}, r"8 frames, frame_axes \(flat, step\) tell 3 × 4"),
        ({}, {"flat": {"file": "none.nx"}}, r"none\.nx: flat \(NXtomo flat\): no such file"),
    ],
)
def test_nxtomo_that_does_not_fit(tmp_path, truth, write, change, words):
    write_nxtomo(tmp_path / "scan.nx", truth, **write)
    path = describe(tmp_path)
    content = yaml.safe_load(path.read_text())
    for field, keys in change.items():
        content[field].update(keys)
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(DarklungError, match=words) as caught:
        list(load_scans(path))
    assert "\n" not in str(caught.value)


def test_nxtomo_without_frames_or_two_entries(tmp_path, truth):
    with h5py.File(tmp_path / "scan.nx", "w") as file:
        file["scan/data"] = 1
    with pytest.raises(DarklungError, match="wanted one NXtomo entry, found none"):
        list(load_scans(describe(tmp_path)))
    write_nxtomo(tmp_path / "scan.nx", truth)
    with h5py.File(tmp_path / "scan.nx", "r+") as file:
        file.copy("scan0001", "scan0002")
    with pytest.raises(DarklungError, match="found scan0001, scan0002; give entry"):
        list(load_scans(describe(tmp_path)))
    (tmp_path / "scan.nx").write_bytes(b"\x89HDF\r\n\x1a\n no more")
    with pytest.raises(DarklungError, match="cannot be read as HDF5"):
        list(load_scans(describe(tmp_path)))


def write_edf(path: Path, array: np.ndarray, **changes) -> None:
    names = {"<u2": "UnsignedShort", ">u2": "UnsignedShort", "<f4": "FloatValue"}
    header = {
        "HeaderID": "EH:000001:000000:000000",
        "ByteOrder": "HighByteFirst" if array.dtype.byteorder == ">" else "LowByteFirst",
        "DataType": names[array.dtype.newbyteorder("<").str if array.dtype.byteorder != ">" else ">u2"],
        "Dim_1": array.shape[1],
        "Dim_2": array.shape[0],
        **changes,
    }
    text = "{\n" + "".join(f"{key} = {value} ;\n" for key, value in header.items() if value is not None)
    text += " " * (512 - (len(text) + 2) % 512) + "}\n"
    path.write_bytes(text.encode("latin-1") + array.tobytes())


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f4"])
def test_edf_against_another_reader(tmp_path, truth, dtype):
    write_edf(tmp_path / "a.edf", truth[0][0, 0].astype(dtype))
    np.testing.assert_array_equal(read_edf(tmp_path / "a.edf"), truth[0][0, 0])
    fabio = pytest.importorskip("fabio", reason="fabio is not installed")
    with fabio.open(str(tmp_path / "a.edf")) as image:
        np.testing.assert_array_equal(image.data, truth[0][0, 0])
    fabio.edfimage.EdfImage(data=truth[0][0, 1]).write(str(tmp_path / "b.edf"))
    np.testing.assert_array_equal(read_edf(tmp_path / "b.edf"), truth[0][0, 1])


def test_edf_round_trip_as_a_scan(tmp_path, truth):
    write_nxtomo(tmp_path / "scan.nx", truth)
    for view in range(VIEWS):
        for step in range(STEPS):
            write_edf(tmp_path / f"v{view}_{step}.edf", truth[0][view, step])
    source = {"kind": "edf", "files": "v*.edf", "file_axes": ["view", "step"], "file_counts": [VIEWS, STEPS]}
    path = describe(tmp_path, sample={**source, "axes": ["row", "col"]}, angles=None)
    ((_, scan, _),) = load_scans(path)
    np.testing.assert_array_equal(scan.frames[0], truth[0])
    with pytest.raises(DarklungError, match="angles: 'file' needs a sample of kind nxtomo"):
        list(load_scans(describe(tmp_path, sample={**source, "axes": ["row", "col"]})))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Dim_1": None}, "lacks dim_1"),
        ({"DataType": "Quaternion"}, "DataType 'Quaternion'"),
        ({"ByteOrder": "Sideways"}, "ByteOrder 'Sideways' is not known"),
        ({"Dim_2": 500}, "bytes, but the header tells"),
        ({"Compression": "zcompression"}, "compressed EDF"),
    ],
)
def test_broken_edf(tmp_path, truth, changes, words):
    write_edf(tmp_path / "a.edf", truth[0][0, 0], **changes)
    with pytest.raises(ValueError, match=words):
        read_edf(tmp_path / "a.edf")
    with pytest.raises(DarklungError, match=r"a\.edf: cannot be read as edf"):
        describe_file(tmp_path / "a.edf")


def test_show_every_kind(tmp_path, truth):
    write_nxtomo(tmp_path / "scan.nx", truth)
    np.save(tmp_path / "a.npy", truth[0])
    np.savez(tmp_path / "a.npz", first=truth[0], second=truth[1])
    tifffile.imwrite(tmp_path / "a.tif", truth[0][0], photometric="minisblack")
    write_edf(tmp_path / "a.edf", truth[0][0, 0])
    told = {name: describe_file(tmp_path / name) for name in ("scan.nx", "a.npy", "a.npz", "a.tif", "a.edf")}
    assert "scan0001/instrument/detector/data" in told["scan.nx"]
    assert "22 × 5 × 6" in told["scan.nx"]
    assert "[units=degree]" in told["scan.nx"]
    assert "3 × 4 × 5 × 6" in told["a.npy"]
    assert "second" in told["a.npz"]
    assert "4 × 5 × 6" in told["a.tif"]
    assert "5 × 6" in told["a.edf"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"hello", "wanted HDF5, npy"),
        (b"\x89HDF\r\n\x1a\n", "cannot be read as hdf5"),
        (b"\x93NUMPY", "cannot be read as npy"),
        (b"II*\0", "cannot be read as TIFF"),
        (b"PK\x03\x04", "cannot be read as npz"),
    ],
)
def test_show_broken_files(tmp_path, content, words):
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    with pytest.raises(DarklungError, match=words):
        describe_file(tmp_path / "x")


def test_nxtomophase_is_read_by_its_paths(tmp_path, truth):
    """Bright field, dark field and sample lie apart, (frame, phase, x, y) each: paths and axes say it all."""
    sample, flat, dark = truth
    with h5py.File(tmp_path / "scan.nx", "w") as file:
        entry = file.create_group("entry")
        entry["definition"] = "NXtomophase"
        for place, frames in (("sample", sample), ("bright_field", flat), ("dark_field", dark[:, None])):
            entry[f"instrument/{place}/data"] = frames.swapaxes(2, 3)
    source = {"kind": "hdf5", "file": "scan.nx"}
    path = describe(
        tmp_path,
        sample={**source, "dataset": "entry/instrument/sample/data", "axes": ["view", "step", "col", "row"]},
        flat={**source, "dataset": "entry/instrument/bright_field/data", "axes": ["flat", "step", "col", "row"]},
        angles=["0 deg", "60 deg", "120 deg"],
        dark_frame={**source, "dataset": "entry/instrument/dark_field/data", "axes": ["repeat", "step", "col", "row"]},
    )
    ((_, scan, _),) = load_scans(path)
    np.testing.assert_array_equal(scan.frames[0], sample)
    np.testing.assert_array_equal(scan.flats[0], flat)
    np.testing.assert_allclose(scan.dark_frame, dark.mean(axis=0))
