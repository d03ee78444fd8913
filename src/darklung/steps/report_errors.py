"""What the report shows of single errors and of training: lesions missed, false positives, and learning curves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darklung.evaluate.folds import of_image
from darklung.evaluate.units import tile_numbers
from darklung.io.case import LabelledCase, case_facts
from darklung.io.images import load_image
from darklung.io.names import LOGITS
from darklung.pipeline.record import read_json
from darklung.report.gallery import ArmErrors, Sight, sight_title
from darklung.steps.seen import load_seen

SHOWN = 3  # of each kind and arm
Maps = Mapping[str, Mapping[str, Path]]


def maps_by_case(arms: Sequence[str], folders: Sequence[Path]) -> dict[str, dict[str, Path]]:
    """Case -> arm -> file of its logits, of the arms' folders in the same order."""
    found: dict[str, dict[str, Path]] = {}
    for arm, folder in zip(arms, folders):
        for file in sorted(folder.glob(f"*{LOGITS}")):
            found.setdefault(file.name.removesuffix(LOGITS), {})[arm] = file
    return found


@dataclass(frozen=True)
class Judged:
    """What was judged, where: cases of the test animals, their maps, the units, and how they were cut.

    Parameters
    ----------
    cases : mapping name -> Path
    maps : mapping case -> arm -> Path
    units : DataFrame
        The table ``units`` of the evaluation, test animals alone; all images of an animal are in it.
    thresholds : mapping arm -> number
    tile_m : float
    made : sequence of Path
        Outputs of the tasks that made further channels of the cases.
    """

    cases: Mapping[str, Path]
    maps: Maps
    units: pd.DataFrame
    thresholds: Mapping[str, float]
    tile_m: float
    made: Sequence[Path] = ()

    def images(self, arm: str) -> dict[str, list[str]]:
        """Animal -> its cases, in the order in which an evaluation numbers them (`darklung.evaluate.folds.by_animal`)."""
        found: dict[str, list[str]] = {}
        for name in (name for name, arms in self.maps.items() if arm in arms):
            found.setdefault(case_facts(self.cases[name]).animal, []).append(name)
        return found


def arm_errors(judged: Judged, channels: Mapping[str, Sequence[str]]) -> list[ArmErrors]:
    """Of each arm the lesions with the lowest scores of those missed, and the negatives with the highest of those called."""
    found = []
    for arm, threshold in judged.thresholds.items():
        images, own = judged.images(arm), judged.units[judged.units["arm"] == arm]
        missed = own[(own["label"] == 1) & (own["score"] < threshold)].sort_values("score")
        false = own[(own["label"] == 0) & (own["score"] >= threshold)].sort_values("score", ascending=False)
        sights = [
            [s for row in table.head(SHOWN).to_dict("records") for s in _sight(judged, arm, images, row, channels[arm])]
            for table in (missed, false)
        ]
        found.append(ArmErrors(arm, sights[0], len(missed), sights[1], len(false)))
    return found


def _sight(
    judged: Judged, arm: str, images: Mapping[str, Sequence[str]], row: Mapping[Any, Any], channels: Sequence[str]
) -> Iterator[Sight]:
    """Where a unit is and what is there; nothing where it has no voxel in the image."""
    image, tile, number = of_image(int(row["tile"]), int(row["number"]))
    name, row = images[row["subject"]][image], {**row, "tile": tile, "number": number}
    case = load_seen(judged.cases[name], channels, judged.made)
    logit = load_image(judged.maps[name][arm]).channel("logit").astype(np.float64)
    inside = _voxels(case, row, judged.tile_m)
    if not inside.any():
        return
    place = np.unravel_index(int(np.argmax(np.where(inside, logit, -np.inf))), logit.shape)
    at = tuple(int(i) for i in place)
    probability = np.where(case.region, 1 / (1 + np.exp(-np.clip(logit, -50, 50))), np.nan)
    title = sight_title(_what(name, row), row["score"], judged.thresholds[arm])
    yield Sight(title, case.channels, probability, case.region, case.lesion, at)


def _voxels(case: LabelledCase, row: Mapping[Any, Any], tile_m: float) -> NDArray[np.bool_]:
    """Of the lesion, or of the tile in the search region."""
    if row["label"] == 1:
        return np.asarray(case.instances == row["number"])
    numbers, _ = tile_numbers(shape=case.region.shape, spacing_m=case.channels.spacing_m, tile_m=tile_m)
    return np.asarray((numbers == row["tile"]) & case.region)


def _what(name: str, row: Mapping[Any, Any]) -> str:
    if row["kind"] == "tile":
        return f"{name}: plain lung"
    unreached = "" if row["reachable"] else ", outside the region that was searched"
    return f"{name}: {row['kind']} {row['tissue'].replace('_', ' ')} of {1e3 * row['diameter_m']:.2f} mm{unreached}"


def training_logs(folder: Path, tasks: Sequence[str]) -> list[dict[str, Any]]:
    """The log of each training of a run, as `darklung.report.training.training_section` takes it."""
    logs = []
    for name in (t for t in tasks if t.startswith("train/")):
        file, model = folder / name / "metrics.jsonl", read_json(folder / name / "model.json") or {}
        if file.is_file():
            lines = file.read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines if line.strip()]
            arm, _, fold = name.removeprefix("train/").rpartition(".fold")
            known = [r for r in rows if {"step", "score"} <= r.keys()]  # of validations; the others are of single steps
            logs.append({"arm": arm, "fold": fold, "rows": known, "selected": model.get("selected")})
    return logs
