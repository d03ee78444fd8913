"""What a feature observer goes by: how much worse it tells lesion voxels when a feature is exchanged between voxels.

Permutation importance (Breiman 2001, doi:10.1023/A:1010933404324), on animals that nothing was learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.random import stream
from darklung.learn.filters import Feature
from darklung.learn.selection import auroc
from darklung.learn.trees import Forest
from darklung.learn.voxels import Drawn

REPEATS = 3


def importances(forest: Forest, drawn: Drawn | None, features: Sequence[Feature], seed: int) -> list[dict[str, Any]]:
    """One row a feature and one a channel (all of its features exchanged together), as JSON values.

    A row has ``channel``, ``kind`` (``all`` for a channel), ``scale_m`` and ``drop``: the loss of voxel AUROC, the mean of
    `REPEATS` permutations. Features that tell the same stand in for each other, so theirs are small; a channel's is not.

    Parameters
    ----------
    forest : Forest
    drawn : Drawn, optional
        Voxels of validation animals; without both classes among them there are no rows.
    features : sequence of Feature
        Columns of `drawn`.
    seed : int
    """
    if drawn is None or drawn.lesion.all() or not drawn.lesion.any():
        return []
    whole = _auroc(forest.logits(drawn.features), drawn.lesion)
    channels = dict.fromkeys(f.channel for f in features if f.channel)
    groups = [(Feature(c, "all"), [i for i, f in enumerate(features) if f.channel == c]) for c in channels]
    groups += [(feature, [i]) for i, feature in enumerate(features)]
    used = set(forest.feature.tolist())
    rows = []
    for feature, columns in groups:
        drop = whole - _exchanged(forest, drawn, columns, seed) if used & set(columns) else 0.0
        rows.append({"channel": feature.channel, "kind": feature.kind, "scale_m": feature.scale_m, "drop": round(drop, 6)})
    return rows


def _exchanged(forest: Forest, drawn: Drawn, columns: Sequence[int], seed: int) -> float:
    """Mean AUROC with some columns exchanged between voxels, the same way for all of them."""
    found = []
    for repeat in range(REPEATS):
        order = stream(seed, "importance", repeat).permutation(len(drawn.lesion))
        changed = drawn.features.copy()
        changed[:, columns] = drawn.features[order][:, columns]
        found.append(_auroc(forest.logits(changed), drawn.lesion))
    return float(np.mean(found))


def _auroc(scores: NDArray[np.float64], lesion: NDArray[np.bool_]) -> float:
    return auroc(scores[lesion], scores[~lesion]) or 0.0
