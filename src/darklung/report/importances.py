"""What boosted trees go by, in the report of a study that has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from darklung.report.blocks import Block, Cell, Section, Table, Text

Drops = Mapping[tuple[str, str, float], Sequence[float]]
SHOWN = 10  # single features of a row


def importances_section(found: Mapping[str, Drops]) -> Section:
    """One table a row of the comparison: whole channels first, then the features that cost most.

    Parameters
    ----------
    found : mapping name of the row -> {(channel, kind, scale [m]): drops}
        Loss of voxel AUROC on validation animals when the feature is exchanged between voxels, one a fold; kind ``all`` is
        a whole channel.
    """
    blocks: list[Block] = [_table(name, drops) for name, drops in found.items() if drops]
    told = (
        "Each number is how much voxel AUROC falls on validation animals when a feature is exchanged between voxels: the "
        "mean over the folds, and their range. Features that say the same stand in for each other, so that each of them "
        "alone may cost little; a whole channel shows what only that channel has."
    )
    return Section("What the trees go by", (*blocks, Text(told, "note")), "Which channels and scales carry the baseline?")


def _table(name: str, drops: Drops) -> Table:
    ranked = sorted(drops, key=lambda key: -float(np.mean(drops[key])))
    whole = [key for key in ranked if key[1] == "all"]
    single = [key for key in ranked if key[1] != "all"][:SHOWN]
    rows = tuple(_row(key, drops[key]) for key in (*whole, *single))
    marked = tuple(range(len(whole)))
    return Table(("Feature", "Scale", "AUROC lost", "Range over folds"), rows, name.replace("_", " "), marked)


def _row(key: tuple[str, str, float], drops: Sequence[float]) -> tuple[Cell, ...]:
    channel, kind, scale = key
    named = kind if not channel else channel if kind == "all" else f"{channel}: {kind}"
    at = f"{1e3 * scale:g} mm" if scale else "–"
    return named, at, f"{np.mean(drops):.4f}", f"{min(drops):.4f} to {max(drops):.4f}"
