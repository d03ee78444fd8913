"""A trained feature observer: channels of a case in, logits of its region out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.learn.data import OUTSIDE_LOGIT, Case, Normalisation
from darklung.learn.filters import voxel_features
from darklung.learn.trees import Forest

BOOSTING = "boosting"  # what model.json says under `observer`


@dataclass(frozen=True)
class BoostedModel:
    """Trees, with what makes their features.

    Parameters
    ----------
    forest : Forest
    normalisation : Normalisation
        Of the arm's channels.
    scales_m : tuple of float
        Of the filters [m].
    description : dict
        What model.json holds.
    """

    forest: Forest
    normalisation: Normalisation
    scales_m: tuple[float, ...]
    description: dict[str, Any]

    def logits(self, case: Case) -> NDArray[np.float32]:
        """Logit of every voxel of the region, (*spatial) float32; `OUTSIDE_LOGIT` elsewhere."""
        return on_map(self.forest.logits(case_features(case, self.normalisation, self.scales_m)), case.region)


def case_features(case: Case, normalisation: Normalisation, scales_m: Sequence[float]) -> NDArray[np.float32]:
    """Features of the voxels of a case's region, (voxel, feature); see `darklung.learn.filters.voxel_features`."""
    data = normalisation.apply(case)
    spacing = case.image.spacing_m
    return voxel_features(data=data, region=case.region, lung=case.inside, spacing_m=spacing, scales_m=scales_m)


def on_map(values: NDArray, region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Values of the region's voxels on its grid, (*spatial) float32."""
    out = np.full(region.shape, OUTSIDE_LOGIT, dtype=np.float32)
    out[region] = values
    return out
