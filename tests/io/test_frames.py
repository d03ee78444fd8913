"""Raw scans: round trips through every kind of source, and files that must end in one clear line."""

from __future__ import annotations

import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import yaml

from darklung.core.checks import DarklungError
from darklung.core.fitting import Fit
from darklung.io.description import read_raw, resolve_path
from darklung.io.frames import LazyFrames, Stack, load_scans

VIEWS, FLATS, STEPS, ROWS, COLS = 3, 2, 4, 5, 6


@pytest.fixture
def truth():
    rng = np.random.default_rng(0)
    sample = rng.integers(0, 60_000, (VIEWS, STEPS, ROWS, COLS), dtype=np.uint16)
    flat = rng.integers(1, 60_000, (FLATS, STEPS, ROWS, COLS), dtype=np.uint16)
    return sample, flat


def describe(folder: Path, **changes) -> Path:
    """A description of an HDF5 scan with the axes (row, step, view, col), some keys changed (None removes)."""
    content = {
        "name": "test",
        "sample": {"kind": "hdf5", "file": "scan.h5", "dataset": "a/sample", "axes": ["row", "step", "view", "col"]},
        "flat": {"kind": "hdf5", "file": "scan.h5", "dataset": "a/flat", "axes": ["flat", "step", "row", "col"]},
        "steps": {"count": STEPS, "endpoint_repeated": False},
        "pixel": "75 um",
        "angles": {"first": "0 deg", "step": "90 deg"},
        **changes,
    }
    path = folder / "scan.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return path


def write_hdf5(folder: Path, truth) -> None:
    with h5py.File(folder / "scan.h5", "w") as file:
        file["a/sample"] = truth[0].transpose(2, 1, 0, 3)
        file["a/flat"] = truth[1]


def load(path, **options):
    (found,) = load_scans(path, **options)
    return found


def check(scan, truth) -> None:
    np.testing.assert_array_equal(np.asarray(scan.frames)[0], truth[0])
    np.testing.assert_array_equal(np.asarray(scan.flats)[0], truth[1])


def test_hdf5_with_any_axis_order(tmp_path, truth):
    write_hdf5(tmp_path, truth)
    name, scan, columns = load(describe(tmp_path))
    check(scan, truth)
    assert (name, columns) == ("test", {})
    assert scan.geometry.pixel_m == pytest.approx(75e-6)
    np.testing.assert_allclose(scan.geometry.angles_rad, [0, np.pi / 2, np.pi])
    np.testing.assert_allclose(scan.step_phase_rad, [[0, np.pi / 2, np.pi, 3 * np.pi / 2]])
    np.testing.assert_allclose(scan.directions_rad, np.pi / 2)


def test_lazy_frames_equal_the_array(tmp_path, truth):
    write_hdf5(tmp_path, truth)
    _, scan, _ = load(describe(tmp_path), eager_bytes=0)
    assert isinstance(scan.frames, LazyFrames)
    check(scan, truth)
    whole = truth[0][None]
    for key in (0, (0, 1), (0, slice(1, 3)), (0, 2, 1, slice(1, 4), 3), (..., -1), (slice(None), 0, ...)):
        np.testing.assert_array_equal(scan.frames[key], whole[key])
    with pytest.raises(DarklungError, match="only plain slices"):
        scan.frames[0, ::2]
    with pytest.raises(DarklungError, match="axis view: 7 outside 0–2"):
        scan.frames[0, 7]


def test_npy_one_file_a_frame(tmp_path, truth):
    for view in range(VIEWS):
        for step in range(STEPS):
            np.save(tmp_path / f"s_{view}_{step}.npy", truth[0][view, step])
    np.save(tmp_path / "flat.npy", truth[1].transpose(0, 1, 3, 2))
    source = {
        "kind": "npy",
        "files": "s_*.npy",
        "file_axes": ["view", "step"],
        "file_counts": [VIEWS, STEPS],
        "axes": ["row", "col"],
    }
    flat = {"kind": "npy", "files": "flat.npy", "axes": ["flat", "step", "col", "row"]}
    for limit in (0, 2**20):
        check(load(describe(tmp_path, sample=source, flat=flat), eager_bytes=limit)[1], truth)


def test_tiff_stacks(tmp_path, truth):
    for step in range(STEPS):
        tifffile.imwrite(tmp_path / f"s{step}.tif", truth[0][:, step], photometric="minisblack")
    tifffile.imwrite(tmp_path / "f.tif", truth[1].reshape(-1, ROWS, COLS), photometric="minisblack")
    source = {
        "kind": "tiff",
        "files": ["s0.tif", "s1.tif", "s2.tif", "s3.tif"],
        "file_axes": ["step"],
        "axes": ["view", "row", "col"],
    }
    flat = {"kind": "tiff", "files": "f.tif", "axes": ["step", "row", "col"]}
    with pytest.raises(DarklungError, match=r"f\.tif: flat: 8 steps, but steps in .*scan.yaml tells 4"):
        load(describe(tmp_path, sample=source, flat=flat))
    tifffile.imwrite(tmp_path / "f.tif", truth[1][0], photometric="minisblack")
    _, scan, _ = load(describe(tmp_path, sample=source, flat=flat))
    check(scan, (truth[0], truth[1][:1]))


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"compression": "zlib"}, {"bigtiff": True}])
def test_one_large_tiff_is_mapped_where_it_can_be(tmp_path, truth, options):
    from darklung.io.tiff_frames import read_tiff

    for name, array in (("s", truth[0]), ("f", truth[1])):
        tifffile.imwrite(tmp_path / f"{name}.tif", array, photometric="minisblack", **options)
    assert isinstance(read_tiff(tmp_path / "s.tif"), np.memmap) == ("compression" not in options)
    sample = {"kind": "tiff", "files": "s.tif", "axes": ["view", "step", "row", "col"]}
    flat = {"kind": "tiff", "files": "f.tif", "axes": ["flat", "step", "row", "col"]}
    for limit in (0, 2**20):
        check(load(describe(tmp_path, sample=sample, flat=flat), eager_bytes=limit)[1], truth)


@pytest.mark.parametrize(("order", "code"), [("little", "<"), ("big", ">")])
def test_raw_binary(tmp_path, truth, order, code):
    for name, array in zip(("s", "f"), truth):
        (tmp_path / f"{name}.raw").write_bytes(b"head" + array.astype(f"{code}u2").tobytes())
    raw = {"kind": "raw", "dtype": "uint16", "byte_order": order, "header_bytes": 4}
    sample = {**raw, "files": "s.raw", "shape": [VIEWS, STEPS, ROWS, COLS], "axes": ["view", "step", "row", "col"]}
    flat = {**raw, "files": "f.raw", "shape": [FLATS, STEPS, ROWS, COLS], "axes": ["flat", "step", "row", "col"]}
    _, scan, _ = load(describe(tmp_path, sample=sample, flat=flat))
    check(scan, truth)
    assert scan.frames.dtype.isnative


def test_repeats_dark_frames_bad_pixels_and_region(tmp_path):
    rng = np.random.default_rng(1)
    sample = rng.integers(0, 65_536, (STEPS, 2, ROWS, COLS), dtype=np.uint16)
    np.save(tmp_path / "s.npy", sample)
    np.save(tmp_path / "f.npy", sample[::-1])
    dark = rng.integers(0, 9, (3, ROWS, COLS), dtype=np.uint8)
    np.save(tmp_path / "d.npy", dark)
    bad = rng.random((ROWS, COLS)) < 0.3
    np.save(tmp_path / "b.npy", bad)
    axes = ["step", "repeat", "row", "col"]
    path = describe(
        tmp_path,
        sample={"kind": "npy", "files": "s.npy", "axes": axes},
        flat={"kind": "npy", "files": "f.npy", "axes": axes},
        dark_frame={"kind": "npy", "files": "d.npy", "axes": ["repeat", "row", "col"]},
        bad_pixels={"kind": "npy", "files": "b.npy", "axes": ["row", "col"]},
        repeat="sum",
        region={"rows": [1, 3], "cols": [2, 5]},
        axis_col=3.5,
    )
    _, scan, _ = load(path)
    np.testing.assert_array_equal(scan.frames[0, 0], sample.sum(axis=1)[:, 1:4, 2:6])
    np.testing.assert_allclose(scan.dark_frame, 2 * dark.mean(axis=0)[1:4, 2:6])
    np.testing.assert_array_equal(scan.bad_pixels, bad[1:4, 2:6])
    assert scan.geometry.axis_col == 1.5
    text = path.read_text().replace("repeat: sum", "repeat: mean")
    path.write_text(text)
    _, scan, _ = load(path)
    np.testing.assert_allclose(scan.frames[0, 0], sample.mean(axis=1)[:, 1:4, 2:6])
    np.testing.assert_allclose(scan.dark_frame, dark.mean(axis=0)[1:4, 2:6])


def test_step_phases(tmp_path, truth):
    write_hdf5(tmp_path, truth)
    end = load(describe(tmp_path, steps={"count": 4, "periods": 2, "endpoint_repeated": True}))[1]
    np.testing.assert_allclose(end.step_phase_rad[0], 4 * np.pi * np.arange(4) / 3)
    own = load(describe(tmp_path, steps={"phases": ["0 deg", "80 deg", "1.5 rad", "3 rad"]}))[1]
    np.testing.assert_allclose(own.step_phase_rad[0], [0, np.radians(80), 1.5, 3.0])


def test_series_fills_in_the_columns_of_a_table(tmp_path, truth, monkeypatch):
    write_hdf5(tmp_path, truth)
    (tmp_path / "index.csv").write_text("file,diameter,first,last\nscan.h5,0.5,1,3\nscan.h5,1.5,2,2\n")
    path = describe(
        tmp_path,
        region={"cols": ["{first}", "{last}"]},
        series={"table": "${SOMEWHERE:-.}/index.csv", "name": "{diameter} um"},
    )
    text = path.read_text().replace("name: test\n", "").replace("file: scan.h5", "file: ${SOMEWHERE:-.}/{file}")
    path.write_text(text)
    found = list(load_scans(path))
    assert [name for name, _, _ in found] == ["0.5 um", "1.5 um"]
    assert [columns["diameter"] for _, _, columns in found] == ["0.5", "1.5"]
    assert [scan.frames.shape[-1] for _, scan, _ in found] == [3, 1]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("SOMEWHERE", str(tmp_path / "elsewhere"))
    with pytest.raises(DarklungError, match=r"elsewhere/index\.csv: no such file"):
        list(load_scans(path))
    with pytest.raises(DarklungError, match="NOWHERE_SET is not set"):
        resolve_path("${NOWHERE_SET}/x", path)


def test_retrieval_options(tmp_path, truth):
    write_hdf5(tmp_path, truth)
    wanted = {"steps": "estimate", "air_cols": [[0, 1], [5, 5]], "reference": "interpolate"}
    times = {f"{of}_times": {"first": "0 s", "step": "1 s"} for of in ("view", "flat")}
    for told in ({}, {"view_times": times["view_times"]}, {"flat_times": times["flat_times"]}):
        with pytest.raises(DarklungError, match="interpolate needs view_times and flat_times"):
            list(read_raw(describe(tmp_path, retrieval=wanted, **told)))
    ((raw, _),) = read_raw(describe(tmp_path, retrieval=wanted, **times))
    assert raw.retrieval.arguments() == {
        "reference": "interpolate",
        "fit": Fit(),
        "least_strength": 10.0,
        "steps": "estimate",
        "air_cols": [0, 1, 5],
        "most_misfit": float("inf"),
        "variance": "neighbourhood",
    }


def test_all_mistakes_of_a_description_are_told_at_once(tmp_path):
    path = tmp_path / "scan.yaml"
    path.write_text(
        textwrap.dedent("""
        name: bad
        sample: {kind: hdf5, file: a.h5, axes: [view, step, row, column]}
        flat: {kind: dicom, file: a}
        steps: {count: 4}
        pixel: 75
        colour: red
        """)
    )
    with pytest.raises(DarklungError) as caught:
        list(read_raw(path))
    told = str(caught.value)
    for words in ("dataset", "axes", "flat", "endpoint_repeated", "pixel: wanted a length", "colour: unknown key"):
        assert words in told, told
    assert all(line.startswith(str(path)) for line in told.splitlines())


def _truncate(folder):
    file = folder / "scan.h5"
    file.write_bytes(file.read_bytes()[:600])


def _drop(name):
    def change(folder):
        with h5py.File(folder / "scan.h5", "r+") as file:
            del file[name]

    return change


def _replace(name, make):
    def change(folder):
        with h5py.File(folder / "scan.h5", "r+") as file:
            old = file[name][()]
            del file[name]
            file[name] = make(old)

    return change


def _nan(array):
    array = array.astype(float)
    array[0, 0, 0, 0] = np.nan
    return array


BROKEN = {
    "truncated": (_truncate, {}, r"scan\.h5: sample \(a/sample\): cannot be read as HDF5"),
    "no file": (lambda f: (f / "scan.h5").unlink(), {}, r"scan\.h5: sample: no such file"),
    "no sample": (_drop("a/sample"), {}, r"no such dataset; the file holds a/flat"),
    "no flat": (_drop("a/flat"), {}, r"flat \(a/flat\): no such dataset; the file holds a/sample"),
    "empty file": (lambda f: (f / "scan.h5").write_bytes(b""), {}, "cannot be read as HDF5"),
    "a group": (_replace("a/flat", lambda a: a), {"flat": ("dataset", "a")}, "is a group, not a dataset"),
    "three axes": (
        _replace("a/flat", lambda a: a[0]),
        {},
        r"flat.*wanted 4 axes \(flat, step, row, col\).*\(4, 5, 6\)",
    ),
    "five axes": (_replace("a/sample", lambda a: a[None]), {}, r"sample.*wanted 4 axes"),
    "fewer steps": (_replace("a/flat", lambda a: a[:, :3]), {}, r"flat.*3 steps, but steps in .* tells 4"),
    "other width": (_replace("a/flat", lambda a: a[..., :5]), {}, r"flat.*\(5, 5\), but the sample has \(5, 6\)"),
    "swapped axes": (_replace("a/flat", lambda a: a.transpose(0, 1, 3, 2)), {}, r"flat.*\(6, 5\), but the sample has"),
    "no flats left": (_replace("a/flat", lambda a: a[:0]), {}, "flat.*is empty"),
    "text": (_replace("a/flat", lambda a: a.astype("S5")), {}, "flat.*wanted numbers"),
    "complex": (_replace("a/sample", lambda a: a.astype(complex)), {}, "sample.*wanted numbers, got dtype complex128"),
    "NaN in sample": (_replace("a/sample", _nan), {}, r"sample.*1 of 360 values are not finite"),
    "NaN in flat": (_replace("a/flat", _nan), {}, r"flat.*1 of 240 values are not finite"),
    "infinite": (_replace("a/flat", lambda a: a / 0.0), {}, "flat.*not finite"),
    "negative": (_replace("a/flat", lambda a: -a.astype(float)), {}, "flat.*negative counts"),
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("case", BROKEN)
def test_broken_hdf5_ends_in_one_line(tmp_path, truth, case):
    damage, change, words = BROKEN[case]
    write_hdf5(tmp_path, truth)
    damage(tmp_path)
    flat = {"kind": "hdf5", "file": "scan.h5", "dataset": "a/flat", "axes": ["flat", "step", "row", "col"]}
    if "flat" in change:
        flat = {**flat, change["flat"][0]: change["flat"][1]}
    with pytest.raises(DarklungError, match=words) as caught:
        load(describe(tmp_path, flat=flat))
    assert "\n" not in str(caught.value)


WRONG = {
    "region": ({"region": {"cols": [2, 6]}}, "region cols 2–6 outside 0–5"),
    "region order": ({"region": {"rows": [3, 2]}}, "region rows 3–2"),
    "angles": ({"angles": ["0 deg", "1 deg"]}, "angles: wanted 3 values, got 2"),
    "times": ({"view_times": ["0 s"]}, "view_times: wanted 3 values, got 1"),
    "directions": ({"directions": ["0 deg", "90 deg"]}, "1 directions, but directions in .* tells 2"),
    "axis twice": (
        {"flat": {"kind": "hdf5", "file": "scan.h5", "dataset": "a/flat", "axes": ["row", "step", "row", "col"]}},
        "flat.axes: each axis once",
    ),
    "view of a flat": (
        {"flat": {"kind": "hdf5", "file": "scan.h5", "dataset": "a/flat", "axes": ["view", "step", "row", "col"]}},
        "flat.axes: view not known here",
    ),
    "repeats": (
        {"flat": {"kind": "hdf5", "file": "scan.h5", "dataset": "a/flat", "axes": ["repeat", "step", "row", "col"]}},
        "repeat: the axes hold repeats, say sum or mean",
    ),
    "other repeats": (
        {
            "flat": {"kind": "hdf5", "file": "scan.h5", "dataset": "a/flat", "axes": ["repeat", "step", "row", "col"]},
            "repeat": "sum",
        },
        "2 repeats to sum, but the sample has 1",
    ),
    "no files": (
        {"sample": {"kind": "npy", "files": "none_*.npy", "axes": ["row", "col"]}},
        r"none_\*\.npy: sample: no file matches",
    ),
    "steps": ({"steps": {"count": 2, "endpoint_repeated": False}}, "steps.count: .*greater than or equal to 3"),
    "both": ({"steps": {"count": 4, "endpoint_repeated": False, "phases": ["0 deg"]}}, "either count .* or phases"),
    "unit": ({"pixel": "75 s"}, "pixel: wanted a length such as"),
}


@pytest.mark.parametrize("case", WRONG)
def test_descriptions_that_do_not_fit_the_data(tmp_path, truth, case):
    change, words = WRONG[case]
    write_hdf5(tmp_path, truth)
    with pytest.raises(DarklungError, match=words):
        load(describe(tmp_path, **change))


def _npy_files(folder, truth):
    for step in range(STEPS):
        np.save(folder / f"s{step}.npy", truth[0][:, step])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "s1.npy").write_bytes((f / "s1.npy").read_bytes()[:150]), r"s1\.npy: sample: .*cannot"),
        (lambda f: (f / "s0.npy").write_bytes(b"no array"), r"s0\.npy: sample: cannot be read"),
        (
            lambda f: np.save(f / "s2.npy", np.zeros((VIEWS, ROWS, 2), np.uint16)),
            r"s2\.npy: sample: shape \(3, 5, 2\), but the first",
        ),
        (lambda f: np.save(f / "s2.npy", np.zeros((VIEWS, ROWS, COLS))), r"s2\.npy: sample: dtype float64, but the first"),
        (lambda f: (f / "s3.npy").unlink(), r"3 steps, but steps in .* tells 4"),
        (
            lambda f: np.save(f / "s0.npy", np.array([{}], object), allow_pickle=True),
            r"s0\.npy: sample: cannot be read",
        ),
    ],
)
def test_broken_npy_files(tmp_path, truth, damage, words):
    write_hdf5(tmp_path, truth)
    _npy_files(tmp_path, truth)
    damage(tmp_path)
    source = {"kind": "npy", "files": "s*.npy", "file_axes": ["step"], "axes": ["view", "row", "col"]}
    with pytest.raises(DarklungError, match=words) as caught:
        load(describe(tmp_path, sample=source))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"), [(b"II*\0", "cannot be read"), (b"no tiff", "cannot be read"), (b"", "cannot be read")]
)
def test_broken_tiff_files(tmp_path, truth, content, words):
    write_hdf5(tmp_path, truth)
    (tmp_path / "s.tif").write_bytes(content)
    with pytest.raises(DarklungError, match=rf"s\.tif: sample: {words}"):
        load(describe(tmp_path, sample={"kind": "tiff", "files": "s.tif", "axes": ["view", "step", "row", "col"]}))


def test_raw_binary_of_another_length(tmp_path, truth):
    write_hdf5(tmp_path, truth)
    (tmp_path / "s.raw").write_bytes(bytes(100))
    source = {"kind": "raw", "files": "s.raw", "dtype": "uint16", "byte_order": "little", "shape": [3, 4, 5, 6]}
    with pytest.raises(DarklungError, match=r"s\.raw: sample: 100 bytes, but header, shape and dtype tell 720"):
        load(describe(tmp_path, sample={**source, "axes": ["view", "step", "row", "col"]}))


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "wanted a header"), ("a,b\n", "at least one row"), ("a,b\n1\n", "row 2: wanted 2 cells as in the header, got 1")],
)
def test_broken_tables(tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    path = describe(tmp_path, series={"table": "t.csv", "name": "{a}"}, name=None)
    with pytest.raises(DarklungError, match=words):
        list(read_raw(path))


def test_unknown_column(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    path = describe(tmp_path, series={"table": "t.csv", "name": "{c}"}, name=None)
    with pytest.raises(DarklungError, match="column 'c' is not known; known: a, b"):
        list(read_raw(path))


def test_a_read_that_fails_later_names_the_file():
    def read(index):
        raise OSError("disk\ngone")

    stack = Stack("file: sample", ("step", "row"), (3, 2), np.uint8, read)
    frames = LazyFrames(stack, ("step", "row"), region=(None, None), repeat=None)
    with pytest.raises(DarklungError, match=r"file: sample: cannot be read \(disk gone\)"):
        frames[0]
