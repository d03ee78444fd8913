"""What the run around a model tells: its comparison, its animals, and the whole of its record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from darklung.core.checks import require
from darklung.core.files import reading
from darklung.io.case import CaseFacts, case_facts
from darklung.io.names import CASE, COMPARISON
from darklung.pipeline.artefacts import RUN_RECORD
from darklung.pipeline.folder import check_folder, require_up_to_date
from darklung.pipeline.record import seal_holds
from darklung.publish.card import Animals, Bin, Evaluation, Group, Measure, Run, Source, Split
from darklung.steps import cohort
from darklung.steps.card.files import read_own_record, read_written
from darklung.steps.evaluate import ITEM, STAGE

NOT_KNOWN: Animals = "not known"
SCOPE = "Validation: each scan by the model that did not learn from it. 95 % intervals are in parentheses."
ALONE = " These are figures of the arm, all of whose folds have a model; this one alone was not judged but as a fold."
FOLD_METRICS = {"sensitivity": "Sensitivity", "specificity": "Specificity"}


def about_run(folder: Path) -> dict[str, Any]:
    """run.json of a run folder.

    Raises
    ------
    DarklungError
        None there, of an older format, or not what was written; or its results are of other models than those there now.
    """
    check_folder(folder)
    path = folder / RUN_RECORD
    require(path.is_file(), f"{folder}: no finished run (no {RUN_RECORD})")
    found = read_written(path)
    require(seal_holds(path), f"{path}: is not what was written")
    require("study" in found and "name" in found, f"{folder}: its run has not come to an end; run it again")
    require_up_to_date(folder, f"{STAGE}/{ITEM}")
    return found


def comparison_of(folder: Path, arm: str) -> Mapping[str, Any] | None:
    """comparison.json, where the run has come to it and the arm is in it."""
    path = folder / STAGE / ITEM / COMPARISON
    content = read_written(path) if path.is_file() else {}
    with reading(path, "a comparison"):
        return content if arm in (content.get("arms") or ()) else None


def evaluation_of(content: Mapping[str, Any], arm: str, origin: str, *, alone: bool = False) -> Evaluation:
    """Results of an arm, as the comparison tells them; `alone`: the card is of one of its folds' models.

    Raises
    ------
    DarklungError
        A comparison that is none.
    """
    titles = content.get("metrics") or {}
    with reading(origin, "a comparison"):
        found = {s: r[arm] for s, r in content["results"].items() if arm in r}
        return Evaluation(
            scope=SCOPE + (ALONE if alone else ""),
            threshold=next((r["threshold"] for r in found.values() if r.get("threshold") is not None), None),
            splits=tuple(_split(name, result, titles) for name, result in found.items()),
            sites=tuple(_sites(content.get("by_site") or (), arm, titles)),
            settings=content.get("settings") or {},
        )


def _split(name: str, result: Mapping[str, Any], titles: Mapping[str, str]) -> Split:
    curve = result.get("reliability") or {}
    columns = [curve.get(k) or () for k in Bin.model_fields]  # comparisons of before have no intervals here
    probability = result.get("probability") or {}
    return Split(
        split=name,
        whole=_group(name, result, titles),
        folds=tuple(_fold(f) for f in result.get("by_fold") or ()),
        slope=probability.get("slope"),
        intercept=probability.get("intercept"),
        reliability=tuple(Bin(**dict(zip(Bin.model_fields, row))) for row in zip_longest(*columns)),
    )


def _group(title: str, result: Mapping[str, Any], titles: Mapping[str, str]) -> Group:
    n = result.get("n") or {}
    measures = tuple(_measure(k, titles.get(k, k), m) for k, m in (result.get("metrics") or {}).items())
    counts = {"animals": n.get("subjects"), "positives": n.get("positives"), "negatives": n.get("negatives")}
    return Group(title=title, measures=measures, **counts)


def _measure(name: str, title: str, found: Mapping[str, Any]) -> Measure:
    return Measure(name=name, title=title, value=found.get("value"), low=found.get("low"), high=found.get("high"))


def _fold(found: Mapping[str, Any]) -> Group:
    measures = tuple(_measure(k, title, found.get(k) or {}) for k, title in FOLD_METRICS.items())
    return Group(title=f"fold {found['fold']}", animals=found.get("animals"), measures=measures)


def _sites(entries: Iterable[Mapping[str, Any]], arm: str, titles: Mapping[str, str]) -> Iterator[Group]:
    for entry in entries:
        held = "" if entry["seen"] else ", held out"
        if arm in entry["results"]:
            yield _group(f"{entry['split']}, {entry['site']}{held}", entry["results"][arm], titles)


def sources_of(
    folder: Path, about: Mapping[str, Any], learned: set[str], content: Mapping[str, Any] | None, arm: str
) -> tuple[Source, ...]:
    """Sources of the scans that were learned from (`learned`: scans or animals) and tested on.

    A scan of a source from simulation is of a simulated animal; one from anywhere else is of a measured one, whatever was
    put into it, unless it is a labelled case that is marked as synthetic: of that it is not known.
    """
    facts = {f.parent.name: case_facts(f.parent) for f in sorted((folder / "cases").glob(f"*/{CASE}"))}
    in_learning = {n for n, f in facts.items() if {n, f.animal} & learned}
    in_test = {n for n, f in facts.items() if f.animal in _tested(content, arm)}
    belongs = belongs_to(folder)
    origins = {name: str(part.get("from")) for name, part in (about.get("study") or {}).get("sources", {}).items()}
    groups: dict[tuple[str, Animals, bool], list[str]] = {}
    for name in sorted(in_learning | in_test):
        source = source_of(belongs.get(name, facts[name].source), origins)
        kind = animals_of(origins.get(source, NOT_KNOWN), facts[name])
        groups.setdefault((source, kind, facts[name].synthetic), []).append(name)
    found = []
    for (source, kind, synthetic), scans in groups.items():
        own = {n: facts[n] for n in scans}
        counts = _counts(own, in_learning, in_test)
        found.append(Source(name=source, origin=origins.get(source, NOT_KNOWN), animals=kind, synthetic=synthetic, **counts))
    return tuple(found)


def _tested(content: Mapping[str, Any] | None, arm: str) -> set[str]:
    """Animals that the comparison has results of in its test."""
    with reading(COMPARISON, "a comparison"):
        found = ((content or {}).get("results") or {}).get("test", {}).get(arm, {})
        return {row["animal"] for row in found.get("by_animal") or ()}


def _counts(own: Mapping[str, CaseFacts], in_learning: set[str], in_test: set[str]) -> dict[str, Any]:
    return {
        "learned": len({f.animal for n, f in own.items() if n in in_learning}),
        "tested": len({f.animal for n, f in own.items() if n in in_test}),
        "names": tuple(sorted({f.animal for f in own.values()})),
        "sites": tuple(sorted({f.site for f in own.values() if f.site})),
    }


def belongs_to(folder: Path) -> dict[str, str]:
    """Scan -> source of the study, as the cohort's record tells; a case with insertions names the scan that they are in."""
    rows = ((read_own_record(folder / cohort.NAME) or {}).get("parameters") or {}).get("rows") or ()
    return {str(row["subject"]): str(row["source"]) for row in rows}


def source_of(name: str, origins: Mapping[str, str]) -> str:
    """The source of the study that a name stands for; the only one where it names none."""
    return name if name in origins or len(origins) != 1 else next(iter(origins))


def animals_of(origin: str, facts: CaseFacts) -> Animals:
    """Whether the animal of a case was simulated or measured, by what its source is from."""
    if origin == "simulation":
        return "simulated"
    return NOT_KNOWN if origin in ("cases", NOT_KNOWN) and facts.synthetic else "measured"


def atlases_of(about: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the files that simulated anatomy is from."""
    parts = ((part.get("body") or {}).get("atlas") for part in (about.get("study") or {}).get("sources", {}).values())
    return tuple(sorted({Path(str(a.get("file"))).name for a in parts if isinstance(a, dict)}))


def run_of(folder: Path, about: Mapping[str, Any]) -> Run:
    """Name, seed and cost of the whole run."""
    rows = about.get("tasks") or ()
    with reading(folder / RUN_RECORD, "a run"):
        records = [read_own_record(folder / row["task"]) or {} for row in rows]
        times = [r["processor_s"] for r in records if r.get("processor_s") is not None]
        return Run(
            name=about["name"],
            seed=about["seed"],
            tasks=len(rows),
            wall_s=about.get("total_task_s"),
            processor_s=round(sum(times), 3) if times else None,
        )
