"""Two evaluations of the same animals, such as of two runs: differences with paired intervals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from darklung.core.checks import require
from darklung.evaluate.metrics import METRICS
from darklung.evaluate.scored import scored
from darklung.evaluate.statistics import PERMUTATIONS, REPLICATES, Estimate, bootstrap_weights, paired_permutation
from darklung.evaluate.tables import OF_SUBJECTS, ArmTables

PAIRED = ("auroc", "sensitivity", "specificity", "equal_sensitivity", "average_precision", "animal_auroc", "froc", "dice")
UNITS = ["subject", "tile", "number", "kind", "label"]


def only(tables: ArmTables, animals: set[str]) -> ArmTables:
    """The rows of some animals."""
    parts: dict[str, Any] = {}
    for name in OF_SUBJECTS:
        table = getattr(tables, name)
        parts[name] = None if table is None else table[table["subject"].isin(animals)].reset_index(drop=True)
    return replace(tables, **parts)


def paired_differences(
    first: ArmTables,
    second: ArmTables,
    *,
    thresholds: tuple[float | None, float | None],
    seed: int,
    replicates: int = REPLICATES,
    permutations: int = PERMUTATIONS,
) -> dict[str, dict[str, Any]]:
    """First minus second in each metric of `PAIRED`, over the same animals.

    Both are drawn with the same animals in every bootstrap replicate, so that what makes an animal easy or hard for both
    leaves the difference. Their units need not be the same: lung regions found in other images give other tiles. Only where
    they are, arms can be swapped tile by tile, and AUROC has a p.

    Parameters
    ----------
    first, second : ArmTables
        Of the same subjects.
    thresholds : (number or None, number or None)
        Each evaluation's own.
    seed, replicates, permutations

    Returns
    -------
    mapping metric -> mapping
        ``first``, ``second``, ``value``, ``low``, ``high`` and ``p``; None where not defined. Of two evaluations that are
        the same row for row, all differences are 0 from 0 to 0: other animals would not tell them apart either.

    Raises
    ------
    DarklungError
        Other subjects in the two.
    """
    names = [set(t.voxels["subject"]) for t in (first, second)]
    require(names[0] == names[1] and bool(names[0]), "paired: wanted the same animals in both")
    weights = bootstrap_weights(clusters=len(names[0]), seed=seed, replicates=replicates)
    views = [scored(t, weights, threshold=threshold) for t, threshold in zip((first, second), thresholds)]
    found: dict[str, dict[str, Any]] = {}
    same = thresholds[0] == thresholds[1] and same_tables(first, second)
    for name in PAIRED:
        one, other = (METRICS[name].function(view) for view in views)
        estimate = one.minus(other, len(names[0]))
        if same and np.isfinite(one.value):
            estimate = Estimate(0.0, 0.0, 0.0)
        numbers = {"first": one.value, "second": other.value, **vars(estimate)}
        found[name] = {k: float(v) if np.isfinite(v) else None for k, v in numbers.items()} | {"p": None}
    tiles = [view.tables.tiles for view in views]
    if tiles[0][UNITS].equals(tiles[1][UNITS]):
        p = paired_permutation(
            first=views[0].scores,
            second=views[1].scores,
            labels=views[0].labels,
            clusters=views[0].clusters,
            seed=seed,
            permutations=permutations,
        )
        found["auroc"]["p"] = float(p) if np.isfinite(p) else None
    return found


def same_tables(first: ArmTables, second: ArmTables) -> bool:
    """Whether two evaluations are the same in every row, whatever the order of their animals."""
    for name in OF_SUBJECTS:
        tables = [getattr(t, name) for t in (first, second)]
        if any(t is None for t in tables):
            if any(t is not None for t in tables):
                return False
            continue
        one, other = (t.sort_values("subject", kind="stable", ignore_index=True) for t in tables)
        if not one.equals(other):
            return False
    return first.outlined == second.outlined


def units_differ(first: ArmTables, second: ArmTables) -> bool:
    """Whether two evaluations of the same animals cut them into other tiles, or call them otherwise."""
    sorted_units = [t.tiles[UNITS].sort_values(["subject", "tile", "number"], ignore_index=True) for t in (first, second)]
    return not sorted_units[0].equals(sorted_units[1])
