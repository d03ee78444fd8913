"""Labelled cases as other frameworks read them: nnU-Net v2, and MONAI's Auto3DSeg and decathlon lists.

Isensee et al. 2021, 10.1038/s41592-020-01008-z; Cardoso et al. 2022, 10.48550/arXiv.2211.02701.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_one_of, require
from darklung.core.files import make_folder
from darklung.core.types import LESION, UNKNOWN, Image
from darklung.io.names import item_name
from darklung.io.nifti import write_nifti, write_nifti_channels
from darklung.io.tables import save_json

IGNORE = 2  # nnU-Net wants the ignored label above all others
USES = ("train", "test", "predict")
DATASET, SPLITS, DATALIST = "dataset.json", "splits_final.json", "datalist.json"
FOLDERS = {"train": ("imagesTr", "labelsTr", "masksTr"), "test": ("imagesTs", "labelsTs", "masksTs")}


@dataclass(frozen=True)
class Exported:
    """One case on its way out.

    Parameters
    ----------
    name : str
    use : {"train", "test", "predict"}
        Of ``predict`` nothing is known; it is written among the test images without a label.
    channels : Image
        Those of one arm, in its order.
    labels : (*spatial) uint8
        0, `LESION` or `UNKNOWN`.
    region : (*spatial) bool
        Where our observers learn and are scored.
    """

    name: str
    use: str
    channels: Image
    labels: NDArray[np.uint8]
    region: NDArray[np.bool_]

    def __post_init__(self) -> None:
        check_one_of("use", self.use, USES)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Voxels that count in a loss and a score of ours, (*spatial)."""
        return np.asarray(self.region & (self.labels != UNKNOWN))

    @property
    def side(self) -> str:
        """Key of `FOLDERS`."""
        return "train" if self.use == "train" else "test"


@dataclass(frozen=True)
class About:
    """What a data set says of itself.

    Parameters
    ----------
    name : str
    channels : tuple of str
    folds : sequence of (training names, validation names)
    normalised : bool
        Whether values are those that our networks see; other programs must then leave them as they are.
    told : mapping
        Plain JSON: where it comes from.
    """

    name: str
    channels: tuple[str, ...]
    folds: Sequence[tuple[Sequence[str], Sequence[str]]]
    normalised: bool = False
    told: Mapping[str, Any] = field(default_factory=dict)


Writer = Callable[[Path, Iterable[Exported], About], dict[str, int]]


def safe_names(names: Sequence[str]) -> dict[str, str]:
    """Subject -> the name of its files, which cannot leave their folder.

    Raises
    ------
    DarklungError
        Two subjects would have one name, also where a disk does not tell capitals apart.
    """
    found = {name: item_name(name) for name in names}
    seen: dict[str, str] = {}
    for name, safe in found.items():
        other = seen.setdefault(safe.lower(), name)
        require(other == name, f"subjects {other!r} and {name!r}: both would be files called {safe!r}; rename one")
    return found


def write_nnunet(out: Path, cases: Iterable[Exported], about: About) -> dict[str, int]:
    """A raw data set of nnU-Net v2 in `out` (name it ``Dataset123_NAME``); returns how many cases of each use.

    ``imagesTr``, ``labelsTr``, ``imagesTs``, ``labelsTs`` with one file a channel (``_0000``), ``dataset.json``, and
    ``splits_final.json``, which nnU-Net looks for in its folder of preprocessed data. Labels are 0, 1 and 2, the ignored
    label: unknown voxels and those outside the search region, which our observers do not learn from either.
    """
    counts = dict.fromkeys(USES, 0)
    for case in cases:
        images, labels, _ = _folders(out, case)
        for number, channel in enumerate(case.channels.names):
            write_nifti(images / f"{case.name}_{number:04d}.nii.gz", case.channels, channel)
        if case.use != "predict":
            values = np.where(case.counted, case.labels, IGNORE).astype(np.uint8)
            _write_mask(labels / f"{case.name}.nii.gz", case.channels, values, "label")
        counts[case.use] += 1
    # A name that nnU-Net knows is how it is told what to do with values; any other means zscore.
    how = "noNorm" if about.normalised else "zscore"
    content = {
        "channel_names": {str(i): how for i in range(len(about.channels))},
        "labels": {"background": 0, "lesion": LESION, "ignore": IGNORE},
        "numTraining": counts["train"],
        "file_ending": ".nii.gz",
        "name": about.name,
        "darklung": {"channels": list(about.channels), **about.told},
    }
    save_json(out / SPLITS, [{"train": list(train), "val": list(val)} for train, val in about.folds])
    save_json(out / DATASET, content)
    return counts


def write_monai(out: Path, cases: Iterable[Exported], about: About) -> dict[str, int]:
    """Images with all channels, labels, masks and ``datalist.json`` in `out`; returns how many cases of each use.

    The list has the keys of the decathlon and of Auto3DSeg: ``image``, ``label`` and, of training cases, ``fold`` (in which
    it is validated). Labels are 0 and 1; where they count is told by ``mask`` alone, since Auto3DSeg knows no ignored label.
    """
    fold_of = {name: k for k, (_, validated) in enumerate(about.folds) for name in validated}
    counts, rows = dict.fromkeys(USES, 0), {"training": [], "testing": []}  # type: ignore[var-annotated]
    for case in cases:
        images, labels, masks = _folders(out, case, masks=True)
        file = f"{case.name}.nii.gz"
        write_nifti_channels(images / file, case.channels)
        row: dict[str, Any] = {"image": f"{images.name}/{file}"}
        if case.use != "predict":
            _write_mask(labels / file, case.channels, (case.labels == LESION).astype(np.uint8), "label")
            _write_mask(masks / file, case.channels, case.counted.astype(np.uint8), "mask")
            row |= {"label": f"{labels.name}/{file}", "mask": f"{masks.name}/{file}"}
        row |= {"fold": fold_of[case.name]} if case.use == "train" else {}
        rows["training" if case.use == "train" else "testing"].append(row)
        counts[case.use] += 1
    content = {
        "name": about.name,
        "tensorImageSize": "4D" if len(about.channels) > 1 else "3D",
        "modality": {str(i): name for i, name in enumerate(about.channels)},
        "labels": {"0": "background", "1": "lesion"},
        "numTraining": counts["train"],
        "numTest": len(rows["testing"]),
        **rows,
        "darklung": {"normalised": about.normalised, **about.told},
    }
    save_json(out / DATALIST, content)
    return counts


LAYOUTS: dict[str, Writer] = {"nnunet": write_nnunet, "monai": write_monai}


def _folders(out: Path, case: Exported, *, masks: bool = False) -> tuple[Path, Path, Path]:
    images, labels, where = (out / name for name in FOLDERS[case.side])
    for folder in (images, labels, where) if masks else (images, labels):
        make_folder(folder)
    return images, labels, where


def _write_mask(path: Path, grid: Image, values: NDArray[np.uint8], name: str) -> None:
    write_nifti(path, grid.with_data(values[None], (name,), ("1",)), name)
