"""What a model's own folder tells: what it is, how it was trained, and what that took."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darklung.core.files import reading
from darklung.learn.boosted import BOOSTING
from darklung.learn.files import DESCRIPTION_FILE
from darklung.learn.settings import TrainingPart, weighted_terms
from darklung.publish.card import (
    Channel,
    Member,
    NetworkArchitecture,
    NetworkTraining,
    Score,
    TreesArchitecture,
    TreesTraining,
)
from darklung.steps.card.files import read_own_record, read_scores

OPTIMIZER = "AdamW"
TREES = "boosted trees on histograms of features (scikit-learn's HistGradientBoostingClassifier)"
MICRO = 1e6
MEASURED = ("field_of_view", "reach")  # of a network with the weights that it began with: of each fold its own

Description = Mapping[str, Any]


def architecture_of(folder: Path, description: Description) -> NetworkArchitecture | TreesArchitecture:
    """What the model is.

    Raises
    ------
    DarklungError
        A value in model.json that makes no sense.
    """
    with reading(folder / DESCRIPTION_FILE, "a model"):
        return _trees(description) if description.get("observer") == BOOSTING else _network(description)


def _network(d: Description) -> NetworkArchitecture:
    from darklung.learn.layers import activations_in, layers_of

    built, cost = layers_of(d), d.get("cost") or {}
    return NetworkArchitecture(
        name=d["network"],
        dims=d["dims"],
        widths=d["widths"],
        options=d.get("network_options") or {},
        layers=built[0] if built else None,
        activations=activations_in(built[0]) if built else None,
        parameters=built[1] if built else cost.get("parameters"),
        patch=d["patch"],
        **{name: (cost[name],) if cost.get(name) is not None else None for name in MEASURED},
    )


def _trees(d: Description) -> TreesArchitecture:
    from darklung.learn.filters import features_of

    return TreesArchitecture(
        dims=d["dims"],
        leaves=d.get("leaves"),
        scales_um=_rounded(d["scales_m"]),
        features=len(features_of(d["channels"], tuple(d["scales_m"]))),
    )


def training_of(folder: Path, description: Description) -> NetworkTraining | TreesTraining:
    """How it was trained.

    Raises
    ------
    DarklungError
        A value in model.json that makes no sense.
    """
    with reading(folder / DESCRIPTION_FILE, "a model"):
        if description.get("observer") == BOOSTING:
            known = {name: description.get(name) for name in ("learning_rate", "trees", "voxels", "metric")}
            return TreesTraining(method=TREES, **known)
        return _network_training(description)


def _network_training(d: Description) -> NetworkTraining:
    """Of a model that does not keep its settings nothing is supposed."""
    own = ("learning_rate", "batch", "steps", "loss", "precision", "metric", "redraw_every")
    known = {name: d.get(name) for name in own}
    options = d.get("loss_options") or {}
    if not d.get("training"):
        none = dict.fromkeys(("terms", "weight_decay", "clip", "warm_up", "averaging", "augmentation"))
        return NetworkTraining(optimizer=OPTIMIZER, loss_options=options, **known, **none)
    part = TrainingPart.model_validate(d["training"])
    terms = weighted_terms(d["loss"], part, detects=bool((d.get("network_options") or {}).get("detection")))
    return NetworkTraining(
        optimizer=OPTIMIZER,
        loss_options=options,
        terms={name: term.weight for name, term in terms.items()},
        augmentation=part.augmentation.model_dump(mode="json"),
        **{name: getattr(part, name) for name in ("weight_decay", "clip", "warm_up", "averaging")},
        **known,
    )


def member_of(folder: Path, description: Description) -> Member:
    """One of the models that are averaged.

    Raises
    ------
    DarklungError
        Files beside it that are not what was written, or make no sense.
    """
    record = read_own_record(folder) or {}
    selected = description.get("selected") or {}
    with reading(folder, "a model"):
        return Member(
            name=folder.resolve().name,
            seed=description.get("seed"),
            steps_done=description.get("steps_done"),
            kept_step=selected.get("step"),
            kept_score=selected.get("score"),
            training=description.get("subjects_train") or (),
            validation=description.get("subjects_validation") or (),
            weights_sha256=description.get("weights_sha256"),
            environment=record.get("environment") or _library(description),
            scores=tuple(Score(**{k: row.get(k) for k in Score.model_fields}) for row in read_scores(folder)),
            **{k: record.get(k) for k in ("key", "wall_s", "processor_s", "peak_memory_mib")},
        )


def _library(d: Description) -> dict[str, Any] | None:
    """Version of the library that a model without a record was trained with."""
    known = {name: d[name] for name in ("torch", "scikit_learn") if d.get(name)}
    return {"versions": known} if known else None


def channels_of(folder: Path, description: Description) -> tuple[Channel, ...]:
    """Channels with their units, and by what they were normalised."""
    norm, units = description["normalisation"], (description.get("images") or {}).get("units") or {}
    with reading(folder / DESCRIPTION_FILE, "a model"):
        return tuple(
            Channel(name=name, unit=units.get(name), mean=mean, deviation=deviation)
            for name, mean, deviation in zip(description["channels"], norm["mean"], norm["deviation"], strict=True)
        )


def images_of(folder: Path, description: Description) -> dict[str, Any]:
    """Voxel [um], energies [keV] and correlation lengths [um] of the images."""
    images = description.get("images") or {}
    with reading(folder / DESCRIPTION_FILE, "a model"):
        beams = [(*b, None)[:2] for b in images.get("beams") or ()]
        return {
            "spacing_um": _rounded(images["spacing_m"]) if images.get("spacing_m") else None,
            "energies_kev": tuple(sorted({float(e) for e, _ in beams if e is not None})),
            "correlation_lengths_um": _rounded(sorted({float(x) for _, x in beams if x is not None})),
        }


def _rounded(values_m: Any) -> tuple[float, ...]:
    """Metres as micrometres, without the last digits of the product."""
    return tuple(float(f"{MICRO * float(v):.9g}") for v in values_m)
