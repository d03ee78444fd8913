"""What is known of a subject: insertions, where they lie, and where nobody knows. What is unknown counts neither way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from darklung.core.checks import check_shape, require
from darklung.core.types import Insertion
from darklung.evaluate.units import tile_numbers


@dataclass(frozen=True)
class Truth:
    """The truth of one subject.

    Parameters
    ----------
    instances : (*spatial) int
        Number of the lesion or mimic at each voxel, else 0.
    insertions : sequence of Insertion
        Lesions, mimics and shams. A lesion without any voxel lies outside the image and is missed.
    unknown : (*spatial) bool, optional
        Voxels that may be lesion or not; none by default.
    """

    instances: NDArray
    insertions: Sequence[Insertion]
    unknown: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.unknown is not None:
            check_shape("unknown", self.unknown, "*spatial", self.instances.shape)
            require(self.unknown.dtype == bool, f"unknown: wanted bool, got {self.unknown.dtype}")

    def known_in(self, subject: str, region: NDArray[np.bool_]) -> tuple[Truth, NDArray[np.bool_]]:
        """The truth that can be scored, and the part of the region that is known.

        Unknown voxels belong to no instance. A lesion of which the region holds unknown voxels alone is nobody's miss: it
        leaves the list, while one without any voxel in the region stays.

        Raises
        ------
        DarklungError
            Nothing is known in the region.
        """
        if self.unknown is None or not self.unknown.any():
            return self, region
        counted = region & ~self.unknown
        require(bool(counted.any()), f"{subject}: nothing is known of its lung; it can be predicted, but not evaluated")
        seen = set(np.unique(self.instances[region]).tolist()) - set(np.unique(self.instances[counted]).tolist())
        left = tuple(i for i in self.insertions if i.kind != "lesion" or i.number not in seen)
        kept = np.isin(self.instances, [i.number for i in left]) & ~self.unknown
        return Truth(np.where(kept, self.instances, 0), left, self.unknown & region), counted


def without_unknown_tiles(
    tiles: pd.DataFrame, unknown: NDArray[np.bool_] | None, *, spacing_m: Sequence[float], tile_m: float
) -> pd.DataFrame:
    """Rows of `darklung.evaluate.tiles.tile_table` without tiles that hold unknown voxels and no known lesion."""
    if unknown is None or not unknown.any():
        return tiles
    numbers, _ = tile_numbers(shape=unknown.shape, spacing_m=spacing_m, tile_m=tile_m)
    doubtful = tiles["tile"].isin(np.unique(numbers[unknown])) & (tiles["label"] == 0)
    return tiles[~doubtful].reset_index(drop=True)


def with_unknown_candidates(
    candidates: pd.DataFrame, unknown: NDArray[np.bool_] | None, *, spacing_m: Sequence[float], tolerance_m: float
) -> pd.DataFrame:
    """Candidates near unknown voxels as kind ``"unknown"``, which counts neither way, unless they hit a known lesion.

    Near is what would be a hit if the voxel were lesion: `tolerance_m`, or at least the largest voxel side.
    """
    if unknown is None or not unknown.any() or not len(candidates):
        return candidates
    away = distance_transform_edt(~unknown, sampling=spacing_m)
    places = tuple(candidates[f"axis{a}"].to_numpy(dtype=np.int64) for a in range(unknown.ndim))
    near = (away[places] <= max(tolerance_m, *spacing_m) * (1 + 1e-6)) & (candidates["kind"] != "lesion").to_numpy()
    return candidates.assign(
        kind=np.where(near, "unknown", candidates["kind"]), number=np.where(near, 0, candidates["number"])
    )
