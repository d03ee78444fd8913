"""B6, B7, B9, C13, D14: files that hold more, less or other things than they say are read right or refused in one line."""

import json
import os

import h5py
import numpy as np
import pytest
import tifffile
from case_scans import FLAT_AXES, curves, described, npy, scan_of

from darklung.core.checks import DarklungError
from darklung.core.files import read_text
from darklung.io.edf import read_edf
from darklung.io.frames import load_scans
from darklung.io.show import describe_file
from darklung.io.tables import bare_cell, plain_cell, read_foreign
from darklung.io.tiff_frames import read_tiff

PICTURE = np.arange(96, dtype=np.uint16).reshape(6, 16)
HEAD = "{{\nByteOrder = LowByteFirst ;\nDataType = UnsignedShort ;\nDim_1 = {} ;\nDim_2 = {} ;\n{}"


def edf(path, cols=16, rows=6, more="", tail=b""):
    path.write_bytes((HEAD.format(cols, rows, more).ljust(510) + "}\n").encode() + PICTURE.astype("<u2").tobytes() + tail)
    return path


@pytest.mark.parametrize("size", [(-16, -6), ("1_6", 6), ("16.0", 6), (0, 6), (16, "")])
def test_edf_sizes_that_are_none(tmp_path, size):
    with pytest.raises(ValueError, match="Dim_"):
        read_edf(edf(tmp_path / "a.edf", *size))


@pytest.mark.parametrize(
    "more", ["title = a = b ;\n", "motor_mne = a b {c} ;\n", "Title = Dim_1 is 3 ;\n", "history = {\n} \n ;\n"]
)
def test_edf_values_with_signs_of_the_header(tmp_path, more):
    np.testing.assert_array_equal(read_edf(edf(tmp_path / "a.edf", more=more)), PICTURE)


def thumbnail(path):
    with tifffile.TiffWriter(path) as file:
        file.write(PICTURE[:3, :8], metadata=None)
        file.write(PICTURE, metadata=None)


def pyramid(path):
    with tifffile.TiffWriter(path) as file:
        file.write(PICTURE, subifds=1, metadata=None)
        file.write(PICTURE[::2, ::2], subfiletype=1, metadata=None)


def inverted(path):
    tifffile.imwrite(path, PICTURE, photometric="miniswhite")


def colour(path):
    tifffile.imwrite(path, np.stack([PICTURE] * 3, -1), photometric="rgb")


@pytest.mark.parametrize("write", [thumbnail, inverted, colour], ids=lambda w: w.__name__)
def test_tiff_images_that_are_no_frames_are_refused(tmp_path, write):
    write(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"not alike|wanted grey images"):
        read_tiff(tmp_path / "a.tif")


def test_a_pyramid_in_a_tiff_is_its_full_size(tmp_path):
    pyramid(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif"), PICTURE)


TABLES = {
    "too few angles": ("theta\n0\n1\n", "angles: wanted 3 values, got 2"),
    "an empty cell": ("theta,t\n0,1\n,2\n2,3\n", "row 3: column theta of t.csv: wanted a number, got ''"),
    "semicolons": ("theta;t\n0;1\n1;2\n2;3\n", "no column 'theta' in t.csv; known: theta;t"),
    "another case": ("Theta\n0\n1\n2\n", "no column 'theta' in t.csv; known: Theta"),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_of_readings(tmp_path, case):
    text, told = TABLES[case]
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DarklungError, match=told):
        scan_of(npy(tmp_path, *curves(), angles={"table": "t.csv", "column": "theta", "unit": "deg"}))


@pytest.mark.parametrize("trailer", [0, 1, 4096])
def test_raw_frames_whose_trailer_is_another_are_told(tmp_path, trailer):
    sample, flat = curves()
    np.save(tmp_path / "f.npy", flat)
    (tmp_path / "s.raw").write_bytes(bytes(512) + sample.tobytes() + bytes(trailer))
    layout = {
        "dtype": "uint16",
        "shape": list(sample.shape),
        "byte_order": "little",
        "header_bytes": 512,
        "trailer_bytes": 64,
    }
    source = {"kind": "raw", "files": "s.raw", "axes": ["view", "step", "row", "col"], **layout}
    with pytest.raises(DarklungError, match="but header, shape, trailer and dtype tell"):
        scan_of(described(tmp_path, source, {"kind": "npy", "files": "f.npy", "axes": FLAT_AXES}))


@pytest.mark.parametrize("change", ["dtype", "shape", "views"])
def test_hdf5_files_of_one_source_that_differ(tmp_path, change):
    sample, flat = curves()
    np.save(tmp_path / "f.npy", flat)
    for view in range(3):
        one = sample[view].astype("u4") if change == "dtype" and view == 2 else sample[view]
        one = one[:, 1:] if change == "shape" and view == 2 else one
        with h5py.File(tmp_path / f"v{view}.h5", "w") as file:
            file["d"] = one
    more = {"file_counts": [4]} if change == "views" else {}
    source = {"kind": "hdf5", "file": "v*.h5", "dataset": "d", "file_axes": ["view"], "axes": ["step", "row", "col"], **more}
    path = described(tmp_path, source, {"kind": "npy", "files": "f.npy", "axes": FLAT_AXES})
    with pytest.raises(DarklungError, match=r"dtype uint32, but|shape \(8, 5, 16\), but|3 files, file_axes \(view\) tell 4"):
        list(load_scans(path))


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_text_without_an_end_is_not_read(tmp_path, kind):
    place = {"pipe": tmp_path / "pipe", "device": "/dev/zero", "folder": tmp_path}[kind]
    if kind == "pipe":
        os.mkfifo(place)
    with pytest.raises(DarklungError, match=r"got a device or a pipe|cannot be read"):
        read_text(type(tmp_path)(place))


@pytest.mark.parametrize("kind", ["pipe", "empty.h5", "empty.tif", "text.npy", "half.npz"])
def test_show_tells_what_it_cannot_read_in_one_line(tmp_path, kind):
    place = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.write_bytes(
            {"empty.h5": b"\x89HDF\r\n\x1a\n", "empty.tif": b"II*\0", "text.npy": b"\x93NUMPY\1\0"}.get(kind, b"PK\3\4")
        )
    with pytest.raises(DarklungError) as caught:
        describe_file(place)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["\uff1d1+1", "\uff0bcmd", "\uff20SUM(A1)", "\t=1+1", " @x", "-cmd|' /C calc'!A0"])
def test_cells_that_a_spreadsheet_takes_for_formulas(text):
    assert plain_cell(text).startswith("'")
    assert bare_cell(plain_cell(text)) == text


@pytest.mark.parametrize("columns", ["case,z_mm,y_mm,x_mm,score,score", "case,z_mm,z_mm,y_mm,score", "case,case,score"])
def test_columns_named_twice_are_refused(tmp_path, columns):
    (tmp_path / "t.csv").write_text(f"{columns}\n{','.join('1' * (columns.count(',') + 1))}\n")
    with pytest.raises(DarklungError, match="two columns are named"):
        read_foreign(tmp_path / "t.csv")


def ome(folder, **change):
    import zarr

    group = zarr.open_group(folder, mode="w")
    values = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    group.create_array("0", data=values, chunks=(2, 2, 2), dimension_names=["z", "y", "x"])
    axes = [{"name": n, "type": "space", "unit": change.get("unit", "nanometer")} for n in "zyx"]
    scale = [{"type": "scale", "scale": change.get("scale", [3000.0, 2000.0, 1000.0])}]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}], "version": "0.5"}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{**image, **change.get("image", {})}]}
    return values


@pytest.mark.parametrize(
    ("unit", "metre"), [("nanometer", 1e-9), ("angstrom", 1e-10), ("millimeter", 1e-3), ("inch", 0.0254)]
)
def test_units_of_ome_zarr(tmp_path, unit, metre):
    from darklung.io.volumes import open_volume

    values = ome(tmp_path / "a.zarr", unit=unit)
    found = open_volume(tmp_path / "a.zarr")
    np.testing.assert_allclose(found.place.spacing_m, np.array([3000, 2000, 1000]) * metre)
    np.testing.assert_array_equal(found.read(), values)


@pytest.mark.parametrize("scale", [[0.0, 1, 1], [-1.0, 1, 1], [1.0, 1], ["1_0", 1, 1], [float("1e400"), 1, 1]])
def test_scales_of_ome_zarr_that_are_none(tmp_path, scale):
    from darklung.io.volumes import open_volume

    ome(tmp_path / "a.zarr")
    place = tmp_path / "a.zarr/zarr.json"
    said = json.loads(place.read_text())
    said["attributes"]["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] = scale
    place.write_text(json.dumps(said))
    with pytest.raises(DarklungError, match=r"scale|spacing"):
        open_volume(tmp_path / "a.zarr").read()
