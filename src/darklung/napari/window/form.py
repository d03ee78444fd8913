"""What the desk looks like: fields and buttons, and nothing of what they do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QWidget,
)


class Form:
    """The fields of the desk, laid out in its widget; text of files is shown as it is, never as HTML."""

    def __init__(self, widget: QWidget) -> None:
        self.open, self.predict, self.save = QPushButton("Open…"), QPushButton("Predict"), QPushButton("Save labels")
        self.choose_models, self.before, self.after = QPushButton("…"), QPushButton("◀"), QPushButton("▶")
        self.subject, self.arm = QComboBox(), QComboBox()
        self.models, self.results = QLineEdit(), QLineEdit()
        self.healthy = QCheckBox("what is unknown is healthy")
        self.nifti = QCheckBox("NIfTI too")
        self.replace = QCheckBox("replace what is there")
        self.bar, self.place, self.told, self.folder = QProgressBar(), _text(), _text(), _text()
        self.candidate = -1
        self.nifti.setChecked(True)
        self.bar.setRange(0, 1000)
        self._hints()
        self._lay_out(widget)

    def opened(self, folder: Path, subjects: Sequence[str], results: Path) -> None:
        """A folder is open."""
        self.folder.setText(folder.name)
        self.folder.setToolTip(str(folder))
        self.subject.clear()
        self.subject.addItems(list(subjects))
        self.results.setText(str(results))

    def shown(self, subject: str) -> None:
        """A subject is in the viewer."""
        self.subject.setCurrentText(subject)
        self.at_candidate(-1, "")
        self.tell("")

    def with_models(self, folder: Path, arms: Sequence[str]) -> None:
        """Models to predict with."""
        self.models.setText(str(folder))
        self.arm.clear()
        self.arm.addItems(list(arms))
        self.arm.setEnabled(len(arms) > 1)

    def working(self, busy: bool) -> None:
        """While something is predicted, nothing else is begun."""
        for field in (self.open, self.subject, self.choose_models, self.predict, self.save):
            field.setEnabled(not busy)
        if busy:
            self.tell("looking at models and image")
        self.bar.setValue(0 if busy else self.bar.maximum())

    def progressed(self, share: float, text: str) -> None:
        """How far the prediction is."""
        self.bar.setValue(round(share * self.bar.maximum()))
        self.tell(text)

    def at_candidate(self, number: int, text: str) -> None:
        """Which candidate is looked at; -1 for none yet."""
        self.candidate = number
        self.place.setText(text)

    def tell(self, text: str) -> None:
        """A line for the user."""
        self.told.setText(text)

    def _hints(self) -> None:
        for field, hint in (
            (self.results, "Predictions and labels go below this folder."),
            (self.models, "A run, or the folder of one model."),
            (self.healthy, "Voxels of the search region that are unknown (255) are saved as healthy (0)."),
            (self.replace, "Write over labels that were saved there before."),
            (self.nifti, "Labels as NIfTI beside the case, for ITK-SNAP or Slicer."),
        ):
            field.setToolTip(hint)

    def _lay_out(self, widget: QWidget) -> None:
        form = QFormLayout(widget)
        form.addRow("Folder", _row(self.folder, self.open))
        form.addRow("Subject", self.subject)
        form.addRow("Models", _row(self.models, self.choose_models))
        form.addRow("Arm", self.arm)
        form.addRow(self.predict)
        form.addRow(self.bar)
        form.addRow("Candidate", _row(self.before, self.after, self.place))
        form.addRow("Results", self.results)
        form.addRow(self.healthy)
        form.addRow(_row(self.nifti, self.replace))
        form.addRow(self.save)
        form.addRow(self.told)


def _text() -> Any:
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setWordWrap(True)
    return label


def _row(*fields: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for field in fields:
        row.addWidget(field, 1 if isinstance(field, QLabel | QLineEdit) else 0)
    return row
