"""Do intervals cover? Simulated studies with few animals: 95 % intervals, their widths, and errors of the permutation test.

    python benchmarks/intervals.py [--studies 400] [--animals 6 10 20 60] [--parts shares aurocs ...] [--seed 0]

Animals differ: beta-binomial counts for shares, a shift of all scores of an animal for AUROC and the rest.
"""

import argparse

import numpy as np
import pandas as pd
from scipy.stats import norm

from darklung.evaluate.comparison import compare
from darklung.evaluate.metrics import AUROC_DESIGN
from darklung.evaluate.proportions import Share, share_interval, share_of
from darklung.evaluate.scored import Spread
from darklung.evaluate.statistics import bootstrap_weights, count_pairs, interval, paired_permutation, ratio_replicates
from darklung.evaluate.tables import ArmTables

REPLICATES = 400
SHARES = {
    "sensitivity, 1-5 lesions": (1, 5, ((0.5, 0.1), (0.8, 0.1), (0.8, 0.3), (0.95, 0.1), (0.95, 0.3), (0.99, 0.1))),
    "specificity, 60-140 tiles": (60, 140, ((0.95, 0.01), (0.95, 0.03), (0.99, 0.01), (0.99, 0.03))),
}
AUROCS = ((0.74, 0.5), (0.9, 0.5), (0.97, 0.5), (0.99, 0.5))


def told(name, animals, hits, widths):
    """One line: coverage with its standard error, and the median width."""
    share = np.mean(hits)
    error = np.sqrt(share * (1 - share) / len(hits))
    print(f"{name:48s} {animals:4d} animals  {100 * share:5.1f} % (± {100 * error:.1f})  width {np.median(widths):.3f}")


def shares(animals, studies, rng):
    """Shares of units that are alike within an animal: Wilson with the design effect, and the percentile bootstrap."""
    for name, (low, high, cases) in SHARES.items():
        for truth, alike in cases:
            found = {"": [], ", bootstrap": []}
            for study in range(studies):
                n = rng.integers(low, high + 1, animals)
                a, b = truth * (1 - alike) / alike, (1 - truth) * (1 - alike) / alike
                x = rng.binomial(n, rng.beta(a, b, animals))
                value = x.sum() / n.sum()
                found[""].append(share_interval(value=value, share=share_of(x, n), replicates=np.zeros(0)))
                weights = bootstrap_weights(clusters=animals, seed=study, replicates=REPLICATES)
                drawn = ratio_replicates(numerator=x, denominator=n, weights=weights)
                found[", bootstrap"].append(interval(value=value, replicates=drawn, clusters=animals))
            for kind, own in found.items():
                hits = [e.low <= truth <= e.high for e in own]
                told(f"{name}: {truth}, alike {alike}{kind}", animals, hits, [e.high - e.low for e in own])


def draw(animals, separation, shift, rng, lesions=3, negatives=57):
    """Scores, labels and animals."""
    per = lesions + negatives
    labels = np.tile(np.arange(per) < lesions, animals).astype(int)
    scores = rng.normal(separation * labels, 1) + np.repeat(rng.normal(0, shift, animals), per)
    return scores, labels, np.repeat(np.arange(animals), per)


def tables(scores, labels, who, name):
    """Tile tables of a study."""
    tiles = pd.DataFrame({"subject": [f"{name}{i:03d}" for i in who], "tile": np.arange(len(who)), "label": labels})
    tiles["kind"], tiles["tissue"] = np.where(labels == 1, "lesion", "tile"), np.where(labels == 1, "solid", "")
    tiles["number"] = np.where(labels == 1, np.arange(len(who)), 0)
    tiles["diameter_m"] = np.where(labels == 1, 1e-3, np.nan)
    tiles = tiles.assign(score=scores, reachable=True)
    subjects = sorted(set(tiles["subject"]))
    return ArmTables(tiles, pd.DataFrame({"subject": subjects, "predicted": 0, "true": 0, "overlap": 0}))


def aurocs(animals, studies, rng):
    """AUROC as the comparison gives it."""
    for truth, shift in AUROCS:
        separation = norm.ppf(truth) * np.sqrt(2 + 2 * shift**2)
        hits, widths = [], []
        for study in range(studies):
            scores, labels, who = draw(animals, separation, shift, rng)
            found = auroc_of(scores, labels, who, animals, study).estimate(animals)
            hits.append(found.low <= truth <= found.high)
            widths.append(found.high - found.low)
        told(f"AUROC {truth}", animals, hits, widths)


def auroc_of(scores, labels, who, animals, study):
    """The metric, without a comparison's other work."""

    pairs = count_pairs(scores=scores, labels=labels, clusters=who, count=animals)
    weights = bootstrap_weights(clusters=animals, seed=study, replicates=REPLICATES)
    share = Share(min(labels.sum(), (labels == 0).sum()), 0.0, AUROC_DESIGN, 0.0, animals)
    return Spread(float(pairs.auroc(np.ones((1, animals)))[0]), pairs.auroc(weights), share)


def thresholds(animals, studies, rng):
    """Sensitivity and specificity at a threshold from as many validation animals: the truth is that of a known threshold."""
    shift, separation = 0.3, 2.5
    spread = np.sqrt(1 + shift**2)
    truth = {"specificity": 0.95, "sensitivity": float(norm.sf(norm.ppf(0.95) - separation / spread))}
    truth["equal_sensitivity"] = truth["sensitivity"]
    hits, widths = {k: [] for k in truth}, {k: [] for k in truth}
    for study in range(max(studies // 4, 10)):
        parts = {s: {"arm": tables(*draw(animals, separation, shift, rng), s)} for s in ("validation", "test")}
        found = compare(tables=parts, seed=study, replicates=REPLICATES, questions=())["results"]["test"]["arm"]["metrics"]
        for name, value in truth.items():
            hits[name].append(found[name]["low"] <= value <= found[name]["high"])
            widths[name].append(found[name]["high"] - found[name]["low"])
    for name in truth:
        told(f"{name} at a validated 95 %", animals, hits[name], widths[name])


def differences(animals, studies, rng):
    """Paired differences of two arms that share the animals' shifts and half of the noise: of AUROC, and of sensitivity."""
    for first, second in ((0.9, 0.9), (0.97, 0.85)):
        hits, widths = [], []
        for study in range(studies):
            arms, labels, who = two_arms(animals, (first, second), rng)
            spreads = [auroc_of(s, labels, who, animals, study) for s in arms]
            found = spreads[0].minus(spreads[1], animals)
            hits.append(found.low <= first - second <= found.high)
            widths.append(found.high - found.low)
        told(f"difference of AUROC {first} - {second}", animals, hits, widths)
    for first, second in ((0.8, 0.8), (0.95, 0.7), (0.95, 0.95)):
        hits, widths = [], []
        for study in range(studies):
            spreads = two_shares(animals, (first, second), study, rng)
            found = spreads[0].minus(spreads[1], animals)
            hits.append(found.low <= first - second <= found.high)
            widths.append(found.high - found.low)
        told(f"difference of sensitivity {first} - {second}", animals, hits, widths)


def two_arms(animals, aurocs, rng):
    """Scores of two arms on the same tiles."""
    base, labels, who = draw(animals, 0.0, 0.5, rng)
    noise = [0.7 * rng.normal(size=len(base)) for _ in aurocs]
    spread = np.sqrt(2 + 2 * 0.5**2 + 2 * 0.7**2)
    return [base + norm.ppf(t) * spread * labels + n for t, n in zip(aurocs, noise)], labels, who


def two_shares(animals, shares, study, rng):
    """Lesions found by two arms, which find the same ones more often than by chance; animals differ."""
    n = rng.integers(1, 6, animals)
    who = np.repeat(np.arange(animals), n)
    easy = np.sqrt(0.15) * rng.normal(size=animals)[who] + np.sqrt(0.35) * rng.normal(size=len(who))
    weights = bootstrap_weights(clusters=animals, seed=study, replicates=REPLICATES)
    spreads = []
    for share in shares:
        found = easy + np.sqrt(0.5) * rng.normal(size=len(who)) < norm.ppf(share)
        x = np.bincount(who, weights=found, minlength=animals)
        drawn = ratio_replicates(numerator=x, denominator=n, weights=weights)
        spreads.append(Spread(float(x.sum() / n.sum()), drawn, share_of(x, n)))
    return spreads


def permutation(animals, studies, rng):
    """Errors of the first kind of the permutation test at 0.05, five times as many studies."""
    errors = []
    for study in range(5 * studies):
        arms, labels, who = two_arms(animals, (0.9, 0.9), rng)
        given = {"labels": labels, "clusters": who, "seed": study, "permutations": 1000}
        errors.append(paired_permutation(first=arms[0], second=arms[1], **given) <= 0.05)
    error = np.sqrt(0.05 * 0.95 / len(errors))
    share = f"{100 * np.mean(errors):5.2f} % (± {100 * error:.2f})"
    print(f"{'permutation, errors of the first kind':48s} {animals:4d} animals  {share}, {len(errors)} studies", flush=True)


PARTS = {p.__name__: p for p in (shares, aurocs, differences, permutation, thresholds)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--animals", type=int, nargs="+", default=[6, 10, 20, 60])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seed", type=int, default=0, help="0: that of the table in decision 163; others: fresh studies")
    options = parser.parse_args()
    for count in options.animals:
        for part in options.parts:
            PARTS[part](count, options.studies, np.random.default_rng([options.seed, count] if options.seed else count))
