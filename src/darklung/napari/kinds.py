"""What of darklung a folder is, told from names of files: asked for all that napari opens, so nothing heavy is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from darklung.io.names import CASE, LOGITS, MAPS
from darklung.pipeline.artefacts import RUN_RECORD

RUN, PREDICTION, LABELLED, IMAGE, IMAGES = "run", "prediction", "case", "image", "images"
ENDING = ".ome.zarr"
_MOST_BYTES = 2**20  # of the attributes of a Zarr group of ours: kilobytes


def kind_of(path: Path) -> str:
    """`RUN`, `PREDICTION`, `LABELLED`, `IMAGE` or `IMAGES`; empty where it is not of darklung.

    A run is also what `darklung predict` wrote. Only of a Zarr group anything is read, its attributes: in others there is no
    ``darklung``.
    """
    if not path.is_dir():
        return ""
    if (path / CASE).is_file():
        return LABELLED
    if (path / "zarr.json").is_file():
        return IMAGE if is_own(path) else ""
    if (path / MAPS).is_dir():
        return PREDICTION
    if (path / RUN_RECORD).is_file():
        return RUN
    return IMAGES if next(images_in(path), None) else ""


def images_in(folder: Path) -> Iterator[Path]:
    """OME-Zarr images of darklung right in a folder, but predictions."""
    for path in sorted(folders_in(folder)):
        if path.name.endswith(ENDING) and not path.name.endswith(LOGITS) and is_own(path):
            yield path


def folders_in(folder: Path) -> list[Path]:
    """Folders right in a folder, but hidden ones; none where there is none."""
    return [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")] if folder.is_dir() else []


def is_own(path: Path) -> bool:
    """Whether a Zarr group says that darklung wrote it."""
    try:
        with (path / "zarr.json").open("rb") as file:
            about = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    attributes = about.get("attributes") if isinstance(about, dict) else None
    return isinstance(attributes, dict) and "darklung" in attributes
