"""One labelled case on disk: a simulated animal, an insertion into measured data, or a measured image with labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, check_shape, require
from darklung.core.types import Image, Insertion
from darklung.io.documents import Document, validate
from darklung.io.images import load_image, save_image
from darklung.io.tables import save_json

UNKNOWN = 255
CHANNELS, TRUTH, ABOUT = "channels.ome.zarr", "truth.ome.zarr", "case.json"
LAYERS = ("labels", "lung", "region", "instances", "hard")


@dataclass(frozen=True)
class CaseFacts:
    """Whose image it is and where it comes from.

    Parameters
    ----------
    subject : str
        The image's own name.
    animal : str
        Folds and intervals go by it.
    time_point, site, source : str
        Empty where there is none.
    synthetic : bool
        Whether what is labelled was put in or simulated.
    provenance : mapping
        JSON values.
    """

    subject: str
    animal: str
    time_point: str = ""
    site: str = ""
    source: str = ""
    synthetic: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelledCase:
    """An image with what is known of it, all on one grid.

    Parameters
    ----------
    channels : Image
    labels : (*spatial) uint8
        0 no lesion, 1 lesion, `UNKNOWN` where nobody knows; unknown voxels count nowhere.
    lung : (*spatial) bool
    region : (*spatial) bool
        Where is searched: tiles, candidates and the loss look only here. Found in the image, never in the truth.
    instances : (*spatial) uint16
        Number of the lesion or mimic.
    hard : (*spatial) bool
        Voxels of known hard negatives.
    insertions : tuple of Insertion
    about : CaseFacts
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
        for name in LAYERS:
            check_shape(f"{self.about.subject}: {name}", getattr(self, name), "*spatial", self.channels.shape)
        strange = np.setdiff1d(self.labels, (0, 1, UNKNOWN))
        require(strange.size == 0, f"{self.about.subject}: labels: wanted 0, 1 and {UNKNOWN}, got {strange[:5].tolist()}")

    @property
    def target(self) -> NDArray[np.bool_]:
        """Lesion voxels that are known, (*spatial)."""
        return np.asarray(self.labels == 1)


class _File(Document):
    darklung_case: Literal[1]
    about: dict[str, Any]
    insertions: tuple[dict[str, Any], ...]


def save_case(folder: Path, case: LabelledCase) -> None:
    """Write a case into `folder`."""
    save_image(folder / CHANNELS, case.channels)
    layers = np.stack([np.asarray(getattr(case, n), dtype=np.uint16) for n in LAYERS])
    grid = case.channels
    save_image(folder / TRUTH, Image(layers, LAYERS, ("1",) * len(LAYERS), grid.spacing_m, grid.origin_m, grid.frame))
    about = {**asdict(case.about), "provenance": dict(case.about.provenance)}
    save_json(folder / ABOUT, {"darklung_case": 1, "about": about, "insertions": [asdict(i) for i in case.insertions]})


def load_case(folder: Path, channels: tuple[str, ...] | None = None) -> LabelledCase:
    """Read a case, or only some of its channels.

    Raises
    ------
    DarklungError
        No case of darklung, or one of another version.
    """
    file = _read(folder)
    truth = load_image(folder / TRUTH)
    return LabelledCase(
        channels=load_image(folder / CHANNELS, channels),
        labels=truth.channel("labels").astype(np.uint8),
        lung=truth.channel("lung").astype(bool),
        region=truth.channel("region").astype(bool),
        instances=truth.channel("instances"),
        hard=truth.channel("hard").astype(bool),
        insertions=tuple(Insertion(**{**r, "center_m": tuple(r["center_m"])}) for r in file.insertions),
        about=CaseFacts(**file.about),
    )


def case_facts(folder: Path) -> CaseFacts:
    """Whose case it is, without reading arrays."""
    return CaseFacts(**_read(folder).about)


def _read(folder: Path) -> _File:
    path = folder / ABOUT
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise DarklungError(f"{folder}: no labelled case in it (no {ABOUT})") from None
    except (OSError, ValueError) as error:
        raise DarklungError(f"{path}: cannot be read ({error})") from error
    found: _File = validate(content, _File, str(path))
    return found
