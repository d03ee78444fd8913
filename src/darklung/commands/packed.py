"""A pack: what ``darklung predict`` needs of a run, a few megabytes in place of all its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from darklung.core.checks import require
from darklung.core.files import read_object
from darklung.io.documents import Document, Length, validate
from darklung.pipeline.artefacts import require_as_written
from darklung.steps.lists import Lists
from darklung.steps.predict import MODEL_FILES
from darklung.study.processing import ProcessingPart
from darklung.study.protocols import examples_folder

ARMS_FILE, CARDS = "models.json", "cards"


class PackedArm(Document):
    """What a run fixed for the mean of an arm's models, see `Rule` and `How`."""

    models: tuple[str, ...]
    threshold: float | None
    curve: tuple[float, float] | None
    lists: Lists | None
    overlap: float
    candidates: Literal["head", "logits"]
    mirroring: bool
    notes: tuple[str, ...] = ()


class Pack(Document):
    """`ARMS_FILE`: the run's study in name, how its channels are made, its tiles, and its arms."""

    study: str
    processing: ProcessingPart
    tile: Length
    arms: dict[str, PackedArm]


def read_pack(folder: Path, models: Mapping[str, Sequence[Path]]) -> Pack:
    """The pack of a folder.

    Parameters
    ----------
    folder : Path
    models : mapping arm -> folders
        That are there.

    Raises
    ------
    DarklungError
        Another file than was packed, or models that are gone or came to it: what was fixed holds for all of them together.
    """
    file = folder / ARMS_FILE
    require_as_written(file, *(place / name for own in models.values() for place in own for name in MODEL_FILES))
    pack: Pack = validate(read_object(file), Pack, str(file))
    there = {arm: sorted(place.name for place in own) for arm, own in models.items()}
    packed = {arm: sorted(one.models) for arm, one in pack.arms.items()}
    require(there == packed, f"{folder}: wanted the models {_told(packed)} that were packed, got {_told(there)}")
    return pack


def _told(models: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(sorted(name for own in models.values() for name in own))


def models_folder() -> Path:
    """Where the packs are that come with the package."""
    return examples_folder() / "models"


def find_models(target: Path) -> Path:
    """The folder itself, or the pack of that name that comes with the package.

    Raises
    ------
    DarklungError
        Neither is there.
    """
    own = models_folder() / target
    if target.exists() or len(target.parts) != 1 or not (own / ARMS_FILE).is_file():
        known = ", ".join(sorted(file.parent.name for file in models_folder().glob(f"*/{ARMS_FILE}")))
        require(target.exists(), f"{target}: no such folder; models that come with darklung: {known or 'none'}")
        return target
    return own
