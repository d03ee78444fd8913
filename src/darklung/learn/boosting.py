"""Train a feature observer: gradient-boosted trees on filtered channels, beside the networks and on the same cases.

Method: histogram gradient boosting (Friedman 2001, doi:10.1214/aos/1013203451) as scikit-learn has it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from darklung.core.checks import check_positive, check_range, require
from darklung.core.files import make_folder, write_text
from darklung.core.random import derive_seed, stream
from darklung.learn.boosted import BOOSTING, case_features, on_map
from darklung.learn.data import Case, Normalisation, Redraw, check_cases, fit_normalisation
from darklung.learn.files import DESCRIPTION_FILE, METRICS_FILE, WEIGHTS_FILE
from darklung.learn.filters import features_of
from darklung.learn.importance import importances
from darklung.learn.selection import make_metric, score_with_error
from darklung.learn.trees import Forest, forest_of
from darklung.learn.voxels import Drawn, draw_voxels, joined, voxels_a_lesion

DRAWS = 4  # of a bank: sets of training cases, each with its share of the voxels
VALIDATIONS = 5  # numbers of trees that are scored
LEAST_IN_LEAF, PENALTY = 20, 1.0  # voxels of a leaf, and λ of the square of what it adds
TOLD_BY = 1000  # voxels of each validation animal that importances are told by
FEATURES_A_SPLIT = 0.5  # share of the features that a split chooses among: trees then differ more
EXACT = 1e-6  # logits of our kernel and of scikit-learn may differ by this

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the trees besides the cases.

    Parameters
    ----------
    trees : int
        At most; fewer where validation animals say so.
    leaves : int
        Of a tree, at most.
    learning_rate : float
        Share of each tree that is added.
    scales_m : tuple of float
        Standard deviations of the filters [m].
    voxels : int
        Drawn for each training case: half of them elsewhere in its region, the other half of the lesions of all.
    metric : str
        By which the number of trees is chosen.
    seed : int
    """

    trees: int = 200
    leaves: int = 15
    learning_rate: float = 0.1
    scales_m: tuple[float, ...] = (0.2e-3, 0.4e-3, 0.8e-3, 1.6e-3)
    voxels: int = 6000
    metric: str = "tile_auroc"
    seed: int = 1

    def __post_init__(self) -> None:
        check_range("trees", self.trees, 1, 100_000)
        check_range("leaves", self.leaves, 2, 4096)
        check_range("voxels", self.voxels, 2, 10**9)
        check_positive("learning_rate", self.learning_rate)
        require(len(self.scales_m) > 0, "scales: wanted at least one")
        for scale in self.scales_m:
            check_positive("scales", scale)


def train_boosting(
    *,
    cases_train: Sequence[Case],
    cases_validation: Sequence[Case],
    channels: Sequence[str],
    out: Path,
    recipe: Recipe,
    normalisation: str = "volume",
    redraw: Redraw | None = None,
    facts: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train boosted trees on the features of single voxels, and keep as many trees as validation supports.

    As many voxels of lesions are drawn as of anything else, and of each lesion the same number, whatever its size. Nothing
    unknown is drawn. Of the numbers of trees that are scored on validation cases the largest is kept whose score lies within
    one standard error of the best, as for a network. A logit of 0 is then moved to where the Dice of the validation cases is
    largest; without lesions there, to the share of lesion voxels in the training lungs.

    The same seed and cases give the same trees: one thread computes.

    Parameters
    ----------
    cases_train, cases_validation : sequences of Case
        2-D or 3-D, no subject in both.
    channels : sequence of str
        The arm.
    out : Path
        Folder for ``model.safetensors`` (the trees), ``model.json`` and ``metrics.jsonl``.
    recipe : Recipe
    normalisation : {"volume", "cohort"}
        Of the channels, as in `Normalisation`.
    redraw : Redraw, optional
        Cases that take the place of `cases_train` in turn: voxels are drawn from the first `DRAWS` sets.
    facts : mapping, optional
        JSON values that model.json keeps under ``images``.
    progress : callable, optional
        Called with the share done and a line of text.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    DarklungError
        Cases that do not fit each other, a subject on both sides, or no lesion to learn from.
    """
    check_cases(cases_train, cases_validation)
    norm = fit_normalisation(cases=cases_train, channels=channels, per=normalisation)
    tell = progress or _silent
    tell(0.0, "filters of the training animals")
    drawn = joined(_drawn(cases_train, redraw, norm, recipe))
    tell(0.4, f"{recipe.trees} trees on {len(drawn.lesion)} voxels")
    forest = _grown(drawn, recipe)
    tell(0.7, "filters of the validation animals")
    features = [case_features(c, norm, recipe.scales_m) for c in cases_validation]
    history = _scores(forest, features, cases_validation, recipe)
    chosen = _choose(history, recipe.trees)
    kept = forest.first(chosen["step"])
    best = _best_dice([kept.logits(f) for f in features], cases_validation)
    kept = kept.shifted(_log_odds(cases_train, drawn) if best is None else -best)
    tell(0.9, f"{chosen['step']} trees kept; importances")
    shown = importances(
        kept, _of_validation(cases_validation, features, recipe), features_of(channels, recipe.scales_m), recipe.seed
    )
    first = cases_train[0].image
    about = {
        "observer": BOOSTING,
        "channels": list(channels),
        "normalisation": {"mean": norm.mean, "deviation": norm.deviation, "per": norm.per},
        "dims": len(first.shape),
        **asdict(recipe),
        "subjects_train": [c.subject for c in cases_train],
        "subjects_validation": [c.subject for c in cases_validation],
        "selected": {"by": "last step" if chosen["score"] is None else recipe.metric, **chosen},
        "steps_done": recipe.trees,
        "continued_from": None,
        "importances": shown,
        "images": {"spacing_m": list(first.spacing_m), "units": {n: first.unit(n) for n in channels}, **(facts or {})},
    }
    return _write(out, kept, about, history)


def _silent(share: float, text: str) -> None:
    """Progress that nobody watches."""


def _drawn(cases: Sequence[Case], redraw: Redraw | None, norm: Normalisation, recipe: Recipe) -> list[Drawn]:
    """Voxels of every training case, and where a bank changes them of each set of cases."""
    found, sets = [], DRAWS if redraw else 1
    for number in range(sets):
        current = redraw.cases(number * redraw.every) if redraw else cases
        each = max(2, recipe.voxels // sets)
        of_lesion = voxels_a_lesion(current, each)
        for i, case in enumerate(current):
            rng, features = stream(recipe.seed, "voxels", number, i), case_features(case, norm, recipe.scales_m)
            found.append(draw_voxels(case, features, of_lesion=of_lesion, others=each // 2, rng=rng))
    return found


def _log_odds(cases: Sequence[Case], drawn: Drawn) -> float:
    """From the odds of lesion voxels among those that were drawn to those among all that are known."""
    lesion, known = (
        sum(int((c.counted & part(c)).sum()) for c in cases) for part in (lambda c: c.lesion, lambda c: c.region)
    )
    there, here = drawn.lesion.mean(), lesion / known
    return float(np.log(here / (1 - here)) - np.log(there / (1 - there)))


def _best_dice(logits: Sequence[NDArray[np.float64]], cases: Sequence[Case]) -> float | None:
    """The logit above which the known voxels of all cases together have the largest Dice; None without lesions."""
    if not cases:
        return None
    known = [c.counted[c.region] for c in cases]
    score = np.concatenate([x[k] for x, k in zip(logits, known)])
    lesion = np.concatenate([c.lesion[c.region][k] for c, k in zip(cases, known)])
    if not lesion.any():
        return None
    order = np.argsort(-score, kind="stable")
    falling = score[order]
    dice = 2 * np.cumsum(lesion[order]) / (np.arange(1, len(order) + 1) + lesion.sum())
    # Voxels of one leaf have one score: between them nothing can be called.
    ends = np.flatnonzero(np.append(np.diff(falling) != 0, True))
    best = int(np.argmax(dice[ends]))
    below = falling[ends[best + 1]] if best + 1 < len(ends) else falling[-1] - 1
    return float((falling[ends[best]] + below) / 2)


def _grown(drawn: Drawn, recipe: Recipe) -> Forest:
    """All trees."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    classifier = HistGradientBoostingClassifier(
        max_iter=recipe.trees,
        learning_rate=recipe.learning_rate,
        max_leaf_nodes=recipe.leaves,
        min_samples_leaf=LEAST_IN_LEAF,
        l2_regularization=PENALTY,
        max_features=FEATURES_A_SPLIT,
        early_stopping=False,
        random_state=derive_seed(recipe.seed, "trees") % 2**32,
    )
    with threadpool_limits(1):
        classifier.fit(drawn.features, drawn.lesion)
        forest = forest_of(classifier)
        wanted = classifier.decision_function(drawn.features[:1000])
    worst = float(np.abs(forest.logits(drawn.features[:1000]) - wanted).max())
    require(worst <= EXACT, f"boosting: trees as stored differ by {worst:g} from those of this version of scikit-learn")
    return forest


def _scores(
    forest: Forest, features: Sequence[NDArray[np.float32]], cases: Sequence[Case], recipe: Recipe
) -> list[dict[str, Any]]:
    """Score of validation cases and its error after some numbers of trees, as lines of metrics.jsonl."""
    if not cases:
        return []
    metric, before, history = make_metric(recipe.metric), 0, []
    logits = [np.full(len(f), forest.baseline[0]) for f in features]
    for trees in sorted({max(1, round(s * recipe.trees / VALIDATIONS)) for s in range(1, VALIDATIONS + 1)}):
        logits = [forest.add(x, f, before, trees) for x, f in zip(logits, features)]
        score, error = score_with_error(
            metric=metric,
            logits=[on_map(x, c.region) for x, c in zip(logits, cases)],
            targets=[np.where(c.region, c.target, c.lesion) for c in cases],  # beyond the region nothing can be missed
            regions=[c.counted for c in cases],
            spacing_m=cases[0].image.spacing_m,
        )
        history.append({"step": trees, "score": score, "error": error})
        before = trees
    return history


def _choose(history: Sequence[Mapping[str, Any]], trees: int) -> dict[str, Any]:
    """Step and score of the largest forest within one standard error of the best; all trees where nothing is scored."""
    known = [line for line in history if line["score"] is not None]
    if not known:
        return {"step": trees, "score": None}
    best = max(known, key=lambda line: line["score"])
    last = [line for line in known if line["score"] >= best["score"] - best["error"]][-1]
    return {"step": last["step"], "score": last["score"]}


def _of_validation(cases: Sequence[Case], features: Sequence[NDArray[np.float32]], recipe: Recipe) -> Drawn | None:
    """Voxels of the validation animals that importances are told by."""
    each = voxels_a_lesion(cases, TOLD_BY) if cases else 0
    drawn = [
        draw_voxels(case, found, of_lesion=each, others=TOLD_BY // 2, rng=stream(recipe.seed, "validation voxels", i))
        for i, (case, found) in enumerate(zip(cases, features))
    ]
    return joined(drawn) if drawn else None


def _write(out: Path, forest: Forest, about: dict[str, Any], history: Sequence[Mapping[str, Any]]) -> Path:
    """The trees, the scores and, last, model.json; each whole or not at all."""
    from sklearn import __version__

    make_folder(out)
    forest.save(out / WEIGHTS_FILE)
    about["scikit_learn"] = __version__
    about["weights_sha256"] = hashlib.sha256((out / WEIGHTS_FILE).read_bytes()).hexdigest()
    write_text(out / METRICS_FILE, "".join(json.dumps(line) + "\n" for line in history))
    write_text(out / DESCRIPTION_FILE, json.dumps(about, indent=1) + "\n")
    return out
