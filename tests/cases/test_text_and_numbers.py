"""A1: text becomes no other number, whoever wrote it: cells, quoted values, datasets, names of units."""

import json

import h5py
import numpy as np
import pytest
import yaml
from case_scans import curves, npy, scan_of

from darklung.core.checks import DarklungError
from darklung.core.units import parse_quantity
from darklung.io.description import read_raw
from darklung.io.volumes import open_volume
from darklung.slides.polygons import read_outlines


@pytest.mark.parametrize(
    "text",
    [
        "1'000 um",
        "1.5.2 mm",
        "≈5 mm",
        "<5 mm",
        "5-6 mm",
        "2.5×10^-3 m",
        "12O um",
        "5 mm\N{ZERO WIDTH SPACE}",
        "5e3.5 mm",
        '5"',
    ],
)
def test_lengths_as_people_write_them_are_refused(text):
    with pytest.raises(DarklungError, match="wanted a length"):
        parse_quantity(text, "length")


def angles(folder, cells, **more):
    (folder / "t.csv").write_bytes(b"theta\n" + "\n".join(cells).encode())
    path = npy(folder, *curves(), angles={"table": "t.csv", "column": "theta", "unit": "deg", **more})
    return np.degrees(scan_of(path).geometry.angles_rad)


@pytest.mark.parametrize("cell", ["1_0", "１", "٣", "1,5", "½", "0x1", "1e400", "1:30", "1°", "TRUE"])
def test_cells_that_python_or_a_spreadsheet_reads_are_refused(tmp_path, cell):
    with pytest.raises(DarklungError, match=r"row 3: column theta of t\.csv: wanted a number"):
        angles(tmp_path, ["0", f'"{cell}"', "2"])


@pytest.mark.parametrize("cell", ["\N{MINUS SIGN}90", " -90 ", "-9e1", "-90.000"])
def test_cells_that_mean_one_number_are_read(tmp_path, cell):
    np.testing.assert_allclose(angles(tmp_path, [f'"{cell}"', "0", "2"]), [-90, 0, 2])


@pytest.mark.parametrize("value", ["1_0", True, "0x8", "8,0"])
@pytest.mark.parametrize("key", ["axis_col", "region", "gain", "leave_out"])
def test_numbers_of_a_description_in_quotes_are_as_strict(tmp_path, key, value):
    path = npy(tmp_path, *curves())
    said = {"region": {"cols": [0, value]}, "gain": value, "leave_out": {"views": [value]}}.get(key, value)
    more = {"retrieval": {key: said}} if key == "gain" else {key: said}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **more}))
    with pytest.raises(DarklungError, match=f"{key}.*wanted a number"):
        list(read_raw(path))


@pytest.mark.parametrize("texts", [["0", "1_0", "2"], ["0", "1,5", "2"], ["0", "", "2"]])
@pytest.mark.parametrize("kind", ["fixed", "variable"])
def test_numbers_that_a_dataset_holds_as_text(tmp_path, texts, kind):
    with h5py.File(tmp_path / "log.h5", "w") as file:
        file["a"] = np.array(texts, "S4") if kind == "fixed" else texts
    with pytest.raises(DarklungError, match="/a: wanted a number"):
        scan_of(npy(tmp_path, *curves(), angles={"file": "log.h5", "dataset": "a", "unit": "deg"}))


@pytest.mark.parametrize(
    "values", [[1j, 2, 3], [True, False, True], np.zeros(3, [("v", "f8")])], ids=["complex", "truth", "record"]
)
def test_what_is_no_real_number_becomes_none(tmp_path, values):
    with h5py.File(tmp_path / "log.h5", "w") as file:
        file["a"] = np.asarray(values)
    with pytest.raises(DarklungError, match="/a: wanted numbers, got"):
        scan_of(npy(tmp_path, *curves(), angles={"file": "log.h5", "dataset": "a", "unit": "deg"}))


@pytest.mark.parametrize("size", ["4.6", "1_0", "０4", "4,0"])
@pytest.mark.parametrize("kind", ["mha", "nrrd"])
def test_sizes_in_headers_of_volumes_are_whole_numbers(tmp_path, size, kind):
    heads = {
        "mha": f"NDims = 3\nDimSize = 4 4 {size}\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
        "nrrd": f"NRRD0004\ndimension: 3\nsizes: 4 4 {size}\ntype: uchar\nencoding: raw\nspacings: 1 1 1\n\n",
    }
    (tmp_path / f"a.{kind}").write_bytes(heads[kind].encode() + bytes(160))
    with pytest.raises(DarklungError, match=r"(sizes|dimsize): wanted (whole|3) numbers"):
        open_volume(tmp_path / f"a.{kind}")


@pytest.mark.parametrize("corner", [["1_0", 0], [None, 0], ["1,5", "0"], [{}, 0]])
def test_corners_of_outlines_are_numbers(tmp_path, corner):
    ring = [corner, [9, 0], [9, 9], corner]
    shape = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"name": "lung"}}
    (tmp_path / "o.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [shape]}))
    with pytest.raises(DarklungError, match=r"o\.geojson"):
        read_outlines(tmp_path / "o.geojson", shape=(20, 20), known=("lung",))
