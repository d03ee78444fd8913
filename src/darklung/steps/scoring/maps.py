"""Maps of any program: found by name, brought to the labels' grid, as logits in float64."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.resample import reorient_like, resample
from darklung.core.types import Image
from darklung.evaluate.logits import logits_of
from darklung.evaluate.tiles import LOWEST_SCORE
from darklung.io.case import LabelledCase
from darklung.io.images import is_own_image, load_image
from darklung.io.labels import SAME_GRID, stored_in_frame
from darklung.io.names import LOGITS
from darklung.io.volumes import open_volume, volume_kind
from darklung.steps.scoring.names import NOT_A_MAP, bare_name, by_case, case_of_file, volumes_in

LOGIT, PROBABILITY = "logit", "probability"
KINDS = (PROBABILITY, LOGIT)


@dataclass(frozen=True)
class Map:
    """A map on its own grid, with what its values are and the step that they were rounded to (None for floats)."""

    image: Image
    kind: str
    step: float | None = None


def find_maps(path: Path, cases: Collection[str]) -> dict[str, Path]:
    """The map of each case in `path`: a volume, or a folder with one a case; none where no volumes lie there.

    Of a prediction of darklung the logits are taken, which its probabilities come from.
    """
    whole = path.is_file() or volume_kind(path) != ""
    inside = [] if path.is_file() or is_own_image(path) else volumes_in(path)
    named = [f for f in inside if case_of_file(bare_name(f), cases)]
    # A folder of TIFF files may be slices of one map, or maps of several cases.
    files = [path] if whole and not named else inside
    files = [f for f in files if not bare_name(f).endswith(NOT_A_MAP)]
    return by_case(files, cases, better=lambda f: f.name.endswith(LOGITS), where=path) if files else {}


def read_logits(
    path: Path, case: LabelledCase, *, kind: str = "", resampled: bool = False
) -> tuple[NDArray[np.float64], str]:
    """Logits on the case's grid, and whether the file holds probabilities or logits.

    Outside the search region values are not needed and not looked at.

    Parameters
    ----------
    path : Path
    case : LabelledCase
    kind : {"", "probability", "logit"}
        What the map holds; by default what darklung's own files say, else probabilities if all values are from 0 to 1.
    resampled : bool
        Interpolate a map of another grid linearly, as it is stored, instead of refusing it.

    Raises
    ------
    DarklungError
        Another grid, values that are neither, or no values in the search region.
    """
    grid = case.channels
    found = _stored(path, grid, kind)
    turned = reorient_like(found.image, grid)
    differs = grid.grid_difference(turned, tolerance=SAME_GRID)
    if differs:
        require(resampled, f"{path}: labels and map differ in {differs}; --resample brings the map to the labels' grid")
        turned = resample(found.image, like=grid)
    values = turned.data[0]
    holes = int((~np.isfinite(values) & case.region).sum())
    require(holes == 0, f"{path}: {holes} voxels of the search region of {case.about.subject} have no finite value")
    if found.kind == PROBABILITY:
        try:
            values = logits_of(values, resolution=found.step if not differs else None)
        except DarklungError as error:
            raise DarklungError(f"{path}: {error}") from None
    logits = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(logits), logits, LOWEST_SCORE), found.kind


def _stored(path: Path, grid: Image, kind: str) -> Map:
    if is_own_image(path):
        image, own = _own(path)
        return Map(_flat(image, grid), kind or own or _guessed(path, image.data, whole=False))
    image = _flat(stored_in_frame(path, grid), grid)
    file = open_volume(path)
    whole = file.dtype.kind in "uib"
    guessed = kind or _guessed(path, image.data, whole=whole and file.slope == 1)
    if image.data.dtype.kind in "uib":
        image = replace(image, data=image.data.astype(np.float64))
    return Map(image, guessed, abs(file.slope) if whole else None)


def _own(path: Path) -> tuple[Image, str]:
    """The map in an image of darklung, which says what it is."""
    image = load_image(path)
    for name in KINDS:
        if name in image.names:
            return image.with_data(image.channel(name)[None], (name,), ("1",)), name
    require(len(image.names) == 1, f"{path}: wanted a channel probability or logit, got {', '.join(image.names)}")
    return image, ""


def _guessed(path: Path, values: NDArray[Any], *, whole: bool) -> str:
    found = values[np.isfinite(values)]
    require(found.size > 0, f"{path}: no finite value in it")
    low, high = float(found.min()), float(found.max())
    if low >= 0 and high <= 1:
        return PROBABILITY
    require(
        not whole, f"{path}: whole numbers up to {high:g} are no probabilities; give a map with its scale, or --kind logit"
    )
    return LOGIT


def _flat(image: Image, grid: Image) -> Image:
    """A single slice as an image of two axes, where the labels have two."""
    if len(image.shape) == len(grid.shape):
        return image
    single = len(grid.shape) == 2 and image.shape[0] == 1
    require(single, f"{image.names[0]}: wanted {len(grid.shape)} spatial axes, as the labels have, got {len(image.shape)}")
    direction = tuple(tuple(row[1:]) for row in image.direction[1:])
    return Image(image.data[:, 0], image.names, image.units, image.spacing_m[1:], image.origin_m[1:], image.frame, direction)
