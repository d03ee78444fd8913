"""The ordered tasks that a study file stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from darklung.core.random import derive_seed
from darklung.core.splits import folds_by_group, rotate
from darklung.pipeline import Task
from darklung.steps.cohort import animal_rows, copy_rows
from darklung.steps.reconstructors import method_files
from darklung.study.config import CTStudy, RadiographStudy, Study

REPORT = "report/all"
EVALUATION = "evaluate/all"
# Packages whose source decides what each stage computes.
CODE = {
    "cohort": ("io.tables", "steps.cohort"),
    "phantom": ("phantom", "physics", "tomo", "steps.ct"),
    "describe": ("phantom", "physics", "tomo", "commands.cohort"),
    "tables": ("phantom", "physics", "tomo", "io.tables", "commands.cohort"),
    "radiograph": (
        "simulate",
        "physics",
        "tomo",
        "retrieve",
        "correct",
        "features",
        "steps.ct",
        "study.scanner",
        "calibrate.file",
        "commands.cohort",
    ),
    "scan": ("simulate", "physics", "tomo", "steps.ct", "study.scanner"),
    "retrieve": ("retrieve", "correct.flux", "steps.ct"),
    "correct": ("correct", "physics", "tomo", "steps.ct", "study.scanner", "calibrate.file"),
    "reconstruct": ("tomo", "steps.ct", "steps.reconstructors"),
    "features": ("features", "steps.ct", "io.case", "steps.reconstructors"),
    "lobes": (
        "insert.radiograph",
        "insert.lobes",
        "insert.chords",
        "insert.renoise",
        "features",
        "io.lobes",
        "steps.lobes",
        "io.case",
    ),
    "learn": ("learn", "steps.learning", "io.case"),
    "learn with a bank": (
        "learn",
        "phantom",
        "physics",
        "tomo",
        "steps.learning",
        "steps.bank",
        "steps.insertion.scale",
        "io.case",
    ),
    "predict": ("learn", "steps.learning", "io.case"),
    "evaluate": ("evaluate", "steps.learning", "evaluate.sites", "io.case"),
    "report": ("report", "steps.report", "io.case", "steps.learning"),
}


@dataclass(frozen=True)
class Member:
    """A case of the study: the task that makes it, and the animal it comes from."""

    task: str
    animal: str


def plan(study: Study, study_file: Path) -> list[Task]:
    """All tasks of a study, inputs first. Paths in a study start from the folder of `study_file`."""
    if isinstance(study, CTStudy):
        return _ct_tasks(study)
    return _radiograph_tasks(study, study_file)


def _dump(part: Any) -> Any:
    return part.model_dump(mode="json")


def _ct_tasks(study: CTStudy) -> list[Task]:
    from darklung.steps.ct import plan_animals

    animals = plan_animals(study)
    tasks = [cohort_task(study, animals)]
    for animal in animals:
        tasks += animal_tasks(study, animal)
    training = [Member(f"features/{a['name']}", a["name"]) for a in animals if a["split"] == "train"]
    test = [Member(f"features/{a['name']}", a["name"]) for a in animals if a["split"] == "test"]
    sites = {a["name"]: a["site"] for a in animals} if study.sites else {}
    return _comparison_tasks(study, tasks, training, test, {}, sites)


def cohort_task(study: CTStudy, animals: Sequence[Mapping[str, Any]]) -> Task:
    """The table of a study's animals."""
    return _table_task(*animal_rows(animals, study.name))


def _table_task(rows: Sequence[Mapping[str, Any]], meanings: Mapping[str, str]) -> Task:
    parameters = {"rows": rows, "meanings": meanings}
    return Task("cohort", "all", "darklung.steps.cohort:write_cohort", parameters, {}, CODE["cohort"])


def animal_tasks(study: CTStudy, animal: Mapping[str, Any]) -> list[Task]:
    """The chain of one animal, from its seed to its case."""
    name = animal["name"]
    study = study.at(animal["site"])
    instrument = _dump(study.instrument)

    def task(stage: str, parameters: Mapping[str, Any], *inputs: str, transient: bool = False) -> Task:
        needs = {i: (f"{i}/{name}",) for i in inputs}
        function = f"darklung.steps.ct:{stage}"
        files = method_files(study.reconstruction.method) if stage == "reconstruct" else {}
        if "instrument" in parameters:
            files = study.instrument.files()
        if "body" in parameters:
            files = study.body.files()
        if "correction" in parameters:
            files = {**files, **study.correction.files()}
        return Task(stage, name, function, parameters, needs, CODE[stage], files, transient=transient)

    seed = derive_seed(study.seed, "scan", name)
    scan = {"instrument": instrument, "scan": _dump(study.scan), "effects": _dump(study.effects), "seed": seed}
    keep = study.scan.keep_frames
    # The site changes how an animal is scanned and nothing of the animal.
    body = {"subject": {**animal, "site": ""}, "body": _dump(study.body), "supersampling": study.scan.supersampling}
    return [
        task("phantom", body),
        task("scan", scan, "phantom", transient=not keep),
        task("retrieve", {"retrieval": _dump(study.retrieval)}, "scan", transient=not keep),
        task("correct", {"instrument": instrument, "correction": _dump(study.correction)}, "retrieve", transient=not keep),
        task("reconstruct", {"reconstruction": _dump(study.reconstruction)}, "correct"),
        task("features", {"seed": derive_seed(study.seed, "noise", name)}, "reconstruct", "phantom"),
    ]


def _radiograph_tasks(study: RadiographStudy, study_file: Path) -> list[Task]:
    from darklung.steps.lobes import plan_copies

    folder, copies, sources = plan_copies(study, study_file)
    tasks = [_table_task(*copy_rows(copies))]
    for copy in copies:
        parameters = {"copy": copy, "insertion": _dump(study.insertion)}
        files = {"lobe": folder / copy["file"]}
        tasks.append(Task("lobes", copy["name"], "darklung.steps.lobes:make_case", parameters, {}, CODE["lobes"], files))
    members = [Member(f"lobes/{c['name']}", c["animal"]) for c in copies]
    return _comparison_tasks(study, tasks, members, None, {"sources": sources})


def _comparison_tasks(
    study: Study,
    before: list[Task],
    members: Sequence[Member],
    test: Sequence[Member] | None,
    facts: Mapping[str, Any],
    sites: Mapping[str, str] = MappingProxyType({}),
) -> list[Task]:
    """The tasks `before` that make the cases, then training, prediction, evaluation and report.

    With `test` members of their own, folds of `members` are validated in turn and the test members are predicted by the mean
    of all folds' models. Without (`test` None), each fold is tested by the model that neither trained nor validated on it.
    With `sites` (animal -> site) results are told by site too.
    """
    rounds = _rounds(members, folds=study.learning.folds, seed=study.seed, separate_test=test is not None)
    tasks: list[Task] = []
    predictions: dict[str, list[str]] = {"validation": [], "test": []}
    for arm in study.learning.arms:
        models = []
        for fold, (training, validation, tested) in enumerate(rounds):
            models.append(_learn_task(study, arm, fold, training, validation, sites))
            tasks.append(models[-1])
            own = (models[-1].name,)
            for role, group in (("validation", validation), ("test", tested)):
                if group:
                    tasks.append(_predict_task(study, arm, f"{arm}-fold{fold}-{role}", own, group))
                    predictions[role].append(tasks[-1].name)
        if test:
            tasks.append(_predict_task(study, arm, f"{arm}-test", tuple(m.name for m in models), test))
            predictions["test"].append(tasks[-1].name)
    cases = tuple(m.task for m in (*members, *(test or ())))
    parameters = {
        "evaluation": _dump(study.evaluation),
        "arms": list(study.learning.arms),
        "animals": {m.task.split("/")[1]: m.animal for m in (*members, *(test or ()))},
        "seed": derive_seed(study.seed, "evaluate"),
        **({"sites": dict(sites)} if sites else {}),
    }
    inputs = {"cases": cases, **{role: tuple(names) for role, names in predictions.items()}}
    tasks.append(Task("evaluate", "all", "darklung.steps.learning:evaluate", parameters, inputs, CODE["evaluate"]))
    told = {"study": _dump(study), "tasks": [t.name for t in (*before, *tasks)], **facts}
    inputs = {"cohort": ("cohort/all",), "evaluate": (EVALUATION,), "cases": cases, "test": inputs["test"]}
    if study.kind == "ct":
        inputs["retrieve"] = (f"retrieve/{cases[-1].split('/')[1]}",)
    tasks.append(Task("report", "all", "darklung.steps.report:report", told, inputs, CODE["report"]))
    return [*before, *tasks]


Round = tuple[tuple[Member, ...], tuple[Member, ...], tuple[Member, ...]]


def _rounds(members: Sequence[Member], *, folds: int, seed: int, separate_test: bool) -> list[Round]:
    """(training, validation, test) members of each fold."""
    if not members:
        return []
    by_task = {m.task: m for m in members}
    parts = folds_by_group({m.task: m.animal for m in members}, folds=folds, seed=seed)
    if not separate_test:
        return [tuple(tuple(by_task[t] for t in side) for side in sides) for sides in rotate(parts)]  # type: ignore[misc]
    rounds: list[Round] = []
    for part in parts:
        training = tuple(m for m in members if m.task not in part)
        rounds.append((training, tuple(by_task[t] for t in part), ()))
    return rounds


def _learn_task(
    study: Study, arm: str, fold: int, training: Sequence[Member], validation: Sequence[Member], sites: Mapping[str, str]
) -> Task:
    parameters = {
        "learning": _one_arm(study, arm),
        "arm": arm,
        "training_animals": [m.animal for m in training],
        "validation_animals": [m.animal for m in validation],
        # The same for every arm: all arms see the same patches in the same order.
        "seed": derive_seed(study.seed, "learn", fold),
    }
    code = CODE["learn"]
    if isinstance(study, CTStudy) and study.learning.bank:
        from darklung.steps.bank import bank_facts

        parameters["bank"] = bank_facts(study, [sites.get(m.animal, "") for m in training])
        code = CODE["learn with a bank"]
    inputs = {"training": tuple(m.task for m in training), "validation": tuple(m.task for m in validation)}
    return Task("learn", f"{arm}-fold{fold}", "darklung.steps.learning:learn", parameters, inputs, code)


def _predict_task(study: Study, arm: str, item: str, models: tuple[str, ...], members: Sequence[Member]) -> Task:
    parameters = {"learning": _one_arm(study, arm), "arm": arm, "animals": [m.animal for m in members]}
    inputs = {"models": models, "cases": tuple(m.task for m in members)}
    return Task("predict", item, "darklung.steps.learning:predict", parameters, inputs, CODE["predict"])


def _one_arm(study: Study, arm: str) -> dict[str, Any]:
    """The learning part with this arm alone: adding an arm must not train the others anew."""
    part: dict[str, Any] = _dump(study.learning)
    return {**part, "arms": {arm: part["arms"][arm]}}
