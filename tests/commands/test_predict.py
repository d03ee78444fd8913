"""``darklung predict`` on what is not of its run: maps, candidates and a page, or one line that says what differs."""

import numpy as np
import pytest

import darklung
from darklung.commands import predict
from darklung.commands.predict import Given, predict_files
from darklung.io.case import load_case, save_case
from darklung.io.images import load_image, save_image
from darklung.io.tables import load_table, save_table
from darklung.steps import findings
from darklung.study.processing import ProcessingPart

SMALL = {"widths": [16, 16], "patch": 8, "batch": 1}


def volume(seed: int) -> tuple[darklung.Phantom, darklung.Image]:
    mouse = darklung.make_mouse(seed=seed, voxel_m=600e-6, lesions=[("solid", 3e-3)])
    values = 20 * mouse.density.sum(axis=0, keepdims=True).astype(np.float32)
    return mouse, darklung.Image(values, ("attenuation",), ("1/m",), (mouse.voxel_m,) * 3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    mouse, image = volume(1)
    case = darklung.make_case(image, mouse, subject="m1", region=mouse.lobes > 0)
    return darklung.train([case], channels=["attenuation"], out=tmp_path_factory.mktemp("model"), steps=2, settings=SMALL)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A volume and where its lung is."""
    folder = tmp_path_factory.mktemp("scan")
    mouse, image = volume(2)
    save_image(folder / "m2.ome.zarr", image)
    region = image.with_data((mouse.lobes > 0)[None].astype(np.uint8), ("region",), ("1",))
    save_image(folder / "region.ome.zarr", region)
    return folder, mouse, image


def test_a_volume_ends_in_maps_candidates_and_a_page(model, scan, tmp_path):
    folder, _, image = scan
    given = Given(region=folder / "region.ome.zarr")
    told = predict_files(model, folder / "m2.ome.zarr", out=tmp_path, given=given, workers=1)
    assert "m2" in told
    found = tmp_path / "findings" / "m2"
    maps, case = load_image(found / "probability.ome.zarr"), load_case(tmp_path / "cases" / "m2")
    assert maps.names == ("probability", "logit_spread")
    assert np.array_equal(np.isfinite(maps.channel("probability")), case.region)
    rows = load_table(found / "candidates")
    assert [r["score"] for r in rows] == sorted((r["score"] for r in rows), reverse=True)
    assert {r["hits"] for r in rows} == {"unknown"}
    at = [image.index_of((r["z_mm"] / 1e3, r["y_mm"] / 1e3, r["x_mm"] / 1e3)) for r in rows]
    assert all(0 <= i <= n - 1 for place in at for i, n in zip(place, image.shape))
    assert (tmp_path / "m2.html").read_text().count("<svg") + (tmp_path / "m2.html").read_text().count("<img") > 3


def test_the_same_as_from_python(model, scan, tmp_path):
    _, mouse, image = scan
    save_case(tmp_path / "case", darklung.make_case(image, mouse, subject="m2", region=mouse.lobes > 0))
    predict_files(model, tmp_path / "case", out=tmp_path / "out", workers=1)
    case = load_case(tmp_path / "case")
    own = load_image(tmp_path / "out" / "findings" / "m2" / "probability.ome.zarr").channel("probability")
    np.testing.assert_allclose(own, darklung.predict(model, case).channel("probability"), rtol=1e-5)
    assert any(r["hits"] != "unknown" for r in load_table(tmp_path / "out" / "findings" / "m2" / "candidates"))


def test_another_voxel_is_refused_and_brought_there_on_request(model, scan, tmp_path):
    _, _, image = scan
    fine = darklung.Image(image.data, image.names, image.units, (300e-6,) * 3)
    save_image(tmp_path / "fine.ome.zarr", fine)
    with pytest.raises(
        darklung.DarklungError, match=r"spacing 300 x 300 x 300 um, the model was trained at 600.*--resample"
    ):
        predict_files(model, tmp_path / "fine.ome.zarr", out=tmp_path / "out", dry_run=True)
    listed = predict_files(model, tmp_path / "fine.ome.zarr", out=tmp_path / "out", given=Given(resample=True), dry_run=True)
    assert "resample/fine" in listed
    assert "findings/fine" in listed


def test_the_highest_probability_is_that_of_the_best_tile_and_not_of_the_best_candidate(tmp_path, monkeypatch):
    """A single bright voxel makes the best candidate, a bright tile the highest probability; a lone head has none."""
    chosen = predict.Chosen("a", (), predict.Rule(), ProcessingPart(), ({},))
    monkeypatch.setattr(predict, "note_files", lambda *_: None)
    for name, likely, told in (("two", (0.2, 0.9), "0.900"), ("head", (np.nan, np.nan), "–"), ("none", (), "–")):
        task = findings.task(name, findings.Parameters(arm="a"), "predict/a", "cases/a")
        place = tmp_path / task.name
        place.mkdir(parents=True)
        (place / findings.PAGE).write_bytes(b"")
        rows = [{"score": 2.0 - k, "probability": p, "called": None} for k, p in enumerate(likely)]
        if rows:
            save_table(place / findings.TABLE, rows, dict.fromkeys(rows[0], "a column"))
        line = predict._told(tmp_path, [task], chosen).splitlines()[1]
        assert line.split() == [name, str(len(likely)), "-", told]
