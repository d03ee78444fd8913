"""A run folder as a study leaves it, of tiny made-up cases and predictions: no simulation and no training."""

import numpy as np
import pytest

from darklung.core.types import LESION, UNKNOWN, Image, Insertion
from darklung.features.labels import hard_negatives
from darklung.io.case import CaseFacts, LabelledCase, save_case
from darklung.io.images import save_image
from darklung.io.names import LOGITS
from darklung.io.tables import save_table
from darklung.pipeline import Context
from darklung.pipeline.artefacts import note, outputs_of
from darklung.pipeline.record import environment, write_record
from darklung.steps import evaluate
from darklung.study.learning import EvaluationPart

SHAPE, SPACING = (16, 20, 16), (4e-4,) * 3
TRAIN = tuple(f"train-{i:04d}" for i in range(1, 5))
TEST = tuple(f"test-{i:04d}" for i in range(1, 6))
SEED = 11


def labelled(name, seed, unknown=False):
    """A case with two lesions, a mimic and a sham at places that its name and the seed decide."""
    rng = np.random.default_rng([seed, *name.encode()])
    image = Image(rng.normal(20, 2, (1, *SHAPE)).astype(np.float32), ("attenuation",), ("1/m",), SPACING)
    grid = np.indices(SHAPE).reshape(3, -1).T
    instances, things = np.zeros(SHAPE, np.uint16), []
    corners = rng.permutation([(4, 4, 4), (4, 15, 11), (11, 5, 11), (11, 15, 4)])
    for number, (at, kind) in enumerate(zip(corners, ("lesion", "lesion", "mimic")), start=1):
        centre = at + rng.uniform(-0.5, 0.5, 3)
        ball = (np.linalg.norm(grid - centre, axis=1) < 1.9).reshape(SHAPE)
        instances[ball] = number
        things.append(Insertion(number, kind, "solid", image.position_m(centre), 1.2e-3))
    things.append(Insertion(4, "sham", "solid", image.position_m(corners[3]), 1.2e-3))
    lesion = np.isin(instances, (1, 2))
    labels = np.where(lesion, LESION, 0).astype(np.uint8)
    if unknown:
        labels[12:, 0:4, 0:4] = UNKNOWN
        labels[instances == 2] = UNKNOWN
    region = np.zeros(SHAPE, bool)
    region[1:-1, 1:-1, 1:-1] = True
    hard = hard_negatives(things, instances, image)
    facts = CaseFacts(subject=name, animal=name, source="made up")
    return LabelledCase(image, labels, region, region, instances, hard, tuple(things), facts)


def logits_of(case, skill, seed):
    rng = np.random.default_rng([seed, *case.about.subject.encode()])
    return (rng.normal(-3, 1.2, SHAPE) + skill * np.isin(case.instances, (1, 2))).astype(np.float32)


def make_run(folder, *, seed=1, skills=None, metrics=None, study=None, part=None):
    """Cases, predictions of two folds and of the test animals, and the evaluation that the step makes of them."""
    skills = skills or {"transmission": 2.5, "hybrid": 5.0}
    cases = {name: labelled(name, seed, unknown=name == TEST[1]) for name in (*TRAIN, *TEST)}
    for name, case in cases.items():
        save_case(folder / "cases" / name, case)
    what, places = [], []
    for arm, skill in skills.items():
        for fold, role, names in ((0, "validation", TRAIN[:2]), (1, "validation", TRAIN[2:]), (None, "test", TEST)):
            item = f"{arm}.{role}" if fold is None else f"{arm}.fold{fold}.{role}"
            for name in names:
                logits = logits_of(cases[name], skill, 7)
                image = cases[name].channels.with_data(logits[None], ("logit",), ("1",))
                save_image(folder / "predict" / item / f"{name}{LOGITS}", image)
            what.append(evaluate.Prediction(arm=arm, fold=fold, role=role))
            places.append(folder / "predict" / item)
    parameters = evaluate.Parameters(
        evaluation=part or EvaluationPart(replicates=200, metrics=metrics or {}),
        arms=tuple(skills),
        predictions=tuple(what),
        animals={n: n for n in cases},
        sites={},
        seed=SEED,
    ).model_dump(mode="json")
    out = folder / "evaluate" / "all"
    out.mkdir(parents=True)
    inputs = {"cases": tuple(folder / "cases" / n for n in cases), "predictions": tuple(places)}
    evaluate.evaluate(Context(out, folder, inputs, parameters, {}, lambda *_: None))
    record = {"key": f"evaluate-{seed}", "parameters": parameters, "environment": environment()}
    write_record(out / "record.json", {**record, "outputs": note(outputs_of(out))})
    rows = [{"subject": n, "seed": seed, "split": n.split("-")[0]} for n in cases]
    (folder / "cohort" / "all").mkdir(parents=True)
    save_table(folder / "cohort" / "all" / "cohort", rows, dict.fromkeys(rows[0], "a column"))
    tasks = [{"task": f"cases/{n}", "key": f"{n}-{seed}"} for n in cases]
    tasks.append({"task": "evaluate/all", "key": f"evaluate-{seed}-{sorted(skills.items())}"})
    about = {"name": folder.name, "seed": seed, "study": study or {"name": folder.name, "learning": {"steps": 100}}}
    write_record(folder / "run.json", {"format": 2, **about, "environment": environment(), "tasks": tasks})
    return folder


@pytest.fixture(scope="session")
def run_maker():
    return make_run


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "first")
