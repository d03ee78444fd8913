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

# Room for the tiles and insertions of one image in the numbers of its animal.
TILES_AN_IMAGE, NUMBERS_AN_IMAGE = 10**6, 10**4


def align_fold(validation: ArmTables, test: ArmTables, *, specificity: float) -> tuple[ArmTables, ArmTables]:
    """Put the scores of one fold on a scale that all folds share, by its validation animals alone.

    score' = b (score − t): t is the fold's threshold of the given specificity on its validation units, b the slope of its
    logistic curve there. At 0 every fold then has that specificity on validation, and scores of different models may be
    pooled; the order within a fold does not change. The fold's test animals are neither in t nor in b. Candidates of the
    fold go by the same rule.

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

    def both(tables: ArmTables) -> ArmTables:
        candidates = None if tables.candidates is None else aligned(tables.candidates)
        return replace(tables, tiles=aligned(tables.tiles), candidates=candidates)

    return both(validation), both(test)


def on_the_mean(
    validation: Mapping[int, ArmTables], members: Mapping[int, pd.DataFrame], mean: pd.DataFrame, *, specificity: float
) -> dict[int, ArmTables]:
    """Validation units of the folds' models on the scale of the mean of these models, which is what test animals get.

    A mean of several models varies less than one of them: of the same images, fewer tiles reach a threshold that was
    fixed on single models. (1) Each fold's scores are moved and scaled so that its validation negatives have their
    quantile of the given specificity at 0, and their median at −1. (2) On the images that the mean was computed for,
    quantiles of the folds' own scores, so aligned and pooled, are mapped to quantiles of the mean's. (3) The validation
    units go the same way. No label of those images is used, and the order within a fold does not change. What is kept is
    how many tiles are called, not how good the calls are.

    Parameters
    ----------
    validation : mapping fold -> ArmTables
        Of animals that the fold's model was not trained on.
    members : mapping fold -> DataFrame
        Tile rows of the other images by the fold's model alone.
    mean : DataFrame
        Tile rows of the same images by the mean.
    specificity : float
    """
    scales = {fold: _negative_scale(tables.tiles, specificity) for fold, tables in validation.items()}
    single = [(t["score"][t["reachable"]] - scales[f][0]).to_numpy() / scales[f][1] for f, t in members.items()]
    knots = _quantile_map(np.concatenate(single), mean["score"][mean["reachable"]].to_numpy())

    def moved(table: pd.DataFrame, fold: int) -> pd.DataFrame:
        aligned = (table["score"].to_numpy(dtype=np.float64) - scales[fold][0]) / scales[fold][1]
        return table.assign(score=_follow(aligned, *knots))

    found = {}
    for fold, tables in validation.items():
        candidates = None if tables.candidates is None else moved(tables.candidates, fold)
        lost = ~tables.tiles["reachable"]
        tiles = moved(tables.tiles, fold)
        tiles["score"] = tiles["score"].mask(lost, LOWEST_SCORE)
        found[fold] = replace(tables, tiles=tiles, candidates=candidates)
    return found


def _negative_scale(tiles: pd.DataFrame, specificity: float) -> tuple[float, float]:
    """Threshold of the negatives, and its distance from their median."""
    negative = tiles["score"][tiles["label"] == 0].to_numpy(dtype=np.float64)
    threshold = threshold_at_specificity(scores=negative, labels=np.zeros(len(negative), int), specificity=specificity)
    return threshold, (threshold - float(np.median(negative))) or 1.0


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
