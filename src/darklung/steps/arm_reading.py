"""The predictions of one arm, read into tables: units of single models, of their mean, and its voxels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.types import BACKGROUND, LESION, UNKNOWN, Image
from darklung.io.case import LabelledCase
from darklung.io.names import CENTRE, MEMBER, own_channels

if TYPE_CHECKING:
    import pandas as pd

    from darklung.evaluate.histogram import LogitHistogram
    from darklung.evaluate.promises import Judges
    from darklung.evaluate.tables import ArmTables

SPLITS = ("validation", "test")
MEAN = -1  # stands for a fold where the mean of all folds' models was applied
SCALES = {
    "mean": "validation scores of the folds' models are on the scale of their mean, which test animals get",
    "folds": "scores of each fold are on the scale that its validation animals give",
    "none": "validation scores of the folds' models as they are",
    "apart": "scores of the folds' models as they are, since nothing puts them on one scale",
}
BLIND = "in a fold no tile of the validation animals is known to be free of lesions, or none has one"
"""Why no threshold is fixed, as where labels are known on sections alone."""


@dataclass
class ArmReading:
    """What was read of an arm.

    Parameters
    ----------
    images : mapping role -> fold -> list of ArmTables
    members : mapping fold -> list of DataFrame
        Tile rows of the images that the mean was computed for, by each of its models.
    voxels : mapping role -> LogitHistogram
    lung_ml : mapping name -> float
        Volume of the lung in each image of a volume [ml].
    judges : list of Judges
        Who ranked the test items, known once they are `pooled`.
    """

    images: dict[str, dict[int | None, list[ArmTables]]] = field(default_factory=dict)
    members: dict[int, list[pd.DataFrame]] = field(default_factory=dict)
    voxels: dict[str, LogitHistogram] = field(default_factory=dict)
    lung_ml: dict[str, float] = field(default_factory=dict)
    judges: list[Judges] = field(default_factory=list)

    def add(self, role: str, fold: int | None, name: str, image: Image, case: LabelledCase, tile_m: float) -> None:
        """Read one image's prediction by the model of a fold, or by the mean of all (None)."""
        own = self.images.setdefault(role, {}).setdefault(fold, [])
        own.append(image_tables(name, image, case, tile_m))
        if case.lung.ndim == 3:
            self.lung_ml[name] = 1e6 * float(case.lung.sum()) * float(np.prod(case.channels.spacing_m))
        counted = voxels_of(image.channel("logit"), case)
        self.voxels[role] = self.voxels[role] + counted if role in self.voxels else counted
        if fold is None and role == "test":
            members = [_tiles(name, image.channel(n), case, tile_m) for n in image.names if n.startswith(MEMBER)]
            for k, tiles in enumerate(members):
                self.members.setdefault(k, []).append(tiles)
            own[-1] = _with_members(own[-1], image, case, members)

    def scale(self) -> str:
        """A key of `SCALES`: how scores of different models come together."""
        if tested_by_fold(self.images):
            return "folds"
        return "mean" if set(self.members) == set(self.images["validation"]) else "none"

    def pooled(self, animals: Mapping[str, str], specificity: float) -> tuple[ArmTables | None, ArmTables]:
        """Validation and test tables of animals, with the fold whose model gave each score.

        Without validation where some fold has no tiles to fix a threshold on; scores are then as the models give them.
        """
        from darklung.evaluate.folds import align_fold, by_animal, on_the_mean
        from darklung.evaluate.tables import join_tables

        folds: dict[str, dict[Any, ArmTables]] = {
            role: {f: _of_fold(join_tables(by_animal(t, animals)), f) for f, t in self.images[role].items()}
            for role in SPLITS
        }
        scale = self.scale()
        own = {fold: _own_candidates(folds["test"].get(None), fold) for fold in self.members}
        self._rank(folds, scale)
        validation, test = folds["validation"], folds["test"]
        wanted = {0, 1} if scale == "folds" else {0}
        if not all(wanted <= set(tables.tiles.loc[tables.tiles["reachable"], "label"]) for tables in validation.values()):
            return None, join_tables(test.values())
        if scale == "folds":
            both = [align_fold(v, test[fold], specificity=specificity) for fold, v in validation.items()]
            return join_tables(v for v, _ in both), join_tables(t for _, t in both)
        if scale == "mean":
            members = {fold: _joined(tables) for fold, tables in self.members.items()}
            mean = test[None]
            validation = on_the_mean(
                validation, members, mean.tiles, specificity=specificity, own=own, candidates=mean.candidates
            )
        return join_tables(validation.values()), join_tables(test.values())

    def _rank(self, folds: dict[str, dict[Any, ArmTables]], scale: str) -> None:
        """Give test items their ``rank`` among the lesions of validation animals, before anything is put on one scale.

        Each lesion and item is scored by a model that did not learn from its animal; see `darklung.evaluate.conformal`.
        """
        from darklung.evaluate.promises import Judges, unranked

        validation, test = folds["validation"], folds["test"]
        if scale == "folds":
            each = {fold: Judges.of({fold: tables}) for fold, tables in validation.items()}
            self.judges = list(each.values())
            folds["test"] = {fold: each[fold].ranked(tables) for fold, tables in test.items()}
        elif scale == "mean":
            self.judges = [Judges.of({fold: validation[fold] for fold in sorted(validation)})]
            folds["test"] = {fold: self.judges[0].ranked(tables) for fold, tables in test.items()}
        else:
            folds["test"] = {fold: unranked(tables) for fold, tables in test.items()}
        folds["validation"] = {fold: unranked(tables) for fold, tables in validation.items()}


def _with_members(tables: ArmTables, image: Image, case: LabelledCase, members: list[pd.DataFrame]) -> ArmTables:
    """The tables of a mean with what each of its models says of the same tiles and candidates, in columns of their own."""
    from darklung.evaluate.promises import OWN, near_scores

    tiles = tables.tiles.assign(**{f"{OWN}{k}": own["score"].to_numpy() for k, own in enumerate(members)})
    candidates = tables.candidates
    if candidates is not None:
        places = candidates[[f"axis{a}" for a in range(case.region.ndim)]].to_numpy(dtype=np.int64)
        maps = [image.channel(n) for n in own_channels(image.names)]
        scores = near_scores(places=places, maps=maps, region=case.region, spacing_m=case.channels.spacing_m)
        candidates = candidates.assign(**{f"{OWN}{k}": own for k, own in enumerate(scores)})
    return replace(tables, tiles=tiles, candidates=candidates)


def _own_candidates(tables: ArmTables | None, fold: int) -> pd.DataFrame | None:
    """Candidates of a mean, with what the model of a fold says of each for their score."""
    from darklung.evaluate.promises import OWN

    found = None if tables is None else tables.candidates
    known = found is not None and f"{OWN}{fold}" in found.columns
    return found.assign(score=found[f"{OWN}{fold}"]) if found is not None and known else None


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(tables, ignore_index=True)


def _of_fold(tables: ArmTables, fold: int | None) -> ArmTables:
    return replace(tables, tiles=tables.tiles.assign(fold=MEAN if fold is None else fold))


def tested_by_fold(images: Mapping[str, Mapping[Any, Any]]) -> bool:
    """Whether each fold is tested by its own model, so that animals are in validation of one fold and in test of another."""
    return set(images["validation"]) == set(images["test"])


def map_tables(name: str, logits: NDArray[Any], case: LabelledCase, tile_m: float) -> ArmTables:
    """Units of evaluation of the logits of one image."""
    from darklung.evaluate.tables import subject_tables

    return subject_tables(subject=name, logits=logits, **known_of(case), tile_m=tile_m)


def image_tables(name: str, image: Image, case: LabelledCase, tile_m: float) -> ArmTables:
    """Units of evaluation of a prediction; candidates are those of the detection head where it has one."""
    tables = map_tables(name, image.channel("logit"), case, tile_m)
    if CENTRE not in image.names:
        return tables
    return replace(tables, candidates=map_tables(name, image.channel(CENTRE), case, tile_m).candidates, detected=True)


def known_of(case: LabelledCase) -> dict[str, Any]:
    """What is known of an image, as the tables of `darklung.evaluate.tables` take it."""
    from darklung.evaluate.truth import Truth

    return {
        "truth": Truth(case.instances, case.insertions, case.unknown),
        "region": case.region,
        "spacing_m": case.channels.spacing_m,
        "origin_m": case.channels.origin_m,
    }


def _tiles(name: str, logits: NDArray[Any], case: LabelledCase, tile_m: float) -> pd.DataFrame:
    from darklung.evaluate.tables import subject_tiles

    return subject_tiles(subject=name, logits=logits, **known_of(case), tile_m=tile_m)


def voxels_of(logits: NDArray[Any], case: LabelledCase) -> LogitHistogram:
    """The voxels of the search region by their logit; what is unknown is not counted."""
    from darklung.evaluate.histogram import logit_histogram

    labels = np.where(case.unknown, UNKNOWN, np.where(case.lesion, LESION, BACKGROUND))[case.region]
    return logit_histogram(logits=logits[case.region], labels=labels)
