"""A labelled case on disk: an image, what is known of it and where it comes from, whatever made it.

Simulated animals, insertions into measured data and histology are written and read alike. A folder is a case once
``case.json`` is in it, which is written last and taken away before anything of an older case is replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from darklung.core.checks import DarklungError, check_shape, require
from darklung.core.files import make_folder, read_object
from darklung.core.types import LESION, UNKNOWN, Image, Insertion
from darklung.io.documents import Document, validate
from darklung.io.images import load_image, save_image
from darklung.io.names import CASE, CHANNELS, LABELS
from darklung.io.tables import save_json

FORMAT = 1
# Layers of `LABELS` and their types in memory; on disk all are uint16.
LAYERS = {"labels": np.uint8, "lung": np.bool_, "region": np.bool_, "instances": np.uint16, "hard": np.bool_}


@dataclass(frozen=True)
class CaseFacts:
    """Whose case it is, and where it comes from.

    Parameters
    ----------
    subject : str
        Name of the case; each once in a study.
    animal : str
        Folds and intervals go by it: all cases of one animal are on the same side.
    time_point : str
        Such as ``"week 3"``, for several scans of one animal.
    site : str
        Scanner; empty where there is only one.
    source : str
        What it was made from, such as ``"simulated"`` or the name of a measured scan.
    synthetic : bool
        Whether anything that is labelled was simulated or inserted.
    provenance : mapping
        Plain JSON: how it was made.
    """

    subject: str
    animal: str
    time_point: str = ""
    site: str = ""
    source: str = ""
    synthetic: bool = False
    provenance: Mapping[str, JsonValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("subject", "animal"):
            require(bool(getattr(self, name)), f"case: {name}: wanted a name, got none")


@dataclass(frozen=True)
class LabelledCase:
    """An image with what is known of it; all arrays (*spatial), on the grid of `channels`.

    Parameters
    ----------
    channels : Image
        Without any channel for a scan that is still to be reconstructed: its grid alone counts.
    labels : uint8
        0 background, `LESION` (1), `UNKNOWN` (255). What is unknown counts nowhere, neither in learning nor in evaluation.
    lung : bool
        Parenchyma and all that lies in it.
    region : bool
        Where lesions are searched, learned and scored; found in the image, not in the truth.
    instances : uint16
        Number of the lesion or mimic in each voxel, else 0. Labels are `LESION` where it is a lesion's, or `UNKNOWN`.
    hard : bool
        Voxels of known hard negatives (mimics, shams).
    insertions : tuple of Insertion
        All of them; a lesion without any voxel here lies outside the image, and counts as one that cannot be found.
    about : CaseFacts

    Raises
    ------
    DarklungError
        Shapes, types or label values other than these, numbers twice or unknown, or labels that contradict the instances.
    """

    channels: Image
    labels: NDArray[np.uint8]
    lung: NDArray[np.bool_]
    region: NDArray[np.bool_]
    instances: NDArray[np.uint16]
    hard: NDArray[np.bool_]
    insertions: tuple[Insertion, ...]
    about: CaseFacts

    def __post_init__(self) -> None:
        who = f"case {self.about.subject}"
        for name, kind in LAYERS.items():
            array = getattr(self, name)
            check_shape(f"{who}: {name}", array, "*spatial", self.channels.shape)
            require(array.dtype == kind, f"{who}: {name}: wanted {np.dtype(kind)}, got {array.dtype}")
        wrong = (self.labels > LESION) & (self.labels != UNKNOWN)
        values = sorted(set(self.labels[wrong].tolist()))
        require(not values, f"{who}: labels: wanted 0, {LESION} or {UNKNOWN} (unknown), got {values}")
        numbers = [i.number for i in self.insertions]
        require(len(set(numbers)) == len(numbers), f"{who}: insertions: wanted each number once, got {numbers}")
        lesions = [i.number for i in self.insertions if i.kind == "lesion"]
        shown = {0, *(i.number for i in self.insertions if i.kind != "sham")}
        strange = sorted(set(np.unique(self.instances).tolist()) - shown)
        require(not strange, f"{who}: instances: {strange} are no number of a lesion or mimic in insertions")
        same = self.unknown | (self.lesion == np.isin(self.instances, lesions))
        off = int(same.size - same.sum())
        require(off == 0, f"{who}: labels: {off} voxels are lesion in labels or in instances, not in both")

    @property
    def lesion(self) -> NDArray[np.bool_]:
        """Voxels known to be lesion, (*spatial)."""
        return np.asarray(self.labels == LESION)

    @property
    def unknown(self) -> NDArray[np.bool_]:
        """Voxels of which nothing is known, (*spatial)."""
        return np.asarray(self.labels == UNKNOWN)


class _Stored(Document):
    """``case.json``."""

    darklung_case: Literal[1]
    subject: str
    animal: str
    time_point: str
    site: str
    source: str
    synthetic: bool
    provenance: dict[str, JsonValue]
    insertions: tuple[Insertion, ...]


def save_case(folder: Path, case: LabelledCase) -> None:
    """Write a case into `folder`, which is a case only once all of it is written."""
    make_folder(folder)
    (folder / CASE).unlink(missing_ok=True)
    if case.channels.names:
        save_image(folder / CHANNELS, case.channels)
    layers = np.stack([np.asarray(getattr(case, name), dtype=np.uint16) for name in LAYERS])
    save_image(folder / LABELS, case.channels.with_data(layers, tuple(LAYERS), ("1",) * len(LAYERS)))
    about = {f.name: getattr(case.about, f.name) for f in fields(case.about)}
    content = {"darklung_case": FORMAT, **about, "provenance": dict(case.about.provenance)}
    content["insertions"] = [asdict(i) for i in case.insertions]
    save_json(folder / CASE, content)


def load_case(folder: Path, channels: tuple[str, ...] | None = None) -> LabelledCase:
    """Read a case, or only some of its channels; none of them with ``()``.

    Raises
    ------
    DarklungError
        Not a case, of another version, or with files that do not fit each other.
    """
    stored = _read(folder)
    truth = load_image(folder / LABELS)
    none = truth.with_data(np.zeros((0, *truth.shape), np.float32), (), ())
    stays = channels is None and not (folder / CHANNELS).exists()  # a grid alone
    image = none if stays or channels == () else load_image(folder / CHANNELS, channels)
    differs = image.grid_difference(truth)
    require(not differs, f"{folder}: {CHANNELS} and {LABELS} are not on one grid: {differs}")
    try:
        layers: dict[str, Any] = {name: truth.channel(name).astype(kind) for name, kind in LAYERS.items()}
        return LabelledCase(channels=image, insertions=stored.insertions, about=_facts(stored), **layers)
    except DarklungError as error:
        raise DarklungError(f"{folder}: {error}") from None


def case_facts(folder: Path) -> CaseFacts:
    """Whose case it is, without its arrays."""
    return _facts(_read(folder))


def case_insertions(folder: Path) -> tuple[Insertion, ...]:
    """What was put into a case or drawn in it, without its arrays."""
    return _read(folder).insertions


def case_lesions(folder: Path) -> int:
    """How many lesions are known in a case; only where there are none, its labels are read.

    Raises
    ------
    DarklungError
        Nothing at all is known of it: every voxel of its region is unknown.
    """
    lesions = sum(i.kind == "lesion" for i in case_insertions(folder))
    if not lesions:
        truth = load_image(folder / LABELS, ("labels", "region"))
        known = bool((truth.channel("labels") != UNKNOWN)[truth.channel("region") > 0].any())
        require(known, f"{folder}: nothing is known of its lesions; it can be predicted (use: predict), not learned from")
    return lesions


def _facts(stored: _Stored) -> CaseFacts:
    return CaseFacts(**{f.name: getattr(stored, f.name) for f in fields(CaseFacts)})


def _read(folder: Path) -> _Stored:
    path = folder / CASE
    require(path.is_file(), f"{folder}: wanted a labelled case with {CASE} in it; older ones are not read, make them again")
    content = read_object(path)
    version = content.get("darklung_case")
    require(version == FORMAT, f"{path}: wanted a labelled case, darklung_case: {FORMAT}, got {version!r}")
    stored: _Stored = validate(content, _Stored, str(path))
    return stored
