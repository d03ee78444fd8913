"""Labels that sections gave a volume: written as a labelled case, and compared with labels from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.types import UNKNOWN, Image
from darklung.features.labels import Truth, truth_of_labels
from darklung.features.lung import search_around
from darklung.io.case import CaseFacts, save_case
from darklung.io.labels import check_unknown, read_labels
from darklung.register.carry import Carried
from darklung.steps.cases import labelled

MARGIN_M = 1e-3


@dataclass(frozen=True)
class Agreed:
    """Carried labels beside others, where a section saw and the others are known.

    Parameters
    ----------
    dice : float
        Of probabilities of at least one half.
    dice_certain : float
        Outside of the band of unknown voxels.
    seen_mm3, carried_mm3, given_mm3 : float
        Volume that was seen, and of lesions in it.
    """

    dice: float
    dice_certain: float
    seen_mm3: float
    carried_mm3: float
    given_mm3: float


def save_labels(
    folder: Path,
    image: Image,
    lung: NDArray[np.bool_],
    labels: NDArray[np.uint8],
    *,
    subject: str,
    animal: str,
    told: Mapping[str, Any],
) -> None:
    """A labelled case of a volume: what no section saw is unknown.

    Parameters
    ----------
    folder : Path
    image : Image
    lung : (z, y, x) bool
    labels : (z, y, x) uint8
        0, 1 or 255.
    subject, animal : str
    told : mapping
        Where the labels come from.
    """

    def truth(box: tuple[slice, ...], grid: Image) -> Truth:
        return truth_of_labels(labels[box], grid)

    region = search_around(lung, spacing_m=image.spacing_m) & np.isfinite(image.data).all(axis=0)
    about = CaseFacts(subject, animal, source="sections", provenance=dict(told))
    case = labelled(image, lung, region, truth, about=about, margin_m=MARGIN_M, seed=0)
    save_case(folder, case)


def agreed(carried: Carried, labels: NDArray[np.uint8], path: Path, image: Image) -> Agreed:
    """Compare with labels in a file on the volume's grid.

    Raises
    ------
    DarklungError
        Another grid, or nothing that both know.
    """
    given = read_labels(path, like=image)
    check_unknown(given, str(path))
    both = carried.seen & (given != UNKNOWN)
    require(bool(both.any()), f"{path}: no voxel that a section saw is known in it")
    true, mine = (given > 0) & both, (carried.probability >= 0.5) & both
    sure = both & (labels != UNKNOWN)
    size = 1e9 * float(np.prod(image.spacing_m))
    volumes = (size * float(m.sum()) for m in (both, mine, true))
    return Agreed(_dice(mine, true), _dice(mine & sure, true & sure), *volumes)


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """1 where both are empty."""
    total = int(one.sum() + other.sum())
    return 1.0 if total == 0 else 2 * float((one & other).sum()) / total
