"""What two finished runs differ in: settings, keys, versions and results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darklung.evaluate.paired import only, paired_differences, same_tables, units_differ
from darklung.evaluate.statistics import holm
from darklung.steps.scoring.finished import FinishedRun

NOWHERE = "(not set)"


def compare_runs(first: FinishedRun, second: FinishedRun) -> dict[str, Any]:
    """All that differs, as plain JSON.

    Returns
    -------
    dict
        ``settings`` and ``environment``: rows of name, first, second. ``tasks``: by stage, how many have the same key, other
        keys, or are in one run alone, and which. ``results``: by split and arm the values of both, and the paired difference
        over the animals that both have (None where there are none), with ``animals``: how many each run has and both. What
        to know of that in ``notes``.
    """
    notes = list(dict.fromkeys(_arm_notes(first, second)))
    results: dict[str, Any] = {}
    for split in (s for s in first.comparison["splits"] if s in second.comparison["splits"]):
        results[split], more = _split(first, second, split)
        notes += [f"{split}: {note}" for note in more]
    return {
        "runs": [str(run.folder) for run in (first, second)],
        "settings": _differing(first.settings, second.settings),
        "tasks": _tasks(first.keys, second.keys),
        "environment": _differing(first.environment, second.environment),
        "results": results,
        "notes": notes,
    }


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys([*first, *second]))
    rows = [{"name": n, "first": first.get(n, NOWHERE), "second": second.get(n, NOWHERE)} for n in names]
    return [row for row in rows if row["first"] != row["second"]]


def _tasks(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    stages: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys([*first, *second]):
        row = stages.setdefault(name.split("/")[0], {"same": 0, "other_key": [], "first_only": [], "second_only": []})
        if name not in second:
            row["first_only"].append(name)
        elif name not in first:
            row["second_only"].append(name)
        elif first[name] == second[name]:
            row["same"] += 1
        else:
            row["other_key"].append(name)
    return stages


def _arm_notes(first: FinishedRun, second: FinishedRun) -> list[str]:
    arms = [list(run.comparison["arms"]) for run in (first, second)]
    alone = [(run.folder, [a for a in own if a not in other]) for run, own, other in zip((first, second), arms, arms[::-1])]
    return [f"arm {', '.join(names)} is in {folder} alone" for folder, names in alone if names]


def _split(first: FinishedRun, second: FinishedRun, split: str) -> tuple[dict[str, Any], list[str]]:
    arms = [a for a in first.comparison["arms"] if a in second.comparison["arms"]]
    out: dict[str, Any] = {}
    notes: list[str] = []
    for arm in arms:
        tables = [run.tables(split, arm) for run in (first, second)]
        names = [set(t.tiles["subject"]) | set(t.voxels["subject"]) for t in tables]
        known = [run.animals for run in (first, second)]
        common = {n for n in names[0] & names[1] if n in known[0] and known[0][n] == known[1].get(n)}
        counts = {"first": len(names[0]), "second": len(names[1]), "both": len(common)}
        found = [run.comparison["results"][split][arm] for run in (first, second)]
        out[arm] = {"animals": counts, "values": _values(found), "paired": None}
        notes += _said(counts, first, second)
        if len(common) >= 2:
            both = [only(t, common) for t in tables]
            limits = (found[0].get("threshold"), found[1].get("threshold"))
            seed, replicates = (int(first.comparison["settings"][k]) for k in ("seed", "replicates"))
            out[arm]["paired"] = paired_differences(both[0], both[1], thresholds=limits, seed=seed, replicates=replicates)
            if same_tables(both[0], both[1]):
                notes.append(f"arm {arm}: both runs have the same results in every row")
            if units_differ(both[0], both[1]):
                notes.append("the two cut the same animals into other tiles (lung, tile or labels differ): no p-values")
            if not (both[0].outlined and both[1].outlined):
                notes.append("the overlap of single animals was not kept in both: no difference of Dice")
    _correct(out)
    return out, list(dict.fromkeys(notes))


def _values(found: list[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    names = [n for n in found[0]["metrics"] if n in found[1]["metrics"]]
    return {n: {"first": found[0]["metrics"][n], "second": found[1]["metrics"][n]} for n in names}


def _said(counts: Mapping[str, int], first: FinishedRun, second: FinishedRun) -> list[str]:
    """Whether anything paired can be said, in words."""
    if counts["both"] < 2:
        why = "no animal is" if counts["both"] == 0 else "only one animal is"
        return [f"{why} known to be the same in both runs: nothing paired can be said; the values stand side by side"]
    if counts["both"] < max(counts["first"], counts["second"]):
        told = f"{counts['first']} animals of {first.folder} and {counts['second']} of {second.folder}"
        return [f"differences are of the {counts['both']} animals that both have, of {told}"]
    return []


def _correct(arms: Mapping[str, Any]) -> None:
    """Holm's correction over the arms of a split."""
    rows = [arm["paired"]["auroc"] for arm in arms.values() if arm["paired"]]
    values = holm([float("nan") if row["p"] is None else row["p"] for row in rows])
    for row, value in zip(rows, values):
        row["p_holm"] = None if row["p"] is None else value
