"""Uncertainty where units of one animal are alike: cluster bootstrap, paired permutation, Holm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit
from scipy.stats import rankdata

from darklung.core.checks import check_finite, check_range, require
from darklung.core.random import stream

REPLICATES = 10_000
PERMUTATIONS = 5000
MOST_COUNTED = 12  # animals of which all swaps are counted
LEVEL = 0.95
DEFINED_SHARE = 0.9  # of the replicates that must have a value for an interval to be given


@dataclass(frozen=True)
class Estimate:
    """A value and its interval; NaN where it is undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Pairs:
    """Concordant pairs between animals: all that an AUROC under any weighting of the animals needs.

    Parameters
    ----------
    concordant : (cluster, cluster) float64
        Pairs of a positive of the first and a negative of the second in which the positive scores higher; ties count half.
    positives, negatives : (cluster,) float64
        Units of each cluster.
    """

    concordant: NDArray[np.float64]
    positives: NDArray[np.float64]
    negatives: NDArray[np.float64]

    def auroc(self, weights: NDArray) -> NDArray[np.float64]:
        """AUROC for each row of `weights` (replicate, cluster); NaN where a row has no positive or no negative."""
        w = np.asarray(weights, dtype=np.float64)
        pairs = (w @ self.positives) * (w @ self.negatives)
        hits = ((w @ self.concordant) * w).sum(axis=1)
        return np.divide(hits, pairs, out=np.full(len(w), np.nan), where=pairs > 0)


def count_pairs(
    *, scores: ArrayLike, labels: ArrayLike, clusters: ArrayLike, count: int, negative_scores: ArrayLike | None = None
) -> Pairs:
    """Concordant pairs by cluster.

    Parameters
    ----------
    scores, labels, clusters : (unit,) arrays
        Score, label 0 or 1, and number of the cluster from 0.
    count : int
        Number of clusters.
    negative_scores : (unit,) array, optional
        Scores to take for the negatives (for permutation tests that mix two arms); `scores` by default.
    """
    values, truth, who = np.asarray(scores, dtype=np.float64), np.asarray(labels), np.asarray(clusters)
    against = values if negative_scores is None else np.asarray(negative_scores, dtype=np.float64)
    check_finite("scores", values)
    require(values.shape == truth.shape == who.shape == against.shape, "scores, labels, clusters: lengths differ")
    positive = truth == 1
    concordant = np.zeros((count, count))
    for j in range(count):
        negative = np.sort(against[~positive & (who == j)])
        below = np.searchsorted(negative, values[positive], side="left")
        upto = np.searchsorted(negative, values[positive], side="right")
        concordant[:, j] = np.bincount(who[positive], weights=(below + upto) / 2, minlength=count)
    return Pairs(
        concordant,
        np.bincount(who[positive], minlength=count).astype(float),
        np.bincount(who[~positive], minlength=count).astype(float),
    )


def bootstrap_weights(
    *, clusters: int, seed: int, replicates: int = REPLICATES, name: str = "bootstrap"
) -> NDArray[np.int64]:
    """How often each cluster is drawn in each replicate, (replicate, cluster), with replacement; rows sum to `clusters`.

    The same seed and name give the same weights, so that two arms are compared on the same replicates.
    Field and Welsh 2007, 10.1111/j.1467-9868.2007.00593.x.
    """
    check_range("clusters", clusters, 1, 10_000_000)
    check_range("replicates", replicates, 1, 10_000_000)
    rng = stream(seed, name, clusters)
    return rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=replicates)


def ratio_replicates(*, numerator: ArrayLike, denominator: ArrayLike, weights: NDArray) -> NDArray[np.float64]:
    """Σ w·numerator / Σ w·denominator for each row of `weights`; both (cluster,). NaN where the denominator is 0."""
    top, bottom = weights @ np.asarray(numerator, dtype=float), weights @ np.asarray(denominator, dtype=float)
    return np.divide(top, bottom, out=np.full(len(weights), np.nan), where=bottom != 0)


def interval(*, value: float, replicates: NDArray, clusters: int, level: float = LEVEL) -> Estimate:
    """Expanded percentile interval of bootstrap replicates; NaN where fewer than 90 % of them are defined.

    Plain percentiles are too narrow with few animals. Their tail probability α/2 is therefore replaced with
    Φ(−√(n/(n−1)) t), t the quantile of Student's distribution with n − 1 degrees of freedom (Hesterberg 2015,
    10.1080/00031305.2015.1089789); n → ∞ gives the plain ones.

    Not modelled: at a value of exactly 0 or 1 the interval has no width and says nothing; shares have
    `darklung.evaluate.proportions.share_interval` instead. Measured coverage: docs/decisions/163-intervals-that-cover.md.

    Parameters
    ----------
    value : float
        The estimate itself.
    replicates : (replicate,) array
    clusters : int
        Animals that were resampled.
    level : float
    """
    defined = replicates[np.isfinite(replicates)]
    if not np.isfinite(value) or clusters < 2 or len(defined) < DEFINED_SHARE * len(replicates):
        return Estimate(value, float("nan"), float("nan"))
    reach = np.sqrt(clusters / (clusters - 1)) * stdtrit(clusters - 1, (1 + level) / 2)
    tail = float(ndtr(-reach))
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))


def paired_permutation(
    *,
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    clusters: ArrayLike,
    seed: int,
    permutations: int = PERMUTATIONS,
) -> float:
    """Two-sided p of equal AUROC of two arms on the same units, by swapping the arms in whole animals.

    Scores are replaced by their mid-ranks within each arm first, since logits of two networks have no common scale. With at
    most 12 animals all swaps are counted, else `permutations` random ones.

    Parameters
    ----------
    first, second : (unit,) arrays
        Scores of the two arms, same units in the same order.
    labels, clusters : (unit,) arrays
        0 or 1; any labels of the animals.

    Returns
    -------
    float
        NaN without a positive or a negative.
    """
    names, who = np.unique(np.asarray(clusters), return_inverse=True)
    count = len(names)
    ranks = [rankdata(np.asarray(s, dtype=np.float64)) for s in (first, second)]
    pairs = [
        [count_pairs(scores=p, labels=labels, clusters=who, count=count, negative_scores=n) for n in ranks] for p in ranks
    ]
    total = pairs[0][0].positives.sum() * pairs[0][0].negatives.sum()
    if total == 0:
        return float("nan")
    swaps, exact = _swaps(count, seed, permutations)
    difference = np.zeros(len(swaps))
    for i in (0, 1):
        for j in (0, 1):
            matrix = pairs[i][j].concordant
            kept = ((_pick(swaps, i) @ matrix) * _pick(swaps, j)).sum(axis=1)
            other = ((_pick(swaps, 1 - i) @ matrix) * _pick(swaps, 1 - j)).sum(axis=1)
            difference += kept - other
    observed = abs(pairs[0][0].concordant.sum() - pairs[1][1].concordant.sum())
    extreme = int((np.abs(difference) >= observed - 1e-9 * total).sum())
    return extreme / len(swaps) if exact else (extreme + 1) / (len(swaps) + 1)


def least_p(clusters: int, *, permutations: int = PERMUTATIONS) -> float:
    """The smallest p that `paired_permutation` can give with so many animals: the observed order and its mirror image."""
    return 2.0 ** (1 - clusters) if clusters <= MOST_COUNTED else 1 / (permutations + 1)


def _swaps(count: int, seed: int, permutations: int) -> tuple[NDArray[np.float64], bool]:
    """Which animals are swapped, (permutation, cluster) of 0 and 1, and whether these are all possibilities."""
    if count <= MOST_COUNTED:
        number = np.arange(2**count)[:, None]
        return ((number >> np.arange(count)) & 1).astype(float), True
    return stream(seed, "permutation", count).integers(0, 2, (permutations, count)).astype(float), False


def _pick(swaps: NDArray[np.float64], arm: int) -> NDArray[np.float64]:
    """1 where, after swapping, the first place holds `arm`'s score."""
    return swaps if arm else 1 - swaps


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down rule; NaN stay NaN and are not counted. Holm 1979."""
    p = np.asarray(p_values, dtype=np.float64)
    out = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, float(p[i]) * (len(order) - rank)))
        out[i] = largest
    return out.tolist()
