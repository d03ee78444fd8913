"""The models that ``darklung predict`` applies: those of a run, of a pack, or one folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from darklung.commands.packed import ARMS_FILE, Pack, read_pack
from darklung.commands.predict_rules import Rule, judged_folds, of_models, rules_of_run
from darklung.core.checks import require
from darklung.core.seams import is_plugin
from darklung.evaluate.tiles import TILE_M
from darklung.features.recipe import plugins_of
from darklung.flow import plugins
from darklung.pipeline.artefacts import RECORD
from darklung.pipeline.record import read_record
from darklung.steps import predict, training
from darklung.study.learning import LearningPart
from darklung.study.processing import ProcessingPart
from darklung.study.study import read_study


@dataclass(frozen=True)
class How:
    """How a run predicted, which its rules hold for; as the same keys of ``learning``."""

    overlap: float = 0.25
    candidates: Literal["head", "logits"] = "head"
    mirroring: bool = False

    @classmethod
    def of(cls, part: LearningPart | None) -> How:
        """Of a study, if it is known."""
        return cls() if part is None else cls(part.overlap, part.candidates, part.mirroring)


@dataclass(frozen=True)
class Chosen:
    """The models of one arm: all folds of a run or a pack, or one folder."""

    arm: str
    folders: tuple[Path, ...]
    rule: Rule
    processing: ProcessingPart
    descriptions: tuple[Mapping[str, Any], ...]
    how: How = How()
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """What they see."""
        return tuple(self.descriptions[0]["channels"])

    def code(self) -> dict[str, str]:
        """Place -> function of the user's that prediction would run."""
        named = {f"{f}: network": network_of(d) for f, d in zip(self.folders, self.descriptions) if is_plugin(network_of(d))}
        made = dict.fromkeys(name for channel in self.channels for name in plugins_of(channel))
        named |= {f"{self.folders[0]}: channel {name}": name for name in made}
        return {**named, **plugins.of_processing(self.processing)}


def network_of(description: Mapping[str, Any]) -> str:
    """The network of a model; empty for boosted trees."""
    return str(description.get("network", ""))


def models_of(models: Path, arm: str) -> list[Chosen]:
    """The models of all arms, or of the one that is named."""
    from darklung.learn.predict import read_description

    if (models / predict.MODEL_FILES[0]).is_file():
        description = read_description(models)
        found = [
            Chosen(
                description.get("images", {}).get("arm", models.name), (models,), Rule(), ProcessingPart(), (description,)
            )
        ]
    else:
        found = _of_pack(models) if (models / ARMS_FILE).is_file() else _of_run(models)
    if arm:
        names = ", ".join(c.arm for c in found)
        found = [c for c in found if c.arm == arm]
        require(bool(found), f"--arm: {arm!r} is not known; known: {names}")
    return found


def _trained(folder: Path) -> dict[str, list[Path]]:
    """The folders of each arm's models."""
    trained = sorted((folder / training.STAGE).glob(f"*.fold*/{predict.MODEL_FILES[0]}"))
    require(bool(trained), f"{folder}: wanted a folder with model.json, or a finished run with {training.STAGE}/ARM.foldN")
    arms: dict[str, list[Path]] = {}
    for path in trained:
        arms.setdefault(path.parent.name.rpartition(".fold")[0], []).append(path.parent)
    return arms


def _of_run(folder: Path) -> list[Chosen]:
    from darklung.learn.predict import read_description

    arms = _trained(folder)
    study = folder / "study.yaml"
    known = read_study(study) if study.is_file() else None
    processing, tile_m = (known.processing, known.evaluation.tile) if known else (ProcessingPart(), TILE_M)
    rules, stale = rules_of_run(folder, tile_m)
    judged, part, found = judged_folds(folder), known.learning if known else None, []
    for name in (row.name for row in part.flat.rows) if part and part.flat else ():
        rules.pop(name, None)  # it was judged in the volumes of its animals, and a radiograph has other tiles
    for name, own in arms.items():
        rule, notes = of_models(rules.get(name, Rule(tile_m=tile_m)), own, judged.get(name))
        descriptions, how = tuple(map(read_description, own)), _how(folder, name, part)
        found.append(Chosen(name, tuple(own), rule, processing, descriptions, how, (*stale, *notes)))
    return found


def _of_pack(folder: Path) -> list[Chosen]:
    """As of the run that was packed: what its comparison and records said is in the pack."""
    from darklung.learn.predict import read_description

    arms = _trained(folder)
    pack: Pack = read_pack(folder, {name: tuple(own) for name, own in arms.items()})
    found = []
    for name, own in arms.items():
        one = pack.arms[name]
        rule = Rule(one.threshold, one.curve, pack.tile, one.lists)
        how, descriptions = How(one.overlap, one.candidates, one.mirroring), tuple(map(read_description, own))
        found.append(Chosen(name, tuple(own), rule, pack.processing, descriptions, how, one.notes))
    return found


def _how(folder: Path, arm: str, part: LearningPart | None) -> How:
    """How the run predicted its test animals, by their record; else what its study says."""
    record = read_record(folder / predict.STAGE / f"{arm}.test" / RECORD)
    if record is None:
        return How.of(part)
    made = predict.Parameters.model_validate(record["parameters"])
    return How(made.overlap, made.candidates, made.mirroring)
