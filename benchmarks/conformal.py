"""Do conformal lists keep their promise? Simulated studies: which share of an animal's lesions is missed, at which price.

    python benchmarks/conformal.py [--studies 2000] [--animals 9 20 60] [--level 0.9] [--parts one models shift]

An animal has 1 to 6 lesions, 30 false candidates and 0.5 ml of lung; its scores share a shift of 1 standard deviation
between animals, the lesions vary by 1 within it. Missed is the mean over further animals, with its standard error; beside
it the 10th and 90th percentile over studies of what a study's list misses in the mean (of 200 further animals): a promise
is one in the mean over studies, a single one may do worse.

one     one model: what theory allows and the least that it gives
models  three models of other scales and noise, each with a third of the animals; the mean is used: the rank (which darklung
        uses), and two thresholds on the mean's score: pooled validation scores as they are, and put on the mean's scale
        (`darklung.evaluate.folds.on_the_mean`)
shift   one model, and another family whose lesions score lower by so many standard deviations (of all lesions)
"""

import argparse

import numpy as np
import pandas as pd

from darklung.evaluate.conformal import Calibration, conformal_threshold, looked_at, proven, ranks
from darklung.evaluate.folds import on_the_mean
from darklung.evaluate.tables import ArmTables

FALSE, LUNG_ML, FURTHER, MODELS = 30, 0.5, 200, 3
ABOVE = 3.0  # lesions over false candidates


def animals(rng, count):
    """Strength of lesions and of false candidates, and whose each is."""
    shift = rng.normal(0, 1, count)
    who, false = np.repeat(np.arange(count), rng.integers(1, 7, count)), np.repeat(np.arange(count), FALSE)
    return ABOVE + shift[who] + rng.normal(0, 1, len(who)), who, shift[false] + rng.normal(0, 1, len(false))


def missed(listed, who, count):
    """Mean over animals of the share that is not listed."""
    lost, of = np.bincount(who, ~listed, count), np.bincount(who, minlength=count)
    return float((lost / of).mean())


def told(name, rows, more=""):
    """One line: missed with its error and percentiles over studies, and false positives a ml."""
    losses, false = np.array(rows).T
    error = losses.std() / np.sqrt(len(losses))
    low, high = np.quantile(losses, [0.1, 0.9])
    shares = f"{100 * losses.mean():5.1f} % (± {100 * error:.1f}; {100 * low:4.1f} to {100 * high:4.1f})"
    print(f"{name:44s} missed {shares}  false a ml {np.mean(false):6.1f}  {more}", flush=True)


def one(n, level, studies, rng, shifts=(0.0,)):
    """One model; further animals whose lesions score lower by `shifts`."""
    found = {shift: [] for shift in shifts}
    for _ in range(studies):
        scores, who, _ = animals(rng, n)
        limit = conformal_threshold(Calibration.of(scores, who), level)
        scores, who, false = animals(rng, FURTHER)
        cost = (false >= limit).sum() / FURTHER / LUNG_ML
        for shift, rows in found.items():
            rows.append((missed(scores - shift * np.sqrt(2) >= limit, who, FURTHER), cost))
    return found


def tiles(scores, labels):
    """Tile rows with what `on_the_mean` reads."""
    return pd.DataFrame({"score": scores, "label": labels, "reachable": True}).assign(
        subject="a", tile=0, kind="tile", number=0, tissue="", diameter_m=np.nan
    )


def models(n, level, studies, rng):
    """Three models and their mean, by ranks and by two thresholds."""
    voxels = pd.DataFrame({"subject": ["a"], "predicted": 0, "true": 0, "overlap": 0})
    ways = {"rank": [], "threshold, scores as they are": [], "threshold, on the mean's scale": []}
    for _ in range(studies):
        move, scale = rng.normal(0, 2, MODELS), rng.uniform(0.5, 2, MODELS)

        def say(strength, k, move=move, scale=scale):
            return move[k] + scale[k] * (strength + rng.normal(0, 0.7, len(strength)))

        known, validation, whose, pooled = [], {}, [], []
        for k in range(MODELS):
            strength, who, false = animals(rng, n // MODELS)
            lesions, others = say(strength, k), say(false, k)
            known.append(Calibration.of(lesions, who))
            rows = tiles(np.r_[lesions, others], np.r_[np.ones(len(lesions), int), np.zeros(len(others), int)])
            validation[k] = ArmTables(rows, voxels)
            whose.append(who + k * n)
            pooled.append(lesions)
        strength, who, false = animals(rng, FURTHER)
        own, wrong = np.stack([say(strength, k) for k in range(MODELS)]), np.stack([say(false, k) for k in range(MODELS)])
        members = {k: tiles(np.r_[own[k], wrong[k]], 0) for k in range(MODELS)}
        moved = on_the_mean(validation, members, tiles(np.r_[own.mean(axis=0), wrong.mean(axis=0)], 0), specificity=0.95)
        onto = [t.tiles["score"][t.tiles["label"] == 1].to_numpy() for t in moved.values()]
        limits = [
            conformal_threshold(Calibration.of(np.concatenate(s), np.concatenate(whose)), level) for s in (pooled, onto)
        ]
        lists = [(looked_at(ranks(known, own), level), looked_at(ranks(known, wrong), level))]
        lists += [(own.mean(axis=0) >= limit, wrong.mean(axis=0) >= limit) for limit in limits]
        for rows, (right, false_) in zip(ways.values(), lists):
            rows.append((missed(right, who, FURTHER), false_.sum() / FURTHER / LUNG_ML))
    return ways, proven(known, level)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--animals", type=int, nargs="+", default=[9, 20, 60])
    parser.add_argument("--level", type=float, default=0.9)
    parser.add_argument("--parts", nargs="+", default=["one", "models", "shift"], choices=["one", "models", "shift"])
    given = parser.parse_args()
    alpha = 1 - given.level
    for n in given.animals:
        rng = np.random.default_rng(n)
        if "one" in given.parts:
            bounds = f"allowed {100 * alpha:.1f} %, least in theory {100 * max(0, alpha - 2 / (n + 1)):.1f} %"
            told(f"{n} animals, one model", one(n, given.level, given.studies, rng)[0.0], bounds)
        if "models" in given.parts:
            ways, sure = models(n, given.level, max(1, given.studies // 10), rng)
            for name, rows in ways.items():
                told(f"{n} animals, 3 models, {name}", rows, f"proven {100 * sure:.0f} % found" if name == "rank" else "")
        if "shift" in given.parts:
            for shift, rows in one(n, given.level, given.studies, rng, shifts=(0.25, 0.5, 1.0)).items():
                told(f"{n} animals, one model, lesions {shift:g} sd lower", rows)


if __name__ == "__main__":
    main()
