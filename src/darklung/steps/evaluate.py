"""Compare the arms: metrics with intervals, thresholds from validation, differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darklung.evaluate.histogram import voxel_results
from darklung.evaluate.sites import results_by_site
from darklung.evaluate.written_tables import TABLES
from darklung.io.case import load_case
from darklung.io.documents import Document
from darklung.io.images import load_image
from darklung.io.names import COMPARISON, LOGITS
from darklung.io.tables import save_json, save_table
from darklung.pipeline import Context, Task
from darklung.steps.arm_reading import BLIND, SCALES, SPLITS, ArmReading, tested_by_fold
from darklung.study.learning import EvaluationPart

if TYPE_CHECKING:
    from darklung.evaluate.metrics import Metric
    from darklung.evaluate.tables import ArmTables

STAGE = "evaluate"
ITEM = "all"
# The three questions of a study that asks none of its own: each of the planned arms against the reference.
REFERENCES, PLANNED = ("transmission", "attenuation"), ("dark_field", "directional", "hybrid")


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
    sites: dict[str, tuple[str, ...]]
    seed: int


def task(parameters: Parameters, cases: tuple[str, ...], predictions: tuple[str, ...]) -> Task:
    """The comparison; `predictions` in the order of the parameters'.

    Raises
    ------
    DarklungError
        A metric of the user that cannot be used, or a question about an arm that is not there.
    """
    if parameters.evaluation.metrics:
        metrics_of(parameters.evaluation)
    if parameters.evaluation.questions:
        asked_of(parameters.evaluation, parameters.arms)
    inputs = {"cases": cases, "predictions": predictions}
    plugins = tuple(m.function for m in parameters.evaluation.metrics.values())
    plain = parameters.model_dump(mode="json")
    return Task(STAGE, ITEM, "darklung.steps.evaluate:evaluate", plain, inputs, plugins=plugins)


def metrics_of(part: EvaluationPart) -> dict[str, Metric]:
    """Darklung's metrics and the study's own, by name."""
    from darklung.evaluate.metrics import METRICS
    from darklung.evaluate.own_metric import own_metric

    own = {
        name: own_metric(name, m.function, options=m.options, title=m.title, replicates=m.replicates)
        for name, m in part.metrics.items()
    }
    return {**METRICS, **own}


def asked_of(part: EvaluationPart, arms: Sequence[str]) -> list[tuple[str, str]]:
    """The study's questions; else dark field, directions and both against attenuation alone, or all against the first.

    Raises
    ------
    DarklungError
        A question about an arm that is not there.
    """
    from darklung.evaluate.comparison import questions_of

    if part.questions:
        return questions_of(arms, part.questions)
    against = next((a for a in arms if a in REFERENCES), None)
    planned = [(a, against) for a in PLANNED if a in arms and against is not None]
    return questions_of(arms, planned or None)


def evaluate(context: Context) -> None:
    """``comparison.json`` and the tables of every unit, candidate, lesion, outline and animal in every arm (`TABLES`)."""
    p = Parameters.model_validate(context.parameters)
    part = p.evaluation
    cases = {path.name: load_case(path) for path in context.inputs["cases"]}
    read: dict[str, ArmReading] = {arm: ArmReading() for arm in p.arms}
    for i, (what, path) in enumerate(zip(p.predictions, context.inputs["predictions"])):
        context.progress(i / len(p.predictions), path.name)
        files = {file.name.removesuffix(LOGITS): file for file in sorted(path.glob(f"*{LOGITS}"))}
        for name, file in files.items():
            read[what.arm].add(what.role, what.fold, name, load_image(file), cases[name], part.tile)
    splits: dict[str, dict[str, ArmTables]] = {}
    for arm, own in read.items():
        for role, pooled in zip(SPLITS, own.pooled(p.animals, part.specificity)):
            if pooled is not None:
                splits.setdefault(role, {})[arm] = pooled
    first, judged = read[p.arms[0]], "validation" in splits
    # Results by site tell sites of validation animals from held-out ones, so there are none without.
    how: dict[str, Any] = {"sites": p.sites} if judged else {"thresholds": {}}
    crossed = tested_by_fold(first.images)
    result = compared(splits, part, seed=p.seed, crossed=crossed, **how)
    if judged or crossed:
        result["settings"]["scale"] = SCALES[first.scale() if judged else "apart"]
    if not judged:
        result["settings"]["threshold_from"] = f"none: {BLIND}"
    for arm, own in read.items():
        for role in splits:
            result["results"][role][arm]["voxels"] = voxel_results(own.voxels[role])
    result["promises"] = {arm: _promises(p, own, splits["test"][arm]) for arm, own in read.items()}
    save_comparison(context.out, result, splits)


def _promises(p: Parameters, read: ArmReading, test: ArmTables) -> dict[str, Any]:
    """What an arm's conformal lists promise and reached, and what it takes to make them of further images."""
    from darklung.evaluate.promises import known_lesions, promises_of
    from darklung.evaluate.results import plain

    lung_ml: dict[str, float] = {}
    for image, ml in read.lung_ml.items():
        lung_ml[p.animals[image]] = lung_ml.get(p.animals[image], 0.0) + ml
    options: dict[str, Any] = {"levels": p.evaluation.levels, "seed": p.seed, "replicates": p.evaluation.replicates}
    found = promises_of(test, read.judges, lung_ml=lung_ml, **options)
    joint = read.judges[0] if read.scale() == "mean" else None
    return {"lists": plain(found), "lesions": None if joint is None else known_lesions(joint)}


def compared(
    splits: Mapping[str, Mapping[str, ArmTables]],
    part: EvaluationPart,
    *,
    seed: int,
    sites: Mapping[str, Sequence[str]] | None = None,
    crossed: bool = False,
    thresholds: Mapping[str, float | None] | None = None,
) -> dict[str, Any]:
    """The comparison of tables, however they were made; see `darklung.evaluate.comparison.compare`."""
    from darklung.evaluate.comparison import compare

    options: dict[str, Any] = {"seed": seed, "replicates": part.replicates, "specificity": part.specificity}
    options["metrics"] = metrics_of(part)
    asked = asked_of(part, list(splits["test"]))
    result = compare(tables=splits, crossed=crossed, thresholds=thresholds, questions=asked, **options)
    if sites:
        result["by_site"] = results_by_site(splits, sites, **options)
    return result


def save_comparison(out: Path, result: Mapping[str, Any], splits: Mapping[str, Mapping[str, ArmTables]]) -> None:
    """The comparison, and the tables in every arm, so that any other metric can be computed elsewhere."""
    save_json(out / COMPARISON, result)
    for name, (part, meanings) in TABLES.items():
        rows: list[dict[str, Any]] = [
            {"split": split, "arm": arm, **{str(k): v for k, v in row.items()}}
            for split, arms in splits.items()
            for arm, tables in arms.items()
            if getattr(tables, part) is not None and (part != "voxels" or tables.outlined)
            for row in getattr(tables, part).to_dict("records")
        ]
        if rows:
            save_table(out / name, rows, meanings)
