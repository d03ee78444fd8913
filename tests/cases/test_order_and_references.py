"""A2 and A3: files come in the order in which people count, or are refused; what a file leads to is what is read."""

import os

import h5py
import numpy as np
import pytest
from case_scans import FLAT_AXES, SAMPLE_AXES, STEPS, curves, described, hdf5, npy, scan_of

from darklung.core.checks import DarklungError
from darklung.io.description import read_raw
from darklung.io.nxtomo import rotation_angles
from darklung.io.patterns import matching
from darklung.steps.retrieve import raw_files


@pytest.mark.parametrize(
    "names",
    [
        ("scan.tif", "scan (2).tif", "scan (10).tif"),  # copies of a file manager
        ("img.tif", "img-1.tif", "img-2.tif"),  # a camera that counts from the second on
        ("Step1.tif", "step2.tif", "Step3.tif", "step10.TIF"),
        ("s_2024-3-9_12-00.tif", "s_2024-3-10_1-00.tif"),
        ("t1700000000123456788.tif", "t1700000000123456789.tif"),
        ("s１.tif", "s２.tif", "s１０.tif"),
    ],
)
def test_names_of_scanners_in_order(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    assert [p.name for p in matching(tmp_path / "*")] == list(names)


@pytest.mark.parametrize(
    "names",
    [
        ("x_0p25.tif", "x_0p5.tif", "x_1p0.tif"),
        ("x_0,25.tif", "x_0,5.tif"),
        ("x_1e-3.tif", "x_1e-2.tif"),
        ("pos-5.tif", "pos0.tif", "pos5.tif"),
        ("ang_m10.tif", "ang_m5.tif", "ang_p5.tif"),
        ("p+1um.tif", "p-1um.tif"),
        ("a_\N{MINUS SIGN}5.tif", "a_5.tif"),
    ],
)
def test_numbers_that_count_nothing_are_not_guessed(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DarklungError, match="depends on how their numbers are read; list the files"):
        matching(tmp_path / "*")


@pytest.mark.parametrize("names", [("v_1.tif", "v_001.tif"), ("v1.tif", "V1.tif"), ("v_1.tif", "v_1.0.tif")])
def test_one_number_twice_is_refused(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DarklungError, match="have the same numbers"):
        matching(tmp_path / "*")


def keyed(path):
    ((raw, _),) = read_raw(path)
    return {p.resolve() for p in raw_files(raw, path)}


@pytest.mark.parametrize("kind", ["link", "link of a group", "nxtomo key"])
def test_a_file_of_the_folder_one_works_in_takes_no_place(tmp_path, monkeypatch, kind):
    """HDF5 looks there too, where a link leads to a file that is not beside the first."""
    sample, flat = curves()
    here, work = tmp_path / "here", tmp_path / "work"
    here.mkdir()
    work.mkdir()
    with h5py.File(work / "d.h5", "w") as file:
        file["g/s"], file["key"] = sample, np.zeros(VIEWS_AND_STEPS, int)

    def fill(file):
        file["f"] = flat
        if kind == "link":
            file["s"] = h5py.ExternalLink("d.h5", "/g/s")
        elif kind == "link of a group":
            file["g"], file["s"] = h5py.ExternalLink("d.h5", "/g"), h5py.SoftLink("/g/s")
        else:
            file["entry/instrument/detector/data"] = sample.reshape(-1, *sample.shape[2:])
            file["entry/instrument/detector/image_key"] = h5py.ExternalLink("d.h5", "/key")

    path = hdf5(here, fill)
    if kind == "nxtomo key":
        axes = {"frame_axes": ["view", "step"], "frame_counts": [3, STEPS]}
        source = {"kind": "nxtomo", "file": "scan.h5", "frames": "sample", **axes}
        path = described(here, source, {"kind": "hdf5", "file": "scan.h5", "dataset": "f", "axes": FLAT_AXES})
    monkeypatch.chdir(work)
    with pytest.raises(DarklungError, match=r"d\.h5, which is not there|cannot be read"):
        scan_of(path)


VIEWS_AND_STEPS = 3 * STEPS


@pytest.mark.parametrize("pattern", ["scan_*.h5", "scan_1.h5"])
def test_links_lead_from_the_real_file(tmp_path, pattern):
    sample, flat = curves()
    for place in ("here", "real"):
        (tmp_path / place).mkdir()
    with h5py.File(tmp_path / "real/d.h5", "w") as file:
        file["d"] = sample
    with h5py.File(tmp_path / "real/m.h5", "w") as file:
        file["s"], file["f"] = h5py.ExternalLink("d.h5", "/d"), flat
    os.symlink(tmp_path / "real/m.h5", tmp_path / "here/scan_1.h5")
    one = {"kind": "hdf5", "file": pattern}
    path = described(
        tmp_path / "here", {**one, "dataset": "s", "axes": SAMPLE_AXES}, {**one, "dataset": "f", "axes": FLAT_AXES}
    )
    np.testing.assert_array_equal(np.asarray(scan_of(path).frames)[0], sample)
    assert tmp_path / "real/d.h5" in keyed(path)


def turning(folder, angle, units="deg"):
    with h5py.File(folder / "a.nx", "w") as file:
        detector = file.create_group("entry/instrument/detector")
        detector["data"], detector["image_key"] = np.zeros((3, 2, 2), "u2"), [0, 0, 0]
        angle(file)
        file["entry/sample/rotation_angle"].attrs["units"] = units
    return np.degrees(rotation_angles(folder / "a.nx", "entry", np.arange(3), "x"))


@pytest.mark.parametrize("units", ["Degrees", "DEG", np.array([[b"degree"]]), np.array(b"degree\0\0", "S12")])
def test_units_of_nexus_as_writers_spell_them(tmp_path, units):
    found = turning(tmp_path, lambda f: f.create_dataset("entry/sample/rotation_angle", data=[[0.0], [1], [90]]), units)
    np.testing.assert_allclose(found, [0, 1, 90])


@pytest.mark.parametrize(("units", "size"), [("mrad", 1e-3 * 180 / np.pi), ("arcmin", 1 / 60), ("mdeg", 1e-3)])
def test_smaller_units_of_stages(tmp_path, units, size):
    found = turning(tmp_path, lambda f: f.create_dataset("entry/sample/rotation_angle", data=[0.0, 1, 90]), units)
    np.testing.assert_allclose(found, size * np.array([0, 1, 90]))


@pytest.mark.parametrize(
    ("values", "units", "told"),
    [
        ([0.0, 1, 2, 3], "deg", "4 rotation angles, but 3 frames"),
        ([0.0, np.nan, 2], "deg", "1 of 3 values are not finite"),
        ([0.0, 1, 2], b"\xb0", "rotation_angle has the unit"),
        ([0.0, 1, 2], h5py.Empty("S1"), "rotation_angle has the unit ''"),
    ],
)
def test_angles_that_are_no_angles_of_frames(tmp_path, values, units, told):
    with pytest.raises(DarklungError, match=told):
        turning(tmp_path, lambda f: f.create_dataset("entry/sample/rotation_angle", data=values), units)


def test_a_unit_said_against_that_of_the_dataset_is_refused(tmp_path):
    with h5py.File(tmp_path / "log.h5", "w") as file:
        file["a"] = [0.0, 1, 2]
        file["a"].attrs["units"] = "Degree"
    reading = {"file": "log.h5", "dataset": "a"}
    assert scan_of(npy(tmp_path, *curves(), angles={**reading, "unit": "deg"})).geometry.angles_rad[1] == np.pi / 180
    with pytest.raises(DarklungError, match="the unit is said to be 'rad', but the dataset's own is 'Degree'"):
        scan_of(npy(tmp_path, *curves(), angles={**reading, "unit": "rad"}))
