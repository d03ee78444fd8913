"""The desk: choose a subject, predict, look at candidates, draw labels, save; all of it by what commands call too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Layer
from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from darklung.core.checks import DarklungError, require
from darklung.core.types import LESION, UNKNOWN
from darklung.io.case import load_case
from darklung.io.images import load_image
from darklung.io.names import MAPS
from darklung.napari.folders import Subject, arms_of, has_models, subjects_of
from darklung.napari.layers import CANDIDATES, LABELS, METADATA, PREDICTION, called_lesion
from darklung.napari.predicting import predict_subject
from darklung.napari.reader import findings_layers, subject_layers
from darklung.napari.saving import Choices, save_labels
from darklung.napari.window.form import Form
from darklung.napari.window.work import Work

RESULTS = ".drawn"  # beside what was opened: NAME.drawn/labels/SUBJECT, NAME.drawn/predictions
BRUSH = 3  # voxels
OWN = "desk"  # of layers that the desk predicted


class Desk(QWidget):
    """napari's dock widget.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        What the reader put into it is taken over; so is what is opened later.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.folder = Path()
        self.subjects: tuple[Subject, ...] = ()
        self.subject: Subject | None = None
        self.seen = ""  # the prediction that is shown
        self.work: Work | None = None
        self._stored = np.zeros(0, np.uint8)  # labels as they were read or saved
        self.form = Form(self)
        self._connect()
        for layer in self.viewer.layers:
            self._take(layer)

    def _connect(self) -> None:
        form = self.form
        form.open.clicked.connect(self._ask_folder)
        form.subject.activated.connect(self._choose)
        form.choose_models.clicked.connect(self._ask_models)
        form.predict.clicked.connect(self.predict)
        form.before.clicked.connect(lambda: self.step(-1))
        form.after.clicked.connect(lambda: self.step(1))
        form.save.clicked.connect(self.save)
        self.viewer.layers.events.inserted.connect(lambda event: self._take(event.value))

    def open(self, folder: Path) -> None:
        """Show the first subject of a folder of darklung."""
        try:
            subjects = subjects_of(folder)
            self._taken(folder, subjects)
            self.show_subject(subjects[0].name)
        except DarklungError as error:
            self.form.tell(str(error))

    def show_subject(self, name: str) -> None:
        """Replace the layers by those of another subject."""
        subject = next(s for s in self.subjects if s.name == name)
        for layer in [one for one in self.viewer.layers if METADATA in one.metadata]:
            self.viewer.layers.remove(layer)
        self._add(subject_layers(subject, opened=self.folder))
        self._shown(subject)

    def predict(self) -> None:
        """Predict the subject in a thread; what it finds is added below the labels."""
        try:
            subject, models = self._wanted(), Path(self.form.models.text())
            require(has_models(models), f"{models}: wanted a finished run or a folder with model.json")
        except DarklungError as error:
            self.form.tell(str(error))
            return
        out, arm = self._results() / "predictions", self.form.arm.currentText()
        self.work = Work(lambda tell: predict_subject(models, subject, out=out, arm=arm, tell=tell))
        self.work.told.connect(self.form.progressed)
        self.work.done.connect(self._predicted)
        self.work.failed.connect(self.form.tell)
        self.work.finished.connect(lambda: self.form.working(False))
        self.form.working(True)
        self.work.start()

    def step(self, by: int) -> None:
        """Go to the next candidate of the table that is seen, the highest score first."""
        layer = self._layer(CANDIDATES, visible=True)
        if layer is None or not len(layer.data):
            self.form.tell("no candidates are shown")
            return
        number = (self.form.candidate + by) % len(layer.data)
        world = layer.data_to_world(layer.data[number])
        self.viewer.dims.point = world
        self.viewer.scene.camera.center = tuple(world)
        row = layer.features.iloc[number]
        told = ", ".join(f"{key} {row[key]:.3g}" for key in ("score", "probability", "diameter_mm") if row[key] == row[key])
        self.form.at_candidate(number, f"{number + 1} of {len(layer.data)}: {told}")

    def save(self) -> None:
        """Write the labels as a case of its own into the results, or over one that is there where that is ticked."""
        try:
            subject, layer = self._wanted(), self._layer(LABELS)
            if layer is None or subject.case is None:
                raise DarklungError("labels: wanted a labelled case; predict this image first, which makes one")
            choices = Choices(
                self.form.healthy.isChecked(), self.form.nifti.isChecked(), self.form.replace.isChecked(), self.seen
            )
            self.form.tell(
                save_labels(subject.case, layer.data, out=self._results() / "labels" / subject.name, choices=choices)
            )
            self._stored = layer.data.copy()
        except DarklungError as error:
            self.form.tell(str(error))

    def changed(self) -> bool:
        """Whether labels were drawn that are not saved."""
        layer = self._layer(LABELS)
        return layer is not None and not np.array_equal(layer.data, self._stored)

    def _take(self, layer: Any) -> None:
        """What napari's own opening of a folder brings is known here too."""
        about = layer.metadata.get(METADATA, {})
        if "opened" not in about or (Path(about["opened"]) == self.folder and self.subject is not None):
            return
        try:
            folder = Path(about["opened"])
            self._taken(folder, subjects_of(folder))
        except DarklungError as error:
            self.form.tell(str(error))
            return
        self.subject = next((s for s in self.subjects if s.name == about["subject"]), self.subjects[0])
        self._shown(self.subject)

    def _taken(self, folder: Path, subjects: tuple[Subject, ...]) -> None:
        self.folder, self.subjects = folder, subjects
        if has_models(folder):
            self._models(folder)
        self.form.opened(folder, [s.name for s in subjects], folder.parent / f"{folder.name}{RESULTS}")

    def _shown(self, subject: Subject) -> None:
        """Labels are what is drawn in."""
        self.subject, self.seen = subject, str(subject.findings or "")
        self.form.shown(subject.name)
        self._stored = np.zeros(0, np.uint8) if subject.case is None else load_case(subject.case, ()).labels
        self._activate()

    def _activate(self) -> None:
        layer = self._layer(LABELS)
        if layer is not None:
            self.viewer.layers.selection.active = layer
            layer.selected_label, layer.brush_size = LESION, BRUSH
        for one in self.viewer.layers:
            if one.metadata.get(METADATA, {}).get("layer") == PREDICTION:
                one.contour = 1  # the image below stays in sight
        self.viewer.canvas.overlays.scale_bar.visible = True

    def _add(self, layers: list[Any]) -> None:
        for data, options, kind in layers:
            self.viewer.add_layer(Layer.create(data, options, kind))

    def _predicted(self, found: Subject) -> None:
        """Maps and candidates in the viewer; where nothing is known, labels begin as what the model calls lesion."""
        for layer in [one for one in self.viewer.layers if one.metadata.get(METADATA, {}).get("by") == OWN]:
            self.viewer.layers.remove(layer)
        for layer in self.viewer.layers:
            if "arm" in layer.metadata.get(METADATA, {}):
                layer.visible = False
        if self._wanted().case is None:
            self._add(subject_layers(Subject(found.name, case=found.case), opened=self.folder))
            self._shown(found)
        self.subject, self.seen = found, str(found.findings)
        about = {"opened": str(self.folder), "subject": found.name, "by": OWN}
        self._add(findings_layers(found, about))
        self._begin_labels(found)
        self.form.tell(f"predicted: {found.findings}")

    def _begin_labels(self, found: Subject) -> None:
        layer = self._layer(LABELS)
        if layer is None or found.findings is None:
            return
        self.viewer.layers.move(self.viewer.layers.index(layer), len(self.viewer.layers))
        if not self.changed() and (layer.data != UNKNOWN).sum() == 0:
            layer.data = np.where(called_lesion(load_image(found.findings / MAPS)) > 0, LESION, layer.data)
        self._activate()

    def _layer(self, what: str, *, visible: bool = False) -> Any:
        """The topmost of our layers of a kind; None where there is none."""
        layers = (one for one in reversed(self.viewer.layers) if one.metadata.get(METADATA, {}).get("layer") == what)
        return next((one for one in layers if one.visible or not visible), None)

    def _wanted(self) -> Subject:
        if self.subject is None:
            raise DarklungError("nothing is open: open a run, a prediction, a case or an image of darklung")
        return self.subject

    def _results(self) -> Path:
        return Path(self.form.results.text())

    def _models(self, folder: Path) -> None:
        self.form.with_models(folder, arms_of(folder))

    def _choose(self) -> None:
        name = self.form.subject.currentText()
        if self.subject is not None and name == self.subject.name:
            return
        if self.changed() and not self._leave():
            self.form.shown(self._wanted().name)
            return
        try:
            self.show_subject(name)
        except DarklungError as error:
            self.form.tell(str(error))

    def _leave(self) -> bool:
        told = "Labels were drawn that are not saved. Leave them?"
        return bool(QMessageBox.question(self, "darklung", told) == QMessageBox.StandardButton.Yes)

    def _ask_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "A run, a prediction, a labelled case or an image of darklung")
        if chosen and (not self.changed() or self._leave()):
            self.open(Path(chosen))

    def _ask_models(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "A run, or the folder of one model")
        if chosen and has_models(Path(chosen)):
            self._models(Path(chosen))
        elif chosen:
            self.form.tell(f"{chosen}: wanted a finished run or a folder with model.json")
