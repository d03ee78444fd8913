"""From scores to probabilities (fitted on validation data), and how well they hold: Brier score and reliability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from darklung.core.checks import check_range, require
from darklung.evaluate.roc import split_scores

RIDGE = 1e-2  # pulls the slope towards zero where the classes are separable, in units of one observation
ITERATIONS = 100


@dataclass(frozen=True)
class Logistic:
    """probability = 1 / (1 + exp(−(slope · (score − center) / scale + intercept)))."""

    center: float
    scale: float
    slope: float
    intercept: float

    def probability(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Probability of being positive for each score."""
        z = (np.asarray(scores, dtype=np.float64) - self.center) / self.scale
        return np.asarray(expit(self.slope * z + self.intercept))


def fit_logistic(*, scores: ArrayLike, labels: ArrayLike) -> Logistic:
    """Platt scaling: the logistic curve through scores and labels, by penalised maximum likelihood (Newton steps).

    The largest logit in a tile is no probability of the tile: the more voxels, the larger the maximum. Fit on validation
    units, apply to test units. Targets are Platt's (n₊+1)/(n₊+2) and 1/(n₋+2) instead of 1 and 0.

    Raises
    ------
    DarklungError
        No positives or no negatives.

    References
    ----------
    Platt 1999, "Probabilistic outputs for support vector machines"; Niculescu-Mizil and Caruana 2005,
    10.1145/1102351.1102430.
    """
    positive, negative = split_scores(scores=scores, labels=labels)
    n, m = len(positive), len(negative)
    require(n > 0 and m > 0, f"calibration: wanted both labels, got {n} positives and {m} negatives")
    values = np.concatenate([positive, negative])
    center, scale = float(np.median(values)), float(values.std()) or 1.0
    beta = _fitted(((values - center) / scale)[:, None], n)
    return Logistic(center, scale, float(beta[0]), float(beta[1]))


def logistic_weights(*, features: NDArray[np.float64], labels: ArrayLike) -> NDArray[np.float64]:
    """Slope of each of several scores (unit, score) in the logistic curve through all of them, as `fit_logistic` fits it.

    Raises
    ------
    DarklungError
        No positives or no negatives, or scores that are not finite.
    """
    parts = [split_scores(scores=column, labels=labels) for column in np.asarray(features, dtype=np.float64).T]
    n, m = (len(side) for side in parts[0])
    require(n > 0 and m > 0, f"calibration: wanted both labels, got {n} positives and {m} negatives")
    values = np.stack([np.concatenate(both) for both in parts], axis=1)
    spread = values.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    return np.asarray(_fitted((values - np.median(values, axis=0)) / scale, n)[:-1] / scale)


def _fitted(scores: NDArray[np.float64], positives: int) -> NDArray[np.float64]:
    """Slopes and intercept, (score + 1,), of standardised scores (unit, score) whose first rows are the positives."""
    n, m = positives, len(scores) - positives
    design = np.concatenate([scores, np.ones((n + m, 1))], axis=1)
    target = np.concatenate([np.full(n, (n + 1) / (n + 2)), np.full(m, 1 / (m + 2))])
    penalty = np.diag([*np.full(scores.shape[1], RIDGE), 0.0])
    beta = np.append(np.zeros(scores.shape[1]), np.log((n + 1) / (m + 1)))
    for _ in range(ITERATIONS):
        p = expit(design @ beta)
        gradient = design.T @ (p - target) + penalty @ beta
        hessian = (design * (p * (1 - p))[:, None]).T @ design + penalty + 1e-12 * np.eye(len(beta))
        step = np.linalg.solve(hessian, gradient)
        beta = beta - step / max(1.0, float(np.abs(step).max()))  # a bounded step cannot run away
        if float(np.abs(step).max()) < 1e-10:
            break
    return np.asarray(beta)


def brier(*, probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared distance of probability and label; NaN without any unit. Brier 1950."""
    p, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    require(p.shape == truth.shape, f"labels: wanted shape {p.shape}, got {truth.shape}")
    return float(np.mean((p - truth) ** 2)) if p.size else float("nan")


def reliability(*, probabilities: ArrayLike, labels: ArrayLike, bins: int = 10) -> dict[str, list]:
    """Mean predicted probability, observed share of positives and count in equal bins of probability; empty bins left out.

    Returns
    -------
    dict
        Lists ``predicted``, ``observed``, ``count``.
    """
    check_range("bins", bins, 1, 1000)
    p, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    require(p.shape == truth.shape, f"labels: wanted shape {p.shape}, got {truth.shape}")
    inside = bool(((p >= 0) & (p <= 1)).all())
    require(inside, "probabilities: wanted values from 0 to 1 (scores must be turned into probabilities first)")
    number = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(number, minlength=bins)
    used = np.flatnonzero(count)
    predicted = np.bincount(number, weights=p, minlength=bins)[used] / count[used]
    observed = np.bincount(number, weights=truth, minlength=bins)[used] / count[used]
    return {"predicted": predicted.tolist(), "observed": observed.tolist(), "count": count[used].tolist()}
