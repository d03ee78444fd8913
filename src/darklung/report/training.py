"""How the networks learned: loss and validation score of each arm and fold, and the step that was kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from darklung.report import figures
from darklung.report.blocks import Block, Cell, Figure, Interval, Row, Section, Table

# As `darklung.learn.checkpoint.State.judge` and `darklung.learn.boosting` choose; not the best one.
KEPT = "the latest state within one standard error of the best score on validation animals"


def training_section(logs: Sequence[Mapping[str, Any]]) -> Section | None:
    """Learning curves and the chosen steps; None where no training kept a log.

    Parameters
    ----------
    logs : sequence of mappings
        ``arm``, ``fold``, ``rows`` (mappings of ``step``, ``loss``, ``score``) and ``selected`` (``by``, ``step``,
        ``score``).
    """
    known = [log for log in logs if log.get("rows")]
    if not known:
        return None
    arms = list(dict.fromkeys(str(log["arm"]) for log in known))
    chosen = {str((log.get("selected") or {}).get("by", "")).replace("_", " ") for log in known} - {"", "last step"}
    name = chosen.pop() if len(chosen) == 1 else "score"
    parts = (("score", f"{name} on validation animals"), ("loss", "training loss"))
    drawn = [_curves(known, arms, key, label) for key, label in parts]
    blocks: list[Block] = [Row(tuple(f for f in drawn if f is not None))]
    rows: list[tuple[Cell, ...]] = []
    for log in known:
        selected = log.get("selected") or {}
        last = max((int(r["step"]) for r in log["rows"]), default=None)
        score = Interval(selected.get("score"), digits=3)
        rows.append((str(log["arm"]).replace("_", " "), str(log["fold"]), str(selected.get("step", "–")), score, str(last)))
    header = ("Arm", "Fold", "Step kept", "Its score", "Last step looked at")
    blocks.append(Table(header, tuple(rows), f"What is used is {KEPT}"))
    return Section("Learning", tuple(blocks), "One line a fold. A curve that still rises at its end was stopped early.")


def _curves(logs: Sequence[Mapping[str, Any]], arms: Sequence[str], key: str, label: str) -> Figure | None:
    """One line for each arm and fold, arms by colour."""
    colours = figures.arm_colours(arms)
    lines: dict[str, list[tuple[list[float], list[float]]]] = {arm: [] for arm in arms}
    for log in logs:
        points = [(r["step"], r[key]) for r in log["rows"] if r.get(key) is not None]
        if points:
            lines[str(log["arm"])].append(([float(x) for x, _ in points], [float(y) for _, y in points]))
    if not any(lines.values()):
        return None
    svg = figures.bundles(lines, name=f"learning {key}", colours=colours, labels=("step", label))
    return Figure(svg, f"{label.capitalize()} by step", f"{label} of {', '.join(arms)}")
