"""napari's reader: folders of darklung as layers; of anything else it says at once that it is not for us."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklung.napari.kinds import kind_of

if TYPE_CHECKING:
    from darklung.napari.folders import Subject
    from darklung.napari.layers import Layer

Paths = str | Sequence[str]


def get_reader(path: Paths) -> Callable[[Paths], list[Layer]] | None:
    """The reader of napari's manifest: None unless every path is a folder of darklung."""
    return read if all(kind_of(Path(one)) for one in _paths(path)) else None


def read(path: Paths) -> list[Layer]:
    """Layers of the first subject of each folder; the desk shows the others.

    Raises
    ------
    DarklungError
        Files that do not fit each other or are damaged, in one line.
    """
    from darklung.napari.folders import subjects_of

    return [layer for one in _paths(path) for layer in subject_layers(subjects_of(Path(one))[0], opened=Path(one))]


def subject_layers(subject: Subject, *, opened: Path) -> list[Layer]:
    """All that there is of one subject: channels, masks, predictions and candidates, and on top the labels.

    Parameters
    ----------
    subject : Subject
    opened : Path
        What the user opened; the layers' metadata tell it to the desk.
    """
    from darklung.io.case import load_case
    from darklung.io.volumes import read_volume
    from darklung.napari import layers

    about: dict[str, Any] = {"opened": str(opened), "subject": subject.name}
    if subject.case is None:
        images = [layer for path in subject.images for layer in layers.image_layers(read_volume(path), subject.name, about)]
        return [*images, *(findings_layers(subject, about) if subject.findings else ())]
    about["case"] = str(subject.case)
    case = load_case(subject.case)
    *below, labels = layers.case_layers(case, about)
    found = findings_layers(subject, about) if subject.findings else []
    return [*below, *found, *_predicted(subject, case, about, visible=not found), labels]


def findings_layers(subject: Subject, about: dict[str, Any]) -> list[Layer]:
    """What `darklung predict` found: probability, where it is above a half, and candidates with their scores."""
    from darklung.io.images import load_image
    from darklung.io.names import MAPS
    from darklung.io.tables import load_table
    from darklung.napari import layers
    from darklung.steps.findings import TABLE

    if subject.findings is None:
        return []
    maps = load_image(subject.findings / MAPS)
    table = subject.findings / TABLE
    rows = load_table(table) if table.with_suffix(".parquet").is_file() else []
    found = layers.prediction_layers(maps, subject.name, about)
    return [*found, layers.candidate_layer(rows, len(maps.shape), subject.name, about)]


def _predicted(subject: Subject, case: Any, about: dict[str, Any], *, visible: bool) -> list[Layer]:
    """What a run's models said of a case, arm by arm, the first of them visible."""
    from darklung.io.images import load_image
    from darklung.napari import layers
    from darklung.steps.findings import candidates_of

    made: list[Layer] = []
    tile_m = _tile_m(subject.folder)
    for arm, path in subject.logits:
        logits, first = load_image(path), visible and not made
        maps = layers.maps_of_logits(logits, case)
        table = candidates_of(case, logits, threshold=None, tile_m=tile_m).to_dict("records")
        rows = [{str(key): value for key, value in row.items()} for row in table]
        told = {**about, "arm": arm}
        made += layers.prediction_layers(maps, subject.name, told, visible=first, arm=arm)
        made.append(layers.candidate_layer(rows, len(maps.shape), subject.name, told, visible=first, arm=arm))
    return made


def _tile_m(run: Path | None) -> float:
    """Of the run's study, so that tiles have the scores of its evaluation."""
    from darklung.evaluate.tiles import TILE_M
    from darklung.study.study import read_study

    study = None if run is None else run / "study.yaml"
    return read_study(study).evaluation.tile if study is not None and study.is_file() else TILE_M


def _paths(path: Paths) -> Sequence[str]:
    return [path] if isinstance(path, str) else path
