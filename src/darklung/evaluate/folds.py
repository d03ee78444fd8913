"""Evaluation of cross-validation in which every animal is tested once, each fold by a model of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from darklung.core.checks import require
from darklung.evaluate.calibration import fit_logistic
from darklung.evaluate.roc import threshold_at_specificity
from darklung.evaluate.tables import ArmTables

# Room for the tiles and insertions of one image in the numbers of its animal.
TILES_AN_IMAGE, NUMBERS_AN_IMAGE = 10**6, 10**4


def align_fold(validation: ArmTables, test: ArmTables, *, specificity: float) -> tuple[ArmTables, ArmTables]:
    """Put the scores of one fold on a scale that all folds share, by its validation animals alone.

    score' = b (score − t): t is the fold's threshold of the given specificity on its validation units, b the slope of its
    logistic curve there. At 0 every fold then has that specificity on validation, and scores of different models may be
    pooled; the order within a fold does not change. The fold's test animals are neither in t nor in b.

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

    def aligned(tables: ArmTables) -> ArmTables:
        return replace(tables, tiles=tables.tiles.assign(score=slope * (tables.tiles["score"] - threshold)))

    return aligned(validation), aligned(test)


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
    tables = {n: getattr(image, n) for n in ("tiles", "voxels", "candidates", "lesions")}
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
    return ArmTables(tiles=pd.concat(tiles, ignore_index=True), voxels=summed, outlined=outlined)
