"""A corpus of broken raw scans of every kind: each ends in one clear line that names the file or the field.

Each case writes a whole scan of one kind, breaks it in one way, and retrieves it as the commands do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import yaml

from darklung.commands import cli
from darklung.core.checks import DarklungError
from darklung.io.frames import load_scans
from darklung.retrieve.stepping import retrieve

VIEWS, FLATS, STEPS, ROWS, COLS = 3, 2, 5, 6, 8
SAMPLE_AXES, FLAT_AXES = ["view", "step", "row", "col"], ["flat", "step", "row", "col"]


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    angle = 2 * np.pi * np.arange(STEPS)[:, None, None] / STEPS + rng.uniform(0, 6, (ROWS, COLS))
    return {
        "sample": rng.poisson(900 * (1 + 0.3 * np.cos(angle)), (VIEWS, STEPS, ROWS, COLS)).astype(np.uint16),
        "flat": rng.poisson(1500 * (1 + 0.4 * np.cos(angle)), (FLATS, STEPS, ROWS, COLS)).astype(np.uint16),
        "dark": rng.poisson(5, (ROWS, COLS)).astype(np.uint16),
        "bad": np.zeros((ROWS, COLS), np.uint8),
    }


def content(**sources: Any) -> dict[str, Any]:
    return {
        "name": "scan",
        "steps": {"count": STEPS, "endpoint_repeated": False},
        "pixel": "75 um",
        "angles": {"first": "0 deg", "step": "60 deg"},
        **sources,
    }


def hdf5(folder: Path, data: dict[str, np.ndarray]) -> dict[str, Any]:
    with h5py.File(folder / "scan.h5", "w") as file:
        for name, array in data.items():
            file[name] = array
    source = {"kind": "hdf5", "file": "scan.h5"}
    return content(
        sample={**source, "dataset": "sample", "axes": SAMPLE_AXES},
        flat={**source, "dataset": "flat", "axes": FLAT_AXES},
        dark_frame={**source, "dataset": "dark", "axes": ["row", "col"]},
        bad_pixels={**source, "dataset": "bad", "axes": ["row", "col"]},
    )


def nxtomo(folder: Path, data: dict[str, np.ndarray]) -> dict[str, Any]:
    parts = [(data["dark"][None], 2), (data["flat"].reshape(-1, ROWS, COLS), 1), (data["sample"].reshape(-1, ROWS, COLS), 0)]
    with h5py.File(folder / "scan.nx", "w") as file:
        file["entry/instrument/detector/data"] = np.concatenate([p for p, _ in parts])
        file["entry/instrument/detector/image_key"] = np.concatenate([np.full(len(p), k) for p, k in parts])
        angles = np.concatenate([np.zeros(1 + FLATS * STEPS), np.repeat([0.0, 60, 120], STEPS)])
        file["entry/sample/rotation_angle"] = angles
        file["entry/sample/rotation_angle"].attrs["units"] = "degree"
    source = {"kind": "nxtomo", "file": "scan.nx"}
    return content(
        sample={**source, "frames": "sample", "frame_axes": ["view", "step"], "frame_counts": [VIEWS, STEPS]},
        flat={**source, "frames": "flat", "frame_axes": ["flat", "step"], "frame_counts": [FLATS, STEPS]},
        angles="file",
    )


def _files(
    folder: Path, data: dict[str, np.ndarray], kind: str, ending: str, write: Callable[[Path, np.ndarray], Any]
) -> Any:
    """One file a frame of the sample and of the flats."""
    for name, axis in (("sample", "view"), ("flat", "flat")):
        for number, step in np.ndindex(data[name].shape[:2]):
            write(folder / f"{name}_{number}_{step}.{ending}", data[name][number, step])
        yield {
            "kind": kind,
            "files": f"{name}_*.{ending}",
            "file_axes": [axis, "step"],
            "file_counts": list(data[name].shape[:2]),
            "axes": ["row", "col"],
        }


def npy(folder: Path, data: dict[str, np.ndarray]) -> dict[str, Any]:
    sample, flat = _files(folder, data, "npy", "npy", np.save)
    return content(sample=sample, flat=flat)


def tiff(folder: Path, data: dict[str, np.ndarray]) -> dict[str, Any]:
    sample, flat = _files(folder, data, "tiff", "tif", lambda p, a: tifffile.imwrite(p, a, photometric="minisblack"))
    return content(sample=sample, flat=flat)


def _write_edf(path: Path, array: np.ndarray, **header: str) -> None:
    keys = {"ByteOrder": "LowByteFirst", "DataType": "UnsignedShort", "Dim_1": array.shape[1], "Dim_2": array.shape[0]}
    text = "{\n" + "".join(f"{k} = {v} ;\n" for k, v in {**keys, **header}.items())
    path.write_bytes((text.ljust(510) + "}\n").encode() + array.astype("<u2").tobytes())


def edf(folder: Path, data: dict[str, np.ndarray]) -> dict[str, Any]:
    sample, flat = _files(folder, data, "edf", "edf", _write_edf)
    return content(sample=sample, flat=flat)


def raw(folder: Path, data: dict[str, np.ndarray]) -> dict[str, Any]:
    sources = {}
    for name, axes in (("sample", SAMPLE_AXES), ("flat", FLAT_AXES)):
        (folder / f"{name}.raw").write_bytes(b"head" + data[name].astype("<u2").tobytes())
        sources[name] = {
            "kind": "raw",
            "files": f"{name}.raw",
            "dtype": "uint16",
            "byte_order": "little",
            "header_bytes": 4,
            "shape": list(data[name].shape),
            "axes": axes,
        }
    return content(**sources)


KINDS = {"hdf5": hdf5, "nxtomo": nxtomo, "npy": npy, "tiff": tiff, "edf": edf, "raw": raw}


def cut(name: str, keep: float | int) -> Callable[[Path, dict], None]:
    """Truncate a file to a share of its bytes, or to a number of them."""

    def damage(folder: Path, _: dict) -> None:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])

    return damage


def write(name: str, what: bytes) -> Callable[[Path, dict], None]:
    return lambda folder, _: (folder / name).write_bytes(what) and None


def remove(name: str) -> Callable[[Path, dict], None]:
    return lambda folder, _: (folder / name).unlink()


def dataset(name: str, make: Callable[[np.ndarray], Any], file: str = "scan.h5") -> Callable[[Path, dict], None]:
    def damage(folder: Path, _: dict) -> None:
        with h5py.File(folder / file, "r+") as opened:
            old, attributes = opened[name][()], dict(opened[name].attrs)
            del opened[name]
            opened[name] = make(old)
            opened[name].attrs.update(attributes)

    return damage


def drop(name: str, file: str = "scan.h5") -> Callable[[Path, dict], None]:
    def damage(folder: Path, _: dict) -> None:
        with h5py.File(folder / file, "r+") as opened:
            del opened[name]

    return damage


def said(**changes: Any) -> Callable[[Path, dict], None]:
    """The files are whole, the description says something else; "sample.axes" reaches inside."""

    def damage(_: Path, described: dict) -> None:
        for key, value in changes.items():
            place, *inner = key.split("__")
            if inner:
                described[place] = {**described[place], inner[0]: value}
            else:
                described[place] = value

    return damage


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def make(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.float32)
        array.ravel()[17] = value
        return array

    return make


DATA, KEY, ANGLE = "entry/instrument/detector/data", "entry/instrument/detector/image_key", "entry/sample/rotation_angle"

# name: (kind, damage, words in the line)
CORPUS: dict[str, tuple[str, Callable[[Path, dict], None], str]] = {
    "hdf5 truncated": ("hdf5", cut("scan.h5", 0.5), "scan.h5: sample"),
    "hdf5 without content": ("hdf5", write("scan.h5", b""), "scan.h5: sample"),
    "hdf5 that is text": ("hdf5", write("scan.h5", b"counts 1 2 3"), "cannot be read as HDF5"),
    "hdf5 missing": ("hdf5", remove("scan.h5"), "scan.h5: sample: no such file"),
    "hdf5 no sample": ("hdf5", drop("sample"), "no such dataset; the file holds bad, dark, flat"),
    "hdf5 no flat": ("hdf5", drop("flat"), "flat (flat): no such dataset"),
    "hdf5 no dark frame": ("hdf5", drop("dark"), "dark_frame (dark): no such dataset"),
    "hdf5 empty flats": ("hdf5", dataset("flat", lambda a: a[:0]), "flat (flat): is empty"),
    "hdf5 text": ("hdf5", dataset("flat", lambda a: a.astype("S6")), "wanted numbers"),
    "hdf5 complex": ("hdf5", dataset("sample", lambda a: a.astype(complex)), "wanted numbers, got dtype complex128"),
    "hdf5 an axis less": ("hdf5", dataset("sample", lambda a: a[0]), "sample (sample): wanted 4 axes"),
    "hdf5 an axis more": ("hdf5", dataset("flat", lambda a: a[None]), "flat (flat): wanted 4 axes"),
    "hdf5 swapped rows and columns": ("hdf5", dataset("flat", lambda a: a.swapaxes(2, 3)), "(row, col) (8, 6)"),
    "hdf5 swapped views and steps": ("hdf5", dataset("sample", lambda a: a.swapaxes(0, 1)), "3 steps, but steps in"),
    "hdf5 fewer steps": ("hdf5", dataset("sample", lambda a: a[:, :4]), "4 steps, but steps in"),
    "hdf5 narrower flat": ("hdf5", dataset("flat", lambda a: a[..., 1:]), "flat (flat): (row, col) (6, 7)"),
    "hdf5 NaN": ("hdf5", dataset("sample", with_value(np.nan)), "sample (sample): 1 of 720 values are not finite"),
    "hdf5 infinite": ("hdf5", dataset("flat", with_value(np.inf)), "flat (flat): 1 of 480 values are not finite"),
    "hdf5 negative": ("hdf5", dataset("sample", with_value(-4)), "negative counts, the lowest is -4"),
    "hdf5 signed after a wrong cast": ("hdf5", dataset("flat", lambda a: a.astype(np.int16) - 2000), "negative counts"),
    "hdf5 NaN in the dark frame": ("hdf5", dataset("dark", with_value(np.nan)), "dark_frame (dark): 1 of 48"),
    "hdf5 other dark frame": ("hdf5", dataset("dark", lambda a: a[1:]), "dark_frame: (row, col) (5, 8)"),
    "hdf5 other bad pixels": ("hdf5", dataset("bad", lambda a: a[:, 2:]), "bad_pixels: (row, col) (6, 6)"),
    "hdf5 all bad": ("hdf5", dataset("bad", lambda a: a + 1), "flats[0]: no pixel has counts"),
    "hdf5 dark flats": ("hdf5", dataset("flat", lambda a: a * 0), "flats[0, 0]: no pixel has counts in every step"),
    "nxtomo truncated": ("nxtomo", cut("scan.nx", 0.4), "scan.nx: sample (NXtomo sample): cannot be read"),
    "nxtomo no key": ("nxtomo", drop(KEY, "scan.nx"), "wanted one NXtomo entry, found none"),
    "nxtomo short key": ("nxtomo", dataset(KEY, lambda a: a[:-2], "scan.nx"), "26 frames, but image_key has shape (24,)"),
    "nxtomo no flats": ("nxtomo", dataset(KEY, lambda a: np.where(a == 1, 2, a), "scan.nx"), "image_key 1 (flat)"),
    "nxtomo a frame less": ("nxtomo", dataset(KEY, lambda a: np.r_[a[:-1], 3], "scan.nx"), "14 frames, frame_axes"),
    "nxtomo flat stack": (
        "nxtomo",
        dataset(DATA, lambda a: a.reshape(26, -1), "scan.nx"),
        "wanted frames (frame, row, col)",
    ),
    "nxtomo no angles": ("nxtomo", drop(ANGLE, "scan.nx"), "has no angles at"),
    "nxtomo angles that turn": ("nxtomo", dataset(ANGLE, np.cumsum, "scan.nx"), "differ by up to"),
    "nxtomo few angles": ("nxtomo", dataset(ANGLE, lambda a: a[:20], "scan.nx"), "20 rotation angles, but frame 25"),
    "npy truncated": ("npy", cut("sample_1_2.npy", 0.8), "sample_1_2.npy: sample: the header tells 96 bytes"),
    "npy header only": ("npy", cut("flat_0_0.npy", 60), "flat_0_0.npy: flat: cannot be read"),
    "npy pickled": ("npy", lambda f, _: np.save(f / "flat_0_0.npy", np.array([{}])), "flat_0_0.npy: flat: cannot be read"),
    "npy a file less": ("npy", remove("sample_2_4.npy"), "14 files, file_axes (view, step) tell 3 × 5"),
    "npy other shape": ("npy", lambda f, _: np.save(f / "sample_1_0.npy", np.ones((6, 9), np.uint16)), "shape (6, 9), but"),
    "npy other dtype": ("npy", lambda f, _: np.save(f / "sample_1_0.npy", np.ones((6, 8))), "dtype float64, but"),
    "npy no file": ("npy", said(flat__files="flats_*.npy"), "flats_*.npy: flat: no file matches"),
    "tiff truncated": ("tiff", cut("sample_0_3.tif", 100), "sample_0_3.tif: sample"),
    "tiff that is png": ("tiff", write("flat_1_1.tif", b"\x89PNG\r\n\x1a\n0000"), "flat_1_1.tif: flat: cannot be read"),
    "tiff empty": ("tiff", write("sample_0_0.tif", b""), "sample_0_0.tif: sample: cannot be read"),
    "tiff colour": (
        "tiff",
        lambda f, _: tifffile.imwrite(f / "flat_0_2.tif", np.ones((6, 8, 3), np.uint8), photometric="rgb"),
        "flat_0_2.tif: flat: cannot be read as TIFF (wanted grey images",
    ),
    "edf truncated": ("edf", cut("sample_2_2.edf", 0.9), "sample_2_2.edf: sample: cannot be read"),
    "edf no header": ("edf", write("sample_0_0.edf", b"\0" * 608), "sample_0_0.edf: sample: cannot be read (no EDF header"),
    "edf no byte order": (
        "edf",
        lambda f, _: _write_edf(f / "flat_0_0.edf", np.ones((6, 8)), ByteOrder="Middle"),
        "flat_0_0.edf: flat: cannot be read",
    ),
    "edf compressed": (
        "edf",
        lambda f, _: _write_edf(f / "flat_1_0.edf", np.ones((6, 8)), Compression="ZCompression"),
        "compressed EDF",
    ),
    "raw truncated": ("raw", cut("sample.raw", -6), "sample.raw: sample: 1438 bytes, but header, shape and dtype tell 1444"),
    "raw without its header": ("raw", said(sample__header_bytes=0), "1444 bytes, but header, shape and dtype tell 1440"),
    "raw wrong dtype": ("raw", said(flat__dtype="float32"), "flat.raw: flat: 964 bytes, but header"),
    "raw wrong shape": ("raw", said(flat__shape=[2, 5, 6, 9]), "flat.raw: flat: 964 bytes, but header"),
    "raw swapped axes": ("raw", said(flat__axes=["step", "flat", "row", "col"]), "2 steps, but steps in"),
    "too few angles": ("raw", said(angles=["0 deg", "60 deg"]), "angles: wanted 3 values, got 2"),
    "flat times missing": ("raw", said(flat_times=["0 s"]), "flat_times: wanted 2 values, got 1"),
    "more directions": ("raw", said(directions=["0 deg", "90 deg"]), "1 directions, but directions in"),
    "steps that coincide": (
        "raw",
        said(steps={"phases": ["0 deg", "360 deg", "0 deg", "180 deg", "180 deg"]}),
        "do not determine a sinusoid",
    ),
    "region beyond": ("raw", said(region={"rows": [0, 6]}), "region rows 0–6 outside 0–5"),
    "air beyond": ("raw", said(retrieval={"steps": "estimate", "air_cols": [[0, 8]]}), "air_cols: wanted columns 0 to 7"),
    "too many harmonics": ("raw", said(retrieval={"harmonics": 3}), "harmonics: 3 need at least 7 phase steps, got 5"),
}


def make(folder: Path, case: str) -> Path:
    kind, damage, _ = CORPUS[case]
    described = KINDS[kind](folder, arrays())
    damage(folder, described)
    path = folder / "scan.yaml"
    path.write_text(yaml.safe_dump(described))
    return path


def retrieve_all(path: Path, limit: int) -> None:
    from darklung.io.description import read_raw

    for (described, _), (_, scan, _) in zip(read_raw(path), load_scans(path, eager_bytes=limit)):
        retrieve(scan, **described.retrieval.arguments())


@pytest.mark.parametrize("kind", KINDS)
def test_whole_scans_are_read(tmp_path, kind):
    path = tmp_path / "scan.yaml"
    path.write_text(yaml.safe_dump(KINDS[kind](tmp_path, arrays())))
    ((_, scan, _),) = load_scans(path)
    np.testing.assert_array_equal(scan.frames[0], arrays()["sample"])
    np.testing.assert_array_equal(scan.flats[0], arrays()["flat"])
    retrieve_all(path, 0)


def test_the_corpus_is_large_enough():
    assert len(CORPUS) >= 40
    assert {kind for kind, _, _ in CORPUS.values()} == set(KINDS)


@pytest.mark.filterwarnings("ignore:.*invalid value:RuntimeWarning")
@pytest.mark.parametrize("case", CORPUS)
def test_a_broken_scan_ends_in_one_line(tmp_path, case):
    path = make(tmp_path, case)
    with pytest.raises(DarklungError) as caught:
        retrieve_all(path, 2**30)
    assert CORPUS[case][2] in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(DarklungError) as caught:
        retrieve_all(path, 0)  # frames that stay on disk are checked view by view
    assert "\n" not in str(caught.value)
    assert ": " in str(caught.value)


@pytest.mark.parametrize("case", ["hdf5 truncated", "npy other shape", "raw wrong dtype", "hdf5 NaN", "too few angles"])
def test_commands_tell_it_in_one_line(tmp_path, monkeypatch, capsys, case):
    path = make(tmp_path, case)
    for command in ("retrieve", "import", "qc"):
        monkeypatch.setattr(sys, "argv", ["darklung", command, str(path), "--out", str(tmp_path / command)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert caught.value.code == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("[")]
        assert len(lines) == 1, lines
        assert lines[0].startswith("darklung: ")
        assert CORPUS[case][2] in lines[0]
