"""Layers are plain data that lie where the image says; folders are told apart, and what is not ours is refused at once."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
import zarr
from scipy.spatial.transform import Rotation

import darklung
from darklung.core.checks import DarklungError
from darklung.core.types import LESION, UNKNOWN, Image
from darklung.io.case import CaseFacts, LabelledCase, save_case
from darklung.io.images import save_image
from darklung.io.names import LOGITS, MAPS
from darklung.io.tables import save_table
from darklung.napari import folders, kinds, layers, reader
from darklung.steps.findings import COLUMNS

SHAPE = (4, 5, 6)
SPACING = (3e-4, 2e-4, 1e-4)
OBLIQUE = tuple(map(tuple, Rotation.from_euler("zyx", [20, -15, 7], degrees=True).as_matrix() @ np.diag([1, -1, 1])))


def image(direction=(), names=("attenuation", "dark_field_0"), shape=SHAPE):
    data = np.random.default_rng(0).normal(size=(len(names), *shape)).astype(np.float32)
    spatial = len(shape)
    return Image(data, names, ("1/m",) * len(names), SPACING[:spatial], (1e-3, 2e-3, -3e-3)[:spatial], "LPS", direction)


def case(subject="m1", direction=()):
    instances = np.zeros(SHAPE, np.uint16)
    instances[1, 2, 2:4] = 1
    labels = (instances == 1).astype(np.uint8)
    labels[0] = UNKNOWN
    region = np.ones(SHAPE, bool)
    region[0] = False
    lesion = darklung.Insertion(1, "lesion", "solid", (0.0, 0.0, 0.0), 3e-4)
    return LabelledCase(
        image(direction), labels, region, region, instances, np.zeros(SHAPE, bool), (lesion,), CaseFacts(subject, subject)
    )


def logits(like, peak=(2, 3, 3)):
    values = np.full((2, *SHAPE), -4.0, np.float32)
    values[0][peak], values[1] = 3.0, 0.5
    return like.with_data(values, ("logit", "logit_spread"), ("1", "1"))


def world(options, index):
    """Where napari puts a voxel: affine · (translate + scale · index) [mm]."""
    physical = np.asarray(options["translate"]) + np.asarray(options["scale"]) * index
    affine = options.get("affine", np.eye(len(index) + 1))
    return affine[:-1, :-1] @ physical + affine[:-1, -1]


@pytest.mark.parametrize("direction", [(), OBLIQUE])
def test_voxels_lie_where_the_image_says_in_millimetres(direction):
    one = image(direction)
    options = layers.place(one)
    assert options["units"] == ("mm",) * 3
    assert options["axis_labels"] == ("z", "y", "x")
    assert options["scale"] == pytest.approx((0.3, 0.2, 0.1))
    assert ("affine" in options) == (direction != ())
    for index in [(0, 0, 0), (3, 0, 0), (0, 4, 0), (1, 2, 5)]:
        assert world(options, index) == pytest.approx([1e3 * p for p in one.position_m(index)])


def test_a_radiograph_has_two_axes():
    one = image(shape=(7, 8))
    (_, options, _), _ = layers.image_layers(one, "r", {})
    assert (options["units"], options["axis_labels"]) == (("mm", "mm"), ("y", "x"))
    assert world(options, (6, 1)) == pytest.approx([1e3 * p for p in one.position_m((6, 1))])


def test_channels_have_names_units_colour_and_the_contrast_that_ome_zarr_tells(tmp_path):
    one = image()
    save_image(tmp_path / "a.ome.zarr", one)
    told = zarr.open_group(str(tmp_path / "a.ome.zarr"), mode="r").attrs["ome"]["omero"]["channels"]
    found = reader.read(str(tmp_path / "a.ome.zarr"))
    assert [o["name"] for _, o, _ in found] == ["a attenuation", "a dark_field_0"]
    for (values, options, kind), stored, name in zip(found, told, one.names):
        assert kind == "image"
        np.testing.assert_array_equal(values, one.channel(name))
        assert options["contrast_limits"] == pytest.approx((stored["window"]["start"], stored["window"]["end"]))
        assert options["metadata"]["darklung"]["unit"] == "1/m"
    assert [(o["colormap"], o["visible"]) for _, o, _ in found] == [("gray", True), ("#E69F00", False)]


def test_labels_are_a_copy_on_top_and_masks_below_are_hidden():
    one = case()
    found = layers.case_layers(one, {"opened": "x"})
    assert [o["name"].removeprefix("m1 ") for _, o, _ in found] == [
        "attenuation", "dark_field_0", "lung", "region", "instances", "labels",
    ]  # fmt: skip
    assert [o["visible"] for _, o, _ in found] == [True, False, False, False, False, True]
    values, options, kind = found[-1]
    assert kind == "labels"
    values[...] = 0
    assert one.labels[1, 2, 2] == LESION
    assert set(options["colormap"]) == {0, LESION, UNKNOWN, None}


def test_a_runs_predictions_are_layers_with_candidates_where_they_are(tmp_path):
    one = case()
    run = made_run(tmp_path / "run", one)
    save_image(run / "predict" / "hybrid.fold0.validation" / f"m1{LOGITS}", logits(one.channels, (3, 0, 0)))
    save_image(run / "predict" / "hybrid.test" / f"m1{LOGITS}", logits(one.channels))
    save_image(run / "predict" / "a.b.fold1.validation" / f"m1{LOGITS}", logits(one.channels))
    found = {o["name"]: (d, o, k) for d, o, k in reader.read(str(run))}
    assert [n for n in found if "probability" in n] == ["m1 probability a.b", "m1 probability hybrid"]
    probability, options, _ = found["m1 probability hybrid"]
    assert probability[2, 3, 3] == pytest.approx(1 / (1 + np.exp(-3.0)))
    assert np.isnan(probability[0]).all()
    assert not options["visible"]
    assert np.argwhere(found["m1 prediction hybrid"][0]).tolist() == [[2, 3, 3]]
    points, options, kind = found["m1 candidates hybrid"]
    assert kind == "points"
    assert points[0] == pytest.approx([1e3 * p for p in one.channels.position_m((2, 3, 3))])
    assert options["features"]["score"][0] == pytest.approx(3.0)
    assert set(options["features"]["called"]) == {""}
    assert list(found)[-1] == "m1 labels"


@pytest.mark.parametrize(("tile", "score"), [("", -0.75), ("0.3 mm", -5 / 3)])
def test_scores_of_tiles_are_those_of_the_runs_own_tiles(tmp_path, tile, score):
    """The mean of the four largest logits (0.3 mm cubed): 3, 2, -4, -4 of tiles of 2 mm; a small one has three voxels."""
    one = case()
    run = made_run(tmp_path / "run", one)
    said = logits(one.channels)
    said.data[0][1, 0, 0] = 2.0
    save_image(run / "predict" / "hybrid.test" / f"m1{LOGITS}", said)
    if tile:
        study = {"name": "s", "sources": {"a": {"from": "cases", "files": ["*"]}}, "evaluation": {"tile": tile}}
        (run / "study.yaml").write_text(yaml.safe_dump(study))
    found = {o["name"]: o for _, o, _ in reader.read(str(run))}
    assert found["m1 candidates hybrid"]["features"]["tile_score"][0] == pytest.approx(score)


def made_run(folder, *cases):
    """A run folder as far as a viewer looks at it."""
    for one in cases:
        save_case(folder / "cases" / one.about.subject, one)
    (folder / "run.json").write_text("{}")
    return folder


def test_findings_are_maps_and_points_with_scores_as_features(tmp_path):
    one = case()
    out = made_run(tmp_path / "out", one) / "findings" / "m1"
    save_image(out / MAPS, layers.maps_of_logits(logits(one.channels), one))
    row = {"subject": "m1", "number": 1, "z_mm": 1.6, "y_mm": 2.6, "x_mm": -2.7, "score": 3.0, "tile_score": 2.9}
    row |= {"probability": 0.9, "spread": 0.5, "diameter_mm": 1.5, "called": None, "hits": "none"}
    save_table(out / "candidates", [row], COLUMNS)
    for place in (out, tmp_path / "out"):
        found = {o["name"]: (d, o) for d, o, _ in reader.read(str(place))}
        points, options = found["m1 candidates"]
        assert points.tolist() == [[1.6, 2.6, -2.7]]
        assert options["size"] == [1.5]
        assert {k: v for k, v in options["features"].items() if k in ("score", "hits")} == {"score": [3.0], "hits": ["none"]}
        assert found["m1 probability"][1]["visible"]
    assert kinds.kind_of(out) == kinds.PREDICTION


def test_volumes_of_a_run_without_cases_and_images_of_a_folder(tmp_path):
    save_image(tmp_path / "run" / "reconstruct" / "scan 7" / "volume.ome.zarr", image())
    (tmp_path / "run" / "run.json").write_text("{}")
    (subject,) = folders.subjects_of(tmp_path / "run")
    assert (subject.name, subject.case) == ("scan 7", None)
    assert subject.source.name == "volume.ome.zarr"
    assert [o["name"] for _, o, _ in reader.read(str(tmp_path / "run"))] == ["scan 7 attenuation", "scan 7 dark_field_0"]
    assert len(reader.read(str(tmp_path / "run" / "reconstruct" / "scan 7"))) == 2


def test_subjects_are_listed_by_name_and_a_run_without_any_is_told(tmp_path):
    run = made_run(tmp_path / "run", case("m2"), case("m1"))
    assert [s.name for s in folders.subjects_of(run)] == ["m1", "m2"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "run.json").write_text("{}")
    with pytest.raises(DarklungError, match="empty: no case and no volume in it yet"):
        folders.subjects_of(tmp_path / "empty")


def test_arms_are_those_that_were_trained(tmp_path):
    for item in ("hybrid.fold0", "hybrid.fold1", "a.boosting.fold0"):
        (tmp_path / "train" / item).mkdir(parents=True)
        (tmp_path / "train" / item / "model.json").write_text("{}")
    assert folders.arms_of(tmp_path) == ("a.boosting", "hybrid")
    assert folders.has_models(tmp_path / "train" / "hybrid.fold0")
    assert not folders.has_models(tmp_path / "train")


@pytest.mark.parametrize("what", ["text", "nothing", "empty", "tiff", "foreign zarr", "broken zarr", "not an object"])
def test_what_is_not_of_darklung_is_refused(tmp_path, what):
    path = tmp_path / "a"
    if what in ("text", "tiff"):
        path.write_bytes(b"II*\0" if what == "tiff" else b"hello")
    elif what != "nothing":
        path.mkdir()
    if what == "foreign zarr":
        zarr.open_group(str(path), mode="w").create_array("0", shape=(2, 2), dtype="f4")
    if what in ("broken zarr", "not an object"):
        (path / "zarr.json").write_text("{" if what == "broken zarr" else "[1]")
    assert reader.get_reader(str(path)) is None
    with pytest.raises(DarklungError, match="a: wanted a run, a prediction, a labelled case or an OME-Zarr image"):
        folders.subjects_of(path)


def test_one_foreign_path_among_ours_refuses_all(tmp_path):
    save_image(tmp_path / "a.ome.zarr", image())
    ours = str(tmp_path / "a.ome.zarr")
    assert reader.get_reader([ours]) is not None
    assert reader.get_reader([ours, str(tmp_path)]) is not None  # a folder of our images
    assert reader.get_reader([ours, str(tmp_path / "b.tif")]) is None


def test_a_refusal_loads_nothing_heavy_and_needs_no_napari(tmp_path):
    code = "import sys; from darklung.napari.reader import get_reader; print(get_reader(sys.argv[1]))\n"
    code += "print([m for m in ('zarr', 'pandas', 'scipy', 'torch', 'napari', 'qtpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["None", "[]"]


def test_the_manifest_names_what_is_there():
    folder = Path(darklung.__file__).parent / "napari"
    manifest = yaml.safe_load((folder / "napari.yaml").read_text())
    commands = {c["id"]: c["python_name"] for c in manifest["contributions"]["commands"]}
    named = [manifest["contributions"][kind][0]["command"] for kind in ("readers", "widgets")]
    assert sorted(named) == sorted(commands)
    for target in commands.values():
        module, _, name = target.partition(":")
        text = (folder.parents[1] / f"{module.replace('.', '/')}.py").read_text()
        assert f"def {name}(" in text or f"class {name}(" in text


def test_metadata_are_plain(tmp_path):
    for _, options, _ in layers.case_layers(case(direction=OBLIQUE), {"opened": str(tmp_path)}):
        json.dumps(options["metadata"])
