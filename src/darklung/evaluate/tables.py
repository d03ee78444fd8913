"""The tables of one arm on one split, and how a subject's maps become its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.evaluate.dice import DICE_COLUMNS, dice_table
from darklung.evaluate.froc import (
    CANDIDATE_COLUMNS,
    LESION_COLUMNS,
    TOLERANCE_M,
    candidate_table,
    lesion_table,
    matched_candidates,
)
from darklung.evaluate.outlines import OUTLINE_COLUMNS, outline_table
from darklung.evaluate.tiles import LOWEST_SCORE, TILE_COLUMNS, TILE_M, tile_table
from darklung.evaluate.truth import Truth, with_unknown_candidates, without_unknown_tiles

# The parts of `ArmTables` whose rows belong to subjects.
OF_SUBJECTS = ("tiles", "voxels", "candidates", "lesions", "outlines")


@dataclass(frozen=True)
class ArmTables:
    """What an arm predicted, in the units of evaluation.

    Parameters
    ----------
    tiles : DataFrame
        Detection units, from `darklung.evaluate.tiles.tile_table`.
    voxels : DataFrame
        Overlap counts by subject, from `darklung.evaluate.dice.dice_table`.
    candidates : DataFrame, optional
        From `darklung.evaluate.froc.candidate_table`; without it there is no FROC.
    lesions : DataFrame, optional
        All lesions, from `darklung.evaluate.froc.lesion_table`; needed with `candidates`.
    outlines : DataFrame, optional
        Lesions and what was outlined, one by one, from `darklung.evaluate.outlines.outline_table`.
    outlined : bool
        Whether anything outlines lesions voxel by voxel; a table of candidates does not, and has no Dice.
    detected : bool
        Whether candidates are of a detection head, whose scores are on another scale than those of tiles.
    """

    tiles: pd.DataFrame
    voxels: pd.DataFrame
    candidates: pd.DataFrame | None = None
    lesions: pd.DataFrame | None = None
    outlined: bool = True
    outlines: pd.DataFrame | None = None
    detected: bool = False

    def __post_init__(self) -> None:
        require((self.candidates is None) == (self.lesions is None), "candidates, lesions: wanted both or neither")
        wanted = {"tiles": TILE_COLUMNS, "voxels": DICE_COLUMNS, "candidates": CANDIDATE_COLUMNS, "lesions": LESION_COLUMNS}
        wanted["outlines"] = OUTLINE_COLUMNS
        for name, columns in wanted.items():
            table = getattr(self, name)
            missing = [] if table is None else [c for c in columns if c not in table.columns]
            require(not missing, f"{name}: columns {missing} are missing")


def subject_tables(
    *,
    subject: str,
    logits: NDArray,
    truth: Truth,
    region: NDArray[np.bool_],
    spacing_m: Sequence[float],
    tile_m: float = TILE_M,
    origin_m: Sequence[float] | None = None,
) -> ArmTables:
    """All tables of one subject from the logits of one arm; parameters as in `tile_table`.

    What is unknown counts nowhere: a tile with unknown voxels and no known lesion is dropped, a candidate on unknown voxels
    counts neither way, and neither logits nor labels of unknown voxels enter any number.

    Raises
    ------
    DarklungError
        Maps that do not fit each other, or a subject of whose lung nothing is known.
    """
    known, counted = truth.known_in(subject, region)
    maps: dict[str, Any] = {"instances": known.instances, "insertions": known.insertions, "region": counted}
    common: dict[str, Any] = {"subject": subject, "logits": logits, "spacing_m": spacing_m, **maps}
    lesion = np.isin(known.instances, [i.number for i in known.insertions if i.kind == "lesion"])
    candidates = candidate_table(**common)
    return ArmTables(
        tiles=subject_tiles(
            subject=subject, logits=logits, truth=truth, region=region, spacing_m=spacing_m, tile_m=tile_m, origin_m=origin_m
        ),
        voxels=dice_table(subject=subject, logits=logits, target=lesion, region=counted),
        candidates=with_unknown_candidates(candidates, known.unknown, spacing_m=spacing_m, tolerance_m=TOLERANCE_M),
        lesions=lesion_table(subject=subject, insertions=known.insertions),
        outlines=outline_table(**common),
    )


def subject_tiles(
    *,
    subject: str,
    logits: NDArray,
    truth: Truth,
    region: NDArray[np.bool_],
    spacing_m: Sequence[float],
    tile_m: float = TILE_M,
    origin_m: Sequence[float] | None = None,
) -> pd.DataFrame:
    """The tile rows of `subject_tables` alone."""
    known, counted = truth.known_in(subject, region)
    tiles = tile_table(
        subject=subject,
        logits=logits,
        instances=known.instances,
        insertions=known.insertions,
        region=counted,
        spacing_m=spacing_m,
        tile_m=tile_m,
        origin_m=origin_m,
    )
    return without_unknown_tiles(tiles, known.unknown, spacing_m=spacing_m, tile_m=tile_m)


def listed_tables(
    *,
    subject: str,
    places: NDArray[np.int64],
    scores: NDArray[np.float64],
    truth: Truth,
    region: NDArray[np.bool_],
    spacing_m: Sequence[float],
    tile_m: float = TILE_M,
    origin_m: Sequence[float] | None = None,
) -> ArmTables:
    """All tables of one subject from a list of candidates; other parameters as in `subject_tables`.

    A tile's score is that of its best candidate; tiles without any share the lowest. Candidates outside the known part of
    the region count neither way, as logits there do. Nothing is outlined, so that there is no Dice.

    Parameters
    ----------
    places : (candidate, axis) int64
        Voxels.
    scores : (candidate,) float64

    Raises
    ------
    DarklungError
        Scores that are not finite or below the lowest, voxels off the grid.
    """
    known, counted = truth.known_in(subject, region)
    on = bool(((places >= 0) & (places < region.shape)).all())
    require(on, f"{subject}: candidates: wanted voxels of a grid of shape {region.shape}")
    fits = bool((np.isfinite(scores) & (scores > LOWEST_SCORE)).all())
    require(fits, f"{subject}: candidates: wanted finite scores above {LOWEST_SCORE:g}")
    best = np.full(region.shape, LOWEST_SCORE)
    np.maximum.at(best, tuple(places.T), scores)
    maps: dict[str, Any] = {"instances": known.instances, "insertions": known.insertions, "spacing_m": spacing_m}
    tiles = tile_table(subject=subject, logits=best, region=counted, **maps, tile_m=tile_m, origin_m=origin_m, robust_m=0.0)
    inside = counted[tuple(places.T)]
    candidates = matched_candidates(subject=subject, places=places[inside], scores=scores[inside], **maps)
    lesion = np.isin(known.instances, [i.number for i in known.insertions if i.kind == "lesion"])
    nothing = np.full(region.shape, -1.0)
    return ArmTables(
        tiles=without_unknown_tiles(tiles, known.unknown, spacing_m=spacing_m, tile_m=tile_m),
        voxels=dice_table(subject=subject, logits=nothing, target=lesion, region=counted),
        candidates=with_unknown_candidates(candidates, known.unknown, spacing_m=spacing_m, tolerance_m=TOLERANCE_M),
        lesions=lesion_table(subject=subject, insertions=known.insertions),
        outlined=False,
    )


def join_tables(parts: Iterable[ArmTables]) -> ArmTables:
    """The tables of several subjects as one, each subject once."""
    items = list(parts)
    require(len(items) >= 1, "tables: wanted at least one subject, got none")
    subjects = [s for item in items for s in item.voxels["subject"]]
    require(len(set(subjects)) == len(subjects), "tables: a subject comes twice")
    outlined = all(item.outlined for item in items)
    joined: dict[str, Any] = {name: _joined_part(items, name) for name in OF_SUBJECTS}
    if joined["candidates"] is None or joined["lesions"] is None:
        joined |= {"candidates": None, "lesions": None}
    return ArmTables(**joined, outlined=outlined, detected=any(item.detected for item in items))


def _joined_part(items: Sequence[ArmTables], name: str) -> pd.DataFrame | None:
    """One table of all subjects; None where any has none."""
    parts = [getattr(item, name) for item in items]
    return None if any(p is None for p in parts) else _joined(parts)


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    full = [p for p in parts if len(p)]
    return pd.concat(full or parts[:1], ignore_index=True)
