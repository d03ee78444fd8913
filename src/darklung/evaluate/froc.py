"""Lesion-level whole-lung search: candidates, hits and the free-response curve (FROC)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, generate_binary_structure, label, maximum_filter
from scipy.spatial import cKDTree

from darklung.core.checks import check_positive, check_range, require
from darklung.core.types import Insertion
from darklung.evaluate.replicates import portions
from darklung.evaluate.units import check_maps

SEPARATION_M = 1e-3  # two candidates are at least so far apart, unless the logits dip between them
DIP = 2.0  # below the lower of two maxima: then the two are no ripples of one
MEAN_POINTS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # false positives a subject, van Ginneken et al. 2010
TOLERANCE_M = 0.25e-3  # a candidate so close to a lesion's voxel (at least one voxel) hits it
MOST_CANDIDATES = 100  # a subject; the highest are kept, and at 1 false positive a subject far fewer matter

CANDIDATE_COLUMNS = ("subject", "score", "kind", "number")
LESION_COLUMNS = ("subject", "number", "tissue", "diameter_m")


@dataclass(frozen=True)
class Froc:
    """Free-response curve, from the highest threshold to the lowest, every candidate's score included.

    Parameters
    ----------
    fp_per_subject, sensitivity, threshold : (point,) float64
        Starts at no candidate: (0, 0, +inf).
    """

    fp_per_subject: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    threshold: NDArray[np.float64]


def candidate_table(
    *,
    subject: str,
    logits: NDArray,
    instances: NDArray,
    insertions: Sequence[Insertion],
    region: NDArray[np.bool_],
    spacing_m: Sequence[float],
    separation_m: float = SEPARATION_M,
    tolerance_m: float = TOLERANCE_M,
) -> pd.DataFrame:
    """Local maxima of the logits inside the region, highest first, and what each of them hits.

    The maxima are found without the truth: a voxel that no other voxel within half of `separation_m` exceeds (one a
    plateau), thinned so that no two are nearer than that, unless the logits between them fall by `DIP` below the lower
    one, as they do between two lesions and not within one. A candidate hits the nearest lesion with a voxel within
    `tolerance_m` (at least the largest voxel side), else a mimic in the same way, else nothing.

    Returns
    -------
    DataFrame
        ``subject``, ``score``, ``kind`` ("lesion", "mimic" or "none"), ``number`` of what was hit (0 for none), ``axis0``
        ... (voxel index). Other kinds, such as "unknown" (`darklung.evaluate.truth`), count neither way in `FrocSums`.
    """
    check_maps(logits=logits, instances=instances, insertions=insertions, region=region, spacing_m=spacing_m)
    check_positive("separation_m", separation_m)
    check_positive("tolerance_m", tolerance_m)
    places = _maxima(logits, region, spacing_m, separation_m)
    return matched_candidates(
        subject=subject,
        places=places,
        scores=np.asarray(logits, dtype=np.float64)[tuple(places.T)],
        instances=instances,
        insertions=insertions,
        spacing_m=spacing_m,
        tolerance_m=tolerance_m,
    )


def matched_candidates(
    *,
    subject: str,
    places: NDArray[np.int64],
    scores: NDArray[np.float64],
    instances: NDArray,
    insertions: Sequence[Insertion],
    spacing_m: Sequence[float],
    tolerance_m: float = TOLERANCE_M,
) -> pd.DataFrame:
    """What given candidates, voxels (candidate, axis), hit; a row each as in `candidate_table`."""
    reach = max(tolerance_m, *spacing_m) * (1 + 1e-6)
    number = np.zeros(len(places), dtype=np.int64)
    kind = np.full(len(places), "none", dtype=object)
    for name in ("mimic", "lesion"):  # a lesion goes before a mimic
        mask = np.isin(instances, [i.number for i in insertions if i.kind == name])
        if mask.any() and len(places):
            distance, nearest = distance_transform_edt(~mask, sampling=spacing_m, return_indices=True)
            at = tuple(places.T)
            hit = distance[at] <= reach
            number[hit] = instances[tuple(n[at] for n in nearest)][hit]
            kind[hit] = name
    frame = pd.DataFrame({"subject": subject, "score": scores, "kind": kind, "number": number})
    return frame.assign(**{f"axis{a}": places[:, a] for a in range(instances.ndim)})


def lesion_table(*, subject: str, insertions: Sequence[Insertion]) -> pd.DataFrame:
    """All lesions of a subject, found or not; one row with number 0 for a subject without any, so that it is counted."""
    rows = [(subject, i.number, i.tissue, i.diameter_m) for i in insertions if i.kind == "lesion"]
    return pd.DataFrame(rows or [(subject, 0, "", np.nan)], columns=list(LESION_COLUMNS))


def _maxima(
    logits: NDArray, region: NDArray[np.bool_], spacing_m: Sequence[float], separation_m: float
) -> NDArray[np.int64]:
    """Voxel indices of separated local maxima, (candidate, axis), highest first."""
    inside = np.where(region, logits, -np.inf)
    size = [2 * max(1, round(separation_m / 2 / d)) + 1 for d in spacing_m]
    peak = region & (inside == maximum_filter(inside, size=size, mode="constant", cval=-np.inf))
    plateaus, count = label(peak, generate_binary_structure(logits.ndim, logits.ndim))
    flat = plateaus.ravel()
    used = np.flatnonzero(flat)
    _, first = np.unique(flat[used], return_index=True)
    index = used[first]
    index = index[np.lexsort((index, -inside.ravel()[index]))]
    places = np.stack(np.unravel_index(index, logits.shape), axis=1).astype(np.int64)
    return places[_separated(places, inside, spacing_m, separation_m)] if count else places


def _separated(
    places: NDArray[np.int64], logits: NDArray, spacing_m: Sequence[float], separation_m: float
) -> NDArray[np.int64]:
    """Indices of maxima, best first, none in the reach of a better one that was kept; at most `MOST_CANDIDATES`."""
    points = places * np.asarray(spacing_m)
    tree = cKDTree(points)
    free = np.ones(len(points), dtype=bool)
    kept: list[int] = []
    for i in range(len(points)):
        if not free[i]:
            continue
        kept.append(i)
        if len(kept) == MOST_CANDIDATES:
            break
        for other in tree.query_ball_point(points[i], separation_m * (1 - 1e-9)):
            free[other] &= other > i and _dips(logits, places[i], places[other])
    return np.array(kept, dtype=np.int64)


def _dips(logits: NDArray, higher: NDArray[np.int64], lower: NDArray[np.int64]) -> bool:
    """Whether the straight line between two maxima falls by `DIP` below the lower one, or leaves the region."""
    steps = int(np.abs(higher - lower).max())
    along = np.rint(np.linspace(higher, lower, steps + 1)).astype(np.int64)
    return bool(logits[tuple(along.T)].min() <= logits[tuple(lower)] - DIP)


def froc_curve(
    *, candidates: pd.DataFrame, lesions: pd.DataFrame, mimics: bool = True, weights: dict[str, int] | None = None
) -> Froc:
    """Share of lesions hit against false positives a subject, at every distinct score.

    Further candidates on a lesion that is already hit count neither way.

    Parameters
    ----------
    candidates : DataFrame
        Of all subjects, from `candidate_table`.
    lesions : DataFrame
        Of all subjects, from `lesion_table`; those without lesion count as subjects.
    mimics : bool
        Whether candidates on mimics are false positives (True) or left out.
    weights : dict, optional
        How often each subject counts; once by default.
    """
    sums = FrocSums.of(candidates=candidates, lesions=lesions, mimics=mimics)
    one = np.array([[1 if weights is None else weights.get(s, 0) for s in sums.subjects]])
    fp, sensitivity = sums.rates(one)
    return Froc(np.append(0.0, fp[0]), np.append(0.0, sensitivity[0]), np.append(np.inf, sums.levels))


def sensitivity_at(curve: Froc, *, fp_per_subject: float) -> float:
    """Largest sensitivity reached with at most so many false positives a subject."""
    check_range("fp_per_subject", fp_per_subject, 0, np.inf)
    return float(curve.sensitivity[curve.fp_per_subject <= fp_per_subject + 1e-12].max())


@dataclass(frozen=True)
class FrocSums:
    """Events of a FROC sorted by score, so that any weighting of the subjects is a cumulative sum.

    Parameters
    ----------
    subjects : tuple of str
    levels : (level,) float64
        Distinct scores, falling.
    last : (level,) int
        Last event of each level.
    who : (event,) int
        Subject of each event.
    is_hit : (event,) bool
        First hit of a lesion; else a false positive.
    lesion_count : (subject,) int
    """

    subjects: tuple[str, ...]
    levels: NDArray[np.float64]
    last: NDArray[np.int64]
    who: NDArray[np.int64]
    is_hit: NDArray[np.bool_]
    lesion_count: NDArray[np.int64]

    @classmethod
    def of(cls, *, candidates: pd.DataFrame, lesions: pd.DataFrame, mimics: bool) -> FrocSums:
        """Sort the events of all subjects."""
        subjects = tuple(sorted(set(lesions["subject"])))
        unknown = sorted(set(candidates["subject"]) - set(subjects))
        require(not unknown, f"candidates: subjects {unknown} are not in the table of lesions")
        code = {s: i for i, s in enumerate(subjects)}
        real = lesions[lesions["number"] > 0]
        counts = np.bincount(real["subject"].map(code).to_numpy(dtype=np.int64), minlength=len(subjects))
        found = candidates[candidates["kind"] == "lesion"].sort_values("score", ascending=False, kind="stable")
        found = found.drop_duplicates(["subject", "number"])
        false = candidates[candidates["kind"].isin(["none", "mimic"] if mimics else ["none"])]
        scores = np.concatenate([found["score"], false["score"]]).astype(np.float64)
        who = np.concatenate([found["subject"].map(code), false["subject"].map(code)]).astype(np.int64)
        is_hit = np.arange(len(scores)) < len(found)
        order = np.argsort(-scores, kind="stable")
        levels, last = np.unique(-scores[order], return_index=True)
        last = np.append(last[1:], len(scores)) - 1 if len(scores) else last
        return cls(subjects, -levels, last.astype(np.int64), who[order], is_hit[order], counts)

    def rates(self, weights: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """False positives a subject and sensitivity at each level, (replicate, level), for weights (replicate, subject)."""
        w = np.asarray(weights, dtype=np.float64)
        event = w[:, self.who]
        fp = np.cumsum(np.where(self.is_hit, 0, event), axis=1)[:, self.last]
        hits = np.cumsum(np.where(self.is_hit, event, 0), axis=1)[:, self.last]
        subjects, lesions = w.sum(axis=1, keepdims=True), w @ self.lesion_count[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            return fp / subjects, np.where(lesions > 0, hits / lesions, np.nan)

    def sensitivities(self, weights: NDArray, points: Sequence[float]) -> NDArray[np.float64]:
        """Largest sensitivity with at most so many false positives a subject, (replicate, point); NaN without a lesion."""
        out = []
        for part in portions(weights):
            fp, sensitivity = self.rates(part)
            best = np.concatenate([np.zeros((len(part), 1)), sensitivity], axis=1)
            # Both rise from level to level.
            reached = np.stack([(fp <= x + 1e-12).sum(axis=1) for x in points], axis=1)
            found = np.take_along_axis(best, reached, axis=1)
            out.append(np.where((part @ self.lesion_count > 0)[:, None], found, np.nan))
        return np.concatenate(out)
