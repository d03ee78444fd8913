"""The report of a study: what was run, what came of it, what it looks like."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml
from pydantic import Field

from darklung import __version__
from darklung.core.files import read_object
from darklung.core.types import Insertion
from darklung.io.case import LabelledCase, case_facts
from darklung.io.documents import Document
from darklung.io.images import load_image
from darklung.io.names import COMPARISON, PREVIEW, REPORT
from darklung.io.tables import load_table
from darklung.learn.files import DESCRIPTION_FILE
from darklung.pipeline import Context, Task
from darklung.pipeline.record import read_json
from darklung.report.assumptions import assumptions_of, report_title
from darklung.report.blocks import Section
from darklung.report.comparison import comparison_sections, published_section
from darklung.report.gallery import gallery_section
from darklung.report.html import write_report
from darklung.report.importances import Drops, importances_section
from darklung.report.pictures import Example, projections_section, slices_section
from darklung.report.promises import promises_section
from darklung.report.records import cohort_section, parameters_section, records_section, sources_section
from darklung.report.sites import sites_section
from darklung.report.story import methods_section, story_section
from darklung.report.training import training_section
from darklung.report.viewer import viewer_of, viewer_version
from darklung.steps.evaluate import Prediction
from darklung.steps.report_errors import Judged, arm_errors, maps_by_case, training_logs
from darklung.steps.seen import STAGE as CHANNELS
from darklung.steps.seen import load_seen
from darklung.study.learning import EvaluationPart, LearningPart
from darklung.study.scanner import NO_FLAWS
from darklung.study.sources import LobesSource, SimulatedSource

if TYPE_CHECKING:  # what plans the step must not decide its key
    from darklung.steps.members import Member
    from darklung.study.study import Study

STAGE, ITEM = "report", "all"
EXAMPLES = 3
VIEWERS = 1  # of the examples: each adds its volumes to the page


class Parameters(Document):
    """The study, with what of it was trained, what the inputs hold, and the volume viewer that was there, if one was."""

    study: dict[str, Any]
    kinds: dict[str, str]
    predictions: tuple[Prediction, ...]
    tasks: tuple[str, ...]
    sources: tuple[dict[str, Any], ...] = ()
    viewer: str | None = Field(default_factory=viewer_version)


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
    cohort = load_table(context.input("cohort") / "cohort")
    folder = context.input("evaluate").parents[1]
    records = _records(folder, p.tasks)
    sections = [
        story_section(comparison, p.study, p.kinds, cohort, tile_m=_tile_m(p)),
        *_results(context, p, comparison),
        *_pictures(context, p, comparison),
        training_section(training_logs(folder, p.tasks)),
        cohort_section(cohort),
        sources_section(p.sources) if p.sources else None,
        methods_section(comparison, p.study, **_methods(p)),
        _assumed(p),
        records_section(records),
    ]
    write_report(
        context.out / REPORT,
        title=f"{report_title(p.kinds)}: {p.study['name']}",
        subtitle=_made(p, records),
        summary=_summary(p, comparison, records),
        sections=[s for s in sections if s is not None],
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


def _results(context: Context, p: Parameters, comparison: Mapping[str, Any]) -> Iterator[Section]:
    yield from comparison_sections(comparison)
    if (promised := promises_section(comparison)) is not None:
        yield promised
    if comparison.get("by_site"):
        yield sites_section(comparison["by_site"])
    yield published_section(comparison, kind="radiograph" if set(p.kinds.values()) == {"lobes"} else "ct")
    if "trees" in context.inputs:
        yield importances_section(_importances(context.inputs["trees"]))


def _pictures(context: Context, p: Parameters, comparison: Mapping[str, Any]) -> Iterator[Section | None]:
    """Single errors, examples, and one view as it was measured."""
    cases = {path.name: path for path in context.inputs["cases"]}
    maps = maps_by_case([what.arm for what in p.predictions], context.inputs["test"])
    units = pd.read_parquet(context.input("evaluate") / "units.parquet")
    found = comparison["results"]["test"]
    thresholds = {arm: r["threshold"] for arm, r in found.items() if r.get("threshold") is not None}
    tested = units[units["split"] == "test"]
    made = context.inputs.get("channels", ())
    judged = Judged(cases, maps, tested, thresholds, _tile_m(p), made)
    learning = LearningPart.model_validate(p.study["learning"])
    channels = {row.name: learning.shown(row) for row in learning.compared}
    yield gallery_section(arm_errors(judged, channels))
    examples, shown = _examples(p, cases, maps, made), _channels(p.study)
    yield slices_section(examples, channels=shown, viewers=[viewer_of(e, shown) for e in examples[:VIEWERS]])
    if "preview" in context.inputs:
        yield _projections(context)


def _assumed(p: Parameters) -> Section:
    assumptions = assumptions_of(p.study["sources"], p.kinds, flawless=NO_FLAWS.model_dump(mode="json"))
    return parameters_section(p.study, assumptions=assumptions)


def _tile_m(p: Parameters) -> float:
    return EvaluationPart.model_validate(p.study["evaluation"]).tile


def _methods(p: Parameters) -> dict[str, Any]:
    """Version, the study as a file, and its tiles."""
    text = str(yaml.safe_dump(dict(p.study), sort_keys=False, allow_unicode=True))
    return {"version": __version__, "study_file": text, "tile_m": _tile_m(p)}


def _made(p: Parameters, records: Sequence[Mapping[str, Any]]) -> str:
    """When and with what."""
    last = max((r["ended"] for r in records), default="")
    when = f"Computed until {last}" if last else "Computed"
    return f"{when} by darklung run study.yaml (the file is under Methods), seed {p.study['seed']}."


def _channels(study: Mapping[str, Any]) -> list[str]:
    """Channels that any arm sees, each once."""
    return list(dict.fromkeys(c for channels in study["learning"]["arms"].values() for c in channels))


def _examples(
    p: Parameters, cases: Mapping[str, Path], maps: Mapping[str, Mapping[str, Path]], made: Sequence[Path]
) -> list[Example]:
    """Of the first test animals with a lesion the image with most of it, with every arm's probability."""
    animals = {name: case_facts(cases[name]).animal for name in maps}
    examples: list[Example] = []
    for animal in sorted(set(animals.values())):
        own = {n: load_seen(cases[n], _channels(p.study), made) for n in sorted(maps) if animals[n] == animal}
        name = max(own, key=lambda n: int(own[n].lesion.sum()))
        case = own[name]
        if case.lesion.any():
            probability = {arm: _probability(file) for arm, file in maps[name].items()}
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
    """Cost of each stage, summed over its tasks, with each environment that any of them had."""
    stages: dict[str, dict[str, Any]] = {}
    for name in tasks:
        record = read_json(folder / name / "record.json")
        if record is None:
            continue
        stage, seed = name.split("/")[0], record["parameters"].get("seed")
        new = {"stage": stage, "tasks": 0, "wall_s": 0.0, "seed": seed, "environments": []}
        row = stages.setdefault(stage, new)
        row["tasks"] += 1
        row["wall_s"] += record["wall_s"]
        row["processor_s"] = _sum(row.get("processor_s", 0.0), record.get("processor_s"))
        row["ended"] = max(row.get("ended", ""), _ended(record))
        row["peak_memory_mib"] = max(row.get("peak_memory_mib", 0.0), record["peak_memory_mib"])
        if seed != row["seed"]:
            row["seed"] = "one a task"
        if record["environment"] not in row["environments"]:
            row["environments"].append(record["environment"])
    return list(stages.values())


def _ended(record: Mapping[str, Any]) -> str:
    ended = datetime.fromisoformat(record["started"]) + timedelta(seconds=record["wall_s"])
    return ended.strftime("%Y-%m-%d %H:%M:%S UTC")


def _sum(so_far: float | None, more: float | None) -> float | None:
    """None once a part is not known: records of before had no processor time."""
    return None if so_far is None or more is None else so_far + more


def _cost(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Processor time, and the time that the tasks took one after the other."""
    used = [r.get("processor_s") for r in records]
    wall = sum(r["wall_s"] for r in records) / 60
    known = {} if None in used else {"Processor time": f"{sum(float(u or 0) for u in used) / 60:.1f} min"}
    return {**known, "Tasks one after another": f"{wall:.1f} min"}


def _machine(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What it was computed on."""
    found = _each(_hardware(e.get("hardware") or {}) for record in records for e in record["environments"])
    return {"Machine": found} if found else {}


def _hardware(known: Mapping[str, Any]) -> str:
    told = [str(known[k]) for k in ("processor", "system") if known.get(k)]
    return ", ".join([*told, *([f"{known['cores']} cores"] if known.get("cores") else [])])


def _summary(p: Parameters, comparison: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Short facts under the title."""
    n = next(iter(comparison["results"]["test"].values()))["n"]
    facts = {
        "Test animals": n["subjects"],
        "Lesions": n["positives"],
        "Negative tiles": n["negatives"],
        "Arms": len(comparison["arms"]),
        "Seed": p.study["seed"],
        **_cost(records),
        **_machine(records),
    }
    if scanners := _scanners(p):
        facts["Counts per pixel"] = _each(f"{s.scan.counts_per_pixel:.2g}" for s in scanners)
        facts["Visibility"] = _each(f"{s.instrument.flat_visibility:g}" for s in scanners)
    return facts


def _scanners(p: Parameters) -> list[SimulatedSource]:
    """Every simulated scanner: a source as each of its sites has it."""
    plain = [p.study["sources"][name] for name, kind in p.kinds.items() if kind == "simulation"]
    sources = [SimulatedSource.model_validate(source) for source in plain]
    return [source.at(site) for source in sources for site in source.sites or [""]]


def _each(values: Iterable[str]) -> str:
    """Every text once."""
    return "; ".join(dict.fromkeys(v for v in values if v))
