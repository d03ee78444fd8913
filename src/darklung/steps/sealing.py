"""Cases taken apart into what is published and what is sealed; submissions held to what is hidden, and scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.types import Image
from darklung.features.labels import no_truth
from darklung.io.case import CaseFacts, LabelledCase, load_case, save_case
from darklung.publish.commitments import CaseTruth, of_images, of_seed, of_truth
from darklung.publish.sealed import CASES, Manifest, Seal, Submission, Training
from darklung.report.leaderboard import Entry, Stability
from darklung.steps.scoring.candidates import read_candidates
from darklung.steps.scoring.labels import Labelled
from darklung.steps.scoring.maps import read_logits
from darklung.steps.scoring.score import Scores, Scoring, score
from darklung.study.learning import EvaluationPart

if TYPE_CHECKING:
    from darklung.evaluate.scored import Spread

# What a public case may tell of how it was made: what a model must know of its image.
PUBLIC = ("energy_kev", "correlation_length_m")
SEALED = "sealed benchmark"
METRICS = {"auroc": True, "equal_sensitivity": True, "froc": True, "dice": True, "brier": False}  # whether high is good
# An outline of fewer voxels may be met by chance.
MOST_BY_CHANCE = 50
LEAST_CASES = 3  # with lesions; fewer may be ranked without a fault by somebody good
SAME_PLACE_M = 1e-6


def save_public(case: LabelledCase, folder: Path, *, name: str, animal: str) -> None:
    """Write a case under another name with nothing of its truth: image, lung and search region, and its beam."""
    labels, instances, things = no_truth(case.channels)
    told = {k: v for k, v in case.about.provenance.items() if k in PUBLIC}
    about = CaseFacts(name, animal, site=case.about.site, source=SEALED, synthetic=case.about.synthetic, provenance=told)
    hard = np.zeros_like(case.hard)
    save_case(folder, LabelledCase(case.channels, labels, case.lung, case.region, instances, hard, things, about))


def truth_of(case: LabelledCase) -> CaseTruth:
    """What is sealed of a case."""
    return CaseTruth(case.labels, case.instances, case.hard, case.insertions)


def labelled(folder: Path, manifest: Manifest, seal: Seal) -> dict[str, Labelled]:
    """The cases of a benchmark with their truth, by name."""

    def read(name: str) -> LabelledCase:
        case, truth = load_case(folder / CASES / name, ()), seal.cases[name].truth
        layers: dict[str, Any] = {"labels": truth.labels, "instances": truth.instances, "hard": truth.hard}
        return replace(case, **layers, insertions=truth.insertions)

    return {
        name: Labelled(known.animal, folder / CASES / name, lambda n=name: read(n))  # type: ignore[misc]
        for name, known in manifest.cases.items()
    }


def training_of(places: Sequence[Path], seeds: Sequence[int | str]) -> dict[str, list[str]]:
    """Fingerprints of the cases in folders that something was trained on, and of the seeds of their animals."""
    images: dict[str, None] = {}
    truths: dict[str, None] = {}
    for place in places:
        case = load_case(place)
        images |= dict.fromkeys(of_images(case.channels))
        truths |= dict.fromkeys([found] if (found := of_truth(case.insertions)) else [])
    return {"seeds": [of_seed(s) for s in seeds if str(s)], "images": list(images), "truths": list(truths)}


def check_training(training: Training, folder: Path, seal: Seal, *, where: str) -> None:
    """Refuse what says itself that it was trained on a hidden animal.

    Raises
    ------
    DarklungError
        One line with the case and by what it was recognised.
    """
    known = (set(training.seeds), set(training.images), set(training.truths))
    for name, secret in seal.cases.items():
        told = f"{where}: was trained on the animal of {name}"
        require(of_seed(secret.seed) not in known[0] or not secret.seed, f"{told} (its seed is among those declared)")
        require(of_truth(secret.truth.insertions) not in known[2], f"{told} (its lesions are among those declared)")
        own = of_images(load_case(folder / CASES / name).channels) if known[1] else []
        require(not known[1] & set(own), f"{told} (its image is among those declared)")


def check_leaks(files: Mapping[str, Path], cases: Mapping[str, Labelled], kind: str, *, where: str) -> None:
    """Refuse predictions that no image can tell: a truth itself handed in as a map, or centres of lesions to a micrometre.

    A map is the truth where its two values outline a case's lesions voxel for voxel, if they have at least `MOST_BY_CHANCE`
    voxels; or where it does so, or ranks every voxel of a lesion above all others, in every case with lesions (of
    `LEAST_CASES` or more).

    Raises
    ------
    DarklungError
        One line with the case.
    """
    listed = read_candidates(files[""]) if "" in files else None
    perfect: list[bool] = []
    seen, sizes = 0, 0
    for name, known in cases.items():
        case = known.read()
        counted = case.region & ~case.unknown
        size = int((case.lesion & counted).sum())
        if listed is not None:
            told = f"{where}: candidates lie on the centres of the lesions of {name} to a micrometre; the truth has leaked"
            require(not _on_centres(listed.get(name), case), told)
            continue
        if not size:
            continue
        logits, _ = read_logits(files[name], case, kind=kind)
        identical, ranked = _like(logits[counted], case.lesion[counted])
        told = f"{where}: the map of {name} is its truth (Dice 1 with two values, {size} voxels); a label has leaked"
        require(not (identical and size >= MOST_BY_CHANCE), told)
        seen, sizes, perfect = seen + 1, sizes + size, [*perfect, identical or ranked]
    known_everywhere = seen >= LEAST_CASES and all(perfect) and sizes >= MOST_BY_CHANCE
    require(not known_everywhere, f"{where}: every voxel of every lesion is above all others in all {seen} cases; a leak")


def _like(logits: NDArray[np.float64], lesion: NDArray[np.bool_]) -> tuple[bool, bool]:
    """Whether a map is a mask of the lesions, and whether it ranks all their voxels above all others."""
    if lesion.all():
        return False, False
    ranked = bool(logits[lesion].min() > logits[~lesion].max())
    return ranked and len(np.unique(logits)) == 2, ranked


def _on_centres(candidates: pd.DataFrame | None, case: LabelledCase) -> bool:
    """Whether candidates lie on centres of lesions that are not middles of voxels, more of them than one, or all."""
    centres = [i.center_m for i in case.insertions if i.kind == "lesion" and _between(i.center_m, case.channels)]
    if candidates is None or not centres or len(case.channels.shape) != 3:
        return False
    places = candidates[["z_mm", "y_mm", "x_mm"]].to_numpy(dtype=float) * 1e-3
    away = np.linalg.norm(places[:, None] - np.array(centres)[None], axis=-1)
    hits = int((away.min(axis=0) < SAME_PLACE_M).sum()) if len(places) else 0
    return hits > 1 or hits == len(centres)


def _between(center_m: tuple[float, ...], grid: Image) -> bool:
    index = np.asarray(grid.index_of(center_m)) if len(grid.shape) == 3 else np.zeros(3)
    return bool((np.abs(index - np.rint(index)) * np.asarray(grid.spacing_m + (0.0,) * 3)[:3]).max() > 2 * SAME_PLACE_M)


@dataclass(frozen=True)
class Scored:
    """What came of a submission: the comparison with its tables, and each metric with its value in every replicate."""

    scores: Scores
    spreads: dict[str, Spread]
    animals: int


def score_submission(
    submission: Submission, files: Mapping[str, Path], cases: Mapping[str, Labelled], manifest: Manifest
) -> Scored:
    """Score as ``darklung evaluate`` does; the bootstrap of all submissions to a benchmark draws the same animals.

    The Brier score is that of the probabilities as they were handed in: no validation animals stand between.
    """
    from darklung.evaluate.calibration import Logistic
    from darklung.evaluate.metrics import METRICS as KNOWN
    from darklung.evaluate.scored import scored
    from darklung.evaluate.statistics import bootstrap_weights

    plain = {"tile": f"{manifest.tile_m!r} m", "specificity": manifest.specificity, "replicates": manifest.replicates}
    part = EvaluationPart.model_validate(plain)
    scoring = Scoring(part, seed=manifest.bootstrap_seed, kind=submission.kind)
    # By the files themselves: what is looked for in a folder by name may be overlooked, and its case would not count.
    found = score({submission.name: files[""] if submission.candidates else files}, cases, scoring)
    tables = found.splits["test"][submission.name]
    animals = tables.voxels["subject"].nunique()
    weights = bootstrap_weights(clusters=animals, seed=manifest.bootstrap_seed, replicates=manifest.replicates)
    logistic = None if submission.candidates else Logistic(0.0, 1.0, 1.0, 0.0)
    view = scored(tables, weights, logistic=logistic, specificity=manifest.specificity)
    return Scored(found, {name: KNOWN[name].function(view) for name in METRICS}, animals)


def kind_of(path: Path, case: Path, kind: str) -> str:
    """Whether a map holds probabilities or logits; raises where it does not fit the case."""
    return read_logits(path, load_case(case, ()), kind=kind)[1]


def stabilities(entries: Sequence[Entry]) -> list[Stability]:
    """Ranks of the entries in every metric that more than one has; the entries without it are left out of its ranking."""
    from darklung.evaluate.ranking import ranking

    found = []
    for name in dict.fromkeys(n for e in entries for n in e.metrics):
        own = [e for e in entries if (e.metrics.get(name) or {}).get("value") is not None]
        drawn = np.array([e.replicates[name] for e in own], dtype=np.float64)
        if len(own) < 2 or not np.isfinite(drawn).all(axis=0).any():
            continue
        high = bool(own[0].metrics[name]["higher_is_better"])
        values = np.array([e.metrics[name]["value"] for e in own])
        ranked = ranking(values=values, replicates=drawn, higher_is_better=high)
        order = sorted(range(len(own)), key=lambda i: (ranked.ranks[i], own[i].name))
        names, ranks = tuple(own[i].name for i in order), tuple(int(ranked.ranks[i]) for i in order)
        shares = tuple(tuple(map(float, ranked.shares[i])) for i in order)
        found.append(Stability(name, str(own[0].metrics[name]["title"]), names, ranks, shares, ranked.used))
    return found
