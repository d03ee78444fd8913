"""Radiographs beside the volumes of the same animals: whose they are, what they say in the volumes, both as one arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from darklung.core.checks import DarklungError, require
from darklung.core.views import view_of
from darklung.features.radiographs import VIEW
from darklung.io.case import case_facts
from darklung.io.images import image_grid
from darklung.io.names import CHANNELS
from darklung.pipeline import Task
from darklung.steps import joint, lifted
from darklung.steps.evaluate import Prediction
from darklung.steps.members import Member
from darklung.study.learning import LearningPart
from darklung.study.observers import Row
from darklung.study.sources import CasesSource, found_files
from darklung.study.study import Study

Round = tuple[tuple[Member, ...], tuple[Member, ...], tuple[Member, ...]]
Predictions = dict[Prediction, Task]


def groups_of(rounds: Sequence[Round], members: Sequence[Member]) -> dict[tuple[int | None, str], tuple[Member, ...]]:
    """Fold (None: the mean of all) and role -> who is predicted; empty groups are left out."""
    found: dict[tuple[int | None, str], tuple[Member, ...]] = {}
    for fold, (_, validation, tested) in enumerate(rounds):
        found |= {(fold, "validation"): validation, (fold, "test"): tested}
    for use in ("test", "predict"):
        found[None, use] = tuple(m for m in members if m.use == use)
    return {key: group for key, group in found.items() if group}


def radiographs_of(members: Sequence[Member], radiographs: Sequence[Member]) -> dict[str, tuple[Member, ...]]:
    """Task of each volume -> its radiographs: those of its animal at its time point.

    Raises
    ------
    DarklungError
        An animal that lacks one of both.
    """
    key = [(m.animal, m.row.get("time_point") or "") for m in members]
    own = [(r.animal, r.row.get("time_point") or "") for r in radiographs]
    alone = sorted({f"{m.item} has no radiograph" for m, k in zip(members, key) if k not in own})
    alone += sorted({f"{r.item} is of no animal with a volume" for r, k in zip(radiographs, own) if k not in key})
    told = "learning.radiographs: wanted a volume and radiographs of every animal"
    require(not alone, f"{told}; {'; '.join(alone[:5])}" + (f" and {len(alone) - 5} more" if len(alone) > 5 else ""))
    return {m.task: tuple(r for r, at in zip(radiographs, own) if at == k) for m, k in zip(members, key)}


def lifts(
    predictions: Predictions,
    groups: Mapping[tuple[int | None, str], Sequence[Member]],
    views: Mapping[str, Sequence[Member]],
) -> Predictions:
    """The predictions of radiographs in the place of their volumes."""
    return {
        what: lifted.task(
            (what.arm, what.fold, what.role),
            task.name,
            {m.task: [r.task for r in views[m.task]] for m in groups[what.fold, what.role]},
        )
        for what, task in predictions.items()
    }


def joints(
    pairs: Mapping[Row, tuple[Row, Row]], predictions: Predictions, rounds: Sequence[Round]
) -> tuple[list[Task], Predictions]:
    """Of each pair the task that finds how much each arm counts, on validation animals alone, and its predictions."""
    fits: list[Task] = []
    found: Predictions = {}
    cases = [m.task for _, validation, _ in rounds for m in validation]
    for row, arms in pairs.items():
        solid, flat = (
            {(what.fold, what.role): task.name for what, task in predictions.items() if what.arm == arm.name} for arm in arms
        )
        folds = [(fold, "validation") for fold in range(len(rounds))]
        fits.append(joint.fit_task(row.name, cases, [solid[k] for k in folds], [flat[k] for k in folds]))
        for fold, role in solid:
            what = Prediction(arm=row.name, fold=fold, role=role)
            found[what] = joint.task((row.name, fold, role), fits[-1].name, solid[fold, role], flat[fold, role])
    return fits, found


def check_radiographs(study: Study, learning: LearningPart | None, members: Sequence[Member]) -> None:
    """Refuse radiographs that nothing sees or whose place nobody knows, and a joint arm that could not be judged.

    Raises
    ------
    DarklungError
        One line a mistake.
    """
    lines = []
    for name, source in study.sources.items():
        part = getattr(source, "radiographs", None)
        if part and learning is not None and learning.radiographs is None:
            lines.append(f"sources.{name}.radiographs: no arm sees them; wanted learning.radiographs")
        if isinstance(source, CasesSource) and part:
            lines += [line for folder in found_files(part, f"sources.{name}.radiographs") for line in _unplaced(folder)]
    if learning is not None and learning.joint_rows and not any(m.use == "test" for m in members):
        told = "how much each arm counts is found on validation animals, so that others must be held out"
        lines.append(f"learning.radiographs.joint: {told}; wanted animals of use test")
    if lines:
        raise DarklungError("\n".join(lines))


def _unplaced(path: Path) -> list[str]:
    """Why a stored radiograph cannot be brought to its animal's volume; empty where it can."""
    axes = len(image_grid(path / CHANNELS).spacing_m)
    if axes != 2:
        return [f"{path}: wanted a radiograph, got {axes} spatial axes"]
    try:
        view_of(case_facts(path).provenance.get(VIEW))
    except DarklungError as error:
        return [f"{path}: {error} (provenance of case.json)"]
    return []
