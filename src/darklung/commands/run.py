"""Read a study, do its tasks, say what came of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from darklung.evaluate.sites import site_lines
from darklung.pipeline import run_tasks
from darklung.pipeline.run import stale
from darklung.pipeline.task import task_keys
from darklung.steps.plan import EVALUATION, REPORT, plan
from darklung.study.config import Study, read_study

REPORT_FILE = "report.html"


@dataclass(frozen=True)
class Result:
    """What a finished run leaves: the report, a table to print, and how many tasks were computed."""

    report: Path
    table: str
    computed: int


def run_study(path: Path, *, out: Path | None = None, workers: int | None = None) -> Result:
    """Run the study in `path` in the folder `out` (``runs/NAME`` by default); what is done already is kept.

    Raises
    ------
    DarklungError
        A mistake in the study file, or a stage that failed; run again to go on from there.
    """
    study = read_study(path)
    folder = out or Path("runs") / study.name
    tasks = plan(study, path)
    about = {"name": study.name, "kind": study.kind, "seed": study.seed, "study": study.model_dump(mode="json")}
    computed = run_tasks(tasks, folder=folder, targets=[EVALUATION, REPORT], workers=workers, about=about)
    _write_resolved(study, folder / "study.yaml")
    report = folder / REPORT_FILE
    shutil.copyfile(folder / REPORT / REPORT_FILE, report)
    comparison = json.loads((folder / EVALUATION / "comparison.json").read_text())
    return Result(report, comparison_table(comparison), computed)


def list_tasks(path: Path, *, out: Path | None = None) -> str:
    """Check a study and list its tasks, each done or to do."""
    study = read_study(path)
    folder = out or Path("runs") / study.name
    tasks = plan(study, path)
    needed = stale({t.name: t for t in tasks}, task_keys(tasks), folder, [EVALUATION, REPORT])
    lines = [f"{'to do' if t.name in needed else 'done ':<6} {t.name}" for t in tasks]
    return "\n".join([*lines, f"{len(needed)} of {len(tasks)} tasks to do in {folder}"])


def _write_resolved(study: Study, path: Path) -> None:
    """The study with every default written out; it is a study file itself."""
    path.write_text(yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def comparison_table(comparison: dict) -> str:
    """The arms' metrics with their intervals, as text."""
    names = ("auroc", "sensitivity", "specificity", "dice", "brier")
    lines = []
    for split in comparison["splits"]:
        results = comparison["results"].get(split)
        if not results:
            continue
        n = next(iter(results.values()))["n"]
        lines += ["", f"{split}: {n['subjects']} animals, {n['positives']} positive and {n['negatives']} negative tiles"]
        lines.append(f"{'arm':<16}" + "".join(f"{name:>22}" for name in names))
        for arm in comparison["arms"]:
            metrics = results[arm]["metrics"]
            lines.append(f"{arm:<16}" + "".join(f"{_interval(metrics[name]):>22}" for name in names))
    return "\n".join([*lines, *site_lines(comparison)]).strip()


def _interval(metric: dict) -> str:
    if metric["value"] is None:
        return "-"
    if metric["low"] is None:
        return f"{metric['value']:.3f}"
    return f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"
