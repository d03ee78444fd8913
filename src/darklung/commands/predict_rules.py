"""What a run's comparison says of how the mean of its models is to be read: threshold, probability, conformal lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from darklung.core.files import read_object, reading
from darklung.evaluate.tiles import TILE_M
from darklung.io.names import COMPARISON
from darklung.pipeline.artefacts import RECORD, require_as_written
from darklung.pipeline.folder import out_of_date
from darklung.steps.arm_reading import SCALES
from darklung.steps.evaluate import ITEM, STAGE
from darklung.steps.lists import KnownLesions, Lists, percent


@dataclass(frozen=True)
class Rule:
    """What a run fixed on its validation animals: threshold and (slope, intercept) of tile scores, its tiles, its lists."""

    threshold: float | None = None
    curve: tuple[float, float] | None = None
    tile_m: float = TILE_M
    lists: Lists | None = None


def rules_of_run(folder: Path, tile_m: float) -> tuple[dict[str, Rule], tuple[str, ...]]:
    """What a run's comparison says of its arms; nothing, with a note, if it judged other models than those there now."""
    comparison = folder / STAGE / ITEM / COMPARISON
    if not comparison.is_file():
        return {}, ()
    require_as_written(comparison)
    if newer := out_of_date(folder, f"{STAGE}/{ITEM}"):
        told = f"The run's comparison was made of another {newer} than the one there now: its threshold, probabilities and"
        return {}, (f"{told} lists are left out; darklung run makes it anew.",)
    return rules_of(comparison, tile_m), ()


def rules_of(comparison: Path, tile_m: float) -> dict[str, Rule]:
    """How each arm's tiles were called in a run's comparison; nothing where the mean of its models was not judged."""
    content = read_object(comparison)
    with reading(comparison, "a comparison"):
        rules: dict[str, Rule] = {}
        if content.get("settings", {}).get("scale") in (SCALES["folds"], SCALES["apart"]):
            return rules
        for name, found in content["results"].get("test", {}).items():
            known = found.get("probability")
            curve = (float(known["slope"]), float(known["intercept"])) if known else None
            lists = _lists(content.get("promises", {}).get(name) or {})
            rules[name] = Rule(found.get("threshold"), curve, tile_m, lists)
        return rules


def judged_folds(folder: Path) -> dict[str, set[str]]:
    """Folds of which a run's comparison judged the models, by arm, as its record tells; empty without one."""
    record = folder / STAGE / ITEM / RECORD
    if not record.is_file():
        return {}
    found: dict[str, set[str]] = {}
    with reading(record, "a record"):
        for one in read_object(record)["parameters"]["predictions"]:
            if one["role"] == "validation":
                found.setdefault(one["arm"], set()).add(str(one["fold"]))
    return found


def of_models(rule: Rule, folders: Sequence[Path], judged: set[str] | None) -> tuple[Rule, tuple[str, ...]]:
    """The rule for the models in folders ``ARM.foldN``, its lists in their order, and a note where it does not hold."""
    here = {f.name.rpartition(".fold")[2] for f in folders}
    none = Rule(tile_m=rule.tile_m)
    if judged is None or here == judged or rule == none:
        return replace(rule, lists=None if rule.lists is None else rule.lists.of_folders(folders)), ()
    told = f"Here are the models of folds {', '.join(sorted(here))}; the run judged the mean of {', '.join(sorted(judged))}"
    return none, (f"{told}: its threshold, probabilities and lists hold for other scores and are left out.",)


def _lists(found: Mapping[str, Any]) -> Lists | None:
    """Of candidates, with what they reached on the run's test animals in words."""
    known = (found.get("lesions") or {}).get("candidates")
    rows = [row for row in found.get("lists") or () if row["unit"] == "candidates"]
    if not known or not rows:
        return None
    models = tuple(KnownLesions.model_validate(m) for m in known)
    for model in models:
        model.calibration()  # what does not fit together is refused here, before anything is computed
    levels = tuple(float(row["level"]) for row in rows if not row["why"])
    return Lists(levels=levels, models=models, told=tuple(_told(row) for row in rows))


def _told(row: Mapping[str, Any]) -> str:
    """What a list promises, reached and cost."""
    if row["why"]:
        return f"{row['why']}."
    unit, false = "ml of lung", row["false_per_ml"]
    if false is None:
        unit, false = "animal", row["false_per_animal"]
    start = (
        f"The list that promises {percent(row['level'])} of the lesions rests on {row['animals']} validation animals with "
        f"lesions; it holds for animals, lesions and scanners like those, in the mean over animals."
    )
    if row["coverage"]["value"] is None:
        return f"{start} The run's test animals had no lesion, with {_span(false)} false positives a {unit}."
    found = f"{row['found']} of {row['lesions']} lesions, {_span(row['coverage'], 100)} % of an animal's"
    return f"{start} On the run's test animals it found {found}, at {_span(false)} false positives a {unit}."


def _span(found: Mapping[str, Any], factor: float = 1.0) -> str:
    low, high = found["low"], found["high"]
    ends = "" if low is None or high is None else f" ({factor * low:.3g} to {factor * high:.3g})"
    return f"{factor * found['value']:.3g}{ends}"
