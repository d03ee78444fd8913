"""Compare the arms: metrics with intervals, thresholds from validation, differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from darklung.core.types import Image
from darklung.evaluate.sites import results_by_site
from darklung.io.case import LabelledCase, load_case
from darklung.io.documents import Document
from darklung.io.images import load_image
from darklung.io.names import CENTRE, COMPARISON, LOGITS
from darklung.io.tables import save_json, save_table
from darklung.pipeline import Context, Task
from darklung.study.learning import EvaluationPart

if TYPE_CHECKING:
    from darklung.evaluate.metrics import Metric
    from darklung.evaluate.tables import ArmTables

STAGE = "evaluate"
ITEM = "all"
SPLITS = ("validation", "test")


class Prediction(Document):
    """What one input holds."""

    arm: str
    fold: int | None
    role: str


class Parameters(Document):
    """What each prediction is, the animal of each case, and how it is judged."""

    evaluation: EvaluationPart
    arms: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    animals: dict[str, str]
    sites: dict[str, str]
    seed: int


def task(parameters: Parameters, cases: tuple[str, ...], predictions: tuple[str, ...]) -> Task:
    """The comparison; `predictions` in the order of the parameters'.

    Raises
    ------
    DarklungError
        A metric of the user that cannot be used.
    """
    if parameters.evaluation.metrics:
        metrics_of(parameters.evaluation)
    inputs = {"cases": cases, "predictions": predictions}
    plugins = tuple(m.function for m in parameters.evaluation.metrics.values())
    plain = parameters.model_dump(mode="json")
    return Task(STAGE, ITEM, "darklung.steps.evaluate:evaluate", plain, inputs, plugins=plugins)


def metrics_of(part: EvaluationPart) -> dict[str, Metric]:
    """Darklung's metrics and the study's own, by name."""
    from darklung.evaluate.metrics import METRICS, own_metric

    own = {
        name: own_metric(name, m.function, options=m.options, title=m.title, replicates=m.replicates)
        for name, m in part.metrics.items()
    }
    return {**METRICS, **own}


def evaluate(context: Context) -> None:
    """``comparison.json`` and the tables ``units`` (every tile with its score in every arm) and ``overlap``."""
    p = Parameters.model_validate(context.parameters)
    part = p.evaluation
    cases = {path.name: load_case(path) for path in context.inputs["cases"]}
    images: dict[str, dict[str, dict[int | None, list[ArmTables]]]] = {}
    for i, (what, path) in enumerate(zip(p.predictions, context.inputs["predictions"])):
        context.progress(i / len(p.predictions), path.name)
        files = {file.name.removesuffix(LOGITS): file for file in sorted(path.glob(f"*{LOGITS}"))}
        tables = [image_tables(n, load_image(f), cases[n], part.tile) for n, f in files.items()]
        images.setdefault(what.arm, {}).setdefault(what.role, {})[what.fold] = tables
    splits: dict[str, dict[str, ArmTables]] = {role: {} for role in SPLITS}
    for arm in p.arms:
        for role, pooled in zip(SPLITS, pooled_tables(images[arm], p.animals, part.specificity)):
            splits[role][arm] = pooled
    crossed = tested_by_fold(images[p.arms[0]])
    save_comparison(context.out, compared(splits, part, seed=p.seed, sites=p.sites, crossed=crossed), splits)


def compared(
    splits: Mapping[str, Mapping[str, ArmTables]],
    part: EvaluationPart,
    *,
    seed: int,
    sites: Mapping[str, str] | None = None,
    crossed: bool = False,
    thresholds: Mapping[str, float | None] | None = None,
) -> dict[str, Any]:
    """The comparison of tables, however they were made; see `darklung.evaluate.comparison.compare`."""
    from darklung.evaluate.comparison import compare

    options: dict[str, Any] = {"seed": seed, "replicates": part.replicates, "specificity": part.specificity}
    options["metrics"] = metrics_of(part)
    result = compare(tables=splits, crossed=crossed, thresholds=thresholds, **options)
    if sites:
        result["by_site"] = results_by_site(splits, sites, **options)
    return result


def map_tables(name: str, logits: NDArray[Any], case: LabelledCase, tile_m: float) -> ArmTables:
    """Units of evaluation of the logits of one image."""
    from darklung.evaluate.tables import subject_tables

    return subject_tables(subject=name, logits=logits, **known_of(case), tile_m=tile_m)


def image_tables(name: str, image: Image, case: LabelledCase, tile_m: float) -> ArmTables:
    """Units of evaluation of a prediction; candidates are those of the detection head where it has one."""
    tables = map_tables(name, image.channel("logit"), case, tile_m)
    if CENTRE not in image.names:
        return tables
    return replace(tables, candidates=map_tables(name, image.channel(CENTRE), case, tile_m).candidates)


def known_of(case: LabelledCase) -> dict[str, Any]:
    """What is known of an image, as the tables of `darklung.evaluate.tables` take it."""
    from darklung.evaluate.truth import Truth

    return {
        "truth": Truth(case.instances, case.insertions, case.unknown),
        "region": case.region,
        "spacing_m": case.channels.spacing_m,
        "origin_m": case.channels.origin_m,
    }


def tested_by_fold(images: Mapping[str, Mapping[Any, Any]]) -> bool:
    """Whether each fold is tested by its own model, so that animals are in validation of one fold and in test of another."""
    return set(images["validation"]) == set(images["test"])


def pooled_tables(
    images: Mapping[str, Mapping[int | None, list[ArmTables]]], animals: Mapping[str, str], specificity: float
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


def save_comparison(out: Path, result: Mapping[str, Any], splits: Mapping[str, Mapping[str, ArmTables]]) -> None:
    """The comparison, and every unit and subject in every arm, so that any other metric can be computed elsewhere."""
    save_json(out / COMPARISON, result)
    for name, (part, meanings) in TABLES.items():
        rows: list[dict[str, Any]] = [
            {"split": split, "arm": arm, **{str(k): v for k, v in row.items()}}
            for split, arms in splits.items()
            for arm, tables in arms.items()
            if part == "tiles" or tables.outlined
            for row in getattr(tables, part).to_dict("records")
        ]
        if rows:
            save_table(out / name, rows, meanings)


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
OVERLAP_MEANINGS = {
    "split": "validation or test",
    "arm": "which channels the network saw",
    "subject": "animal",
    "predicted": "voxels of the search region with a logit above 0",
    "true": "voxels of lesions",
    "overlap": "voxels of both",
}
# Table -> what of `ArmTables` is in it, and what its columns mean.
TABLES = {"units": ("tiles", UNIT_MEANINGS), "overlap": ("voxels", OVERLAP_MEANINGS)}
