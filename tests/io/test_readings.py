"""Scans of real scanners: values in tables and datasets, several HDF5 files, Zarr, trailers, views that are left out."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import yaml
import zarr

from darklung.core.checks import DarklungError
from darklung.io.archive import import_scans
from darklung.io.description import read_raw
from darklung.io.frames import load_scan, load_scans
from darklung.steps.retrieve import raw_files, retrieved

VIEWS, FLATS, STEPS, ROWS, COLS = 5, 2, 4, 5, 6
RNG = np.random.default_rng(1)
SAMPLE = RNG.integers(900, 1100, (VIEWS, STEPS, ROWS, COLS)).astype(np.uint16)
FLAT = RNG.integers(900, 1100, (FLATS, STEPS, ROWS, COLS)).astype(np.uint16)
AXES = ["view", "step", "row", "col"]
ANGLES = np.array([0.0, 30.5, 61.0, 91.5, 122.0])


def described(folder, sample=None, **more):
    np.save(folder / "s.npy", SAMPLE)
    np.save(folder / "f.npy", FLAT)
    sample = sample or {"kind": "npy", "files": "s.npy", "axes": AXES}
    flat = {"kind": "npy", "files": "f.npy", "axes": ["flat", "step", "row", "col"]}
    steps = {"count": STEPS, "endpoint_repeated": False}
    content = {"name": "scan", "sample": sample, "flat": flat, "steps": steps, "pixel": "75 um", **more}
    (folder / "scan.yaml").write_text(yaml.safe_dump(content))
    return folder / "scan.yaml"


def only(path, **options):
    ((_, scan, _),) = load_scans(path, **options)
    return scan


def log(folder, **columns):
    rows = zip(*columns.values())
    (folder / "log.csv").write_text("\n".join([",".join(columns), *(",".join(map(str, r)) for r in rows)]) + "\n")


def test_angles_and_times_of_a_table(tmp_path):
    log(tmp_path, number=range(VIEWS), angle=ANGLES, clock=np.arange(VIEWS) * 2.5)
    angles = {"table": "log.csv", "column": "angle", "unit": "deg"}
    scan = only(described(tmp_path, angles=angles, view_times={"table": "log.csv", "column": "clock", "unit": "min"}))
    np.testing.assert_allclose(scan.geometry.angles_rad, np.radians(ANGLES), rtol=1e-12)
    np.testing.assert_allclose(scan.view_time_s[0], np.arange(VIEWS) * 150.0)


@pytest.mark.parametrize(("unit", "factor"), [("degree", 1.0), ("rad", np.pi / 180), (np.array([b"deg"]), 1.0)])
def test_angles_of_a_dataset_with_its_own_unit(tmp_path, unit, factor):
    with h5py.File(tmp_path / "log.h5", "w") as file:
        file["entry/theta"] = ANGLES * factor
        file["entry/theta"].attrs["units"] = unit
    scan = only(described(tmp_path, angles={"file": "log.h5", "dataset": "entry/theta"}))
    np.testing.assert_allclose(scan.geometry.angles_rad, np.radians(ANGLES), rtol=1e-12)


def test_readings_of_every_step_become_those_of_views(tmp_path):
    with h5py.File(tmp_path / "log.h5", "w") as file:
        file["diode"] = np.r_[np.full(3, 9.0), np.repeat([1.0, 2, 1, 1, 1], STEPS) + np.tile([0.1, -0.1, 0.2, -0.2], VIEWS)]
        file["theta"] = np.repeat(ANGLES, STEPS)
    each = {"file": "log.h5", "each": "step"}
    path = described(
        tmp_path,
        view_doses={**each, "dataset": "diode", "first": 3},
        flat_doses=[1, 1],
        angles={**each, "dataset": "theta", "unit": "deg"},
        retrieval={"normalise": "monitor", "least_strength": -1.0},
        leave_out={"views": [[3, 4]]},
    )
    ((raw, _),) = read_raw(path)
    np.testing.assert_allclose(raw.view_doses, [1, 2, 1, 1, 1])
    np.testing.assert_allclose(np.degrees(raw.angles), ANGLES)
    plain = raw.retrieval.model_copy(update={"normalise": "none"})
    scan = load_scan(raw, path)
    change = retrieved(scan, raw.retrieval, raw).attenuation - retrieved(scan, plain, raw).attenuation
    np.testing.assert_allclose(change[0].reshape(3, -1), np.log([[1], [2], [1]]) * np.ones((3, ROWS * COLS)), atol=1e-5)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"table": "log.csv", "column": "nought", "unit": "deg"}, "no column 'nought' in log.csv; known: angle, text"),
        ({"table": "log.csv", "column": "text", "unit": "deg"}, "row 2: column text of log.csv: wanted a number, got 'a'"),
        ({"table": "none.csv", "column": "a", "unit": "deg"}, "none.csv"),
        ({"table": "log.csv", "column": "angle"}, "the unit is ''; wanted unit: one of deg"),
        ({"table": "log.csv", "column": "angle", "unit": "um"}, "the unit is 'um'"),
        ({"table": "log.csv", "unit": "deg"}, "wanted either table and column, or file and dataset"),
        ({"table": "log.csv", "column": "angle", "unit": "deg", "first": 1}, "angles: wanted 5 values, got 4"),
        ({"table": "log.csv", "column": "angle", "unit": "deg", "count": 9}, "wanted values 0 to 8, there are 5"),
        ({"table": "log.csv", "column": "angle", "unit": "deg", "each": "step"}, "5 values are no whole views of 4 steps"),
        ({"file": "log.h5", "dataset": "gone", "unit": "deg"}, r"log\.h5: no dataset 'gone'"),
        ({"file": "none.h5", "dataset": "a", "unit": "deg"}, r"none\.h5: no such file"),
        ({"file": "log.csv", "dataset": "a", "unit": "deg"}, r"log\.csv: cannot be read"),
        ({"file": "log.h5", "dataset": "nan", "unit": "deg"}, "1 of 5 values are not finite"),
        ({"file": "log.h5", "dataset": "text", "unit": "deg"}, "/text: wanted a number, got 'x'"),
        ({"file": "log.h5", "dataset": "turning", "unit": "deg", "each": "step"}, "the steps of one view differ by up to 3"),
    ],
)
def test_readings_that_make_no_sense_end_in_one_line(tmp_path, value, words):
    log(tmp_path, angle=ANGLES, text=list("abcde"))
    with h5py.File(tmp_path / "log.h5", "w") as file:
        file["nan"], file["text"] = np.where(ANGLES == 61, np.nan, ANGLES), np.array([b"x"] * 5)
        file["turning"] = np.arange(20.0)
    with pytest.raises(DarklungError, match=words) as caught:
        only(described(tmp_path, angles=value))
    assert "\n" not in str(caught.value)
    assert "angles" in str(caught.value)


def split(folder, name="v{}.h5"):
    for view in range(VIEWS):
        with h5py.File(folder / name.format(view), "w") as file:
            file["entry/data"] = SAMPLE[view]


@pytest.mark.parametrize("files", ["v*.h5", [f"v{n}.h5" for n in range(VIEWS)]], ids=["pattern", "list"])
def test_one_hdf5_file_a_view(tmp_path, files):
    split(tmp_path)
    source = {"kind": "hdf5", "file": files, "dataset": "entry/data", "file_axes": ["view"], "axes": AXES[1:]}
    path = described(tmp_path, source)
    np.testing.assert_array_equal(only(path).frames[0], SAMPLE)
    np.testing.assert_array_equal(only(path, eager_bytes=0).frames[0, 1:4, :, 2:, 1:3], SAMPLE[1:4, :, 2:, 1:3])
    ((raw, _),) = read_raw(path)
    assert len(set(raw_files(raw, path))) == VIEWS + 1
    with h5py.File(tmp_path / "v3.h5", "w") as file:
        file["entry/data"] = SAMPLE[3, :, 1:]
    with pytest.raises(DarklungError, match=r"v3\.h5: sample \(entry/data\): shape \(4, 4, 6\), but the first file has"):
        only(path)


def test_one_dataset_a_view_in_natural_order(tmp_path):
    many = np.concatenate([SAMPLE, SAMPLE + 1, SAMPLE + 2])
    with h5py.File(tmp_path / "s.h5", "w") as file:
        for number in np.random.default_rng(0).permutation(len(many)):
            file[f"scan/view{number}/data"] = many[number]
            file[f"scan/view{number}/note"] = 1
    source = {"kind": "hdf5", "file": "s.h5", "dataset": "scan/view*/data", "file_axes": ["view"], "axes": AXES[1:]}
    np.testing.assert_array_equal(only(described(tmp_path, source)).frames[0], many)


@pytest.mark.parametrize("limit", [0, 2**30], ids=["on disk", "in memory"])
def test_frames_laid_end_to_end(tmp_path, limit):
    flat = SAMPLE.reshape(-1, ROWS, COLS)
    for n, part in enumerate(np.split(flat, [7, 8, 15])):
        np.save(tmp_path / f"p{n}.npy", part)
    source = {"kind": "npy", "files": "p*.npy", "frame_axes": ["view", "step"], "frame_counts": [VIEWS, STEPS]}
    path = described(tmp_path, {**source, "axes": ["row", "col"]})
    scan = only(path, eager_bytes=limit)
    np.testing.assert_array_equal(np.asarray(scan.frames)[0], SAMPLE)
    np.testing.assert_array_equal(scan.frames[0, 1:4, 1:3, 2:4], SAMPLE[1:4, 1:3, 2:4])
    # The other way round: all views of the first step come first.
    np.save(tmp_path / "p0.npy", SAMPLE.swapaxes(0, 1).reshape(-1, ROWS, COLS))
    turned = {**source, "files": "p0.npy", "frame_axes": ["step", "view"], "frame_counts": [STEPS, VIEWS]}
    np.testing.assert_array_equal(only(described(tmp_path, {**turned, "axes": ["row", "col"]})).frames[0], SAMPLE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frame_counts": [4, 4]}, "20 frames, frame_axes (view, step) tell 4 × 4"),
        ({"frame_counts": [20]}, "wanted one count for each of the 2 frame_axes"),
        ({"file_axes": ["view"]}, "wanted one of the two"),
    ],
)
def test_frames_that_do_not_fill_their_axes_are_told(tmp_path, change, words):
    np.save(tmp_path / "p.npy", SAMPLE.reshape(-1, ROWS, COLS))
    source = {"kind": "npy", "files": "p.npy", "frame_axes": ["view", "step"], "frame_counts": [VIEWS, STEPS]}
    with pytest.raises(DarklungError) as caught:
        only(described(tmp_path, {**source, "axes": ["row", "col"], **change}))
    assert words in str(caught.value)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dataset", ["", "scan/frames"])
def test_zarr_frames(tmp_path, version, dataset):
    root = tmp_path / "s.zarr"
    if dataset:
        group = zarr.open_group(str(root), mode="w", zarr_format=version)
        group.create_array(dataset, data=SAMPLE, chunks=(1, STEPS, ROWS, COLS))
    else:
        zarr.create_array(str(root), data=SAMPLE, chunks=(1, 1, ROWS, 3), zarr_format=version)
    source = {"kind": "zarr", "file": "s.zarr", "axes": AXES, **({"dataset": dataset} if dataset else {})}
    path = described(tmp_path, source)
    np.testing.assert_array_equal(only(path).frames[0], SAMPLE)
    np.testing.assert_array_equal(only(path, eager_bytes=0).frames[0, 2:4, 1, :, 2:5], SAMPLE[2:4, 1, :, 2:5])
    ((raw, _),) = read_raw(path)
    assert root.resolve() in set(raw_files(raw, path))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"file": "none.zarr"}, r"none\.zarr: sample: no such file"),
        ({"file": "s.zarr"}, "is a group; give dataset"),
        ({"file": "s.zarr", "dataset": "gone"}, r"s\.zarr: sample \(gone\): cannot be read"),
        ({"file": "s.npy"}, r"s\.npy: sample: no such file"),
    ],
)
def test_zarr_that_is_not_there_ends_in_one_line(tmp_path, source, words):
    zarr.open_group(str(tmp_path / "s.zarr"), mode="w").create_array("a", data=SAMPLE)
    with pytest.raises(DarklungError, match=words) as caught:
        only(described(tmp_path, {"kind": "zarr", "axes": AXES, **source}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("header", "trailer"), [(0, 12), (512, 1), (3, 4096)])
def test_raw_files_with_a_trailer(tmp_path, header, trailer):
    for view in range(VIEWS):
        (tmp_path / f"v{view}.raw").write_bytes(b"h" * header + SAMPLE[view].astype(">u2").tobytes() + b"t" * trailer)
    source = {"kind": "raw", "files": "v*.raw", "file_axes": ["view"], "dtype": "uint16", "byte_order": "big"}
    source |= {"shape": [STEPS, ROWS, COLS], "axes": AXES[1:], "header_bytes": header}
    np.testing.assert_array_equal(only(described(tmp_path, {**source, "trailer_bytes": trailer})).frames[0], SAMPLE)
    with pytest.raises(DarklungError, match="bytes, but header, shape and dtype tell"):
        only(described(tmp_path, source))


@pytest.mark.parametrize("limit", [0, 2**30], ids=["on disk", "in memory"])
@pytest.mark.parametrize(("out", "kept"), [([1], [0, 2, 3, 4]), ([[0, 1], 3], [2, 4]), ([4, 0], [1, 2, 3])])
def test_views_and_flats_that_are_left_out(tmp_path, limit, out, kept):
    path = described(
        tmp_path,
        angles=[f"{a} deg" for a in ANGLES],
        view_times={"first": "0 s", "step": "2 s"},
        flat_times=["1 s", "9 s"],
        leave_out={"views": out, "flats": [0]},
    )
    scan = only(path, eager_bytes=limit)
    np.testing.assert_array_equal(np.asarray(scan.frames)[0], SAMPLE[kept])
    np.testing.assert_array_equal(scan.frames[0, 1, 2], SAMPLE[kept[1], 2])
    np.testing.assert_array_equal(np.asarray(scan.flats)[0], FLAT[1:])
    np.testing.assert_allclose(np.degrees(scan.geometry.angles_rad), ANGLES[kept])
    np.testing.assert_allclose(scan.view_time_s[0], 2.0 * np.array(kept))
    np.testing.assert_allclose(scan.flat_time_s[0], [9])


@pytest.mark.parametrize(
    ("out", "words"),
    [([5], "leave_out.views: 5 outside 0–4"), ([[3, 2]], "outside 0–4"), ([[0, 4]], "leaves nothing"), ([-1], "views.0")],
)
def test_what_cannot_be_left_out_is_told(tmp_path, out, words):
    with pytest.raises(DarklungError) as caught:
        only(described(tmp_path, leave_out={"views": out}))
    assert words in str(caught.value)


def test_a_copy_holds_what_was_kept(tmp_path):
    doses = {"view_doses": [1, 2, 3, 4, 5], "flat_doses": [1, 2]}
    path = described(tmp_path, **doses, leave_out={"views": [2], "flats": [1]}, angles={"first": "0 deg", "step": "9 deg"})
    ((raw, _),) = read_raw(path)
    import_scans([(raw, lambda: load_scan(raw, path))], tmp_path / "copy.h5")
    ((copied, _),) = read_raw(tmp_path / "copy.yaml")
    assert copied.view_doses == (1, 2, 4, 5)
    assert copied.flat_doses == (1,)
    np.testing.assert_array_equal(load_scan(copied, tmp_path / "copy.yaml").frames[0], np.delete(SAMPLE, 2, axis=0))
