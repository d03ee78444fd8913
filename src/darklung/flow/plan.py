"""The ordered tasks that a study stands for: its cases, then training, prediction, comparison and report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from darklung.core.checks import require
from darklung.core.random import derive_seed
from darklung.core.splits import folds_by_group, rotate
from darklung.flow import chain
from darklung.flow.together import Predictions, Round, groups_of, joints, lifts, radiographs_of
from darklung.pipeline import Task
from darklung.steps import cohort, derive, evaluate, joint, lifted, predict, preview, report, retrieve, training
from darklung.steps.members import Member
from darklung.study.learning import LearningPart
from darklung.study.observers import BOOSTING, NETWORK, Row
from darklung.study.sources import SimulatedSource
from darklung.study.study import Study

# Each observer has a step of its own, so that what one imports does not make the other's trainings due.
TRAININGS = {NETWORK: "darklung.steps.train:train", BOOSTING: "darklung.steps.boosting:train"}


@dataclass(frozen=True)
class Plan:
    """Tasks, inputs first, those whose outputs are wanted, the cases, and radiographs of the same animals."""

    tasks: tuple[Task, ...]
    targets: tuple[str, ...]
    members: tuple[Member, ...]
    radiographs: tuple[Member, ...] = ()


def plan(study: Study) -> Plan:
    """All tasks of a study.

    Raises
    ------
    DarklungError
        Sources that cannot be used, or too few animals for the folds.
    """
    made = chain.build(study)
    members, radiographs = tuple(made.members), tuple(made.radiographs)
    tasks = [cohort.task(members), *made.tasks]
    if study.learning is None:
        targets = (tasks[0].name, *(m.task for m in (*members, *radiographs)))
        return Plan(tuple(tasks), targets, members, radiographs)
    more = _learned(study, study.learning, members, radiographs, [t.name for t in tasks])
    return Plan((*tasks, *more), (more[-2].name, more[-1].name, *_foreseen(more)), members, radiographs)


def _foreseen(tasks: Sequence[Task]) -> list[str]:
    """Predictions that nothing judges, since nobody knows the truth."""
    stages = (predict.STAGE, lifted.STAGE, joint.STAGE)
    return [t.name for t in tasks if t.stage in stages and t.parameters["role"] == "predict"]


def _learned(
    study: Study, learning: LearningPart, members: Sequence[Member], radiographs: Sequence[Member], before: list[str]
) -> list[Task]:
    """Training, prediction, evaluation and report.

    With members of use ``test``, folds of the training members are validated in turn and the test members are predicted by
    the mean of all folds' models. Without, each fold is tested by the model that neither trained nor validated on it.
    """
    rounds = rounds_of(members, folds=learning.folds, seed=study.seed)
    # The report shows one view of the last scan.
    tasks = [preview.task(name.partition("/")[2], name) for name in before if name.startswith(f"{retrieve.STAGE}/")][-1:]
    trained, predictions = _rows(study, learning, rounds, members)
    tasks += trained
    if learning.flat is not None:
        views = radiographs_of(members, radiographs)
        sides = [tuple(tuple(r for m in side for r in views[m.task]) for side in own) for own in rounds]
        trained, flat = _rows(study, learning.flat, sides, radiographs)  # type: ignore[arg-type]
        raised = lifts(flat, groups_of(rounds, members), views)
        fits, both = joints(learning.joint_rows, predictions | raised, rounds)
        tasks += [*trained, *raised.values(), *fits, *both.values()]
        predictions |= raised | both
    judged = [(what, task.name) for what, task in predictions.items() if what.role != "predict"]
    known = [m for m in members if m.use != "predict"]
    tasks.append(_evaluation(study, learning, known, judged))
    names = [*before, *(t.name for t in tasks)]
    trees = [t.name for t in tasks if t.function == TRAININGS[BOOSTING]]
    tasks.append(report.task(study, learning, known, tasks[-1].name, judged, names, trees))
    return tasks


def _rows(
    study: Study, learning: LearningPart, rounds: Sequence[Round], members: Sequence[Member]
) -> tuple[list[Task], Predictions]:
    """Trainings and predictions of every arm with every observer: all tasks, and the predictions among them."""
    tasks = derive.tasks((c for channels in learning.arms.values() for c in channels), (m.task for m in members))
    predictions: Predictions = {}
    for row in learning.rows:
        models = [_training(study, learning, row, fold, *own[:2]) for fold, own in enumerate(rounds)]
        tasks += models
        for (fold, role), group in groups_of(rounds, members).items():
            used = models if fold is None else models[fold : fold + 1]
            task = _prediction(learning, row, fold, role, used, group)
            predictions[evaluate.Prediction(arm=row.name, fold=fold, role=role)] = task
            tasks.append(task)
    return tasks, predictions


def rounds_of(members: Sequence[Member], *, folds: int, seed: int) -> list[Round]:
    """(training, validation, test) members of each fold; no test members where others are held out for all folds."""
    by_task = {m.task: m for m in members if m.use == "train"}
    animals = len({m.animal for m in by_task.values()})
    separate_test = any(m.use == "test" for m in members)
    told = "learning.folds: without test animals each fold is tested by a model that neither trained nor validated on it"
    require(separate_test or folds >= 3, f"{told}; wanted at least 3 folds, got {folds}")
    require(animals >= folds, f"learning.folds: {folds} folds need at least {folds} animals to train on, got {animals}")
    _check_held_out(members)
    parts = folds_by_group({task: m.animal for task, m in by_task.items()}, folds=folds, seed=seed)
    if not separate_test:
        return [tuple(tuple(by_task[t] for t in side) for side in sides) for sides in rotate(parts)]  # type: ignore[misc]
    rounds: list[Round] = []
    for part in parts:
        held = set(part)
        training = tuple(m for t, m in by_task.items() if t not in held)
        rounds.append((training, tuple(by_task[t] for t in part), ()))
    return rounds


def _check_held_out(members: Sequence[Member]) -> None:
    """Refuse an animal that is trained on and held out: all its scans, of whatever source, are on one side."""
    learned = {m.animal: m.item for m in members if m.use == "train"}
    for m in members:
        told = f"sources: animal {m.animal} is trained on ({learned.get(m.animal)}) and held out ({m.item})"
        require(m.use != "test" or m.animal not in learned, f"{told}; wanted all scans of an animal on one side")


def _training(
    study: Study, learning: LearningPart, row: Row, fold: int, learned: Sequence[Member], validation: Sequence[Member]
) -> Task:
    bank = bank_facts(study, learned) if learning.bank else None
    parameters = training.Parameters(
        learning=learning,
        arm=row.arm,
        fold=fold,
        training_animals=tuple(m.animal for m in learned),
        validation_animals=tuple(m.animal for m in validation),
        # The same for every arm: all arms see the same patches in the same order.
        seed=derive_seed(study.seed, "learn", fold),
        bank=bank,
    )
    known, judged = (tuple(m.task for m in group) for group in (learned, validation))
    made = derive.names(learning.arms[row.arm], (*known, *judged))
    return training.task(TRAININGS[row.observer], parameters, row, known, judged, made)


def bank_facts(study: Study, training: Sequence[Member]) -> dict[str, Any]:
    """What the bank of a study is drawn from, and (energy [keV], ξ [m]) that each training animal's values refer to."""
    simulated = study.simulated()
    part = simulated[training[0].row["source"]].cohort
    scanners = {(m.row["source"], m.row["site"]): simulated[m.row["source"]] for m in training}
    at = {key: source.at(key[1] if key[1] in source.sites else "") for key, source in scanners.items()}
    told = "learning.bank: lesions are drawn in 1/m, calibrations.unit gives the animals scatter units; wanted one of them"
    require(not any(scanner.calibrations.unit for scanner in at.values()), told)
    told = "learning.bank: lesions are drawn at the reference energy; wanted animals corrected to it, got hardening: none"
    require(study.processing.correction.hardening != "none", f"{told} (processing.correction)")
    for name, other in ((n, s.cohort) for n, s in simulated.items() if s.cohort.animals):
        for key in ("variant", "tissues", "diameter"):
            told = f"learning.bank: one bank is drawn like the animals' own lesions; sources.{name}.cohort.{key}: wanted"
            require(getattr(other, key) == getattr(part, key), f"{told} that of the others, which train too")
    beams = {key: _beam(scanner) for key, scanner in at.items()}
    return {
        "variant": part.variant,
        "tissues": list(part.tissues),
        "diameter_m": list(part.diameter),
        "beams": [beams[m.row["source"], m.row["site"]] for m in training],
    }


def _beam(scanner: SimulatedSource) -> list[float]:
    """Energy [keV] and ξ [m] of a scanner: ξ as its calibration by spheres found it, else as the instrument has it."""
    xi = scanner.calibrations.correlation_length_m() or scanner.instrument.correlation_length_m
    return [scanner.instrument.reference_energy_kev, xi]


def _prediction(
    learning: LearningPart, row: Row, fold: int | None, role: str, models: Sequence[Task], members: Sequence[Member]
) -> Task:
    parameters = predict.Parameters(
        arm=row.name,
        fold=fold,
        role=role,
        network=learning.of_row(row).network,
        channels=learning.arms[row.arm],
        animals=tuple(m.animal for m in members),
        overlap=learning.overlap,
        candidates=learning.candidates,
        mirroring=learning.mirroring,
    )
    cases = tuple(m.task for m in members)
    return predict.task(parameters, tuple(m.name for m in models), cases, derive.names(learning.arms[row.arm], cases))


def _evaluation(
    study: Study, learning: LearningPart, members: Sequence[Member], judged: Sequence[tuple[evaluate.Prediction, str]]
) -> Task:
    at: dict[str, dict[str, None]] = {}
    for m in members:
        at.setdefault(m.animal, {})[m.row["site"]] = None
    sites = {animal: tuple(sorted(own)) for animal, own in at.items()}
    parameters = evaluate.Parameters(
        evaluation=study.evaluation,
        arms=tuple(row.name for row in learning.compared),
        predictions=tuple(what for what, _ in judged),
        animals={m.item: m.animal for m in members},
        sites=sites if len({site for own in sites.values() for site in own}) > 1 else {},
        seed=derive_seed(study.seed, "evaluate"),
    )
    return evaluate.task(parameters, tuple(m.task for m in members), tuple(name for _, name in judged))
