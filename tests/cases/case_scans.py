"""A small stepping scan whose −ln T is known, and the words that describe its files."""

import h5py
import numpy as np
import yaml

from darklung.io.description import read_raw
from darklung.io.frames import load_scans
from darklung.retrieve.stepping import retrieve
from darklung.steps.quality import quality_page

STEPS, VIEWS, FLATS, COUNTS = 8, 3, 4, 5000
SAMPLE_AXES, FLAT_AXES = ["view", "step", "row", "col"], ["flat", "step", "row", "col"]
ATTENUATION = -np.log(0.7)


def curves(shape=(6, 16), counts=COUNTS):
    """Frames of the sample (view, step, row, col) and of the flats: T = 0.7, V = 0.3 and 0.4."""
    rng = np.random.default_rng(0)
    turn = 2 * np.pi * np.arange(STEPS)[:, None, None] / STEPS + np.linspace(0, 2, shape[1]) + np.zeros(shape)
    sample = rng.poisson(0.7 * counts * (1 + 0.3 * np.cos(turn)), (VIEWS, STEPS, *shape))
    return sample.astype(np.uint16), rng.poisson(counts * (1 + 0.4 * np.cos(turn)), (FLATS, STEPS, *shape)).astype(np.uint16)


def described(folder, sample, flat, **more):
    steps = {"count": STEPS, "endpoint_repeated": False}
    content = {"name": "scan", "sample": sample, "flat": flat, "steps": steps, "pixel": "75 um", **more}
    (folder / "scan.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return folder / "scan.yaml"


def npy(folder, sample, flat, **more):
    np.save(folder / "s.npy", sample)
    np.save(folder / "f.npy", flat)
    one = {"kind": "npy", "files": "s.npy", "axes": SAMPLE_AXES}
    return described(folder, one, {"kind": "npy", "files": "f.npy", "axes": FLAT_AXES}, **more)


def hdf5(folder, fill, **more):
    """`fill` writes datasets s and f."""
    with h5py.File(folder / "scan.h5", "w") as file:
        fill(file)
    one = {"kind": "hdf5", "file": "scan.h5"}
    sample, flat = {**one, "dataset": "s", "axes": SAMPLE_AXES}, {**one, "dataset": "f", "axes": FLAT_AXES}
    return described(folder, sample, flat, **more)


def scan_of(path):
    ((_, scan, _),) = load_scans(path)
    return scan


def maps_of(path):
    ((raw, _),) = read_raw(path)
    return retrieve(scan_of(path), **raw.retrieval.arguments())


def judged(path):
    """Maps, and what is told of them."""
    maps = maps_of(path)
    page = path.parent / "q.html"
    return maps, quality_page(maps, page, title="x", scan=scan_of(path), options={})["findings"]
