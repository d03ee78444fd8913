"""A1 to B8, D14: what a file tells against what it holds, and what is asked for against what is there."""

import json
import sys
import warnings
import zipfile

import h5py
import numpy as np
import pytest
import tifffile
import yaml
import zarr
from case_scans import FLAT_AXES, SAMPLE_AXES, STEPS, curves, described, hdf5, npy, scan_of

from darklung.commands import cli
from darklung.core.checks import DarklungError
from darklung.io.npy import read_npz
from darklung.io.projections import open_projections
from darklung.io.volumes import open_volume


def refused(capsys, *words):
    """The last error line of a command in this process, which ends with 2."""
    before, sys.argv = sys.argv, ["darklung", *map(str, words)]
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        sys.argv = before
    assert ended.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


# A1


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("steps", {"phases": ["0 deg", "45° 30'", "90 deg"]}, "steps.phases.1: wanted an angle such as"),
        ("view_times", ["0:10 s", "0:20 s", "0:30 s"], "view_times.0: wanted a time such as"),
        ("pixel", "75 um²", "pixel: wanted a length such as"),
        ("leave_out", {"views": ["1-2"]}, "leave_out.views.0: wanted a number, got '1-2'"),
        ("leave_out", {"views": [1.5]}, "leave_out.views.0: .*fractional part, got 1.5"),
    ],
)
def test_numbers_of_a_description_that_are_none_are_told_by_their_key(tmp_path, key, value, told):
    path = npy(tmp_path, *curves())
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), key: value}, allow_unicode=True), encoding="utf-8")
    with pytest.raises(DarklungError, match=told) as caught:
        scan_of(path)
    assert not [word for word in ("function-", "tuple[", "EvenTimes", "constrained") if word in str(caught.value)]


@pytest.mark.parametrize(
    "words",
    [
        ("cohort", "--animals", "٣,1"),
        ("cohort", "--animals", "1_0"),
        ("cohort", "--animals", "²"),
        ("check", "mission_ct", "--sweep", "visibility=nan:0.2:3"),
        ("check", "mission_ct", "--sweep", "visibility=1_0:2_0:3"),
    ],
)
def test_numbers_on_the_command_line_that_python_reads(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    assert "wanted a number" in refused(capsys, *words)


# A2


def datasets(folder, names):
    sample, flat = curves()

    def fill(file):
        file["f"] = flat[0]
        for name, frame in zip(names, sample[0]):
            file[f"e/{name}"] = frame

    hdf5(folder, fill)
    one = {"kind": "hdf5", "file": "scan.h5"}
    steps = {**one, "dataset": "e/*", "file_axes": ["step"], "axes": ["row", "col"]}
    return described(folder, steps, {**one, "dataset": "f", "axes": ["step", "row", "col"]})


@pytest.mark.parametrize(
    "names",
    [
        [f"x_{k / 8:g}" for k in range(STEPS)],
        [f"p{k - 4}" for k in range(STEPS)],
        ["d_1", "d_01", *(f"d_{k}" for k in range(2, 8))],
    ],
    ids=["decimals", "signs", "one number twice"],
)
def test_names_of_datasets_whose_order_is_not_known(tmp_path, names):
    with pytest.raises(DarklungError, match=r"depends on how their numbers are read|have the same numbers"):
        scan_of(datasets(tmp_path, names))


def test_datasets_are_counted_as_people_count(tmp_path):
    path = datasets(tmp_path, [f"d_{k}" for k in range(5, 13)])
    np.testing.assert_array_equal(np.asarray(scan_of(path).frames)[0, 0], curves()[0][0])


@pytest.mark.parametrize("files", [["s0.npy", "s1.npy", "s1.npy", "s3.npy"], ["s*.npy", "s3.npy"], ["s?.npy", "*0.npy"]])
def test_a_file_that_is_named_twice_is_refused(tmp_path, files):
    sample, flat = curves()
    for step in range(4):
        np.save(tmp_path / f"s{step}.npy", sample[0, step])
    np.save(tmp_path / "f.npy", flat)
    source = {"kind": "npy", "files": files, "file_axes": ["step"], "axes": ["row", "col"]}
    with pytest.raises(DarklungError, match=r"s\d\.npy: sample: is named twice"):
        scan_of(described(tmp_path, source, {"kind": "npy", "files": "f.npy", "axes": FLAT_AXES}))


def test_one_file_alone_may_stand_for_all_views(tmp_path):
    sample, flat = curves()
    np.save(tmp_path / "view.npy", sample[0])
    np.save(tmp_path / "f.npy", flat)
    source = {"kind": "npy", "files": ["view.npy"] * 3, "file_axes": ["view"], "axes": ["step", "row", "col"]}
    frames = np.asarray(scan_of(described(tmp_path, source, {"kind": "npy", "files": "f.npy", "axes": FLAT_AXES})).frames)
    np.testing.assert_array_equal(frames[0], np.stack([sample[0]] * 3))


# A3


def nxtomo(folder, change):
    sample, flat = curves()
    with h5py.File(folder / "a.nx", "w") as file:
        detector = file.create_group("entry/instrument/detector")
        detector["data"] = np.concatenate([flat[0], sample.reshape(-1, *sample.shape[2:])])
        angles, key = np.repeat([0.0, 0, 60, 120], STEPS), np.repeat([1.0, 0, 0, 0], STEPS)
        angles, key = change.get("angles", angles), change.get("key", key)
        detector["image_key"], file["entry/sample/rotation_angle"] = key, angles
        file["entry/sample/rotation_angle"].attrs["units"] = "deg"
    one = {"kind": "nxtomo", "file": "a.nx"}
    views = {**one, "frames": "sample", "frame_axes": ["view", "step"], "frame_counts": [3, STEPS]}
    return described(
        folder, views, {**one, "frames": "flat", "frame_axes": ["step"], "frame_counts": [STEPS]}, angles="file"
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"key": np.array([1.0] * 8 + [0] * 23 + [np.nan])}, "23 frames, frame_axes"),
        ({"key": np.array([1.0] * 8 + [0.4] * 24)}, "no frame has image_key 0"),
        ({"key": np.array([1] * 8 + [0] * 20)}, r"32 frames, but image_key has shape \(28,\)"),
        ({"angles": np.arange(32.0)}, "frames of one view differ by up to 7°"),
        ({"angles": np.array([b"1_0"] * 32)}, "wanted a number, got '1_0'"),
    ],
)
def test_nexus_that_tells_less_than_its_frames_need(tmp_path, change, told):
    with pytest.raises(DarklungError, match=told):
        scan_of(nxtomo(tmp_path, change))


@pytest.mark.parametrize("change", [{}, {"key": np.repeat(np.array([[1], [0], [0], [0]], "u1"), STEPS)}])
def test_nexus_in_other_types(tmp_path, change):
    np.testing.assert_allclose(np.degrees(scan_of(nxtomo(tmp_path, change)).geometry.angles_rad), [0, 60, 120])


# B4


@pytest.mark.parametrize("which", ["sample", "flat"])
@pytest.mark.parametrize("fill", [0, 1, 300])
@pytest.mark.parametrize("shards", [None, (1, 8, 6, 16)], ids=["chunks", "shards"])
def test_a_chunk_of_zarr_that_was_never_written_is_told(tmp_path, which, fill, shards):
    frames = dict(zip(("sample", "flat"), curves()))
    for name, values in frames.items():
        like = {"shape": values.shape, "dtype": values.dtype, "chunks": (1, 8, 6, 8), "shards": shards, "fill_value": fill}
        array = zarr.create_array(str(tmp_path / f"{name}.zarr"), **like)
        for one in range(len(values)):
            if (name, one) != (which, 1):
                array[one] = values[one]
    axes = {"sample": SAMPLE_AXES, "flat": FLAT_AXES}
    parts = [{"kind": "zarr", "file": f"{name}.zarr", "axes": axes[name]} for name in axes]
    path = described(tmp_path, *parts)
    with pytest.raises(DarklungError, match=rf"{which}.*chunk c/1/0/0/0 was never written; leave out its frames"):
        scan_of(path)
    path = described(tmp_path, *parts, leave_out={f"{'views' if which == 'sample' else 'flats'}": [1]})
    found = scan_of(path)
    kept = np.asarray(found.frames if which == "sample" else found.flats)[0]
    np.testing.assert_array_equal(kept, np.delete(frames[which], 1, axis=0))


# B6


@pytest.mark.parametrize("told", [{"scale_factor": 2.0}, {"add_offset": 100}, {"scale_factor": 0.5, "add_offset": -1.0}])
@pytest.mark.parametrize("kind", ["hdf5", "zarr"])
def test_values_that_a_writer_has_packed_are_no_counts(tmp_path, told, kind):
    sample, flat = curves()
    np.save(tmp_path / "f.npy", flat)
    if kind == "hdf5":
        with h5py.File(tmp_path / "scan.h5", "w") as file:
            file["s"] = sample
            file["s"].attrs.update(told)
        source = {"kind": "hdf5", "file": "scan.h5", "dataset": "s", "axes": SAMPLE_AXES}
    else:
        zarr.create_array(str(tmp_path / "s.zarr"), data=sample, attributes=told)
        source = {"kind": "zarr", "file": "s.zarr", "axes": SAMPLE_AXES}
    with pytest.raises(DarklungError, match="counts are not what is stored"):
        scan_of(described(tmp_path, source, {"kind": "npy", "files": "f.npy", "axes": FLAT_AXES}))


HEAD = "{{\nByteOrder = LowByteFirst ;\nDataType = UnsignedShort ;\nDim_1 = 16 ;\nDim_2 = 6 ;\n{}"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("Size = 384 ;\n", "Size tells 384 bytes, but Dim and DataType 192"),
        ("Dim_1 = 8 ;\nDim_2 = 12 ;\n", "Dim_1 is told twice, as 16 and as 8"),
        ("DataType = SignedShort ;\n", "DataType is told twice"),
        ("ByteOrder = HighByteFirst ;\n", "ByteOrder is told twice"),
    ],
)
def test_edf_headers_that_contradict_themselves(tmp_path, more, told):
    sample, flat = curves()
    for step, frame in enumerate(sample[0]):
        (tmp_path / f"s{step}.edf").write_bytes(
            (HEAD.format(more).ljust(510) + "}\n").encode() + frame.astype("<u2").tobytes()
        )
    np.save(tmp_path / "f.npy", flat)
    source = {"kind": "edf", "files": "s*.edf", "file_axes": ["step"], "axes": ["row", "col"]}
    with pytest.raises(DarklungError, match=told):
        scan_of(described(tmp_path, source, {"kind": "npy", "files": "f.npy", "axes": FLAT_AXES}))


@pytest.mark.parametrize("order", ["<", ">"])
def test_byte_orders_of_tiff(tmp_path, order):
    sample, flat = curves()
    for step, frame in enumerate(sample[0]):
        tifffile.imwrite(tmp_path / f"s{step}.tif", frame, byteorder=order)
    np.save(tmp_path / "f.npy", flat)
    source = {"kind": "tiff", "files": "s*.tif", "file_axes": ["step"], "axes": ["row", "col"]}
    found = scan_of(described(tmp_path, source, {"kind": "npy", "files": "f.npy", "axes": FLAT_AXES}))
    np.testing.assert_array_equal(np.asarray(found.frames)[0, 0], sample[0])


# B8

VIEWS, ROWS, COLS = 12, 2, 16


def projections(path, *, valid=None, values=None, directions=None, **attributes):
    with h5py.File(path, "w") as file:
        file["attenuation"] = np.zeros((VIEWS, ROWS, COLS), np.float32) if values is None else values
        file["angles_rad"] = np.arange(VIEWS) * np.pi / VIEWS
        for name, given in (("valid", valid), ("directions_rad", directions)):
            if given is not None:
                file[name] = given
        file.attrs.update({"pixel_m": 1e-4, **attributes})
    return open_projections(path)


@pytest.mark.parametrize("valid", [0.5, np.nan, -1.0])
def test_validity_is_a_truth_value(tmp_path, valid):
    found = projections(tmp_path / "p.h5", valid=np.full((VIEWS, ROWS, COLS), valid, np.float32))
    with pytest.raises(DarklungError, match=r"valid: wanted true or false"):
        found.read(slice(0, ROWS))


@pytest.mark.parametrize("kind", ["u1", "f4", "bool"])
def test_validity_as_writers_store_it(tmp_path, kind):
    valid = np.zeros((VIEWS, ROWS, COLS), kind)
    valid[3] = 1
    assert projections(tmp_path / "p.h5", valid=valid).read(slice(0, ROWS)).valid[0].any(axis=(1, 2)).tolist() == [
        view == 3 for view in range(VIEWS)
    ]


@pytest.mark.parametrize("kind", ["bool", "complex64", "S3"])
def test_projections_are_real_numbers(tmp_path, kind):
    with pytest.raises(DarklungError, match="attenuation: wanted numbers, got"):
        projections(tmp_path / "p.h5", values=np.zeros((VIEWS, ROWS, COLS), kind))


@pytest.mark.parametrize("alpha", [90.0, 45.0, -180.0])
def test_directions_in_degrees_are_told(tmp_path, alpha):
    with pytest.raises(DarklungError, match="directions_rad: wanted radians within a turn"):
        projections(tmp_path / "p.h5", directions=[alpha])


@pytest.mark.parametrize(("source", "axis"), [(5e-4, 7.5), (7.5e-4, 7.5), (1.2e-3, 3.0)])
def test_a_source_within_the_object_is_refused(tmp_path, source, axis):
    with pytest.raises(DarklungError, match="the source would turn within the object"):
        projections(tmp_path / "p.h5", source_axis_m=source, axis_col=axis)
    assert projections(tmp_path / "p.h5", source_axis_m=2e-3, axis_col=axis).geometry.source_axis_m == 2e-3


def test_values_beyond_single_precision_are_told(tmp_path):
    values = np.zeros((VIEWS, ROWS, COLS))
    values[0, 0, 0] = 1e300
    with pytest.raises(DarklungError, match="attenuation: 1 values are not finite"):
        projections(tmp_path / "p.h5", values=values).read(slice(0, ROWS))


# D14


@pytest.mark.parametrize(
    "text", ['{"a":' * 50000 + "1" + "}" * 50000, f'{{"kind": {"9" * 6000}}}', "[1, 2]", '{"kind": "\udcff"}']
)
def test_hostile_calibrations_end_in_one_line(tmp_path, capsys, text):
    (tmp_path / "c.json").write_text(text, errors="surrogatepass")
    projections(tmp_path / "p.h5")
    line = refused(capsys, "calibrate", "apply", tmp_path / "c.json", tmp_path / "p.h5", "--out", tmp_path / "out")
    assert "c.json" in line
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize("place", ["../secret.zarr", "a/../../secret.zarr", "link"])
def test_a_place_in_zarr_leads_nowhere_else(tmp_path, place):
    sample, flat = curves()
    work = tmp_path / "work"
    zarr.create_array(str(tmp_path / "secret.zarr"), data=sample)
    zarr.open_group(str(work / "g.zarr" / "a"), mode="w")
    (work / "g.zarr/link").symlink_to(tmp_path / "secret.zarr")
    (work / "secret.zarr").symlink_to(tmp_path / "secret.zarr")
    np.save(work / "f.npy", flat)
    source = {"kind": "zarr", "file": "g.zarr", "dataset": place, "axes": SAMPLE_AXES}
    with pytest.raises(DarklungError, match="leads out of"):
        scan_of(described(work, source, {"kind": "npy", "files": "f.npy", "axes": FLAT_AXES}))


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "~/secret"])
@pytest.mark.parametrize("kind", ["mha", "nhdr"])
def test_headers_that_lead_to_files_elsewhere(tmp_path, place, kind):
    (tmp_path / "secret").write_bytes(bytes(64))
    (tmp_path / "d").mkdir()
    heads = {
        "mha": f"NDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementDataFile = {place}\n",
        "nhdr": f"NRRD0004\ndimension: 3\nsizes: 4 4 4\ntype: uchar\nencoding: raw\nspacings: 1 1 1\ndata file: {place}\n",
    }
    path = tmp_path / f"d/a.{kind}"
    path.write_text(heads[kind])
    with pytest.raises(DarklungError) as caught:
        open_volume(path).read()
    assert "\n" not in str(caught.value)


def member(archive, name, values):
    with archive.open(name, "w") as file:
        np.lib.format.write_array(file, values)


@pytest.mark.parametrize("kind", ["twice", "encrypted", "truncated", "no array", "size that lies"])
def test_archives_of_arrays_that_are_none(tmp_path, kind):
    path = tmp_path / "lobes.npz"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        member(archive, "a.npy", np.arange(12.0))
        if kind == "twice":
            member(archive, "a.npy", np.zeros(12))
        elif kind == "no array":
            archive.writestr("../../x", "text")
        elif kind == "size that lies":
            member(archive, "b.npy", np.zeros(1))
    content = bytearray(path.read_bytes())
    if kind == "encrypted":
        for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.index(sign) + at] |= 1
    if kind == "size that lies":
        content = content.replace(b"'shape': (1,)", b"'shape': (9,)")
    path.write_bytes(content[: len(content) // 2] if kind == "truncated" else content)
    with pytest.raises(DarklungError, match=r"lobes\.npz") as caught:
        read_npz(path)
    assert "\n" not in str(caught.value)


def test_a_manifest_of_somebody_is_held_to_its_form(tmp_path, capsys):
    (tmp_path / "manifest.json").write_text(json.dumps({"cases": [{"name": "../../etc"}]}))
    assert "manifest.json" in refused(capsys, "benchmark", "open", tmp_path, "--seal", tmp_path / "s.h5")
