"""The report of a study: what was run, what came of it, what it looks like."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darklung import __version__
from darklung.core.files import read_object
from darklung.core.types import Insertion
from darklung.io.case import LabelledCase, case_facts
from darklung.io.documents import Document
from darklung.io.images import load_image
from darklung.io.names import COMPARISON, LOGITS, PREVIEW, REPORT
from darklung.io.tables import load_table
from darklung.learn.files import DESCRIPTION_FILE
from darklung.pipeline import Context, Task
from darklung.pipeline.record import read_json
from darklung.report.assumptions import assumptions_of, report_title
from darklung.report.blocks import Section
from darklung.report.comparison import comparison_sections, published_section
from darklung.report.html import write_report
from darklung.report.importances import Drops, importances_section
from darklung.report.pictures import Example, projections_section, slices_section
from darklung.report.records import cohort_section, parameters_section, records_section, sources_section
from darklung.report.sites import sites_section
from darklung.steps.evaluate import Prediction
from darklung.steps.seen import STAGE as CHANNELS
from darklung.steps.seen import load_seen
from darklung.study.scanner import NO_FLAWS
from darklung.study.sources import LobesSource

if TYPE_CHECKING:  # what plans the step must not decide its key
    from darklung.steps.members import Member
    from darklung.study.learning import LearningPart
    from darklung.study.study import Study

STAGE, ITEM = "report", "all"
EXAMPLES = 3


class Parameters(Document):
    """The study, with what of it was trained, and what the inputs hold."""

    study: dict[str, Any]
    kinds: dict[str, str]
    predictions: tuple[Prediction, ...]
    tasks: tuple[str, ...]
    sources: tuple[dict[str, Any], ...] = ()


def task(
    study: Study,
    learning: LearningPart,
    members: Sequence[Member],
    evaluation: str,
    judged: Sequence[tuple[Prediction, str]],
    tasks: Sequence[str],
    trees: Sequence[str] = (),
) -> Task:
    """The report of a comparison; `judged` are the predictions with their tasks, `trees` the trainings of boosted trees."""
    tests = [(what, name) for what, name in judged if what.role == "test"]
    parameters = Parameters(
        study=study.model_copy(update={"learning": learning}).model_dump(mode="json", by_alias=True),
        kinds={name: source.origin for name, source in study.sources.items()},
        predictions=tuple(what for what, _ in tests),
        tasks=tuple(tasks),
        sources=tuple(_sources(study)),
    )
    cases = tuple(m.task for m in members)
    inputs = {"cohort": ("cohort/all",), "evaluate": (evaluation,), "cases": cases, "test": tuple(n for _, n in tests)}
    if trees:
        inputs["trees"] = tuple(trees)
    shown = [name for name in tasks if name.startswith("preview/")]
    if shown:
        inputs["preview"] = (shown[-1],)
    if made := tuple(name for name in tasks if name.startswith(f"{CHANNELS}/")):
        inputs["channels"] = made
    return Task(STAGE, ITEM, "darklung.steps.report:report", parameters.model_dump(mode="json"), inputs)


def _sources(study: Study) -> Iterator[dict[str, Any]]:
    """One row a measured lobe: whether it can be used, decided before anything is trained."""
    from darklung.insert.lobes import RadiographLobe, lobe_quality, split_usable
    from darklung.io.lobes import read_lobes

    for source in study.sources.values():
        if not isinstance(source, LobesSource) or study.insertion is None:
            continue
        files = read_lobes(Path(source.data), pixel_m=study.insertion.pixel)
        animals = {f.name: source.facts(f.name, f.mouse).animal for f in files}
        lobes = {f.name: RadiographLobe(f.name, animals[f.name], f.maps) for f in files}
        _, refused = split_usable(list(lobes.values()))
        for f in files:
            quality = lobe_quality(lobes[f.name])
            yield {
                "lobe": f.name,
                "animal": animals[f.name],
                "exposure": f.exposure,
                "used": "no: " + refused[f.name] if f.name in refused else "yes",
                "flat visibility": round(quality.flat_visibility, 3),
                "streak index": round(quality.streak_index, 2),
            }


def report(context: Context) -> None:
    """Write ``report.html``."""
    p = Parameters.model_validate(context.parameters)
    comparison = json.loads((context.input("evaluate") / COMPARISON).read_text(encoding="utf-8"))
    examples = _examples(context, p)
    flat = "radiograph" if set(p.kinds.values()) == {"lobes"} else "ct"
    sections = comparison_sections(comparison)
    if comparison.get("by_site"):
        sections.append(sites_section(comparison["by_site"]))
    sections.append(published_section(comparison, kind=flat))
    if "trees" in context.inputs:
        sections.append(importances_section(_importances(context.inputs["trees"])))
    sections.append(slices_section(examples, channels=_channels(p.study)))
    if "preview" in context.inputs:
        sections.append(_projections(context))
    sections.append(cohort_section(load_table(context.input("cohort") / "cohort")))
    if p.sources:
        sections.append(sources_section(p.sources))
    assumptions = assumptions_of(p.study["sources"], p.kinds, flawless=NO_FLAWS.model_dump(mode="json"))
    sections.append(parameters_section(p.study, assumptions=assumptions))
    records = _records(context.input("evaluate").parents[1], p.tasks)
    sections.append(records_section(records))
    write_report(
        context.out / REPORT,
        title=f"{report_title(p.kinds)}: {p.study['name']}",
        summary=_summary(p, comparison, records),
        sections=sections,
        footer=f"darklung {__version__}",
    )


def _importances(folders: Sequence[Path]) -> dict[str, Drops]:
    """What each fold's trees of a row go by, by channel, kind and scale."""
    found: dict[str, dict[tuple[str, str, float], list[float]]] = {}
    for folder in folders:
        drops = found.setdefault(folder.name.rpartition(".fold")[0], {})
        for row in read_object(folder / DESCRIPTION_FILE)["importances"]:
            drops.setdefault((row["channel"], row["kind"], row["scale_m"]), []).append(row["drop"])
    return dict(found)


def _channels(study: Mapping[str, Any]) -> list[str]:
    """Channels that any arm sees, each once."""
    return list(dict.fromkeys(c for channels in study["learning"]["arms"].values() for c in channels))


def _examples(context: Context, p: Parameters) -> list[Example]:
    """Of the first test animals with a lesion the image with most of it, with every arm's probability."""
    cases = {path.name: path for path in context.inputs["cases"]}
    logits: dict[str, dict[str, Path]] = {}
    for what, folder in zip(p.predictions, context.inputs["test"]):
        for file in sorted(folder.glob(f"*{LOGITS}")):
            logits.setdefault(file.name.removesuffix(LOGITS), {})[what.arm] = file
    animals = {name: case_facts(cases[name]).animal for name in logits}
    examples: list[Example] = []
    for animal in sorted(set(animals.values())):
        seen, made = _channels(p.study), context.inputs.get("channels", ())
        own = {name: load_seen(cases[name], seen, made) for name in sorted(logits) if animals[name] == animal}
        name = max(own, key=lambda n: int(own[n].lesion.sum()))
        case = own[name]
        if case.lesion.any():
            probability = {arm: _probability(file) for arm, file in logits[name].items()}
            examples.append(Example(name, case.channels, case.lesion, probability, case.region, note=_told(case)))
        if len(examples) == EXAMPLES:
            break
    return examples


def _probability(file: Path) -> np.ndarray:
    logit = load_image(file).channel("logit").astype(np.float64)
    return np.asarray(1 / (1 + np.exp(-np.clip(logit, -50, 50))))


def _told(case: LabelledCase) -> str:
    def one(insertion: Insertion) -> str:
        return f"{insertion.kind} {insertion.tissue.replace('_', ' ')} {1e3 * insertion.diameter_m:.2f} mm"

    return "; ".join(one(i) for i in case.insertions) + "."


def _projections(context: Context) -> Section:
    """One view of a test animal, raw and retrieved."""
    image = load_image(context.input("preview") / PREVIEW)
    names = dict(zip(image.names, image.units))
    # z runs towards the head and with the rows; turned over, the head is on top.
    maps = {name.replace("_", " "): image.channel(name)[::-1] for name in names}
    units = {name.replace("_", " "): unit for name, unit in names.items()}
    lead = (
        f"One view of {context.input('preview').name}, first grating direction, head up: a raw frame and what is retrieved."
    )
    return projections_section(maps, units=units, lead=lead)


def _records(folder: Path, tasks: Sequence[str]) -> list[dict[str, Any]]:
    """Cost of each stage, summed over its tasks, and the environment of the last one."""
    stages: dict[str, dict[str, Any]] = {}
    for name in tasks:
        record = read_json(folder / name / "record.json")
        if record is None:
            continue
        row = stages.setdefault(name.split("/")[0], {"stage": name.split("/")[0], "tasks": 0, "wall_s": 0.0})
        row["tasks"] += 1
        row["wall_s"] += record["wall_s"]
        row["peak_memory_mib"] = max(row.get("peak_memory_mib", 0.0), record["peak_memory_mib"])
        row["environment"] = record["environment"]
        if row["tasks"] == 1 and "seed" in record["parameters"]:
            row["seed"] = record["parameters"]["seed"]
    return list(stages.values())


def _summary(p: Parameters, comparison: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Short facts under the title."""
    n = next(iter(comparison["results"]["test"].values()))["n"]
    facts = {
        "Test animals": n["subjects"],
        "Lesions": n["positives"],
        "Negative tiles": n["negatives"],
        "Arms": len(comparison["arms"]),
        "Seed": p.study["seed"],
        "Work": f"{sum(r['wall_s'] for r in records) / 60:.1f} core-min",
    }
    simulated = [p.study["sources"][name] for name, kind in p.kinds.items() if kind == "simulation"]
    if len(simulated) == 1:
        facts["Counts per pixel"] = f"{simulated[0]['scan']['counts']:.2g}"
        facts["Visibility"] = simulated[0]["instrument"]["visibility"]
    return facts
