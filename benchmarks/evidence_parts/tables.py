"""Results of the runs that are there, with intervals over animals: metrics, paired differences, draws of few tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.random import stream
from darklung.evaluate.metrics import METRICS
from darklung.evaluate.paired import only
from darklung.evaluate.proportions import share_of
from darklung.evaluate.roc import auroc
from darklung.evaluate.scored import Scored, Spread, scored
from darklung.evaluate.statistics import Estimate, bootstrap_weights, interval
from darklung.steps.scoring.finished import FinishedRun, open_run
from evidence_parts.expected import Term

REPLICATES, SEED = 4000, 1
POSITIVES, NEGATIVES, DRAWS = 49, 42, 4000


def against_mimics(view: Scored) -> Spread:
    """AUROC of lesions' tiles against mimics' alone."""
    tiles = view.tables.tiles
    chosen = ((tiles["label"] == 1) | (tiles["kind"] == "mimic")).to_numpy()
    fewer = replace(view.tables, tiles=tiles[chosen].reset_index(drop=True))
    return METRICS["auroc"].function(replace(view, tables=fewer, clusters=view.clusters[chosen]))


def search(points: Sequence[float], *, mimics: bool) -> Callable[[Scored], Spread]:
    """Mean share of lesions found at these numbers of false positives a subject."""

    def found(view: Scored) -> Spread:
        sums = view.searches.get(mimics)
        if sums is None:
            return Spread(float("nan"), np.full(len(view.weights), np.nan))
        one = np.ones((1, len(view.subjects)))
        value = sums.sensitivities(one, points).mean(axis=1)
        share = share_of(value * sums.lesion_count, sums.lesion_count)
        return Spread(float(value[0]), sums.sensitivities(view.weights, points).mean(axis=1), share)

    return found


Shown = Mapping[str, tuple[str, Callable[[Scored], Spread]]]
SHOWN: Shown = {
    "auroc": ("AUROC", METRICS["auroc"].function),
    "mimics": ("AUROC against mimics", against_mimics),
    "equal_sensitivity": ("sensitivity at 95 % specificity", METRICS["equal_sensitivity"].function),
    "search": ("lesions found, 1/8 to 8 false positives", METRICS["froc"].function),
    "found": ("the same at 1, mimics counted", search((1.0,), mimics=True)),
    "found_free": ("at 1, mimics not counted", search((1.0,), mimics=False)),
    "dice": ("Dice", METRICS["dice"].function),
}


class Missing(Exception):
    """A run or an arm that is not there, or that cannot be paired."""


class Results:
    """The runs of a folder, each read once."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.run = lru_cache(maxsize=None)(self._run)
        self.view = lru_cache(maxsize=256)(self._view)
        self.spread = lru_cache(maxsize=None)(self._spread)

    def _run(self, name: str) -> FinishedRun:
        try:
            return open_run(self.out / "runs" / name)
        except DarklungError as error:
            raise Missing(f"{name}: not computed") from error

    def there(self, name: str) -> bool:
        """Whether a run came to its comparison."""
        try:
            self.run(name)
        except Missing:
            return False
        return True

    def _view(self, name: str, row: str, animals: str = "") -> Scored:
        """One arm on the held-out animals whose names begin with `animals`."""
        run = self.run(name)
        if row not in run.comparison["arms"]:
            raise Missing(f"{name}: no arm {row}")
        tables = run.tables("test", row)
        if animals:
            tables = only(tables, {s for s in tables.voxels["subject"] if s.startswith(animals)})
        count = len(set(tables.voxels["subject"]))
        if not count:
            raise Missing(f"{name}: no animal {animals}")
        weights = bootstrap_weights(clusters=count, seed=SEED, replicates=REPLICATES)
        return scored(tables, weights, threshold=run.comparison["results"]["test"][row]["threshold"])

    def _spread(self, name: str, row: str, metric: str, animals: str = "") -> Spread:
        return SHOWN[metric][1](self.view(name, row, animals))

    def estimate(self, name: str, row: str, metric: str, animals: str = "") -> Estimate:
        """One number with its interval."""
        return self.spread(name, row, metric, animals).estimate(len(self.view(name, row, animals).subjects))

    def difference(self, terms: Sequence[Term], metric: str) -> Estimate:
        """Signed sum over the same animals; of two the house's own paired interval.

        Raises
        ------
        Missing
            A run that is not there, or other animals in one.
        """
        views = [self.view(run, row, animals) for _, run, row, animals in terms]
        subjects = views[0].subjects
        if any(view.subjects != subjects for view in views):
            raise Missing(f"{terms[0][1]}, {terms[-1][1]}: other animals, which cannot be paired")
        spreads = [self.spread(run, row, metric, animals) for _, run, row, animals in terms]
        signs = [sign for sign, *_ in terms]
        if signs == [1, -1]:
            return spreads[0].minus(spreads[1], len(subjects))
        value = sum(sign * s.value for sign, s in zip(signs, spreads))
        replicates = np.sum([sign * s.replicates for sign, s in zip(signs, spreads)], axis=0)
        return interval(value=value, replicates=replicates, clusters=len(subjects))

    def counts(self, name: str) -> tuple[int, int, int]:
        """Held-out animals, lesions (tiles with one where animals have several images) and negative tiles."""
        run = self.run(name)
        arm = run.comparison["arms"][0]
        n, lesions = run.comparison["results"]["test"][arm]["n"], run.tables("test", arm).lesions
        return n["subjects"], n["positives"] if lesions is None else int((lesions["number"] > 0).sum()), n["negatives"]

    def at_specificity(self, name: str, row: str, specificity: float) -> Estimate:
        """Sensitivity at another specificity than 95 %."""
        view = replace(self.view(name, row), specificity=specificity)
        return METRICS["equal_sensitivity"].function(view).estimate(len(view.subjects))

    def rates(self, name: str, row: str, part: str) -> dict[str, Any]:
        """What the run's comparison tells by class or by kind of negative."""
        return dict(self.run(name).comparison["results"]["test"][row][part])


def drawn(view: Scored, *, positives: int = POSITIVES, negatives: int = NEGATIVES) -> dict[str, NDArray[np.float64]]:
    """Sensitivity, specificity and AUROC of many draws of so few tiles, without replacement: what a small study would see.

    Raises
    ------
    Missing
        Fewer tiles than wanted.
    """
    require(view.threshold is not None, "drawn: wanted a threshold")
    sides = [view.scores[view.labels == label] for label in (1, 0)]
    if len(sides[0]) < positives or len(sides[1]) < negatives:
        raise Missing(f"wanted {positives} positive and {negatives} negative tiles, got {len(sides[0])} and {len(sides[1])}")
    rng, found = stream(SEED, "few tiles"), np.empty((DRAWS, 3))
    labels = np.repeat([1, 0], [positives, negatives])
    for k in range(DRAWS):
        one, other = (rng.choice(s, n, replace=False) for s, n in zip(sides, (positives, negatives)))
        both = np.concatenate([one, other])
        found[k] = (one >= view.threshold).mean(), (other < view.threshold).mean(), auroc(scores=both, labels=labels)
    return dict(zip(("sensitivity", "specificity", "auroc"), found.T))


class Cost:
    """Processor seconds that the records of a folder tell, by place (pool or run) and stage."""

    def __init__(self, out: Path) -> None:
        self.out = out

    @cached_property
    def seconds(self) -> dict[str, dict[str, list[float]]]:
        """Place -> stage -> seconds of its tasks; what was linked from another pool counts there alone."""
        from darklung.pipeline.artefacts import RECORD
        from darklung.pipeline.record import read_json

        found: dict[str, dict[str, list[float]]] = {}
        seen: set[str] = set()
        for place in sorted((*self.out.glob("pools/*"), *self.out.glob("runs/*"))):
            for file in sorted(place.glob(f"*/*/{RECORD}")):
                record = read_json(file)
                if not isinstance(record, dict) or record.get("processor_s") is None:
                    continue
                mark = f"{file.parent.name} {record['key']}"
                if mark not in seen:
                    seen.add(mark)
                    stages = found.setdefault(f"{place.parent.name}/{place.name}", {})
                    stages.setdefault(file.parent.parent.name, []).append(float(record["processor_s"]))
        return found
