"""From labelled cases to a model, to its predictions, to what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darklung.api.cases import make_case
from darklung.api.images import NOTHING, Settings
from darklung.core.checks import require
from darklung.core.extras import require_extra
from darklung.core.types import Image
from darklung.io.case import LabelledCase
from darklung.io.documents import validate

ARM = "model"


def train(
    cases: Sequence[LabelledCase],
    *,
    channels: Sequence[str],
    out: str | Path,
    validation: Sequence[LabelledCase] = (),
    network: str = "residual_attention_unet",
    steps: int = 200,
    seed: int = 1,
    settings: Settings = NOTHING,
) -> Path:
    """Train one network, or boosted trees, to find lesions; a network that was stopped, or is given more steps, goes on.

    Parameters
    ----------
    cases, validation : sequences of LabelledCase
        No animal in both. The state that scores best on `validation` is kept; without it the last one.
    channels : sequence of str
        What the network sees, in this order: channels of the cases, or made of them (docs/channels.md).
    out : path
        Folder for ``model.safetensors``, ``model.json`` and ``metrics.jsonl``.
    network : str
        Short name, or ``package.module:function`` (docs/learning.md).
    steps : int
    seed : int
    settings : mapping
        Further keys of ``learning``, such as ``{"patch": 16, "widths": [16, 32], "loss": "dice_focal"}``;
        ``{"observers": ["boosting"]}`` trains boosted trees, which read no `network` and no `steps`.

    Returns
    -------
    Path
        `out`, as `predict` takes it.

    Raises
    ------
    DarklungError
        Cases that do not fit each other, an unknown channel or name, or nothing to learn from.

    Examples
    --------
    >>> import darklung, tempfile
    >>> mouse = darklung.make_mouse(voxel_m=600e-6, lesions=[("solid", 3e-3)])
    >>> values = 20 * mouse.density.sum(axis=0, keepdims=True)
    >>> image = darklung.Image(values, ("attenuation",), ("1/m",), (mouse.voxel_m,) * 3)
    >>> case = darklung.make_case(image, mouse, region=mouse.lobes > 0)
    >>> small = {"widths": [16, 16], "patch": 8, "batch": 1}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model = darklung.train([case], channels=["attenuation"], out=folder, steps=2, settings=small)
    ...     found = darklung.predict(model, case)
    >>> found.names
    ('probability', 'logit', 'logit_spread')
    >>> sorted(darklung.evaluate([found], [case])["metrics"])[:3]
    ['animal_auroc', 'auroc', 'average_precision']
    """
    require_extra("train", "torch", "sklearn")
    from darklung.learn.checkpoint import Earlier
    from darklung.steps import boosting
    from darklung.steps.derive import with_channels
    from darklung.steps.train import fit
    from darklung.study.learning import LearningPart
    from darklung.study.observers import BOOSTING

    said = {**settings, "arms": {ARM: list(channels)}, "network": network, "steps": steps}
    part: LearningPart = validate(said, LearningPart, "train")
    require(part.bank is None, "train: bank: belongs to studies, which know how their animals were simulated")
    require(len(part.observers) == 1, f"train: observers: wanted one, got {', '.join(part.observers)}")
    folder = Path(out)
    known, judged = ([with_channels(case, part.arms[ARM]) for case in some] for some in (cases, validation))
    if part.observers[0] == BOOSTING:
        return boosting.fit(part, ARM, known, judged, seed=seed, out=folder)
    return fit(part, ARM, known, judged, seed=seed, scratch=folder, out=folder, earlier=Earlier(folder))


def predict(
    models: str | Path | Sequence[str | Path], case: LabelledCase | Image, *, overlap: float = 0.25, mirroring: bool = False
) -> Image:
    """What a model, or the mean of several, says of an image.

    Parameters
    ----------
    models : path or paths
        Folders that training wrote, such as ``run/train/ARM.fold0``.
    case : LabelledCase or Image
        An image is made a case as `make_case` does; its search region alone is predicted.
    overlap : float
        Share of a window that the next one covers.
    mirroring : bool
        Average over mirror images that leave directions what they are, up to 8 times the time.

    Returns
    -------
    Image
        ``probability`` (NaN where nothing is searched), ``logit`` and ``logit_spread`` (standard deviation of the models),
        on the grid of the case's channels. Models with detection heads add ``centre`` (logit of a lesion's middle) and
        ``diameter`` [m].

    Raises
    ------
    DarklungError
        Another voxel, unit, energy or channel than the model's, in one line.
    """
    require_extra("predict", "torch", "sklearn")
    from darklung.learn.predict import read_description
    from darklung.steps.derive import with_channels
    from darklung.steps.predict import logits_of

    given = make_case(case) if isinstance(case, Image) else case
    folders = [Path(models)] if isinstance(models, str | Path) else [Path(m) for m in models]
    found = logits_of(folders, with_channels(given, read_description(folders[0])["channels"]), overlap, mirroring=mirroring)
    logit = found.channel("logit")
    probability = np.where(given.region, 1 / (1 + np.exp(-np.clip(logit.astype(np.float64), -50, 50))), np.nan)
    data = np.concatenate([probability.astype(np.float32)[None], found.data])
    return found.with_data(data, ("probability", *found.names), ("1", *found.units))


def evaluate(
    predictions: Sequence[Image],
    cases: Sequence[LabelledCase],
    *,
    threshold: float | None = None,
    settings: Settings = NOTHING,
    seed: int = 1,
) -> dict[str, Any]:
    """How well predictions find the lesions of cases, with intervals over animals.

    Parameters
    ----------
    predictions : sequence of Image
        With a channel ``logit``, on the grids of the cases, in their order; with ``centre`` candidates come from that.
    cases : sequence of LabelledCase
        What is unknown of them counts nowhere. Several of one animal count as one cluster.
    threshold : float, optional
        Logit from which a tile is called, fixed on other animals. Without one sensitivity and specificity are not defined.
    settings : mapping
        Keys of ``evaluation``, such as ``{"tile": "2 mm"}``.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        One arm of a comparison file (docs/decisions/073): ``metrics`` (name -> value, low, high), curves, counts.

    Raises
    ------
    DarklungError
        Grids that differ, two cases of one name, or cases without lesions or without anything else.
    """
    from darklung.evaluate.folds import by_animal
    from darklung.evaluate.tables import join_tables
    from darklung.steps.arm_reading import image_tables
    from darklung.steps.evaluate import compared
    from darklung.study.learning import EvaluationPart

    part: EvaluationPart = validate(dict(settings), EvaluationPart, "evaluate")
    require(len(predictions) == len(cases), f"evaluate: wanted a prediction a case, got {len(predictions)} and {len(cases)}")
    names = [case.about.subject for case in cases]
    twice = next((name for name in names if names.count(name) > 1), None)
    require(twice is None, f"evaluate: two cases are called {twice!r}; wanted another name of each (make_case: subject)")
    for image, case in zip(predictions, cases):
        differs = image.grid_difference(case.channels)
        require(not differs, f"{case.about.subject}: prediction and case are not on one grid: {differs}")
    tables = [image_tables(c.about.subject, p, c, part.tile) for p, c in zip(predictions, cases)]
    joined = join_tables(by_animal(tables, {c.about.subject: c.about.animal for c in cases}))
    result = compared({"test": {ARM: joined}}, part, seed=seed, thresholds={ARM: threshold})
    found: dict[str, Any] = result["results"]["test"][ARM]
    return found
