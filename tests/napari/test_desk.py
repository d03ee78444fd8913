"""The desk in a real viewer: from opening a run to saved labels. It needs napari, Qt and a display (Xvfb will do)."""

import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest

import darklung
from darklung.core.extras import installed
from darklung.core.types import LESION, UNKNOWN
from darklung.io.case import load_case, save_case
from darklung.io.images import save_image

if not (installed("napari") and installed("qtpy") and installed("torch")):
    pytest.skip("needs napari: pip install 'darklung[napari]'", allow_module_level=True)
if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    pytest.skip("needs a display, such as Xvfb's", allow_module_level=True)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # warnings are napari's own
SMALL = {"widths": [16, 16], "patch": 8, "batch": 1}


SHAPE = (12, 14, 16)


def small_case(seed, *, known=True):
    """Noise with a bright lesion in it, and a search region in its middle."""
    instances = np.zeros(SHAPE, np.uint16)
    instances[5:8, 5:8, 5:8] = 1
    values = np.random.default_rng(seed).normal(size=(1, *SHAPE)).astype(np.float32) + 3 * instances
    image = darklung.Image(values, ("attenuation",), ("1/m",), (600e-6,) * 3, (1e-3, 0.0, -2e-3))
    region = np.zeros(SHAPE, bool)
    region[2:-2, 2:-2, 2:-2] = True
    return darklung.make_case(image, instances if known else None, subject=f"m{seed}", region=region)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run as far as a viewer looks at it: two cases, of which the second is not labelled, and the model of one fold."""
    folder = tmp_path_factory.mktemp("made") / "run"
    first = small_case(1)
    save_case(folder / "cases" / "m1", first)
    save_case(folder / "cases" / "m2", small_case(2, known=False))
    (folder / "run.json").write_text("{}")
    model = darklung.train([first], channels=["attenuation"], out=folder.parent / "model", steps=2, settings=SMALL)
    for fold in (0, 1):
        shutil.copytree(model, folder / "train" / f"transmission.fold{fold}")
    return folder


@pytest.fixture
def desk(run, tmp_path):
    """napari with the run, opened as a user does, and the desk beside it; results go to a folder of their own."""
    import napari

    viewer = napari.Viewer(show=False)
    viewer.open(str(run), plugin="darklung")
    _, desk = viewer.window.add_plugin_dock_widget("darklung", "Lungs")
    desk.form.results.setText(str(tmp_path / "drawn"))
    yield desk
    if desk.work is not None:
        desk.work.wait()
    viewer.close()


def wait(desk):
    """Until the thread has ended and what it tells has arrived."""
    from qtpy.QtWidgets import QApplication

    while not desk.form.predict.isEnabled():
        QApplication.processEvents()
        time.sleep(0.02)  # the thread that predicts is in this process


def test_what_came_is_the_desk_of_the_manifest(desk):
    from darklung.napari.window.desk import Desk

    assert isinstance(desk, Desk)


def layer(desk, name):
    return desk.viewer.layers[name]


def test_the_reader_gives_calibrated_layers_and_the_desk_takes_them_over(desk, run):
    assert [desk.form.subject.itemText(i) for i in range(desk.form.subject.count())] == ["m1", "m2"]
    assert (desk.form.subject.currentText(), desk.form.models.text()) == ("m1", str(run))
    shown, case = layer(desk, "m1 attenuation"), load_case(run / "cases" / "m1")
    assert [str(u) for u in shown.units] == ["millimeter"] * 3
    assert shown.scale == pytest.approx([0.6] * 3)
    for index in [(0, 0, 0), (3, 2, 1)]:
        assert shown.data_to_world(index) == pytest.approx([1e3 * p for p in case.channels.position_m(index)])
    assert desk.viewer.layers.selection.active.name == "m1 labels"
    assert not desk.changed()


def test_six_actions_from_opening_a_run_to_saved_labels(desk, run, tmp_path):
    # 1: `napari RUN --plugin darklung --with darklung` opened the run (the fixture). 2: the subject.
    desk.form.subject.setCurrentText("m2")
    desk.form.subject.activated.emit(1)
    told = []
    # 3: predict.
    desk.form.predict.click()
    desk.work.told.connect(lambda share, text: told.append((share, text)))
    wait(desk)
    assert "predicted" in desk.form.told.text()
    assert any(text.startswith("predict/") for _, text in told)
    assert [s for s, _ in told] == sorted(s for s, _ in told)
    found = layer(desk, "m2 candidates")
    assert {"score", "probability", "hits"} <= set(found.features.columns)
    labels = layer(desk, "m2 labels")
    called = layer(desk, "m2 prediction").data == 1
    np.testing.assert_array_equal(labels.data == LESION, called)  # nothing was known: labels begin as the prediction
    assert (labels.data[~called] == UNKNOWN).all()
    # 4: the brush. 5: a stroke.
    labels.mode = "paint"
    before = labels.data.copy()
    labels.paint((4, 10, 10), 1)
    assert (labels.data != before).any()
    assert desk.changed()
    # 6: save.
    desk.form.save.click()
    saved = load_case(tmp_path / "drawn" / "labels" / "m2")
    np.testing.assert_array_equal(saved.labels, labels.data)
    (how,) = saved.about.provenance["drawn"]
    assert how["prediction"] == str(tmp_path / "drawn" / "predictions" / "findings" / "m2")
    assert (tmp_path / "drawn" / "labels" / "m2" / "m2_labels.nii.gz").is_file()
    assert not desk.changed()
    assert (load_case(run / "cases" / "m2").labels == UNKNOWN).all()
    # Saved again it is refused, and told how it would not be.
    desk.form.save.click()
    assert "holds a labelled case" in desk.form.told.text()
    desk.form.replace.setChecked(True)
    desk.form.save.click()
    assert "0 voxels changed" not in desk.form.told.text()


def test_the_arrows_go_through_the_candidates_highest_first(desk):
    from darklung.napari.layers import candidate_layer

    other = {"y_mm": 0.0, "x_mm": 0.6, "probability": 0.5, "diameter_mm": 1.0}
    rows = [{**other, "z_mm": 3.0, "score": 2.0}, {**other, "z_mm": 5.4, "score": 1.0}]
    desk._add([candidate_layer(rows, 3, "m1", {"opened": str(desk.folder), "subject": "m1"})])
    for z, told in ((3.0, "1 of 2: score 2"), (5.4, "2 of 2: score 1"), (3.0, "1 of 2")):
        desk.form.after.click()
        assert desk.viewer.dims.point[0] == pytest.approx(z, abs=0.31)  # the nearest slice
        assert desk.form.place.text().startswith(told)


def test_an_image_without_a_case_becomes_one_by_prediction(desk, run, tmp_path):
    mouse = darklung.make_mouse(seed=3, voxel_m=600e-6, lesions=[("solid", 3e-3)])
    values = 20 * mouse.density.sum(axis=0, keepdims=True).astype(np.float32)
    save_image(tmp_path / "scan3.ome.zarr", darklung.Image(values, ("attenuation",), ("1/m",), (600e-6,) * 3))
    desk.open(tmp_path / "scan3.ome.zarr")
    assert [one.name for one in desk.viewer.layers] == ["scan3 attenuation"]
    desk.form.results.setText(str(tmp_path / "drawn"))
    desk.form.save.click()
    assert "wanted a labelled case" in desk.form.told.text()
    desk.form.predict.click()
    wait(desk)
    names = [one.name for one in desk.viewer.layers]
    assert {"scan3 probability", "scan3 candidates"} <= set(names), desk.form.told.text()
    assert names[-1] == "scan3 labels"
    desk.form.save.click()
    assert (tmp_path / "drawn" / "labels" / "scan3" / "case.json").is_file()


def test_what_does_not_fit_is_one_line_and_nothing_is_computed(desk, tmp_path):
    fine = replace(small_case(3).channels, spacing_m=(300e-6,) * 3)
    save_image(tmp_path / "fine.ome.zarr", fine)
    desk.open(tmp_path / "fine.ome.zarr")
    desk.form.predict.click()
    wait(desk)
    assert "spacing 300 x 300 x 300 um, the model was trained at 600" in desk.form.told.text()
    assert not (tmp_path / "fine.ome.zarr.drawn").exists()
    desk.form.models.setText(str(tmp_path))
    desk.form.predict.click()
    assert "wanted a finished run or a folder with model.json" in desk.form.told.text()
    desk.open(tmp_path / "nothing")
    assert "nothing: wanted a run" in desk.form.told.text()


def test_labels_that_are_not_saved_are_not_left_without_a_word(desk, monkeypatch):
    from qtpy.QtWidgets import QMessageBox

    layer(desk, "m1 labels").data[0, 0, 0] = 1
    monkeypatch.setattr(QMessageBox, "question", lambda *a: QMessageBox.StandardButton.No)
    desk.form.subject.setCurrentText("m2")
    desk.form.subject.activated.emit(1)
    assert (desk.form.subject.currentText(), desk.subject.name) == ("m1", "m1")
    assert layer(desk, "m1 labels").data[0, 0, 0] == 1
    monkeypatch.setattr(QMessageBox, "question", lambda *a: QMessageBox.StandardButton.Yes)
    desk.form.subject.setCurrentText("m2")
    desk.form.subject.activated.emit(1)
    assert "m2 labels" in desk.viewer.layers
    assert "m1 labels" not in desk.viewer.layers
