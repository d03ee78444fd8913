"""The page of what is there: text and tables from the runs' own results, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from darklung.evaluate.statistics import Estimate
from evidence_parts.expected import EXPECTED, Expectation, row
from evidence_parts.jobs import JOBS, LETTERS, OBSERVERS, STUDIES
from evidence_parts.plan import REDUCED, cost_lines
from evidence_parts.tables import DRAWS, NEGATIVES, POSITIVES, SHOWN, Missing, Results, drawn

# Dey, Meyer & Taqi 2025, arXiv 2510.27679: sensitivity and specificity of each arm; the numbers of tiles follow from them.
PUBLISHED = {"transmission": (0.510, 0.929), "dark_field": (0.837, 0.905), "hybrid": (0.796, 0.976)}
DRAWN_FROM = ("mice", "lobes-0.24-3mm", "lobes-0.24-4mm")
TITLES = {
    "four-arm": "CT, four arms",
    "left-out": "Families and scanners that were not learned from",
    "radiographs": "Radiographs",
    "ablations": "Ablations",
    "no-gratings": "Attenuation without gratings, at equal dose",
}


def page(out: Path, *, trial: bool = False) -> str:
    """The whole page as Markdown."""
    results = Results(out)
    lines = ["# Evidence", "", *_head(results, trial), ""]
    lines += ["## Expected, and what came", "", *_verdicts(results), ""]
    for study, title in TITLES.items():
        lines += [f"## {title}", "", *_study(results, study), ""]
    lines += ["## What is less than was wished", "", *(f"- {text}" for text in REDUCED), ""]
    lines += ["## What it costs", "", "Processor time of one core, recorded where a run is there, estimated where not.", ""]
    return "\n".join([*lines, *cost_lines(out), ""])


def _head(results: Results, trial: bool) -> Iterator[str]:
    if trial:
        yield "**A trial of a few animals and training steps: no number here says anything.**\n"
    yield (
        "Written by `python benchmarks/evidence.py report`, from runs of `python benchmarks/evidence.py run`; "
        "`python benchmarks/evidence.py plan` tells what they compute. All animals are simulated; the lobes of "
        "`real-lobes` are measured, with tumours put in. What was expected stands in "
        "`benchmarks/evidence_parts/expected.py` and was written before any result was there "
        "([204](decisions/204-evidence-by-one-command.md))."
    )
    yield ""
    yield (
        "Intervals are of 95 % over animals, differences paired by animal. A verdict is that of the interval alone, "
        f"and there are {len(EXPECTED) * len(OBSERVERS)} of them: one in forty could fall on a wrong side by chance. "
        "`boosting` are boosted trees, the other rows networks."
    )
    there = [name for name in JOBS if results.there(name)]
    missing = [name for name in JOBS if name not in there]
    yield ""
    yield f"**{len(there)} of {len(JOBS)} runs are there.**" + (f" Missing: {', '.join(missing)}." if missing else "")


def cell(found: Estimate, sign: str = "") -> str:
    """A value with its interval; a dash where it is not defined."""
    if not np.isfinite(found.value):
        return "–"
    return f"{found.value:{sign}.3f} [{found.low:{sign}.3f}, {found.high:{sign}.3f}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(r)} |" for r in rows)]


def verdict_cell(results: Results, expectation: Expectation, observer: str) -> str:
    """The difference and what it says, or that it is missing."""
    terms = [(sign, run, row(arm, observer), animals) for sign, run, arm, animals in expectation.terms]
    try:
        found = results.difference(terms, expectation.metric)
    except Missing:
        return "missing"
    return f"{cell(found, '+')}: **{expectation.verdict(found)}**"


def _verdicts(results: Results) -> list[str]:
    rows = []
    for e in EXPECTED:
        told = [verdict_cell(results, e, observer) for observer in OBSERVERS]
        rows.append([LETTERS[e.study], e.text, f"{SHOWN[e.metric][0]}: {e.rule()}", *told])
    return _table(["", "expected", "by", "networks", "boosted trees"], rows)


def arms_table(results: Results, names: Sequence[str], animals: str = "") -> list[str]:
    """Every arm of these runs in all metrics, those that are missing told."""
    missing = [name for name in names if not results.there(name)]
    lines = [f"Missing: {', '.join(missing)}.", ""] if missing else []
    for name in (n for n in names if n not in missing):
        count, lesions, negatives = results.counts(name)
        lines += [f"**{name}**: {count} test animals, {lesions} lesions, {negatives} tiles without.", ""]
        rows = [
            [r.replace(".", ", "), *(cell(results.estimate(name, r, m, animals)) for m in SHOWN)]
            for r in results.run(name).comparison["arms"]
        ]
        lines += [*_table(["arm", *(title for title, _ in SHOWN.values())], rows), ""]
    return lines


def _study(results: Results, study: str) -> list[str]:
    names = [job.name for job in STUDIES[study]]
    if study == "left-out":
        return _gaps(results)
    lines = arms_table(results, names)
    if study == "four-arm":
        lines += _rates(results, names)
    if study == "radiographs":
        lines += [*_published(results), "", *_few(results)]
    if study == "ablations":
        lines += _gains(results, names)
    return lines


def _rates(results: Results, names: Sequence[str]) -> list[str]:
    """Called at the threshold of validation: lesions by class, negatives by kind."""
    lines = [
        "Called at the threshold that validation fixed at 95 % specificity: lesions by class and size, negatives by kind.",
        "",
    ]
    for name in (n for n in names if results.there(n)):
        arms = results.run(name).comparison["arms"]
        columns = []
        for arm in arms:
            of_class = {k: (v["n"], v["sensitivity"]) for k, v in results.rates(name, arm, "by_class").items()}
            sizes = results.run(name).comparison["results"]["test"][arm]["by_size"]
            of_size = {f"{s['low_mm']:g} to {s['high_mm']:g} mm": (s["n"], s["sensitivity"]) for s in sizes}
            of_kind = {k: (v["n"], v["value"]) for k, v in results.rates(name, arm, "by_kind").items()}
            columns.append({**of_class, **of_size, **of_kind})
        rows = [[f"{k} ({n})", *(f"{c[k][1]:.2f}" if k in c else "–" for c in columns)] for k, (n, _) in columns[0].items()]
        lines += [f"**{name}**", "", *_table(["", *(a.replace(".", ", ") for a in arms)], rows), ""]
    return lines


def _gaps(results: Results) -> list[str]:
    """AUROC of the same animals by models that learned from their family or scanner, and by models that did not."""
    lines = [
        "The same test animals, models of as many animals: once with animals like them among those learned from, once "
        "without. The gap is the first minus the second. Each scanner sees mice of its own, all of family A.", "",
    ]  # fmt: skip
    for what, names in (("families", ("A", "B", "C")), ("sites", ("default", "south", "west"))):
        rows = []
        for name in names:
            for observer in OBSERVERS:
                for arm in ("transmission", "dark_field", "hybrid"):
                    rows.append(
                        [name, row(arm, observer).replace(".", ", "), *_gap(results, what, name, row(arm, observer))]
                    )
        head = [what, "arm", "AUROC, learned from", "not learned from", "gap", "gap of lesions found"]
        lines += [*_table(head, rows), ""]
    return lines


def _gap(results: Results, what: str, name: str, arm: str) -> list[str]:
    runs = [f"{what}-all", f"{what}-without-{name}"]
    try:
        terms = [(sign, run, arm, f"{name}-") for sign, run in zip((1, -1), runs)]
        told = [cell(results.estimate(run, arm, "auroc", f"{name}-")) for run in runs]
        return [*told, *(cell(results.difference(terms, m), "+") for m in ("auroc", "search"))]
    except Missing:
        return ["missing", "missing", "–", "–"]


def _published(results: Results) -> list[str]:
    """The published table beside ours, at the published specificities."""
    lines = [
        "Sensitivity at the specificity that was published for each arm (Dey, Meyer & Taqi 2025, arXiv 2510.27679: "
        "euthanized mice, "
        f"{POSITIVES} positives and {NEGATIVES} negatives as the percentages imply), ours on all tiles of a run. The "
        f"set-ups are not "
        "the same: tumours, pixels, animals and the choice of negatives differ.", "",
    ]  # fmt: skip
    rows = []
    for name in [job.name for job in STUDIES["radiographs"] if results.there(job.name)]:
        for observer in OBSERVERS:
            for arm, (_, specificity) in PUBLISHED.items():
                found = results.at_specificity(name, row(arm, observer), specificity)
                rows.append([name, row(arm, observer).replace(".", ", "), f"{specificity:.3f}", cell(found)])
    published = [["published", arm, f"{s:.3f}", f"{t:.3f}"] for arm, (t, s) in PUBLISHED.items()]
    return [*lines, *_table(["run", "arm", "specificity", "sensitivity"], [*published, *rows])]


def _few(results: Results) -> list[str]:
    """How far a study of the published size may fall from the whole."""
    lines = [
        f"What {POSITIVES} positive and {NEGATIVES} negative tiles would have told: 95 % of {DRAWS} draws without "
        f"replacement, at the "
        "threshold of validation. Draws ignore that tiles of an animal are alike.", "",
    ]  # fmt: skip
    rows = []
    for name in (n for n in DRAWN_FROM if results.there(n)):
        for arm in results.run(name).comparison["arms"]:
            try:
                found = drawn(results.view(name, arm))
            except Missing as missing:
                rows.append([name, arm.replace(".", ", "), str(missing), "", ""])
                continue
            ends = [np.quantile(v, (0.025, 0.5, 0.975)) for v in found.values()]
            rows.append([name, arm.replace(".", ", "), *(f"{m:.3f} ({a:.3f} to {b:.3f})" for a, m, b in ends)])
    return [*lines, *_table(["run", "arm", "sensitivity", "specificity", "AUROC"], rows)]


def _gains(results: Results, names: Sequence[str]) -> list[str]:
    """What dark field adds in each setting, and what each arm loses or gains against the common one."""
    rows = []
    for name in (n for n in names if n.startswith("ablation-")):
        for observer in OBSERVERS:
            gain = [(1, name, row("hybrid", observer), ""), (-1, name, row("transmission", observer), "")]
            own = [
                [(1, name, row(arm, observer), ""), (-1, "ablation-base", row(arm, observer), "")]
                for arm in ("transmission", "dark_field", "hybrid")
            ]
            cells = []
            for terms in (gain, *own):
                try:
                    cells.append(cell(results.difference(terms, "search"), "+"))
                except Missing:
                    cells.append("missing")
            rows.append([name.removeprefix("ablation-"), observer, *cells])
    head = ["setting", "observer", "hybrid − transmission", "transmission − base", "dark field − base", "hybrid − base"]
    told = "Lesions found (mean of 1/8 to 8 false positives), paired by animal; the base is the four-arm study's default."
    return [told, "", *_table(head, rows)]
