"""Labelled cases to score against: those of darklung, or label volumes of any format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.types import LESION, UNKNOWN, Image, Insertion
from darklung.features.labels import numbered_as_insertions, parts_as_insertions
from darklung.io.case import CaseFacts, LabelledCase, case_facts, load_case
from darklung.io.labels import check_unknown, read_labels, read_region
from darklung.io.names import CASE
from darklung.io.tiff_stack import opened_tiff
from darklung.io.volumes import read_volume, volume_kind
from darklung.pipeline.artefacts import RUN_RECORD, require_as_written
from darklung.steps.scoring.names import bare_name, case_of_file, volumes_in

ENDS = ("_labels", "_label", "_seg", "_mask")  # of the names of label files, apart from the case's


@dataclass(frozen=True)
class Labelled:
    """A case that is read when it is its turn; `animal` by which intervals go."""

    animal: str
    path: Path
    read: Callable[[], LabelledCase]


def find_labels(path: Path, *, region: Path | None = None, resample: bool = False) -> dict[str, Labelled]:
    """The labelled cases in `path`, by name.

    Parameters
    ----------
    path : Path
        A run folder, a folder of cases, one case, a folder of label volumes, or one label volume.
    region : Path, optional
        Where to search, for label volumes: a volume for all of them, or a folder with one a case. Everywhere by default.
    resample : bool
        Bring regions to the labels' grids.

    Raises
    ------
    DarklungError
        Nothing there, or a region that is missing.
    """
    require(path.exists(), f"{path}: no such file or folder")
    folders = _cases(path)
    if folders:
        require(region is None, f"--region: the cases in {path} have search regions of their own")
        return {f.name: Labelled(case_facts(f).animal, f, lambda f=f: load_case(f, ())) for f in folders}  # type: ignore[misc]
    alone = path.is_file() or (volume_kind(path) != "" and not _several(path))
    files = [path] if alone else volumes_in(path)
    require(bool(files), f"{path}: wanted labelled cases, a run folder, or label volumes; found none")
    named = {_case_name(file): file for file in files}
    require(len(named) == len(files), f"{path}: two label volumes have one name: {', '.join(f.name for f in files)}")
    regions = {name: _region_of(name, region, alone=len(named) == 1) for name in named}
    return {
        name: Labelled(name, file, lambda n=name, f=file: _of_volume(n, f, regions[n], resample))  # type: ignore[misc]
        for name, file in named.items()
    }


def _cases(path: Path) -> list[Path]:
    if (path / CASE).is_file():
        return [path]
    if not path.is_dir():
        return []
    root = path / "cases" if (path / RUN_RECORD).is_file() and (path / "cases").is_dir() else path
    found = sorted(root.glob(f"[!.]*/{CASE}"))
    require_as_written(*found)
    return [f.parent for f in found]


def _several(folder: Path) -> bool:
    """Whether a folder of TIFF files holds one volume a file; slices of one volume are single pages."""
    files = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in (".tif", ".tiff")]
    if not files:
        return False
    with opened_tiff(files[0]) as first:
        return len(first.pages) > 1


def _case_name(file: Path) -> str:
    name = bare_name(file)
    return name.removesuffix(next((e for e in ENDS if name.endswith(e)), ""))


def _region_of(name: str, region: Path | None, *, alone: bool) -> Path | None:
    if region is None or region.is_file() or (volume_kind(region) != "" and not _several(region)):
        return region
    files = volumes_in(region) if region.is_dir() else []
    found = [f for f in files if alone or case_of_file(bare_name(f), [name])]
    exact = [f for f in found if bare_name(f) == name]
    found = exact or found
    require(len(found) == 1, f"{region}: wanted one region of {name}, found {', '.join(f.name for f in found) or 'none'}")
    return found[0]


def _of_volume(name: str, path: Path, region: Path | None, resample: bool) -> LabelledCase:
    """A case of labels alone: instances by number, or connected parts of 0 and 1; 255 is unknown."""
    volume = read_volume(path)
    grid = volume.with_data(np.zeros((0, *volume.shape), np.float32), (), ())
    values = read_labels(path, like=volume)
    searched = np.ones(grid.shape, bool) if region is None else read_region(region, like=grid, resample_labels=resample)
    check_unknown(values, str(path))
    unknown = values == UNKNOWN
    instances, insertions = _instances(path, np.where(unknown, 0, values), grid)
    labels = np.where(unknown, UNKNOWN, np.where(instances > 0, LESION, 0)).astype(np.uint8)
    return LabelledCase(
        channels=grid,
        labels=labels,
        lung=searched,
        region=searched,
        instances=instances,
        hard=np.zeros(grid.shape, bool),
        insertions=insertions,
        about=CaseFacts(name, name, source=str(path.name)),
    )


def _instances(path: Path, numbers: NDArray[Any], grid: Image) -> tuple[NDArray[np.uint16], tuple[Insertion, ...]]:
    low, high = int(numbers.min()), int(numbers.max())
    require(low >= 0 and high < 2**16, f"{path}: wanted labels from 0 to 65535, got {low} to {high}")
    if high == LESION:
        return parts_as_insertions(numbers > 0, grid)
    found = numbers.astype(np.uint16)
    return found, numbered_as_insertions(found, grid)
