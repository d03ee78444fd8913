"""Two roads are one: what a study simulates, written to files under foreign names and brought in again, is the same case."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest
import SimpleITK
import tifffile
import yaml

from darklung.commands.align import align_file
from darklung.commands.reconstruct import reconstruct_files
from darklung.commands.run import run_study
from darklung.core.types import PROJECTION_MAPS, Projections, Scan
from darklung.io.case import load_case
from darklung.io.hdf5 import load
from darklung.io.images import export_nifti, load_image
from darklung.io.projections import READ, open_projections
from darklung.report import slices
from darklung.retrieve import overview
from darklung.steps import quality

pytestmark = pytest.mark.slow(20)

NAME, OTHER = "train-0001", "train-0002"
INSTRUMENT = {"low": "60 keV", "high": "80 keV"}
MICE = {
    "from": "simulation",
    "instrument": INSTRUMENT,
    "cohort": {"animals": 2, "test_animals": 0, "lesion_free": 0.0, "diameter": ["1.5 mm", "2.2 mm"]},
    "body": {"voxel": "400 um"},
    "scan": {"supersampling": 1, "views": 24, "flats": 2, "flat_repeats": 2, "keep_frames": True},
    "effects": {"dark_counts": 30, "bad_pixels": 0.002, "dose_jitter": 0.02},
}
PROCESSING = {"reconstruction": {"options": {"cutoff": 0.8}}}
TOLERANCE = 1e-6
SIGNALS = ("attenuation", "dark_field", "dark_field_0", "dark_field_90", "anisotropy", "noise")


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """Pictures take most of the time and are not compared."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((overview, "overview_png"), (slices, "slices_png")):
            patch.setattr(module, name, lambda *_, **__: None)
        patch.setattr(quality, "write_quality", lambda path, page: path)
        yield


def run(folder, sources, **parts):
    folder.mkdir(exist_ok=True)
    content = {"name": "roads", "seed": 5, "sources": sources, "processing": PROCESSING, **parts}
    (folder / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    run_study(folder / "study.yaml", out=folder / "run", workers=1)
    return folder / "run"


@pytest.fixture(scope="module")
def inside(tmp_path_factory):
    """The study from the inside; frames, projections and volumes are kept."""
    return run(tmp_path_factory.mktemp("inside"), {"mice": MICE})


@pytest.fixture(scope="module")
def simulated(inside):
    return load(inside / "scan" / NAME / "scan.h5", Scan)


def assert_same_case(ours, theirs, channels=None):
    """Channels to `TOLERANCE` of each channel's own largest value, lung and search region in every voxel."""
    wanted, found = load_case(ours / "cases" / NAME, channels), load_case(theirs / "cases" / NAME, channels)
    assert found.channels.names == wanted.channels.names
    assert found.channels.units == wanted.channels.units
    assert found.channels.grid_difference(wanted.channels) == ""
    for name in wanted.channels.names:
        expected = wanted.channels.channel(name)
        top = np.abs(expected).max()
        np.testing.assert_allclose(found.channels.channel(name), expected, atol=TOLERANCE * top, rtol=0, err_msg=name)
    np.testing.assert_array_equal(found.lung, wanted.lung)
    np.testing.assert_array_equal(found.region, wanted.region)
    assert wanted.lung.sum() > 1000
    return wanted, found


def described(scan, folder, **frames):
    """What a description says of the simulated scan; where its frames are comes with each road."""
    np.save(folder / "offset_of_the_camera.npy", scan.dark_frame)
    np.save(folder / "broken.npy", scan.bad_pixels)
    content = {
        "name": NAME,
        "dark_frame": {"kind": "npy", "files": "offset_of_the_camera.npy", "axes": ["row", "col"]},
        "bad_pixels": {"kind": "npy", "files": "broken.npy", "axes": ["row", "col"]},
        "steps": {"count": scan.frames.shape[2], "endpoint_repeated": False},
        "angles": {"first": "0 deg", "step": "7.5 deg"},
        "directions": ["0 deg", "90 deg"],
        # Directions are exposed one after the other; a scan's own times count from the start of each.
        "view_times": [f"{t!r} s" for t in scan.view_time_s[0].tolist()],
        "flat_times": [f"{t!r} s" for t in scan.flat_time_s[0].tolist()],
        "pixel": "400 um",
        "retrieval": {"normalise": "air"},
        **frames,
    }
    (folder / "scan.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / "scan.yaml"


def as_tiff(scan, folder):
    """One file a frame, steps outermost, as a scanner writes that steps its grating once a turn."""
    for kind, frames in (("schaf", scan.frames), ("leer", scan.flats)):
        (folder / kind).mkdir()
        for d, v, k in np.ndindex(*frames.shape[:3]):
            tifffile.imwrite(folder / kind / f"G1_{k:02d}__pos{d}__{v:04d}.TIF", frames[d, v, k])
    steps, views, flats = scan.frames.shape[2], scan.frames.shape[1], scan.flats.shape[1]

    def source(kind, axis, count):
        axes = {"file_axes": ["step", "direction", axis], "file_counts": [steps, 2, count]}
        return {"kind": "tiff", "files": f"{kind}/G1_*.TIF", "axes": ["row", "col"], **axes}

    return described(scan, folder, sample=source("schaf", "view", views), flat=source("leer", "flat", flats))


def as_hdf5(scan, folder):
    """Big-endian datasets in groups of somebody's own, columns first."""
    with h5py.File(folder / "messung_17.hdf", "w") as file:
        file["roh/maus"] = scan.frames.transpose(1, 4, 3, 0, 2).astype(">u4")
        file["roh/ohne"] = scan.flats.transpose(4, 3, 2, 1, 0).astype(">u4")
    place = {"kind": "hdf5", "file": "messung_17.hdf"}
    sample = {**place, "dataset": "roh/maus", "axes": ["view", "col", "row", "direction", "step"]}
    return described(
        scan,
        folder,
        sample=sample,
        flat={**place, "dataset": "roh/ohne", "axes": ["col", "row", "step", "flat", "direction"]},
    )


def as_nxtomo(scan, folder):
    """Flats before and after the views of each direction in one stack, with rotation angles in degrees."""
    stack, key, angle = [], [], []
    degrees = np.degrees(scan.geometry.angles_rad)
    for frames, flats in zip(scan.frames, scan.flats):
        before, after = np.split(flats, 2)
        for part, code in ((before, 1), (frames, 0), (after, 1)):
            stack += list(part.reshape(-1, *part.shape[-2:]))
            key += [code] * (part.shape[0] * part.shape[1])
            angle += np.repeat(degrees if code == 0 else np.zeros(len(part)), part.shape[1]).tolist()
    with h5py.File(folder / "fly0042.nxs", "w") as file:
        file["ID19/instrument/detector/data"] = np.asarray(stack)
        file["ID19/instrument/detector/image_key"] = key
        file["ID19/sample/rotation_angle"] = np.asarray(angle)
        file["ID19/sample/rotation_angle"].attrs["units"] = "degree"

    def source(kind, axis, shape):
        frames = {"frames": kind, "frame_axes": ["direction", axis, "step"], "frame_counts": list(shape[:3])}
        return {"kind": "nxtomo", "file": "fly0042.nxs", **frames}

    sample, flat = source("sample", "view", scan.frames.shape), source("flat", "flat", scan.flats.shape)
    return described(scan, folder, sample=sample, flat=flat, angles="file")


@pytest.mark.parametrize("written", [as_tiff, as_hdf5, as_nxtomo])
def test_frames_under_foreign_names_give_the_same_case(inside, simulated, tmp_path, written):
    (tmp_path / "frames").mkdir()
    description = written(simulated, tmp_path / "frames")
    outside = run(tmp_path, {"scanner": {"from": "frames", "files": [str(description)], "instrument": INSTRUMENT}})
    wanted, found = assert_same_case(inside, outside)
    assert found.about.provenance == wanted.about.provenance


def test_the_commands_give_the_volume_of_the_study(inside, simulated, tmp_path):
    """By description and by command; a study corrects if it knows the spectra, which a command does not."""
    description = as_hdf5(simulated, tmp_path)
    plain = {**PROCESSING, "correction": {"hardening": "none"}}
    sources = {"scanner": {"from": "frames", "files": [str(description)]}}
    outside = run(tmp_path / "study", sources, processing=plain)
    told = []
    reconstruct_files(description, tmp_path / "out", given=PROCESSING["reconstruction"], tell=told.append)
    for field in PROJECTION_MAPS:
        places = (inside, outside, tmp_path / "out")
        first, *others = (getattr(load(p / "retrieve" / NAME / "projections.h5", Projections), field) for p in places)
        for other in others:
            np.testing.assert_array_equal(other, first, err_msg=field)
    study, command = (load_image(p / "reconstruct" / NAME / "volume.ome.zarr") for p in (outside, tmp_path / "out"))
    assert command.names == study.names
    np.testing.assert_array_equal(command.data, study.data)


def own_projections(retrieved, folder):
    shutil.copy(retrieved, folder / f"{NAME}.h5")


def foreign_projections(retrieved, folder, names=READ):
    """Maps, angles and pixel alone."""
    found = load(retrieved, Projections)
    with h5py.File(folder / f"{NAME}.hdf5", "w") as file:
        for name in names:
            file.create_dataset(name, data=getattr(found, name), compression="gzip")
        file["angles_rad"] = found.geometry.angles_rad
        file["directions_rad"] = found.directions_rad
        file.attrs["pixel_m"] = found.geometry.pixel_m
        file["programme"] = "another"


def bare_projections(retrieved, folder):
    """Without errors, so that the volume has no noise channels; all others are the same."""
    foreign_projections(retrieved, folder, ("attenuation", "dark_field", "valid"))
    return SIGNALS


@pytest.mark.parametrize("written", [own_projections, foreign_projections, bare_projections])
def test_projections_give_the_same_case(inside, tmp_path, written):
    (tmp_path / "maps").mkdir()
    channels = written(inside / "retrieve" / NAME / "projections.h5", tmp_path / "maps")
    source = {"from": "projections", "files": [str(tmp_path / "maps" / "*")], "instrument": INSTRUMENT}
    outside = run(tmp_path, {"maps": source})
    wanted, found = assert_same_case(inside, outside, channels)
    assert found.about.provenance == wanted.about.provenance
    every = load_case(outside / "cases" / NAME).channels.names
    assert any(name.endswith("_noise") for name in every) == (channels is None)


def test_foreign_projections_are_aligned_as_own_ones(inside, tmp_path):
    for name, written in (("own", own_projections), ("foreign", bare_projections)):
        (tmp_path / name).mkdir()
        written(inside / "retrieve" / NAME / "projections.h5", tmp_path / name)
        align_file(next((tmp_path / name).iterdir()), tmp_path / f"{name}.h5", tilt="0.5 deg", axis="29.2")
    own, foreign = (open_projections(tmp_path / f"{name}.h5") for name in ("own", "foreign"))
    assert foreign.present == ("attenuation", "dark_field", "valid")
    assert foreign.geometry.axis_col == own.geometry.axis_col
    for name in foreign.present:
        ours, theirs = (getattr(f.read(slice(0, f.geometry.rows), (name,)), name) for f in (own, foreign))
        np.testing.assert_array_equal(theirs, ours, err_msg=name)


def own_volume(volume, folder):
    shutil.copytree(volume, folder / f"{NAME}.ome.zarr")
    return {}, None


def nifti_volume(volume, folder):
    (path,) = export_nifti(load_image(volume, ("attenuation",)), folder, NAME)
    path.rename(folder / f"{NAME}.nii.gz")
    return {}, ("attenuation",)


def nrrd_volume(volume, folder):
    """As another program makes it of the export, in the centimetres of that program."""
    nifti_volume(volume, folder)
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(folder / f"{NAME}.nii.gz")) / 1e2, str(folder / f"{NAME}.nrrd"))
    (folder / f"{NAME}.nii.gz").unlink()
    return {"unit": "1/cm", "frame": "scanner"}, ("attenuation",)


def slices_volume(volume, folder):
    """Upside down, without a word of spacing or axes."""
    (folder / NAME).mkdir()
    for number, page in enumerate(load_image(volume).channel("attenuation")[::-1, ::-1], start=1):
        tifffile.imwrite(folder / NAME / f"schnitt{number}.tif", page)
    return {"spacing": "400 um", "axes": ["-z", "-y", "x"], "unit": "1/m"}, ("attenuation",)


@pytest.mark.parametrize("written", [own_volume, nifti_volume, nrrd_volume, slices_volume])
def test_volumes_give_the_same_case(inside, tmp_path, written):
    (tmp_path / "volumes").mkdir()
    reading, channels = written(inside / "reconstruct" / NAME / "volume.ome.zarr", tmp_path / "volumes")
    source = {"from": "volumes", "files": [str(tmp_path / "volumes" / "*")], "reading": reading, "energy": "70 keV"}
    outside = run(tmp_path, {"clinic": source})
    assert_same_case(inside, outside, channels)


def test_a_study_learns_from_simulated_animals_and_is_tested_on_foreign_ones(inside, tmp_path):
    nifti_volume(inside / "reconstruct" / OTHER / "volume.ome.zarr", tmp_path)
    (tmp_path / f"{NAME}.nii.gz").rename(tmp_path / "measured.nii.gz")
    source = {"from": "volumes", "files": [str(tmp_path / "measured.nii.gz")], "energy": "70 keV"}
    insertion = {"lesions": 2, "shams": 1, "diameter": ["1.5 mm", "2.2 mm"], "copies": 2}
    labelled = run(tmp_path / "labelled", {"clinic": source}, insertion=insertion)
    # In the same folder: nothing is simulated again.
    tested = {"from": "cases", "files": [str(labelled / "cases" / "measured-*")], "use": "test", "site": "clinic"}
    learning = {"arms": {"ct": ["attenuation"]}, "widths": [16], "patch": 12, "steps": 4, "folds": 2}
    sources = {"mice": MICE, "clinic": tested}
    ended = run(inside.parent, sources, learning=learning, evaluation={"replicates": 100})
    assert (ended / "report.html").is_file()
    comparison = json.loads((ended / "evaluate/all/comparison.json").read_text())
    counted = comparison["results"]["test"]["ct"]["n"]
    assert (counted["subjects"], counted["positives"]) == (1, 4)
