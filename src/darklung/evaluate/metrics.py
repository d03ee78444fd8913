"""The metrics of a comparison: `METRICS` (name -> title and function), and functions of the user that join them.

A metric sees one arm on one split (`Scored`) and gives its value with the value in every bootstrap replicate; interval,
table, report and paired differences follow from that. To add one, write its function and its line in `METRICS`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.contracts import check_number
from darklung.core.seams import check_options, resolve
from darklung.evaluate.calibration import Logistic
from darklung.evaluate.statistics import Estimate, count_pairs, interval, ratio_replicates
from darklung.evaluate.tables import ArmTables

OWN_REPLICATES = 200  # of a user's metric, which is computed anew for each


@dataclass(frozen=True)
class Scored:
    """One arm on one split, with what was fixed before.

    Parameters
    ----------
    tables : ArmTables
        Tile rows sorted by subject and tile.
    clusters : (row,) int64
        Subject of each tile row, as an index of `subjects`.
    subjects : list of str
    weights : (replicate, subject) int64
        Of the bootstrap, the same for all arms.
    threshold : float or None
        Score from which a tile is called; without one nothing is called, and nothing is claimed of it.
    logistic : Logistic or None
        From score to probability.
    """

    tables: ArmTables
    clusters: NDArray[np.int64]
    subjects: list[str]
    weights: NDArray[np.int64]
    threshold: float | None
    logistic: Logistic | None

    @property
    def scores(self) -> NDArray[np.float64]:
        """Of the tile rows."""
        return self.tables.tiles["score"].to_numpy(dtype=np.float64)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of the tile rows, 0 or 1."""
        return self.tables.tiles["label"].to_numpy(dtype=np.int64)

    @property
    def called(self) -> NDArray[np.float64]:
        """1 for tile rows that are called positive, 0 for others; NaN without a threshold."""
        if self.threshold is None:
            return np.full(len(self.tables.tiles), np.nan)
        return (self.scores >= self.threshold).astype(np.float64)

    def sums(self, values: NDArray) -> NDArray[np.float64]:
        """Sum of a value of the tile rows over each subject."""
        sums = np.bincount(self.clusters, weights=np.asarray(values, dtype=float), minlength=len(self.subjects))
        return np.asarray(sums, dtype=np.float64)


@dataclass(frozen=True)
class Spread:
    """A value, and what it is in each bootstrap replicate; NaN where it is not defined."""

    value: float
    replicates: NDArray[np.float64]

    def estimate(self, clusters: int) -> Estimate:
        """The value with its interval."""
        return interval(value=self.value, replicates=self.replicates, clusters=clusters)

    def __sub__(self, other: Spread) -> Spread:
        """Paired difference: both on the same replicates of the same animals."""
        return Spread(self.value - other.value, self.replicates - other.replicates)


@dataclass(frozen=True)
class Metric:
    """How a metric is headed in a table, and the function that gives it."""

    title: str
    function: Callable[[Scored], Spread]


def scored(
    tables: ArmTables, weights: NDArray[np.int64], *, threshold: float | None = None, logistic: Logistic | None = None
) -> Scored:
    """An arm's tables in the order that the metrics want; `weights` for the subjects in alphabetical order."""
    subjects = sorted(set(tables.voxels["subject"]))
    code = {s: i for i, s in enumerate(subjects)}
    ordered = tables.tiles.sort_values(["subject", "tile"], ignore_index=True)
    clusters = ordered["subject"].map(code).to_numpy(dtype=np.int64)
    return Scored(replace(tables, tiles=ordered), clusters, subjects, weights, threshold, logistic)


def auroc(view: Scored) -> Spread:
    """Of the tiles (`darklung.evaluate.roc.auroc`)."""
    pairs = count_pairs(scores=view.scores, labels=view.labels, clusters=view.clusters, count=len(view.subjects))
    return Spread(float(pairs.auroc(np.ones((1, len(view.subjects))))[0]), pairs.auroc(view.weights))


def sensitivity(view: Scored) -> Spread:
    """Share of the positive tiles that is called."""
    positive = view.labels == 1
    return _ratio(view, view.sums(positive * view.called), view.sums(positive))


def specificity(view: Scored) -> Spread:
    """Share of the negative tiles that is not called."""
    negative = view.labels == 0
    return _ratio(view, view.sums(negative * (1 - view.called)), view.sums(negative))


def dice(view: Scored) -> Spread:
    """2 Σ overlap / Σ (predicted + true) over all voxels of the search regions; not defined where nothing is outlined."""
    voxels = view.tables.voxels.set_index("subject").loc[view.subjects]
    overlap = 2 * voxels["overlap"].to_numpy(dtype=float)
    size = (voxels["predicted"] + voxels["true"]).to_numpy(dtype=float)
    return _ratio(view, overlap if view.tables.outlined else np.full(len(overlap), np.nan), size)


def brier(view: Scored) -> Spread:
    """Mean squared distance of a tile's probability and label."""
    if view.logistic is None:
        return _undefined(view)
    error = (view.logistic.probability(view.scores) - view.labels) ** 2
    return _ratio(view, view.sums(error), view.sums(np.ones(len(error))))


METRICS: dict[str, Metric] = {
    "auroc": Metric("AUROC", auroc),
    "sensitivity": Metric("Sensitivity", sensitivity),
    "specificity": Metric("Specificity", specificity),
    "dice": Metric("Dice", dice),
    "brier": Metric("Brier (lower is better)", brier),
}


def _ratio(view: Scored, numerator: NDArray, denominator: NDArray) -> Spread:
    value = float(numerator.sum() / denominator.sum()) if denominator.sum() else float("nan")
    return Spread(value, ratio_replicates(numerator=numerator, denominator=denominator, weights=view.weights))


def _undefined(view: Scored) -> Spread:
    return Spread(float("nan"), np.full(len(view.weights), np.nan))


def own_metric(
    name: str, target: str, *, options: Mapping[str, Any], title: str = "", replicates: int = OWN_REPLICATES
) -> Metric:
    """A metric of the user, ``function(tables, **options)``, and ``threshold`` by name if it takes that.

    It gets an `ArmTables` of its own with pandas tables and gives a number, or None where it is not defined. Its interval
    comes from the first `replicates` of the bootstrap's: the animals drawn are put into new tables (an animal drawn again
    has another name), and the function is called on them; a replicate that it cannot compute is not defined.

    Raises
    ------
    DarklungError
        At once: no such function, a name that is taken, or options that it does not have. When it is computed: what it
        gives is no number, or it fails; each in one line that names the metric.
    """
    require(name not in METRICS, f"metric {name}: is the name of darklung's own; give it another")
    function = resolve(f"metric {name}", target, {})
    takes_threshold = "threshold" in _parameters(function)
    require("threshold" not in options, f"option of metric {name}: 'threshold' is fixed on validation, it cannot be set")
    passed = ("threshold",) if takes_threshold else ()
    check_options(f"metric {name}", function, options, passed=passed, positional=1)

    def compute(view: Scored) -> Spread:
        given = {**options, **({"threshold": view.threshold} if takes_threshold else {})}
        try:
            value = _number(name, function(_copied(view.tables), **given))
        except DarklungError:
            raise
        except Exception as error:  # a user's function may raise anything
            told = " ".join(str(error).split()) or "no message"
            raise DarklungError(f"metric {name}: failed with {type(error).__name__}: {told}") from error
        found = np.full(len(view.weights), np.nan)
        for i, tables in enumerate(_resampled(view, min(replicates, len(found)))):
            try:
                found[i] = _number(name, function(tables, **given))
            except DarklungError:
                raise
            except Exception:  # noqa: BLE001 - such as a replicate without a lesion
                continue
        return Spread(value, found[:replicates] if replicates else found)

    return Metric(title or name.replace("_", " ").capitalize(), compute)


def _parameters(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return inspect.signature(function).parameters
    except (ValueError, TypeError):  # compiled functions may not tell
        return {}


def _number(name: str, found: Any) -> float:
    """What a metric gave as a float, None as NaN."""
    value = check_number(f"metric {name}", found)
    require(value is None or not math.isinf(value), f"metric {name}: wanted a finite number or None, got {value}")
    return math.nan if value is None else value


_TABLES = ("tiles", "voxels", "candidates", "lesions")


def _copied(tables: ArmTables) -> ArmTables:
    """A user's function may change its tables; those of the comparison stay."""
    copies: dict[str, Any] = {n: t.copy() for n, t in _present(tables).items()}
    return replace(tables, **copies)


def _present(tables: ArmTables) -> dict[str, pd.DataFrame]:
    return {n: getattr(tables, n) for n in _TABLES if getattr(tables, n) is not None}


def _resampled(view: Scored, count: int) -> Iterator[ArmTables]:
    """The tables of the animals that each of the first replicates drew; one drawn again has another name."""
    present = _present(view.tables)
    rows = {n: table.groupby("subject").indices for n, table in present.items()}
    columns = {n: {str(c): table[c].to_numpy() for c in table} for n, table in present.items()}
    for weights in view.weights[:count]:
        drawn = [(s, k) for s, times in zip(view.subjects, weights) for k in range(int(times))]
        names = np.array([s if k == 0 else f"{s} ({k + 1})" for s, k in drawn], dtype=object)
        chosen: dict[str, Any] = {}
        for n, own in columns.items():
            parts = [rows[n].get(s, np.zeros(0, np.int64)) for s, _ in drawn]
            index = np.concatenate(parts)
            taken = {c: values[index] for c, values in own.items()}
            # From arrays, since pandas' own ways to take rows cost far more than most metrics.
            chosen[n] = pd.DataFrame(taken | {"subject": np.repeat(names, [len(p) for p in parts])}, copy=False)
        yield replace(view.tables, **chosen)
