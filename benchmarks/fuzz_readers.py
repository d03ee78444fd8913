"""Small valid files of every kind and all that darklung reads of them, for `fuzz.py`."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import yaml

from darklung.core.geometry import ParallelGeometry
from darklung.core.types import Image, Projections, Scan
from darklung.io.frames import load_scans
from darklung.io.hdf5 import load, save
from darklung.io.images import load_image, save_image
from darklung.io.projections import open_projections
from darklung.io.show import describe_file
from darklung.io.volumes import VolumeOptions, read_volume

Reads = Callable[[Path], list[Callable[[], Any]]]
STEPS, ROWS, COLS = 4, 6, 8
EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass
class Reader:
    """Files in `root` with what they hold, and the ways in which each is read."""

    name: str
    root: Path
    reads: Reads
    kept: dict[Path, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.kept = {p: p.read_bytes() for p in sorted(self.root.rglob("*")) if p.is_file() and not p.name.startswith("_")}


def _counts(seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(STEPS)[:, None, None] / STEPS + np.linspace(0, 2, COLS) + np.zeros((ROWS, 1))
    return (
        rng.poisson(900 * (1 + 0.3 * np.cos(angle)), (2, STEPS, ROWS, COLS)).astype(np.uint16),
        rng.poisson(1500 * (1 + 0.4 * np.cos(angle)), (2, STEPS, ROWS, COLS)).astype(np.uint16),
    )


def _described(path: Path, sample: Mapping[str, Any], flat: Mapping[str, Any], **more: Any) -> Path:
    content = {"name": "scan", "sample": sample, "flat": flat, "pixel": "75 um", "steps": {"count": STEPS}, **more}
    content["steps"]["endpoint_repeated"] = False
    path.write_text(yaml.safe_dump(content))
    return path


def _scan(path: Path) -> list[Callable[[], Any]]:
    """Frames, of a scan in memory and of one on disk."""
    return [
        lambda: list(load_scans(path)),
        lambda: [np.asarray(s.frames[0, 0]) for _, s, _ in load_scans(path, eager_bytes=0)],
    ]


def _one_frame_files(root: Path, kind: str, ending: str, write: Callable[[Path, Any], Any]) -> Reader:
    """A frame a file; the description has a hidden name and is not damaged."""
    sample, flat = _counts()
    for name, frames in (("s", sample), ("f", flat)):
        for number, step in np.ndindex(frames.shape[:2]):
            write(root / f"{name}{number}{step}.{ending}", frames[number, step])
    source = {"kind": kind, "file_counts": [2, STEPS], "axes": ["row", "col"]}
    made = _described(
        root / "_scan.yaml",
        {**source, "files": f"s*.{ending}", "file_axes": ["view", "step"]},
        {**source, "files": f"f*.{ending}", "file_axes": ["flat", "step"]},
    )
    return Reader(kind, root, lambda path: [lambda: describe_file(path), *_scan(made)])


def _edf(path: Path, array: Any) -> None:
    keys = {"ByteOrder": "LowByteFirst", "DataType": "UnsignedShort", "Dim_1": array.shape[1], "Dim_2": array.shape[0]}
    text = "{\n" + "".join(f"{k} = {v} ;\n" for k, v in keys.items())
    path.write_bytes((text.ljust(510) + "}\n").encode() + array.astype("<u2").tobytes())


def edf(root: Path) -> Reader:
    return _one_frame_files(root, "edf", "edf", _edf)


def tiff(root: Path) -> Reader:
    packings = ({}, {"compression": "zlib"}, {"predictor": True, "compression": "zlib"}, {"rowsperstrip": 2})

    def write(path: Path, array: Any) -> None:
        # The files of one scan are packed in several ways, and one is an OME-TIFF.
        options: dict[str, Any] = dict(packings[sum(path.name.encode()) % len(packings)])
        ome = {"ome": True} if path.name == "s00.tif" else {"photometric": "minisblack"}
        tifffile.imwrite(path, array, **ome, **options)

    frames = _one_frame_files(root, "tiff", "tif", write)
    volume = np.arange(3 * ROWS * COLS, dtype=np.uint16).reshape(3, ROWS, COLS)
    tifffile.imwrite(root / "volume.tif", volume, photometric="minisblack", compression="zlib")
    tifffile.imwrite(root / "big.tif", volume, photometric="minisblack", byteorder=">", bigtiff=True)
    tifffile.imwrite(
        root / "imagej.tif", volume, imagej=True, resolution=(10, 10), metadata={"spacing": 1, "unit": "um", "axes": "ZYX"}
    )
    options = VolumeOptions(spacing="1 um")

    def reads(path: Path) -> list[Callable[[], Any]]:
        whole = (
            [lambda: read_volume(path, options=options)]
            if path.name in ("volume.tif", "imagej.tif", "big.tif")
            else frames.reads(path)
        )
        return [lambda: describe_file(path), *whole]

    return Reader("tiff", root, reads)


def numpy(root: Path) -> Reader:
    from darklung.io.labels import read_lung
    from darklung.io.lobes import read_lobe

    sample, flat = _counts()
    np.save(root / "s.npy", sample)
    np.save(root / "f.npy", np.asfortranarray(flat))
    np.save(root / "lung.npy", np.ones((3, 4, 5), np.uint8))
    mask = np.zeros((9, 7), bool)
    mask[2:7, 1:6] = True
    maps = {k: np.full(int(mask.sum()), 0.5, np.float32) for k in "ABPv"}
    np.savez(root / "lobe.npz", mask=mask, **maps)
    np.savez_compressed(root / "packed.npz", mask=mask, **maps)
    axes = ["step", "row", "col"]
    sources = [{"kind": "npy", "files": f, "axes": [a, *axes]} for f, a in (("s.npy", "view"), ("f.npy", "flat"))]
    made = _described(root / "_scan.yaml", *sources)

    def reads(path: Path) -> list[Callable[[], Any]]:
        own = {".npz": [lambda: read_lobe(path)]}.get(path.suffix, _scan(made))
        own = [lambda: read_lung(path, (3, 4, 5))] if path.stem == "lung" else own
        return [lambda: describe_file(path), *own]

    return Reader("numpy", root, reads)


def hdf5(root: Path) -> Reader:
    sample, flat = _counts()
    with h5py.File(root / "scan.h5", "w") as file:
        file.create_dataset("s", data=sample, chunks=(1, STEPS, ROWS, COLS), compression="gzip", shuffle=True)
        file["f"] = flat
    source, axes = {"kind": "hdf5", "file": "scan.h5"}, ["step", "row", "col"]
    made = _described(
        root / "_scan.yaml",
        {**source, "dataset": "s", "axes": ["view", *axes]},
        {**source, "dataset": "f", "axes": ["flat", *axes]},
    )
    maps = np.zeros((1, 3, ROWS, COLS), np.float32)
    geometry = ParallelGeometry(np.arange(3.0), ROWS, COLS, 1e-4)
    valid = np.ones(maps.shape, bool)
    save(root / "maps.h5", Projections(*(maps + 0.1,) * 8, valid, np.zeros(1), geometry))
    phases, times = np.arange(STEPS) * 2 * np.pi / STEPS, np.zeros((1, 2))
    two = ParallelGeometry(np.arange(2.0), ROWS, COLS, 1e-4)
    save(root / "own.h5", Scan(sample[None], flat[None], phases[None], np.zeros(1), two, times, times))

    def reads(path: Path) -> list[Callable[[], Any]]:
        own: dict[str, list[Callable[[], Any]]] = {
            "scan": _scan(made),
            "maps": [lambda: load(path, Projections), lambda: open_projections(path).read(slice(0, ROWS))],
            "own": [lambda: load(path, Scan)],
        }
        return [lambda: describe_file(path), *own[path.stem]]

    return Reader("hdf5", root, reads)


def nxtomo(root: Path) -> Reader:
    sample, flat = _counts()
    with h5py.File(root / "scan.nx", "w") as file:
        frames = np.concatenate([flat.reshape(-1, ROWS, COLS), sample.reshape(-1, ROWS, COLS)])
        file["entry/instrument/detector/data"] = frames
        file["entry/instrument/detector/image_key"] = np.repeat([1, 0], 2 * STEPS)
        angles = file.create_dataset("entry/sample/rotation_angle", data=np.repeat([0.0, 0.0, 0.0, 60.0], STEPS))
        angles.attrs["units"] = "degree"
    source = {"kind": "nxtomo", "file": "scan.nx", "frame_counts": [2, STEPS]}
    made = _described(
        root / "_scan.yaml",
        {**source, "frames": "sample", "frame_axes": ["view", "step"]},
        {**source, "frames": "flat", "frame_axes": ["flat", "step"]},
        angles="file",
    )
    return Reader("nxtomo", root, lambda path: [lambda: describe_file(path), *_scan(made)])


def ome_zarr(root: Path) -> Reader:
    import zarr

    from darklung.io.images import image_grid

    values = np.random.default_rng(5).normal(size=(2, 4, 5, 6)).astype(np.float32)
    save_image(root / "own.ome.zarr", Image(values, ("a", "b"), ("1/m", "1"), (1e-4,) * 3))
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    scale = [{"type": "scale", "scale": [3.0, 2.0, 1.0]}]
    images = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    for name, form in (("old.zarr", 2), ("new.zarr", 3)):
        group = zarr.open_group(str(root / name), mode="w", zarr_format=form)
        group.create_array("0", shape=(4, 5, 6), dtype=np.int16, chunks=(2, 3, 3))[...] = (10 * values[0]).astype(np.int16)
        group.attrs.update({"multiscales": images} if form == 2 else {"ome": {"version": "0.5", "multiscales": images}})

    def reads(path: Path) -> list[Callable[[], Any]]:
        store = root / path.relative_to(root).parts[0]
        own = [lambda: image_grid(store), lambda: load_image(store)] if store.name.startswith("own") else []
        return [lambda: describe_file(store), lambda: read_volume(store), *own]

    return Reader("ome_zarr", root, reads)


def nifti(root: Path) -> Reader:
    import nibabel

    from darklung.io.images import export_nifti

    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([0.1, 0.2, 0.3, 1])), root / "one.nii")
    nibabel.save(nibabel.Nifti2Image(values, np.diag([0.1, 0.2, 0.3, 1])), root / "two.nii")
    (root / "packed.nii.gz").write_bytes(gzip.compress((root / "one.nii").read_bytes()))
    export_nifti(Image(values[None].astype(np.float32), ("mu",), ("1/m",), (1e-4,) * 3), root)
    return Reader("nifti", root, lambda path: [lambda: describe_file(path), lambda: read_volume(path)])


def itk(root: Path) -> Reader:
    """NRRD and MetaImage."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    for name in ("a.nrrd", "b.nhdr", "c.mha", "d.mhd"):
        for packed in (False, True):
            sitk.WriteImage(image, str(root / f"{'packed' if packed else 'plain'}_{name}"), useCompression=packed)

    def reads(path: Path) -> list[Callable[[], Any]]:
        heads = {".nhdr", ".mhd"}
        named = next((p for p in root.glob(f"{path.name.split('.')[0]}.*") if p.suffix in heads), path)
        return [lambda: read_volume(path if path.suffix in {".nrrd", ".mha", *heads} else named)]

    return Reader("itk", root, reads)


def dicom(root: Path) -> Reader:
    import pydicom

    for k in range(3):
        item = pydicom.Dataset()
        item.SOPClassUID, item.SOPInstanceUID, item.SeriesInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"1.2.{k + 1}", "1.2"
        item.Modality, item.SamplesPerPixel, item.PhotometricInterpretation = "CT", 1, "MONOCHROME2"
        item.Rows, item.Columns = 4, 5
        item.PixelSpacing, item.ImagePositionPatient = [0.2, 0.1], [0, 0, 0.3 * k]
        item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 16, 16, 15, 1
        item.PixelData = np.arange(20, dtype=np.int16).tobytes()
        item.file_meta = pydicom.dataset.FileMetaDataset()
        item.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        item.file_meta.MediaStorageSOPClassUID = item.SOPClassUID
        item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
        item.save_as(root / f"d{k}.dcm", enforce_file_format=True)
    return Reader("dicom", root, lambda path: [lambda: read_volume(root)])


def model(root: Path) -> Reader:
    import torch
    from safetensors.torch import save_file

    from darklung.learn.network import make_network
    from darklung.learn.predict import load_model, read_description

    torch.manual_seed(1)
    network = make_network("residual_attention_unet", channels=1, dims=2, widths=(16,))
    save_file(network.state_dict(), root / "model.safetensors")
    norm = {"mean": [0.0], "deviation": [1.0], "per": "cohort"}
    images = {"spacing_m": [1e-4, 1e-4], "units": {"attenuation": "1/m"}, "beams": [[70.0, None]]}
    about = {"network": "residual_attention_unet", "channels": ["attenuation"], "normalisation": norm, "dims": 2}
    about |= {"widths": [16], "patch": [8, 8], "images": images, "steps_done": 3}
    (root / "model.json").write_text(json.dumps(about, indent=1))
    return Reader("model", root, lambda path: [lambda: read_description(root), lambda: load_model(root)])


def calibration(root: Path) -> Reader:
    from darklung.calibrate.file import load_calibration
    from darklung.commands.measurements import read_measurements
    from darklung.steps.calibrate.fibres import calibrate_fibres
    from darklung.steps.calibrate.spheres import calibrate_spheres

    folder = EXAMPLES / "calibration"
    calibrate_fibres(read_measurements(folder / "fibres.csv", root), root / "_f", angle="{angle_deg} deg")
    series = [read_measurements(folder / "spheres_near.csv", root)]
    how = {"diameter": "{diameter_um} um", "thickness": "{thickness_mm} mm", "model": "dilute", "offset": False}
    calibrate_spheres(series, root / "_s", **how)
    for name in ("f", "s"):
        shutil.copy(root / f"_{name}/calibration.json", root / f"{name}.json")
        shutil.rmtree(root / f"_{name}")
    unit = {"zero_per_m": 1.0, "reference_per_m": 40.0, "zero_error_per_m": 0.1, "reference_error_per_m": 0.1}
    content = {
        "darklung_calibration": 1,
        "kind": "unit",
        "name": "u",
        "unit": {**unit, "reference": "foam"},
        "provenance": {},
    }
    (root / "u.json").write_text(json.dumps(content))
    return Reader("calibration", root, lambda path: [lambda: load_calibration(path)])


def documents(root: Path) -> Reader:
    """YAML of every kind: studies, protocols, descriptions of frames, an instrument."""
    from darklung.io.description import read_raw
    from darklung.study.protocols import read_protocol
    from darklung.study.study import read_study

    for path in [*EXAMPLES.glob("*.yaml"), *EXAMPLES.glob("protocols/*.yaml"), *EXAMPLES.glob("real/*.yaml")]:
        shutil.copy(path, root / f"{path.parent.name}_{path.name}")
    readers: dict[str, Callable[[Path], Any]] = {
        "examples": read_study,
        "protocols": read_protocol,
        "real": lambda path: list(read_raw(path)),
    }
    for path in list(root.iterdir()):
        try:
            readers[path.name.split("_")[0]](path)
        except ValueError:
            path.unlink()  # reads measured data that are not here
    return Reader("yaml", root, lambda path: [lambda: readers[path.name.split("_")[0]](path)])


def tables(root: Path) -> Reader:
    from darklung.io.lobes import read_lobes
    from darklung.physics.spectrum import from_file
    from darklung.steps.calibrate.measurements import read_table
    from darklung.steps.scoring.candidates import read_candidates
    from darklung.steps.scoring.score import read_animals

    shutil.copy(EXAMPLES / "calibration/wedge.csv", root / "wedge.csv")
    (root / "candidates.csv").write_text("case,z_mm,y_mm,x_mm,score\na,1,2,3,0.5\nb,1,2,3.5,0.25\n")
    (root / "animals.csv").write_text("case,animal\na,m1\nb,m2\n")
    (root / "spectrum.csv").write_text("energy [keV], photons\n40, 1.0\n45, 2.0\n50, 1.5\n")
    (root / "lobes").mkdir()
    (root / "lobes/index.csv").write_text("file,mouse,exposure,lobe,kind\n_a.npz,m,e,left,region\n")
    mask = np.ones((4, 5), bool)
    np.savez(root / "lobes/_a.npz", mask=mask, **{k: np.full(mask.size, 0.5) for k in "ABPv"})
    readers: dict[str, Callable[[Path], Any]] = {
        "wedge": read_table,
        "candidates": read_candidates,
        "animals": read_animals,
        "spectrum": lambda path: from_file(path, low_kev=35, high_kev=60, bins=3),
        "index": lambda path: read_lobes(path.parent),
    }
    return Reader("csv", root, lambda path: [lambda: readers[path.stem](path)])


READERS: Mapping[str, Callable[[Path], Reader]] = {
    "edf": edf,
    "tiff": tiff,
    "numpy": numpy,
    "hdf5": hdf5,
    "nxtomo": nxtomo,
    "ome_zarr": ome_zarr,
    "nifti": nifti,
    "itk": itk,
    "dicom": dicom,
    "model": model,
    "calibration": calibration,
    "yaml": documents,
    "csv": tables,
}
