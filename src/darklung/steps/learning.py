"""Stages that every kind of study shares: train, predict, compare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.evaluate.sites import results_by_site
from darklung.io.case import StoredCase, load_case
from darklung.io.images import load_image, save_image
from darklung.io.tables import save_json, save_table
from darklung.pipeline import Context
from darklung.study.config import EvaluationPart, LearningPart

if TYPE_CHECKING:
    from darklung.evaluate.tables import ArmTables

LOGITS = ".ome.zarr"
SPLITS = ("validation", "test")


def case_of(folder: Path, animal: str, channels: tuple[str, ...]) -> tuple[StoredCase, Any]:
    """A stored case and the same as the networks take it; its subject is the animal, by which folds and intervals go."""
    from darklung.learn.data import Case

    stored = load_case(folder, channels)
    return stored, Case(
        subject=animal,
        image=stored.channels,
        target=stored.target.astype(np.uint8),
        region=stored.region,
        hard=stored.hard,
    )


def learn(context: Context) -> None:
    """Train one arm's network on one fold."""
    from darklung.learn.train import train

    p = context.parameters
    part = LearningPart.model_validate(p["learning"])
    channels = part.arms[p["arm"]]

    def cases(name: str) -> list[Any]:
        return [
            case_of(path, animal, channels)[1] for path, animal in zip(context.inputs.get(name, ()), p[f"{name}_animals"])
        ]

    redraw = None
    if part.bank:
        from darklung.steps.bank import make_redraw

        redraw = make_redraw(
            context.inputs["training"],
            p["training_animals"],
            channels=channels,
            part=part.bank,
            facts=p["bank"],
            seed=p["seed"],
        )
    train(
        cases_train=cases("training"),
        cases_validation=cases("validation"),
        channels=channels,
        network=part.network,
        loss=part.loss,
        metric=part.metric,
        widths=part.widths,
        patch=part.patch,
        batch=part.batch,
        steps=part.steps,
        learning_rate=part.learning_rate,
        seed=p["seed"],
        scratch=context.scratch,
        out=context.out,
        redraw=redraw,
        progress=context.progress,
    )


def predict(context: Context) -> None:
    """Logits of one arm for the cases of one role (validation or test), from one fold's model or the mean of several."""
    from darklung.learn.predict import predict

    p = context.parameters
    part = LearningPart.model_validate(p["learning"])
    channels = part.arms[p["arm"]]
    models = list(context.inputs["models"])
    for i, (path, animal) in enumerate(zip(context.inputs["cases"], p["animals"])):
        context.progress(i / len(p["animals"]), path.name)
        stored, case = case_of(path, animal, channels)
        logits = predict(model_dir=models, case=case, overlap=part.overlap)
        grid = stored.channels
        image = Image(logits[None], ("logit",), ("1",), grid.spacing_m, grid.origin_m, grid.frame)
        save_image(context.out / f"{path.name}{LOGITS}", image)


def evaluate(context: Context) -> None:
    """Compare the arms: metrics with intervals, thresholds from validation, differences."""
    from darklung.evaluate.comparison import compare

    p = context.parameters
    part = EvaluationPart.model_validate(p["evaluation"])
    cases = {path.name: load_case(path) for path in context.inputs["cases"]}
    images: dict[str, dict[str, dict[str, list[ArmTables]]]] = {}
    predictions = [(role, path) for role in SPLITS for path in context.inputs[role]]
    for i, (role, path) in enumerate(predictions):
        context.progress(i / len(predictions), path.name)
        arm, fold = arm_and_fold(path.name)
        files = sorted(path.glob(f"*{LOGITS}"))
        tables = [image_tables(file, cases[file.name.removesuffix(LOGITS)], part.tile) for file in files]
        images.setdefault(arm, {}).setdefault(role, {})[fold] = tables
    splits: dict[str, dict[str, ArmTables]] = {role: {} for role in SPLITS}
    for arm in p["arms"]:
        for role, pooled in zip(SPLITS, pooled_tables(images[arm], p["animals"], part.specificity)):
            splits[role][arm] = pooled
    crossed = tested_by_fold(images[p["arms"][0]])
    result = compare(
        tables=splits, seed=p["seed"], replicates=part.replicates, specificity=part.specificity, crossed=crossed
    )
    if "sites" in p:
        options = {"seed": p["seed"], "replicates": part.replicates, "specificity": part.specificity}
        result["by_site"] = results_by_site(splits, p["sites"], **options)
    save_json(context.out / "comparison.json", result)
    _save_units(context.out, splits)


def arm_and_fold(item: str) -> tuple[str, str]:
    """``"hybrid-fold1-validation"`` -> (``"hybrid"``, ``"fold1"``); a prediction by all folds has the fold ``""``."""
    found = re.fullmatch(r"(.+?)(?:-(fold\d+))?-(?:validation|test)", item)
    if found is None:
        raise DarklungError(f"prediction {item!r}: wanted ARM-foldN-ROLE or ARM-ROLE")
    return found[1], found[2] or ""


def image_tables(file: Path, case: StoredCase, tile_m: float) -> ArmTables:
    """Units of evaluation of one image."""
    from darklung.evaluate.tables import subject_tables

    return subject_tables(
        subject=file.name.removesuffix(LOGITS),
        logits=load_image(file).channel("logit"),
        instances=case.instances,
        insertions=case.insertions,
        region=case.region,
        spacing_m=case.channels.spacing_m,
        tile_m=tile_m,
        origin_m=case.channels.origin_m,
    )


def tested_by_fold(images: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether each fold is tested by its own model, so that animals are in validation of one fold and in test of another."""
    return set(images["validation"]) == set(images["test"])


def pooled_tables(
    images: Mapping[str, Mapping[str, list[ArmTables]]], animals: Mapping[str, str], specificity: float
) -> tuple[ArmTables, ArmTables]:
    """Validation and test tables of one arm, from its tables of images by role and fold."""
    from darklung.evaluate.folds import align_fold, by_animal
    from darklung.evaluate.tables import join_tables

    folds = {
        role: {fold: join_tables(by_animal(tables, animals)) for fold, tables in images[role].items()} for role in SPLITS
    }
    validation, test = list(folds["validation"].values()), list(folds["test"].values())
    if tested_by_fold(images):
        aligned = [align_fold(v, folds["test"][fold], specificity=specificity) for fold, v in folds["validation"].items()]
        validation, test = [v for v, _ in aligned], [t for _, t in aligned]
    return join_tables(validation), join_tables(test)


def _save_units(out: Path, splits: Mapping[str, Mapping[str, ArmTables]]) -> None:
    """Every unit with its score in every arm, so that any other metric can be computed elsewhere."""
    rows: list[dict[str, Any]] = [
        {"split": split, "arm": arm, **{str(k): v for k, v in row.items()}}
        for split, arms in splits.items()
        for arm, tables in arms.items()
        for row in tables.tiles.to_dict("records")
    ]
    save_table(out / "units", rows, UNIT_MEANINGS)


UNIT_MEANINGS = {
    "split": "validation or test",
    "arm": "which channels the network saw",
    "subject": "animal",
    "tile": "number of the tile in the animal's images",
    "kind": "lesion, mimic, sham or tile",
    "label": "1 for a lesion, else 0",
    "score": "robust maximum of the logits in the tile",
    "number": "number of the insertion, 0 for none",
    "tissue": "class of the insertion",
    "diameter_m": "diameter of the insertion [m]",
    "reachable": "whether the lesion meets the lung region found in the image",
}
