"""A short, seeded part of `benchmarks/fuzz.py`: damaged files of every kind are read or refused in one line."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = (
    "edf",
    "tiff",
    "numpy",
    "hdf5",
    "nxtomo",
    "ome_zarr",
    "nifti",
    "itk",
    "dicom",
    "model",
    "calibration",
    "yaml",
    "csv",
)


@pytest.fixture(scope="module")
def fuzz():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("fuzz"), importlib.import_module("fuzz_readers").READERS
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_every_reader_has_its_turn(fuzz):
    assert tuple(fuzz[1]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_read_or_refused_in_one_line(fuzz, name, tmp_path):
    module, readers = fuzz
    found = module.campaign(readers[name](tmp_path), 60, None, most=40)
    assert not found["faults"], dict(found)
    assert found["refused"] > 5
    assert found["read"] + found["refused"] == 40
