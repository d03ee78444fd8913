"""``darklung register`` as a user calls it: place, landmarks, labels as a case, maps, the page, and mistakes in one line."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image as Picture
from typer.testing import CliRunner

from darklung.commands.cli import app
from darklung.commands.run import list_tasks
from darklung.commands.section import cut_phantom
from darklung.core.types import UNKNOWN, Image
from darklung.histology.synthetic import lung_maps
from darklung.io.case import load_case, save_case
from darklung.io.hdf5 import save
from darklung.io.images import load_image, save_image
from darklung.io.tables import load_table
from darklung.phantom.lesions import LesionRequest
from darklung.phantom.subject import make_phantom
from darklung.physics.materials import linear_attenuation
from darklung.pipeline.record import read_json
from darklung.register.files import load_maps
from darklung.steps.register import FACTS, MAPS, PAGE

pytestmark = pytest.mark.slow(30)

VOXEL = 250e-6


def run(*words):
    return CliRunner().invoke(app, [str(w) for w in words])


def volume_of(phantom):
    mu = sum(linear_attenuation(m, d, 70.0) for m, d in zip(phantom.materials, phantom.density))
    mu = mu + np.random.default_rng(0).normal(0, 1.0, mu.shape)
    lung = phantom.lobes > 0
    porous = lung & (phantom.tissue_fraction > 0)
    _, fraction, surface = lung_maps(phantom)
    maps = [np.where(porous, m, np.nan) for m in (fraction, surface)]
    data = np.stack([mu, *maps]).astype(np.float32)
    return Image(data, ("attenuation", "tissue_fraction", "interface_density"), ("1/m", "1", "1/m"), (VOXEL,) * 3)


def truth_points(folder, step=25):
    """Points of the section (row, col), their places (z, y, x), and the picture of its lesions."""
    truth = load_image(folder / "section/one/truth.ome.zarr")
    axes = [truth.origin_m[a] + truth.spacing_m[a] * np.arange(truth.shape[a]) for a in (0, 1)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    places = np.stack([truth.channel(n) for n in ("z_m", "y_m", "x_m")], axis=-1)
    known = np.isfinite(places).all(axis=-1)
    return points[known][::step], places[known][::step], np.nan_to_num(truth.channel("lesion")) > 0


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A mouse with two lesions, a coronal section through the larger, and what the command made of them."""
    folder = tmp_path_factory.mktemp("register")
    phantom = make_phantom(seed=11, voxel_m=VOXEL, lesions=[LesionRequest("solid", 2.2e-3), LesionRequest("solid", 1.5e-3)])
    save(folder / "phantom.h5", phantom)
    image = volume_of(phantom)
    save_image(folder / "volume.ome.zarr", image)
    lung = (phantom.lobes > 0).astype(np.uint8)
    save_image(folder / "lung.ome.zarr", image.with_data(lung[None], ("lung",), ("1",)))
    true = phantom.lesion_mask().astype(np.uint8)
    save_image(folder / "lesions.ome.zarr", image.with_data(true[None], ("lesion",), ("1",)))
    at = phantom.insertions[0].center_m[1]
    given = {
        "plane": "coronal",
        "at": f"{at} m",
        "tilt": "6 deg",
        "roll": "-4 deg",
        "shrinkage": 0.15,
        "pixel": "4 um",
        "tears": 1,
    }
    cut_phantom(folder, folder, name="one", given=given)
    points, places, lesion = truth_points(folder)
    picture = folder / "section/one/section.ome.tif"
    whole = Picture.fromarray(255 * lesion.astype(np.uint8))
    from darklung.slides.opening import open_slide

    rows, cols = open_slide(picture).shape
    whole.resize((cols, rows), Picture.Resampling.NEAREST).save(folder / "tumour.png")
    marks(folder / "marks.csv", points[:: len(points) // 8], places[:: len(points) // 8])
    (folder / "stack.yaml").write_text(f"sections:\n- {{file: {picture}, masks: {{tumour: tumour.png}}}}\n")
    return folder, phantom, registered(folder, folder)


def marks(file, points, places):
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["section", "row_mm", "col_mm", "z_mm", "y_mm", "x_mm", "use"])
        writer.writerows(["one", *(1e3 * p), *(1e3 * q), "check"] for p, q in zip(points, places))


def registered(folder, out, *more):
    files = [w for n, f in (("lung", "lung"), ("truth", "lesions")) for w in ("--with", f"{n}={folder / f}.ome.zarr")]
    return run(
        "register", folder / "stack.yaml", folder / "volume.ome.zarr", "--out", out, *files, "--with", "name=mouse",
        "--with", f"landmarks={folder / 'marks.csv'}", "--set", "tile=1 mm", *more,
    )  # fmt: skip


def test_the_section_lies_where_it_was_cut(done):
    folder, _, told = done
    assert told.exit_code == 0, told.output
    plane = load_maps(folder / f"register/mouse/{MAPS}")["one"]
    points, places, _ = truth_points(folder)
    off = np.linalg.norm(plane.position_m(points) - places, axis=1)
    assert np.median(off) < VOXEL
    assert np.percentile(off, 95) < 2 * VOXEL
    back, _ = plane.point_m(plane.position_m(points))
    assert np.abs(back - points).max() < 1e-9
    (row,) = load_table(folder / "register/mouse/sections")
    assert row["landmarks"] >= 8
    assert row["landmark_error_um"] == pytest.approx(1e6 * np.median(off), rel=0.6)
    assert row["outline_dice"] > 0.9
    facts = read_json(folder / f"register/mouse/{FACTS}")
    assert facts["shrinkage"] == pytest.approx(0.15, abs=0.03)
    assert "lengths shrank by" in told.output


def test_labels_are_a_case_of_what_was_seen(done):
    folder, phantom, _ = done
    case = load_case(folder / "register/mouse/case")
    assert case.about.subject == "mouse"
    assert case.about.source == "sections"
    known = case.labels != UNKNOWN
    assert 0 < known.mean() < 0.1  # one section in a volume
    assert case.lesion.any()
    carried = load_image(folder / "register/mouse/carried.ome.zarr")
    seen = np.isfinite(carried.channel("probability"))
    true = phantom.lesion_mask()
    mine = np.nan_to_num(carried.channel("probability")) >= 0.5
    dice = 2 * (mine & true & seen).sum() / ((mine & seen).sum() + (true & seen).sum())
    assert dice > 0.7
    facts = read_json(folder / f"register/mouse/{FACTS}")
    assert facts["labels"]["dice"] == pytest.approx(dice, abs=1e-6)
    assert facts["labels"]["seen_mm3"] == pytest.approx(1e9 * seen.sum() * VOXEL**3)


def test_training_takes_the_case(done, tmp_path):
    """Three animals, all of them this one: voxels and lesions are enough to plan folds, training and evaluation."""
    folder, *_ = done
    case = load_case(folder / "register/mouse/case")
    for name in ("m1", "m2", "m3"):
        save_case(tmp_path / "cases" / name, replace(case, about=replace(case.about, subject=name, animal=name)))
    learning = {"arms": {"ct": ["attenuation"]}, "widths": [16], "patch": 8, "steps": 2}
    content = {"name": "one", "sources": {"cases": {"from": "cases", "files": ["cases/*"]}}, "learning": learning}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    assert "train/ct.fold0" in list_tasks(tmp_path / "study.yaml", out=tmp_path / "run")


def test_maps_agree_with_stereology(done):
    folder, *_ = done
    maps = read_json(folder / f"register/mouse/{FACTS}")["maps"]
    assert set(maps) == {"tissue_fraction", "interface_density_per_m"}
    fraction = maps["tissue_fraction"]
    assert fraction["count"] >= 15
    assert fraction["low"] < fraction["correlation"] < fraction["high"]
    assert fraction["correlation"] > 0.2
    assert abs(fraction["bias"]) < 0.06
    assert maps["interface_density_per_m"]["correlation"] > 0.8
    assert abs(maps["interface_density_per_m"]["bias"]) < 0.15 * 60e3
    tiles = load_table(folder / "register/mouse/tiles")
    pairs = np.array([[t["tissue_fraction"], t["tissue_fraction_map"]] for t in tiles], dtype=float)
    assert np.nanmean(np.diff(pairs, axis=1)) == pytest.approx(fraction["bias"], abs=1e-6)


def test_the_page_shows_overlays_errors_and_labels(done):
    folder, *_ = done
    page = (folder / f"register/mouse/{PAGE}").read_text()
    for text in ("SYNTHETIC sections", "75 % section", "checkerboard", "outline Dice", "axial, slice", "sagittal, slice",
                 "Bland–Altman", "correlation"):  # fmt: skip
        assert text in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_mistakes_are_told_in_a_line(done, tmp_path):
    folder, *_ = done
    volume, section = folder / "volume.ome.zarr", folder / "section/one/section.ome.tif"
    image = load_image(volume, ("attenuation",))
    save_image(tmp_path / "other.ome.zarr", image.with_data(image.data, ("phase",), ("1",)))
    Picture.fromarray(np.full((600, 600, 3), 255, np.uint8)).save(tmp_path / "white.png")
    for words, wanted in (
        ((section, volume, "--set", "channels=[phase]"), "channel: 'phase' is not known"),
        ((section, tmp_path / "other.ome.zarr"), "wanted a channel attenuation or dark_field, got phase"),
        ((section, volume, "--set", "band=2"), "register: band: input should be less than or equal to 0.999"),
        ((section, volume, "--with", "colour=red"), "--with: 'colour' is not known"),
        ((section, volume, "--with", "landmarks=none.csv"), "none.csv: no such file"),
        ((section, tmp_path / "none.nii"), "none.nii: no such file or folder"),
        ((tmp_path / "white.png", volume, "--with", "pixel=4 um"), "white: section: no stain in it"),
        ((tmp_path / "white.png", volume), "the file does not tell it"),
    ):
        told = run("register", *words, "--with", f"lung={folder / 'lung.ome.zarr'}", "--out", tmp_path / "out")
        message = str(told.exception)
        assert told.exit_code != 0
        assert wanted in message, message


def test_the_record_is_json_that_others_read(done):
    folder, *_ = done
    content = json.loads((folder / f"register/mouse/{MAPS}").read_text())
    assert content["darklung_registration"] == 1
    assert content["sections"][0]["frame"] == "scanner"
