"""Tiny inputs for every command, so that each takes about a second; for `kills.py` and `broken_machines.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tifffile
import yaml
from scipy import ndimage

import darklung
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import Image, Insertion, Projections
from darklung.io.case import CaseFacts, LabelledCase, load_case, save_case
from darklung.io.hdf5 import save
from darklung.io.images import save_image
from darklung.io.nifti import write_nifti

EXAMPLES = Path(__file__).parents[1] / "examples/calibration"
STEPS, SHAPE = 5, (10, 14, 16)
LEARNING = {"arms": {"ct": ["attenuation"]}, "widths": [16], "patch": 8, "batch": 1, "steps": 2, "folds": 3}
ABOUT = {
    "title": "Tiny",
    "description": "Made up.",
    "creators": [{"name": "Nobody, N.", "orcid": "none"}],
    "license": "CC-BY-4.0",
    "sources": {"mice": {"license": "CC-BY-4.0"}},
    "ethics": {"approval": "A-1"},
}
PROTOCOL = """
kind: protocol
title: tiny
pixel: 0.6 mm
scan: {views: 4, counts: 2e6, supersampling: 1, flats: 1, flat_repeats: 1}
"""

# Command -> arguments, in the folder of inputs; {out} is where it writes.
COMMANDS: Mapping[str, str] = {
    "simulate": "simulate protocol.yaml edge --field '2 mm,20 mm' --out {out}",
    "check": "check protocol.yaml --out {out}",
    "import hdf5": "import scan.yaml --out {out}",
    "import nxtomo": "import scan.yaml --out {out} --format nxtomo",
    "retrieve": "retrieve scan.yaml --out {out} --workers {workers}",
    "qc": "qc projections.h5 --out {out}",
    "align": "align projections.h5 --out {out}/aligned.h5",
    "reconstruct": "reconstruct projections.h5 --out {out} --memory '1 MiB'",
    "insert": "insert mouse.ome.zarr --region region.ome.zarr --diameter '2 mm,2 mm' --copies 2 --out {out}"
    " --workers {workers}",
    "cohort": "cohort --animals 1,1 --voxel '900 um' --seed 6 --out {out} --workers {workers}",
    "train": "train study.yaml --out {out} --workers {workers}",
    "run": "run study.yaml --out {out} --workers {workers}",
    "predict": "predict run case --out {out} --workers {workers}",
    "evaluate": "evaluate predicted/findings/m7/probability.ome.zarr case --tile '1.5 mm' --out {out}",
    "compare": "compare run other --out {out}",
    "export": "export mouse.ome.zarr --out {out}",
    "calibrate spheres": f"calibrate spheres {EXAMPLES}/spheres_near.csv --out {{out}}",
    "calibrate fibres": f"calibrate fibres {EXAMPLES}/fibres.csv --out {{out}}",
    "calibrate wedges": f"calibrate wedges {EXAMPLES}/wedge.csv --instrument {EXAMPLES}/instrument.yaml"
    " --second '{{bone_mm}} mm' --foam foam --out {out}",
    "calibrate unit": "calibrate unit unit.ome.zarr --zero 0:4,0:5,0:5 --reference 0:4,7:12,7:12 --name foam --out {out}",
    "calibrate apply": "calibrate apply wedges/calibration.json projections.h5 --out {out}",
    "calibrate apply unit": "calibrate apply unit/calibration.json unit.ome.zarr --out {out}",
    "check sweep": "check protocol.yaml --sweep counts=1e6:3e6:2 --out {out}",
    "describe": "describe frames --out {out}/scan.yaml",
    "examples": "examples --out {out}",
    "export nnunet": "export run --layout nnunet --out {out}",
    "export monai": "export run --layout monai --out {out}",
    "resolution": "resolution noise.ome.zarr --edge none --noise-box 0:32,0:32,0:32 --out {out}",
    "section": "section phantom.h5 --out {out} --name one --set 'field=[4 mm, 4 mm]' --set pixel='4 um' --set plane=coronal",
    "stereology": "stereology stack.yaml --set tile='0.2 mm' --out {out} --workers {workers}",
    "register": "register cut/section/one/section.ome.tif volume.ome.zarr --with name=mouse --with lung=lung.ome.zarr"
    " --set 'channels=[attenuation]' --out {out}",
    "detectability": "detectability protocol.yaml --sweep counts=1e6:3e6:2 --lesion solid --size '2 mm' --realisations 100"
    " --out {out} --workers {workers}",
    "card": "card run --out {out}/card.md",
    "deposit": "deposit run --about about.yaml --out {out}",
    "reproduce": "reproduce deposited --study study.yaml --out {out} --workers {workers}",
    "benchmark make": "benchmark make sealed.yaml --seed 3 --out {out}/public --workers {workers}",
    "benchmark pack": "benchmark pack sealed/public maps --name mine --out {out}",
    "benchmark score": "benchmark score sealed/public entry --seal sealed/public.seal.h5 --out {out}",
    "benchmark page": "benchmark page sealed/public scored --out {out}/page.html",
}
# The same on inputs whose arrays do not fit into the memory that `broken_machines.py` leaves.
LARGE: Mapping[str, str] = {
    "simulate": "simulate fine.yaml edge --field '16 mm,16 mm' --out {out}",
    "import hdf5": "import large.yaml --out {out}",
    "retrieve": "retrieve large.yaml --out {out} --workers {workers}",
    "qc": "qc large.h5 --out {out}",
    "align": "align large.h5 --out {out}/aligned.h5",
    "reconstruct": "reconstruct large.h5 --out {out}",
    "insert": "insert large.ome.zarr --region large_region.ome.zarr --diameter '2 mm,2 mm' --out {out} --workers {workers}",
    "cohort": "cohort --animals 1,1 --voxel '300 um' --seed 6 --out {out} --workers {workers}",
    "train": "train study.yaml --set 'widths=[192, 384]' --set steps=1 --out {out} --workers {workers}",
    "run": "run wide.yaml --out {out} --workers {workers}",
    "predict": "predict run middle.ome.zarr --region middle_region.ome.zarr --out {out} --workers {workers}",
    "export": "export large.ome.zarr --out {out}",
    "section": "section phantom.h5 --set 'field=[12 mm, 12 mm]' --set pixel='2 um' --set plane=coronal --out {out}",
}
# Commands that want a new place, and refuse it in a line where all was done before.
ONCE = ("describe", "examples", "benchmark make", "benchmark pack", "benchmark score")
# Commands whose outputs are drawn anew each time, and what must say that they are whole.
DRAWN: Mapping[str, str] = {"benchmark make": "benchmark open {out}/public --seal {out}/public.seal.h5"}
# Commands that take `--workers`.
PARALLEL = tuple(name for name, text in COMMANDS.items() if "{workers}" in text)


def make_inputs(folder: Path) -> None:
    """Everything that `COMMANDS` read but what other commands make (`FIRST`)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "protocol.yaml").write_text(PROTOCOL)
    _frames(folder)
    _projections(folder / "projections.h5")
    _volumes(folder)
    for number in range(3):
        save_case(folder / f"cases/m{number}", _case(number))
    save_case(folder / "case", _case(7))
    part = {"replicates": 100, "tile": "1.5 mm"}
    sources = {"mice": {"from": "cases", "files": ["cases/m*"]}}
    study = {"name": "small", "seed": 2, "sources": sources, "learning": LEARNING, "evaluation": part}
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    held = {"name": "held", "sources": {"mice": {**sources["mice"], "use": "test"}}, "evaluation": part}
    (folder / "sealed.yaml").write_text(yaml.safe_dump(held, sort_keys=False))
    (folder / "about.yaml").write_text(yaml.safe_dump(ABOUT, sort_keys=False))
    _section(folder)


def _maps(folder: Path) -> None:
    """Maps of the benchmark's cases, as a program makes them."""
    folder.mkdir(exist_ok=True)
    for case in sorted((folder.parent / "sealed/public/cases").iterdir()):
        image = load_case(case).channels
        values = 1 / (1 + np.exp(-image.data[:1]))
        write_nifti(folder / f"{case.name}.nii.gz", image.with_data(values, ("probability",), ("1",)), "probability")


def make_large(folder: Path) -> None:
    """Everything more that `LARGE` read: arrays of some 10 to 60 MB."""
    (folder / "fine.yaml").write_text(PROTOCOL.replace("0.6 mm", "0.1 mm"))
    raw = yaml.safe_load((folder / "scan.yaml").read_text())
    rng = stream(4, "large")
    angle = 2 * np.pi * np.arange(STEPS)[:, None, None] / STEPS + np.zeros((384, 384))
    for name, count in (("c", 12), ("g", 2)):
        one = rng.poisson(3000 * (1 + 0.4 * np.cos(angle))).astype(np.uint16)
        np.save(folder / f"{name}.npy", np.broadcast_to(one, (count, *one.shape)))
    (folder / "large.csv").write_text("id\nc\n")
    raw |= {"series": {"table": "large.csv", "name": "{id}"}, "flat": {**raw["flat"], "files": "g.npy"}}
    (folder / "large.yaml").write_text(yaml.safe_dump({**raw, "angles": {"first": "0 deg", "step": "30 deg"}}))
    _projections(folder / "large.h5", views=32, rows=192, columns=256)
    for name, shape in (("large", (1, 224, 256, 256)), ("middle", (1, 96, 160, 160))):
        region = np.zeros(shape, np.uint8)
        region[:, 20:-20, 20:-20, 20:-20] = 1
        values = np.where(region, 6, 20).astype(np.float32)  # as lung in soft tissue
        image = Image(values, ("attenuation",), ("1/m",), (3e-4,) * 3)
        save_image(folder / f"{name}.ome.zarr", image)
        save_image(folder / f"{name}_region.ome.zarr", image.with_data(region, ("region",), ("1",)))
    study = yaml.safe_load((folder / "study.yaml").read_text())
    study["learning"] |= {"widths": [192, 384], "steps": 1}
    (folder / "wide.yaml").write_text(yaml.safe_dump(study, sort_keys=False))


# What other commands read of these: made by a command, or by a function of its place.
FIRST: Mapping[str, str | Callable[[Path], None]] = {
    "run": "run study.yaml --out run --workers 1",
    "other": "run study.yaml --out other --workers 1",
    "predicted": "predict run case --out predicted --workers 1",
    "wedges": COMMANDS["calibrate wedges"].format(out="wedges"),
    "unit": COMMANDS["calibrate unit"].format(out="unit"),
    "cut": COMMANDS["section"].format(out="cut"),
    "deposited": COMMANDS["deposit"].format(out="deposited"),
    "sealed": COMMANDS["benchmark make"].format(out="sealed", workers=1),
    "maps": _maps,
    "entry": COMMANDS["benchmark pack"].format(out="entry"),
    "scored": COMMANDS["benchmark score"].format(out="scored"),
}


def _frames(folder: Path) -> None:
    """A series of two stepping scans."""
    rng = stream(1, "frames")
    angle = 2 * np.pi * np.arange(STEPS)[:, None, None] / STEPS + np.linspace(0, 2, 16) + np.zeros((6, 1))
    np.save(folder / "f.npy", rng.poisson(4000 * (1 + 0.4 * np.cos(angle)), (2, STEPS, 6, 16)).astype(np.uint16))
    for name in ("a", "b"):
        frames = rng.poisson(2800 * (1 + 0.3 * np.cos(angle)), (3, STEPS, 6, 16)).astype(np.uint16)
        np.save(folder / f"{name}.npy", frames)
    (folder / "scans.csv").write_text("id\na\nb\n")
    axes = ["step", "row", "col"]
    content = {
        "series": {"table": "scans.csv", "name": "{id}"},
        "sample": {"kind": "npy", "files": "{id}.npy", "axes": ["view", *axes]},
        "flat": {"kind": "npy", "files": "f.npy", "axes": ["flat", *axes]},
        "steps": {"count": STEPS, "endpoint_repeated": False},
        "pixel": "75 um",
        "angles": {"first": "0 deg", "step": "60 deg"},
    }
    (folder / "scan.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def _projections(path: Path, views: int = 24, rows: int = 16, columns: int = 32) -> None:
    """A cylinder in two beams' worth of slabs."""
    angles = np.linspace(0, 2 * np.pi, views, endpoint=False)
    u = np.arange(columns) - (columns - 1) / 2
    chord = 2 * np.sqrt(np.maximum(9.0**2 - (u - 3 * np.cos(angles)[:, None]) ** 2, 0))
    maps = np.repeat(0.02 * chord[None, :, None], rows, axis=2).astype(np.float32)
    maps += 0.001 * stream(2, "projections").normal(size=maps.shape).astype(np.float32)
    small, valid = np.full_like(maps, 1e-3), np.ones(maps.shape, bool)
    geometry = ParallelGeometry(angles, rows, columns, 1e-4)
    errors = (small, small, small, 0.1 + small, 0.2 + small)
    save(path, Projections(maps, 2 * maps, 0 * maps, *errors, valid, np.array([np.pi / 2]), geometry))


def _volumes(folder: Path) -> None:
    mouse = darklung.make_mouse(seed=2, voxel_m=600e-6)
    values = 20 * mouse.density.sum(axis=0, keepdims=True).astype(np.float32)
    image = Image(values, ("attenuation",), ("1/m",), (mouse.voxel_m,) * 3)
    save_image(folder / "mouse.ome.zarr", image)
    region = (mouse.lobes > 0)[None].astype(np.uint8)
    save_image(folder / "region.ome.zarr", image.with_data(region, ("region",), ("1",)))
    volume = np.zeros((2, 4, 12, 12), np.float32)
    volume[1] = 3.0 + stream(0, "volume").normal(0, 0.1, (4, 12, 12))
    volume[1, :, 6:, 6:] += 40.0
    noise = stream(1, "volume").normal(20, 1, (1, 32, 32, 32)).astype(np.float32)
    save_image(folder / "noise.ome.zarr", Image(noise, ("attenuation",), ("1/m",), (1e-4,) * 3))
    save_image(folder / "unit.ome.zarr", Image(volume, ("attenuation", "dark_field"), ("1/m", "1/m"), (1e-3,) * 3))


def _section(folder: Path) -> None:
    """A mouse whose sections are cut, its volume, two pictures of a stack, and frames that nobody described."""
    mouse = darklung.make_mouse(seed=11, voxel_m=900e-6)
    save(folder / "phantom.h5", mouse)
    values = 20 * mouse.density.sum(axis=0, keepdims=True).astype(np.float32)
    image = Image(values, ("attenuation",), ("1/m",), (mouse.voxel_m,) * 3)
    save_image(folder / "volume.ome.zarr", image)
    lung = (mouse.lobes > 0)[None].astype(np.uint8)
    save_image(folder / "lung.ome.zarr", image.with_data(lung, ("lung",), ("1",)))
    rng = stream(3, "pictures")
    for name in ("one", "two"):
        holes = ndimage.gaussian_filter(rng.normal(size=(200, 200)), 6) > 0
        picture = np.where(holes[..., None], 250, (200, 80, 160)).astype(np.uint8)
        tifffile.imwrite(folder / f"{name}.tif", picture, photometric="rgb")
    sections = [{"file": f"{name}.tif", "pixel": "2 um"} for name in ("one", "two")]
    (folder / "stack.yaml").write_text(yaml.safe_dump({"sections": sections, "spacing": "0.1 mm"}))
    (folder / "frames").mkdir()
    for number in range(4):
        tifffile.imwrite(folder / f"frames/scan_{number:02d}.tif", rng.poisson(900, (6, 8)).astype(np.uint16))


def _case(number: int) -> LabelledCase:
    """A case with one bright ball."""
    rng = stream(number, "blob")
    at = np.array([rng.uniform(3, n - 3) for n in SHAPE]).reshape(3, 1, 1, 1)
    ball = ((np.indices(SHAPE) - at) ** 2).sum(axis=0) < 5
    data = (rng.normal(size=(1, *SHAPE)) + 4 * ball).astype(np.float32)
    image = Image(data, ("attenuation",), ("1/m",), (3e-4,) * 3)
    every, labels = np.ones(SHAPE, bool), ball.astype(np.uint8)
    put = (Insertion(1, "lesion", "solid", image.position_m(at.ravel()), 1e-3),)
    about = CaseFacts(f"m{number}", f"m{number}")
    return LabelledCase(image, labels, every, every, ball.astype(np.uint16), ~every, put, about)
