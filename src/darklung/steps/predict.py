"""Logits of one arm for cases: from one fold's model, or the mean of several with their spread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.io.case import LabelledCase
from darklung.io.documents import Document
from darklung.io.images import save_image
from darklung.io.names import CENTRE, DIAMETER, LOGITS, MEMBER, OWN_CENTRE
from darklung.learn.fits import why_not
from darklung.pipeline import Context, Task
from darklung.steps.seen import load_seen

STAGE = "predict"
MODEL_FILES = ("model.json", "model.safetensors")


class Parameters(Document):
    """What is predicted: an arm's channels on cases of animals, by the models of a fold or of all (None).

    `folders` are models from elsewhere; without them those of the inputs are used. With `each` the models' own maps are kept
    beside their mean, as they are in a study's test.
    """

    arm: str
    fold: int | None
    role: str
    network: str
    channels: tuple[str, ...]
    animals: tuple[str, ...]
    overlap: float
    candidates: Literal["head", "logits"] = "head"
    folders: tuple[str, ...] = Field(())
    each: bool = False
    mirroring: bool = False


def task(parameters: Parameters, models: Sequence[str], cases: Sequence[str], made: Sequence[str] = ()) -> Task:
    """The prediction of other tasks' cases, with channels that further ones made, by tasks' models or those in folders."""
    p = parameters
    item = f"{p.arm}.{p.role}" if p.fold is None else f"{p.arm}.fold{p.fold}.{p.role}"
    inputs = {"models": tuple(models), "cases": tuple(cases), **({"channels": tuple(made)} if made else {})}
    files = {f"{folder}/{name}": Path(folder) / name for folder in p.folders for name in MODEL_FILES}
    plain = p.model_dump(mode="json")
    return Task(STAGE, item, "darklung.steps.predict:predict", plain, inputs, files=files, plugins=(p.network,))


def predict(context: Context) -> None:
    """``NAME.logits.ome.zarr`` of each case: what `logits_of` tells, in a study's test each model's own maps too.

    Evaluation needs them to know what their mean does to a threshold, and conformal lists go by them.
    """
    p = Parameters.model_validate(context.parameters)
    made = context.inputs.get("channels", ())
    models = [Path(f) for f in p.folders] or list(context.inputs["models"])
    for i, path in enumerate(context.inputs["cases"]):
        context.progress(i / len(p.animals), path.name)
        stored, each = load_seen(path, p.channels, made), (p.each or p.role == "test") and len(models) > 1
        how = {"heads": p.candidates == "head", "each": each, "mirroring": p.mirroring}
        found = logits_of(models, stored, p.overlap, **how)
        save_image(context.out / f"{path.name}{LOGITS}", found)


def logits_of(
    models: Sequence[Path],
    stored: LabelledCase,
    overlap: float,
    *,
    heads: bool = True,
    each: bool = False,
    mirroring: bool = False,
) -> Image:
    """Mean logits of the models and their standard deviation, channels ``logit`` and ``logit_spread``.

    With `heads`, and where every model detects, ``centre`` (logit of a lesion's middle) and ``diameter`` [m] too; candidates
    then come from them. With `each` the models' own follow as ``logit_model_0`` ..., and ``centre_model_0`` ... where there
    are middles, in the order of `models`. With `mirroring` each model is averaged over mirror images.

    Raises
    ------
    DarklungError
        An image that one of the models was not made for, in one line.
    """
    from darklung.learn.predict import predict
    from darklung.steps.network_case import network_case

    _check(models, stored)
    found = predict(model_dir=models, case=network_case(stored), overlap=overlap, mirroring=mirroring)
    maps = {"logit": (found.logits, "1"), "logit_spread": (found.spread, "1")}
    if heads and found.centre is not None and found.diameter_m is not None:
        maps |= {CENTRE: (found.centre, "1"), DIAMETER: (found.diameter_m, "m")}
    if each:
        maps |= {f"{MEMBER}{k}": (logits, "1") for k, logits in enumerate(found.own)}
    if each and CENTRE in maps and found.own_centre is not None:
        maps |= {f"{OWN_CENTRE}{k}": (logits, "1") for k, logits in enumerate(found.own_centre)}
    return stored.channels.with_data(
        np.stack([m for m, _ in maps.values()]), tuple(maps), tuple(u for _, u in maps.values())
    )


def _check(models: Sequence[Path], stored: LabelledCase) -> None:
    """Refuse images that the models were not made for, in one line."""
    from darklung.learn.predict import read_description
    from darklung.steps.network_case import beam_of

    image = stored.channels
    for model in models:
        units = dict(zip(image.names, image.units))
        reason = why_not(read_description(model), spacing_m=image.spacing_m, units=units, beam=beam_of(stored.about))
        if reason:
            raise DarklungError(f"{stored.about.subject}: {reason}")
