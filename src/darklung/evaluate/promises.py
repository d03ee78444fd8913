"""What conformal lists promise of the lesions, and what they reached and cost on test animals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.evaluate.conformal import Calibration, animals_of, conformal_threshold, looked_at, proven, ranks, why_not
from darklung.evaluate.froc import SEPARATION_M
from darklung.evaluate.proportions import Share, share_interval, share_of
from darklung.evaluate.results import plain
from darklung.evaluate.statistics import Estimate, bootstrap_weights, interval, ratio_replicates
from darklung.evaluate.tables import ArmTables

UNITS = ("candidates", "tiles")
OWN = "model_"  # columns of test items: the score by each model alone


@dataclass(frozen=True)
class Judges:
    """The models that judge together: one where each fold is tested by its own, else all whose mean is used.

    Parameters
    ----------
    folds : tuple of int
    known : mapping unit of `UNITS` -> tuple of Calibration
        One a fold, of its validation animals; a unit without scores is missing.
    """

    folds: tuple[int, ...]
    known: dict[str, tuple[Calibration, ...]]

    @classmethod
    def of(cls, validation: Mapping[int, ArmTables]) -> Judges:
        """From the validation tables of each fold, as its model scored them."""
        found = {unit: [lesion_scores(t, unit) for t in validation.values()] for unit in UNITS}
        known = {
            unit: tuple(Calibration.of(t["score"], t["subject"]) for t in tables if t is not None)
            for unit, tables in found.items()
            if all(t is not None for t in tables)
        }
        return cls(tuple(validation), known)

    def ranked(self, tables: ArmTables) -> ArmTables:
        """The tables with the column ``rank`` instead of the models' own scores; NaN where these are missing."""
        parts: dict[str, Any] = {unit: self._ranked(getattr(tables, unit), unit) for unit in UNITS}
        return replace(tables, **parts)

    def _ranked(self, table: pd.DataFrame | None, unit: str) -> pd.DataFrame | None:
        if table is None:
            return None
        own = [c for c in table.columns if c.startswith(OWN)]
        scores = table[["score"] if len(self.folds) == 1 else own].to_numpy(dtype=np.float64).T
        known = self.known.get(unit, ())
        rank = ranks(known, scores) if known and len(known) == len(scores) else np.full(len(table), np.nan)
        if unit == "tiles" and known:
            rank = np.where(table["reachable"], rank, 0.0)
        return table.drop(columns=own).assign(rank=rank)


def unranked(tables: ArmTables) -> ArmTables:
    """The tables with a column ``rank`` that says nothing."""
    return Judges((), {}).ranked(tables)


def lesion_scores(tables: ArmTables, unit: str) -> pd.DataFrame | None:
    """``subject``, ``number`` and ``score`` of each lesion: its best candidate's or its tile's; NaN where it has none."""
    if unit == "tiles":
        rows = tables.tiles[tables.tiles["label"] == 1]
        return rows.assign(score=rows["score"].where(rows["reachable"]))[["subject", "number", "score"]]
    if tables.candidates is None or tables.lesions is None:
        return None
    hits = tables.candidates[tables.candidates["kind"] == "lesion"]
    best = hits.groupby(["subject", "number"], as_index=False)["score"].max()
    real = tables.lesions.loc[tables.lesions["number"] > 0, ["subject", "number"]]
    return real.merge(best, on=["subject", "number"], how="left")


def near_scores(
    *, places: NDArray[np.int64], maps: Sequence[NDArray], region: NDArray[np.bool_], spacing_m: Sequence[float]
) -> NDArray[np.float64]:
    """What each of several models says of candidates of their mean, (model, candidate).

    The largest value of the model's own map within 1 mm (nearer candidates are one), inside the region.

    Parameters
    ----------
    places : (candidate, axis) int
    maps : sequence of (*spatial) float
    region : (*spatial) bool
    spacing_m : one a spatial axis
    """
    reach = [int(SEPARATION_M / d) for d in spacing_m]
    offsets = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, region.ndim)
    ball = offsets[np.linalg.norm(offsets * np.asarray(spacing_m), axis=1) <= SEPARATION_M]
    found = np.full((len(maps), len(places)), -np.inf)
    for i, place in enumerate(places):
        near = place + ball
        at = tuple(near[((near >= 0) & (near < region.shape)).all(axis=1)].T)
        at = tuple(axis[region[at]] for axis in at)
        found[:, i] = [np.max(values[at], initial=-np.inf) for values in maps]
    return found


def known_lesions(judges: Judges) -> dict[str, list[dict[str, Any]]]:
    """What the models know of lesions, ready for JSON: unit -> ``fold``, ``scores``, ``weights``, ``never``, ``animals``."""
    return {
        unit: [{"fold": fold, **plain(vars(own))} for fold, own in zip(judges.folds, known)]
        for unit, known in judges.known.items()
    }


def promises_of(
    tables: ArmTables,
    judges: Iterable[Judges],
    *,
    levels: Sequence[float],
    lung_ml: Mapping[str, float],
    seed: int,
    replicates: int,
) -> list[dict[str, Any]]:
    """One entry a unit and level: what is promised of the test animals of `tables`, reached, and paid in false positives.

    ``unit``, ``level``, ``animals`` (that calibrated; the fewest of several judges), ``models``, ``proven``, ``threshold``
    (score, of one model alone), ``why`` (nothing is promised); and where something is: ``found`` and ``lesions`` (numbers),
    ``coverage`` (mean over animals with lesions of the share found), ``false_per_ml`` and ``false_per_animal`` (mimics
    counted), the same ``_without_mimics``; each with a 95 % interval over animals.

    Parameters
    ----------
    tables : ArmTables
        With ``rank`` in tiles and candidates.
    judges : iterable of Judges
        Who ranked them.
    levels : sequence of float
    lung_ml : mapping
        Animal -> volume of its lung [ml]; empty where images have no volume.
    seed, replicates : int
        Of the bootstrap over animals.
    """
    every = list(judges)
    subjects = sorted(set(tables.voxels["subject"]))
    weights = bootstrap_weights(clusters=len(subjects), seed=seed, replicates=replicates)
    rows = []
    for unit in UNITS:
        table = getattr(tables, unit)
        if table is None or table["rank"].isna().all() or any(unit not in j.known for j in every):
            continue
        counted = _Counted(tables, unit, subjects, weights, lung_ml)
        rows += [{**_promised([j.known[unit] for j in every], unit, level), **counted.at(level)} for level in levels]
    return [row if not row["why"] else {k: row[k] for k in PROMISED} for row in rows]


PROMISED = ("unit", "level", "animals", "models", "proven", "threshold", "why")


def _promised(known: Sequence[Sequence[Calibration]], unit: str, level: float) -> dict[str, Any]:
    fewest = min(known, key=animals_of)
    alone = len(known) == 1 and len(fewest) == 1
    why = next((told for own in known if (told := why_not(own, level))), "")
    return {
        "unit": unit,
        "level": level,
        "animals": animals_of(fewest),
        "models": max(len(own) for own in known),
        "proven": min(proven(own, level) for own in known),
        "threshold": conformal_threshold(fewest[0], level) if alone else None,
        "why": why,
    }


@dataclass(frozen=True)
class _Counted:
    """Lesions found and false positives of each subject in one unit."""

    tables: ArmTables
    unit: str
    subjects: list[str]
    weights: NDArray[np.int64]
    lung_ml: Mapping[str, float]

    def at(self, level: float) -> dict[str, Any]:
        table = getattr(self.tables, self.unit)
        called = table[looked_at(table["rank"], level)]
        lesions = self._sum(lesion_scores(self.tables, self.unit))
        hits = called[called["kind"] == "lesion"].drop_duplicates(["subject", "number"])
        found = self._sum(hits)
        row: dict[str, Any] = {"found": int(found.sum()), "lesions": int(lesions.sum())}
        row["coverage"] = self._coverage(found, lesions)
        mimics = called["kind"] == "mimic"
        plain = called["kind"].isin(["none", "tile", "sham"])
        for end, false in (("", mimics | plain), ("_without_mimics", plain)):
            row |= self._false(self._sum(called[false]), end)
        return row

    def _sum(self, rows: pd.DataFrame | None) -> NDArray[np.float64]:
        """Rows of each subject."""
        count = pd.Series(dtype=float) if rows is None else rows["subject"].value_counts()
        return np.asarray(count.reindex(self.subjects, fill_value=0).to_numpy(dtype=np.float64))

    def _coverage(self, found: NDArray, lesions: NDArray) -> Estimate:
        """Mean over animals of the share of their lesions that is found."""
        ill = lesions > 0
        share = np.divide(found, lesions, out=np.zeros(len(lesions)), where=ill)
        value = float(share[ill].mean()) if ill.any() else float("nan")
        if not ill.any():
            return Estimate(value, value, value)
        own = share_of(found, lesions)
        units = ill.sum() ** 2 / float((1 / lesions[ill]).sum())  # of equal weight: the binomial variance is the same
        spread = float(share[ill].var(ddof=1)) / ill.sum() if ill.sum() > 1 else 0.0
        drawn = ratio_replicates(numerator=share, denominator=ill.astype(float), weights=self.weights)
        return share_interval(
            value=value, share=Share(units, spread, own.design, own.least, int(ill.sum())), replicates=drawn
        )

    def _false(self, false: NDArray, end: str) -> dict[str, Estimate | None]:
        missing = [s for s in self.subjects if s not in self.lung_ml] if self.lung_ml else []
        require(not missing, f"lung_ml: {', '.join(missing)} have none")
        ml = np.array([self.lung_ml[s] for s in self.subjects]) if self.lung_ml else None
        one = np.ones(len(self.subjects))
        return {
            f"false_per_ml{end}": None if ml is None else self._ratio(false, ml),
            f"false_per_animal{end}": self._ratio(false, one),
        }

    def _ratio(self, top: NDArray, bottom: NDArray) -> Estimate:
        value = float(top.sum() / bottom.sum()) if bottom.sum() else float("nan")
        drawn = ratio_replicates(numerator=top, denominator=bottom, weights=self.weights)
        found = interval(value=value, replicates=drawn, clusters=len(self.subjects))
        return Estimate(found.value, max(0.0, found.low), found.high)
