"""The picture of docs/napari.md: a subject of a run in napari, predicted, at one of its candidates. It needs a display."""

import argparse
import time
from pathlib import Path

from qtpy.QtWidgets import QApplication

import napari

SIZE = (1280, 820)


def main() -> None:
    """Open, choose, predict, go to a candidate, take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("run", "subject", "arm"):
        parser.add_argument(name)
    parser.add_argument("--candidate", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    viewer.open(given.run, plugin="darklung")
    _, desk = viewer.window.add_plugin_dock_widget("darklung", "Lungs")
    desk.show_subject(given.subject)
    desk.form.arm.setCurrentText(given.arm)
    desk.predict()
    while not desk.form.predict.isEnabled():
        QApplication.processEvents()
        time.sleep(0.05)  # the thread that predicts is in this process
    desk.step(given.candidate)
    for field in (desk.form.models, desk.form.results):  # the end of a path tells more than its beginning
        field.setText(f"runs/{Path(field.text()).name}")
    desk.form.tell("")
    for _ in range(200):
        QApplication.processEvents()
    viewer.screenshot(str(given.out), canvas_only=False)
    viewer.close()


if __name__ == "__main__":
    main()
