"""The report of a study: what was run, what came of it, what it looks like."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darklung import __version__
from darklung.core.types import Insertion
from darklung.io.case import StoredCase, load_case
from darklung.io.images import load_image
from darklung.io.tables import load_table
from darklung.pipeline import Context
from darklung.pipeline.record import read_json
from darklung.report.blocks import Section
from darklung.report.comparison import comparison_sections, published_section
from darklung.report.html import write_report
from darklung.report.pictures import Example, projections_section, slices_section
from darklung.report.records import cohort_section, parameters_section, records_section, sources_section
from darklung.report.sites import sites_section
from darklung.steps.learning import LOGITS, arm_and_fold
from darklung.study.scanner import NO_FLAWS

EXAMPLES = 3
TITLES = {"ct": "Simulated directional dark-field CT", "radiographs": "Measured radiographs with synthetic tumours"}
ASSUMPTIONS = {
    "ct": (
        "All animals, lesions and frames are simulated; nothing here was measured.",
        "Lung is a two-phase medium with an exponential (Debye) covariance; its dark field is uncertain by ± 50 %.",
        "Mimics keep the interface density stated for their class; the ranking of the arms depends on it.",
        "The beam is parallel.",
        "Visibility over energy is that of an ideal interferometer, scaled to the stated mean visibility.",
        "The flat field is known as well as the stated number of flats allows; spectrum and visibility spectrum exactly.",
        "The network sees the region found as lung in the image; lesions outside it count as missed.",
    ),
    "radiographs": (
        "Attenuation and dark field are measured; every tumour is synthetic.",
        "Lobes are dried and excised: no chest wall, heart or ribs lie over them, so there is less clutter than in a chest.",
        "A lesion replaces lung along the ray; its attenuation and scattering are the lobe's own times the stated ratios.",
        "The lobe's thickness is taken from its attenuation, scaled to the stated largest thickness.",
        "Noise of the measured maps is kept; the small change of noise behind a lesion is not modelled.",
        "Copies of one lobe share its anatomy; they are never in two folds, and intervals resample animals.",
    ),
}


def report(context: Context) -> None:
    """Write ``report.html``."""
    p = context.parameters
    study = p["study"]
    comparison = json.loads((context.input("evaluate") / "comparison.json").read_text())
    kind = study["kind"]
    sections = comparison_sections(comparison)
    if comparison.get("by_site"):
        sections.append(sites_section(comparison["by_site"]))
    sections.append(published_section(comparison, kind="ct" if kind == "ct" else "radiograph"))
    sections.append(slices_section(_examples(context), channels=_channels(study)))
    if "retrieve" in context.inputs:
        sections.append(_projections(context))
    sections.append(cohort_section(load_table(context.input("cohort") / "cohort")))
    if kind == "radiographs":
        sections.append(sources_section(p["sources"]))
    sections.append(parameters_section(study, assumptions=(*ASSUMPTIONS[kind], *_imperfections(study))))
    records = _records(context.input("evaluate").parents[1], p["tasks"])
    sections.append(records_section(records))
    write_report(
        context.out / "report.html",
        title=f"{TITLES[kind]}: {study['name']}",
        summary=_summary(study, comparison, records),
        sections=sections,
        footer=f"darklung {__version__}",
    )


def _imperfections(study: Mapping[str, Any]) -> list[str]:
    """Which flaws of a real scan were simulated and which were not."""
    if study["kind"] != "ct":
        return []
    nothing = NO_FLAWS.model_dump(mode="json")
    on = {name.replace("_", " "): value for name, value in study["effects"].items() if value != nothing.get(name)}
    off = [name.replace("_", " ") for name in study["effects"] if name.replace("_", " ") not in on and name != "gate"]
    told = [f"Not simulated: {', '.join(off)}."] if off else []
    for name, site in study["sites"].items():
        changes = [f"{part}.{k} {v}" for part in ("instrument", "scan", "effects") for k, v in site[part].items()]
        told.append(f"Site {name}: {', '.join(changes) or 'as the study says'}.")
    return told + ([f"Simulated flaws: {', '.join(f'{k} {v}' for k, v in on.items())}."] if on else [])


def _channels(study: Mapping[str, Any]) -> list[str]:
    """Channels that any arm sees, each once."""
    return list(dict.fromkeys(c for channels in study["learning"]["arms"].values() for c in channels))


def _examples(context: Context) -> list[Example]:
    """Of the first test animals with a lesion the image with most of it, with every arm's probability."""
    cases = {path.name: path for path in context.inputs["cases"]}
    animals = {row["subject"]: row["animal"] for row in load_table(context.input("cohort") / "cohort")}
    logits: dict[str, dict[str, Path]] = {}
    for folder in context.inputs["test"]:
        for file in sorted(folder.glob(f"*{LOGITS}")):
            logits.setdefault(file.name.removesuffix(LOGITS), {})[arm_and_fold(folder.name)[0]] = file
    examples: list[Example] = []
    for animal in sorted({animals[name] for name in logits}):
        own = {name: load_case(cases[name]) for name in sorted(logits) if animals[name] == animal}
        name = max(own, key=lambda n: int(own[n].target.sum()))
        case = own[name]
        if case.target.any():
            probability = {arm: _probability(file) for arm, file in logits[name].items()}
            examples.append(Example(name, case.channels, case.target, probability, case.region, note=_told(case)))
        if len(examples) == EXAMPLES:
            break
    return examples


def _probability(file: Path) -> np.ndarray:
    logit = load_image(file).channel("logit").astype(np.float64)
    return np.asarray(1 / (1 + np.exp(-np.clip(logit, -50, 50))))


def _told(case: StoredCase) -> str:
    def one(insertion: Insertion) -> str:
        return f"{insertion.kind} {insertion.tissue.replace('_', ' ')} {1e3 * insertion.diameter_m:.2f} mm"

    return "; ".join(one(i) for i in case.insertions) + "."


def _projections(context: Context) -> Section:
    """One view of a test animal, raw and retrieved."""
    image = load_image(context.input("retrieve") / "preview.ome.zarr")
    names = dict(zip(image.names, image.units))
    # z runs towards the head and with the rows; turned over, the head is on top.
    maps = {name.replace("_", " "): image.channel(name)[::-1] for name in names}
    units = {name.replace("_", " "): unit for name, unit in names.items()}
    lead = (
        f"One view of {context.input('retrieve').name}, first grating direction, head up: a raw frame and what is retrieved."
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


def _summary(
    study: Mapping[str, Any], comparison: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Short facts under the title."""
    n = next(iter(comparison["results"]["test"].values()))["n"]
    facts = {
        "Test animals": n["subjects"],
        "Lesions": n["positives"],
        "Negative tiles": n["negatives"],
        "Arms": len(comparison["arms"]),
        "Seed": study["seed"],
        "Work": f"{sum(r['wall_s'] for r in records) / 60:.1f} core-min",
    }
    if study["kind"] == "ct":
        facts["Counts per pixel"] = f"{study['scan']['counts']:.2g}"
        facts["Visibility"] = study["instrument"]["visibility"]
    return facts
