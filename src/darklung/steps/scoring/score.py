"""Arms of any origin scored against labels: the statistics of a run without its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from darklung.core.checks import check_one_of, require
from darklung.evaluate.folds import by_animal
from darklung.evaluate.logits import logits_of
from darklung.evaluate.tables import ArmTables, join_tables, listed_tables
from darklung.io.case import LabelledCase
from darklung.io.tables import read_foreign
from darklung.steps.arm_reading import known_of, map_tables
from darklung.steps.evaluate import compared
from darklung.steps.scoring.candidates import CASES, is_table, read_candidates, read_findings, voxels_of
from darklung.steps.scoring.labels import Labelled
from darklung.steps.scoring.maps import KINDS, PROBABILITY, find_maps, read_logits
from darklung.study.learning import EvaluationPart


@dataclass(frozen=True)
class Scoring:
    """How predictions are scored.

    Parameters
    ----------
    evaluation : EvaluationPart
        Tile and replicates; there is no validation, and its specificity is not used.
    seed : int
        Of bootstrap and permutations.
    thresholds : mapping arm -> number
        From which a tile is called: a probability for maps of probabilities, else a logit or score. Without one nothing is
        called, and no sensitivity is told.
    kind : {"", "probability", "logit"}
        What maps hold; told apart by their values by default.
    resample : bool
        Bring maps to the labels' grid.
    animals : mapping case -> animal
        Where the labels do not say it, or otherwise.
    trained : set of str
        Cases that a run trained on, which need no prediction.
    """

    evaluation: EvaluationPart
    seed: int = 1
    thresholds: Mapping[str, float] = field(default_factory=dict)
    kind: str = ""
    resample: bool = False
    animals: Mapping[str, str] = field(default_factory=dict)
    trained: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.kind:
            check_one_of("--kind", self.kind, KINDS)


@dataclass(frozen=True)
class Scores:
    """What came of it: the comparison with its tables, the cases and files that count, and what there is to say of them."""

    comparison: dict[str, Any]
    splits: dict[str, dict[str, ArmTables]]
    names: tuple[str, ...]
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def _without_prediction(cases: set[str], trained: frozenset[str]) -> list[str]:
    """What is said of labelled cases that are not scored."""
    own, left = sorted(cases & trained), sorted(cases - trained)
    told = [f"{len(own)} case(s) that the run trained on are not scored, as should be: {', '.join(own)}"] if own else []
    return told + ([f"{len(left)} labelled case(s) without a prediction left out: {', '.join(left)}"] if left else [])


def score(arms: Mapping[str, Path | Mapping[str, Path]], labels: Mapping[str, Labelled], scoring: Scoring) -> Scores:
    """Score the predictions of each arm against the labels.

    Parameters
    ----------
    arms : mapping name -> Path, or mapping name -> mapping case -> Path
        A map or a folder with one a case; or a table of candidates; or which map is of which case.
    labels : mapping case -> Labelled
        Those without a prediction are left out, the same for all arms.
    scoring : Scoring

    Raises
    ------
    DarklungError
        Predictions of no case, arms with other cases, maps that do not fit the labels, or nothing that is known.
    """
    found = {name: _Arm.of(name, path, labels, scoring) for name, path in arms.items()}
    unknown = sorted(set(scoring.thresholds) - set(arms))
    require(not unknown, f"--threshold: {', '.join(unknown)} is no arm; these are {', '.join(arms)}")
    names = _cases(found, labels)
    animals = {n: scoring.animals.get(n, labels[n].animal) for n in names}
    parts: dict[str, list[ArmTables]] = {name: [] for name in arms}
    blank = []
    for name in names:
        case = labels[name].read()
        if not (case.region & ~case.unknown).any():
            blank.append(name)
            continue
        for arm in found.values():
            parts[arm.name].append(arm.tables(name, case))
    require(len(blank) < len(names), f"nothing is known of {', '.join(blank)}: there is nothing to score against")
    splits = {"test": {name: join_tables(by_animal(tables, animals)) for name, tables in parts.items()}}
    thresholds = {name: arm.threshold() for name, arm in found.items()}
    result = compared(splits, scoring.evaluation, seed=scoring.seed, thresholds=thresholds)
    notes = [f"nothing is known of {', '.join(blank)}: left out"] if blank else []
    notes += _without_prediction(set(labels) - set(names), scoring.trained)
    notes += [note for arm in found.values() for note in arm.notes()]
    result["settings"] |= {"scored": {arm.name: arm.told() for arm in found.values()}, "left_out": notes}
    counted = tuple(n for n in names if n not in blank)
    return Scores(result, splits, counted, tuple(f for arm in found.values() for f in arm.files(counted)), tuple(notes))


def _cases(arms: Mapping[str, _Arm], labels: Mapping[str, Labelled]) -> list[str]:
    """Cases that are scored: those that were looked at, which a single table does not say of cases without candidates."""
    looked = {name: arm.cases for name, arm in arms.items() if arm.cases is not None}
    if not looked:
        return sorted(labels)
    (first, names), *others = looked.items()
    for other, own in others:
        differ = sorted(names ^ own)
        told = f"{first} and {other}: wanted predictions of the same cases, {', '.join(differ[:5])} is in one alone"
        require(not differ, told)
    for arm in arms.values():
        strange = sorted(set(arm.candidates) - names)
        require(not strange, f"{arm.name}: candidates in {', '.join(strange[:5])}, of which {first} says nothing")
    return sorted(names)


@dataclass
class _Arm:
    """The predictions of one arm."""

    name: str
    path: Path
    scoring: Scoring
    maps: dict[str, Path] = field(default_factory=dict)
    candidates: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    cases: set[str] | None = None
    listed: bool = False
    kinds: dict[str, str] = field(default_factory=dict)
    outside: int = 0

    @classmethod
    def of(cls, name: str, path: Path | Mapping[str, Path], labels: Mapping[str, Labelled], scoring: Scoring) -> _Arm:
        if isinstance(path, Mapping):
            return cls(name, next(iter(path.values())).parent, scoring, maps=dict(path), cases=set(path))
        require(path.exists(), f"{path}: no such file or folder")
        if is_table(path):
            candidates, cases = read_candidates(path), None
        else:
            maps = find_maps(path, list(labels))
            if maps:
                return cls(name, path, scoring, maps=maps, cases=set(maps))
            candidates, cases = read_findings(path)
            require(bool(cases), f"{path}: wanted maps, one a case, or a table of candidates; found none")
        strange = sorted({*candidates, *(cases or ())} - set(labels))
        require(not strange, f"{path}: {', '.join(strange[:5])} is no labelled case")
        return cls(name, path, scoring, candidates=candidates, cases=cases, listed=True)

    def tables(self, name: str, case: LabelledCase) -> ArmTables:
        tile_m = self.scoring.evaluation.tile
        if not self.listed:
            how: dict[str, Any] = {"kind": self.scoring.kind, "resampled": self.scoring.resample}
            logits, self.kinds[name] = read_logits(self.maps[name], case, **how)
            mixed = sorted(set(self.kinds.values()))
            told = f"{self.path}: some maps are inside 0 to 1 and some are not; say which they are by --kind"
            require(len(mixed) == 1, told)
            return map_tables(name, logits, case, tile_m)
        none = pd.DataFrame({c: np.zeros(0) for c in ("z_mm", "y_mm", "x_mm", "score")})
        places, scores, off = voxels_of(self.candidates.get(name, none), case.channels)
        self.outside += off + int((~case.region[tuple(places.T)]).sum())
        return listed_tables(subject=name, places=places, scores=scores, **known_of(case), tile_m=tile_m)

    def threshold(self) -> float | None:
        given = self.scoring.thresholds.get(self.name)
        if given is None or self.listed or PROBABILITY not in self.kinds.values():
            return given
        require(0 < given < 1, f"--threshold: wanted a probability between 0 and 1 for {self.name}, got {given:g}")
        return float(logits_of(np.array([given]))[0])

    def told(self) -> str:
        if self.listed:
            return f"{sum(map(len, self.candidates.values()))} candidates of {self.path.name}"
        return f"{len(self.kinds)} maps of {self.path.name}, {next(iter(self.kinds.values()), 'nothing')}"

    def notes(self) -> list[str]:
        if not self.outside:
            return []
        return [f"{self.name}: {self.outside} candidate(s) outside the search region count neither way"]

    def files(self, names: Sequence[str]) -> list[Path]:
        return [self.path] if self.listed else [self.maps[n] for n in names]


def read_animals(path: Path) -> dict[str, str]:
    """Case -> animal, of a table with the columns ``case`` (or ``subject``) and ``animal``."""
    table = read_foreign(path)
    name = next((c for c in CASES if c in table.columns), "")
    wanted = name != "" and "animal" in table.columns
    require(wanted, f"{path}: wanted the columns case and animal, got {', '.join(map(str, table.columns))}")
    told = table[[name, "animal"]]
    texts = told.astype(str)
    empty = (told.isna() | (texts == "")).any(axis=None)
    require(not empty and texts[name].is_unique, f"{path}: wanted each case once, with its animal")
    return dict(zip(texts[name], texts["animal"]))
