"""The detection unit: tiles of the lung, one positive tile a lesion, the rest negatives.

Rules, none of which looks at a score (docs/decisions/071-detection-unit.md):

1. The grid is fixed by the image. A tile counts if at least a quarter of it is lung region.
2. A lesion makes one tile positive, the one that holds most of its voxels in the region (among tiles that count, if it
   touches one), so positives are lesions, large or small; lesions that share a tile have a row each, with its score. All
   other tiles with a voxel of a lesion are left out: they are neither free of lesion nor the lesion's own.
3. A mimic makes one tile a negative of kind "mimic" in the same way; further tiles that it touches are left out. The tile at
   a sham's centre is a negative of kind "sham". Every other tile is a negative of kind "tile".
4. A lesion outside the region keeps its row, with the lowest score: the region's failure is a miss, not an excuse.

What is unknown is taken away before and after, see `darklung.evaluate.truth`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darklung.core.types import Insertion
from darklung.evaluate.units import center_index, check_maps, tile_numbers

TILE_M = 2e-3
REGION_SHARE = 0.25  # of a tile that must be lung
ROBUST_M = 0.3e-3  # a tile's score is the mean of its largest logits over a cube (square) of this side
LOWEST_SCORE = -65504.0

TILE_COLUMNS = ("subject", "tile", "kind", "label", "score", "number", "tissue", "diameter_m", "reachable")


@dataclass(frozen=True)
class _Grid:
    """Tile numbers of the region's voxels and what each tile holds."""

    tiles: NDArray[np.int64]  # (*spatial)
    counts: NDArray[np.int64]  # region voxels of each tile
    eligible: NDArray[np.bool_]


def tile_table(
    *,
    subject: str,
    logits: NDArray,
    instances: NDArray,
    insertions: Sequence[Insertion],
    region: NDArray[np.bool_],
    spacing_m: Sequence[float],
    tile_m: float = TILE_M,
    origin_m: Sequence[float] | None = None,
    robust_m: float = ROBUST_M,
) -> pd.DataFrame:
    """Rows of the detection units of one subject (see the module for the rules).

    Parameters
    ----------
    subject : str
        The animal.
    logits : (*spatial) float
    instances : (*spatial) int
        Number of the lesion or mimic at each voxel, else 0.
    insertions : sequence of Insertion
        Lesions, mimics and shams of the subject.
    region : (*spatial) bool
        Where the lung is.
    spacing_m : one a spatial axis [m]
    tile_m : float
        Side of a tile [m].
    origin_m : one a spatial axis, optional
        Centre of the first voxel, to find the shams [m]; a grid centred on zero by default.
    robust_m : float
        A tile's score is the mean of its largest logits over a cube (square) of this side; 0 for the largest alone [m].

    Returns
    -------
    DataFrame
        ``subject``, ``tile`` (number on the grid; −number of the lesion if it lies outside the region), ``kind`` ("lesion",
        "mimic", "sham", "tile"), ``label`` (1 for lesions), ``score`` (robust maximum of the logits), ``number``,
        ``tissue``, ``diameter_m`` (of the insertion; 0, "" and NaN for a plain tile), ``reachable`` (lesion meets region).
    """
    check_maps(logits=logits, instances=instances, insertions=insertions, region=region, spacing_m=spacing_m)
    numbers, volume = tile_numbers(shape=region.shape, spacing_m=spacing_m, tile_m=tile_m)
    counts = np.bincount(numbers[region], minlength=int(numbers.max()) + 1)
    grid = _Grid(numbers, counts, counts >= max(1, REGION_SHARE * volume))
    homes = {i.number: _home(grid, (instances == i.number) & region) for i in insertions if i.kind != "sham"}
    for insertion in insertions:
        if insertion.kind == "sham":
            homes[insertion.number] = _sham_home(grid, insertion, region, spacing_m, origin_m)
    owner = _owners(grid, instances, insertions, homes)
    top = max(1, round(float(np.prod([robust_m / d for d in spacing_m]))))
    scores = _robust_maximum(grid.tiles[region], np.asarray(logits)[region], top, len(counts))
    rows = [_row(subject, tile, one, scores) for tile in sorted(owner) for one in owner[tile]]
    lost = [i for i in insertions if i.kind == "lesion" and homes[i.number] is None]
    rows.extend(_lost_row(subject, i) for i in lost)
    return _frame(rows)


def tile_scores(
    *, logits: NDArray, region: NDArray[np.bool_], spacing_m: Sequence[float], tile_m: float = TILE_M
) -> NDArray[np.float64]:
    """Score of the tile that each voxel lies in, (*spatial), as `tile_table` has it; NaN where a tile holds no region."""
    numbers, _ = tile_numbers(shape=region.shape, spacing_m=spacing_m, tile_m=tile_m)
    top = max(1, round(float(np.prod([ROBUST_M / d for d in spacing_m]))))
    scores = _robust_maximum(numbers[region], np.asarray(logits)[region], top, int(numbers.max()) + 1)
    return np.asarray(scores[numbers])


def _home(grid: _Grid, voxels: NDArray[np.bool_]) -> int | None:
    """The tile with most of `voxels`, among those that count if any of them does; None without a voxel."""
    if not voxels.any():
        return None
    held = np.bincount(grid.tiles[voxels], minlength=len(grid.counts))
    eligible = np.where(grid.eligible, held, 0)
    return int(np.argmax(eligible if eligible.any() else held))


def _sham_home(
    grid: _Grid, sham: Insertion, region: NDArray, spacing_m: Sequence[float], origin_m: Sequence[float] | None
) -> int | None:
    index = center_index(insertion=sham, shape=region.shape, spacing_m=spacing_m, origin_m=origin_m)
    if index is None:
        return None
    tile = int(grid.tiles[index])
    return tile if grid.eligible[tile] else None


def _owners(
    grid: _Grid, instances: NDArray, insertions: Sequence[Insertion], homes: Mapping[int, int | None]
) -> dict[int, list[Insertion | None]]:
    """What each unit stands for; a lesion goes before a mimic, a mimic before a sham, a larger mimic before a smaller."""
    owner: dict[int, list[Insertion | None]] = {int(t): [None] for t in np.flatnonzero(grid.eligible)}
    touched = set(np.unique(grid.tiles[instances > 0]).tolist())
    for tile in touched:
        owner.pop(tile, None)
    lesions = np.isin(instances, [i.number for i in insertions if i.kind == "lesion"])
    with_lesion = set(np.unique(grid.tiles[lesions]).tolist())
    rank = {"sham": 0, "mimic": 1, "lesion": 2}
    for insertion in sorted(insertions, key=lambda i: (rank[i.kind], i.diameter_m, i.number)):
        home = homes[insertion.number]
        blocked = with_lesion if insertion.kind == "mimic" else touched if insertion.kind == "sham" else set()
        if home is not None and home not in blocked:
            others = [o for o in owner.get(home, []) if o is not None and o.kind == insertion.kind == "lesion"]
            owner[home] = [*others, insertion]
    return owner


def _robust_maximum(tiles: NDArray, values: NDArray, top: int, count: int) -> NDArray[np.float64]:
    """Mean of the `top` largest values of each tile (of all, where there are fewer); NaN for tiles without a value."""
    order = np.lexsort((-values, tiles))
    tiles, values = tiles[order], values[order].astype(np.float64)
    first = np.searchsorted(tiles, tiles, side="left")
    use = np.arange(len(tiles)) - first < top
    sums = np.bincount(tiles[use], weights=values[use], minlength=count)
    found = np.bincount(tiles[use], minlength=count)
    return np.divide(sums, found, out=np.full(count, np.nan), where=found > 0)


def _row(subject: str, tile: int, owner: Insertion | None, scores: NDArray) -> tuple:
    if owner is None:
        return (subject, tile, "tile", 0, scores[tile], 0, "", np.nan, True)
    label = int(owner.kind == "lesion")
    return (subject, tile, owner.kind, label, scores[tile], owner.number, owner.tissue, owner.diameter_m, True)


def _lost_row(subject: str, lesion: Insertion) -> tuple:
    return (subject, -lesion.number, "lesion", 1, LOWEST_SCORE, lesion.number, lesion.tissue, lesion.diameter_m, False)


def _frame(rows: list[tuple]) -> pd.DataFrame:
    types = {"tile": np.int64, "label": np.int8, "score": np.float64, "number": np.int64, "diameter_m": np.float64}
    frame = pd.DataFrame(rows, columns=list(TILE_COLUMNS))
    return frame.astype({**types, "reachable": bool})
