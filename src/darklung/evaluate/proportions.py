"""Intervals of shares that rest on few animals: Wilson's with the animals' design effect; differences of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from darklung.evaluate.statistics import LEVEL, Estimate

# What is taken for the likeness of units of one animal before any is seen, with the weight of one animal.
PRIOR_CORRELATION = 0.05


@dataclass(frozen=True)
class Share:
    """What a share rests on.

    Parameters
    ----------
    units : float
        That were counted, such as lesions; of an AUROC the smaller of its two classes.
    variance : float
        Of the share between animals; 0 where the replicates alone tell it.
    design : float
        Design effect (variance over that of independent units) that is taken before the data, with the weight of one animal.
    least : float
        The smallest design effect that is believed.
    clusters : int
        Animals with any unit.
    """

    units: float
    variance: float
    design: float
    least: float
    clusters: int


def share_of(successes: ArrayLike, trials: ArrayLike) -> Share:
    """The share of counts by animal, (cluster,); its variance is that of a ratio of sums (Taylor)."""
    x, n = np.asarray(successes, dtype=float), np.asarray(trials, dtype=float)
    total, clusters = float(n.sum()), int((n > 0).sum())
    if total == 0:
        return Share(0.0, 0.0, 1.0, 1.0, 0)
    left = x - x.sum() / total * n
    variance = clusters / max(clusters - 1, 1) * float((left**2).sum()) / total**2
    alike = 1 + (float((n**2).sum()) / total - 1) * PRIOR_CORRELATION
    return Share(total, variance, max(alike, 1.0), 1.0, clusters)


def wilson(*, value: float, units: float, quantile: float) -> tuple[float, float]:
    """Score interval of a share of so many independent units. Wilson 1927, 10.1080/01621459.1927.10502953."""
    square = quantile**2 / units
    centre = (value + square / 2) / (1 + square)
    half = np.sqrt(value * (1 - value) * square + square**2 / 4) / (1 + square)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def share_interval(*, value: float, share: Share, replicates: NDArray, level: float = LEVEL) -> Estimate:
    """Wilson's interval at the effective number of units; it keeps a width at 0 and 1.

    Effective are units / design effect. The design effect is the variance between animals (the larger of the linearised one
    and the replicates', which hold what else is uncertain, such as a threshold) over that of independent units, drawn
    towards what is taken before the data with the weight of one animal. The quantile is Student's with as many
    degrees of freedom as animals: one is spent, one was put in. After Korn and Graubard 1998 (Survey Methodology 24,
    193-201) and Saha, Miller and Wang 2016, 10.1515/ijb-2015-0024. Measured coverage:
    docs/decisions/163-intervals-that-cover.md.
    """
    k = share.clusters
    if not np.isfinite(value) or k < 2 or share.units <= 0:
        return Estimate(value, float("nan"), float("nan"))
    defined = replicates[np.isfinite(replicates)]
    spread = float(defined.var()) * k / (k - 1) if len(defined) else 0.0
    variance, own = max(share.variance, spread), value * (1 - value)
    if own > 0:
        design, extra = ((k - 1) * variance * share.units / own + share.design) / k, 0.0
    else:  # all or none: what the replicates vary by comes on top
        smoothed = (value * share.units + 1) / (share.units + 2)
        design, extra = share.design, variance / (smoothed * (1 - smoothed))
    effective = 1 / (max(design, share.least) / share.units + extra)
    low, high = wilson(value=value, units=effective, quantile=float(stdtrit(k, (1 + level) / 2)))
    return Estimate(value, min(low, value), max(high, value))


def difference_interval(first: Estimate, second: Estimate, *, correlation: float) -> Estimate:
    """Interval of first − second from the intervals of both and their correlation (MOVER); NaN where either has none.

    Newcombe 1998, 10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C; Zou and Donner 2008, 10.1002/sim.3095.
    """
    down = (first.value - first.low, second.high - second.value)
    up = (first.high - first.value, second.value - second.low)
    value = first.value - second.value
    reach = [np.sqrt(np.maximum(0.0, a * a - 2 * correlation * a * b + b * b)) for a, b in (down, up)]
    low, high = (float(np.clip(end, -1.0, 1.0)) for end in (value - reach[0], value + reach[1]))
    return Estimate(value, low, high)


def correlation_of(first: NDArray, second: NDArray) -> float:
    """Of two metrics' replicates; 0 where either does not vary."""
    both = np.isfinite(first) & np.isfinite(second)
    a, b = first[both] - first[both].mean() if both.any() else first[both], second[both]
    scale = float(np.sqrt((a**2).sum() * ((b - b.mean()) ** 2).sum())) if both.any() else 0.0
    return float(np.clip((a * (b - b.mean())).sum() / scale, -1, 1)) if scale > 1e-15 else 0.0
