"""Folds on one scale: tested each by its own model, or all by their mean; and images joined to animals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.evaluate.calibration import fit_logistic
from darklung.evaluate.roc import threshold_at_specificity
from darklung.evaluate.tables import OF_SUBJECTS, ArmTables
from darklung.evaluate.tiles import LOWEST_SCORE

# Room for the tiles and insertions (uint16) of one image in the numbers of its animal.
TILES_AN_IMAGE, NUMBERS_AN_IMAGE = 10**9, 10**5


def align_fold(validation: ArmTables, test: ArmTables, *, specificity: float) -> tuple[ArmTables, ArmTables]:
    """Put the scores of one fold on a scale that all folds share, by its validation animals alone.

    score' = b (score − t): t is the fold's threshold of the given specificity on its validation units, b the slope of its
    logistic curve there. At 0 every fold then has that specificity on validation, and scores of different models may be
    pooled; the order within a fold does not change. The fold's test animals are neither in t nor in b. Candidates of the
    fold go by the same rule, those of a detection head by their own: 0 where that specificity is among its validation
    candidates that hit no lesion, −1 at their median; without such there are no candidates.

    Raises
    ------
    DarklungError
        Validation units without positives or without negatives.
    """
    reached = validation.tiles[validation.tiles["reachable"]]
    scores, labels = reached["score"].to_numpy(), reached["label"].to_numpy()
    n, m = int((labels == 1).sum()), int((labels == 0).sum())
    require(n > 0 and m > 0, f"validation units of a fold: wanted positives and negatives, got {n} and {m}")
    threshold = threshold_at_specificity(scores=scores, labels=labels, specificity=specificity)
    # A fold whose scores tell nothing has a slope of about 0; its order is kept all the same.
    curve = fit_logistic(scores=scores, labels=labels)
    slope = max(curve.slope / curve.scale, 1e-3)

    def aligned(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(score=slope * (table["score"] - threshold))

    head = _false_scale(validation, specificity) if validation.detected or test.detected else None

    def both(tables: ArmTables) -> ArmTables:
        moved = replace(tables, tiles=aligned(tables.tiles))
        if tables.candidates is None:
            return moved
        if not tables.detected:
            return replace(moved, candidates=aligned(tables.candidates))
        return _with_candidates(moved, None if head is None else _scaled(tables.candidates, head))

    return both(validation), both(test)


def _with_candidates(tables: ArmTables, candidates: pd.DataFrame | None) -> ArmTables:
    return replace(tables, candidates=candidates, lesions=None if candidates is None else tables.lesions)


def _false_scale(tables: ArmTables, specificity: float) -> tuple[float, float] | None:
    """As `_negative_scale`, of candidates that hit no lesion; None without any."""
    if tables.candidates is None:
        return None
    false = tables.candidates[tables.candidates["kind"].isin(("none", "mimic"))]
    return _negative_scale(false.assign(label=0), specificity) if len(false) else None


def _scaled(table: pd.DataFrame, scale: tuple[float, float]) -> pd.DataFrame:
    return table.assign(score=(table["score"].to_numpy(dtype=np.float64) - scale[0]) / scale[1])


def on_the_mean(
    validation: Mapping[int, ArmTables],
    members: Mapping[int, pd.DataFrame],
    mean: pd.DataFrame,
    *,
    specificity: float,
    own: Mapping[int, pd.DataFrame | None] | None = None,
    candidates: pd.DataFrame | None = None,
) -> dict[int, ArmTables]:
    """Validation units of the folds' models on the scale of the mean of these models, which is what test animals get.

    A mean of several models varies less than one of them: of the same images, fewer tiles reach a threshold that was
    fixed on single models. (1) Each fold's scores are moved and scaled so that its validation negatives have their
    quantile of the given specificity at 0, and their median at −1. (2) On the images that the mean was computed for,
    quantiles of the folds' own scores, so aligned and pooled, are mapped to quantiles of the mean's. (3) The validation
    units go the same way. No label of those images is used, and the order within a fold does not change. What is kept is
    how many tiles are called, not how good the calls are.

    Candidates go with the tiles; those of a detection head, whose map is another, go the same three steps by themselves,
    with candidates that hit no lesion for negatives. Where these or `own` are missing the arm has no validation candidates.

    Parameters
    ----------
    validation : mapping fold -> ArmTables
        Of animals that the fold's model was not trained on.
    members : mapping fold -> DataFrame
        Tile rows of the other images by the fold's model alone.
    mean : DataFrame
        Tile rows of the same images by the mean.
    specificity : float
    own : mapping fold -> DataFrame or None, optional
        Candidates of the mean with the scores that the fold's model alone gives them.
    candidates : DataFrame, optional
        The same with the mean's scores.
    """
    scales = {fold: _negative_scale(tables.tiles, specificity) for fold, tables in validation.items()}
    seen = {fold: table[table["reachable"]] for fold, table in members.items()}
    knots = _knots(scales, seen, mean[mean["reachable"]])
    heads = {fold: _false_scale(tables, specificity) for fold, tables in validation.items() if tables.detected}
    head_knots = _head_knots(heads, own or {}, candidates) if heads else None

    def moved(table: pd.DataFrame, scale: tuple[float, float], at: tuple[NDArray, NDArray]) -> pd.DataFrame:
        aligned = _scaled(table, scale)
        return aligned.assign(score=_follow(aligned["score"].to_numpy(), *at))

    found = {}
    for fold, tables in validation.items():
        lost = ~tables.tiles["reachable"]
        tiles = moved(tables.tiles, scales[fold], knots)
        tiles["score"] = tiles["score"].mask(lost, LOWEST_SCORE)
        scale, at = (heads.get(fold), head_knots) if tables.detected else (scales[fold], knots)
        known = tables.candidates is not None and scale is not None and at is not None
        own_scale = moved(tables.candidates, scale, at) if known else None  # type: ignore[arg-type]
        found[fold] = _with_candidates(replace(tables, tiles=tiles), own_scale)
    return found


def _head_knots(
    scales: Mapping[int, tuple[float, float] | None],
    own: Mapping[int, pd.DataFrame | None],
    mean: pd.DataFrame | None,
) -> tuple[NDArray, NDArray] | None:
    """`_knots` of candidates; None where a fold has no scale, or nobody knows what the models alone say of them."""
    known = {fold: scale for fold, scale in scales.items() if scale is not None}
    seen = {fold: table for fold, table in own.items() if table is not None and fold in known}
    complete = len(known) == len(seen) == len(scales)
    return _knots(known, seen, mean) if complete and mean is not None and len(mean) else None


def _knots(
    scales: Mapping[int, tuple[float, float]], seen: Mapping[int, pd.DataFrame], mean: pd.DataFrame
) -> tuple[NDArray, NDArray]:
    """From quantiles of the folds' own scores, aligned and pooled, to those of the mean's."""
    single = [_scaled(table, scales[fold])["score"].to_numpy() for fold, table in seen.items()]
    return _quantile_map(np.concatenate(single), mean["score"].to_numpy())


def _negative_scale(tiles: pd.DataFrame, specificity: float) -> tuple[float, float]:
    """Threshold of the negatives, and its distance from their median; 1 where a single score, or one of all, tells none."""
    negative = tiles["score"][tiles["label"] == 0].to_numpy(dtype=np.float64)
    threshold = threshold_at_specificity(scores=negative, labels=np.zeros(len(negative), int), specificity=specificity)
    middle = float(np.median(negative))
    # The threshold lies a rounding above its score, so that the distance is never 0.
    return threshold, threshold - middle if threshold > np.nextafter(middle, np.inf) else 1.0


def _quantile_map(single: NDArray[np.float64], mean: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Places of the same quantiles in both, rising."""
    at = (np.arange(len(mean)) + 0.5) / len(mean)
    before = np.interp(at, (np.arange(len(single)) + 0.5) / len(single), np.sort(single))
    places, first = np.unique(before, return_index=True)
    return places, np.sort(mean)[first]


def _follow(values: NDArray[np.float64], places: NDArray, targets: NDArray) -> NDArray[np.float64]:
    """Linear between the places; beyond them with the slope from the first to the last."""
    span = float(places[-1] - places[0])
    slope = float(targets[-1] - targets[0]) / span if span > 0 else 1.0
    beyond = np.minimum(values - places[0], 0) + np.maximum(values - places[-1], 0)
    return np.asarray(np.interp(values, places, targets) + (slope or 1.0) * beyond)


def by_animal(parts: Sequence[ArmTables], animals: Mapping[str, str]) -> list[ArmTables]:
    """Tables of images joined to tables of animals, so that intervals resample animals and not images.

    Tile and insertion numbers of different images are kept apart. An animal with several images has no FROC, since its
    false positives are counted an image; one with a single image keeps it under its own name.

    Parameters
    ----------
    parts : sequence of ArmTables
        One image each.
    animals : mapping
        Image (the tables' subject) -> animal.
    """
    grouped: dict[str, list[ArmTables]] = {}
    for part in parts:
        grouped.setdefault(animals[str(part.voxels["subject"].iloc[0])], []).append(part)
    return [_animal(name, images) for name, images in grouped.items()]


def of_image(tile: int, number: int) -> tuple[int, int, int]:
    """Which image of its animal a row of `by_animal` is of, from 0 on, and its tile and insertion number there."""
    image = abs(tile) // TILES_AN_IMAGE
    moved = image * TILES_AN_IMAGE
    return image, tile - moved if tile >= 0 else tile + moved, number - image * NUMBERS_AN_IMAGE if number > 0 else number


def _named(image: ArmTables, name: str) -> ArmTables:
    """The tables of one image under its animal's name."""
    if image.voxels["subject"].iloc[0] == name:
        return image
    tables = {n: getattr(image, n) for n in OF_SUBJECTS}
    renamed: dict[str, Any] = {n: t.assign(subject=name) for n, t in tables.items() if t is not None}
    return replace(image, **renamed)


def _animal(name: str, images: Sequence[ArmTables]) -> ArmTables:
    if len(images) == 1:
        return _named(images[0], name)
    tiles = []
    for i, image in enumerate(images):
        shift = image.tiles["number"].gt(0) * (i * NUMBERS_AN_IMAGE)
        # Lesions outside the region have negative tile numbers; they move away from zero too.
        sign = image.tiles["tile"].ge(0) * 2 - 1
        tile = image.tiles["tile"] + sign * i * TILES_AN_IMAGE
        tiles.append(image.tiles.assign(subject=name, number=image.tiles["number"] + shift, tile=tile))
    voxels = pd.concat([image.voxels for image in images], ignore_index=True)
    counts = voxels.drop(columns="subject").sum()
    summed = pd.DataFrame([{"subject": name, **{k: int(v) for k, v in counts.items()}}])[list(voxels.columns)]
    outlined = all(image.outlined for image in images)
    outlines = [i.outlines.assign(subject=name) for i in images if i.outlines is not None]
    joined = pd.concat(outlines, ignore_index=True) if outlines else None
    return ArmTables(pd.concat(tiles, ignore_index=True), summed, outlined=outlined, outlines=joined)
